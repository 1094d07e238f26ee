// Conversions between element types: in, a computed or stored value; out, the other. f16 uses F16C where it exists; the
// rest is integer arithmetic on the bits, one routine for all small floats, so that every machine gives the same bits.
#include "compiler/codegen/cpu/types.h"

#include <llvm/IR/Intrinsics.h>

#include <cmath>

namespace quern::cpu {

using llvm::Type;
using llvm::Value;

Type* register_type(llvm::LLVMContext& c, DType type) {
  switch (type) {
    case DType::f64: return Type::getDoubleTy(c);
    case DType::f32:
    case DType::f16:
    case DType::bf16:
    case DType::e4m3:
    case DType::e5m2: return Type::getFloatTy(c);
    case DType::i64: return Type::getInt64Ty(c);
    case DType::i32: return Type::getInt32Ty(c);
    case DType::i16: return Type::getInt16Ty(c);
    case DType::i8:
    case DType::u8: return Type::getInt8Ty(c);
    case DType::boolean: return Type::getInt1Ty(c);
  }
  return nullptr;
}

Type* memory_type(llvm::LLVMContext& c, DType type) {
  switch (type) {
    case DType::f16:
    case DType::bf16: return Type::getInt16Ty(c);
    case DType::e4m3:
    case DType::e5m2:
    case DType::boolean: return Type::getInt8Ty(c);
    default: return register_type(c, type);
  }
}

Type* shaped_like(Type* element, Type* like) {
  if (auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(like)) {
    return llvm::FixedVectorType::get(element, vector->getNumElements());
  }
  return element;
}

unsigned lanes_of(Type* type) {
  auto* vector = llvm::dyn_cast<llvm::FixedVectorType>(type);
  return vector ? vector->getNumElements() : 1;
}

namespace {

struct SmallFloat {
  int mantissa, lowest;             // smallest normal 2^lowest
  unsigned largest, beyond, nan;    // bits without sign
};
SmallFloat layout(DType type) {
  switch (type) {
    case DType::f16: return {10, -14, 0x7BFF, 0x7C00, 0x7E00};
    case DType::bf16: return {7, -126, 0x7F7F, 0x7F80, 0x7FC0};
    case DType::e4m3: return {3, -6, 0x7E, 0x7E, 0x7F};
    default: return {2, -14, 0x7B, 0x7B, 0x7E};
  }
}
int bits_of(DType type) { return type == DType::f16 || type == DType::bf16 ? 16 : 8; }

struct Words {  // i32 arithmetic of the width of one value
  Builder& b;
  Type* i32;
  Type* f32;
  Words(Builder& builder, Type* like)
      : b(builder), i32(shaped_like(builder.getInt32Ty(), like)), f32(shaped_like(builder.getFloatTy(), like)) {}
  Value* n(std::uint32_t v) const { return llvm::ConstantInt::get(i32, v); }
  Value* f(double v) const { return llvm::ConstantFP::get(f32, v); }
  Value* bits(Value* v) const { return b.CreateBitCast(v, i32); }
  Value* real(Value* v) const { return b.CreateBitCast(v, f32); }
};

/// f32 value to the bits of a small float, in an i32.
Value* encode(Builder& b, Value* value, DType type) {
  const SmallFloat f = layout(type);
  const Words w(b, value->getType());
  const int width = bits_of(type);
  Value* bits = w.bits(value);
  Value* sign = b.CreateAnd(b.CreateLShr(bits, w.n(32 - width)), w.n(1u << (width - 1)));
  Value* magnitude = b.CreateAnd(bits, w.n(0x7FFFFFFF));
  const int drop = 23 - f.mantissa;
  // Normal range: add half an ulp of the target minus one, plus the lowest kept bit; the carry moves the exponent.
  Value* odd = b.CreateAnd(b.CreateLShr(magnitude, w.n(drop)), w.n(1));
  Value* rounded = b.CreateLShr(b.CreateAdd(magnitude, b.CreateAdd(odd, w.n((1u << (drop - 1)) - 1))), w.n(drop));
  Value* result = b.CreateSub(rounded, w.n(static_cast<std::uint32_t>(f.lowest + 126) << f.mantissa));
  if (f.lowest > -126) {
    // Subnormals: adding 2^(lowest - mantissa + 23) rounds to its unit in the low bits of the sum.
    const double anchor = std::ldexp(1.0, f.lowest - f.mantissa + 23);
    Value* sum = b.CreateFAdd(w.real(magnitude), w.f(anchor));
    Value* small = b.CreateSub(w.bits(sum), w.bits(w.f(anchor)));
    Value* is_small = b.CreateICmpULT(magnitude, w.n(static_cast<std::uint32_t>(f.lowest + 127) << 23));
    result = b.CreateSelect(is_small, small, result);
  }
  result = b.CreateSelect(b.CreateICmpUGT(result, w.n(f.largest)), w.n(f.beyond), result);
  result = b.CreateSelect(b.CreateICmpUGT(magnitude, w.n(0x7F800000)), w.n(f.nan), result);
  return b.CreateOr(result, sign);
}

/// Bits in an i32 to f32.
Value* decode(Builder& b, Value* bits, DType type) {
  const SmallFloat f = layout(type);
  const Words w(b, bits->getType());
  const int width = bits_of(type);
  Value* sign = b.CreateShl(b.CreateAnd(bits, w.n(1u << (width - 1))), w.n(32 - width));
  Value* magnitude = b.CreateAnd(bits, w.n((1u << (width - 1)) - 1));
  // The same exponent and mantissa fields read as an f32 with a bias of its own; one exact product sets it right,
  // subnormals included (their f32 image is subnormal, which the product keeps exact).
  Value* image = w.real(b.CreateShl(magnitude, w.n(23 - f.mantissa)));
  Value* value = b.CreateFMul(image, w.f(std::ldexp(1.0, 126 + f.lowest)));
  Value* special = b.CreateICmpUGT(magnitude, w.n(f.largest));
  const unsigned infinity = f.largest + 1;
  Value* nan = llvm::ConstantInt::get(w.i32, 0x7FC00000);
  Value* what = infinity == f.nan ? nan : b.CreateSelect(b.CreateICmpEQ(magnitude, w.n(infinity)), w.n(0x7F800000), nan);
  Value* out = b.CreateSelect(special, what, w.bits(value));
  return w.real(b.CreateOr(out, sign));
}

/// f64 to f32 rounding to odd, so that a second rounding to a small float is the only one that counts.
Value* to_f32_odd(Builder& b, Value* value) {
  const Words w(b, value->getType());
  Value* rounded = b.CreateFPTrunc(value, w.f32);
  Value* back = b.CreateFPExt(rounded, value->getType());
  Value* bits = w.bits(rounded);
  Value* inexact = b.CreateFCmpONE(back, value);
  Value* away = b.CreateFCmpOGT(b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, back),
                                b.CreateUnaryIntrinsic(llvm::Intrinsic::fabs, value));
  Value* toward = b.CreateSelect(away, b.CreateSub(bits, w.n(1)), bits);
  // An infinite f64 compares equal to its image, so only finite values reach here.
  return w.real(b.CreateSelect(inexact, b.CreateOr(toward, w.n(1)), bits));
}

}  // namespace

Value* widen_stored(Builder& b, const Target& target, Value* stored, DType type) {
  Type* like = stored->getType();
  switch (type) {
    case DType::f16:
      if (target.f16c) {
        return b.CreateFPExt(b.CreateBitCast(stored, shaped_like(b.getHalfTy(), like)), shaped_like(b.getFloatTy(), like));
      }
      return decode(b, b.CreateZExt(stored, shaped_like(b.getInt32Ty(), like)), type);
    case DType::bf16: {
      Value* bits = b.CreateShl(b.CreateZExt(stored, shaped_like(b.getInt32Ty(), like)), 16);
      return b.CreateBitCast(bits, shaped_like(b.getFloatTy(), like));
    }
    case DType::e4m3:
    case DType::e5m2: return decode(b, b.CreateZExt(stored, shaped_like(b.getInt32Ty(), like)), type);
    case DType::boolean: return b.CreateICmpNE(stored, llvm::Constant::getNullValue(like));
    default: return stored;
  }
}

Value* narrow_to_stored(Builder& b, const Target& target, Value* value, DType from, DType to) {
  if (is_small_float(to)) {
    if (is_small_float(from)) from = DType::f32;
    if (from != DType::f32) {
      if (from == DType::i64 || from == DType::i32) {
        value = convert(b, target, value, from, DType::f64);
        from = DType::f64;
      } else if (from != DType::f64) {
        value = convert(b, target, value, from, DType::f32);
      }
      if (from == DType::f64) value = to_f32_odd(b, value);
    }
    Type* like = value->getType();
    if (to == DType::f16 && target.f16c) {
      return b.CreateBitCast(b.CreateFPTrunc(value, shaped_like(b.getHalfTy(), like)), shaped_like(b.getInt16Ty(), like));
    }
    Type* stored = shaped_like(memory_type(b.getContext(), to), like);
    return b.CreateTrunc(encode(b, value, to), stored);
  }
  value = convert(b, target, value, from, to);
  if (to == DType::boolean) return b.CreateZExt(value, shaped_like(b.getInt8Ty(), value->getType()));
  return value;
}

Value* convert(Builder& b, const Target& target, Value* value, DType from, DType to) {
  if (from == to) return value;
  Type* out = shaped_like(register_type(b.getContext(), to), value->getType());
  if (is_small_float(to)) return widen_stored(b, target, narrow_to_stored(b, target, value, from, to), to);
  if (is_small_float(from)) from = DType::f32;
  if (from == to) return value;
  const bool is_unsigned = from == DType::u8 || from == DType::boolean;
  if (is_float(from)) {
    if (is_float(to)) return b.CreateFPCast(value, out);
    if (to == DType::boolean) return b.CreateFCmpUNE(value, llvm::Constant::getNullValue(value->getType()));
    // Saturating, NaN gives 0. Narrow integers go through i32, which LLVM has instructions for.
    if (to == DType::i64 || to == DType::i32) return b.CreateIntrinsic(llvm::Intrinsic::fptosi_sat, {out, value->getType()}, {value});
    Type* wide = shaped_like(b.getInt32Ty(), value->getType());
    Value* i = b.CreateIntrinsic(llvm::Intrinsic::fptosi_sat, {wide, value->getType()}, {value});
    const int low = to == DType::i16 ? -32768 : to == DType::i8 ? -128 : 0;
    const int high = to == DType::i16 ? 32767 : to == DType::i8 ? 127 : 255;
    i = b.CreateBinaryIntrinsic(llvm::Intrinsic::smax, i, llvm::ConstantInt::getSigned(wide, low));
    i = b.CreateBinaryIntrinsic(llvm::Intrinsic::smin, i, llvm::ConstantInt::getSigned(wide, high));
    return b.CreateTrunc(i, out);
  }
  if (is_float(to)) return is_unsigned ? b.CreateUIToFP(value, out) : b.CreateSIToFP(value, out);
  if (to == DType::boolean) return b.CreateICmpNE(value, llvm::Constant::getNullValue(value->getType()));
  return is_unsigned ? b.CreateZExtOrTrunc(value, out) : b.CreateSExtOrTrunc(value, out);
}

}  // namespace quern::cpu
