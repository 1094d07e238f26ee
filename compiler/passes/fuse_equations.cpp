// fuse_equations: from a list of flat equations to groups that share their loops.
// Every producer-consumer pair whose reads are aligned (the consumer reads exactly the point at hand, or reduces over it)
// may share a kernel. Pairs are tried in order of what is gained; a merge stands if the indices can be made common
// without making two loops of one equation the same, if the group stays convex, and if enough grid is left.
#include <algorithm>
#include <map>
#include <numeric>
#include <optional>
#include <set>
#include <stdexcept>
#include <unordered_map>

#include <fmt/format.h>

#include "compiler/passes/stage.h"

namespace quern::compiler {

using namespace ir;

namespace {

using Set = std::vector<std::size_t>;  // of equations, ascending
using Classes = std::unordered_map<IndexId, IndexId>;

/// Binds the pattern's indices to those of `e` where both have the same structure.
bool match(const ExprPool& pool, Expr pattern, Expr e, std::map<IndexId, IndexId>& bound) {
  const Node& p = pool[pattern];
  const Node& n = pool[e];
  if (p.op == Op::index) {
    if (n.op != Op::index) return false;
    auto [it, fresh] = bound.emplace(static_cast<IndexId>(p.payload), static_cast<IndexId>(n.payload));
    return fresh || it->second == static_cast<IndexId>(n.payload);
  }
  if (pool.free_indices(pattern).empty()) return pattern == e;
  if (p.op != n.op || p.payload != n.payload || p.args.size() != n.args.size()) return false;
  for (std::size_t i = 0; i < p.args.size(); ++i)
    if (!match(pool, p.args[i], n.args[i], bound)) return false;
  return true;
}

/// The stage of one equation, over fresh indices of its own.
Stage make_stage(Program& program, std::size_t equation) {
  const Equation eq = program.equations[equation];
  ExprPool& pool = program.pool;
  Stage stage;
  stage.equation = equation;
  stage.targets = eq.targets;
  stage.checked = eq.checked;
  stage.op = eq.op;

  std::unordered_map<IndexId, Expr> rename;
  auto fresh = [&](IndexId old) {
    if (auto it = rename.find(old); it != rename.end()) return static_cast<IndexId>(pool[it->second].payload);
    const Index index = program.indices[old];
    const IndexId id = program.add_index(index.name, index.begin, index.end);
    rename[old] = pool.index(id);
    return id;
  };
  for (IndexId i : eq.indices) stage.free.push_back(fresh(i));

  const Node root = pool[eq.body];
  Expr body = eq.body;
  Expr domain;
  auto open = [&](Form form) {
    stage.form = form;
    for (IndexId a : root.axes) stage.axes.push_back(fresh(a));
    body = root.args[0];
    domain = root.args[1];
  };
  if (eq.op != AssignOp::set) stage.form = Form::scatter;
  else if (root.op == Op::reduce) open(Form::reduce);
  else if (root.op == Op::scan) open(Form::scan);
  else if (root.op == Op::topk_value) open(Form::topk);
  else if (root.op == Op::map) open(Form::sort);
  if (stage.form == Form::reduce) stage.reducer = static_cast<Reducer>(root.payload);
  if (stage.form == Form::sort) stage.argsort = static_cast<AxisMap>(root.payload) == AxisMap::argsort;
  if (stage.form == Form::scan) stage.init = pool.substitute(root.args[2], rename);
  stage.body = pool.substitute(body, rename);
  if (domain && !pool.is_true(domain)) stage.domain = pool.substitute(domain, rename);
  for (Expr s : eq.subscripts) stage.subscripts.push_back(pool.substitute(s, rename));
  return stage;
}

enum class Gain { none, memory, epilogue, locality };

struct Fuser {
  Program& program;
  ExprPool& pool;
  std::vector<Stage> stages;  // one per equation
  std::unordered_map<TensorId, std::size_t> producer;
  std::vector<std::set<std::size_t>> uses;  // producers that each equation reads
  std::vector<std::size_t> group;           // equation -> group number
  const std::set<TensorId>& apart;          // targets whose readers come in other groups

  Fuser(Program& p, const std::set<TensorId>& complete) : program(p), pool(p.pool), apart(complete) {
    for (std::size_t i = 0; i < program.equations.size(); ++i) {
      stages.push_back(make_stage(program, i));
      for (TensorId t : stages[i].targets) producer[t] = i;
    }
    uses.resize(stages.size());
    for (std::size_t i = 0; i < stages.size(); ++i)
      for_each_read(pool, stages[i], [&](Expr, const Node& n) {
        if (auto it = producer.find(static_cast<TensorId>(n.payload)); it != producer.end() && it->second != i)
          uses[i].insert(it->second);
      });
    group.resize(stages.size());
    std::iota(group.begin(), group.end(), 0);
  }

  /// The index pairs that a read of `p`'s target at these subscripts makes equal; nothing if it reads another point.
  std::optional<std::map<IndexId, IndexId>> aligned(const Stage& p, const Node& read) const {
    if (p.form == Form::scatter) return std::nullopt;
    std::map<IndexId, IndexId> bound;
    for (std::size_t k = 0; k < read.args.size(); ++k)
      if (!match(pool, p.subscripts[k], read.args[k], bound)) return std::nullopt;
    for (IndexId i : p.free) {
      auto it = bound.find(i);
      if (it == bound.end()) return std::nullopt;
      const Index& a = program.indices[i];
      const Index& b = program.indices[it->second];
      if (a.begin != b.begin || a.end != b.end) return std::nullopt;
    }
    return bound;
  }

  bool all_reads_aligned(std::size_t p, std::size_t c) const {
    bool ok = true;
    for_each_read(pool, stages[c], [&](Expr, const Node& n) {
      auto it = producer.find(static_cast<TensorId>(n.payload));
      if (it != producer.end() && it->second == p && !aligned(stages[p], n)) ok = false;
    });
    return ok;
  }

  /// Class of every index of the set's equations, or nothing if two loops of one equation would become one.
  std::optional<Classes> unify(const Set& set) const {
    Classes parent;
    const std::set<std::size_t> members(set.begin(), set.end());
    for (std::size_t c : set)
      for_each_read(pool, stages[c], [&](Expr, const Node& n) {
        auto it = producer.find(static_cast<TensorId>(n.payload));
        if (it == producer.end() || it->second == c || !members.contains(it->second)) return;
        if (auto pairs = aligned(stages[it->second], n))
          for (auto [a, b] : *pairs) parent[root(parent, a)] = root(parent, b);
      });
    return classes_of(set, parent);
  }

  static IndexId root(Classes& parent, IndexId i) {
    auto it = parent.find(i);
    return it == parent.end() || it->second == i ? i : it->second = root(parent, it->second);
  }

  std::optional<Classes> classes_of(const Set& set, Classes& parent) const {
    Classes classes;
    for (std::size_t s : set) {
      std::map<IndexId, IndexId> owner;  // class -> the one index of this equation in it
      for (const auto* list : {&stages[s].free, &stages[s].axes})
        for (IndexId i : *list) {
          classes[i] = root(parent, i);
          if (auto [it, fresh] = owner.emplace(classes[i], i); !fresh && it->second != i) return std::nullopt;
        }
    }
    return classes;
  }

  /// Also makes loops common that walk the same axis of the same tensor, so that they can become one loop.
  Classes join_walks(const Set& set, Classes classes) const {
    struct Walk { std::size_t stage; Node read; };
    std::vector<Walk> walks;
    for (std::size_t s : set) for_each_read(pool, stages[s], [&](Expr, const Node& n) { walks.push_back({s, n}); });
    for (std::size_t a = 0; a < walks.size(); ++a)
      for (std::size_t b = a + 1; b < walks.size(); ++b) {
        if (walks[a].stage == walks[b].stage || walks[a].read.payload != walks[b].read.payload) continue;
        Classes trial = classes;
        bool same = true;
        for (std::size_t k = 0; same && k < walks[a].read.args.size(); ++k) {
          const Expr ea = walks[a].read.args[k], eb = walks[b].read.args[k];
          if (ea == eb) continue;
          const Node& na = pool[ea];
          const Node& nb = pool[eb];
          same = na.op == Op::index && nb.op == Op::index;
          if (!same) break;
          const Index& ia = program.indices[static_cast<IndexId>(na.payload)];
          const Index& ib = program.indices[static_cast<IndexId>(nb.payload)];
          same = ia.begin == ib.begin && ia.end == ib.end;
          const IndexId from = trial.at(static_cast<IndexId>(na.payload)), to = trial.at(static_cast<IndexId>(nb.payload));
          for (auto& [i, c] : trial) if (c == from) c = to;
        }
        if (same && trial != classes && classes_of(set, trial)) classes = trial;
      }
    return classes;
  }

  /// Indices that every equation of the set keeps and that none needs as a whole.
  std::set<IndexId> grid_of(const Set& set, const Classes& classes) const {
    std::set<IndexId> grid;
    bool first = true;
    const bool all_replicable = std::all_of(set.begin(), set.end(), [&](std::size_t s) { return is_replicable(program, stages[s]); });
    for (std::size_t s : set) {
      if (!all_replicable && is_replicable(program, stages[s])) continue;
      std::set<IndexId> own;
      for (IndexId i : stages[s].free)
        if (!stages[s].is_sequential(i) && (stages[s].form != Form::scatter || separates(stages[s], i))) own.insert(classes.at(i));
      if (first) grid = own;
      else std::erase_if(grid, [&](IndexId g) { return !own.contains(g); });
      first = false;
    }
    // A replicable equation is computed in every task that needs it, there over all of what it reduces.
    for (std::size_t s : set)
      for (IndexId a : stages[s].axes)
        if (!stages[s].is_free(a)) grid.erase(classes.at(a));
    return grid;
  }

  /// Scatter: points that differ in `i` never meet in one element.
  bool separates(const Stage& s, IndexId i) const {
    int bare = 0, other = 0;
    for (Expr sub : s.subscripts) {
      if (pool[sub].op == Op::index && static_cast<IndexId>(pool[sub].payload) == i) ++bare;
      else if (pool.depends_on(sub, i)) ++other;
    }
    return bare == 1 && other == 0;
  }

  Set members(std::size_t g) const {
    Set out;
    for (std::size_t i = 0; i < group.size(); ++i) if (group[i] == g) out.push_back(i);
    return out;
  }

  /// With groups `a` and `b` as one node, no path leaves that node and comes back.
  bool convex(std::size_t a, std::size_t b) const {
    std::set<std::size_t> reached;
    std::vector<std::size_t> todo;
    auto inside = [&](std::size_t e) { return group[e] == a || group[e] == b; };
    auto visit = [&](std::size_t g) { if (reached.insert(g).second) todo.push_back(g); };
    for (std::size_t e = 0; e < stages.size(); ++e)
      if (inside(e)) for (std::size_t u : uses[e]) if (!inside(u)) visit(group[u]);
    while (!todo.empty()) {
      const std::size_t g = todo.back();
      todo.pop_back();
      for (std::size_t e : members(g))
        for (std::size_t u : uses[e]) {
          if (inside(u)) return false;
          if (group[u] != g) visit(group[u]);
        }
    }
    return true;
  }

  /// Read by no contraction but those that read the results too: a bias or a mask, as large as the scores that it goes with.
  bool goes_with(TensorId t, TensorId results) const {
    return std::none_of(stages.begin(), stages.end(), [&](const Stage& s) {
      bool reads = false, reads_results = false;
      for_each_read(pool, s, [&](Expr, const Node& n) {
        reads |= static_cast<TensorId>(n.payload) == t;
        reads_results |= static_cast<TensorId>(n.payload) == results;
      });
      return reads && !reads_results && has_reuse(program, s);
    });
  }

  /// Larger than everything the program is given or gives: its extents are not part of any other shape. Results of
  /// a contraction that a reduction reads, keeping an index, are better never stored; beside them, what only goes with them does not count.
  bool expands(const Stage& s, const Stage& reader) const {
    const bool contracts = has_reuse(program, s) && !reader.free.empty();
    std::vector<Expr> own;
    for (IndexId i : s.free) {
      const Expr e = pool.sub(program.indices[i].end, program.indices[i].begin);
      std::int64_t v = 0;
      if (!(pool.is_integer_constant(e, &v) && v == 1)) own.push_back(e);
    }
    for (const Tensor& t : program.tensors) {
      if (t.role != Role::input && t.role != Role::output) continue;
      if (contracts && t.role == Role::input && (reader.form == Form::reduce || goes_with(static_cast<TensorId>(&t - program.tensors.data()), s.targets[0]))) continue;
      std::vector<Expr> shape = t.shape;
      const bool inside = std::all_of(own.begin(), own.end(), [&](Expr e) {
        auto it = std::find(shape.begin(), shape.end(), e);
        if (it == shape.end()) return false;
        shape.erase(it);
        return true;
      });
      if (inside) return false;
    }
    return true;
  }

  /// A copy of an inout parameter's entry values must be complete before anything else runs.
  bool copies_entry(const Stage& s) const {
    const Node& n = pool[s.body];
    if (s.form != Form::pointwise || n.op != Op::read) return false;
    return std::any_of(program.tensors.begin(), program.tensors.end(),
                       [&](const Tensor& t) { return t.entry && *t.entry == static_cast<TensorId>(n.payload); });
  }

  Gain gain(std::size_t p, std::size_t c) const {
    const Stage& from = stages[p];
    const Stage& to = stages[c];
    if (from.form == Form::scatter || to.form == Form::scatter || copies_entry(from)) return Gain::none;
    if (expands(from, to) || is_replicable(program, from)) return Gain::memory;
    if (to.form == Form::pointwise && to.free.size() == from.free.size()) return Gain::epilogue;
    if (!has_reuse(program, from) && !has_reuse(program, to)) return Gain::locality;
    return Gain::none;
  }

  bool reads_apart(std::size_t s) const {
    return std::any_of(uses[s].begin(), uses[s].end(), [&](std::size_t u) { return apart.contains(stages[u].targets[0]); });
  }

  bool merge(std::size_t p, std::size_t c, Gain why) {
    const std::size_t gp = group[p], gc = group[c];
    if (gp == gc) return false;
    const Set mp = members(gp), mc = members(gc);
    Set set = mp;
    set.insert(set.end(), mc.begin(), mc.end());
    std::sort(set.begin(), set.end());
    const auto classes = unify(set);
    if (!classes) return false;
    for (std::size_t a : set)
      for (std::size_t b : set)
        if (uses[b].contains(a) && (!all_reads_aligned(a, b) || apart.contains(stages[a].targets[0]))) return false;
    const auto grid = grid_of(set, *classes);
    if (why != Gain::memory) {
      for (const Set* part : {&mp, &mc}) {
        const auto own = unify(*part);
        if (!own) return false;
        const std::size_t before = grid_of(*part, *own).size();
        if (grid.empty() && before > 0) return false;
        // A contraction keeps its own grid: fusing must not turn its outer loops into inner ones.
        const bool reuse = std::any_of(part->begin(), part->end(), [&](std::size_t s) { return has_reuse(program, stages[s]); });
        if (reuse && grid.size() < before) return false;
        // The end of a sum that was split reads little; its reader, all of the data: that keeps its grid too.
        const bool ends_split = std::any_of(mp.begin(), mp.end(), [&](std::size_t s) { return reads_apart(s); });
        if (ends_split && part == &mc && grid.size() < before) return false;
      }
    }
    if (!convex(gp, gc)) return false;
    for (std::size_t& g : group) if (g == gc) g = gp;
    return true;
  }

  std::vector<Group> run() {
    for (Gain wanted : {Gain::memory, Gain::epilogue, Gain::locality})
      for (std::size_t c = 0; c < stages.size(); ++c)
        for (std::size_t p : uses[c])
          if (gain(p, c) == wanted && all_reads_aligned(p, c)) merge(p, c, wanted);
    return emit();
  }

  std::vector<std::size_t> dependency_order() const {
    std::vector<std::size_t> order;
    std::set<std::size_t> done;
    while (done.size() < stages.size()) {
      const std::size_t before = done.size();
      for (std::size_t i = 0; i < stages.size() && done.size() == before; ++i) {
        if (done.contains(i)) continue;
        const Set set = members(group[i]);
        const bool ready = std::all_of(set.begin(), set.end(), [&](std::size_t s) {
          return std::all_of(uses[s].begin(), uses[s].end(), [&](std::size_t u) { return done.contains(u) || group[u] == group[i]; });
        });
        if (!ready) continue;
        order.push_back(group[i]);
        done.insert(set.begin(), set.end());
      }
      if (done.size() == before) throw std::logic_error("quern internal error: fuse_equations made a cycle of groups");
    }
    return order;
  }

  /// Definitions before uses, small results before large ones: spellings that differ in the order of independent
  /// statements become one kernel.
  Set in_order(const Set& set) const {
    Set out;
    std::set<std::size_t> left(set.begin(), set.end());
    while (!left.empty()) {
      std::optional<std::size_t> next;
      for (std::size_t s : left) {
        if (std::any_of(uses[s].begin(), uses[s].end(), [&](std::size_t u) { return left.contains(u); })) continue;
        if (!next || stages[s].free.size() < stages[*next].free.size()) next = s;
      }
      out.push_back(*next);
      left.erase(*next);
    }
    return out;
  }

  std::vector<Group> emit() {
    std::vector<Group> out;
    for (std::size_t g : dependency_order()) {
      const Set set = members(g);
      const Classes classes = join_walks(set, *unify(set));
      std::unordered_map<IndexId, Expr> rename;
      for (auto [from, to] : classes) rename[from] = pool.index(to);
      Group result;
      for (std::size_t s : in_order(set)) {
        Stage stage = stages[s];
        for (auto& i : stage.free) i = classes.at(i);
        for (auto& i : stage.axes) i = classes.at(i);
        stage.body = pool.substitute(stage.body, rename);
        if (stage.domain) stage.domain = pool.substitute(stage.domain, rename);
        if (stage.init) stage.init = pool.substitute(stage.init, rename);
        for (Expr& e : stage.subscripts) e = pool.substitute(e, rename);
        for (TensorId t : stage.targets) {
          bool stored = stage.form == Form::scatter || program.tensors[t].role == Role::output;
          for (std::size_t c = 0; c < stages.size(); ++c)
            if (group[c] != g && uses[c].contains(s))
              for_each_read(pool, stages[c], [&](Expr, const Node& n) { stored |= static_cast<TensorId>(n.payload) == t; });
          if (stored) stage.stored_targets.push_back(t);
        }
        stage.stored = !stage.stored_targets.empty();
        result.stages.push_back(std::move(stage));
      }
      const auto grid = grid_of(set, classes);
      // In the order of the widest stage, so that neighbouring tasks work on neighbouring data.
      const Stage& widest = *std::max_element(result.stages.begin(), result.stages.end(), [](const Stage& a, const Stage& b) { return a.free.size() < b.free.size(); });
      for (IndexId i : widest.free) if (grid.contains(i)) result.grid.push_back(i);
      out.push_back(std::move(result));
    }
    return out;
  }
};

}  // namespace

std::vector<Group> fuse_equations(Program& program, const std::set<TensorId>& apart) { return Fuser(program, apart).run(); }

}  // namespace quern::compiler
