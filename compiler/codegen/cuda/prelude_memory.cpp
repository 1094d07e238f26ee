// Prelude: what threads share. Reports of failed checks, values passed between lanes; atomics on every stored type.
#include "compiler/codegen/cuda/prelude.h"

namespace quern::cuda::device {

std::string_view threads() {
  return R"(// As cpu::Status. The first failed check of a launch wins; its fields are complete when `state` is 2.
struct quern_status {
  i32 state;
  u32 tensor;
  i32 axis;
  u32 source;
  i64 value;
  i64 extent;
  i64 position[8];
  i32 rank;
  i32 reserved;
};
template <class... Position>
__device__ __noinline__ void quern_report(quern_status* s, u32 tensor, i32 axis, i64 value, i64 extent, u32 source, i32 rank, Position... position) {
  if (*(volatile i32*)&s->state != 0 || atomicCAS(&s->state, 0, 1) != 0) return;
  const i64 at[sizeof...(position) + 1] = {i64(position)..., 0};
  s->tensor = tensor;
  s->axis = axis;
  s->source = source;
  s->value = value;
  s->extent = extent;
  for (int k = 0; k < int(sizeof...(position)) && k < 8; ++k) s->position[k] = at[k];
  s->rank = rank;
  __threadfence();
  atomicExch(&s->state, 2);
}

// Between the lanes of a full warp; any value type.
template <class T> QUERN_INLINE T shuffle(T x, int lane) { return T(__shfl_sync(0xffffffffu, x, lane)); }
template <class T> QUERN_INLINE T shuffle_xor(T x, int mask) { return T(__shfl_xor_sync(0xffffffffu, x, mask)); }
template <class T> QUERN_INLINE T shuffle_up(T x, int distance) { return T(__shfl_up_sync(0xffffffffu, x, distance)); }
template <class T> QUERN_INLINE T shuffle_down(T x, int distance) { return T(__shfl_down_sync(0xffffffffu, x, distance)); }

)";
}

std::string_view atomics() {
  return R"(// `next` maps the value there to the new one; nothing is written where they are the same.
template <class Word, class Next>
QUERN_INLINE void atomic_update(Word* at, Next next) {
  Word seen = *(volatile Word*)at;
  for (;;) {
    const Word wanted = next(seen);
    if (wanted == seen) return;
    const Word was = atomicCAS(at, seen, wanted);
    if (was == seen) return;
    seen = was;
  }
}
// The same for 1 or 2 bytes, inside the aligned word that holds them.
template <class Part, class Next>
QUERN_INLINE void atomic_update_part(Part* at, Next next) {
  const u64 address = (u64)at;
  const u32 shift = u32(address & 3u) * 8u, mask = sizeof(Part) == 1 ? 0xffu : 0xffffu;
  atomic_update((u32*)(address & ~3ull), [=](u32 word) {
    const u32 part = u32(next(Part(word >> shift))) & mask;
    return (word & ~(mask << shift)) | part << shift;
  });
}

QUERN_INLINE void atomic_add_f32(float* at, float x) { atomicAdd(at, x); }
QUERN_INLINE void atomic_add_f64(double* at, double x) { atomicAdd(at, x); }
QUERN_INLINE void atomic_add_i64(i64* at, i64 x) { atomicAdd((u64*)at, u64(x)); }
QUERN_INLINE void atomic_add_i32(i32* at, i32 x) { atomicAdd(at, x); }
QUERN_INLINE void atomic_max_i64(i64* at, i64 x) { atomicMax(at, x); }
QUERN_INLINE void atomic_min_i64(i64* at, i64 x) { atomicMin(at, x); }
QUERN_INLINE void atomic_max_i32(i32* at, i32 x) { atomicMax(at, x); }
QUERN_INLINE void atomic_min_i32(i32* at, i32 x) { atomicMin(at, x); }
// NaN wins, so these go through the value.
QUERN_INLINE void atomic_max_f32(float* at, float x) { atomic_update((u32*)at, [=](u32 old) { return __float_as_uint(max_f32(__uint_as_float(old), x)); }); }
QUERN_INLINE void atomic_min_f32(float* at, float x) { atomic_update((u32*)at, [=](u32 old) { return __float_as_uint(min_f32(__uint_as_float(old), x)); }); }
QUERN_INLINE void atomic_max_f64(double* at, double x) { atomic_update((u64*)at, [=](u64 old) { return u64(__double_as_longlong(max_f64(__longlong_as_double(i64(old)), x))); }); }
QUERN_INLINE void atomic_min_f64(double* at, double x) { atomic_update((u64*)at, [=](u64 old) { return u64(__double_as_longlong(min_f64(__longlong_as_double(i64(old)), x))); }); }
#define QUERN_ATOMIC_SMALL_FLOAT(name, stored) \
  QUERN_INLINE void atomic_add_##name(stored* at, float x) { atomic_update_part(at, [=](stored old) { return name##_bits(name##_value(old) + x); }); } \
  QUERN_INLINE void atomic_max_##name(stored* at, float x) { atomic_update_part(at, [=](stored old) { return name##_bits(max_f32(name##_value(old), x)); }); } \
  QUERN_INLINE void atomic_min_##name(stored* at, float x) { atomic_update_part(at, [=](stored old) { return name##_bits(min_f32(name##_value(old), x)); }); }
QUERN_ATOMIC_SMALL_FLOAT(f16, u16)
QUERN_ATOMIC_SMALL_FLOAT(bf16, u16)
QUERN_ATOMIC_SMALL_FLOAT(e4m3, u8)
QUERN_ATOMIC_SMALL_FLOAT(e5m2, u8)
#define QUERN_ATOMIC_NARROW(name, stored) \
  QUERN_INLINE void atomic_add_##name(stored* at, i32 x) { atomic_update_part(at, [=](stored old) { return old + x; }); } \
  QUERN_INLINE void atomic_max_##name(stored* at, i32 x) { atomic_update_part(at, [=](stored old) { return max_i32(old, x); }); } \
  QUERN_INLINE void atomic_min_##name(stored* at, i32 x) { atomic_update_part(at, [=](stored old) { return min_i32(old, x); }); }
QUERN_ATOMIC_NARROW(i16, i16)
QUERN_ATOMIC_NARROW(i8, i8)
QUERN_ATOMIC_NARROW(u8, u8)
QUERN_INLINE void atomic_add_bool(u8* at, bool x) { atomic_update_part(at, [=](u8 old) { return old | u8(x); }); }
QUERN_INLINE void atomic_max_bool(u8* at, bool x) { atomic_add_bool(at, x); }
QUERN_INLINE void atomic_min_bool(u8* at, bool x) { atomic_update_part(at, [=](u8 old) { return old & u8(x); }); }

)";
}

}  // namespace quern::cuda::device
