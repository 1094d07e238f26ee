// Forms that bind axes: reducers, axis maps, scan. In: syntax, or bodies made by a translation. Out: reduce, map and
// scan nodes with accumulator types. The one idea: a reducer's axis is a new index; a map's axis is one that is in
// scope already.
#include <algorithm>

#include "dsl/check/elaborate.h"
#include "dsl/check/recurrence.h"

namespace quern::dsl {
namespace {

struct Scope {  // indices and facts of one form
  Elaborator& el;
  std::size_t binders;
  Proofs::Mark facts;
  explicit Scope(Elaborator& e) : el(e), binders(e.index_mark()), facts(e.proofs.mark()) {}
  ~Scope() {
    el.pop_indices(binders);
    el.proofs.restore(facts);
  }
};

}  // namespace

Typed Elaborator::axis_form(const ast::AxisForm& f, Span at) {
  const Typed none{{}, Strength::strong, at, {}};
  const bool mode = index_mode_;
  index_mode_ = false;
  Typed out = none;
  if (f.kind == ast::FormKind::topk) {
    diagnostics.report<Code::topk_inside>(at)
        .label("gives values and positions")
        .fix("write it alone: v[i,j], p[i,j] = topk[x -> j in 0:K](...)");
  } else if (f.arguments.empty() || !f.arguments[0].value || f.arguments[0].keyword) {
    diagnostics.report<Code::wrong_arity>(at, f.head.text, 1, "", f.arguments.size());
  } else {
    for (std::size_t i = 1; i < f.arguments.size(); ++i) {
      const auto& a = f.arguments[i];
      if (f.kind == ast::FormKind::scan && a.keyword && a.keyword->text == "init") continue;
      if (a.keyword)
        diagnostics.report<Code::unexpected_keyword>(a.keyword->span, f.head.text, a.keyword->text);
      else
        diagnostics.report<Code::wrong_arity>(at, f.head.text, 1, "", f.arguments.size());
      index_mode_ = mode;
      return none;
    }
    out = f.kind == ast::FormKind::reduce ? reduce_form(f, at)
          : f.kind == ast::FormKind::map  ? map_form(f, at)
                                          : scan_form(f, at);
    if (out && previous_) forms_in_scan_.push_back({out.expr, out.strength, at, {}});
  }
  index_mode_ = mode;
  if (index_mode_ && out && is_integer(arith.type(out))) out.expr = pool.cast(out.expr, DType::i64);
  return out;
}

bool Elaborator::bind_axis(const ast::Axis& axis, const std::vector<const ast::Expr*>& bodies, Binder::Kind kind) {
  const std::string& name = axis.name.text;
  if (const Binder* outer = find_index(name); outer && outer->kind != Binder::free) {
    diagnostics.report<Code::index_bound_again>(axis.name.span, name)
        .note("bound here", outer->span)
        .fix("use another name for the inner one");
    return false;
  }
  if (const Entry* entry = find(name); entry && !std::holds_alternative<FunctionName>(entry->meaning)) {
    diagnostics.report<Code::index_hides>(axis.name.span, name)
        .note("the other meaning", entry->span)
        .fix("use another name for the index");
    return false;
  }
  ir::Expr begin, end;
  bool sound = true;
  if (axis.range) {
    if (!range(*axis.range, begin, end)) return false;
  } else {
    sound = range_from_uses(axis.name, bare_uses(name, bodies), begin, end);
    if (!sound && !end) {
      diagnostics.report<Code::index_without_range>(axis.name.span, name)
          .label("no read has it alone between commas")
          .fix(fmt::format("write its range: {} in 0:N", name));
      return false;
    }
  }
  const ir::IndexId id = push_index(name, begin, end, kind, axis.name.span);
  if (!sound) broken_indices_.insert(id);
  return true;
}

Typed Elaborator::reduce_form(const ast::AxisForm& f, Span at) {
  const Typed none{{}, Strength::strong, at, {}};
  Scope scope(*this);
  std::vector<const ast::Expr*> bodies{f.domain.get(), f.arguments[0].value.get()};
  std::vector<ir::IndexId> axes;
  for (const ast::Axis& axis : f.axes) {
    if (!bind_axis(axis, bodies, Binder::reduced)) return none;
    axes.push_back(binders_.back().id);
  }
  const ir::Expr domain = f.domain ? condition(*f.domain, "a domain") : pool.boolean(true);
  Guard guard(*this, domain);
  const Typed body = expression(*f.arguments[0].value);
  return domain && body ? reduce(f.reducer, std::move(axes), body, domain, at) : none;
}

Typed Elaborator::map_form(const ast::AxisForm& f, Span at) {
  const Typed none{{}, Strength::strong, at, {}};
  if (f.axes.size() != 1) {
    diagnostics.report<Code::one_axis>(at, f.head.text, f.axes.size()).fix("apply it along one axis");
    return none;
  }
  const ast::Axis& axis = f.axes[0];
  const Binder* outer = find_index(axis.name.text);
  if (!outer) {
    diagnostics.report<Code::map_axis_unbound>(axis.name.span, f.head.text, axis.name.text)
        .label("is kept, so it must be an index here")
        .fix(fmt::format("put '{0}' on the left, or reduce over it around this, as in sum[{0}](...)", axis.name.text));
    return none;
  }
  const ir::IndexId id = outer->id;
  if (axis.range && !broken_indices_.contains(id)) {
    ir::Expr begin, end;
    if (!range(*axis.range, begin, end)) return none;
    const ir::Index index = program.indices[id];
    if (!sizes.equal(begin, index.begin) || !sizes.equal(end, index.end)) {
      diagnostics
          .report<Code::map_range>(axis.span, axis.name.text, sizes.text(begin), sizes.text(end),
                                   sizes.text(index.begin), sizes.text(index.end))
          .fix(fmt::format("restrict it with a domain: {}[{} where ...]", f.head.text, axis.name.text));
      return none;
    }
  }
  Scope scope(*this);
  push_binder({axis.name.text, id, Binder::mapped, axis.name.span});
  const ir::Expr domain = f.domain ? condition(*f.domain, "a domain") : pool.boolean(true);
  Guard guard(*this, domain);
  const Typed body = expression(*f.arguments[0].value);
  return domain && body ? axis_map(f.map, id, body, domain, at) : none;
}

Typed Elaborator::scan_form(const ast::AxisForm& f, Span at) {
  const Typed none{{}, Strength::strong, at, {}};
  if (f.axes.size() != 1) {
    diagnostics.report<Code::one_axis>(at, f.head.text, f.axes.size()).fix("a recurrence runs along one axis");
    return none;
  }
  if (f.domain) {
    diagnostics.report<Code::scan_domain>(f.domain->span).fix("write where(c, ..., prev) in the body");
    return none;
  }
  if (previous_) {
    diagnostics.report<Code::scan_inside_scan>(at).fix("give one of them a name in a statement of its own");
    return none;
  }
  const ast::Axis& axis = f.axes[0];
  const Binder* outer = find_index(axis.name.text);
  if (!outer) {
    diagnostics.report<Code::map_axis_unbound>(axis.name.span, f.head.text, axis.name.text)
        .label("is kept, so it must be an index here")
        .fix(fmt::format("put '{}' on the left", axis.name.text));
    return none;
  }
  const ir::IndexId id = outer->id;
  if (f.arguments.size() != 2) {
    diagnostics.report<Code::scan_without_init>(at).fix("give the state before the first step: scan[t](..., init = 0)");
    return none;
  }
  const Typed init = expression(*f.arguments[1].value);
  if (!init) return none;
  if (pool.depends_on(init.expr, id)) {
    diagnostics.report<Code::scan_init_varies>(init.span, axis.name.text)
        .fix("start from a value that is the same at every step");
    return none;
  }
  Scope scope(*this);
  push_binder({axis.name.text, id, Binder::mapped, axis.name.span});
  const Typed kept = previous_;
  DType state = accumulator_of(arith.type(arith.resolved(init)));
  Typed body;
  // The state's type is that of what the body makes of it; two rounds settle it (integers, then f32, then f64).
  for (int round = 0; round < 4; ++round) {
    previous_ = {pool.previous(state), Strength::strong, at, {}};
    forms_in_scan_.clear();
    body = expression(*f.arguments[0].value);
    if (!body) break;
    body = arith.resolved(body);
    const DType next = promoted(accumulator_of(arith.type(body)), state);
    if (next == state) break;
    state = next;
  }
  previous_ = kept;
  if (!body) return none;
  for (const Typed& form : forms_in_scan_)
    if (!previous_leaves(pool, form.expr)) {
      diagnostics.report<Code::prev_reduced>(form.span)
          .label("is computed for all steps beforehand")
          .fix("'prev' may stand in a sum or mean as a polynomial (to the power 4), in max and min as a term");
      return none;
    }
  return {pool.scan(id, arith.cast(body, state), arith.cast(init, state), state), Strength::strong, at, {}};
}

Typed Elaborator::reduce(ir::Reducer reducer, std::vector<ir::IndexId> axes, const Typed& given, ir::Expr domain,
                         Span at) {
  using R = ir::Reducer;
  const Typed none{{}, Strength::strong, at, {}};
  if (!given) return none;
  const std::string head(ir::name(reducer));
  auto make = [&](ir::Expr body, DType type) -> Typed {
    return {pool.reduce(reducer, axes, body, domain, type), Strength::strong, at, {}};
  };
  Typed body = arith.resolved(given);
  DType type = arith.type(body);
  switch (reducer) {
    case R::any:
    case R::all:
    case R::count: {
      const ir::Expr c = arith.condition(given, fmt::format("the body of '{}'", head));
      return c ? make(c, reducer == R::count ? DType::i64 : DType::boolean) : none;
    }
    case R::mean:
    case R::var:
    case R::std:
    case R::norm:
    case R::logsumexp: {
      body = arith.real(given);
      return make(body.expr, arith.type(body));
    }
    case R::sum:
    case R::prod: {
      const DType accumulator = accumulator_of(type);
      ir::Expr e = body.expr;
      // Products of narrow integers are summed without wrapping first.
      if (!is_float(type) && reducer == R::sum && pool[e].op == ir::Op::mul && type != accumulator) {
        const ir::Node n = pool[e];
        e = pool.mul(pool.cast(n.args[0], accumulator), pool.cast(n.args[1], accumulator));
      }
      e = pool.cast(e, accumulator);
      if (reducer == R::sum) e = round_factors(e, axes);
      return make(e, accumulator);
    }
    case R::max:
    case R::min: {
      if (type == DType::boolean) body.expr = pool.cast(body.expr, type = DType::i32);
      if (!is_float(type))
        for (ir::IndexId axis : axes)
          if (!broken_indices_.contains(axis)) {
            const ir::Index index = program.indices[axis];
            require(pool.less(index.begin, index.end), at);
          }
      return make(body.expr, type);
    }
    case R::argmax:
    case R::argmin: {
      if (axes.size() != 1) {
        diagnostics.report<Code::one_axis>(at, head, axes.size()).fix("its result is a position along one axis");
        return none;
      }
      if (type == DType::boolean) body.expr = pool.cast(body.expr, DType::i32);
      return make(body.expr, DType::i32);
    }
  }
  return none;
}

Typed Elaborator::axis_map(ir::AxisMap map, ir::IndexId axis, const Typed& given, ir::Expr domain, Span at) {
  using M = ir::AxisMap;
  if (!given) return {{}, Strength::strong, at, {}};
  Typed body = arith.resolved(given);
  if (arith.type(body) == DType::boolean) body.expr = pool.cast(body.expr, DType::i32);
  DType type = arith.type(body);
  switch (map) {
    case M::softmax:
    case M::log_softmax:
      body = arith.real(given);
      type = arith.type(body);
      break;
    case M::cumsum:
    case M::cumprod:
      type = accumulator_of(type);
      body.expr = pool.cast(body.expr, type);
      break;
    case M::argsort:
      type = DType::i32;
      break;
    case M::cummax:
    case M::cummin:
    case M::sort:
      break;
  }
  Typed out{pool.map(map, axis, body.expr, domain, type), Strength::strong, at, {}};
  if (map == M::softmax && domain && !pool.is_true(domain)) out.support = domain;
  return out;
}

// language.md, Arithmetic: a computed factor of a contraction may be rounded to the type in which the stored ones
// multiply.
ir::Expr Elaborator::round_factors(ir::Expr body, const std::vector<ir::IndexId>& axes) {
  using ir::Op;
  const ir::Node top = pool[body];
  if (precise || top.type != DType::f32) return body;
  if (top.op == Op::where)
    return pool.where(top.args[0], round_factors(top.args[1], axes), round_factors(top.args[2], axes));
  if (top.op == Op::neg) return pool.apply(Op::neg, {round_factors(top.args[0], axes)});
  if (top.op == Op::div && !pool.depends_on_any(top.args[1], axes))
    return pool.div(round_factors(top.args[0], axes), top.args[1]);
  if (top.op != Op::mul) return body;

  std::vector<ir::Expr> factors;
  std::vector<ir::Expr> open{body};
  for (int steps = 0; !open.empty(); ++steps) {
    if (steps > 256) return body;
    const ir::Expr e = open.back();
    open.pop_back();
    if (pool[e].op == Op::mul)
      open.insert(open.end(), pool[e].args.begin(), pool[e].args.end());
    else if (std::find(factors.begin(), factors.end(), e) == factors.end())
      factors.push_back(e);
  }
  auto without_cast = [&](ir::Expr e) { return pool[e].op == Op::cast ? pool[e].args[0] : e; };
  auto stored = [&](ir::Expr e) {
    const ir::Node& n = pool[without_cast(e)];
    return n.op == Op::read && program.tensors[n.payload].role == ir::Role::input;
  };
  std::optional<DType> type;
  for (ir::Expr e : factors)
    if (stored(e) && pool.depends_on_any(e, axes)) {
      const DType t = pool.type(without_cast(e));
      type = type ? promoted(*type, t) : t;
    }
  if (!type || !is_small_float(*type)) return body;
  std::unordered_map<ir::Expr, ir::Expr> rounded;
  for (ir::Expr e : factors) {
    const DType from = pool.type(without_cast(e));
    const bool exact = from == DType::boolean || is_small_float(from) || pool.is_constant(e);
    if (!stored(e) && !exact && pool.depends_on_any(e, axes))
      rounded[e] = pool.cast(pool.cast(e, *type, ir::kAllowed), DType::f32);
  }
  auto rebuild = [&](auto& self, ir::Expr e) -> ir::Expr {
    const ir::Node n = pool[e];
    if (n.op == Op::mul) return pool.mul(self(self, n.args[0]), self(self, n.args[1]));
    auto it = rounded.find(e);
    return it == rounded.end() ? e : it->second;
  };
  return rounded.empty() ? body : rebuild(rebuild, body);
}

}  // namespace quern::dsl
