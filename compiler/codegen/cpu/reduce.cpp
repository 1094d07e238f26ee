// Reducers on registers. Lanes are combined by rotations, so that every step is a permute and an operation; prefixes
// rotate and then select, which LLVM lowers to one masked operation (shifting zeros in would be far slower).
#include "compiler/codegen/cpu/reduce.h"

#include <limits>

#include "compiler/codegen/cpu/elementwise.h"

namespace quern::cpu {

using ir::Reducer;
using llvm::Value;

bool has_position(Reducer r) { return r == Reducer::argmax || r == Reducer::argmin; }

llvm::Constant* identity(llvm::Type* type, Reducer reducer, DType dtype) {
  const bool real = is_float(dtype);
  auto low_integer = [&](bool lowest) -> llvm::Constant* {
    const unsigned bits = type->getScalarSizeInBits();
    if (dtype == DType::u8 || dtype == DType::boolean) {
      return lowest ? llvm::Constant::getNullValue(type) : llvm::Constant::getAllOnesValue(type);
    }
    return llvm::ConstantInt::get(type, lowest ? llvm::APInt::getSignedMinValue(bits) : llvm::APInt::getSignedMaxValue(bits));
  };
  switch (reducer) {
    case Reducer::prod: return real ? llvm::ConstantFP::get(type, 1.0) : llvm::ConstantInt::get(type, 1);
    case Reducer::max:
    case Reducer::argmax: return real ? llvm::ConstantFP::getInfinity(type, true) : low_integer(true);
    case Reducer::min:
    case Reducer::argmin: return real ? llvm::ConstantFP::getInfinity(type, false) : low_integer(false);
    case Reducer::all: return llvm::Constant::getAllOnesValue(type);
    default: return llvm::Constant::getNullValue(type);
  }
}

Accumulator combine(Builder& b, Reducer reducer, DType dtype, Accumulator x, Accumulator y) {
  const bool real = is_float(dtype);
  switch (reducer) {
    case Reducer::sum: return {real ? b.CreateFAdd(x.value, y.value) : b.CreateAdd(x.value, y.value), nullptr};
    case Reducer::prod: return {real ? b.CreateFMul(x.value, y.value) : b.CreateMul(x.value, y.value), nullptr};
    case Reducer::max: return {extremum(b, dtype, true, y.value, x.value), nullptr};
    case Reducer::min: return {extremum(b, dtype, false, y.value, x.value), nullptr};
    case Reducer::any: return {b.CreateOr(x.value, y.value), nullptr};
    case Reducer::all: return {b.CreateAnd(x.value, y.value), nullptr};
    default: break;
  }
  // y wins when it is better, or as good at a lower position.
  const bool maximum = reducer == Reducer::argmax;
  llvm::Constant* none = llvm::Constant::getNullValue(x.position->getType());
  Value* better;
  Value* same;
  if (real) {
    Value* x_nan = b.CreateFCmpUNO(x.value, x.value);
    Value* y_nan = b.CreateFCmpUNO(y.value, y.value);
    Value* order = maximum ? b.CreateFCmpOGT(y.value, x.value) : b.CreateFCmpOLT(y.value, x.value);
    Value* special = b.CreateAnd(y_nan, b.CreateNot(x_nan));  // NaN wins, the first one
    better = b.CreateOr(order, special);
    same = b.CreateOr(b.CreateFCmpOEQ(x.value, y.value), b.CreateAnd(x_nan, y_nan));
  } else {
    const bool u = dtype == DType::u8 || dtype == DType::boolean;
    using P = llvm::CmpInst;
    better = b.CreateICmp(maximum ? (u ? P::ICMP_UGT : P::ICMP_SGT) : (u ? P::ICMP_ULT : P::ICMP_SLT), y.value, x.value);
    same = b.CreateICmpEQ(x.value, y.value);
  }
  Value* earlier = b.CreateAnd(same, b.CreateICmpSLT(y.position, x.position));
  Value* first = b.CreateICmpSLT(x.position, none);
  Value* win = b.CreateAnd(b.CreateOr(b.CreateOr(better, earlier), first), b.CreateICmpSGE(y.position, none));
  return {b.CreateSelect(win, y.value, x.value), b.CreateSelect(win, y.position, x.position)};
}

Accumulator combine_ascending(Builder& b, Reducer reducer, DType dtype, Accumulator x, Accumulator y) {
  const bool maximum = reducer == Reducer::argmax;
  Value* win;
  if (is_float(dtype)) {
    // Better or NaN, unless x is NaN already.
    Value* order = maximum ? b.CreateFCmpUGT(y.value, x.value) : b.CreateFCmpULT(y.value, x.value);
    win = b.CreateAnd(order, b.CreateFCmpORD(x.value, x.value));
  } else {
    const bool u = dtype == DType::u8 || dtype == DType::boolean;
    using P = llvm::CmpInst;
    win = b.CreateICmp(maximum ? (u ? P::ICMP_UGT : P::ICMP_SGT) : (u ? P::ICMP_ULT : P::ICMP_SLT), y.value, x.value);
  }
  return {b.CreateSelect(win, y.value, x.value), b.CreateSelect(win, y.position, x.position)};
}

namespace {
Value* rotated(Builder& b, Value* x, int lanes, int by) {
  std::vector<int> mask;
  for (int i = 0; i < lanes; ++i) mask.push_back(((i - by) % lanes + lanes) % lanes);
  return b.CreateShuffleVector(x, mask);
}
/// The upper half of the first `n` lanes moved down; nobody looks at the other lanes.
Value* folded(Builder& b, Value* x, int lanes, int n) {
  std::vector<int> mask;
  for (int i = 0; i < lanes; ++i) mask.push_back(i < n / 2 ? i + n / 2 : llvm::PoisonMaskElem);
  return b.CreateShuffleVector(x, mask);
}
}  // namespace

Accumulator horizontal(Builder& b, Reducer reducer, DType dtype, Accumulator x) {
  const int lanes = static_cast<int>(lanes_of(x.value->getType()));
  if (lanes == 1) return x;
  if (reducer == Reducer::any) return {b.CreateOrReduce(x.value), nullptr};
  if (reducer == Reducer::all) return {b.CreateAndReduce(x.value), nullptr};
  for (int n = lanes; n > 1; n /= 2) {
    const Accumulator other{folded(b, x.value, lanes, n), x.position ? folded(b, x.position, lanes, n) : nullptr};
    x = combine(b, reducer, dtype, x, other);
  }
  return {b.CreateExtractElement(x.value, b.getInt64(0)), x.position ? b.CreateExtractElement(x.position, b.getInt64(0)) : nullptr};
}

Value* prefix(Builder& b, Reducer reducer, DType dtype, Value* x) {
  const int lanes = static_cast<int>(lanes_of(x->getType()));
  for (int by = 1; by < lanes; by *= 2) {
    Value* moved = rotated(b, x, lanes, by);
    Value* next = combine(b, reducer, dtype, {moved, nullptr}, {x, nullptr}).value;
    std::vector<llvm::Constant*> take;
    for (int i = 0; i < lanes; ++i) take.push_back(b.getInt1(i >= by));
    x = b.CreateSelect(llvm::ConstantVector::get(take), next, x);
  }
  return x;
}

}  // namespace quern::cpu
