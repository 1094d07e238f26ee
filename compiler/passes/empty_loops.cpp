// Guards for forms that leave loops (empty_loops.h): "the loop has a point" is kept for those loops alone whose emptiness
// decides about a read. Reads at subscripts that are data are tested or trusted on their own.
#include "compiler/passes/empty_loops.h"

#include <algorithm>
#include <set>

#include "compiler/passes/ranges.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

struct Search {
  const Program& program;
  const ExprPool& pool;
  Ranges ranges;
  std::set<Expr> unproved;  // reads

  explicit Search(const Program& p) : program(p), pool(p.pool), ranges(p) {}

  bool is_data(Expr read) const {
    const Node& n = pool[read];
    bool data = n.flags & kChecked;
    for (Expr subscript : n.args) for_each_node(pool, subscript, [&](Expr e) { data |= pool[e].op == Op::read; });
    return data;
  }

  void look(Expr e, std::span<const Expr> facts) {
    const Node& n = pool[e];
    if (n.op == Op::read && !is_data(e) && !ranges.in_range(e, facts)) unproved.insert(e);
    if (n.op == Op::where || n.op == Op::reduce || n.op == Op::map || n.op == Op::topk_value || n.op == Op::topk_position) {
      const bool choice = n.op == Op::where;
      std::vector<Expr> more(facts.begin(), facts.end());
      look(n.args[choice ? 0 : 1], facts);
      if (choice) look(n.args[2], facts);
      more.push_back(n.args[choice ? 0 : 1]);
      look(n.args[choice ? 1 : 0], more);
      return;
    }
    for (Expr a : n.args) look(a, facts);
  }
  const std::set<Expr>& operator()(Expr e, std::span<const Expr> facts) {
    unproved.clear();
    if (tree_size(pool, e) <= kLargestTree) {
      look(e, facts);
    } else {
      for_each_node(pool, e, [&](Expr at) { if (pool[at].op == Op::read && !is_data(at)) unproved.insert(at); });
    }
    return unproved;
  }

  /// A size occurs in both: whether the loop has a point can matter to the read. A size that is fixed can decide alone.
  bool concerns(Expr fact, const std::set<Expr>& reads) const {
    std::set<Expr> sizes;
    for_each_node(pool, fact, [&](Expr e) {
      const Node& n = pool[e];
      if (n.op == Op::index || (n.op == Op::symbol && !program.symbols[static_cast<SymbolId>(n.payload)].value)) sizes.insert(e);
    });
    if (sizes.empty()) return true;
    bool shared = false;
    auto see = [&](Expr e) { for_each_node(pool, e, [&](Expr at) { shared |= sizes.contains(at); }); };
    for (Expr read : reads) {
      see(read);
      for (Expr extent : program.tensors[static_cast<TensorId>(pool[read].payload)].shape) see(extent);
    }
    return shared;
  }
};

}  // namespace

Expr under_guard(Program& program, Expr form, Expr condition) {
  ExprPool& pool = program.pool;
  if (pool.is_true(condition)) return form;
  Node node = pool[form];
  if (node.op == Op::reduce) {
    node.args[1] = both(pool, condition, node.args[1]);
    return pool.intern(std::move(node));
  }
  node.args[0] = pool.where(condition, node.args[0], node.op == Op::scan ? pool.previous(pool.type(node.args[0]))
                                                                         : zero(pool, pool.type(node.args[0])));
  if (node.op == Op::scan) node.args[2] = pool.where(condition, node.args[2], zero(pool, pool.type(node.args[2])));
  else if (!pool.is_true(node.args[1])) node.args[1] = both(pool, condition, node.args[1]);
  return pool.intern(std::move(node));
}

Expr outside_loops(Program& program, Expr form, std::span<const IndexId> around) {
  ExprPool& pool = program.pool;
  std::vector<Expr> facts;
  for (IndexId i : around) {
    const Index& index = program.indices[i];
    std::int64_t begin = 0, end = 0;
    const bool constant = pool.is_integer_constant(index.begin, &begin) && pool.is_integer_constant(index.end, &end);
    if (pool.depends_on(form, i) || (constant && begin < end)) continue;
    const Expr fact = constant ? pool.boolean(false) : pool.apply(Op::lt, {index.begin, index.end});
    if (std::find(facts.begin(), facts.end(), fact) == facts.end()) facts.push_back(fact);
  }
  if (facts.empty()) return form;
  Search search(program);
  const std::set<Expr> open = search(form, {});
  if (open.empty()) return form;
  std::erase_if(facts, [&](Expr fact) { return !search.concerns(fact, open); });
  // As few as prove as much.
  const std::size_t left = search(form, facts).size();
  for (std::size_t k = facts.size(); k-- > 0 && left < open.size();) {
    std::vector<Expr> fewer = facts;
    fewer.erase(fewer.begin() + static_cast<std::ptrdiff_t>(k));
    if (search(form, fewer).size() == left) facts = std::move(fewer);
  }
  return under_guard(program, form, conjunction(pool, facts));
}

}  // namespace quern::compiler
