// Prelude: names of types, and all inline PTX. Everything here exists from sm_80 on; what needs more stands under
// __CUDA_ARCH__ with arithmetic for the rest.
#include "compiler/codegen/cuda/prelude.h"

namespace quern::cuda::device {

std::string_view types() {
  return R"(typedef long long i64;
typedef unsigned long long u64;
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;
typedef signed char i8;
typedef short i16;
typedef int i32;
#define QUERN_INLINE __device__ __forceinline__

)";
}

std::string_view instructions() {
  return R"(// 2^x, subnormal results kept: relative error below 2^-22; ex2(0) = 1, ex2(-inf) = 0.
QUERN_INLINE float ex2(float x) { float y; asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
// The same in one instruction: results below 2^-126 become 0.
QUERN_INLINE float ex2_flushed(float x) { float y; asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
// 1/x for normal x and 1/x: within 1 ulp.
QUERN_INLINE float reciprocal(float x) { float y; asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x)); return y; }
// NaN wins, +0 is above -0.
QUERN_INLINE float max_f32(float x, float y) { float z; asm("max.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y)); return z; }
QUERN_INLINE float min_f32(float x, float y) { float z; asm("min.NaN.f32 %0, %1, %2;" : "=f"(z) : "f"(x), "f"(y)); return z; }
QUERN_INLINE u16 f16_bits(float x) { u16 y; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(y) : "f"(x)); return y; }
QUERN_INLINE float f16_value(u16 x) { float y; asm("cvt.f32.f16 %0, %1;" : "=f"(y) : "h"(x)); return y; }
QUERN_INLINE u16 bf16_bits(float x) { u16 y; asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x)); return y; }
// Two at once, `low` in the low half.
QUERN_INLINE u32 f16x2_bits(float low, float high) { u32 y; asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low)); return y; }
QUERN_INLINE u32 bf16x2_bits(float low, float high) { u32 y; asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low)); return y; }
#if __CUDA_ARCH__ >= 900 || (__CUDA_ARCH__ >= 890 && __CUDACC_VER_MAJOR__ * 10 + __CUDACC_VER_MINOR__ >= 121)  // sm_89 only from CUDA 12.1 on
#define QUERN_FP8_INSTRUCTIONS 1
QUERN_INLINE u16 e4m3x2_bits(float low, float high) { u16 y; asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(y) : "f"(high), "f"(low)); return y; }
QUERN_INLINE u16 e5m2x2_bits(float low, float high) { u16 y; asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(y) : "f"(high), "f"(low)); return y; }
QUERN_INLINE u32 f16x2_of_e4m3x2(u16 x) { u32 y; asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(y) : "h"(x)); return y; }
#endif

)";
}

}  // namespace quern::cuda::device
