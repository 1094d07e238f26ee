// Orders every read of one tensor against every write of another. See in_place.h.
#include "runtime/in_place.h"

#include <algorithm>
#include <set>
#include <unordered_map>

namespace quern::runtime {
namespace {

using ir::Expr;
using ir::IndexId;
using ir::Op;
using ir::TensorId;

/// One read or write of one of the two tensors within a kernel, in program order.
struct Access {
  bool write = false;
  std::vector<Expr> subscripts;
  const tile::Nest* nest = nullptr;   // null: a bound or a condition
  std::size_t update = 0;
  int order = 0;                      // of the statement
  std::vector<const tile::For*> loops;
};

class Walk {
 public:
  Walk(const tile::Module& module, TensorId written, TensorId read) : module_(module), pool_(module.program.pool), written_(written), read_(read) {}

  std::vector<Access> accesses(const tile::Kernel& kernel) {
    found_.clear();
    order_ = 0;
    for (const tile::GridDim& g : kernel.grid) reads_of({g.begin, g.end}, nullptr, 0);
    block(kernel.body);
    return std::move(found_);
  }

 private:
  void block(const tile::Block& statements) {
    for (const tile::Statement& s : statements) {
      ++order_;
      std::visit([&](const auto& node) { statement(node); }, s.node);
    }
  }
  void statement(const tile::For& f) {
    reads_of({f.begin, f.end}, nullptr, 0);
    loops_.push_back(&f);
    block(f.body);
    loops_.pop_back();
  }
  void statement(const tile::If& i) {
    reads_of({i.condition}, nullptr, 0);
    block(i.then_block);
    block(i.else_block);
  }
  void statement(const tile::Select& s) { reads_of({s.extent, s.k}, nullptr, 0); }
  void statement(const tile::Nest& nest) {
    for (const tile::Dim& d : nest.dims) reads_of({d.begin, d.end}, &nest, 0);
    for (std::size_t u = 0; u < nest.updates.size(); ++u) {
      const tile::Update& update = nest.updates[u];
      std::vector<Expr> all = update.subscripts;
      for (Expr e : {update.body, update.domain, update.start, update.result, update.position, update.start_position}) all.push_back(e);
      for (Expr e : all) reads_of({e}, &nest, u);
      const bool values = update.has_value_target && update.target == written_;
      const bool positions = update.has_position_target && update.position_target == written_;
      if (values || positions) found_.push_back({true, update.subscripts, &nest, u, order_, loops_});
    }
  }
  void reads_of(std::initializer_list<Expr> roots, const tile::Nest* nest, std::size_t update) {
    std::set<Expr> seen;
    std::vector<Expr> stack(roots);
    while (!stack.empty()) {
      const Expr e = stack.back();
      stack.pop_back();
      if (!e || !seen.insert(e).second) continue;
      const ir::Node& n = pool_[e];
      if (n.op == Op::read && static_cast<TensorId>(n.payload) == read_)
        found_.push_back({false, n.args, nest, update, order_, loops_});
      stack.insert(stack.end(), n.args.begin(), n.args.end());
    }
  }

  const tile::Module& module_;
  const ir::ExprPool& pool_;
  TensorId written_, read_;
  std::vector<Access> found_;
  std::vector<const tile::For*> loops_;
  int order_ = 0;
};

/// The grid dimension whose block an axis subscript stays in, if the subscript shows it: the grid index itself when its
/// step is 1, or a loop index over [grid index, grid index + step).
std::optional<IndexId> owner_of(const tile::Module& module, const tile::Kernel& kernel, const Access& a, Expr subscript) {
  const ir::ExprPool& pool = module.program.pool;
  if (pool[subscript].op != Op::index) return std::nullopt;
  const auto index = static_cast<IndexId>(pool[subscript].payload);
  for (const tile::GridDim& g : kernel.grid)
    if (g.index == index) return g.step == 1 ? std::optional(index) : std::nullopt;
  if (!a.nest) return std::nullopt;
  for (const tile::Dim& d : a.nest->dims) {
    if (d.index != index || pool[d.begin].op != Op::index) continue;
    const auto start = static_cast<IndexId>(pool[d.begin].payload);
    for (const tile::GridDim& g : kernel.grid) {
      if (g.index != start) continue;
      const auto within = [&](Expr end) {
        const ir::Node& n = pool[end];
        std::int64_t step = 0;
        return n.op == Op::add && ((n.args[0] == d.begin && pool.is_integer_constant(n.args[1], &step)) ||
                                   (n.args[1] == d.begin && pool.is_integer_constant(n.args[0], &step))) && step <= g.step;
      };
      const ir::Node& end = pool[d.end];
      if (within(d.end) || (end.op == Op::min && (within(end.args[0]) || within(end.args[1])))) return start;
    }
  }
  return std::nullopt;
}

/// Every task touches elements of its own only.
bool tasks_are_apart(const tile::Module& module, const tile::Kernel& kernel, const std::vector<Access>& accesses) {
  for (const tile::GridDim& g : kernel.grid) {
    // Some axis must be owned by g in every access.
    bool owned = false;
    for (std::size_t axis = 0; axis < accesses[0].subscripts.size() && !owned; ++axis)
      owned = std::all_of(accesses.begin(), accesses.end(), [&](const Access& a) {
        return axis < a.subscripts.size() && owner_of(module, kernel, a, a.subscripts[axis]) == g.index;
      });
    if (!owned) return false;
  }
  return true;
}

/// The write happens once per element although loops surround it: each loop shows in a bound of the nest.
bool loops_move_the_write(const tile::Module& module, const Access& w) {
  return std::all_of(w.loops.begin(), w.loops.end(), [&](const tile::For* loop) {
    return std::any_of(w.nest->dims.begin(), w.nest->dims.end(), [&](const tile::Dim& d) {
      return module.program.pool.depends_on(d.begin, loop->index);
    }) || std::any_of(w.subscripts.begin(), w.subscripts.end(), [&](Expr e) { return module.program.pool.depends_on(e, loop->index); });
  });
}

}  // namespace

bool may_share_storage(const tile::Module& module, TensorId written, TensorId read, std::string* why_not) {
  const std::string w_name = module.program.tensors[written].name, r_name = module.program.tensors[read].name;
  const auto refuse = [&](std::string why) {
    if (why_not) *why_not = std::move(why);
    return false;
  };
  Walk walk(module, written, read);
  bool overwritten = false;
  for (const tile::Kernel& kernel : module.kernels) {
    const std::vector<Access> accesses = walk.accesses(kernel);
    std::vector<const Access*> reads, writes;
    for (const Access& a : accesses) (a.write ? writes : reads).push_back(&a);
    if (!reads.empty() && overwritten)
      return refuse("kernel " + kernel.name + " reads '" + r_name + "' after an earlier one has written '" + w_name + "'");
    if (!writes.empty()) overwritten = true;
    if (reads.empty() || writes.empty()) continue;
    bool only_own_points = true;
    for (const Access* r : reads)
      for (const Access* w : writes) {
        const bool same_point = r->nest == w->nest && r->nest && r->update <= w->update && r->subscripts == w->subscripts;
        if (same_point && loops_move_the_write(module, *w)) continue;
        only_own_points = false;
        const bool share_a_loop = !r->loops.empty() && !w->loops.empty() && r->loops[0] == w->loops[0];
        if (!same_point && (r->order >= w->order || share_a_loop))
          return refuse("kernel " + kernel.name + " reads elements of '" + r_name + "' after it has written others of '" + w_name + "'");
        if (same_point) return refuse("kernel " + kernel.name + " writes elements of '" + w_name + "' more than once");
      }
    if (!only_own_points && !tasks_are_apart(module, kernel, accesses))
      return refuse("tasks of kernel " + kernel.name + " read elements of '" + r_name + "' that other tasks write");
  }
  return true;
}

}  // namespace quern::runtime
