// Evaluation of expressions with memory: which scope a value belongs to follows from its operands, so hoisting needs no
// analysis of its own. Reads stay inside the loops whose emptiness would make them unsafe.
#include "compiler/codegen/cpu/evaluator.h"

#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/IntrinsicsX86.h>

#include <bit>
#include <stdexcept>

#include "compiler/codegen/cpu/elementwise.h"

namespace quern::cpu {

using ir::Expr;
using ir::Node;
using ir::Op;
using llvm::Value;

namespace {
constexpr std::uint8_t kReads = 1, kChanges = 2, kGuarded = 4;
constexpr std::uint64_t kSplat = std::uint64_t{1} << 32, kPointer = std::uint64_t{2} << 32, kOperation = std::uint64_t{3} << 32;
bool constant(Value* v) { return llvm::isa<llvm::Constant>(v); }
}  // namespace

Evaluator::Evaluator(Frame& frame) : f(frame) {
  scopes_.push_back({f.entry_end, 0, {}});
  scopes_.push_back({f.here, 1, {}});
  guards_.push_back({0, {}, false, 0, false});
}

int Evaluator::open_scope(bool may_be_empty) {
  const int floor = may_be_empty ? static_cast<int>(scopes_.size()) : scopes_.back().load_floor;
  scopes_.push_back({f.here, floor, {}});
  return innermost();
}

void Evaluator::close_scope() {
  for (const std::string& k : scopes_.back().keys) memo_.erase(k);
  scopes_.pop_back();
}

void Evaluator::at(int scope) { f.b.SetInsertPoint(scopes_[static_cast<std::size_t>(scope)].end); }

std::string Evaluator::key(std::uint64_t what, std::uint32_t guard, std::uint32_t mask, const Point& p) const {
  std::string k(reinterpret_cast<const char*>(&what), sizeof what);
  k.append(reinterpret_cast<const char*>(&guard), sizeof guard);
  for (std::size_t d = 0; d < p.size(); ++d) {
    if (mask >> d & 1) k.push_back(static_cast<char>(p[d]));
  }
  return k;
}

void Evaluator::remember(const std::string& k, const Known& v) {
  memo_[k] = v;
  scopes_[static_cast<std::size_t>(v.scope)].keys.push_back(k);
}

std::uint32_t Evaluator::dependence(Expr e) {
  auto [at, fresh] = dependence_.try_emplace(e.id, 0);
  if (fresh) {
    std::uint32_t mask = 0;
    for (ir::IndexId id : f.pool.free_indices(e)) {
      for (std::size_t d = 0; d < dims.size(); ++d) {
        if (dims[d].index == id) mask |= 1u << d;
      }
    }
    at->second = mask;
  }
  return at->second;
}

bool Evaluator::depends_on_lane(Expr e) { return lane_dim >= 0 && (dependence(e) >> lane_dim & 1); }

std::uint8_t Evaluator::traits(Expr e) {
  if (auto found = traits_.find(e.id); found != traits_.end()) return found->second;
  const Node& node = f.pool[e];
  std::uint8_t t = 0;
  if (node.op == Op::previous || node.op == Op::accumulator) t |= kChanges;
  if (node.op == Op::read) {
    t |= kReads;
    if (needs_guard(e)) t |= kGuarded;
    for (ir::TensorId w : written) {
      if (w == static_cast<ir::TensorId>(node.payload)) t |= kChanges;
    }
  }
  for (Expr a : node.args) t |= traits(a);
  return traits_[e.id] = t;
}

/// One element for all lanes that is there whatever the guard says: reading it costs less than asking whether a lane wants it.
bool Evaluator::needs_guard(Expr read) {
  if (depends_on_lane(read)) return true;
  if (!ranges_) ranges_.emplace(f.program);
  return !ranges_->in_range(read);
}

int Evaluator::guard(int parent, Expr condition, bool negated) {
  if (f.pool.is_true(condition) && !negated) return parent;
  for (std::size_t i = 1; i < guards_.size(); ++i) {
    const Guard& g = guards_[i];
    if (g.parent == parent && g.condition == condition && g.negated == negated) return static_cast<int>(i);
  }
  const Guard& up = guards_[static_cast<std::size_t>(parent)];
  guards_.push_back({parent, condition, negated, up.dependence | dependence(condition), up.has_lane || depends_on_lane(condition)});
  return static_cast<int>(guards_.size()) - 1;
}

Value* Evaluator::iota(llvm::Type* element) {
  std::vector<llvm::Constant*> values;
  for (int i = 0; i < lanes; ++i) values.push_back(llvm::ConstantInt::get(element, static_cast<std::uint64_t>(i)));
  return llvm::ConstantVector::get(values);
}

Value* Evaluator::broadcast(Value* v) {
  if (lanes == 1 || v->getType()->isVectorTy()) return v;
  return f.b.CreateVectorSplat(static_cast<unsigned>(lanes), v);
}

template <class Make>
Known Evaluator::made_once(std::uint64_t kind, std::initializer_list<Known> operands, Make make) {
  // Scopes belong to the key: a constant may hold for one variant of a loop only.
  std::string k("made");
  auto append = [&](const auto& x) { k.append(reinterpret_cast<const char*>(&x), sizeof x); };
  append(kind);
  int scope = 0;
  for (const Known& o : operands) {
    append(o.value);
    append(o.scope);
    scope = std::max(scope, o.scope);
  }
  if (auto found = memo_.find(k); found != memo_.end()) return found->second;
  at(scope);
  const Known result{make(), scope};
  remember(k, result);
  return result;
}

Known Evaluator::splat(const Known& k) {
  if (lanes == 1 || k.value->getType()->isVectorTy()) return k;
  return made_once(kSplat, {k}, [&] { return f.b.CreateVectorSplat(static_cast<unsigned>(lanes), k.value); });
}

Known Evaluator::element_pointer(llvm::Type* element, const Known& pointer, const Known& offset) {
  return made_once(kPointer | element->getPrimitiveSizeInBits().getFixedValue(), {pointer, offset},
                   [&] { return f.b.CreateGEP(element, pointer.value, offset.value); });
}

Value* Evaluator::widened(const Known& k) { return lane_dim < 0 ? k.value : splat(k).value; }

Known Evaluator::active(int g, const Point& p, bool with_tail) {
  Known tail;
  if (with_tail && lane_dim >= 0) {
    const DimState& lane = dims[static_cast<std::size_t>(lane_dim)];
    if (!lane.masks.empty()) tail = lane.masks[p[static_cast<std::size_t>(lane_dim)]];
  }
  if (g == 0) return tail;
  const Guard guard = guards_[static_cast<std::size_t>(g)];
  const std::string k = key(~std::uint64_t{0} - (with_tail ? 1 : 0), static_cast<std::uint32_t>(g),
                            guard.dependence | (tail.value ? 1u << lane_dim : 0u), p);
  if (auto found = memo_.find(k); found != memo_.end()) return found->second;
  const Known up = active(guard.parent, p, with_tail);
  Known c = evaluate(guard.condition, p, guard.parent);
  if (guard.negated) c = operate(Op::not_, DType::boolean, {c});
  const Known both = up.value ? operate(Op::and_, DType::boolean, {up, c}) : c;
  if (!(traits(guard.condition) & kChanges)) remember(k, both);
  return both;
}

Known Evaluator::operate(Op op, DType type, std::vector<Known> args) {
  int scope = 0;
  bool vector = false;
  for (const Known& a : args) {
    scope = std::max(scope, a.scope);
    vector |= a.value->getType()->isVectorTy();
  }
  for (std::size_t i = 0; vector && i < args.size(); ++i) {
    // A splat belongs where its scalar does, so that loops do not repeat it.
    if (op == Op::where && i == 0) continue;
    if (constant(args[i].value)) args[i].scope = scope;
    args[i] = splat(args[i]);
  }
  // A constant result, too, may hold for this variant of a loop only: it has the scope of what it was made from.
  auto make = [&] {
    std::vector<Value*> values;
    for (const Known& a : args) values.push_back(a.value);
    return elementwise(f.b, f.target, op, is_small_float(type) ? DType::f32 : type, values);
  };
  const std::uint64_t kind = kOperation | static_cast<std::uint64_t>(op) << 8 | static_cast<std::uint64_t>(type);
  if (args.size() == 1) return made_once(kind, {args[0]}, make);
  if (args.size() == 2) return made_once(kind, {args[0], args[1]}, make);
  return made_once(kind, {args[0], args[1], args[2]}, make);
}

Known Evaluator::evaluate(Expr e, const Point& p, int g) {
  const std::uint8_t t = traits(e);
  if (!(t & kReads)) g = 0;
  if (!(t & kGuarded))
    while (guards_[static_cast<std::size_t>(g)].has_lane) g = guards_[static_cast<std::size_t>(g)].parent;
  std::uint32_t mask = dependence(e);
  if (t & kChanges) {
    // Valid at this point of this update only.
    auto& list = local_[static_cast<std::uint64_t>(e.id) << 16 | static_cast<std::uint64_t>(g)];
    for (auto& [q, v] : list) {
      if (q == p) return v;
    }
    const Known v = compute(e, p, g);
    local_[static_cast<std::uint64_t>(e.id) << 16 | static_cast<std::uint64_t>(g)].emplace_back(p, v);
    return v;
  }
  // A value known under a weaker guard serves too.
  for (int weaker = g;; weaker = guards_[static_cast<std::size_t>(weaker)].parent) {
    const Guard& guard = guards_[static_cast<std::size_t>(weaker)];
    if (auto found = memo_.find(key(e.id, static_cast<std::uint32_t>(weaker), mask | guard.dependence, p)); found != memo_.end()) {
      return found->second;
    }
    if (weaker == 0) break;
  }
  const Known v = compute(e, p, g);
  remember(key(e.id, static_cast<std::uint32_t>(g), mask | guards_[static_cast<std::size_t>(g)].dependence, p), v);
  return v;
}

Known Evaluator::compute_index(ir::IndexId id, const Point& p) {
  for (std::size_t d = 0; d < dims.size(); ++d) {
    if (dims[d].index != id) continue;
    const DimState& dim = dims[d];
    at(dim.base.scope);
    Value* v = dim.base.value;
    if (p[d]) v = f.b.CreateAdd(v, f.b.getInt64(static_cast<std::uint64_t>(p[d] * dim.step)));
    if (dim.lane && lanes > 1) v = f.b.CreateAdd(broadcast(v), iota(f.b.getInt64Ty()));
    return {v, dim.base.scope};
  }
  if (auto found = f.indices.find(id); found != f.indices.end()) return {found->second, 1};
  throw std::logic_error("an index is used outside its loop");
}

Known Evaluator::compute(Expr e, const Point& p, int g) {
  const Node& node = f.pool[e];
  switch (node.op) {
    case Op::constant:
    case Op::symbol:
    case Op::scalar: return {f.entry_value(e), 0};
    case Op::index: return compute_index(static_cast<ir::IndexId>(node.payload), p);
    case Op::previous: return {previous, innermost()};
    case Op::accumulator: {
      Value* v = accumulators[node.payload];
      if (!v) throw std::logic_error("an accumulator is used outside a result");
      return {v, innermost()};
    }
    case Op::read: return load(e, p, g);
    case Op::cast: {
      const Known x = evaluate(node.args[0], p, g);
      const DType from = f.pool.type(node.args[0]);
      at(x.scope);
      Value* v = convert(f.b, f.target, x.value, from, (node.flags & ir::kAllowed) && from != DType::f64 ? DType::f32 : node.type);
      return {v, x.scope};
    }
    case Op::where: {
      const Known c = evaluate(node.args[0], p, g);
      if (auto* known = llvm::dyn_cast<llvm::ConstantInt>(c.value)) {
        // The choice may hold for this variant of a loop only.
        Known taken = evaluate(node.args[known->isZero() ? 2 : 1], p, g);
        taken.scope = std::max(taken.scope, c.scope);
        return taken;
      }
      const Known x = evaluate(node.args[1], p, guard(g, node.args[0], false));
      const Known y = evaluate(node.args[2], p, guard(g, node.args[0], true));
      return operate(Op::where, node.type, {c, x, y});
    }
    case Op::eq: case Op::ne: case Op::lt: case Op::le: case Op::gt: case Op::ge: {
      bool done = false;
      const Known v = compare_linear(e, p, g, &done);
      if (done) return v;
      break;
    }
    case Op::add:
      if (is_float(node.type)) {
        // x*y + z with one rounding. Not x*y - z: the difference of equal values must be 0, it may stand under an exponential.
        for (int side = 0; side < 2; ++side) {
          const Node& product = f.pool[node.args[static_cast<std::size_t>(side)]];
          if (product.op != Op::mul) continue;
          Known x = evaluate(product.args[0], p, g);
          const Known y = evaluate(product.args[1], p, g);
          Known z = evaluate(node.args[static_cast<std::size_t>(1 - side)], p, g);
          return operate(Op::fma, node.type, {x, y, z});
        }
      }
      break;
    default: break;
  }
  if (!ir::is_elementwise(node.op)) throw std::logic_error("a binding form reached the code generator");
  std::vector<Known> args;
  for (Expr a : node.args) args.push_back(evaluate(a, p, g));
  return operate(node.op, f.pool.type(node.args[0]), std::move(args));
}

Linear Evaluator::linear(Expr e) {
  Linear form;
  form.dims.resize(dims.size());
  struct Walk {
    Evaluator& v;
    Linear& form;
    bool add(Expr e, std::int64_t times) {
      const Node& node = v.f.pool[e];
      std::int64_t n = 0;
      if (v.f.pool.is_integer_constant(e, &n)) {
        form.constant += times * n;
        return true;
      }
      if (node.op == Op::index && v.dependence(e)) return dim(e, times, {});
      if (node.op == Op::add) return add(node.args[0], times) && add(node.args[1], times);
      if (node.op == Op::sub) return add(node.args[0], times) && add(node.args[1], -times);
      if (node.op == Op::neg) return add(node.args[0], -times);
      if (node.op == Op::mul) {
        for (int side = 0; side < 2; ++side) {
          const Expr k = node.args[static_cast<std::size_t>(side)], x = node.args[static_cast<std::size_t>(1 - side)];
          if (v.f.pool.is_integer_constant(k, &n)) return add(x, times * n);
          // index * uniform
          if (!v.dependence(k) && !(v.traits(k) & kReads) && v.f.pool[x].op == Op::index && v.dependence(x) &&
              !form.dims[static_cast<std::size_t>(std::countr_zero(v.dependence(x)))]) {
            return dim(x, times, k);
          }
        }
      }
      form.rest.push_back({times, e});
      return true;
    }
    bool dim(Expr e, std::int64_t times, Expr factor) {
      auto& term = form.dims[static_cast<std::size_t>(std::countr_zero(v.dependence(e)))];
      if (!term) {
        term = Linear::Term{times, factor};
      } else if (!term->factor && !factor) {
        term->times += times;
      } else {
        form.rest.push_back({times, e});  // the slot holds index * factor already; a factor comes first only
      }
      return true;
    }
  };
  Walk walk{*this, form};
  walk.add(e, 1);
  return form;
}

bool Evaluator::pure_linear_in_lane(Expr e) {
  const Linear form = linear(e);
  for (const Linear::Rest& r : form.rest) {
    if (depends_on_lane(r.e)) return false;
  }
  const auto& lane = form.dims[static_cast<std::size_t>(lane_dim)];
  return lane && !lane->factor;
}

Known Evaluator::evaluate_i32(Expr e, const Point& p, int g) {
  const DType type = f.pool.type(e);
  if (type == DType::i64 && lanes > 1 && lane_dim >= 0 && depends_on_lane(e) && pure_linear_in_lane(e)) {
    const Linear form = linear(e);
    const Known base = linear_base(form, p, g);
    const std::int64_t times = form.dims[static_cast<std::size_t>(lane_dim)]->times;
    std::vector<llvm::Constant*> ramp;
    for (int i = 0; i < lanes; ++i) ramp.push_back(llvm::ConstantInt::getSigned(f.b.getInt64Ty(), times * i));
    at(base.scope);
    llvm::Constant* steps = llvm::ConstantVector::get(ramp);
    Value* narrow = f.b.CreateTrunc(steps, llvm::FixedVectorType::get(f.b.getInt32Ty(), static_cast<unsigned>(lanes)));
    return {f.b.CreateAdd(broadcast(f.b.CreateTrunc(base.value, f.b.getInt32Ty())), narrow), base.scope};
  }
  const Known x = evaluate(e, p, g);
  at(x.scope);
  return {convert(f.b, f.target, x.value, type, DType::i32), x.scope};
}

Known Evaluator::linear_base(const Linear& form, const Point& p, int g) {
  Known sum{f.b.getInt64(static_cast<std::uint64_t>(form.constant)), 0};
  auto plus = [&](Known x, std::int64_t times) {
    if (times == -1) {
      sum = operate(Op::sub, DType::i64, {sum, x});
      return;
    }
    if (times != 1) x = operate(Op::mul, DType::i64, {x, {f.b.getInt64(static_cast<std::uint64_t>(times)), 0}});
    sum = operate(Op::add, DType::i64, {sum, x});
  };
  for (const Linear::Rest& r : form.rest) plus(evaluate(r.e, p, g), r.times);
  for (std::size_t d = 0; d < dims.size(); ++d) {
    if (!form.dims[d]) continue;
    const DimState& dim = dims[d];
    at(dim.base.scope);
    Known x{dim.base.value, dim.base.scope};
    if (p[d]) x.value = f.b.CreateAdd(x.value, f.b.getInt64(static_cast<std::uint64_t>(p[d] * dim.step)));
    if (form.dims[d]->factor) x = operate(Op::mul, DType::i64, {x, evaluate(form.dims[d]->factor, p, g)});
    plus(x, form.dims[d]->times);
  }
  return sum;
}

/// a ? b for integers linear in the lane number: times * lane ? s, with s clamped to where the answer is decided.
Known Evaluator::compare_linear(Expr e, const Point& p, int g, bool* done) {
  const Node& node = f.pool[e];
  if (lanes == 1 || lane_dim < 0 || f.pool.type(node.args[0]) != DType::i64 || !depends_on_lane(e)) return {};
  Linear left = linear(node.args[0]);
  const Linear right = linear(node.args[1]);
  const std::size_t lane = static_cast<std::size_t>(lane_dim);
  for (const Linear* side : {&std::as_const(left), &right}) {
    for (const Linear::Rest& r : side->rest) {
      if (depends_on_lane(r.e)) return {};
    }
    if (side->dims[lane] && side->dims[lane]->factor) return {};
  }
  const std::int64_t times = (left.dims[lane] ? left.dims[lane]->times : 0) - (right.dims[lane] ? right.dims[lane]->times : 0);
  if (times < -4096 || times > 4096) return {};
  const Known x = linear_base(left, p, g), y = linear_base(right, p, g);
  // times * lane ? y - x, and the left side lies in [-4096 * lanes, 4096 * lanes].
  const Known s = operate(Op::sub, DType::i64, {y, x});
  at(s.scope);
  Value* low = f.b.CreateBinaryIntrinsic(llvm::Intrinsic::smax, s.value, f.b.getInt64(static_cast<std::uint64_t>(std::int64_t{-1000000})));
  Value* bound = f.b.CreateBinaryIntrinsic(llvm::Intrinsic::smin, low, f.b.getInt64(1000000));
  Value* narrow = broadcast(f.b.CreateTrunc(bound, f.b.getInt32Ty()));
  std::vector<llvm::Constant*> ramp;
  for (int i = 0; i < lanes; ++i) ramp.push_back(llvm::ConstantInt::getSigned(f.b.getInt32Ty(), times * i));
  Value* values[] = {llvm::ConstantVector::get(ramp), narrow};
  *done = true;
  return {elementwise(f.b, f.target, node.op, DType::i32, values), s.scope};
}

}  // namespace quern::cpu
