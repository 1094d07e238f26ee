// Expressions in index form: numbers, names, operators. In: syntax. Out: typed values.
// The one idea: a product with a masked softmax is zero outside the mask and does not read its other factors there, so
// the mask is found first and guards them.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "dsl/check/elaborate.h"
#include "dsl/syntax/number.h"

namespace quern::dsl {
namespace {

constexpr int kMaxDepth = 1000;

template <typename T>
struct Restore {
  T& place;
  T kept;
  Restore(T& p, T value) : place(p), kept(p) { place = std::move(value); }
  ~Restore() { place = std::move(kept); }
};

}  // namespace

Typed Elaborator::expression(const ast::Expr& e) {
  const Typed none{{}, Strength::strong, e.span, {}};
  if (!spend(e.span)) return none;
  if (depth_ >= kMaxDepth) {
    diagnostics.report<Code::expression_too_deep>(e.span, kMaxDepth).fix("name a part of it in a statement of its own");
    too_large_ = true;
    return none;
  }
  Restore<int> deeper(depth_, depth_ + 1);
  struct Visit {
    Elaborator& el;
    const ast::Expr& e;
    Typed operator()(const ast::Invalid&) { return {}; }
    Typed operator()(const ast::Number& n) { return el.number(n, e.span); }
    Typed operator()(const ast::NameUse& n) { return el.name_use(n.name, e.span); }
    Typed operator()(const ast::Unary& u) {
      const Typed x = el.expression(*u.operand);
      Typed out = el.arith.apply(u.op, {x}, e.span);
      if (u.op == ir::Op::neg) out.support = x.support;
      return out;
    }
    Typed operator()(const ast::Binary& b) { return el.binary(b, e.span); }
    Typed operator()(const ast::MatMul& m) { return whole(m.op_span, "'@'"); }
    Typed operator()(const ast::Transpose&) { return whole(e.span, "'.T'"); }
    Typed operator()(const ast::List&) { return whole(e.span, "a list"); }
    Typed operator()(const ast::Einsum&) { return whole(e.span, "'einsum'"); }
    Typed operator()(const ast::Call& c) { return el.call(c, e.span); }
    Typed operator()(const ast::Subscript& s) { return el.subscript(s, e.span, Policy::proof); }
    Typed operator()(const ast::AxisForm& f) { return el.axis_form(f, e.span); }
    Typed whole(Span at, std::string_view what) {
      el.diagnostics.report<Code::whole_tensor_here>(at, what)
          .label("works on whole tensors")
          .fix("define a name with it in a statement of its own, then read that name with indices");
      return {};
    }
  };
  Typed out = std::visit(Visit{*this, e}, e.node);
  if (out.span.empty() || out.span.begin < e.span.begin || out.span.end > e.span.end) out.span = e.span;
  return out;
}

// The lexer refuses what fits neither i64 nor f64.
Typed Elaborator::number(const ast::Number& n, Span at) {
  if (!n.real)
    if (const auto v = integer_value(n.text)) return arith.literal(*v, at);
  if (const auto v = real_value(n.text)) return arith.literal(*v, at);
  diagnostics.report<Code::bad_number>(at, n.text);
  return {{}, Strength::strong, at, {}};
}

Typed Elaborator::name_use(const std::string& name, Span at) {
  const Typed none{{}, Strength::strong, at, {}};
  if (const Binder* b = find_index(name)) return {pool.index(b->id), Strength::size, at, {}};
  if (name == "prev" && previous_) return {previous_.expr, Strength::strong, at, {}};
  if (const Entry* entry = find(name)) {
    const Meaning& m = entry->meaning;
    if (const auto* s = std::get_if<SymbolName>(&m)) {
      const DType type = program.symbols[s->symbol].type;
      return {pool.symbol(s->symbol, type), type == DType::boolean ? Strength::strong : Strength::size, at, {}};
    }
    if (const auto* s = std::get_if<ScalarName>(&m)) {
      const DType type = program.scalars[s->scalar].type;
      return {pool.scalar(s->scalar, type), Strength::strong, at, {}};
    }
    if (const auto* v = std::get_if<ValueName>(&m)) {
      Typed out = v->value;
      out.span = at;
      return out;
    }
    if (std::holds_alternative<TensorName>(m) || std::holds_alternative<ViewName>(m)) {
      if (shape(m).empty()) return read(m, {}, {name, at, {}});
      const auto rank = shape(m).size();
      diagnostics.report<Code::tensor_without_subscripts>(at, name)
          .label(fmt::format("needs {} subscript{}", rank, rank == 1 ? "" : "s"))
          .fix(fmt::format("write {}[{}]", name,
                           rank == 1   ? "i"
                           : rank == 2 ? "i,j"
                                       : "i,j,..."));
      return none;
    }
    if (std::holds_alternative<FunctionName>(m)) {
      diagnostics.report<Code::function_as_value>(at, name).fix(fmt::format("call it: {}(...)", name));
      return none;
    }
    if (std::holds_alternative<TypeName>(m)) {
      diagnostics.report<Code::type_as_value>(at, name).fix(fmt::format("cast with it: {}(x)", name));
      return none;
    }
    return none;  // broken: reported where it was defined
  }
  if (name == "inf") return arith.literal(std::numeric_limits<double>::infinity(), at);
  if (name == "nan") return arith.literal(std::numeric_limits<double>::quiet_NaN(), at);
  if (name == "pi") return arith.literal(3.14159265358979323846, at);
  if (name == "true" || name == "false") return {pool.boolean(name == "true"), Strength::strong, at, {}};
  if (name == "prev") {
    diagnostics.report<Code::prev_outside_scan>(at).fix("write it in the body of scan[t](..., init = 0)");
    return none;
  }
  if (index_mode_ && !size_mode_ && !left_text_.empty()) {
    std::vector<std::string_view> candidates;
    for (const auto& b : binders_) candidates.push_back(b.name);
    const std::string_view near = name.size() > 1 ? nearest(name, candidates) : std::string_view();
    auto& d = diagnostics.report<Code::free_index>(at, name).label("nothing binds it");
    if (!near.empty())
      d.fix(fmt::format("did you mean '{}'?", near));
    else
      d.fix(fmt::format("reduce over it, as in sum[{0}](...), or put it on the left of '{1}'", name, left_text_));
    return none;
  }
  report_unknown(name, at);
  return none;
}

Typed Elaborator::binary(const ast::Binary& b, Span at) {
  if (index_mode_ && b.op == ir::Op::div) {
    diagnostics.report<Code::division_in_index>(b.op_span)
        .label("real division")
        .fix("write 'div' for the whole part, 'mod' for the rest");
    return {{}, Strength::strong, at, {}};
  }
  if (b.op == ir::Op::mul || b.op == ir::Op::div) {
    const ir::Expr left_mask = support_of(*b.left);
    const ir::Expr right_mask = b.op == ir::Op::mul ? support_of(*b.right) : ir::Expr{};
    Typed left, right;
    {
      Guard guard(*this, right_mask);
      left = expression(*b.left);
    }
    {
      Guard guard(*this, left_mask);
      right = expression(*b.right);
    }
    if (b.op == ir::Op::mul) return product(left, right, at);
    if (!left || !right || !left.support) return arith.div(left, right, at);
    Typed inner = left;
    const ir::Node n = pool[left.expr];
    if (n.op == ir::Op::where && n.args[0] == left.support) inner.expr = n.args[1];
    Typed quotient = arith.div(inner, right, at);
    Typed out = choose(left.support, quotient, arith.literal(std::int64_t{0}, at), at);
    out.support = left.support;
    return out;
  }
  const Typed left = expression(*b.left);
  const Typed right = expression(*b.right);
  const bool zero_divides = b.op == ir::Op::floordiv || b.op == ir::Op::mod;
  std::int64_t divisor = 1;
  if (zero_divides && right && pool.is_integer_constant(right.expr, &divisor) && divisor == 0) {
    diagnostics.report<Code::division_by_zero>(right.span).label("always 0");
    return {{}, Strength::strong, at, {}};
  }
  Typed out = arith.apply(b.op, {left, right}, at);
  // A sum of terms under one mask is zero outside it too.
  if ((b.op == ir::Op::add || b.op == ir::Op::sub) && left.support && left.support == right.support)
    out.support = left.support;
  return out;
}

Typed Elaborator::choose(ir::Expr c, const Typed& a, const Typed& b, Span at) {
  return arith.apply(ir::Op::where, {Typed{c, Strength::strong, at, {}}, a, b}, at);
}

// The product where both masks hold, 0 elsewhere; inside a guard that says so already, plainly the product.
Typed Elaborator::product(const Typed& a, const Typed& b, Span at) {
  if (!a || !b || (!a.support && !b.support)) return arith.mul(a, b, at);
  ir::Expr mask = !a.support ? b.support : !b.support ? a.support : pool.both(a.support, b.support);
  auto inside = [&](Typed x) {
    const ir::Node n = pool[x.expr];
    if (x.support && n.op == ir::Op::where && n.args[0] == x.support) x.expr = n.args[1];
    return x;
  };
  Typed plain = arith.mul(inside(a), inside(b), at);
  if (!plain) return plain;
  if (std::find(guards_.begin(), guards_.end(), mask) != guards_.end()) {
    plain.support = mask;
    return plain;
  }
  Typed out = choose(mask, plain, arith.literal(std::int64_t{0}, at), at);
  out.support = mask;
  return out;
}

// The mask of an expression whose value is a structural zero outside it, found before its neighbours are checked.
ir::Expr Elaborator::support_of(const ast::Expr& e) {
  if (!spend(e.span)) return {};
  if (const auto* u = std::get_if<ast::Unary>(&e.node))
    return u->op == ir::Op::neg ? support_of(*u->operand) : ir::Expr{};
  if (const auto* b = std::get_if<ast::Binary>(&e.node)) {
    const bool sum = b->op == ir::Op::add || b->op == ir::Op::sub;
    if (!sum && b->op != ir::Op::mul && b->op != ir::Op::div) return {};
    const ir::Expr left = support_of(*b->left);
    if (sum) return left && left == support_of(*b->right) ? left : ir::Expr{};
    const ir::Expr right = b->op == ir::Op::mul ? support_of(*b->right) : ir::Expr{};
    return !left ? right : !right ? left : pool.both(left, right);
  }
  if (const auto* f = std::get_if<ast::AxisForm>(&e.node)) {
    if (f->kind != ast::FormKind::map || f->map != ir::AxisMap::softmax || !f->domain) return {};
    for (const ast::Axis& axis : f->axes)
      if (!find_index(axis.name.text)) return {};
    return condition(*f->domain, "a domain");
  }
  if (const auto* s = std::get_if<ast::Subscript>(&e.node)) {
    const auto* base = s->base ? std::get_if<ast::NameUse>(&s->base->node) : nullptr;
    const Entry* entry = base ? find(base->name) : nullptr;
    const auto* t = entry ? std::get_if<TensorName>(&entry->meaning) : nullptr;
    if (!t) return {};
    const auto it = support_.find(t->tensor);
    if (it == support_.end() || it->second.first.size() != s->items.size()) return {};
    std::unordered_map<ir::IndexId, ir::Expr> values;
    for (std::size_t i = 0; i < s->items.size(); ++i) {
      const auto* item = std::get_if<ast::ExprPtr>(&s->items[i].value);
      if (!item || !*item) return {};
      const ir::Expr value = index_expression(**item);
      if (!value) return {};
      values[it->second.first[i]] = value;
    }
    return pool.substitute(it->second.second, values);
  }
  return {};
}

ir::Expr Elaborator::index_expression(const ast::Expr& e) {
  Restore<bool> mode(index_mode_, true);
  const Typed x = expression(e);
  if (!x) return {};
  const DType type = arith.type(x);
  if (!is_integer(type) || x.strength == Strength::literal_real) {
    auto& d = diagnostics.report<Code::index_not_integer>(
        e.span, name(x.strength == Strength::literal_real ? DType::f32 : type));
    if (type == DType::boolean)
      d.fix("write where(c, 1, 0)");
    else
      d.fix("cast it: i64(...)");
    return {};
  }
  return pool.cast(x.expr, DType::i64);
}

ir::Expr Elaborator::size_expression(const ast::Expr& e) {
  Restore<bool> sizes_only(size_mode_, true);
  Restore<bool> mode(index_mode_, true);
  const Typed value = expression(e);
  if (!value) return {};
  if (!is_integer(arith.type(value)) || value.strength == Strength::literal_real) {
    diagnostics.report<Code::not_a_size>(e.span, source.slice(e.span))
        .label(fmt::format("is {}", name(arith.type(value))))
        .fix("use integers, sizes and + - * div mod");
    return {};
  }
  const ir::Expr size = pool.cast(value.expr, DType::i64);
  bool plain = pool.free_indices(size).empty();
  const auto allowed = [&](ir::Op op) {
    using ir::Op;
    return op == Op::constant || op == Op::symbol || op == Op::add || op == Op::sub || op == Op::mul ||
           op == Op::floordiv || op == Op::mod || op == Op::neg || op == Op::min || op == Op::max;
  };
  std::set<ir::Expr> seen;
  std::vector<ir::Expr> open{size};
  while (!open.empty() && plain) {
    const ir::Expr x = open.back();
    open.pop_back();
    if (!seen.insert(x).second) continue;
    plain = allowed(pool[x].op) && pool.type(x) == DType::i64;
    open.insert(open.end(), pool[x].args.begin(), pool[x].args.end());
  }
  if (plain) return size;
  diagnostics.report<Code::not_a_size>(e.span, source.slice(e.span))
      .label("depends on more than sizes")
      .fix("use integers, sizes and + - * div mod");
  return {};
}

bool Elaborator::range(const ast::Range& r, ir::Expr& begin, ir::Expr& end) {
  begin = r.begin ? size_expression(*r.begin) : ir::Expr{};
  end = r.end ? size_expression(*r.end) : ir::Expr{};
  return begin && end;
}

ir::Expr Elaborator::condition(const ast::Expr& e, std::string_view what) {
  Restore<bool> mode(index_mode_, false);
  return arith.condition(expression(e), what);
}

}  // namespace quern::dsl
