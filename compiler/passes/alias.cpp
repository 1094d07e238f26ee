// Storage sharing, decided on the tile IR: tasks must own what they write, and within a task the last read of an element
// comes before its write. A read in the writing nest is fine at exactly the point that is written.
#include "compiler/passes/alias.h"

#include <algorithm>
#include <set>

#include "compiler/passes/stage.h"

namespace quern::compiler {

using namespace ir;

namespace {

struct Access {
  std::vector<Expr> subscripts;
  std::vector<IndexId> loops;  // enclosing For indices
  int position = 0;            // statements in order
  std::size_t update = 0;      // within its nest
  bool exact_only = false;     // scatter: cannot be matched point by point
};

struct Collector {
  const Program& program;
  TensorId input, output;
  std::vector<Access> reads, writes;
  std::vector<IndexId> loops;
  int position = 0;
  std::size_t update = 0;

  void expression(Expr e) {
    for_each_node(program.pool, e, [&](Expr, const Node& n) {
      if (n.op == Op::read && static_cast<TensorId>(n.payload) == input) reads.push_back({n.args, loops, position, update, false});
    });
  }
  void block(const tile::Block& b) {
    for (const tile::Statement& s : b) std::visit([&](const auto& n) { statement(n); }, s.node);
  }
  void statement(const tile::For& f) {
    expression(f.begin);
    expression(f.end);
    loops.push_back(f.index);
    block(f.body);
    loops.pop_back();
  }
  void statement(const tile::If& f) {
    expression(f.condition);
    block(f.then_block);
    block(f.else_block);
  }
  void statement(const tile::Nest& n) {
    ++position;
    update = 0;
    for (const tile::Dim& d : n.dims) expression(d.begin), expression(d.end);
    for (update = 0; update < n.updates.size(); ++update) {
      const tile::Update& u = n.updates[update];
      for (Expr e : {u.body, u.domain, u.start, u.result, u.position, u.start_position}) expression(e);
      for (Expr e : u.subscripts) expression(e);
      const bool writes_it = (u.has_value_target && u.target == output) || (u.has_position_target && u.position_target == output);
      // A reduction stores after its loops: what it reads along them may have been overwritten by a neighbour.
      if (writes_it) writes.push_back({u.subscripts, loops, position, update, u.kind == tile::UpdateKind::scatter || !u.over.empty()});
    }
  }
  void statement(const tile::Select& s) {
    ++position;
    update = 0;
    if (s.body) expression(s.body);
    if (s.domain) expression(s.domain);
  }
};

bool is_index(const ExprPool& pool, Expr e, IndexId i) { return pool[e].op == Op::index && static_cast<IndexId>(pool[e].payload) == i; }

/// Index of the nests that runs over the blocks of grid dimension `start`.
std::optional<IndexId> runs_over(const ExprPool& pool, const tile::Block& b, IndexId start) {
  for (const tile::Statement& s : b) {
    if (auto* n = std::get_if<tile::Nest>(&s.node)) {
      for (const tile::Dim& d : n->dims) if (is_index(pool, d.begin, start)) return d.index;
    } else if (auto* f = std::get_if<tile::For>(&s.node)) {
      if (is_index(pool, f->begin, start)) return f->index;
      if (auto found = runs_over(pool, f->body, start)) return found;
    } else if (auto* c = std::get_if<tile::If>(&s.node)) {
      if (auto found = runs_over(pool, c->then_block, start)) return found;
      if (auto found = runs_over(pool, c->else_block, start)) return found;
    }
  }
  return std::nullopt;
}

bool safe_in(const Program& program, const tile::Kernel& kernel, const Collector& c) {
  const ExprPool& pool = program.pool;
  // What separates tasks: each grid index must stand bare on one axis of every write, and on the same axis of every read.
  std::vector<IndexId> owners;
  for (const tile::GridDim& g : kernel.grid) {
    const auto inner = runs_over(pool, kernel.body, g.index);
    owners.push_back(inner ? *inner : g.index);
  }
  for (const Access& w : c.writes) {
    std::vector<IndexId> fixed = owners;
    fixed.insert(fixed.end(), w.loops.begin(), w.loops.end());
    for (const Access& r : c.reads) {
      if (r.subscripts.size() != w.subscripts.size() || r.position > w.position) return false;
      for (IndexId i : fixed) {
        const bool loop_of_write = std::find(w.loops.begin(), w.loops.end(), i) != w.loops.end();
        if (loop_of_write && std::find(r.loops.begin(), r.loops.end(), i) == r.loops.end()) continue;  // before the loop
        bool owned = false;
        for (std::size_t a = 0; a < w.subscripts.size(); ++a)
          owned |= is_index(pool, w.subscripts[a], i) && is_index(pool, r.subscripts[a], i);
        if (!owned) return false;
      }
      if (r.position == w.position && (w.exact_only || r.update > w.update || r.subscripts != w.subscripts)) return false;
    }
  }
  return true;
}

/// Kernels of which a call runs one at most.
bool exclude_each_other(const ExprPool& pool, Expr a, Expr b) {
  if (!a || !b) return false;
  const Node &x = pool[a], &y = pool[b];
  const bool opposite = (x.op == Op::le && y.op == Op::gt) || (x.op == Op::gt && y.op == Op::le);
  return (opposite && x.args == y.args) || (x.op == Op::not_ && x.args[0] == b) || (y.op == Op::not_ && y.args[0] == a);
}

}  // namespace

bool may_share_storage(const tile::Module& module, TensorId input, TensorId output) {
  std::vector<Expr> written;  // when
  for (const tile::Kernel& kernel : module.kernels) {
    Collector c{module.program, input, output, {}, {}, {}, 0};
    for (const tile::GridDim& g : kernel.grid) c.expression(g.begin), c.expression(g.end);
    c.block(kernel.body);
    for (Expr when : written)
      if (!c.reads.empty() && !exclude_each_other(module.program.pool, when, kernel.when)) return false;
    if (!c.writes.empty() && !c.reads.empty() && !safe_in(module.program, kernel, c)) return false;
    if (!c.writes.empty()) written.push_back(kernel.when);
  }
  return true;
}

void copy_entry_values(Program& program, const std::vector<TensorId>& tensors) {
  for (TensorId entry : tensors) {
    Tensor copy = program.tensors[entry];
    copy.role = Role::temp;
    copy.name += "_entry";
    copy.entry.reset();
    const TensorId to = program.add_tensor(copy);
    for (Equation& e : program.equations) {
      auto redirect = [&](Expr x) {
        return !x ? x : program.pool.rewrite(x, [&](Expr at) -> Expr {
          Node n = program.pool[at];
          if (n.op != Op::read || static_cast<TensorId>(n.payload) != entry) return {};
          n.payload = to;
          return program.pool.intern(n);
        });
      };
      e.body = redirect(e.body);
      for (Expr& s : e.subscripts) s = redirect(s);
    }
    Equation equation;
    equation.targets = {to};
    for (Expr size : copy.shape) {
      const IndexId i = program.add_index("i", program.pool.integer(0), size);
      equation.indices.push_back(i);
      equation.subscripts.push_back(program.pool.index(i));
    }
    equation.body = program.pool.read(entry, copy.type, equation.subscripts);
    program.equations.insert(program.equations.begin(), std::move(equation));
  }
}

}  // namespace quern::compiler
