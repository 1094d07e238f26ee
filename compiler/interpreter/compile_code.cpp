// Index IR -> items. Each binder opens loop levels; an expression lives at the innermost level that it depends on, and
// where it is used further in, or more than once, a `share` item remembers it until that level moves. So whatever does
// not depend on an inner loop is computed once outside it, without any transformation of the program.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "compiler/interpreter/code.h"
#include "compiler/interpreter/interpret.h"
#include "compiler/interpreter/leaving_factors.h"
#include "compiler/interpreter/powers_of_previous.h"
#include "compiler/interpreter/reassociation.h"

namespace quern::interpreter {
namespace {

using ir::IndexId;
using ir::Node;

class Compiler {
 public:
  Compiler(ir::Program& program, const std::vector<std::int64_t>& symbols)
      : p_(program), pool_(program.pool), symbols_(symbols) {}
  Code run();

 private:
  ir::Program& p_;
  ir::ExprPool& pool_;
  const std::vector<std::int64_t>& symbols_;
  Code code_;
  std::unordered_map<IndexId, int> level_of_;
  std::vector<std::uint32_t> serial_;  // by level: which opening of the level this is
  std::uint32_t openings_ = 0;
  int base_level_ = 0;  // first level of the current equation
  int scan_level_ = 0;  // level of the enclosing scan's axis
  std::uint32_t scan_form_ = 0;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> done_;  // (expr, opening) -> item
  std::map<std::uint32_t, std::uint32_t> shared_;                          // item -> its share
  std::unordered_map<std::uint32_t, int> uses_;
  Reassociation reassociation_{p_, code_.definition};
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> topk_rows_;

  std::int64_t size(Expr e) { return compiler::evaluate_size(p_, e, symbols_); }
  Axis open(IndexId i);
  void leaving(Form& f, const Node& n, int site);
  void count_uses(Expr e, std::unordered_set<std::uint32_t>& seen);
  bool recurrent(Expr e) { return reassociation_.recurrent(e); }
  int level(Expr e);
  std::uint32_t use(Expr e, int site);
  std::uint32_t compile(Expr e, int site);
  std::uint32_t build(Expr e, int site);
  std::uint32_t form(Expr e);
  std::uint32_t read(Expr e, int site);
  std::uint32_t product(Expr e, Item item, int site);
  Subscript subscript(Expr e, int site);
  bool affine(Expr e, std::int64_t factor, Affine& out);
  bool nonnegative(Expr e);
  bool hides(Expr e);
  void support(Expr e, std::vector<Expr>& conditions);
  std::uint32_t add(Item item) {
    code_.items.push_back(item);
    return static_cast<std::uint32_t>(code_.items.size() - 1);
  }
  void equation(std::size_t k);
};

Axis Compiler::open(IndexId i) {
  const int level = static_cast<int>(serial_.size());
  serial_.push_back(++openings_);
  level_of_[i] = level;
  return {level, size(p_.indices[i].begin), std::max(size(p_.indices[i].begin), size(p_.indices[i].end))};
}

void Compiler::count_uses(Expr e, std::unordered_set<std::uint32_t>& seen) {
  if (!e) return;
  ++uses_[e.id];
  if (!seen.insert(e.id).second) return;
  for (Expr a : pool_[e].args) count_uses(a, seen);
}

int Compiler::level(Expr e) {
  int out = recurrent(e) ? scan_level_ : 0;
  for (IndexId i : pool_.free_indices(e))
    if (auto it = level_of_.find(i); it != level_of_.end()) out = std::max(out, it->second);
  return out;
}

std::uint32_t Compiler::use(Expr e, int site) {
  const std::uint32_t id = compile(e, site);
  const Item& item = code_.items[id];
  const Kind kind = item.kind;
  if (kind == Kind::constant || kind == Kind::level || kind == Kind::affine || kind == Kind::scalar ||
      kind == Kind::previous || kind == Kind::share)
    return id;
  const bool once = uses_[e.id] <= 1 && item.level >= site;
  if (once) return id;
  if (kind == Kind::widen) return id;
  if (auto it = shared_.find(id); it != shared_.end()) return it->second;
  Item share;
  share.kind = Kind::share;
  share.type = item.type;
  share.level = item.level;
  share.a = id;
  const std::uint32_t out = add(share);
  shared_[id] = out;
  return out;
}

std::uint32_t Compiler::compile(Expr e, int) {
  const int at = level(e);
  const auto key = std::make_pair(e.id, serial_[static_cast<std::size_t>(at)]);
  if (auto it = done_.find(key); it != done_.end()) return it->second;
  const std::uint32_t id = build(e, at);
  done_[key] = id;
  return id;
}

bool Compiler::affine(Expr e, std::int64_t factor, Affine& out) {
  const Node& n = pool_[e];
  if (n.type != DType::i64) return false;
  std::int64_t value = 0;
  auto plus = [&](std::int64_t v) {
    std::int64_t term = 0;
    return !__builtin_mul_overflow(v, factor, &term) && !__builtin_add_overflow(out.base, term, &out.base);
  };
  switch (n.op) {
    case Op::constant:
      return plus(n.payload);
    case Op::symbol:
      return plus(symbols_[static_cast<std::size_t>(n.payload)]);
    case Op::index: {
      const auto it = level_of_.find(static_cast<IndexId>(n.payload));
      if (it == level_of_.end()) return false;
      for (auto& [l, f] : out.terms)
        if (l == it->second) return !__builtin_add_overflow(f, factor, &f);
      out.terms.emplace_back(it->second, factor);
      return true;
    }
    case Op::add:
      return affine(n.args[0], factor, out) && affine(n.args[1], factor, out);
    case Op::sub:
      return affine(n.args[0], factor, out) && affine(n.args[1], -factor, out);
    case Op::neg:
      return affine(n.args[0], -factor, out);
    case Op::mul:
      for (int k = 0; k < 2; ++k) {
        const Node& c = pool_[n.args[static_cast<std::size_t>(k)]];
        if (c.op == Op::constant)
          value = c.payload;
        else if (c.op == Op::symbol)
          value = symbols_[static_cast<std::size_t>(c.payload)];
        else
          continue;
        std::int64_t scaled = 0;
        return !__builtin_mul_overflow(value, factor, &scaled) &&
               affine(n.args[static_cast<std::size_t>(1 - k)], scaled, out);
      }
      return false;
    default:
      return false;
  }
}

Subscript Compiler::subscript(Expr e, int site) {
  Subscript s;
  s.expr = e;
  s.affine = affine(e, 1, s.form);
  if (!s.affine) {
    s.form = {};
    s.item = use(e, site);
  }
  return s;
}

/// Cannot be below zero in any correct implementation.
bool Compiler::nonnegative(Expr e) {
  const Node& n = pool_[e];
  switch (n.op) {
    case Op::constant:
      return is_float(n.type) ? std::bit_cast<double>(n.payload) >= 0 : n.payload >= 0;
    case Op::symbol:
      return symbols_[static_cast<std::size_t>(n.payload)] >= 0;
    case Op::index:
      return size(p_.indices[static_cast<IndexId>(n.payload)].begin) >= 0;
    case Op::read:
      return n.type == DType::u8 || n.type == DType::boolean;
    case Op::cast:
      return nonnegative(n.args[0]);
    case Op::abs:
    case Op::relu:
    case Op::exp:
    case Op::exp2:
    case Op::sqrt:
    case Op::rsqrt:
    case Op::sigmoid:
    case Op::softplus:
    case Op::cosh:
    case Op::hypot:
      return true;
    case Op::mul:
      if (n.args[0] == n.args[1]) return true;
      [[fallthrough]];
    case Op::add:
    case Op::min:
    case Op::div:
      return nonnegative(n.args[0]) && nonnegative(n.args[1]);
    case Op::max:
      return nonnegative(n.args[0]) || nonnegative(n.args[1]);
    case Op::where:
      return nonnegative(n.args[1]) && nonnegative(n.args[2]);
    case Op::pow: {
      double v = 0;
      return nonnegative(n.args[0]) || (pool_.is_real_constant(n.args[1], &v) && v == 2);
    }
    case Op::reduce:
      switch (static_cast<ir::Reducer>(n.payload)) {
        case ir::Reducer::var:
        case ir::Reducer::std:
        case ir::Reducer::norm:
        case ir::Reducer::count:
          return true;
        case ir::Reducer::sum:
        case ir::Reducer::mean:
        case ir::Reducer::prod:
          return nonnegative(n.args[0]);
        default:
          return false;
      }
    case Op::map:
      return static_cast<ir::AxisMap>(n.payload) == ir::AxisMap::softmax;
    default:
      return false;
  }
}

/// A zero of `e` may come from exp(-inf): a dead score, whose partner in a product a back end may skip or read.
bool Compiler::hides(Expr e) {
  const Node& n = pool_[e];
  switch (n.op) {
    case Op::exp:
    case Op::exp2:
      return true;
    case Op::map:
      return static_cast<ir::AxisMap>(n.payload) == ir::AxisMap::softmax;
    case Op::cast:
    case Op::neg:
      return hides(n.args[0]);
    case Op::mul:
      return hides(n.args[0]) || hides(n.args[1]);
    case Op::div:
      return hides(n.args[0]);
    case Op::read: {
      const int k = code_.definition[static_cast<std::size_t>(n.payload)];
      return k >= 0 && p_.equations[static_cast<std::size_t>(k)].op == ir::AssignOp::set &&
             hides(p_.equations[static_cast<std::size_t>(k)].body);
    }
    default:
      return false;
  }
}

/// Domains outside of which `e` is a structural zero, through names and factors.
void Compiler::support(Expr e, std::vector<Expr>& conditions) {
  const Node n = pool_[e];
  switch (n.op) {
    case Op::map:
      if (static_cast<ir::AxisMap>(n.payload) == ir::AxisMap::softmax && !pool_.is_true(n.args[1]))
        conditions.push_back(n.args[1]);
      return;
    case Op::cast:
    case Op::neg:
      return support(n.args[0], conditions);
    case Op::mul:
      support(n.args[0], conditions);
      return support(n.args[1], conditions);
    case Op::read: {
      const int k = code_.definition[static_cast<std::size_t>(n.payload)];
      if (k < 0) return;
      const ir::Equation& eq = p_.equations[static_cast<std::size_t>(k)];
      if (eq.op != ir::AssignOp::set || pool_[eq.body].op == Op::topk_value) return;
      std::unordered_map<IndexId, Expr> values;
      for (std::size_t i = 0; i < eq.subscripts.size(); ++i) {
        const Node& s = pool_[eq.subscripts[i]];
        if (s.op != Op::index) return;
        values[static_cast<IndexId>(s.payload)] = n.args[i];
      }
      std::vector<Expr> inner;
      support(eq.body, inner);
      for (Expr c : inner) conditions.push_back(pool_.substitute(c, values));
      return;
    }
    default:
      return;
  }
}

std::uint32_t Compiler::product(Expr e, Item item, int site) {
  const Node n = pool_[e];
  item.hidden = is_float(n.type) && (hides(n.args[0]) || hides(n.args[1]));
  if (item.hidden) item.kind = Kind::product;
  item.a = use(n.args[0], site);
  item.b = use(n.args[1], site);
  const std::uint32_t multiply = add(item);
  std::vector<Expr> conditions;
  support(e, conditions);
  if (conditions.empty()) return multiply;
  Expr all = conditions[0];
  for (Expr c : conditions) all = pool_.both(all, c);
  Item guard;
  guard.kind = Kind::guard;
  guard.type = item.type;
  guard.level = item.level;
  guard.a = use(all, site);
  guard.b = multiply;
  return add(guard);
}

std::uint32_t Compiler::read(Expr e, int site) {
  const Node n = pool_[e];
  Read r;
  r.tensor = static_cast<TensorId>(n.payload);
  r.checked = n.flags & ir::kChecked;
  for (Expr s : n.args) r.subscripts.push_back(subscript(s, site));
  Item item;
  item.kind = Kind::read;
  item.type = n.type;
  item.level = site;
  item.more = static_cast<std::uint32_t>(code_.reads.size());
  code_.reads.push_back(std::move(r));
  return add(item);
}

/// What may leave a sum, and what is left of its term.
void Compiler::leaving(Form& f, const Node& n, int site) {
  const auto reducer = static_cast<ir::Reducer>(n.payload);
  if (n.op != Op::reduce || !is_float(n.type) || (reducer != ir::Reducer::sum && reducer != ir::Reducer::mean)) return;
  std::vector<IndexId> axes;
  for (std::size_t i = 0; i < n.axes.size(); ++i)
    if (f.axes[i].end - f.axes[i].begin > 1) axes.push_back(n.axes[i]);
  const LeavingFactors parts = leaving_factors(p_, n.args[0], axes, [&](TensorId t) {
    const int k = code_.definition[t];
    return k < 0 ? nullptr : &p_.equations[static_cast<std::size_t>(k)];
  });
  for (const auto& [factor, divides] : parts.factors) f.leaving.push_back({use(factor, site), divides});
  if (parts.rest) f.rest = use(parts.rest, site);
  if (recurrent(n.args[0])) {
    f.leaving.push_back({use(pool_.previous(n.type), site), false});
    const std::vector<Expr> powers = powers_of_previous(pool_, n.args[0], [&](Expr e) { return recurrent(e); });
    if (powers.size() > 1)
      for (Expr e : powers) f.powers.push_back(use(e, site));
  }
  for (Expr e : parts.beside_weights) f.beside_weights.push_back(use(e, site));
}

std::uint32_t Compiler::form(Expr e) {
  const Node n = pool_[e];
  Form f;
  f.op = n.op;
  f.type = n.type;
  f.body_type = pool_.type(n.args[0]);
  if (n.op == Op::reduce) f.reducer = static_cast<ir::Reducer>(n.payload);
  if (n.op == Op::map) f.map = static_cast<ir::AxisMap>(n.payload);
  const bool topk = n.op == Op::topk_value || n.op == Op::topk_position;
  const bool keeps = n.op == Op::map || n.op == Op::scan;
  // The key: whatever its body depends on, its own axes apart.
  int outside = 0;
  std::unordered_set<IndexId> depends;
  for (Expr a : n.args)
    for (IndexId i : pool_.free_indices(a)) depends.insert(i);
  for (IndexId a : n.axes) depends.erase(a);
  for (const auto& [i, level] : level_of_) {
    if (!depends.contains(i)) continue;
    const std::int64_t begin = size(p_.indices[i].begin), end = size(p_.indices[i].end);
    f.key.push_back({level, begin, std::max<std::int64_t>(end - begin, 0)});
  }
  std::sort(f.key.begin(), f.key.end(), [](const KeyPart& a, const KeyPart& b) { return a.level < b.level; });
  for (const KeyPart& k : f.key) outside = std::max(outside, k.level);
  if (keeps || topk) {
    const IndexId kept = topk ? n.axes[1] : n.axes[0];
    f.outer_level = level_of_.at(kept);
    f.outer_begin = size(p_.indices[kept].begin);
    if (topk) f.k = std::max<std::int64_t>(size(p_.indices[kept].end) - f.outer_begin, 0);
  }
  // A form inside a scan's body that uses `prev` is not a function of its key.
  bool pure = true;
  for (std::size_t i = 0; i < n.args.size(); ++i)
    pure = pure && !(!(n.op == Op::scan && i == 0) && recurrent(n.args[i]));

  const std::uint32_t id = static_cast<std::uint32_t>(code_.forms.size());
  code_.forms.emplace_back();
  const auto saved = level_of_;
  const std::size_t depth = serial_.size();
  if (n.op == Op::scan) f.init = use(n.args[2], outside);
  const std::size_t bound = topk ? 1 : n.axes.size();
  for (std::size_t i = 0; i < bound; ++i) f.axes.push_back(open(n.axes[i]));
  const int site = static_cast<int>(serial_.size()) - 1;
  const int outer_scan = scan_level_;
  const std::uint32_t outer_form = scan_form_;
  if (n.op == Op::scan) scan_level_ = site, scan_form_ = id;
  f.body = use(n.args[0], site);
  if (!pool_.is_true(n.args[1])) f.domain = use(n.args[1], site);
  leaving(f, n, site);
  if (n.op == Op::scan && is_float(f.type)) {
    f.reorder = reassociation_.of_steps(n.args[0]);
    const Node step = pool_[n.args[0]];
    for (std::size_t side = 0; side < 2 && step.op == Op::mul; ++side)
      if (pool_[step.args[side]].op == Op::previous && !recurrent(step.args[1 - side])) f.factor = use(step.args[1 - side], site);
  }
  scan_level_ = outer_scan;
  scan_form_ = outer_form;
  code_.levels = std::max(code_.levels, static_cast<int>(serial_.size()));
  serial_.resize(depth);
  level_of_ = saved;

  if (const Node product = pool_[n.args[0]]; p_.annotations.fast && n.op == Op::reduce && f.reducer == ir::Reducer::sum && product.op == Op::mul && f.type == DType::f32)
    f.short_sum = std::all_of(product.args.begin(), product.args.end(), [&](Expr e) {
      const DType from = pool_.type(pool_[e].op == Op::cast ? pool_[e].args[0] : e);
      return is_small_float(from) && size_of(from) == 1;
    });
  f.coarse = p_.annotations.tf32 && n.op == Op::reduce && f.reducer == ir::Reducer::sum &&
             pool_[n.args[0]].op == Op::mul && f.type == DType::f32;
  f.row_length = topk ? 2 * f.k : keeps ? f.axes[0].end - f.axes[0].begin : 1;
  // Without a row, remembering pays only if some surrounding level does not matter.
  f.remembered = pure && (topk || keeps || f.key.size() < depth - static_cast<std::size_t>(base_level_));
  if (topk) {
    const auto key = std::make_pair(n.args[0].id, n.args[1].id);
    const auto [it, fresh] = topk_rows_.try_emplace(key, code_.rows);
    if (fresh) ++code_.rows;
    f.row_id = it->second;
  } else {
    f.row_id = code_.rows++;
  }
  code_.forms[id] = std::move(f);
  return id;
}

std::uint32_t Compiler::build(Expr e, int site) {
  const Node n = pool_[e];
  Item item;
  item.op = n.op;
  item.type = n.type;
  item.level = site;
  switch (n.op) {
    case Op::constant:
      if (is_float(n.type))
        item.real = std::bit_cast<double>(n.payload);
      else
        item.integer = n.payload;
      return add(item);
    case Op::symbol:
      item.integer = symbols_[static_cast<std::size_t>(n.payload)];
      return add(item);
    case Op::index:
      item.kind = Kind::level;
      item.a = static_cast<std::uint32_t>(level_of_.at(static_cast<IndexId>(n.payload)));
      return add(item);
    case Op::scalar:
      item.kind = Kind::scalar;
      item.more = static_cast<std::uint32_t>(n.payload);
      return add(item);
    case Op::previous:
      item.kind = Kind::previous;
      item.more = scan_form_;
      return add(item);
    case Op::read:
      return read(e, site);
    case Op::cast: {
      const DType from = pool_.type(n.args[0]);
      item.from = from;
      if (is_float(from) && is_float(n.type)) {
        const Node& inner = pool_[n.args[0]];
        if (is_small_float(from) && (inner.op == Op::read || inner.op == Op::cast))
          return compile(n.args[0], site);  // exact
        item.kind = unit_roundoff(n.type) < unit_roundoff(from) ? Kind::widen
                    : (n.flags & ir::kAllowed)                  ? Kind::permit
                                                                : Kind::round;
      } else {
        item.kind = is_float(from) ? Kind::to_integer : is_float(n.type) ? Kind::to_float : Kind::to_width;
      }
      item.a = use(n.args[0], site);
      // A sum may become one sum per term, each factor rounded on its own.
      if (const Node& inner = pool_[n.args[0]]; item.kind == Kind::permit && (inner.op == Op::add || inner.op == Op::sub)) {
        item.b = use(inner.args[0], site);
        item.c = use(inner.args[1], site);
      }
      return add(item);
    }
    case Op::reduce:
    case Op::map:
    case Op::scan:
    case Op::topk_value:
    case Op::topk_position:
      item.kind = Kind::form;
      item.more = form(e);
      return add(item);
    default:
      break;
  }
  const DType operand = pool_.type(n.args[n.op == Op::where ? 1 : 0]);
  item.from = operand;
  if (!is_float(n.type) && n.type == DType::i64) {
    Affine a;
    if (affine(e, 1, a)) {
      item.kind = Kind::affine;
      item.more = static_cast<std::uint32_t>(code_.affines.size());
      code_.affines.push_back(std::move(a));
      return add(item);
    }
  }
  if (n.op == Op::where)
    item.kind = Kind::choose;
  else if (n.op == Op::and_ || n.op == Op::or_ || n.op == Op::not_)
    item.kind = Kind::logic;
  else if (!is_float(operand))
    item.kind = Kind::whole;
  else if (n.type == DType::boolean)
    item.kind = Kind::compare;
  else
    item.kind = Kind::real;
  if (n.op == Op::mul && is_float(n.type)) return product(e, item, site);
  if (n.op == Op::exp) {
    const Node inner = pool_[n.args[0]];
    if ((inner.op == Op::add || inner.op == Op::sub) && is_float(inner.type)) {
      item.kind = Kind::exp_sum;
      item.op = inner.op;
      item.a = use(inner.args[0], site);
      item.b = use(inner.args[1], site);
      return add(item);
    }
  }
  item.nonnegative = item.kind == Kind::real && nonnegative(n.args[0]);
  item.reciprocal = item.kind == Kind::real && reassociation_.by_reciprocal(n);
  item.a = use(n.args[0], site);
  if (n.args.size() > 1) item.b = use(n.args[1], site);
  if (n.args.size() > 2) item.c = use(n.args[2], site);
  return add(item);
}

void Compiler::equation(std::size_t k) {
  const ir::Equation eq = p_.equations[k];
  EquationCode out;
  out.equation = eq;
  level_of_.clear();
  uses_.clear();
  topk_rows_.clear();
  std::unordered_set<std::uint32_t> seen;
  count_uses(eq.body, seen);
  // Equations call each other, so each has levels of its own: they are never closed.
  out.first_level = base_level_ = static_cast<int>(serial_.size());
  for (IndexId i : eq.indices) out.indices.push_back(open(i));
  const int site = static_cast<int>(serial_.size()) - 1;
  out.roots.push_back(use(eq.body, site));
  if (eq.targets.size() > 1) {
    Node positions = pool_[eq.body];
    positions.op = Op::topk_position;
    positions.type = DType::i32;
    out.roots.push_back(use(pool_.intern(positions), site));
  }
  if (eq.op == ir::AssignOp::set) {
    // Subscripts are affine in the indices: their factors come from one step along each index.
    for (Expr s : eq.subscripts) {
      TargetAxis axis;
      Affine a;
      if (!affine(s, 1, a)) {
        code_.error = fmt::format("the subscripts of '{}' are not affine", p_.tensors[eq.targets[0]].name);
        return;
      }
      axis.base = a.base;
      for (auto [level, factor] : a.terms) {
        const Axis& x = out.indices[static_cast<std::size_t>(level - out.first_level)];
        axis.digits.push_back({level, x.begin, x.end - x.begin, factor});
      }
      std::sort(axis.digits.begin(), axis.digits.end(),
                [](const Digit& x, const Digit& y) { return std::abs(x.factor) > std::abs(y.factor); });
      out.target.push_back(std::move(axis));
    }
  } else {
    for (Expr s : eq.subscripts) out.subscripts.push_back(subscript(s, site));
  }
  code_.equations.push_back(std::move(out));
}

Code Compiler::run() {
  serial_.push_back(++openings_);  // level 0
  code_.items.emplace_back();      // item 0 is "none"
  code_.definition.assign(p_.tensors.size(), -1);
  for (const ir::Tensor& t : p_.tensors) {
    std::vector<std::int64_t> shape;
    std::int64_t count = 1;
    for (Expr e : t.shape) {
      const std::int64_t extent = size(e);
      if (extent < 0) code_.error = fmt::format("'{}' has a negative extent, {}", t.name, extent);
      if (__builtin_mul_overflow(count, extent, &count) || count > (std::int64_t{1} << 60))
        code_.error = fmt::format("'{}' has more elements than the interpreter counts (2^60): an axis has {}", t.name, extent);
      shape.push_back(extent);
    }
    code_.shapes.push_back(std::move(shape));
  }
  for (std::size_t k = 0; k < p_.equations.size() && code_.error.empty(); ++k) {
    equation(k);
    for (TensorId t : p_.equations[k].targets) code_.definition[t] = static_cast<int>(k);
    // Forms of this equation used levels above; the next equation starts after the deepest.
    while (static_cast<int>(serial_.size()) < code_.levels) serial_.push_back(++openings_);
    code_.levels = std::max(code_.levels, static_cast<int>(serial_.size()));
  }
  return std::move(code_);
}

}  // namespace

Code compile_code(ir::Program& program, const std::vector<std::int64_t>& symbols) {
  return Compiler(program, symbols).run();
}

}  // namespace quern::interpreter
