// Comparisons of sorted data become bounds of the streamed index.
// In: domains with conjuncts such as a[n] == g, where a is a nondecreasing vector, n the streamed index and g free of n.
// Out: first <= n and n < last, where groups that run before find first and last by a search for each value of g's indices.
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

/// What one group's walk looks for.
struct Search {
  Program& program;
  Group& group;
  IndexId stream;
  ExprPool& pool;
  std::vector<Group> found{};
  std::map<Expr, Expr> known{};  // condition that holds from some point on -> read of where that is

  /// a[n + c] with a nondecreasing vector of integers: all of it may be looked at.
  bool rises_along(Expr e, IndexId index) {
    e = below_casts(pool, e);
    const Node n = pool[e];
    if (n.op != Op::read || (n.flags & kChecked) || n.args.size() != 1) return false;
    const Tensor& t = program.tensors[static_cast<TensorId>(n.payload)];
    if (!t.nondecreasing || !is_integer(t.type)) return false;
    const auto f = affine(pool, n.args[0], {index});
    return f && f->terms.contains(index) && f->terms.at(index) > 0;
  }

  /// Another conjunct says subscript(a) <= subscript(b), so that a <= b for two elements of one nondecreasing vector.
  bool follows_from_order(Expr a, Expr b, const std::vector<Expr>& all) {
    const Node x = pool[below_casts(pool, a)], y = pool[below_casts(pool, b)];
    if (x.op != Op::read || y.op != Op::read || x.payload != y.payload || y.args.size() != 1) return false;
    std::vector<IndexId> over;
    for (Expr e : {x.args[0], y.args[0]}) for (IndexId i : pool.free_indices(e)) over.push_back(i);
    const auto wanted = affine(pool, pool.sub(x.args[0], y.args[0]), over);
    if (!wanted) return false;
    return std::any_of(all.begin(), all.end(), [&](Expr c) {
      const Node n = pool[c];
      const bool upward = n.op == Op::lt || n.op == Op::le, downward = n.op == Op::gt || n.op == Op::ge;
      if ((!upward && !downward) || pool.type(n.args[0]) != DType::i64) return false;
      const auto said = affine(pool, pool.sub(n.args[upward ? 0 : 1], n.args[upward ? 1 : 0]), over);  // at most 0
      std::int64_t slack = -1;
      return said && said->terms == wanted->terms && pool.is_integer_constant(pool.sub(said->rest, wanted->rest), &slack) && slack >= 0;
    });
  }

  /// The first value of the streamed index at which `condition` holds; it holds from there on.
  Expr first_where(Expr condition, Expr other, std::size_t equation) {
    if (auto it = known.find(condition); it != known.end()) return it->second;
    const Index walked = program.indices[stream];
    const IndexId probe = program.add_index(walked.name + "_at", walked.begin, walked.end);
    Stage search;
    search.form = Form::reduce;
    search.reducer = Reducer::min;
    search.is_search = true;
    search.stored = true;
    search.equation = equation;
    search.axes = {probe};
    search.body = pool.index(probe);
    search.domain = pool.substitute(condition, {{stream, pool.index(probe)}});
    Tensor t;
    t.name = fmt::format("{}_from", walked.name);
    t.type = DType::i64;
    std::vector<IndexId> rising;
    for (IndexId i : pool.free_indices(condition)) {
      if (i == stream) continue;
      search.free.push_back(i);
      const Index& index = program.indices[i];
      t.shape.push_back(pool.sub(index.end, index.begin));
      search.subscripts.push_back(pool.sub(pool.index(i), index.begin));
      if (rises_along(other, i)) rising.push_back(i);
    }
    search.targets = search.stored_targets = {program.add_tensor(t)};
    const Expr read = pool.read(search.targets[0], DType::i64, search.subscripts);
    if (search.free.size() == 1 && !rising.empty()) group.rising.emplace_back(read, rising[0]);
    Group made;
    made.grid = search.free;
    made.stages = {search};
    made.why = {fmt::format("index {} is bounded by a search for {}", walked.name, print_expr(program, condition))};
    found.push_back(std::move(made));
    return known[condition] = read;
  }

  bool is_made_here(TensorId t) const {
    return std::any_of(group.stages.begin(), group.stages.end(),
                       [&](const Stage& s) { return std::find(s.targets.begin(), s.targets.end(), t) != s.targets.end(); });
  }

  void bound(Stage& stage, const Ranges& ranges) {
    const auto all = conjuncts(pool, stage.domain);
    Expr domain = pool.boolean(true);
    for (Expr c : all) {
      const Node n = pool[c];
      const bool compares = n.op == Op::lt || n.op == Op::le || n.op == Op::gt || n.op == Op::ge || n.op == Op::eq;
      const int side = !compares ? -1 : rises_along(n.args[0], stream) ? 0 : rises_along(n.args[1], stream) ? 1 : -1;
      Expr sorted, other;
      bool usable = side >= 0;
      if (usable) {
        sorted = n.args[static_cast<std::size_t>(side)], other = n.args[static_cast<std::size_t>(1 - side)];
        usable = is_integer(pool.type(other)) && !pool.depends_on(other, stream) && pool.free_indices(c).size() <= 3 && ranges.reads_in_range(c, {});
        for_each_node(pool, other, [&](Expr, const Node& at) { usable &= at.op != Op::read || !is_made_here(static_cast<TensorId>(at.payload)); });
      }
      if (!usable) {
        domain = pool.both(domain, c);
        continue;
      }
      const Op op = n.op == Op::eq || side == 0 ? n.op : n.op == Op::lt ? Op::gt : n.op == Op::le ? Op::ge : n.op == Op::gt ? Op::lt : Op::le;
      const Expr at = pool.index(stream);
      auto first = [&](Op is) { return first_where(pool.apply(is, {sorted, other}), other, stage.equation); };
      if (op == Op::ge || op == Op::gt || (op == Op::eq && !follows_from_order(other, sorted, all)))
        domain = pool.both(domain, pool.apply(Op::ge, {at, first(op == Op::gt ? Op::gt : Op::ge)}));
      if (op == Op::le || op == Op::lt || (op == Op::eq && !follows_from_order(sorted, other, all)))
        domain = pool.both(domain, pool.apply(Op::lt, {at, first(op == Op::lt ? Op::ge : Op::gt)}));
    }
    stage.domain = pool.is_true(domain) ? Expr{} : domain;
  }
};

}  // namespace

std::vector<Group> bound_by_order(Program& program, Group& group, IndexId stream) {
  Search search{program, group, stream, program.pool};
  const Ranges ranges(program);
  for (Stage& s : group.stages)
    if (s.form == Form::reduce && s.reduces(stream) && s.domain) search.bound(s, ranges);
  return std::move(search.found);
}

/// Threads keep the bounds of their rows.
void GroupLowering::keep_row_bounds() {
  for (const auto& [read, row] : group_.rising) {
    Expr kept = read;
    if (input_.gpu && varies(row)) {
      Stage operand = operand_stage(program_.tensors[static_cast<TensorId>(pool_[read].payload)].name + "_row", group_.stages[0].equation, {row}, read);
      kept = pool_.read(operand.targets[0], DType::i64, operand.subscripts);
      for (Stage& s : group_.stages)
        if (s.domain) s.domain = pool_.rewrite(s.domain, [&](Expr e) { return e == read ? kept : Expr{}; });
      group_.stages.insert(group_.stages.begin(), operand);
    }
    rising_[kept] = {read, row};
  }
}

}  // namespace quern::compiler
