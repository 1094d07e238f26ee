// How reductions stream while what they read still changes (algebra.h). F is split by its structure: factors are looked
// for through products, quotients, guards and permitted roundings; exponents through sums; what is left must be a
// polynomial in the y-only parts, found by differentiating until nothing is left.
#include "compiler/passes/algebra.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "compiler/passes/walk.h"
#include "dsl/ir/print_program.h"

namespace quern::compiler {

using namespace ir;

namespace {

constexpr int kCentre = 100, kCentreNext = 110;  // accumulator payloads of the stand-ins

bool is_value(const ExprPool& pool, Expr e, double value) {
  double v = 0;
  std::int64_t i = 0;
  if (pool.is_real_constant(e, &v)) return v == value;
  return pool.is_integer_constant(e, &i) && static_cast<double>(i) == value;
}

// Arithmetic that folds what derivatives produce (0, 1, -1, constants).
Expr plus(ExprPool& pool, Expr a, Expr b) {
  if (is_value(pool, a, 0)) return b;
  if (is_value(pool, b, 0)) return a;
  double x = 0, y = 0;
  if (pool.is_real_constant(a, &x) && pool.is_real_constant(b, &y)) return pool.real(x + y, pool.type(a));
  if (a == b) return pool.mul(number(pool, 2, a), a);
  return pool.add(a, b);
}
Expr minus(ExprPool& pool, Expr a) {
  double x = 0;
  if (pool.is_real_constant(a, &x)) return pool.real(-x, pool.type(a));
  if (pool[a].op == Op::neg) return pool[a].args[0];
  if (pool[a].op == Op::sub) return pool.sub(pool[a].args[1], pool[a].args[0]);
  return pool.apply(Op::neg, {a});
}
Expr times(ExprPool& pool, Expr a, Expr b) {
  if (is_value(pool, a, 0) || is_value(pool, b, 1)) return a;
  if (is_value(pool, b, 0) || is_value(pool, a, 1)) return b;
  if (is_value(pool, a, -1)) return minus(pool, b);
  if (is_value(pool, b, -1)) return minus(pool, a);
  double x = 0, y = 0;
  if (pool.is_real_constant(a, &x) && pool.is_real_constant(b, &y)) return pool.real(x * y, pool.type(a));
  // Constants and signs to the front: 2 * (-1 * x) folds.
  if (pool.is_real_constant(b)) std::swap(a, b);
  if (pool.is_real_constant(a, &x)) {
    const Node& n = pool[b];
    if (n.op == Op::neg) return times(pool, pool.real(-x, pool.type(a)), n.args[0]);
    if (n.op == Op::mul && pool.is_real_constant(n.args[0], &y)) return times(pool, pool.real(x * y, pool.type(a)), n.args[1]);
  }
  return pool.mul(a, b);
}

bool contains(const ExprPool& pool, Expr e, Expr part) {
  bool found = false;
  for_each_node(pool, e, [&](Expr at) { found |= at == part; });
  return found;
}

Expr replace(ExprPool& pool, Expr e, Expr from, Expr to) {
  return pool.rewrite(e, [&](Expr at) { return at == from ? to : Expr{}; });
}

/// A part of an exponent (or of a term under max): sign * e.
struct Term {
  int sign = 1;
  Expr e;
};

struct Splitter {
  Program& program;
  ExprPool& pool;
  std::span<const IndexId> axes;
  std::span<const Streamed> y;
  std::map<std::uint32_t, bool> reads_y;

  Splitter(Program& p, std::span<const IndexId> a, std::span<const Streamed> s) : program(p), pool(p.pool), axes(a), y(s) {}

  bool has_y(Expr e) {
    if (auto it = reads_y.find(e.id); it != reads_y.end()) return it->second;
    bool found = std::any_of(y.begin(), y.end(), [&](const Streamed& s) { return s.now == e; });
    for (Expr a : pool[e].args) found = found || has_y(a);
    return reads_y[e.id] = found;
  }
  bool has_x(Expr e) { return pool.depends_on_any(e, axes); }

  /// The reducer that makes the value read by `read`.
  std::optional<Reducer> made_by(Expr read) {
    const Node& n = pool[read];
    if (n.op != Op::read) return std::nullopt;
    for (const Equation& equation : program.equations)
      if (std::find(equation.targets.begin(), equation.targets.end(), static_cast<TensorId>(n.payload)) != equation.targets.end() &&
          pool[equation.body].op == Op::reduce)
        return static_cast<Reducer>(pool[equation.body].payload);
    return std::nullopt;
  }
  /// -inf or inf when y starts there.
  std::optional<double> start_of(Expr read) {
    const auto reducer = made_by(read);
    if (!reducer || !is_float(pool.type(read))) return std::nullopt;
    if (*reducer == Reducer::max) return -std::numeric_limits<double>::infinity();
    if (*reducer == Reducer::min) return std::numeric_limits<double>::infinity();
    return std::nullopt;
  }
  /// y with a finite stand-in for the value of a max or min that has seen nothing.
  Expr finite(Expr value, Expr read) {
    const auto start = start_of(read);
    if (!start) return value;
    const Expr nothing = number(pool, *start, value);
    return pool.where(pool.apply(Op::eq, {value, nothing}), number(pool, 0, value), value);
  }
  Expr with(Expr e, bool now, bool safe) {
    for (const Streamed& s : y) {
      const Expr value = now ? s.now : s.before;
      const Expr to = safe ? finite(value, s.now) : value;
      if (to != s.now) e = replace_read(e, s.now, to);
    }
    return e;
  }
  /// One pass over e, so that a replacement that contains the read itself is not replaced again.
  Expr replace_read(Expr e, Expr read, Expr to) { return replace(pool, e, read, to); }

  bool absorbs(Expr e) { return is_value(pool, e, -std::numeric_limits<double>::infinity()); }

  /// e = (something without y) + the terms of `out`, each without x.
  bool split_sum(Expr e, int sign, Expr scale, bool divide, std::vector<Term>& out) {
    if (!has_y(e)) return true;
    if (!has_x(e)) {
      if (scale) e = divide ? pool.div(e, scale) : pool.mul(e, scale);
      out.push_back({sign, e});
      return true;
    }
    const Node n = pool[e];
    switch (n.op) {
      case Op::neg: return split_sum(n.args[0], -sign, scale, divide, out);
      case Op::add: return split_sum(n.args[0], sign, scale, divide, out) && split_sum(n.args[1], sign, scale, divide, out);
      case Op::sub: return split_sum(n.args[0], sign, scale, divide, out) && split_sum(n.args[1], -sign, scale, divide, out);
      case Op::mul:
      case Op::div:
        for (int side = 0; side < 2; ++side) {
          const Expr by = n.args[1 - side];
          if (has_x(by) || has_y(by) || (n.op == Op::div && side == 1)) continue;
          Expr inner = scale;
          bool inner_divide = divide;
          if (!scale) inner = by, inner_divide = n.op == Op::div;
          else if (divide == (n.op == Op::div)) inner = pool.mul(scale, by);
          else inner = divide ? pool.div(by, scale) : pool.div(scale, by), inner_divide = false;
          return split_sum(n.args[side], sign, inner, inner_divide, out);
        }
        return false;
      case Op::where:
        // exp(where(c, s, -inf)) is where(c, exp(s), 0).
        if (!has_y(n.args[0]) && absorbs(n.args[2]) && sign > 0) return split_sum(n.args[1], sign, scale, divide, out);
        if (!has_y(n.args[0]) && absorbs(n.args[1]) && sign > 0) return split_sum(n.args[2], sign, scale, divide, out);
        return false;
      default: return false;
    }
  }

  /// Factors of e: exponents that hold y go to `exponents`, polynomial candidates to `rest`.
  bool split_product(Expr e, std::vector<Term>& exponents, bool& base2, bool& base_e, std::vector<Expr>& rest) {
    if (!has_y(e)) return true;
    const Node n = pool[e];
    switch (n.op) {
      case Op::neg: return split_product(n.args[0], exponents, base2, base_e, rest);
      case Op::mul:
        return split_product(n.args[0], exponents, base2, base_e, rest) && split_product(n.args[1], exponents, base2, base_e, rest);
      case Op::div:
        if (has_y(n.args[1])) break;
        return split_product(n.args[0], exponents, base2, base_e, rest);
      case Op::cast:
        if (n.flags & kAllowed || (is_float(n.type) && pool[n.args[0]].op == Op::cast && (pool[n.args[0]].flags & kAllowed)))
          return split_product(n.args[0], exponents, base2, base_e, rest);
        break;
      case Op::where:
        if (has_y(n.args[0])) break;
        if (is_value(pool, n.args[2], 0)) return split_product(n.args[1], exponents, base2, base_e, rest);
        if (is_value(pool, n.args[1], 0)) return split_product(n.args[2], exponents, base2, base_e, rest);
        break;
      case Op::exp:
      case Op::exp2: {
        std::vector<Term> terms;
        if (!split_sum(n.args[0], 1, {}, false, terms)) return false;
        (n.op == Op::exp ? base_e : base2) = true;
        exponents.insert(exponents.end(), terms.begin(), terms.end());
        return true;
      }
      default: break;
    }
    rest.push_back(e);
    return true;
  }

  /// Parts of e that depend on y and not on x, as large as possible.
  void whole_parts(Expr e, std::vector<Expr>& out) {
    if (!has_y(e)) return;
    if (!has_x(e)) {
      if (std::find(out.begin(), out.end(), e) == out.end()) out.push_back(e);
      return;
    }
    for (Expr a : pool[e].args) whole_parts(a, out);
  }
};

/// new - old of a sum of signed terms, written so that -m becomes m_old - m_new.
Expr difference(Splitter& s, const std::vector<Term>& terms) {
  Expr out;
  for (const Term& t : terms) {
    const Expr next = s.with(t.e, true, true), last = s.with(t.e, false, true);
    const Expr d = t.sign > 0 ? s.pool.sub(next, last) : s.pool.sub(last, next);
    out = out ? s.pool.add(out, d) : d;
  }
  return out;
}

std::string sum_text(const Program& p, const std::vector<Term>& terms) {
  std::string out;
  for (const Term& t : terms) out += fmt::format("{}{}", t.sign < 0 ? "-" : out.empty() ? "" : "+", print_expr(p, t.e));
  return out;
}

}  // namespace

std::optional<Expr> derivative(Program& program, Expr F, Expr y) {
  ExprPool& pool = program.pool;
  if (!contains(pool, F, y)) return number(pool, 0, F);
  if (F == y) return number(pool, 1, F);
  const Node n = pool[F];
  auto d = [&](std::size_t k) { return derivative(program, n.args[k], y); };
  switch (n.op) {
    case Op::neg: {
      const auto a = d(0);
      if (!a) return std::nullopt;
      return minus(pool, *a);
    }
    case Op::add: case Op::sub: {
      const auto a = d(0), b = d(1);
      if (!a || !b) return std::nullopt;
      return plus(pool, *a, n.op == Op::add ? *b : minus(pool, *b));
    }
    case Op::mul: {
      const auto a = d(0), b = d(1);
      if (!a || !b) return std::nullopt;
      return plus(pool, times(pool, *a, n.args[1]), times(pool, n.args[0], *b));
    }
    case Op::div: {
      if (contains(pool, n.args[1], y)) return std::nullopt;
      const auto a = d(0);
      if (!a) return std::nullopt;
      return is_value(pool, *a, 0) ? *a : pool.div(*a, n.args[1]);
    }
    case Op::pow: {
      double k = 0;
      if (!pool.is_real_constant(n.args[1], &k) || k != std::floor(k) || k < 1 || k > 16) return std::nullopt;
      const auto a = d(0);
      if (!a) return std::nullopt;
      Expr power = n.args[0];
      if (k == 1) return a;
      if (k > 2) power = pool.apply(Op::pow, {n.args[0], number(pool, k - 1, F)});
      return times(pool, times(pool, number(pool, k, F), power), *a);
    }
    case Op::cast: {
      // A permitted rounding is taken as exact.
      const bool permitted = n.flags & kAllowed;
      const bool widens = pool[n.args[0]].op == Op::cast && (pool[n.args[0]].flags & kAllowed);
      if (!permitted && !widens) return std::nullopt;
      const Expr inner = permitted ? n.args[0] : pool[n.args[0]].args[0];
      return derivative(program, inner, y);
    }
    case Op::where: {
      if (contains(pool, n.args[0], y)) return std::nullopt;
      const auto a = d(1), b = d(2);
      if (!a || !b) return std::nullopt;
      return pool.where(n.args[0], *a, *b);
    }
    default: return std::nullopt;
  }
}

namespace {

constexpr int kMaxDegree = 4;

/// Running sums of all derivatives of F in the parts u, for a sum whose rest factor was found to hold them.
bool make_polynomial(Splitter& s, Expr F, const std::vector<Expr>& rest, Shift& out) {
  ExprPool& pool = s.pool;
  std::vector<Expr> parts;
  for (Expr r : rest) s.whole_parts(r, parts);
  if (parts.empty() || parts.size() > 2) return false;
  const DType type = pool.type(F);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (pool.type(parts[i]) != type) return false;
    // A maximum over nothing is infinite, a sum is not: only sums may be moved to.
    for (const Streamed& one : s.y)
      if (contains(pool, parts[i], one.now) && s.made_by(one.now) != Reducer::sum) return false;
    out.centres.push_back(pool.accumulator(type, kCentre + static_cast<int>(i)));
    out.centres_next.push_back(pool.accumulator(type, kCentreNext + static_cast<int>(i)));
    out.final_centres.push_back(parts[i]);
  }
  // Only the rest factors are polynomials; a u that also stands in an exponent would escape.
  Expr centred = F;
  for (std::size_t i = 0; i < parts.size(); ++i) centred = replace(pool, centred, parts[i], out.centres[i]);
  std::map<std::vector<int>, Expr> table;  // derivative by order in each u
  std::vector<std::vector<int>> order;
  const std::vector<int> none(parts.size(), 0);
  table[none] = centred;
  order.push_back(none);
  // Differentiating through exp(..) is not needed: the exponents do not hold the centres.
  for (std::size_t at = 0; at < order.size(); ++at) {
    const std::vector<int> from = order[at];
    for (std::size_t i = 0; i < parts.size(); ++i) {
      std::vector<int> to = from;
      ++to[i];
      if (table.contains(to)) continue;
      const auto d = derivative(s.program, table[from], out.centres[i]);
      if (!d) return false;
      if (is_value(pool, *d, 0)) continue;
      if (to[i] > kMaxDegree) return false;
      table[to] = *d;
      order.push_back(to);
    }
  }
  if (order.size() == 1) return false;
  std::map<std::vector<int>, int> number_of;
  for (std::size_t k = 0; k < order.size(); ++k) {
    number_of[order[k]] = static_cast<int>(k);
    out.bodies.push_back(s.with(table[order[k]], true, true));
  }
  auto sum_of = [&](const std::vector<int>& by) -> Expr {
    auto it = number_of.find(by);
    return it == number_of.end() ? Expr{} : pool.accumulator(type, it->second);
  };
  // Taylor: A_a(c + d) = sum over b of d^b / b! * A_(a+b).
  for (const std::vector<int>& from : order) {
    Expr value = sum_of(from), all_zero = pool.boolean(true);
    const Expr self = value;
    for (const std::vector<int>& to : order) {
      bool above = to != from;
      double factorial = 1;
      Expr power = number(pool, 1, self);
      for (std::size_t i = 0; i < parts.size(); ++i) {
        above = above && to[i] >= from[i];
        for (int k = 1; k <= to[i] - from[i]; ++k) {
          factorial *= k;
          power = times(pool, power, pool.sub(out.centres_next[i], out.centres[i]));
        }
      }
      if (!above) continue;
      const Expr higher = sum_of(to);
      value = plus(pool, value, times(pool, times(pool, number(pool, 1 / factorial, self), power), higher));
      all_zero = pool.both(all_zero, pool.apply(Op::eq, {higher, number(pool, 0, higher)}));
    }
    // Nothing summed yet (or over nothing at all): wherever the centre goes, the sums stay 0.
    out.moved.push_back(value == self ? self : pool.where(all_zero, self, value));
  }
  // The centre where the first derivatives vanish: for a square, the running (weighted) mean.
  auto step = [&](Expr centre, Expr slope, Expr curve) {
    const Expr still = pool.apply(Op::eq, {curve, number(pool, 0, curve)});
    return pool.where(still, centre, pool.sub(centre, pool.div(slope, curve)));
  };
  if (parts.size() == 1) {
    const Expr slope = sum_of({1}), curve = sum_of({2});
    if (curve && !sum_of({3})) out.recentre.push_back(step(out.centres[0], slope, curve));
  } else {
    const Expr cross = sum_of({1, 1});
    if (cross && sum_of({1, 0}) && sum_of({0, 1}) && !sum_of({2, 0}) && !sum_of({0, 2})) {
      out.recentre.push_back(step(out.centres[0], sum_of({0, 1}), cross));
      out.recentre.push_back(step(out.centres[1], sum_of({1, 0}), cross));
    }
  }
  std::vector<std::string> names;
  for (Expr part : parts) names.push_back(print_expr(s.program, part));
  out.derivation.push_back(fmt::format("F is a polynomial in u = {}: derivatives end after {} running sums", fmt::join(names, ", "), order.size()));
  out.derivation.push_back("A_0 <- A_0 + (u_new - u_old) * A_1 + (u_new - u_old)^2 / 2 * A_2 ... (Taylor at a moving centre)");
  if (!out.recentre.empty()) out.derivation.push_back("the centre follows u_old - A_1 / A_2, where the first derivative vanishes (Chan)");
  return true;
}

}  // namespace

std::optional<Shift> split(Program& program, Expr F, std::span<const IndexId> axes, std::span<const Streamed> y, Reducer reducer) {
  ExprPool& pool = program.pool;
  Splitter s(program, axes, y);
  Shift out;
  if (!s.has_y(F)) {
    out.bodies.push_back(F);
    out.derivation.push_back("F does not read what still changes");
    return out;
  }
  if (!is_float(pool.type(F)) || tree_size(pool, F) > kLargestTree) return std::nullopt;
  const DType type = pool.type(F);

  if (reducer == Reducer::max || reducer == Reducer::min) {
    std::vector<Term> terms;
    if (!s.split_sum(F, 1, {}, false, terms) || terms.empty()) return std::nullopt;
    out.bodies.push_back(s.with(F, true, true));
    out.term = difference(s, terms);
    Expr exact;
    for (const Term& t : terms) {
      const Expr d = pool.sub(t.e, s.with(t.e, true, true));
      exact = !exact ? (t.sign > 0 ? d : minus(pool, d)) : t.sign > 0 ? pool.add(exact, d) : pool.sub(exact, d);
    }
    for (const Streamed& one : y)
      if (const auto start = s.start_of(one.now)) {
        const Expr nothing = pool.apply(Op::eq, {one.now, number(pool, *start, one.now)});
        const Expr acc = out.finish ? out.finish : pool.accumulator(type);
        out.finish = pool.where(nothing, pool.add(pool.accumulator(type), exact), acc);
      }
    out.derivation.push_back(fmt::format("F = g(x) + h(y) with h = {}", sum_text(program, terms)));
    out.derivation.push_back("A <- A + h(new) - h(old)");
    return out;
  }
  if (reducer != Reducer::sum) return std::nullopt;

  std::vector<Term> exponents;
  std::vector<Expr> rest;
  bool base2 = false, base_e = false;
  if (!s.split_product(F, exponents, base2, base_e, rest)) return std::nullopt;
  if (base2 && base_e && !exponents.empty()) return std::nullopt;
  const Op exp = base2 ? Op::exp2 : Op::exp;
  const char* exp_name = base2 ? "exp2" : "exp";
  if (!exponents.empty()) {
    const Expr limit = pool.real(type == DType::f64 ? std::numeric_limits<double>::max() : largest_finite(DType::f32), type);
    // Bounded, so that a running sum of 0 stays 0 when its row sees its first value.
    out.factor = pool.min(pool.apply(exp, {difference(s, exponents)}), limit);
    out.derivation.push_back(fmt::format("F = g(x) * {0}({1})", exp_name, sum_text(program, exponents)));
    out.derivation.push_back(fmt::format("A <- A * {0}(h(new) - h(old)) with h = {1}", exp_name, sum_text(program, exponents)));
    for (const Streamed& one : y) {
      const auto start = s.start_of(one.now);
      if (!start) continue;
      bool used = false;
      for (const Term& t : exponents) used |= contains(pool, t.e, one.now);
      if (!used) continue;
      Expr exact;
      for (const Term& t : exponents) {
        const Expr d = t.sign > 0 ? pool.sub(t.e, s.with(t.e, true, true)) : pool.sub(s.with(t.e, true, true), t.e);
        exact = exact ? pool.add(exact, d) : d;
      }
      const Expr nothing = pool.apply(Op::eq, {one.now, number(pool, *start, one.now)});
      const Expr acc = pool.accumulator(type);
      out.finish = pool.where(nothing, pool.mul(acc, pool.apply(exp, {exact})), out.finish ? out.finish : acc);
    }
  }
  if (rest.empty()) {
    out.bodies.push_back(s.with(F, true, true));
    return out;
  }
  if (!make_polynomial(s, F, rest, out)) return std::nullopt;
  return out;
}

}  // namespace quern::compiler
