// Tensor elements: in, a tensor and subscripts at a point; out, loads and stores. An address is a base pointer moved by
// terms that are linear in the indices; the lane's coefficient decides between one vector access, a strided or scattered
// one, and a scalar that is broadcast.
#include <llvm/IR/Intrinsics.h>
#include <llvm/IR/MDBuilder.h>
#include <llvm/Transforms/Utils/BasicBlockUtils.h>

#include <algorithm>
#include <bit>
#include <stdexcept>

#include "compiler/codegen/cpu/elementwise.h"
#include "compiler/codegen/cpu/evaluator.h"

namespace quern::cpu {

using ir::Expr;
using ir::Node;
using ir::Op;
using llvm::Value;

Evaluator::Step Evaluator::scaled(const Count& stride, std::int64_t times, Expr factor, const Point& p) {
  Step s;
  if (!factor && !stride.value) {
    s.constant = stride.constant * times;
    return s;
  }
  if (stride.is(0)) return s;
  Known x = stride.value ? Known{stride.value, 0} : Known{f.b.getInt64(static_cast<std::uint64_t>(stride.constant)), 0};
  if (factor) x = operate(Op::mul, DType::i64, {x, evaluate(factor, p, 0)});
  if (times != 1) x = operate(Op::mul, DType::i64, {x, {f.b.getInt64(static_cast<std::uint64_t>(times)), 0}});
  s.value = x;
  return s;
}

bool Evaluator::lanes_write_apart(const std::vector<Expr>& subscripts) {
  bool moves = false;
  for (Expr e : subscripts) {
    if (!depends_on_lane(e)) continue;
    if (moves || !pure_linear_in_lane(e)) return false;
    moves = linear(e).dims[static_cast<std::size_t>(lane_dim)]->times != 0;
  }
  return moves;
}

bool Evaluator::turns_along(ir::TensorId tensor, const std::vector<Expr>& subscripts, std::size_t d) {
  bool side_by_side = false, apart = false;
  for (std::size_t axis = 0; axis < subscripts.size(); ++axis) {
    const Linear form = linear(subscripts[axis]);
    for (const Linear::Rest& r : form.rest) {
      if (depends_on_lane(r.e) || dependence(r.e) >> d & 1) return false;
    }
    const auto& lane = form.dims[static_cast<std::size_t>(lane_dim)];
    const auto& other = form.dims[d];
    const Count stride = f.stride(tensor, axis);
    if (lane) {
      if (stride.is(1)) return false;
      apart = true;
    }
    if (other) {
      if (side_by_side || !stride.is(1) || other->times != 1 || other->factor) return false;
      side_by_side = true;
    }
  }
  return side_by_side && apart;
}

Known Evaluator::check(ir::TensorId tensor, std::size_t axis, Expr subscript, const Point& p, int g, Known* ok) {
  const Known s = evaluate(subscript, p, g);
  const Known extent{f.materialize(f.extent(tensor, axis)), 0};
  const Known zero{f.b.getInt64(0), 0};
  const Known below = operate(Op::lt, DType::i64, {s, extent}), above = operate(Op::ge, DType::i64, {s, zero});
  const Known good = operate(Op::and_, DType::boolean, {below, above});
  *ok = ok->value ? operate(Op::and_, DType::boolean, {*ok, good}) : good;
  // Report: cold, so that the hot path is one test.
  // As for the load itself: a guard that differs by lane holds by chance behind the tail.
  const Known mask = active(g, p, good.value->getType()->isVectorTy() || guards_[static_cast<std::size_t>(g)].has_lane);
  Known bad = operate(Op::not_, DType::boolean, {good});
  if (mask.value) bad = operate(Op::and_, DType::boolean, {bad, mask});
  // The tensor whose element was the subscript.
  Expr origin = subscript;
  while (f.pool[origin].op == Op::cast) origin = f.pool[origin].args[0];
  const Node& read = f.pool[origin];
  std::vector<Known> position;
  const bool has_source = read.op == Op::read && read.args.size() <= 8;
  if (has_source) {
    for (Expr e : read.args) position.push_back(evaluate(e, p, g));
  }
  int scope = std::max({bad.scope, s.scope, scopes_.back().load_floor});
  for (const Known& k : position) scope = std::max(scope, k.scope);
  at(scope);
  Builder& b = f.b;
  Value* any = bad.value->getType()->isVectorTy() ? b.CreateOrReduce(bad.value) : bad.value;
  Value* out = f.status_pointer();
  Value* call = f.helper(1);
  llvm::Instruction* end = scopes_[static_cast<std::size_t>(scope)].end;
  llvm::MDNode* cold = llvm::MDBuilder(b.getContext()).createBranchWeights(1, 1 << 20);
  llvm::Instruction* then = llvm::SplitBlockAndInsertIfThen(any, end->getIterator(), false, cold);
  b.SetInsertPoint(then);
  Value* lane = nullptr;
  if (bad.value->getType()->isVectorTy()) {
    Value* bits = b.CreateBitCast(bad.value, b.getIntNTy(lanes_of(bad.value->getType())));
    lane = b.CreateZExtOrTrunc(b.CreateBinaryIntrinsic(llvm::Intrinsic::cttz, bits, b.getTrue()), b.getInt64Ty());
  }
  auto scalar = [&](Value* v) { return v->getType()->isVectorTy() ? b.CreateExtractElement(v, lane ? lane : b.getInt64(0)) : v; };
  // The list lives in the entry block's frame.
  Builder entry(f.entry_end);
  entry.SetInsertPoint(&f.function->getEntryBlock(), f.function->getEntryBlock().begin());
  Value* list = entry.CreateAlloca(entry.getInt64Ty(), entry.getInt32(8));
  for (std::size_t i = 0; i < position.size(); ++i) {
    b.CreateStore(scalar(position[i].value), b.CreateConstInBoundsGEP1_64(b.getInt64Ty(), list, i));
  }
  llvm::Type* i32 = b.getInt32Ty();
  llvm::Type* i64 = b.getInt64Ty();
  auto* type = llvm::FunctionType::get(b.getVoidTy(), {b.getPtrTy(), i32, i32, i64, i64, i32, i32, b.getPtrTy()}, false);
  b.CreateCall(type, call,
               {out, b.getInt32(tensor), b.getInt32(static_cast<std::uint32_t>(axis)), scalar(s.value), extent.value,
                b.getInt32(has_source ? static_cast<std::uint32_t>(read.payload) : kNoSource),
                b.getInt32(static_cast<std::uint32_t>(position.size())), list});
  return s;
}

Evaluator::Address Evaluator::address(ir::TensorId tensor, const std::vector<Expr>& subscripts, const Point& p, int g, bool checked) {
  Address result;
  llvm::Type* element = memory_type(f.b.getContext(), f.program.tensors[tensor].type);
  std::vector<Step> steps(dims.size());        // per dim
  std::vector<std::pair<Known, Count>> terms;  // values times strides, not linear in the dims
  std::int64_t constant = 0;
  std::vector<Known> moving;                   // uniform offsets in elements
  auto combine = [&](Step& into, const Step& s) {
    into.constant += s.constant;
    if (s.value.value) into.value = into.value.value ? operate(Op::add, DType::i64, {into.value, s.value}) : s.value;
  };
  auto times = [&](Known v, const Count& stride, std::int64_t n) {
    const Step s = scaled(stride, n, {}, p);
    const Known k = s.value.value ? s.value : Known{f.b.getInt64(static_cast<std::uint64_t>(s.constant)), 0};
    if (k.value == f.b.getInt64(1)) return v;
    return operate(Op::mul, DType::i64, {v, k});
  };
  std::vector<Known> scattered;
  for (std::size_t axis = 0; axis < subscripts.size(); ++axis) {
    const Count stride = f.stride(tensor, axis);
    const Expr e = subscripts[axis];
    if (checked && f.pool[e].op != Op::index) {
      Known s = check(tensor, axis, e, p, g, &result.ok);
      (s.value->getType()->isVectorTy() ? scattered : moving).push_back(times(s, stride, 1));
      continue;
    }
    const Linear form = linear(e);
    if (stride.value) {
      if (form.constant) moving.push_back(times({f.b.getInt64(static_cast<std::uint64_t>(form.constant)), 0}, stride, 1));
    } else {
      constant += form.constant * stride.constant;
    }
    for (std::size_t d = 0; d < dims.size(); ++d) {
      if (form.dims[d]) combine(steps[d], scaled(stride, form.dims[d]->times, form.dims[d]->factor, p));
    }
    for (const Linear::Rest& r : form.rest) {
      const Known v = evaluate(r.e, p, g);
      (v.value->getType()->isVectorTy() ? scattered : moving).push_back(times(v, stride, r.times));
    }
  }
  auto known_step = [&](const Step& s) {
    const Known k{f.b.getInt64(static_cast<std::uint64_t>(s.constant)), 0};
    if (!s.value.value) return k;
    return s.constant ? operate(Op::add, DType::i64, {s.value, k}) : s.value;
  };
  // Copies of a dim share one moving pointer; what tells them apart does not change in the loops.
  Known apart{nullptr, 0};
  int least = 0;
  for (std::size_t d = 0; d < dims.size(); ++d) {
    const Step& s = steps[d];
    if (!s.constant && !s.value.value) continue;
    const Known step = known_step(s);
    const Known base = dims[d].base;
    least = std::max(least, base.scope);
    if (base.value != f.b.getInt64(0)) moving.push_back(step.value == f.b.getInt64(1) ? base : operate(Op::mul, DType::i64, {base, step}));
    const std::int64_t n = p[d] * dims[d].step;
    if (!n) continue;
    if (!s.value.value) {
      constant += s.constant * n;
    } else {
      const int shift = std::countr_zero(static_cast<std::uint64_t>(n));
      Known odd = step;
      if (n >> shift != 1) odd = operate(Op::mul, DType::i64, {step, {f.b.getInt64(static_cast<std::uint64_t>(n >> shift)), 0}});
      at(odd.scope);
      if (shift) odd.value = f.b.CreateShl(odd.value, static_cast<std::uint64_t>(shift));
      apart = apart.value ? operate(Op::add, DType::i64, {apart, odd}) : odd;
    }
  }
  std::stable_sort(moving.begin(), moving.end(), [](const Known& x, const Known& y) { return x.scope < y.scope; });
  Known pointer{f.data(tensor), 0};
  for (const Known& m : moving) {
    least = std::max(least, m.scope);
    if (m.value == f.b.getInt64(0)) continue;
    pointer = element_pointer(element, pointer, m);
  }
  if (apart.value) pointer = element_pointer(element, pointer, apart);
  if (constant) pointer = element_pointer(element, pointer, {f.b.getInt64(static_cast<std::uint64_t>(constant)), 0});
  pointer.scope = std::max(pointer.scope, least);
  result.pointer = pointer;
  if (lanes == 1 || lane_dim < 0) {
    return result;
  }
  const Step& lane = steps[static_cast<std::size_t>(lane_dim)];
  const bool moves = lane.constant || lane.value.value;
  if (!scattered.empty()) {
    Known offsets = scattered[0];
    for (std::size_t i = 1; i < scattered.size(); ++i) offsets = operate(Op::add, DType::i64, {offsets, scattered[i]});
    if (moves) {
      const Known ramp = operate(Op::mul, DType::i64, {{iota(f.b.getInt64Ty()), 0}, known_step(lane)});
      offsets = operate(Op::add, DType::i64, {offsets, ramp});
    }
    result.kind = Address::Kind::scattered;
    result.offsets = offsets;
  } else if (moves) {
    result.kind = !lane.value.value && lane.constant == 1 ? Address::Kind::unit : Address::Kind::strided;
    if (result.kind == Address::Kind::strided) {
      result.step = lane.value.value ? Count{0, known_step(lane).value} : Count{lane.constant, nullptr};
      result.pointer.scope = std::max(result.pointer.scope, known_step(lane).scope);
      for (std::size_t d = 0; d < dims.size(); ++d) {
        if (static_cast<int>(d) != lane_dim && dims[d].copies == lanes && steps[d].constant == 1 && !steps[d].value.value) {
          result.along = static_cast<int>(d);
        }
      }
      result.offsets = operate(Op::mul, DType::i64, {{iota(f.b.getInt64Ty()), 0}, known_step(lane)});
    }
  }
  return result;
}

namespace {
/// Square transposition by halves: step s swaps the blocks of s columns between rows i and i + s.
std::vector<Value*> transposed(Builder& b, std::vector<Value*> rows) {
  const int n = static_cast<int>(rows.size());
  for (int s = n / 2; s >= 1; s /= 2) {
    std::vector<int> upper, lower;
    for (int c = 0; c < n; ++c) {
      upper.push_back(c & s ? n + (c ^ s) : c);
      lower.push_back(c & s ? n + c : c ^ s);
    }
    for (int i = 0; i < n; ++i) {
      if (i & s) continue;
      Value* x = rows[static_cast<std::size_t>(i)];
      Value* y = rows[static_cast<std::size_t>(i + s)];
      rows[static_cast<std::size_t>(i)] = b.CreateShuffleVector(x, y, upper);
      rows[static_cast<std::size_t>(i + s)] = b.CreateShuffleVector(x, y, lower);
    }
  }
  return rows;
}
}  // namespace

/// Whether lane l takes part in the tail: one scalar test.
Value* Evaluator::row_is_live(int lane) {
  const Known& count = dims[static_cast<std::size_t>(lane_dim)].live;
  return f.b.CreateICmpSGT(count.value, f.b.getInt32(static_cast<std::uint32_t>(lane)));
}

Value* Evaluator::row_pointer(const Address& a, llvm::Type* element, int lane) {
  Value* offset = f.b.CreateMul(f.materialize(a.step), f.b.getInt64(static_cast<std::uint64_t>(lane)));
  return f.b.CreateGEP(element, a.pointer.value, offset);
}

std::vector<Value*> Evaluator::load_transposed(const Address& a, llvm::Type* element, llvm::Align align, const Known& tail, int scope) {
  Builder& b = f.b;
  at(scope);
  auto* type = llvm::FixedVectorType::get(element, static_cast<unsigned>(lanes));
  std::vector<Value*> rows;
  for (int l = 0; l < lanes; ++l) {
    Value* pointer = row_pointer(a, element, l);
    // Rows past the tail read the first one again.
    if (tail.value && l > 0) pointer = b.CreateSelect(row_is_live(l), pointer, a.pointer.value);
    rows.push_back(b.CreateAlignedLoad(type, pointer, align));
  }
  return transposed(b, rows);
}

int Evaluator::transposing_dim(ir::TensorId tensor, const std::vector<Expr>& subscripts, const Point& p) {
  return address(tensor, subscripts, p, 0, false).along;
}

void Evaluator::store_transposed(ir::TensorId tensor, const std::vector<Expr>& subscripts, const Point& p, const std::vector<Known>& values,
                                 DType type) {
  const ir::Tensor& info = f.program.tensors[tensor];
  const Address a = address(tensor, subscripts, p, 0, false);
  const Known tail = active(0, p, true);
  Builder& b = f.b;
  at(innermost());
  llvm::Type* element = memory_type(b.getContext(), info.type);
  const llvm::Align align(size_of(info.type));
  std::vector<Value*> columns;
  for (const Known& v : values) columns.push_back(broadcast(narrow_to_stored(b, f.target, v.value, type, info.type)));
  const std::vector<Value*> rows = transposed(b, columns);
  for (int l = 0; l < lanes; ++l) {
    Value* pointer = row_pointer(a, element, l);
    Value* row = rows[static_cast<std::size_t>(l)];
    if (!tail.value || l == 0) {
      b.CreateAlignedStore(row, pointer, align);
    } else {
      // (All lanes or none: no single one is known to be on.)
      b.CreateMaskedStore(row, pointer, align, broadcast(row_is_live(l)));
    }
  }
}

/// Elements that no instruction gathers are loaded one by one, masked ones from a safe address: LLVM would make a branch for each.
Value* Evaluator::gather(llvm::VectorType* type, Value* pointers, llvm::Align align, Value* mask) {
  Builder& b = f.b;
  llvm::Constant* none = llvm::Constant::getNullValue(type);
  const bool native = f.target.avx2 && type->getElementType()->getPrimitiveSizeInBits() >= 32;
  if (native || !mask) return b.CreateMaskedGather(type, pointers, align, mask, none);
  pointers = b.CreateSelect(mask, pointers, broadcast(f.args));
  Value* v = none;
  for (int l = 0; l < lanes; ++l) {
    const auto at = static_cast<std::uint64_t>(l);
    v = b.CreateInsertElement(v, b.CreateAlignedLoad(type->getElementType(), b.CreateExtractElement(pointers, at), align), at);
  }
  return b.CreateSelect(mask, v, none);
}

Known Evaluator::load(Expr e, const Point& p, int g) {
  const Node node = f.pool[e];
  const ir::TensorId tensor = static_cast<ir::TensorId>(node.payload);
  const ir::Tensor& info = f.program.tensors[tensor];
  const bool changes = traits(e) & 2;
  if (changes) {
    for (const Forwarded& s : forwarded_) {
      if (s.tensor == tensor && s.point == p && s.subscripts == node.args) return s.value;
    }
  }
  const bool checked = node.flags & ir::kChecked;
  const Address a = address(tensor, node.args, p, g, checked);
  Builder& b = f.b;
  llvm::Type* element = memory_type(b.getContext(), info.type);
  const llvm::Align align(size_of(info.type));
  const bool vector = a.kind != Address::Kind::uniform;
  const bool guard_has_lane = guards_[static_cast<std::size_t>(g)].has_lane;
  Known mask = active(g, p, vector || guard_has_lane || (a.ok.value && a.ok.value->getType()->isVectorTy()));
  if (a.ok.value) mask = mask.value ? operate(Op::and_, DType::boolean, {mask, a.ok}) : a.ok;
  int scope = std::max({a.pointer.scope, a.offsets.scope, mask.value ? mask.scope : 0, scopes_.back().load_floor});
  if (changes) scope = innermost();
  if (a.along >= 0 && g == 0 && !checked && !changes) {
    // All copies at once.
    Point first = p;
    first[static_cast<std::size_t>(a.along)] = 0;
    const Address origin = address(tensor, node.args, first, g, false);
    const std::vector<Value*> columns = load_transposed(origin, element, align, mask, scope);
    Known mine;
    for (int c = 0; c < lanes; ++c) {
      first[static_cast<std::size_t>(a.along)] = static_cast<std::uint8_t>(c);
      at(scope);
      const Known column{widen_stored(b, f.target, columns[static_cast<std::size_t>(c)], info.type), scope};
      if (first == p) mine = column;
      else remember(key(e.id, 0, dependence(e), first), column);
    }
    return mine;
  }
  at(scope);
  Value* v = nullptr;
  if (!vector) {
    Value* pointer = a.pointer.value;
    Value* allowed = mask.value;
    if (allowed) {
      if (allowed->getType()->isVectorTy()) allowed = b.CreateOrReduce(allowed);
      pointer = b.CreateSelect(allowed, pointer, f.args);
    }
    v = b.CreateAlignedLoad(element, pointer, align);
    if (a.ok.value) v = b.CreateSelect(allowed, v, llvm::Constant::getNullValue(element));
  } else {
    auto* type = llvm::FixedVectorType::get(element, static_cast<unsigned>(lanes));
    Value* m = mask.value ? broadcast(mask.value) : nullptr;
    if (a.kind == Address::Kind::unit) {
      v = m ? static_cast<Value*>(b.CreateMaskedLoad(type, a.pointer.value, align, m, llvm::Constant::getNullValue(type)))
            : b.CreateAlignedLoad(type, a.pointer.value, align);
    } else {
      v = gather(type, b.CreateGEP(element, a.pointer.value, a.offsets.value), align, m);
    }
  }
  return {widen_stored(b, f.target, v, info.type), scope};
}

void Evaluator::store(ir::TensorId tensor, const std::vector<Expr>& subscripts, const Point& p, Known value, DType type,
                      int g, bool checked, std::optional<ir::Reducer> combine) {
  const ir::Tensor& info = f.program.tensors[tensor];
  const Address a = address(tensor, subscripts, p, g, checked);
  Builder& b = f.b;
  const bool vector = a.kind != Address::Kind::uniform;
  Known mask = active(g, p, vector || guards_[static_cast<std::size_t>(g)].has_lane);
  if (a.ok.value) mask = mask.value ? operate(Op::and_, DType::boolean, {mask, a.ok}) : a.ok;
  at(innermost());
  llvm::Type* element = memory_type(b.getContext(), info.type);
  const llvm::Align align(size_of(info.type));
  Value* v = value.value;
  if (vector) {
    v = broadcast(v);
  } else if (v->getType()->isVectorTy()) {
    v = b.CreateExtractElement(v, b.getInt64(0));
  }
  Value* m = mask.value;
  if (!vector && m) {
    if (m->getType()->isVectorTy()) m = b.CreateOrReduce(m);
    llvm::Instruction* then = llvm::SplitBlockAndInsertIfThen(m, scopes_.back().end->getIterator(), false);
    b.SetInsertPoint(then);
    m = nullptr;
  }
  if (m) m = broadcast(m);
  auto* vector_type = llvm::FixedVectorType::get(element, static_cast<unsigned>(lanes));
  Value* pointers = vector && a.kind != Address::Kind::unit ? b.CreateGEP(element, a.pointer.value, a.offsets.value) : a.pointer.value;
  if (combine) {
    Value* old = nullptr;
    if (!vector) old = b.CreateAlignedLoad(element, pointers, align);
    else if (a.kind != Address::Kind::unit) old = b.CreateMaskedGather(vector_type, pointers, align, m, llvm::Constant::getNullValue(vector_type));
    else if (m) old = b.CreateMaskedLoad(vector_type, pointers, align, m, llvm::Constant::getNullValue(vector_type));
    else old = b.CreateAlignedLoad(vector_type, pointers, align);
    old = widen_stored(b, f.target, old, info.type);
    const DType wide = is_small_float(info.type) ? DType::f32 : info.type;
    v = convert(b, f.target, v, type, wide);
    type = wide;
    const bool real = is_float(wide);
    switch (*combine) {
      case ir::Reducer::sum: v = real ? b.CreateFAdd(old, v) : b.CreateAdd(old, v); break;
      case ir::Reducer::prod: v = real ? b.CreateFMul(old, v) : b.CreateMul(old, v); break;
      case ir::Reducer::any: v = b.CreateOr(old, v); break;
      case ir::Reducer::all: v = b.CreateAnd(old, v); break;
      default: v = extremum(b, wide, *combine == ir::Reducer::max, old, v);
    }
  }
  Value* bits = narrow_to_stored(b, f.target, v, type, info.type);
  if (!vector) {
    b.CreateAlignedStore(bits, pointers, align);
  } else if (a.kind == Address::Kind::unit) {
    if (m) b.CreateMaskedStore(bits, pointers, align, size_of(info.type) < 4 ? f.opaque_mask(m) : m);
    else b.CreateAlignedStore(bits, pointers, align);
  } else {
    b.CreateMaskedScatter(bits, pointers, align, m);
  }
  if (g == 0 && !checked && !combine && !a.ok.value) {
    at(innermost());
    forwarded_.push_back({tensor, subscripts, p, {convert(b, f.target, v, type, info.type), innermost()}});
  }
}

}  // namespace quern::cpu
