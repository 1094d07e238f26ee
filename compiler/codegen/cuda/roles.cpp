// From the statements of a kernel to steps of roles.
#include "compiler/codegen/cuda/roles.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Nest;

namespace {

constexpr std::int64_t kRingAlignment = 1024;

class Scheduler {
 public:
  Scheduler(const Program& p, const tile::Kernel& k, const Arrangement& a, std::int64_t room) : program_(p), pool_(p.pool), kernel_(k), a_(a), room_(room) {}
  bool run();
  Schedule result;
  std::string why;

 private:
  const Program& program_;
  const ExprPool& pool_;
  const tile::Kernel& kernel_;
  const Arrangement& a_;
  std::int64_t room_;

  bool no(const std::string& reason) {
    why = reason;
    return false;
  }
  bool is_contraction(const Work& w) const { return w.whole && a_.contractions.contains(w.whole); }
  const Contraction& contraction(const Work& w) const { return a_.contractions.at(w.whole); }
  const std::vector<TensorId>& operands(const Work& w) const { return contraction(w).tiles; }
  bool units(const tile::Block& block, bool in_loop, std::vector<Work>& out);
  bool add_ring(const Nest& copy, bool walked);
  static void leave(Step::Kind kind, TensorId tile, std::vector<Step>& out);
  bool accumulate(const std::vector<Work>& work);
  bool simple(const std::vector<Work>& work);
  bool overlap(const std::vector<Work>& work);
  bool give_stages();
  std::optional<TensorId> tile_for_results() const;
  std::set<TensorId> operands_read(const Nest& nest) const;
  void run_unit(const std::vector<Work>& work, std::size_t i, std::vector<Step>& out);
  void place_masks(std::vector<Work>& work) const;
  void skip_blocks();
};

/// Masks stand behind the last nest that writes what they mask; what follows takes the steps of whole blocks always.
void Scheduler::place_masks(std::vector<Work>& work) const {
  const auto& masks = result.loop->masks;
  if (masks.empty()) return;
  std::size_t at = 0;
  for (std::size_t i = 0; i < work.size(); ++i)
    for (const Nest& m : masks)
      for (const tile::Update& u : work[i].whole->updates)
        if (u.target == m.updates[0].target) at = i + 1;
  for (std::size_t i = at; i < work.size(); ++i) work[i] = {work[i].whole, work[i].whole, true, work[i].elements, {}};
  std::vector<Work> placed;
  for (const Nest& m : masks) placed.push_back({nullptr, &m, true, {}, {}});
  work.insert(work.begin() + static_cast<std::ptrdiff_t>(at), placed.begin(), placed.end());
}

std::set<TensorId> Scheduler::operands_read(const Nest& nest) const {
  std::set<TensorId> found;
  for (const tile::Update& u : nest.updates)
    for (Expr e : {u.body, u.domain, u.start, u.result, u.position, u.start_position})
      if (e) compiler::for_each_node(pool_, e, [&](Expr at) {
        const auto t = static_cast<TensorId>(pool_[at].payload);
        if (pool_[at].op == Op::read && a_.operands.contains(t)) found.insert(t);
      });
  return found;
}

/// One unit on fragments, with the tiles whose elements it is the first or the last to read.
void Scheduler::run_unit(const std::vector<Work>& work, std::size_t i, std::vector<Step>& out) {
  auto reads = [&](std::size_t k, TensorId t) { return std::find(work[k].elements.begin(), work[k].elements.end(), t) != work[k].elements.end(); };
  for (TensorId t : work[i].elements) {
    bool first = true;
    for (std::size_t k = 0; k < i; ++k) first = first && !reads(k, t);
    if (first) out.push_back({Step::await, t, {}, 0});
  }
  out.push_back({Step::run, 0, work[i], 0});
  for (TensorId t : work[i].elements) {
    bool last = true;
    for (std::size_t k = i + 1; k < work.size(); ++k) last = last && !reads(k, t);
    if (last) leave(Step::release, t, out);
  }
}

bool reads_memory(const Program& program, const Arrangement& a, Expr e) {
  bool found = false;
  compiler::for_each_node(program.pool, e, [&](Expr at) {
    found |= program.pool[at].op == Op::read && !a.registers.contains(static_cast<TensorId>(program.pool[at].payload));
  });
  return found;
}

/// The source as a box of memory: rows and columns run along one axis each.
bool Scheduler::add_ring(const Nest& copy, bool walked) {
  const tile::Update& u = copy.updates[0];
  const OperandTile& tile = a_.operands.at(u.target);
  Ring ring;
  ring.tile = u.target;
  ring.copy = &copy;
  ring.walked = walked;
  ring.from = program_.tensors[static_cast<TensorId>(pool_[copied_read(pool_, copy)].payload)].type;
  ring.rows = tile.rows;
  ring.element_bytes = tile.bytes;
  ring.pieces = (tile.columns + ring.piece_columns() - 1) / ring.piece_columns();
  if (ring.rows > 256) return no("a tile has more than 256 rows");
  const Node& source = pool_[copied_read(pool_, copy)];
  const std::size_t rank = source.args.size();
  if (rank < 2 || rank > 5) return no("tensor maps have 2 to 5 axes");
  int along_rows = 0, along_columns = 0;
  for (std::size_t k = 0; k < rank; ++k) {
    for (int side = 0; side < 2; ++side) {
      if (!pool_.depends_on(source.args[k], tile.dims[static_cast<std::size_t>(side)])) continue;
      if (!steps_with(pool_, source.args[k], tile.dims[static_cast<std::size_t>(side)]) || pool_[source.args[k]].op == Op::sub) return no("rows of a tile do not follow each other in memory");
      (side ? ring.column_axis : ring.row_axis) = k;
      ++(side ? along_columns : along_rows);
    }
    if (reads_memory(program_, a_, source.args[k])) return no("a tile is gathered by subscripts from memory");
  }
  if (along_rows != 1 || along_columns != 1 || ring.row_axis == ring.column_axis) return no("a tile is no box of its tensor");
  // Beyond the end of a summed index there must be zeros: the tensor has to end there, too, unless the other factor is zero.
  for (int side = 0; side < 2; ++side) {
    const IndexId index = tile.dims[static_cast<std::size_t>(side)];
    const auto dim = std::find_if(copy.dims.begin(), copy.dims.end(), [&](const tile::Dim& d) { return d.index == index; });
    const auto extent = extent_of(pool_, *dim);
    if (!extent) return no("a tile has no bound");
    const std::size_t axis = side ? ring.column_axis : ring.row_axis;
    const Expr subscript = source.args[axis];
    const TensorId from = static_cast<TensorId>(source.payload);
    // Where the tensor ends, counted in the index: shape - (subscript - index).
    const Expr shape = program_.tensors[from].shape[axis];
    Expr limit = extent->limit ? extent->limit : extent->most == (side ? tile.columns : tile.rows) ? Expr{} : dim->end;
    if (!limit) continue;
    const Node& s = pool_[subscript];
    bool exact = false;
    if (s.op == Op::index) exact = constant_difference(pool_, shape, limit) == 0;
    for (const auto& [nest, c] : a_.contractions) {
      const bool reads = (pool_[c.right].op == Op::read && static_cast<TensorId>(pool_[c.right].payload) == u.target) ||
                         (!c.left_in_registers && static_cast<TensorId>(pool_[c.left].payload) == u.target);
      if (!reads || exact) continue;
      // The contraction's own name for this dim of the tile.
      const Expr operand = static_cast<TensorId>(pool_[c.right].payload) == u.target ? c.right : c.left;
      const bool inner = pool_.depends_on(pool_[operand].args[static_cast<std::size_t>(side)], c.inner);
      if (inner && (!c.left_in_registers || reads_memory(program_, a_, limit))) ring.only_whole = true;
    }
  }
  result.rings.push_back(ring);
  return true;
}

/// The statements as nests, whole and partial ones side by side; copies become rings.
bool Scheduler::units(const tile::Block& block, bool in_loop, std::vector<Work>& out) {
  for (const tile::Statement& s : block) {
    if (const auto* n = std::get_if<Nest>(&s.node)) {
      switch (a_.kinds.at(n)) {
        case NestKind::copy:
          if (!add_ring(*n, in_loop)) return false;
          break;
        case NestKind::flat: return no("a nest has no place on fragments: " + n->note);
        default: out.push_back({n, n, false, {}, {}});
      }
    } else if (const auto* i = std::get_if<tile::If>(&s.node); i && in_loop) {
      std::vector<Work> whole, partial;
      const std::size_t rings = result.rings.size();
      if (!units(i->then_block, true, whole) || !units(i->else_block, true, partial)) return false;
      if (whole.size() != partial.size() || result.rings.size() != rings) return no("whole and partial blocks take different steps");
      result.conditions.push_back(i->condition);
      for (std::size_t k = 0; k < whole.size(); ++k) {
        if (is_contraction(whole[k]) != is_contraction(partial[k]) || whole[k].whole->updates[0].target != partial[k].whole->updates[0].target)
          return no("whole and partial blocks take different steps");
        out.push_back({whole[k].whole, partial[k].whole, false, {}, {}});
      }
    } else {
      return no("a kernel with roles has one loop");
    }
  }
  return true;
}

void Scheduler::leave(Step::Kind kind, TensorId tile, std::vector<Step>& out) {
  out.push_back({kind, tile, {}, 0});
  if (kind == Step::release) out.push_back({Step::advance, tile, {}, 0});
}

/// One product that goes on and on: while a block's runs, the next block's is started.
bool Scheduler::accumulate(const std::vector<Work>& work) {
  if (work.size() != 1 || !is_contraction(work[0]) || contraction(work[0]).left_in_registers || result.loop->own) return false;
  auto each = [&](std::initializer_list<Step::Kind> kinds, std::vector<Step>& out) {
    for (const Step::Kind kind : kinds)
      for (Ring& r : result.rings) {
        if (!r.walked) continue;
        r.held = true;
        out.push_back({kind, r.tile, {}, 0});
      }
  };
  const Step issue{Step::issue, 0, work[0], 0};
  result.peeled = true;
  each({Step::await}, result.first);
  result.first.push_back(issue);
  each({Step::advance}, result.first);
  each({Step::await}, result.steady);
  result.steady.push_back(issue);
  each({Step::advance}, result.steady);
  result.steady.push_back({Step::finish, 0, {}, 1});
  each({Step::release}, result.steady);
  result.last.push_back({Step::finish, 0, {}, 0});
  each({Step::release}, result.last);
  return true;
}

/// Each block by itself; other warp groups fill the tensor cores while one works on its scores.
bool Scheduler::simple(const std::vector<Work>& work) {
  std::map<TensorId, std::size_t> last;
  for (std::size_t i = 0; i < work.size(); ++i)
    if (is_contraction(work[i])) for (TensorId t : operands(work[i])) last[t] = i;
  std::set<TensorId> awaited;
  for (const Ring& r : result.rings) if (!r.walked) awaited.insert(r.tile);
  auto& out = result.steady;
  for (std::size_t i = 0; i < work.size(); ++i) {
    if (!is_contraction(work[i])) {
      run_unit(work, i, out);
      continue;
    }
    for (TensorId t : operands(work[i])) if (awaited.insert(t).second) out.push_back({Step::await, t, {}, 0});
    if (contraction(work[i]).left_in_registers) out.push_back({Step::pack, 0, work[i], 0});
    out.push_back({Step::issue, 0, work[i], 0});
    out.push_back({Step::finish, 0, {}, 0});
    for (const Ring& r : result.rings) if (r.walked && last.contains(r.tile) && last.at(r.tile) == i) leave(Step::release, r.tile, out);
  }
  return true;
}

/// The first products of the next block run while this block's scores are worked on: possible where a block begins with
/// products of tiles alone and ends with products of what it made of them.
bool Scheduler::overlap(const std::vector<Work>& work) {
  std::size_t lead = 0, tail = work.size();
  while (lead < work.size() && is_contraction(work[lead]) && !contraction(work[lead]).left_in_registers && !work[lead].whole->updates[0].start) ++lead;
  while (tail > lead && is_contraction(work[tail - 1]) && contraction(work[tail - 1]).left_in_registers) --tail;
  if (lead == 0 || tail == work.size()) return false;
  // What the last products start from belongs to the block before.
  for (std::size_t i = tail; i < work.size(); ++i)
    if (const Expr start = work[i].whole->updates[0].start; start && pool_.depends_on(start, result.loop->index)) return false;
  std::set<TensorId> early, late;
  for (std::size_t i = 0; i < work.size(); ++i) {
    if (!is_contraction(work[i])) continue;
    if (i >= lead && i < tail) return false;
    for (TensorId t : operands(work[i])) (i < lead ? early : late).insert(t);
  }
  for (Ring& r : result.rings) {
    if (!r.walked) continue;
    if (early.contains(r.tile) && late.contains(r.tile)) return false;
    r.ahead = early.contains(r.tile) || a_.elements.contains(r.tile);
  }
  auto walked = [&](const std::set<TensorId>& tiles, Step::Kind kind, std::vector<Step>& out) {
    for (const Ring& r : result.rings) if (r.walked && tiles.contains(r.tile)) leave(kind, r.tile, out);
  };
  auto issue = [&](std::size_t from, std::size_t to, std::vector<Step>& out) {
    for (std::size_t i = from; i < to; ++i) out.push_back({Step::issue, 0, work[i], 0});
  };
  auto scores = [&](std::vector<Step>& out) {
    for (std::size_t i = lead; i < tail; ++i) run_unit(work, i, out);
  };
  auto pack = [&](std::vector<Step>& out) {
    for (std::size_t i = tail; i < work.size(); ++i) out.push_back({Step::pack, 0, work[i], 0});
  };
  const int behind = static_cast<int>(work.size() - tail);
  result.peeled = true;
  auto& first = result.first;
  // Turns are counted by blocks: who skips the first one must find its turn, too.
  const bool turns = kernel_.groups > 1;
  if (turns && result.loop->own) first.push_back({Step::turn, 0, {}, 0});
  walked(early, Step::await, first);
  issue(0, lead, first);
  if (turns && result.loop->own) first.push_back({Step::pass, 0, {}, 0});
  first.push_back({Step::finish, 0, {}, 0});
  walked(early, Step::release, first);
  scores(first);
  pack(first);
  auto& steady = result.steady;
  // Groups take turns at starting products: one works on its scores while another's products run.
  if (turns) steady.push_back({Step::turn, 0, {}, 0});
  walked(early, Step::await, steady);
  issue(0, lead, steady);
  walked(late, Step::await, steady);
  issue(tail, work.size(), steady);
  if (turns) steady.push_back({Step::pass, 0, {}, 0});
  steady.push_back({Step::finish, 0, {}, behind});
  walked(early, Step::release, steady);
  scores(steady);
  steady.push_back({Step::finish, 0, {}, 0});
  walked(late, Step::release, steady);
  pack(steady);
  auto& last = result.last;
  walked(late, Step::await, last);
  issue(tail, work.size(), last);
  last.push_back({Step::finish, 0, {}, 0});
  walked(late, Step::release, last);
  return true;
}

/// What is left of a block's steps where a group needs none of its work: turns, and tiles that come and go.
void Scheduler::skip_blocks() {
  if (!result.loop->own) return;
  for (const Step::Kind kind : {Step::turn, Step::pass})
    if (std::any_of(result.steady.begin(), result.steady.end(), [&](const Step& s) { return s.kind == kind; })) result.skipped.push_back({kind, 0, {}, 0});
  for (const bool ahead : {true, false})
    for (const Ring& r : result.rings) {
      if (!r.walked || r.ahead != ahead) continue;
      result.skipped.push_back({Step::await, r.tile, {}, 0});
      leave(Step::release, r.tile, result.skipped);
    }
}

/// Tiles of a task twice if there is room, so that the next task's arrive early; then walked tiles as often as fits.
bool Scheduler::give_stages() {
  std::int64_t once = 0, walked = 0, raw = 0;
  for (const Ring& r : result.rings) (r.walked ? walked : once) += r.bytes(), raw += r.raw_bytes() * (r.walked ? 2 : 1);
  std::int64_t left = room_ - kRingAlignment - raw;  // barriers
  if (once + 2 * walked > left) return no(fmt::format("tiles need {} bytes of shared memory, there are {}", once + 2 * walked, left));
  const int task_stages = 2 * once + 2 * walked <= left ? 2 : 1;
  left -= task_stages * once;
  const int stages = walked == 0 ? 1 : static_cast<int>(std::min<std::int64_t>(4, left / walked));
  std::int64_t bytes = 0;
  for (Ring& r : result.rings) {
    r.stages = r.walked ? stages : task_stages;
    r.raw_stages = !r.widened() ? 0 : r.walked ? 2 : 1;
    bytes += r.bytes() * r.stages + r.raw_bytes() * r.raw_stages;
  }
  result.shared_bytes = bytes + kRingAlignment;
  return true;
}

/// A left factor that waits for the task's end beside the next task's: its rows are the results' rows, each read by one warp.
std::optional<TensorId> Scheduler::tile_for_results() const {
  for (const Ring& r : result.rings) {
    if (r.walked || r.stages < 2 || r.element_bytes != 2 || r.rows != 64 * kernel_.groups || a_.column_groups != 1 || a_.elements.contains(r.tile)) continue;
    bool rows = false, others = false;
    for (const auto& [nest, c] : a_.contractions)
      for (std::size_t side = 0; side < c.tiles.size(); ++side)
        if (c.tiles[side] == r.tile) (side == 1 && a_.operands.at(r.tile).dims[1] == c.inner ? rows : others) = true;
    if (rows && !others) return r.tile;
  }
  return std::nullopt;
}

bool Scheduler::run() {
  std::vector<Work> before, inside, after;
  bool seen = false;
  for (const tile::Statement& s : kernel_.body) {
    if (const auto* f = std::get_if<tile::For>(&s.node)) {
      if (seen) return no("a kernel with roles has one loop");
      seen = true;
      result.loop = f;
    }
  }
  if (!seen) return no("there is no loop to load ahead in");
  bool passed = false;
  for (const tile::Statement& s : kernel_.body) {
    if (std::holds_alternative<tile::For>(s.node)) {
      if (!units(result.loop->body, true, inside)) return false;
      passed = true;
      continue;
    }
    // One statement at a time: its address has to stay that of the kernel.
    const auto* n = std::get_if<Nest>(&s.node);
    if (!n) return no("a kernel with roles has one loop");
    if (a_.kinds.at(n) == NestKind::copy && !passed) {
      if (!add_ring(*n, false)) return false;
    } else if (a_.kinds.at(n) == NestKind::arranged) {
      (passed ? after : before).push_back({n, n, false, {}, {}});
    } else {
      return no("a nest has no place on fragments: " + n->note);
    }
  }
  for (TensorId t : kernel_.scratch)
    if (!a_.registers.contains(t) && !a_.operands.contains(t)) return no(fmt::format("tile {} is in memory", program_.tensors[t].name));
  for (auto* list : {&before, &inside, &after})
    for (Work& w : *list)
      for (const Nest* n : {w.whole, w.partial})
        for (TensorId t : operands_read(*n)) {
          const bool by_products = a_.contractions.contains(n) && std::find(operands(w).begin(), operands(w).end(), t) != operands(w).end();
          if (by_products) continue;
          if (list != &inside || !a_.elements.contains(t) || a_.contractions.contains(n)) return no("operands are read element by element: " + n->note);
          if (std::find(w.elements.begin(), w.elements.end(), t) == w.elements.end()) w.elements.push_back(t);
        }
  for (const Work& w : inside)
    if (is_contraction(w) && contraction(w).left_in_registers && reads_memory(program_, a_, contraction(w).left)) return no("what multiplies the weights is in memory");
  place_masks(inside);
  if (a_.row_tiles != 1) return no("a warp has more than 16 rows");
  std::set<TensorId> filled;
  for (const Ring& r : result.rings) if (!filled.insert(r.tile).second) return no("a tile is filled twice");
  for (const auto& [t, o] : a_.operands) if (!filled.contains(t)) return no("an operand is not copied from memory as it is");
  result.same_steps = std::all_of(inside.begin(), inside.end(), [&](const Work& w) { return w.masked || w.whole == w.partial || is_contraction(w); }) && !result.loop->masks.empty();
  for (const Work& w : before) result.before.push_back({Step::run, 0, w, 0});
  for (const Ring& r : result.rings) if (!r.walked) result.before.push_back({Step::await, r.tile, {}, 0});
  if (!accumulate(inside) && !overlap(inside)) {
    result.first.clear(), result.steady.clear(), result.last.clear();
    for (Ring& r : result.rings) r.ahead = false;
    result.peeled = false;
    if (!simple(inside)) return false;
  }
  skip_blocks();
  if (!give_stages()) return false;
  const std::optional<TensorId> through = tile_for_results();
  for (const Ring& r : result.rings) if (!r.walked && r.tile != through) leave(Step::release, r.tile, result.after);
  for (Work& w : after) {
    w.through = through;
    result.after.push_back({Step::run, 0, w, 0});
  }
  if (through) leave(Step::release, *through, result.after);
  why = verify(program_, result, a_);
  return why.empty();
}

}  // namespace

std::optional<Schedule> schedule_roles(const Program& program, const tile::Kernel& kernel, const Arrangement& arrangement, std::int64_t room, std::string* why_not) {
  Scheduler s(program, kernel, arrangement, room);
  if (s.run()) return std::move(s.result);
  if (why_not) *why_not = s.why;
  return std::nullopt;
}

int registers_held(const Arrangement& a) {
  std::set<TensorId> sums;
  std::map<IndexId, int> of_column;  // sums by their column index
  int held = 0;
  for (const auto& [nest, c] : a.contractions) {
    const TensorId t = nest->updates[0].target;
    if (sums.insert(t).second) held += a.column_tiles.at(c.column) * 4, ++of_column[c.column];
  }
  std::set<TensorId> packed;
  for (const auto& [nest, c] : a.contractions)
    if (c.left_in_registers && packed.insert(nest->updates[0].target).second) held += a.column_tiles.at(c.inner) * 2;
  // What is made of sums that are done takes their place: scores, then weights.
  std::map<IndexId, int> others;
  for (const auto& [t, dims] : a.registers)
    if (dims.size() == 2 && !sums.contains(t)) ++others[dims[1]];
  for (const auto& [index, count] : others) {
    const auto it = of_column.find(index);
    held += std::max(0, count - (it == of_column.end() ? 0 : 2 * it->second)) * a.column_tiles.at(index) * 4;
  }
  return held;
}

int registers_for_scores(const Program& program, const Schedule& s, const Arrangement& a) {
  bool dear = false, counts = false;
  for (const auto* steps : {&s.first, &s.steady})
    for (const Step& step : *steps) {
      if (step.kind != Step::run) continue;
      for (const tile::Update& u : step.work.partial->updates) {
        bool own_counts = false, functions = false;
        for (Expr e : {u.body, u.domain})
          if (e) compiler::for_each_node(program.pool, e, [&](Expr at) {
            const Node& n = program.pool[at];
            const bool varies = std::any_of(step.work.partial->dims.begin(), step.work.partial->dims.end(), [&](const tile::Dim& d) { return program.pool.depends_on(at, d.index); });
            dear |= varies && n.op == Op::read && !a.registers.contains(static_cast<TensorId>(n.payload)) && !a.elements.contains(static_cast<TensorId>(n.payload));
            own_counts |= n.op == Op::cast && is_float(n.type) && !is_float(program.pool.type(n.args[0]));
            functions |= n.args.size() == 1 && is_float(n.type) && n.op != Op::cast && n.op != Op::neg && n.op != Op::read;
          });
        counts |= own_counts;
        // Functions of positions: both are in flight for several scores.
        dear |= own_counts && functions;
      }
    }
  // Without masks what indices become is kept for tests and values apart.
  return dear || (counts && s.loop->masks.empty()) ? kScoresFromMemory : counts ? 4 : 0;
}

int registers_allowed(int groups) { return groups >= 3 ? 128 : 208; }

}  // namespace quern::cuda
