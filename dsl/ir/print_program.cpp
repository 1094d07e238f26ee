// Printing by precedence. Index names are chosen where they are bound, against the names in scope there, so every
// statement is readable by itself; a range is written only where no bare use `x[.., n, ..]` gives it.
#include "dsl/ir/print_program.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cctype>
#include <cmath>
#include <set>

#include "dsl/ir/operators.h"

namespace quern::ir {
namespace {

// Tightest binds highest.
enum Level : int { kOr = 1, kAnd, kCompare, kSum, kProduct, kUnary, kPower, kPrimary };

Level level_of(Op op) {
  switch (op) {
    case Op::or_:
      return kOr;
    case Op::and_:
      return kAnd;
    case Op::eq:
    case Op::ne:
    case Op::lt:
    case Op::le:
    case Op::gt:
    case Op::ge:
      return kCompare;
    case Op::add:
    case Op::sub:
      return kSum;
    case Op::mul:
    case Op::div:
    case Op::floordiv:
    case Op::mod:
      return kProduct;
    case Op::neg:
    case Op::not_:
      return kUnary;
    case Op::pow:
      return kPower;
    default:
      return kPrimary;
  }
}

std::string_view infix_of(Op op) {
  if (op == Op::and_) return "and";
  if (op == Op::or_) return "or";
  return info(op).infix;
}

const std::set<std::string, std::less<>>& reserved() {
  static const std::set<std::string, std::less<>> words = [] {
    std::set<std::string, std::less<>> s = {"kernel", "let", "view",  "require", "inout", "in",           "where",
                                            "einsum", "and", "or",    "not",     "div",   "mod",          "inf",
                                            "nan",    "pi",  "true",  "false",   "prev",  "scan",         "topk",
                                            "None",   "pad", "clamp", "wrap",    "clip",  "nondecreasing"};
    for (int i = 0; i <= static_cast<int>(Reducer::logsumexp); ++i) s.emplace(name(static_cast<Reducer>(i)));
    for (int i = 0; i <= static_cast<int>(AxisMap::argsort); ++i) s.emplace(name(static_cast<AxisMap>(i)));
    for (int i = static_cast<int>(Op::neg); i <= static_cast<int>(Op::where); ++i) s.emplace(name(static_cast<Op>(i)));
    for (int i = 0; i < kDTypeCount; ++i) s.emplace(quern::name(static_cast<DType>(i)));
    return s;
  }();
  return words;
}

std::string fresh(const std::string& wanted, const std::set<std::string, std::less<>>& taken,
                  const std::set<std::string, std::less<>>& also) {
  const std::string base = wanted.empty() ? "i" : wanted;
  auto free = [&](const std::string& s) { return !taken.contains(s) && !also.contains(s) && !reserved().contains(s); };
  if (free(base)) return base;
  const char* joint = std::isdigit(static_cast<unsigned char>(base.back())) ? "_" : "";
  for (int i = 2;; ++i)
    if (std::string s = fmt::format("{}{}{}", base, joint, i); free(s)) return s;
}

class Printer {
 public:
  Printer(const Program& program, bool everything) : p_(program), everything_(everything) {
    for (const Symbol& s : p_.symbols) global_.insert(s.name);
    for (const Scalar& s : p_.scalars) global_.insert(s.name);
    tensors_.resize(p_.tensors.size());
    for (TensorId t = 0; t < p_.tensors.size(); ++t) {
      const auto& tensor = p_.tensors[t];
      tensors_[t] = tensor.entry ? tensors_[*tensor.entry] : fresh(tensor.name, global_, {});
      global_.insert(tensors_[t]);
    }
    indices_.resize(p_.indices.size());
  }

  void use(const Names& names) {
    tensors_ = names.tensors;
    indices_ = names.indices;
    fixed_ = true;
  }
  const std::vector<std::string>& tensor_names() const { return tensors_; }
  const std::set<std::string, std::less<>>& globals() const { return global_; }

  std::string program();
  std::string expr(Expr e, int outer = 0);

 private:
  const Program& p_;
  bool everything_;     // show every cast
  bool fixed_ = false;  // names are given, not chosen per statement
  std::set<std::string, std::less<>> global_;
  std::set<std::string, std::less<>> scope_;
  std::vector<std::string> tensors_;
  std::vector<std::string> indices_;
  std::set<TensorId> assigned_;  // new values of inout parameters that an earlier statement set
  std::set<IndexId> unranged_;   // of a scatter: no place for a range, so uses on other sizes must not be bare

  std::string node(Expr e, int outer);
  std::string form(Expr e);
  std::string operand(Expr e, Expr sibling, int outer);
  std::string constant(const Node& n, int outer) const;
  bool untyped(Expr e) const;
  std::string range(IndexId i) {
    return fmt::format("{}:{}", expr(p_.indices[i].begin, kSum), expr(p_.indices[i].end, kSum));
  }
  std::string axis(IndexId i, std::span<const Expr> within);
  bool inferred(IndexId i, std::span<const Expr> within, Expr declared = {});
  void bare_uses(Expr e, IndexId i, std::set<std::uint32_t>& seen, std::set<Expr>& sizes) const;
  bool enter(IndexId i);
  void leave(IndexId i);
  static bool sums(Reducer r) { return r == Reducer::sum || r == Reducer::prod; }
  bool widened(Expr e, DType to) const;
  bool pairs(const Node& subscript, Expr size) const;
  std::string without_widening(Expr e, int outer);
  std::string shape(const Tensor& t);
  std::string signature();
  std::string statement(const Equation& eq);
  std::string target(const Equation& eq, TensorId t, bool ranges);
};

/// Gives `i` a name unless it has one; true when it was given here.
bool Printer::enter(IndexId i) {
  if (i >= indices_.size() || !indices_[i].empty()) return false;
  indices_[i] = fresh(p_.indices[i].name, scope_, global_);
  scope_.insert(indices_[i]);
  return true;
}
void Printer::leave(IndexId i) {
  scope_.erase(indices_[i]);
  indices_[i].clear();
}

void Printer::bare_uses(Expr e, IndexId i, std::set<std::uint32_t>& seen, std::set<Expr>& sizes) const {
  if (!e || !p_.pool.depends_on(e, i)) return;
  if (!seen.insert(e.id).second) return;
  const Node& n = p_.pool[e];
  if (n.op == Op::read) {
    const Tensor& t = p_.tensors[static_cast<TensorId>(n.payload)];
    for (std::size_t k = 0; k < n.args.size() && k < t.shape.size(); ++k) {
      const Node& s = p_.pool[n.args[k]];
      if (s.op == Op::index && static_cast<IndexId>(s.payload) == i) sizes.insert(t.shape[k]);
    }
  }
  for (Expr a : n.args) bare_uses(a, i, seen, sizes);
}

bool Printer::inferred(IndexId i, std::span<const Expr> within, Expr declared) {
  std::int64_t zero = 1;
  if (!p_.pool.is_integer_constant(p_.indices[i].begin, &zero) || zero != 0) return false;
  std::set<Expr> sizes;
  std::set<std::uint32_t> seen;
  for (Expr e : within) bare_uses(e, i, seen, sizes);
  if (declared) sizes.insert(declared);
  return sizes.size() == 1 && *sizes.begin() == p_.indices[i].end;
}

std::string Printer::axis(IndexId i, std::span<const Expr> within) {
  if (inferred(i, within)) return indices_[i];
  return fmt::format("{} in {}", indices_[i], range(i));
}

std::string Printer::constant(const Node& n, int outer) const {
  std::string text;
  if (n.type == DType::boolean) return n.payload ? "true" : "false";
  text = is_float(n.type) ? print_real(std::bit_cast<double>(n.payload), n.type) : std::to_string(n.payload);
  return text[0] == '-' && outer > kUnary ? "(" + text + ")" : text;
}

/// An f32 written in literals alone, as far as the text shows: beside nothing but its like it would be an f64.
bool Printer::untyped(Expr e) const {
  const Node& n = p_.pool[e];
  if (n.type != DType::f32 || (n.op != Op::constant && !is_elementwise(n.op))) return false;
  const auto is_constant = [&](Expr a) { return p_.pool[a].op == Op::constant; };
  const std::span<const Expr> parts = std::span(n.args).subspan(n.op == Op::where ? 1 : 0);
  // A call of constants alone shows their type.
  const bool call = n.op != Op::where && n.op != Op::neg && n.op != Op::constant && infix_of(n.op).empty();
  if (call && std::all_of(parts.begin(), parts.end(), is_constant)) return false;
  return std::all_of(parts.begin(), parts.end(), [&](Expr a) { return untyped(a); });
}

/// An operand: literals take the type of `sibling`, so a constant is bare only beside something that has a type.
std::string Printer::operand(Expr e, Expr sibling, int outer) {
  const Node& n = p_.pool[e];
  if (n.op == Op::constant) {
    const bool weak = n.type == DType::f32 || n.type == DType::i64 || n.type == DType::boolean;
    const bool led = sibling && p_.pool[sibling].op != Op::constant && p_.pool.type(sibling) == n.type;
    if (weak || led) return constant(n, outer);
    return fmt::format("{}({})", quern::name(n.type), constant(n, 0));
  }
  if (!everything_ && n.op == Op::cast && n.type == DType::f32) {
    const Node& inner = p_.pool[n.args[0]];
    if (inner.op == Op::read && is_small_float(inner.type)) return expr(n.args[0], outer);
    if (inner.op == Op::cast && (inner.flags & kAllowed)) return node(inner.args[0], outer);
  }
  return node(e, outer);
}

std::string Printer::expr(Expr e, int outer) { return e ? operand(e, {}, outer) : "?"; }

std::string Printer::node(Expr e, int outer) {
  const Node& n = p_.pool[e];
  switch (n.op) {
    case Op::constant:
      return constant(n, outer);
    case Op::index: {
      const auto i = static_cast<IndexId>(n.payload);
      return i < indices_.size() && !indices_[i].empty()
                 ? indices_[i]
                 : fmt::format("?{}{}", i < p_.indices.size() ? p_.indices[i].name : "", i);
    }
    case Op::symbol:
      return p_.symbols[static_cast<SymbolId>(n.payload)].name;
    case Op::scalar:
      return p_.scalars[static_cast<ScalarId>(n.payload)].name;
    case Op::previous:
      return "prev";
    case Op::accumulator:
      return n.payload ? "accumulator.position" : "accumulator";
    case Op::read: {
      const auto t = static_cast<TensorId>(n.payload);
      std::string text = t < tensors_.size() ? tensors_[t] : fmt::format("?{}", t);
      // The language has no word for the entry values of an inout once it is assigned.
      if (assigned_.contains(t)) text += "_entry";
      if (n.args.empty()) return text;
      std::string items;
      for (std::size_t k = 0; k < n.args.size(); ++k) {
        const Node& s = p_.pool[n.args[k]];
        std::string item = pairs(s, p_.tensors[t].shape[k]) ? fmt::format("({}, {})", expr(p_.pool[s.args[0]].args[0]), expr(s.args[1])) : expr(n.args[k]);
        if (s.op == Op::index && unranged_.contains(static_cast<IndexId>(s.payload)) &&
            p_.tensors[t].shape[k] != p_.indices[static_cast<IndexId>(s.payload)].end)
          item += " + 0";
        items += (items.empty() ? "" : ", ") + item;
      }
      return text + "[" + items + "]";
    }
    case Op::cast: {
      if (n.flags & kAllowed) {
        if (!everything_) return node(n.args[0], outer);
        return fmt::format("~{}({})", quern::name(n.type), expr(n.args[0]));
      }
      return fmt::format("{}({})", quern::name(n.type), node(n.args[0], 0));
    }
    case Op::reduce:
    case Op::map:
    case Op::scan:
    case Op::topk_value:
    case Op::topk_position:
      return form(e);
    default:
      break;
  }
  const Level level = level_of(n.op);
  std::string text;
  if (n.op == Op::neg || n.op == Op::not_) {
    text = (n.op == Op::neg ? "-" : "not ") + operand(n.args[0], {}, n.op == Op::neg ? kPower : kUnary);
  } else if (infix_of(n.op).empty()) {
    std::string args;
    for (std::size_t i = 0; i < n.args.size(); ++i) {
      const std::size_t first = n.op == Op::where ? 1 : 0;
      Expr sibling;
      for (std::size_t k = first; k < n.args.size() && i >= first; ++k)
        if (k != i && p_.pool[n.args[k]].op != Op::constant) sibling = n.args[k];
      const Node& only = p_.pool[n.args[i]];
      const bool strong = only.op == Op::constant && is_float(only.type) && !sibling &&
                          n.op != Op::where;  // nothing else says its type
      const bool tested = info(n.op).rule == TypeRule::Test && untyped(n.args[i]);
      args += (args.empty() ? "" : ", ") + (strong   ? fmt::format("{}({})", quern::name(only.type), constant(only, 0))
                                            : tested ? fmt::format("f32({})", operand(n.args[i], sibling, 0))
                                                     : operand(n.args[i], sibling, 0));
    }
    return fmt::format("{}({})", name(n.op), args);
  } else {
    const bool right_first = n.op == Op::pow;
    const int left = level == kCompare || right_first ? level + 1 : level;
    const int right = right_first ? kPower : level + 1;
    const auto written = [&](Expr a, Expr other, int around) {
      if (level == kCompare && untyped(a) && untyped(other)) return fmt::format("f32({})", expr(a));
      return operand(a, other, around);
    };
    text = fmt::format("{}{}{}{}{}", written(n.args[0], n.args[1], left), level == kPower ? "" : " ", infix_of(n.op),
                       level == kPower ? "" : " ", written(n.args[1], n.args[0], right));
  }
  return level < outer ? "(" + text + ")" : text;
}

std::string Printer::form(Expr e) {
  const Node& n = p_.pool[e];
  std::string head;
  switch (n.op) {
    case Op::reduce:
      head = name(static_cast<Reducer>(n.payload));
      break;
    case Op::map:
      head = name(static_cast<AxisMap>(n.payload));
      break;
    case Op::scan:
      head = "scan";
      break;
    default:
      head = everything_ && n.op == Op::topk_position ? "topk_position" : "topk";
      break;
  }
  std::vector<IndexId> entered;
  std::vector<bool> bound_here;
  for (IndexId a : n.axes) {
    bound_here.push_back(enter(a));
    if (bound_here.back()) entered.push_back(a);
  }
  const std::array<Expr, 2> within = {n.args[0], n.args[1]};
  std::string axes;
  if (n.op == Op::topk_value || n.op == Op::topk_position) {
    axes = fmt::format("{} -> {} in {}", axis(n.axes[0], within), indices_[n.axes[1]], range(n.axes[1]));
  } else {
    for (std::size_t i = 0; i < n.axes.size(); ++i) {
      // A map's axis is free outside: its binder there shows the range.
      const bool shown = n.op == Op::reduce || bound_here[i];
      axes += (axes.empty() ? "" : ", ") + (shown ? axis(n.axes[i], within) : indices_[n.axes[i]]);
    }
  }
  if (!p_.pool.is_true(n.args[1])) axes += " where " + expr(n.args[1]);
  std::string body;
  const Node& inner = p_.pool[n.args[0]];
  if (!everything_ && n.op == Op::reduce && is_integer(n.type) && sums(static_cast<Reducer>(n.payload)) &&
      widened(n.args[0], n.type))
    body = without_widening(n.args[0], 0);
  else if (inner.op == Op::constant && is_integer(inner.type))  // a bare number would be what the form makes of it
    body = fmt::format("{}({})",
                       n.op == Op::reduce && inner.type == DType::i32 && sums(static_cast<Reducer>(n.payload))
                           ? "i16"
                           : quern::name(inner.type),
                       constant(inner, 0));
  else
    body = expr(n.args[0]);
  if (n.op == Op::scan) body += ", init = " + expr(n.args[2]);
  if (!fixed_)
    for (IndexId a : entered) leave(a);
  return fmt::format("{}[{}]({})", head, axes, body);
}

/// j*G + g over all of an axis of J*G entries: the pair (j, g), from which the ranges of both can be read.
bool Printer::pairs(const Node& s, Expr size) const {
  if (s.op != Op::add || p_.pool[s.args[0]].op != Op::mul || p_.pool[s.args[1]].op != Op::index) return false;
  const Node& scaled = p_.pool[s.args[0]];
  const Node& product = p_.pool[size];
  if (p_.pool[scaled.args[0]].op != Op::index || product.op != Op::mul) return false;
  const Index& first = p_.indices[static_cast<IndexId>(p_.pool[scaled.args[0]].payload)];
  const Index& second = p_.indices[static_cast<IndexId>(p_.pool[s.args[1]].payload)];
  auto from_zero = [&](const Index& i) { std::int64_t v = 1; return p_.pool.is_integer_constant(i.begin, &v) && v == 0; };
  return scaled.args[1] == second.end && product.args[0] == first.end && product.args[1] == second.end && from_zero(first) && from_zero(second);
}

/// A sum widens its terms, and the factors of a product, to its accumulator by itself: whether `e` is just that.
bool Printer::widened(Expr e, DType to) const {
  const Node& n = p_.pool[e];
  if (n.op == Op::mul) return widened(n.args[0], to) && widened(n.args[1], to);
  return n.op == Op::cast && n.type == to && accumulator_of(p_.pool.type(n.args[0])) == to &&
         p_.pool.type(n.args[0]) != to;
}
std::string Printer::without_widening(Expr e, int outer) {
  const Node& n = p_.pool[e];
  if (n.op != Op::mul) return expr(n.args[0], outer);
  const std::string text = without_widening(n.args[0], kProduct) + " * " + without_widening(n.args[1], kProduct + 1);
  return outer > kProduct ? "(" + text + ")" : text;
}

std::string Printer::shape(const Tensor& t) {
  std::string out;
  for (Expr e : t.shape) out += (out.empty() ? "" : ", ") + expr(e);
  return fmt::format("{}{}", quern::name(t.type), t.shape.empty() ? "" : "[" + out + "]");
}

std::string Printer::signature() {
  std::string text;
  const Annotations& a = p_.annotations;
  const std::pair<bool, const char*> marks[] = {{a.precise, "@precise "}, {a.fast, "@fast "},
                                                {a.tf32, "@tf32 "},       {a.deterministic, "@deterministic "},
                                                {a.trusted, "@trusted "}, {a.fused, "@fused "}};
  for (auto [set, word] : marks)
    if (set) text += word;
  text += "kernel " + p_.name;
  std::string compile_time;
  for (const Symbol& s : p_.symbols) {
    if (!s.compile_time) continue;
    compile_time += (compile_time.empty() ? "" : ", ") + s.name + (s.type == DType::boolean ? ": bool" : "");
    if (s.value)
      compile_time += s.type == DType::boolean ? (*s.value ? " = true" : " = false") : fmt::format(" = {}", *s.value);
  }
  if (!compile_time.empty()) text += "<" + compile_time + ">";
  std::vector<std::string> parts;
  auto tensor = [&](TensorId id) {
    const Tensor& t = p_.tensors[id];
    bool inout = false;
    for (const Tensor& other : p_.tensors) inout |= other.entry == id;
    std::string part = fmt::format("{}{}: {}", inout ? "inout " : "", tensors_[id], shape(t));
    if (t.fact_begin && t.fact_end) part += fmt::format(" in {}:{}", expr(t.fact_begin, kSum), expr(t.fact_end, kSum));
    if (t.nondecreasing) part += " nondecreasing";
    return part;
  };
  auto scalar = [&](const Scalar& s) {
    return fmt::format("{}: {}{}", s.name, quern::name(s.type), s.default_value ? " = " + expr(s.default_value) : "");
  };
  for (const std::string& wanted : p_.parameter_order) {
    for (TensorId id : p_.parameters)
      if (p_.tensors[id].name == wanted) parts.push_back(tensor(id));
    for (ScalarId id : p_.scalar_parameters)
      if (p_.scalars[id].name == wanted) parts.push_back(scalar(p_.scalars[id]));
  }
  if (p_.parameter_order.empty()) {
    for (TensorId id : p_.parameters) parts.push_back(tensor(id));
    for (ScalarId id : p_.scalar_parameters) parts.push_back(scalar(p_.scalars[id]));
  }
  text += fmt::format("({})", fmt::join(parts, ", "));
  if (!p_.outputs.empty()) {
    std::vector<std::string> outs;
    for (TensorId id : p_.outputs) outs.push_back(fmt::format("{}: {}", tensors_[id], shape(p_.tensors[id])));
    text += fmt::format(" -> ({})", fmt::join(outs, ", "));
  }
  return text;
}

/// y[i, j in 0:M]. The second target of a top-k repeats no range.
std::string Printer::target(const Equation& eq, TensorId id, bool ranges) {
  const Tensor& t = p_.tensors[id];
  if (eq.subscripts.empty()) return tensors_[id];
  std::string items;
  for (std::size_t k = 0; k < eq.subscripts.size(); ++k) {
    const Node& s = p_.pool[eq.subscripts[k]];
    std::string item;
    auto is_index = [&](Expr e) { return p_.pool[e].op == Op::index; };
    if (s.op == Op::index) {
      const auto i = static_cast<IndexId>(s.payload);
      const Expr within[] = {eq.body};
      const bool declared = t.role == Role::output && k < t.shape.size();
      const bool by_topk = p_.pool[eq.body].op == Op::topk_value && p_.pool[eq.body].axes[1] == i;
      item = indices_[i];
      if (ranges && !by_topk && !inferred(i, within, declared ? t.shape[k] : Expr{})) item += " in " + range(i);
    } else if (s.op == Op::add && is_index(s.args[1]) && p_.pool[s.args[0]].op == Op::mul &&
               is_index(p_.pool[s.args[0]].args[0])) {
      item = fmt::format("({}, {})", expr(p_.pool[s.args[0]].args[0]), expr(s.args[1]));
    } else if (s.op == Op::add && is_index(s.args[0]) && is_index(s.args[1])) {  // the second has one entry
      item = fmt::format("({}, {})", expr(s.args[0]), expr(s.args[1]));
    } else {
      item = expr(eq.subscripts[k]);
    }
    items += (items.empty() ? "" : ", ") + item;
  }
  return tensors_[id] + "[" + items + "]";
}

std::string Printer::statement(const Equation& eq) {
  for (IndexId i : eq.indices) enter(i);
  if (eq.op != AssignOp::set) unranged_.insert(eq.indices.begin(), eq.indices.end());
  std::string text;
  for (TensorId t : eq.targets) text += (text.empty() ? "" : ", ") + target(eq, t, text.empty());
  constexpr std::string_view ops[] = {" = ", " += ", " max= ", " min= "};
  text += ops[static_cast<std::size_t>(eq.op)];
  const Node& whole = p_.pool[eq.body];
  // A bare number would take the type that numbers have by themselves.
  const bool bare =
      whole.op != Op::constant || whole.type == DType::i32 || whole.type == DType::f32 || whole.type == DType::boolean;
  const bool declared = p_.tensors[eq.targets[0]].role != Role::temp;
  text += bare || declared ? expr(eq.body) : fmt::format("{}({})", quern::name(whole.type), expr(eq.body));
  // A scatter's loop index can only get its range from a bare use; say it where there is none.
  if (eq.op != AssignOp::set) {
    std::vector<Expr> within = eq.subscripts;
    within.push_back(eq.body);
    for (IndexId i : eq.indices)
      if (!inferred(i, within)) text += fmt::format("  # {} in {}", indices_[i], range(i));
  }
  unranged_.clear();
  for (IndexId i : eq.indices) leave(i);
  for (TensorId t : eq.targets)
    if (p_.tensors[t].entry) assigned_.insert(*p_.tensors[t].entry);
  return text;
}

std::string Printer::program() {
  std::string text = signature() + " {\n";
  for (const Requirement& r : p_.requirements) text += "  require " + expr(r.condition) + "\n";
  for (const Equation& eq : p_.equations) text += "  " + statement(eq) + "\n";
  return text + "}\n";
}

}  // namespace

std::string print_real(double value, DType type) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string text = type == DType::f64 ? fmt::format("{}", value) : fmt::format("{}", static_cast<float>(value));
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string print_program(const Program& program) { return Printer(program, false).program(); }

Names unique_names(const Program& program) {
  const Printer printer(program, true);
  Names names;
  std::set<std::string, std::less<>> taken = printer.globals();
  names.tensors = printer.tensor_names();
  for (TensorId t = 0; t < program.tensors.size(); ++t)
    if (program.tensors[t].entry) names.tensors[t] += "_new";
  for (const Index& i : program.indices) {
    names.indices.push_back(fresh(i.name, taken, {}));
    taken.insert(names.indices.back());
  }
  return names;
}

std::string print_expr(const Program& program, Expr e, const Names& names) {
  Printer printer(program, true);
  printer.use(names);
  return printer.expr(e);
}

std::string print_expr(const Program& program, Expr e) { return print_expr(program, e, unique_names(program)); }

}  // namespace quern::ir
