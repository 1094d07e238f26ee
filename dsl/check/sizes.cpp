// Normal forms of expressions: the rules that read +, -, *, div, mod and widening casts into polynomials.
#include "dsl/check/sizes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

namespace quern::dsl {
namespace {

using ir::Expr;
using ir::Node;
using ir::Op;

bool widens(DType from, DType to) {
  if (from == DType::u8) return is_integer(to) && size_of(to) > 1;
  return is_integer(from) && is_integer(to) && to != DType::u8 && size_of(from) <= size_of(to);
}

// Larger coefficients on data could wrap where the proof would not see it.
// Shared sub-expressions make a text far longer than its expression.
constexpr int kMaxTextDepth = 10;
constexpr std::int64_t kMaxDataCoefficient = std::int64_t{1} << 30;

}  // namespace

const NormalForm& Sizes::normal(Expr e, Reading reading) {
  auto& cache = cache_[static_cast<int>(reading)];
  if (auto it = cache.find(e); it != cache.end()) return it->second;
  NormalForm f = compute(e, reading);
  return cache.emplace(e, std::move(f)).first->second;
}

NormalForm Sizes::compute(Expr e, Reading reading) {
  ir::ExprPool& pool = program_.pool;
  const Node node = pool[e];
  switch (node.op) {
    case Op::constant:
      return is_float(node.type) ? NormalForm::atom(e) : NormalForm::constant(node.payload);
    case Op::symbol: {
      if (node.type != DType::i64) return NormalForm::atom(e);
      const auto id = static_cast<ir::SymbolId>(node.payload);
      if (reading != Reading::symbols)
        if (auto value = program_.symbols[id].value) return NormalForm::constant(*value);
      if (auto it = same_.find(id); it != same_.end()) return normal(it->second, reading);
      return NormalForm::atom(e);
    }
    case Op::cast:
      if (widens(pool.type(node.args[0]), node.type)) return normal(node.args[0], reading);
      return NormalForm::atom(e);
    case Op::read: {
      if (node.flags == 0) return NormalForm::atom(e);
      Node plain = node;
      plain.flags = 0;
      return NormalForm::atom(pool.intern(std::move(plain)));
    }
    default:
      break;
  }
  // Narrow integers wrap, so only i64 arithmetic is arithmetic of the whole numbers.
  if (node.type != DType::i64 || !ir::is_elementwise(node.op)) return NormalForm::atom(e);
  auto arg = [&](int i) { return normal(node.args[i], reading); };
  // On data, a sum of i64 entries may wrap; casts from narrower types may not.
  auto whole = [&](const NormalForm& f) {
    if (reading == Reading::data) return true;
    for (const auto& [m, c] : f.terms()) {
      int data = 0;
      for (Expr a : m) {
        const Node& n = pool[a];
        if (n.op == Op::symbol || n.op == Op::index || n.op == Op::floordiv) continue;
        ++data;
        if (n.type == DType::i64 && (n.op == Op::read || n.op == Op::scalar || n.op == Op::cast || n.op == Op::reduce ||
                                     n.op == Op::map || n.op == Op::scan || n.op == Op::previous))
          return false;
      }
      if (data > 1 || (data == 1 && std::abs(c) > kMaxDataCoefficient)) return false;
    }
    return true;
  };
  auto sound = [&](NormalForm f) { return whole(f) ? f : NormalForm::atom(e); };
  switch (node.op) {
    case Op::neg:
      return sound(arg(0).scaled(-1));
    case Op::add:
      return sound(arg(0) + arg(1));
    case Op::sub:
      return sound(arg(0) - arg(1));
    case Op::mul:
      return sound(arg(0) * arg(1));
    case Op::floordiv:
    case Op::mod: {
      NormalForm a = arg(0), b = arg(1);
      if (a.overflow() || b.overflow()) return NormalForm::overflowed();
      if (!whole(a) || !whole(b)) return NormalForm::atom(e);
      const auto divisor = b.as_constant();
      NormalForm outside;  // the part of the quotient that is plain
      if (divisor && *divisor > 0) {
        auto split = a.divided(b);
        outside = split.quotient;
        a = split.rest;
        if (auto rest = a.as_constant(); rest && *rest >= 0 && *rest < *divisor)
          return node.op == Op::floordiv ? outside : NormalForm::constant(*rest);
      }
      if (divisor && *divisor == 0) return NormalForm::constant(0);
      NormalForm q = outside + NormalForm::atom(pool.apply(Op::floordiv, {expression(a), expression(b)}));
      // a mod b = a - b*(a div b) needs b != 0; for a symbolic b that may be 0 the atom keeps the operator itself.
      if (node.op == Op::floordiv) return q;
      if (divisor) return arg(0) - b * q;
      return NormalForm::atom(pool.apply(Op::mod, {expression(a), expression(b)}));
    }
    case Op::min:
    case Op::max: {
      Expr a = expression(arg(0)), b = expression(arg(1));
      if (!a || !b) return NormalForm::overflowed();
      if (b < a) std::swap(a, b);
      Expr m = pool.apply(node.op, {a, b});
      if (pool[m].op != node.op) return normal(m, reading);
      return NormalForm::atom(m);
    }
    default:
      return NormalForm::atom(e);
  }
}

Expr Sizes::expression(const NormalForm& form) {
  ir::ExprPool& pool = program_.pool;
  if (form.overflow()) return {};
  Expr sum;
  // Positive terms first, the constant last, so that N - 1 is not written as -1 + N.
  for (int round = 0; round < 3; ++round)
    for (const auto& [m, c] : form.terms()) {
      const int turn = m.empty() ? 2 : c > 0 ? 0 : 1;
      if (turn != round) continue;
      Expr product;
      for (Expr a : m) {
        Expr wide = pool.cast(a, DType::i64);
        product = product ? pool.mul(product, wide) : wide;
      }
      if (sum && c < 0 && c != INT64_MIN) {
        Expr magnitude = pool.integer(-c);
        sum = pool.sub(sum, !product ? magnitude : c == -1 ? product : pool.mul(magnitude, product));
      } else {
        Expr term = !product ? pool.integer(c) : c == 1 ? product : pool.mul(pool.integer(c), product);
        sum = sum ? pool.add(sum, term) : term;
      }
    }
  return sum ? sum : pool.integer(0);
}

bool Sizes::equal(Expr a, Expr b) {
  if (a == b) return true;
  const NormalForm fa = normal(a), fb = normal(b);
  if (fa == fb) return true;
  if (!fa.as_constant() && !fb.as_constant()) return false;
  return normal(a, Reading::values) == normal(b, Reading::values);
}

std::optional<Expr> Sizes::divided(Expr a, Expr b) {
  const NormalForm fa = normal(a), fb = normal(b);
  if (fa.overflow() || fb.terms().size() != 1) return std::nullopt;
  auto split = fa.divided(fb);
  if (!split.rest.is_zero()) return std::nullopt;
  return expression(split.quotient);
}

bool Sizes::unify(Expr a, Expr b) {
  const NormalForm d = normal(a) - normal(b);
  if (d.overflow()) return false;
  if (d.is_zero()) return true;
  // The youngest symbol that stands alone with coefficient 1 or -1 is written in terms of the others.
  Expr best;
  for (const auto& [m, c] : d.terms()) {
    if (m.size() != 1 || (c != 1 && c != -1) || program_.pool[m[0]].op != Op::symbol) continue;
    bool alone = true;
    for (const auto& [other, unused] : d.terms())
      if (&other != &m && std::any_of(other.begin(), other.end(),
                                      [&](Expr x) { return x == m[0] || (ir::is_elementwise(program_.pool[x].op)); }))
        alone = false;
    if (alone && (!best || program_.pool[best].payload < program_.pool[m[0]].payload)) best = m[0];
  }
  if (!best) return false;
  const std::int64_t c = d.coefficient({best});
  NormalForm rest = d - NormalForm::atom(best).scaled(c);
  same_.emplace(static_cast<ir::SymbolId>(program_.pool[best].payload), expression(rest.scaled(-c)));
  for (auto& cache : cache_) cache.clear();
  return true;
}

std::string Sizes::text(Expr e) const { return text(e, kMaxTextDepth); }

std::string Sizes::text(Expr e, int depth) const {
  if (!e) return "?";
  if (depth == 0) return "...";
  const ir::ExprPool& pool = program_.pool;
  const Node& n = pool[e];
  // Precedence: 3 leaf, 2 product, 1 sum, 0 the rest.
  auto level = [&](Expr x) {
    switch (pool[x].op) {
      case Op::mul:
      case Op::floordiv:
      case Op::mod:
      case Op::div:
        return 2;
      case Op::add:
      case Op::sub:
        return 1;
      case Op::constant:
        return is_float(pool.type(x)) || pool[x].payload >= 0 ? 3 : 1;
      default:
        return !ir::is_elementwise(pool[x].op) || ir::info(pool[x].op).infix.empty() ? 3 : 0;
    }
  };
  auto wrapped = [&](Expr x, int least) {
    Expr inner = x;
    while (pool[inner].op == Op::cast) inner = pool[inner].args[0];
    return level(inner) < least ? fmt::format("({})", text(inner, depth - 1)) : text(inner, depth - 1);
  };
  auto list = [&](const std::vector<Expr>& args) {
    std::string out;
    for (Expr a : args) out += fmt::format("{}{}", out.empty() ? "" : ", ", text(a, depth - 1));
    return out;
  };
  switch (n.op) {
    case Op::constant: {
      if (double v = 0; pool.is_real_constant(e, &v)) return fmt::format("{}", v);
      return n.type == DType::boolean ? (n.payload ? "true" : "false") : fmt::format("{}", n.payload);
    }
    case Op::symbol:
      return program_.symbols[n.payload].name;
    case Op::index:
      return program_.indices[n.payload].name;
    case Op::scalar:
      return program_.scalars[n.payload].name;
    case Op::read:
      return fmt::format("{}[{}]", program_.tensors[n.payload].name, list(n.args));
    case Op::cast:
      return text(n.args[0], depth - 1);
    case Op::neg:
      return fmt::format("-{}", wrapped(n.args[0], 3));
    case Op::add:
    case Op::sub:
    case Op::mul:
    case Op::floordiv:
    case Op::mod:
    case Op::div: {
      const int own = n.op == Op::add || n.op == Op::sub ? 1 : 2;
      const char* gap = n.op == Op::mul ? "" : " ";
      return fmt::format("{0}{1}{2}{1}{3}", wrapped(n.args[0], own), gap, ir::info(n.op).infix,
                         wrapped(n.args[1], own + 1));
    }
    default:
      if (!ir::is_elementwise(n.op)) return std::string(ir::name(n.op));
      if (!ir::info(n.op).infix.empty() && n.args.size() == 2)
        return fmt::format("{} {} {}", wrapped(n.args[0], 1), ir::info(n.op).infix, wrapped(n.args[1], 1));
      return fmt::format("{}({})", ir::name(n.op), list(n.args));
  }
}

}  // namespace quern::dsl
