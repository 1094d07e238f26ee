// Comparisons of sorted data become bounds of the streamed index.
// In: domains with conjuncts such as a[n] == g, where a is a nondecreasing vector, n the streamed index and g free of n.
// Out: first <= n and n < last, where a stage before the walk finds first and last by a search for each value of g's indices.
// Where these rise along a row index, a block of rows has its first row's `first` and its last row's `last`: so blocks outside
// are never visited, and a block inside needs no test (bound_stream).
#include <algorithm>

#include <fmt/format.h>

#include "compiler/passes/lower_group.h"
#include "compiler/passes/ranges.h"
#include "dsl/ir/print_program.h"

namespace quern::compiler {

using namespace ir;

namespace {

/// The read below widening casts.
Expr below_casts(const ExprPool& pool, Expr e) {
  while (pool[e].op == Op::cast && is_integer(pool[e].type) && is_integer(pool.type(pool[e].args[0]))) e = pool[e].args[0];
  return e;
}

}  // namespace

/// a[n + c] with a nondecreasing vector of integers: all of it may be looked at.
bool GroupLowering::rises_along(Expr e, IndexId index) {
  e = below_casts(pool_, e);
  const Node n = pool_[e];
  if (n.op != Op::read || (n.flags & kChecked) || n.args.size() != 1) return false;
  const Tensor& t = program_.tensors[static_cast<TensorId>(n.payload)];
  if (!t.nondecreasing || !is_integer(t.type)) return false;
  const auto f = affine(pool_, n.args[0], {index});
  return f && f->terms.contains(index) && f->terms.at(index) > 0;
}

/// Another conjunct says subscript(a) <= subscript(b), so that a <= b for two elements of one nondecreasing vector.
bool GroupLowering::follows_from_order(Expr a, Expr b, const std::vector<Expr>& conjuncts) {
  const Node x = pool_[below_casts(pool_, a)], y = pool_[below_casts(pool_, b)];
  if (x.op != Op::read || y.op != Op::read || x.payload != y.payload || y.args.size() != 1) return false;
  std::vector<IndexId> over;
  for (Expr e : {x.args[0], y.args[0]}) for (IndexId i : pool_.free_indices(e)) over.push_back(i);
  const auto wanted = affine(pool_, pool_.sub(x.args[0], y.args[0]), over);
  if (!wanted) return false;
  return std::any_of(conjuncts.begin(), conjuncts.end(), [&](Expr c) {
    const Node n = pool_[c];
    const bool upward = n.op == Op::lt || n.op == Op::le, downward = n.op == Op::gt || n.op == Op::ge;
    if ((!upward && !downward) || pool_.type(n.args[0]) != DType::i64) return false;
    const auto known = affine(pool_, pool_.sub(n.args[upward ? 0 : 1], n.args[upward ? 1 : 0]), over);  // at most 0
    std::int64_t slack = -1;
    return known && known->terms == wanted->terms && pool_.is_integer_constant(pool_.sub(known->rest, wanted->rest), &slack) && slack >= 0;
  });
}

/// The stage that finds the first value of the streamed index at which `condition` holds; it holds from there on.
TensorId GroupLowering::searched_bound(Expr condition, const Stage& stage) {
  const IndexId stream = *plan_.stream;
  if (auto it = searched_.find(condition); it != searched_.end()) return it->second;
  const Index walked = program_.indices[stream];
  const IndexId probe = program_.add_index(walked.name + "_at", walked.begin, walked.end);
  Stage search;
  search.form = Form::reduce;
  search.reducer = Reducer::min;
  search.is_search = true;
  search.equation = stage.equation;
  search.axes = {probe};
  search.body = pool_.index(probe);
  search.domain = pool_.substitute(condition, {{stream, pool_.index(probe)}});
  Tensor t;
  t.name = fmt::format("{}_from", walked.name);
  t.type = DType::i64;
  for (IndexId i : pool_.free_indices(condition)) {
    if (i == stream) continue;
    search.free.push_back(i);
    const Index& index = program_.indices[i];
    t.shape.push_back(pool_.sub(index.end, index.begin));
    search.subscripts.push_back(pool_.sub(pool_.index(i), index.begin));
  }
  search.targets = {program_.add_tensor(t)};
  searched_[condition] = search.targets[0];
  group_.why.push_back(fmt::format("index {} is bounded by a search for {}", walked.name, print_expr(program_, condition)));
  group_.stages.insert(group_.stages.begin(), search);
  return search.targets[0];
}

void GroupLowering::bound_by_order() {
  const IndexId stream = *plan_.stream;
  const Ranges ranges(program_);
  for (std::size_t i = 0; i < group_.stages.size(); ++i) {
    if (group_.stages[i].form != Form::reduce || !group_.stages[i].reduces(stream) || !group_.stages[i].domain) continue;
    const Stage stage = group_.stages[i];
    const std::size_t before = group_.stages.size();
    const auto all = conjuncts(pool_, stage.domain);
    Expr domain = pool_.boolean(true);
    for (Expr c : all) {
      const Node n = pool_[c];
      const bool compares = n.op == Op::lt || n.op == Op::le || n.op == Op::gt || n.op == Op::ge || n.op == Op::eq;
      const int side = !compares ? -1 : rises_along(n.args[0], stream) ? 0 : rises_along(n.args[1], stream) ? 1 : -1;
      Expr sorted, other;
      bool usable = side >= 0;
      if (usable) {
        sorted = n.args[static_cast<std::size_t>(side)], other = n.args[static_cast<std::size_t>(1 - side)];
        usable = is_integer(pool_.type(other)) && !pool_.depends_on(other, stream) && ranges.reads_in_range(c, {});
        for_each_node(pool_, other, [&](Expr, const Node& at) { usable &= at.op != Op::read || !producer(static_cast<TensorId>(at.payload)); });
        std::vector<IndexId> rows;
        for (IndexId r : pool_.free_indices(other)) if (varies(r)) rows.push_back(r);
        usable &= rows.size() <= 1;
      }
      if (!usable) {
        domain = pool_.both(domain, c);
        continue;
      }
      const Op op = n.op == Op::eq || side == 0 ? n.op : n.op == Op::lt ? Op::gt : n.op == Op::le ? Op::ge : n.op == Op::gt ? Op::lt : Op::le;
      const Expr at = pool_.index(stream);
      auto first_where = [&](Op is, const Stage& s) {
        const TensorId t = searched_bound(pool_.apply(is, {sorted, other}), s);
        const auto found = std::find_if(group_.stages.begin(), group_.stages.end(), [&](const Stage& x) { return x.targets[0] == t; });
        const Expr value = pool_.read(t, DType::i64, found->subscripts);
        for (IndexId r : found->free)
          if (varies(r) && rises_along(other, r)) rising_[value] = r;
        return value;
      };
      if (op == Op::ge || op == Op::gt || (op == Op::eq && !follows_from_order(other, sorted, all)))
        domain = pool_.both(domain, pool_.apply(Op::ge, {at, first_where(op == Op::gt ? Op::gt : Op::ge, stage)}));
      if (op == Op::le || op == Op::lt || (op == Op::eq && !follows_from_order(sorted, other, all)))
        domain = pool_.both(domain, pool_.apply(Op::lt, {at, first_where(op == Op::lt ? Op::ge : Op::gt, stage)}));
    }
    i += group_.stages.size() - before;
    group_.stages[i].domain = pool_.is_true(domain) ? Expr{} : domain;
  }
}

}  // namespace quern::compiler
