// Register-blocked loop nests: in, a tile::Nest; out, loops whose body holds unroll x lanes points at once. The tile is
// one mechanism for products, passes and reductions: every dim contributes its copies, accumulators live in registers
// across the reduced loops, and the evaluator shares what copies have in common.
#include "compiler/codegen/cpu/nest.h"

#include <llvm/IR/Metadata.h>

#include <algorithm>
#include <functional>
#include <map>
#include <numeric>
#include <stdexcept>

#include "compiler/codegen/cpu/elementwise.h"
#include "compiler/codegen/cpu/evaluator.h"
#include "compiler/codegen/cpu/reduce.h"

namespace quern::cpu {

using ir::Expr;
using ir::Op;
using ir::Reducer;
using llvm::BasicBlock;
using llvm::Value;
using tile::Update;
using tile::UpdateKind;

namespace {

constexpr int kMostCopies = 64;

class NestEmitter {
 public:
  NestEmitter(Frame& frame, const tile::Nest& nest) : f(frame), n(nest), v(frame) {}
  void run();

 private:
  struct State {           // one update
    std::size_t first = 0; // first reduced dim; dims.size() when none
    bool lane_reduced = false;
    bool along_lanes = false;  // scan of the lane dim
    bool ascending = false;    // positions grow along the loop: the first of equals is kept by a strict comparison
    DType type = DType::f32;
    int guard = 0;
    int extra = 1;         // accumulators per kept point
    std::vector<Accumulator> values;
    std::vector<int> kept; // copies of the dims before `first` when the accumulators were made
    Expr recurrence_operand;   // scan of lanes: what is combined
    Reducer recurrence = Reducer::sum;
  };
  struct Variant {
    int copies;
    bool masked;
    std::int64_t iterations;  // known count, -1 = not known
  };

  Frame& f;
  const tile::Nest& n;
  Evaluator v;
  std::vector<State> states;
  std::vector<bool> bounds_vary;  // dim's bounds depend on other dims of the nest
  int turned = -1;                // dim whose elements lie side by side where the lanes lie apart: squares are transposed

  bool fits_lanes();
  bool prefixable(const Update& u, State* s);
  DType accumulator_type(const Update& u);
  std::int64_t constant_extent(std::size_t d);
  std::vector<Variant> variants(std::size_t d);
  std::vector<Value**> carried(std::size_t d);
  void level(std::size_t d);
  void loops(std::size_t d, bool known_not_empty);
  Value* loop(std::size_t d, Value* from, Value* end, const Variant& variant, bool known_not_empty);
  void guarded(Value* condition, std::size_t d, const std::function<void()>& inside);
  void body();
  void each_point(std::size_t dims, const std::function<void(const Point&)>& visit);
  void each_point(const std::vector<std::size_t>& order, const std::function<void(const Point&)>& visit);
  std::vector<std::size_t> visiting_order(std::size_t u);
  bool store_transposed(std::size_t u);
  void find_turned();
  void start(std::size_t u);
  void finish(std::size_t u);
  void reduce_step(std::size_t u, const Point& p);
  void scan_step(std::size_t u, const Point& p);
  std::size_t slot(const State& s, const Point& p);
  bool positions_ascend(const Update& u, const State& s);
  Value* first_position(const Update& u, const State& s);
  Value* splat(Value* x) { return v.lane_dim >= 0 && v.lanes > 1 ? v.broadcast(x) : x; }
};

DType NestEmitter::accumulator_type(const Update& u) {
  auto plain = [](DType t) { return is_small_float(t) ? DType::f32 : t; };
  if (u.reducer == Reducer::any || u.reducer == Reducer::all) return DType::boolean;
  if (u.start) return plain(f.pool.type(u.start));
  DType found = plain(f.pool.type(u.body));
  std::function<bool(Expr)> search = [&](Expr e) {
    const ir::Node& node = f.pool[e];
    if (node.op == Op::accumulator && node.payload == 0) {
      found = node.type;
      return true;
    }
    return std::any_of(node.args.begin(), node.args.end(), search);
  };
  if (u.result) search(u.result);
  return found;
}

/// A scan along the lanes has to be a prefix: combined by a reducer, or `previous` ⊕ x with x free of `previous`.
bool NestEmitter::prefixable(const Update& u, State* s) {
  std::function<bool(Expr)> recurs = [&](Expr e) {
    const ir::Node& node = f.pool[e];
    return node.op == Op::previous || std::any_of(node.args.begin(), node.args.end(), recurs);
  };
  if (u.domain && recurs(u.domain)) return false;
  if (!recurs(u.body)) {
    s->recurrence = u.reducer;
    s->recurrence_operand = u.body;
    return u.reducer == Reducer::sum || u.reducer == Reducer::prod || u.reducer == Reducer::max || u.reducer == Reducer::min;
  }
  const ir::Node& node = f.pool[u.body];
  switch (node.op) {
    case Op::add: s->recurrence = Reducer::sum; break;
    case Op::mul: s->recurrence = Reducer::prod; break;
    case Op::max: s->recurrence = Reducer::max; break;
    case Op::min: s->recurrence = Reducer::min; break;
    default: return false;
  }
  for (int side = 0; side < 2; ++side) {
    if (f.pool[node.args[static_cast<std::size_t>(side)]].op == Op::previous && !recurs(node.args[static_cast<std::size_t>(1 - side)])) {
      s->recurrence_operand = node.args[static_cast<std::size_t>(1 - side)];
      return true;
    }
  }
  return false;
}

bool NestEmitter::fits_lanes() {
  const std::size_t lane = static_cast<std::size_t>(v.lane_dim);
  for (const tile::Dim& d : n.dims) {
    if (v.depends_on_lane(d.begin) || v.depends_on_lane(d.end)) return false;
  }
  for (std::size_t i = 0; i < n.updates.size(); ++i) {
    const Update& u = n.updates[i];
    switch (u.kind) {
      case UpdateKind::store:
        if (std::none_of(u.subscripts.begin(), u.subscripts.end(), [&](Expr e) { return v.depends_on_lane(e); })) return false;
        break;
      case UpdateKind::scatter:
        if (!v.lanes_write_apart(u.subscripts)) return false;
        break;
      case UpdateKind::scan:
        if (states[i].first == lane && !prefixable(u, &states[i])) return false;
        break;
      case UpdateKind::reduce: break;
    }
  }
  return true;
}

std::int64_t NestEmitter::constant_extent(std::size_t d) {
  std::map<Expr, std::int64_t> terms;
  std::int64_t constant = 0;
  std::function<void(Expr, std::int64_t)> add = [&](Expr e, std::int64_t times) {
    const ir::Node& node = f.pool[e];
    std::int64_t k = 0;
    if (f.pool.is_integer_constant(e, &k)) constant += times * k;
    else if (node.op == Op::symbol && f.program.symbols[static_cast<std::size_t>(node.payload)].value) {
      constant += times * *f.program.symbols[static_cast<std::size_t>(node.payload)].value;
    } else if (node.op == Op::add) add(node.args[0], times), add(node.args[1], times);
    else if (node.op == Op::sub) add(node.args[0], times), add(node.args[1], -times);
    else terms[e] += times;
  };
  add(n.dims[d].end, 1);
  add(n.dims[d].begin, -1);
  for (const auto& [e, times] : terms) {
    if (times) return -1;
  }
  return std::max<std::int64_t>(constant, 0);
}

void NestEmitter::run() {
  const std::size_t rank = n.dims.size();
  if (rank > 32) throw std::logic_error("a nest has more than 32 dims");
  for (std::size_t d = 0; d < rank; ++d) {
    DimState s;
    s.index = n.dims[d].index;
    s.lane = n.dims[d].lanes && f.lanes > 1;
    if (s.lane) v.lane_dim = static_cast<int>(d);
    v.dims.push_back(s);
  }
  v.lanes = v.lane_dim >= 0 ? f.lanes : 1;
  for (const Update& u : n.updates) {
    if (u.kind != UpdateKind::reduce || !has_position(u.reducer) || u.has_value_target) v.written.push_back(u.target);
    if (u.has_position_target) v.written.push_back(u.position_target);
  }
  for (const Update& u : n.updates) {
    State s;
    s.first = rank;
    for (std::size_t d = rank; d-- > 0;) {
      if (std::find(u.over.begin(), u.over.end(), n.dims[d].index) == u.over.end()) break;
      s.first = d;
    }
    if (rank - s.first != u.over.size()) throw std::logic_error("reduced dims are not the innermost ones");
    s.type = accumulator_type(u);
    states.push_back(s);
  }
  if (v.lane_dim >= 0 && !fits_lanes()) {
    // One point at a time: right for every nest.
    v.dims[static_cast<std::size_t>(v.lane_dim)].lane = false;
    v.lane_dim = -1;
    v.lanes = 1;
  }
  for (std::size_t i = 0; i < states.size(); ++i) {
    State& s = states[i];
    const bool over_lanes = v.lane_dim >= 0 && static_cast<std::size_t>(v.lane_dim) >= s.first;
    s.lane_reduced = over_lanes && n.updates[i].kind == UpdateKind::reduce;
    s.along_lanes = over_lanes && n.updates[i].kind == UpdateKind::scan;
    if (n.updates[i].domain) s.guard = v.guard(0, n.updates[i].domain, false);
    s.ascending = positions_ascend(n.updates[i], s);
  }
  for (std::size_t d = 0; d < rank; ++d) {
    bounds_vary.push_back(v.dependence(n.dims[d].begin) || v.dependence(n.dims[d].end));
  }
  find_turned();
  level(0);
}

/// A nest that copies across the lanes is unrolled by as many as there are lanes, whatever the schedule says.
void NestEmitter::find_turned() {
  if (v.lane_dim < 0 || n.updates.size() != 1 || n.updates[0].kind != UpdateKind::store || states[0].guard) return;
  const Update& u = n.updates[0];
  std::function<bool(Expr, std::size_t)> any = [&](Expr e, std::size_t d) {
    const ir::Node& node = f.pool[e];
    if (node.op == Op::where && !f.pool.is_constant(node.args[0]) && v.dependence(node.args[0])) return false;
    if (node.op == Op::read && !(node.flags & ir::kChecked) && v.turns_along(static_cast<ir::TensorId>(node.payload), node.args, d)) return true;
    return std::any_of(node.args.begin(), node.args.end(), [&](Expr a) { return any(a, d); });
  };
  for (std::size_t d = 0; d < n.dims.size(); ++d) {
    if (static_cast<int>(d) == v.lane_dim) continue;
    const std::int64_t extent = constant_extent(d);
    if (extent >= 0 && extent < v.lanes) continue;
    if (v.turns_along(u.target, u.subscripts, d) || any(u.body, d)) turned = static_cast<int>(d);
  }
}

void NestEmitter::each_point(const std::vector<std::size_t>& order, const std::function<void(const Point&)>& visit) {
  Point p(v.dims.size(), 0);
  while (true) {
    visit(p);
    std::size_t at = order.size();
    while (at > 0 && p[order[at - 1]] + 1 == v.dims[order[at - 1]].copies) p[order[--at]] = 0;
    if (at == 0) return;
    ++p[order[at - 1]];
  }
}

void NestEmitter::each_point(std::size_t count, const std::function<void(const Point&)>& visit) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  each_point(order, visit);
}

/// Slowest first: reduced dims, then kept ones, lanes fastest. What is broadcast over the lanes is then used up at once
/// instead of staying in a register while the other copies pass. Scatters keep the order of the loops.
std::vector<std::size_t> NestEmitter::visiting_order(std::size_t u) {
  std::vector<std::size_t> order;
  const std::size_t rank = n.dims.size(), first = n.updates[u].kind == UpdateKind::scatter ? rank : states[u].first;
  const bool ordered = n.updates[u].kind == UpdateKind::scatter;
  for (std::size_t d = first; d < rank; ++d) order.push_back(d);
  for (std::size_t d = 0; d < first; ++d) {
    if (ordered || static_cast<int>(d) != v.lane_dim) order.push_back(d);
  }
  if (!ordered && v.lane_dim >= 0 && static_cast<std::size_t>(v.lane_dim) < first) order.push_back(static_cast<std::size_t>(v.lane_dim));
  return order;
}

bool NestEmitter::positions_ascend(const Update& u, const State& s) {
  if (u.kind != UpdateKind::reduce || !has_position(u.reducer) || u.domain || u.over.size() != 1) return false;
  if (!s.lane_reduced && v.depends_on_lane(u.position)) return false;
  const Linear form = v.linear(u.position);
  const auto& term = form.dims[s.first];
  if (!term || term->times != 1 || term->factor) return false;
  return std::none_of(form.rest.begin(), form.rest.end(), [&](const Linear::Rest& r) { return v.dependence(r.e) >> s.first & 1; });
}

/// Position of the first point of the reduced range, -1 when it is empty.
Value* NestEmitter::first_position(const Update& u, const State& s) {
  const Point none(v.dims.size(), 0);
  const Known begin = v.evaluate(n.dims[s.first].begin, none), end = v.evaluate(n.dims[s.first].end, none);
  const DimState saved = v.dims[s.first];
  v.dims[s.first].base = {begin.value, v.innermost()};
  const Known at = v.linear_base(v.linear(u.position), none, 0);
  v.dims[s.first] = saved;
  v.at(v.innermost());
  Value* some = f.b.CreateICmpSLT(begin.value, end.value);
  return f.b.CreateSelect(some, f.b.CreateTrunc(at.value, f.b.getInt32Ty()), f.b.getInt32(-1));
}

std::size_t NestEmitter::slot(const State& s, const Point& p) {
  std::size_t at = 0, over = 0;
  for (std::size_t d = 0; d < s.first; ++d) at = at * static_cast<std::size_t>(s.kept[d]) + p[d];
  for (std::size_t d = s.first; d < p.size(); ++d) over = over * static_cast<std::size_t>(v.dims[d].copies) + p[d];
  return at * static_cast<std::size_t>(s.extra) + over % static_cast<std::size_t>(s.extra);
}

std::vector<Value**> NestEmitter::carried(std::size_t d) {
  std::vector<Value**> slots;
  for (State& s : states) {
    if (s.first > d) continue;
    for (Accumulator& a : s.values) {
      slots.push_back(&a.value);
      if (a.position) slots.push_back(&a.position);
    }
  }
  return slots;
}

void NestEmitter::start(std::size_t index) {
  const Update& u = n.updates[index];
  State& s = states[index];
  s.kept.clear();
  int count = 1;
  for (std::size_t d = 0; d < s.first; ++d) {
    s.kept.push_back(v.dims[d].copies);
    count *= v.dims[d].copies;
  }
  s.extra = 1;
  if (u.kind == UpdateKind::reduce) {
    int over = 1;
    for (std::size_t d = s.first; d < n.dims.size(); ++d) over *= std::clamp(n.dims[d].unroll, 1, kMostCopies);
    while (s.extra * 2 <= over && s.extra * count * 2 <= 16) s.extra *= 2;
  }
  s.values.assign(static_cast<std::size_t>(count * s.extra), {});
  llvm::Type* element = register_type(f.b.getContext(), s.type);
  v.begin_update();
  each_point(s.first, [&](const Point& p) {
    for (int x = 0; x < s.extra; ++x) {
      Accumulator a;
      const bool takes_start = x == 0 && !s.lane_reduced && !has_position(u.reducer);
      if (u.start && takes_start) {
        const Known k = v.evaluate(u.start, p);
        v.at(v.innermost());
        a.value = convert(f.b, f.target, k.value, f.pool.type(u.start), s.type);
      } else {
        v.at(v.innermost());
        a.value = identity(element, s.along_lanes ? s.recurrence : u.reducer, s.type);
      }
      if (has_position(u.reducer) && u.kind == UpdateKind::reduce) {
        a.position = splat(s.ascending ? first_position(u, s) : f.b.getInt32(-1));
      }
      a.value = splat(a.value);
      std::size_t at = 0;
      for (std::size_t d = 0; d < s.first; ++d) at = at * static_cast<std::size_t>(s.kept[d]) + p[d];
      s.values[at * static_cast<std::size_t>(s.extra) + static_cast<std::size_t>(x)] = a;
    }
  });
}

void NestEmitter::finish(std::size_t index) {
  const Update& u = n.updates[index];
  State& s = states[index];
  if (u.kind == UpdateKind::reduce) {
    each_point(s.first, [&](const Point& p) {
      std::size_t at = 0;
      for (std::size_t d = 0; d < s.first; ++d) at = at * static_cast<std::size_t>(s.kept[d]) + p[d];
      v.begin_update();
      v.at(v.innermost());
      Accumulator* group = &s.values[at * static_cast<std::size_t>(s.extra)];
      for (int width = s.extra; width > 1; width /= 2) {
        for (int x = 0; x < width / 2; ++x) group[x] = combine(f.b, u.reducer, s.type, group[x], group[x + width / 2]);
      }
      Accumulator total = group[0];
      if (s.lane_reduced) total = horizontal(f.b, u.reducer, s.type, total);
      if (u.start && (s.lane_reduced || total.position)) {
        auto fitting = [&](Value* x) { return total.value->getType()->isVectorTy() ? v.broadcast(x) : x; };
        Accumulator first;
        Known k = v.evaluate(u.start, p);
        v.at(v.innermost());
        first.value = fitting(convert(f.b, f.target, k.value, f.pool.type(u.start), s.type));
        if (total.position) {
          first.position = fitting(f.b.getInt32(-1));
          if (u.start_position) {
            k = v.evaluate(u.start_position, p);
            v.at(v.innermost());
            first.position = fitting(convert(f.b, f.target, k.value, f.pool.type(u.start_position), DType::i32));
          }
        }
        total = combine(f.b, u.reducer, s.type, first, total);
      }
      v.accumulators[0] = total.value;
      v.accumulators[1] = total.position;
      if (!has_position(u.reducer) || u.has_value_target) {
        Known result{total.value, v.innermost()};
        DType type = s.type;
        if (u.result) {
          result = v.evaluate(u.result, p);
          type = f.pool.type(u.result);
        }
        v.store(u.target, u.subscripts, p, result, type, 0, false, {});
      }
      if (u.has_position_target) v.store(u.position_target, u.subscripts, p, {total.position, v.innermost()}, DType::i32, 0, false, {});
      v.accumulators[0] = v.accumulators[1] = nullptr;
    });
  }
  s.values.clear();
}

void NestEmitter::level(std::size_t d) {
  if (d == n.dims.size()) {
    for (std::size_t u = 0; u < states.size(); ++u) {
      if (states[u].first == d && n.updates[u].kind == UpdateKind::reduce) start(u);  // nothing reduced: one point
    }
    body();
    return;
  }
  // Values stored in another tile of the nest stand at other places now.
  v.begin_body();
  bool boundary = d == 0;
  for (std::size_t u = 0; u < states.size(); ++u) {
    const bool carries = n.updates[u].kind == UpdateKind::reduce || n.updates[u].kind == UpdateKind::scan;
    if (states[u].first == d && carries) {
      start(u);
      boundary = true;
    }
  }
  // One test for all dims of a group lets reads of the outer ones stand outside the inner loops.
  bool known = false;
  Value* condition = nullptr;
  if (boundary) {
    std::size_t end = d + 1;
    auto splits = [&](std::size_t at) { return std::any_of(states.begin(), states.end(), [&](const State& s) { return s.first == at; }); };
    while (end < n.dims.size() && !splits(end)) ++end;
    std::vector<std::size_t> open;
    bool varies = false;
    for (std::size_t k = d; k < end; ++k) {
      varies |= bounds_vary[k];
      if (constant_extent(k) <= 0) open.push_back(k);
    }
    known = !varies && open.empty();
    if (!varies && open.size() > 1) {
      for (std::size_t k : open) {
        const Known begin = v.evaluate(n.dims[k].begin, Point(v.dims.size(), 0)), limit = v.evaluate(n.dims[k].end, Point(v.dims.size(), 0));
        v.at(v.innermost());
        Value* some = f.b.CreateICmpSLT(begin.value, limit.value);
        condition = condition ? f.b.CreateAnd(condition, some) : some;
      }
    }
  }
  if (condition) {
    guarded(condition, d, [&] { loops(d, true); });
  } else {
    loops(d, known || constant_extent(d) > 0);
  }
  v.begin_body();
  for (std::size_t u = 0; u < states.size(); ++u) {
    const bool carries = n.updates[u].kind == UpdateKind::reduce || n.updates[u].kind == UpdateKind::scan;
    if (states[u].first == d && carries) finish(u);
  }
}

void NestEmitter::guarded(Value* condition, std::size_t d, const std::function<void()>& inside) {
  Builder& b = f.b;
  BasicBlock* then = f.block("some");
  BasicBlock* join = f.block("join");
  b.SetInsertPoint(f.here);
  auto* branch = b.CreateCondBr(condition, then, join);
  v.moved(f.here, branch);
  f.here->eraseFromParent();
  std::vector<Value**> slots = carried(d);
  std::vector<Value*> before;
  for (Value** s : slots) before.push_back(*s);
  f.here = f.open(then);
  v.open_scope(true);
  inside();
  b.SetInsertPoint(f.here);
  auto* leave = b.CreateBr(join);
  f.here->eraseFromParent();
  v.close_scope();
  b.SetInsertPoint(join);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    auto* phi = b.CreatePHI(before[i]->getType(), 2);
    phi->addIncoming(before[i], branch->getParent());
    phi->addIncoming(*slots[i], leave->getParent());
    *slots[i] = phi;
  }
  f.here = f.open(join);
  v.moved(branch, f.here);
}

std::vector<NestEmitter::Variant> NestEmitter::variants(std::size_t d) {
  const tile::Dim& dim = n.dims[d];
  int unroll = std::clamp(dim.unroll, 1, kMostCopies);
  if (turned == static_cast<int>(d)) unroll = v.lanes;
  if (turned >= 0 && turned != static_cast<int>(d)) unroll = 1;
  for (std::size_t k = 0; k < n.dims.size(); ++k) {
    // Copies of a dim share the bounds of the others.
    if (v.dependence(n.dims[k].begin) >> d & 1 || v.dependence(n.dims[k].end) >> d & 1) unroll = 1;
  }
  const std::int64_t width = v.dims[d].lane ? v.lanes : 1;
  const std::int64_t extent = constant_extent(d);
  std::vector<Variant> list;
  if (extent >= 0) {
    const std::int64_t tiles = (extent + unroll - 1) / unroll;
    if (!v.dims[d].lane && turned < 0 && tiles > 1 && extent % unroll) {
      // Tiles of nearly one size: a small last one would have too few accumulators to hide their latency.
      const std::int64_t small = extent / tiles, large = extent % tiles;
      if (large) list.push_back({static_cast<int>(small) + 1, false, large});
      list.push_back({static_cast<int>(small), false, tiles - large});
      return list;
    }
    const std::int64_t whole = extent / (unroll * width);
    std::int64_t rest = extent % (unroll * width);
    if (whole) list.push_back({unroll, false, whole});
    if (!v.dims[d].lane) {
      if (rest) list.push_back({static_cast<int>(rest), false, 1});
    } else {
      if (rest / width) list.push_back({static_cast<int>(rest / width), false, 1});
      if (rest % width) list.push_back({1, true, 1});
    }
    return list;
  }
  if (turned >= 0 && v.dims[d].lane) {
    // Few lanes more or less matter little here; one version of the code does for all.
    list.push_back({1, true, -1});
    return list;
  }
  if (unroll > 1 || v.dims[d].lane) list.push_back({unroll, false, -1});
  if (v.dims[d].lane) {
    list.push_back({1, true, -1});
  } else {
    if (unroll > 4) list.push_back({4, false, -1});
    list.push_back({1, false, -1});
  }
  return list;
}

void NestEmitter::loops(std::size_t d, bool known_not_empty) {
  const Point none(v.dims.size(), 0);
  const Known begin = v.evaluate(n.dims[d].begin, none), end = v.evaluate(n.dims[d].end, none);
  Value* from = begin.value;
  for (const Variant& variant : variants(d)) from = loop(d, from, end.value, variant, known_not_empty);
}

Value* NestEmitter::loop(std::size_t d, Value* from, Value* end, const Variant& variant, bool known_not_empty) {
  Builder& b = f.b;
  const DimState saved = v.dims[d];
  DimState& dim = v.dims[d];
  const std::int64_t width = dim.lane ? v.lanes : 1;
  dim.copies = variant.copies;
  dim.step = width;
  const std::int64_t step = variant.copies * width;
  Value* stride = b.getInt64(static_cast<std::uint64_t>(step));
  auto masks = [&] {
    dim.masks.clear();
    if (!variant.masked) return;
    v.at(v.innermost());
    Value* left = b.CreateSub(end, dim.base.value);
    left = b.CreateTrunc(b.CreateBinaryIntrinsic(llvm::Intrinsic::smin, left, b.getInt64(static_cast<std::uint64_t>(width))), b.getInt32Ty());
    dim.live = {left, v.innermost()};
    dim.masks.push_back({b.CreateICmpULT(v.iota(b.getInt32Ty()), v.broadcast(left)), v.innermost()});
  };
  if (variant.iterations == 1) {
    v.open_scope(false);
    dim.base = {from, v.innermost()};
    masks();
    level(d + 1);
    v.close_scope();
    dim = saved;
    v.at(v.innermost());
    return b.CreateAdd(from, stride);
  }
  // A loop that is tested at its end, behind a test of its own unless it surely runs.
  v.at(v.innermost());
  Value* last = end;
  if (variant.iterations >= 0) {
    last = b.CreateAdd(from, b.getInt64(static_cast<std::uint64_t>(variant.iterations * step)));
  }
  auto goes_on = [&](Value* at) {
    if (variant.masked || variant.iterations >= 0) return b.CreateICmpSLT(at, last);
    return b.CreateICmpSLE(b.CreateAdd(at, stride), last);
  };
  BasicBlock* before = f.block("before");
  BasicBlock* inside = f.block("loop");
  BasicBlock* after = f.block("after");
  v.at(v.innermost());
  llvm::Instruction* enter;
  if (variant.iterations > 0) {
    b.SetInsertPoint(f.here);
    enter = b.CreateBr(before);
  } else {
    Value* some = goes_on(from);
    b.SetInsertPoint(f.here);
    enter = b.CreateCondBr(some, before, after);
  }
  v.moved(f.here, enter);
  f.here->eraseFromParent();
  std::vector<Value**> slots = carried(d);
  std::vector<Value*> initial;
  for (Value** s : slots) initial.push_back(*s);

  f.here = f.open(before);
  v.open_scope(!known_not_empty);
  b.SetInsertPoint(f.here);
  llvm::Instruction* fall = b.CreateBr(inside);
  v.moved(f.here, fall);
  f.here->eraseFromParent();

  b.SetInsertPoint(inside);
  auto* index = b.CreatePHI(b.getInt64Ty(), 2, "i");
  std::vector<llvm::PHINode*> phis;
  for (std::size_t i = 0; i < slots.size(); ++i) {
    phis.push_back(b.CreatePHI(initial[i]->getType(), 2));
    *slots[i] = phis.back();
  }
  f.here = f.open(inside);
  v.open_scope(false);
  dim.base = {index, v.innermost()};
  masks();
  level(d + 1);
  v.at(v.innermost());
  Value* next = b.CreateAdd(index, stride, "", false, true);
  Value* again = goes_on(next);
  b.SetInsertPoint(f.here);
  auto* back = b.CreateCondBr(again, inside, after);
  llvm::LLVMContext& c = b.getContext();
  auto* off = llvm::MDNode::get(c, llvm::MDString::get(c, "llvm.loop.unroll.disable"));
  auto* loop_id = llvm::MDNode::getDistinct(c, {nullptr, off});
  loop_id->replaceOperandWith(0, loop_id);
  back->setMetadata(llvm::LLVMContext::MD_loop, loop_id);
  f.here->eraseFromParent();
  v.close_scope();
  v.close_scope();
  BasicBlock* latch = back->getParent();
  index->addIncoming(from, fall->getParent());
  index->addIncoming(next, latch);
  for (std::size_t i = 0; i < slots.size(); ++i) {
    phis[i]->addIncoming(initial[i], fall->getParent());
    phis[i]->addIncoming(*slots[i], latch);
  }
  b.SetInsertPoint(after);
  const bool may_skip = variant.iterations <= 0;
  auto merged = [&](Value* skipped, Value* ran) -> Value* {
    auto* phi = b.CreatePHI(ran->getType(), 2);
    if (may_skip) phi->addIncoming(skipped, enter->getParent());
    phi->addIncoming(ran, latch);
    return phi;
  };
  Value* result = merged(from, next);
  for (std::size_t i = 0; i < slots.size(); ++i) *slots[i] = merged(initial[i], *slots[i]);
  f.here = f.open(after);
  v.moved(enter, f.here);
  dim = saved;
  return result;
}

/// A store whose lanes lie apart while the copies of another dim lie side by side turns a square of them in registers.
bool NestEmitter::store_transposed(std::size_t index) {
  const Update& u = n.updates[index];
  if (states[index].guard || v.lane_dim < 0 || !v.depends_on_lane(u.body)) return false;
  const int along = v.transposing_dim(u.target, u.subscripts, Point(v.dims.size(), 0));
  if (along < 0) return false;
  std::vector<std::size_t> others;
  for (std::size_t d = 0; d < v.dims.size(); ++d) {
    if (static_cast<int>(d) != along) others.push_back(d);
  }
  const DType type = f.pool.type(u.body);
  each_point(others, [&](const Point& at) {
    Point p = at;
    std::vector<Known> values;
    for (int c = 0; c < v.lanes; ++c) {
      p[static_cast<std::size_t>(along)] = static_cast<std::uint8_t>(c);
      v.begin_update();
      values.push_back(v.evaluate(u.body, p, 0));
    }
    v.store_transposed(u.target, u.subscripts, at, values, type);
  });
  return true;
}

void NestEmitter::body() {
  v.begin_body();
  for (std::size_t i = 0; i < n.updates.size(); ++i) {
    const Update& u = n.updates[i];
    if (u.kind == UpdateKind::store && store_transposed(i)) continue;
    each_point(visiting_order(i), [&](const Point& p) {
      v.begin_update();
      switch (u.kind) {
        case UpdateKind::reduce: reduce_step(i, p); break;
        case UpdateKind::scan: scan_step(i, p); break;
        case UpdateKind::store:
        case UpdateKind::scatter: {
          const Known x = v.evaluate(u.body, p, states[i].guard);
          const DType type = f.pool.type(u.body);
          v.store(u.target, u.subscripts, p, x, type, states[i].guard, u.checked,
                  u.kind == UpdateKind::scatter ? std::optional(u.reducer) : std::nullopt);
          break;
        }
      }
    });
  }
  for (std::size_t i = 0; i < n.updates.size(); ++i) {
    if (n.updates[i].kind == UpdateKind::reduce && states[i].first == n.dims.size()) finish(i);
  }
}

void NestEmitter::reduce_step(std::size_t index, const Point& p) {
  const Update& u = n.updates[index];
  State& s = states[index];
  Accumulator& a = s.values[slot(s, p)];
  const Known mask = v.active(s.guard, p, s.lane_reduced);
  const ir::Node& node = f.pool[u.body];
  Accumulator next;
  if (u.reducer == Reducer::sum && node.op == Op::mul && is_float(s.type) && node.type == s.type) {
    const Known x = v.evaluate(node.args[0], p, s.guard), y = v.evaluate(node.args[1], p, s.guard);
    Value* left = v.widened(x);
    Value* right = v.widened(y);
    v.at(v.innermost());
    next.value = multiply_add(f.b, f.target, left, right, a.value);
  } else {
    Known x = v.evaluate(u.body, p, s.guard);
    const DType from = f.pool.type(u.body);
    v.at(x.scope);
    x.value = convert(f.b, f.target, x.value, is_small_float(from) ? DType::f32 : from, s.type);
    Accumulator y{v.widened(x), nullptr};
    if (a.position) {
      y.position = v.widened(v.evaluate_i32(u.position, p, s.guard));
    }
    v.at(v.innermost());
    next = s.ascending ? combine_ascending(f.b, u.reducer, s.type, a, y) : combine(f.b, u.reducer, s.type, a, y);
  }
  if (mask.value) {
    Value* m = v.widened(mask);
    v.at(v.innermost());
    next.value = f.b.CreateSelect(m, next.value, a.value);
    if (a.position) next.position = f.b.CreateSelect(m, next.position, a.position);
  }
  a = next;
}

void NestEmitter::scan_step(std::size_t index, const Point& p) {
  const Update& u = n.updates[index];
  State& s = states[index];
  Accumulator& a = s.values[slot(s, p)];
  Value* stored = nullptr;
  if (s.along_lanes) {
    const Known mask = v.active(s.guard, p, true);
    Known x = v.evaluate(s.recurrence_operand, p, s.guard);
    const DType from = f.pool.type(s.recurrence_operand);
    v.at(x.scope);
    x.value = convert(f.b, f.target, x.value, is_small_float(from) ? DType::f32 : from, s.type);
    Value* wide = v.widened(x);
    v.at(v.innermost());
    if (mask.value) wide = f.b.CreateSelect(v.broadcast(mask.value), wide, identity(wide->getType(), s.recurrence, s.type));
    stored = combine(f.b, s.recurrence, s.type, a, {prefix(f.b, s.recurrence, s.type, wide), nullptr}).value;
    a.value = f.b.CreateShuffleVector(stored, std::vector<int>(static_cast<std::size_t>(v.lanes), v.lanes - 1));
  } else {
    const Known mask = v.active(s.guard, p, false);
    std::function<bool(Expr)> recurs = [&](Expr e) {
      const ir::Node& node = f.pool[e];
      return node.op == Op::previous || std::any_of(node.args.begin(), node.args.end(), recurs);
    };
    v.previous = a.value;
    Known x = v.evaluate(u.body, p, s.guard);
    const DType from = f.pool.type(u.body);
    v.at(x.scope);
    x.value = convert(f.b, f.target, x.value, is_small_float(from) ? DType::f32 : from, s.type);
    Value* wide = v.widened(x);
    v.at(v.innermost());
    stored = recurs(u.body) ? wide : combine(f.b, u.reducer, s.type, a, {wide, nullptr}).value;
    if (mask.value) stored = f.b.CreateSelect(v.widened(mask), stored, a.value);
    a.value = stored;
    v.previous = nullptr;
  }
  Known result{stored, v.innermost()};
  DType type = s.type;
  v.accumulators[0] = stored;
  if (u.result) {
    result = v.evaluate(u.result, p);
    type = f.pool.type(u.result);
  }
  v.store(u.target, u.subscripts, p, result, type, 0, false, {});
  v.accumulators[0] = nullptr;
}

}  // namespace

void emit_nest(Frame& frame, const tile::Nest& nest) { NestEmitter(frame, nest).run(); }

Value* emit_uniform(Frame& frame, Expr e) {
  Evaluator v(frame);
  return v.evaluate(e, {}).value;
}

}  // namespace quern::cpu
