// Reads: x[e, f, ...]. In: subscripts. Out: a read node whose subscripts are in range by proof, by policy, or tested
// when it runs because only a declared fact about data says so. The one idea: a policy is an expression (clip, mod,
// where), so back ends know nothing of policies.
#include <algorithm>

#include "dsl/check/elaborate.h"

namespace quern::dsl {

std::vector<ir::Expr> Elaborator::shape(const Meaning& what) const {
  if (const auto* t = std::get_if<TensorName>(&what)) return program.tensors[t->tensor].shape;
  std::vector<ir::Expr> out;
  if (const auto* v = std::get_if<ViewName>(&what))
    for (ir::IndexId i : v->indices) out.push_back(program.indices[i].end);
  return out;
}

ir::Expr Elaborator::pair_index(const ast::Pair& pair, ir::Expr size, Span at) {
  const Binder* first = find_index(pair.first.text);
  const Binder* second = find_index(pair.second.text);
  for (const auto& [binder, name] : {std::pair{first, &pair.first}, std::pair{second, &pair.second}})
    if (!binder) {
      diagnostics.report<Code::free_index>(name->span, name->text)
          .label("nothing binds it")
          .fix(fmt::format("reduce over it, as in sum[{0}](...), or put it on the left", name->text));
      return {};
    }
  const ir::Expr a = program.indices[first->id].end, b = program.indices[second->id].end;
  const ir::Expr begins[2] = {program.indices[first->id].begin, program.indices[second->id].begin};
  const ir::Expr product = pool.mul(a, b);
  if (size && !broken_indices_.contains(first->id) && !broken_indices_.contains(second->id) &&
      (!sizes.equal(product, size) || !sizes.normal(begins[0]).is_zero() || !sizes.normal(begins[1]).is_zero())) {
    diagnostics.report<Code::pair_size>(at, pair.first.text, pair.second.text, sizes.text(product), sizes.text(size))
        .label(fmt::format("'{}' runs over {}, '{}' over {}", pair.first.text, sizes.text(a), pair.second.text,
                           sizes.text(b)))
        .fix("a pair covers its axis: the product of its two sizes is the size of the axis");
    return {};
  }
  return pool.add(pool.mul(pool.index(first->id), b), pool.index(second->id));
}

Typed Elaborator::subscript(const ast::Subscript& s, Span at, Policy policy, Typed fill) {
  const Typed none{{}, Strength::strong, at, {}};
  const auto* base = s.base ? std::get_if<ast::NameUse>(&s.base->node) : nullptr;
  if (!base) {
    diagnostics.report<Code::subscript_of_expression>(s.base ? s.base->span : at)
        .fix("give the expression a name in a statement of its own, then read that");
    return none;
  }
  const Entry* entry = find(base->name);
  if (!entry) {
    report_unknown(base->name, s.base->span);
    return none;
  }
  const Meaning meaning = entry->meaning;
  if (std::holds_alternative<BrokenName>(meaning)) return none;
  const bool view = std::holds_alternative<ViewName>(meaning);
  if (!view && !std::holds_alternative<TensorName>(meaning)) {
    diagnostics.report<Code::not_a_tensor>(s.base->span, base->name).label("has no axes");
    return none;
  }
  if (const auto* t = std::get_if<TensorName>(&meaning); t && !t->defined) {
    diagnostics.report<Code::read_before_definition>(at, base->name).fix("move the statement that defines it up");
    return none;
  }
  const std::vector<ir::Expr> extent = shape(meaning);
  if (s.items.size() != extent.size()) {
    std::string sizes_text;
    for (ir::Expr e : extent) sizes_text += fmt::format("{}{}", sizes_text.empty() ? "" : ",", sizes.text(e));
    diagnostics
        .report<Code::wrong_rank>(at, base->name, extent.size(), extent.size() == 1 ? "is" : "es", s.items.size())
        .label(fmt::format("'{}' is [{}]", base->name, sizes_text));
    return none;
  }
  std::vector<ir::Expr> subscripts;
  Place place{base->name, at, {}};
  bool all = true;
  for (std::size_t i = 0; i < s.items.size(); ++i) {
    const ast::SubscriptItem& item = s.items[i];
    place.items.push_back(item.span);
    ir::Expr e;
    if (const auto* x = std::get_if<ast::ExprPtr>(&item.value)) {
      if (*x) e = index_expression(**x);
    } else if (const auto* pair = std::get_if<ast::Pair>(&item.value)) {
      e = pair_index(*pair, extent[i], item.span);
    } else {
      diagnostics.report<Code::slice_in_index_form>(item.span)
          .label("takes a whole axis")
          .fix("name the axis with an index, or write the statement without brackets on its left");
    }
    all = all && e;
    subscripts.push_back(e);
  }
  return all ? read(meaning, std::move(subscripts), place, policy, fill) : none;
}

bool Elaborator::involves_broken(ir::Expr e) const {
  const auto& free = pool.free_indices(e);
  return std::any_of(free.begin(), free.end(), [&](ir::IndexId i) { return broken_indices_.contains(i); });
}

bool Elaborator::in_range(ir::Expr e, ir::Expr size, bool with_data) {
  const ir::Node& n = pool[e];
  if (n.op == ir::Op::index) {
    const ir::Index& index = program.indices[n.payload];
    if (sizes.equal(index.end, size) && sizes.normal(index.begin).is_zero()) return true;
  }
  return proofs.at_most(pool.integer(0), e, with_data) && proofs.less(e, size, with_data);
}

void Elaborator::report_out_of_range(ir::Expr e, ir::Expr size, int axis, const Place& place, bool scatter) {
  const Span at = static_cast<std::size_t>(axis) < place.items.size() ? place.items[axis] : place.span;
  const std::string shown =
      static_cast<std::size_t>(axis) < place.items.size() ? std::string(source.slice(at)) : sizes.text(e);
  const bool low = proofs.at_most(pool.integer(0), e);
  const bool high = proofs.less(e, size);
  auto& d = diagnostics.report<Code::may_be_out_of_range>(at, shown, axis, place.name, sizes.text(size));
  d.label(low    ? fmt::format("not provably below {}", sizes.text(size))
          : high ? "not provably at least 0"
                 : fmt::format("not provably in 0:{}", sizes.text(size)));
  // An index that comes from data: the declaration is where its range belongs.
  std::set<ir::Expr> seen;
  std::vector<ir::Expr> open{e};
  std::string data;
  while (!open.empty()) {
    const ir::Expr x = open.back();
    open.pop_back();
    if (!seen.insert(x).second || seen.size() > 200) continue;
    const ir::Node& n = pool[x];
    if (n.op == ir::Op::read) {
      const ir::Tensor& t = program.tensors[n.payload];
      if (t.role == ir::Role::input && !t.fact_begin) data = t.name;
    }
    open.insert(open.end(), n.args.begin(), n.args.end());
  }
  const std::string text(source.slice(place.span));
  for (ir::IndexId i : pool.free_indices(e)) {
    const ir::Index& index = program.indices[i];
    d.note(fmt::format("'{}' runs over {}:{}", index.name, sizes.text(index.begin), sizes.text(index.end)));
  }
  const std::string fact =
      data.empty() ? std::string() : fmt::format("declare '{}: ... in 0:{}', or ", data, sizes.text(size));
  if (scatter) {
    d.fix(fmt::format("{0}write clip(e, 0, {1} - 1) and 'require {1} > 0'",
                      data.empty() ? "" : fmt::format("declare '{}: ... in 0:{}', or ", data, sizes.text(size)),
                      sizes.text(size)));
    return;
  }
  d.fix(
      fmt::format("{0}write pad({1}, 0), clamp({1}) or wrap({1}), guard it with a domain or where(...), or 'require' "
                  "what makes it so",
                  fact, text));
}

Typed Elaborator::read(const Meaning& what, std::vector<ir::Expr> subscripts, const Place& place, Policy policy,
                       Typed fill) {
  const Typed none{{}, Strength::strong, place.span, {}};
  const std::vector<ir::Expr> extent = shape(what);
  const ir::Expr zero = pool.integer(0);
  if (const auto* t = std::get_if<TensorName>(&what); t && !t->defined) {
    diagnostics.report<Code::read_before_definition>(place.span, place.name)
        .fix("move the statement that defines it up");
    return none;
  }
  bool checked = false, failed = false;
  ir::Expr inside = pool.boolean(true);
  for (std::size_t i = 0; i < subscripts.size(); ++i) {
    ir::Expr& e = subscripts[i];
    const ir::Expr size = extent[i];
    if (involves_broken(e)) continue;
    if (in_range(e, size, false)) continue;
    if (policy == Policy::clamp || policy == Policy::wrap) {
      if (!proofs.less(zero, size)) require(pool.less(zero, size), place.span);
      e = policy == Policy::clamp ? pool.min(pool.max(e, zero), pool.sub(size, pool.integer(1)))
                                  : pool.apply(ir::Op::mod, {e, size});
      continue;
    }
    if (policy == Policy::pad) {
      if (!proofs.at_most(zero, e)) inside = pool.both(inside, pool.apply(ir::Op::le, {zero, e}));
      if (!proofs.less(e, size)) inside = pool.both(inside, pool.less(e, size));
      continue;
    }
    if (in_range(e, size, true)) {
      checked = true;
      continue;
    }
    // Sizes alone: a condition on the call, as for slices.
    if (pool.free_indices(e).empty() && sizes.normal(e, Reading::symbols).as_constant()) {
      const auto position = *sizes.normal(e).as_constant();
      const auto entries = sizes.normal(size).as_constant();
      if (position >= 0 && !entries) {
        require(pool.less(e, size), place.span);
        continue;
      }
    }
    report_out_of_range(e, size, static_cast<int>(i), place);
    failed = true;
  }
  if (failed) return none;
  checked = checked && !trusted;

  Typed out{{}, Strength::strong, place.span, {}};
  if (const auto* t = std::get_if<TensorName>(&what)) {
    out.expr = pool.read(t->tensor, program.tensors[t->tensor].type, subscripts, checked);
    if (auto it = support_.find(t->tensor); it != support_.end() && it->second.first.size() == subscripts.size()) {
      std::unordered_map<ir::IndexId, ir::Expr> values;
      for (std::size_t i = 0; i < subscripts.size(); ++i) values[it->second.first[i]] = subscripts[i];
      out.support = pool.substitute(it->second.second, values);
    }
  } else if (const auto* v = std::get_if<ViewName>(&what)) {
    std::unordered_map<ir::IndexId, ir::Expr> values;
    for (std::size_t i = 0; i < subscripts.size(); ++i) values[v->indices[i]] = subscripts[i];
    out.expr = pool.substitute(v->value.expr, values);
    // A view's own reads are tested where its subscript rests on a fact.
    if (checked)
      out.expr = pool.rewrite(out.expr, [&](ir::Expr e) -> ir::Expr {
        const ir::Node n = pool[e];
        return n.op == ir::Op::read && n.flags == 0
                   ? pool.read(static_cast<ir::TensorId>(n.payload), n.type, n.args, true)
                   : ir::Expr{};
      });
  } else {
    return none;
  }
  // Inside an index, integer data is i64 at once, so that arithmetic on it does not wrap at its own width.
  if (index_mode_ && is_integer(pool.type(out.expr))) out.expr = pool.cast(out.expr, DType::i64);
  if (policy == Policy::pad && !pool.is_true(inside)) {
    Typed padded = choose(inside, out, fill, place.span);
    padded.support = {};
    return padded;
  }
  return out;
}

}  // namespace quern::dsl
