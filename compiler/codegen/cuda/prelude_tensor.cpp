// The PTX behind tensor-core products, fragments from shared memory, cp.async and named barriers; sm_80 and later.
//
// What lane l holds, g = l / 4, q = l % 4 (rows x columns; two 16-bit values to a register, the lower column low):
//   a of m16n8k16: a0 (g, 2q..), a1 (g + 8, 2q..), a2 (g, 2q + 8..), a3 (g + 8, 2q + 8..)
//   b, k x n:      b0 (2q.., g), b1 (2q + 8.., g)
//   d:             d0 d1 (g, 2q..), d2 d3 (g + 8, 2q..): two products side by side are the `a` of a next one
//   tf32 m16n8k8:  a0 (g, q), a1 (g + 8, q), a2 (g, q + 4), a3 (g + 8, q + 4); b0 (q, g), b1 (q + 4, g)
//   ldmatrix:      lanes 8i .. 8i + 7 give the rows (16 bytes) of 8 x 8 matrix i; lane l gets (g, 2q..) of each, with
//                  _trans (2q.., g)
#include "compiler/codegen/cuda/prelude_tensor.h"

namespace quern::cuda {

std::string tensor_prelude() {
  return R"(#ifndef QUERN_EMULATED
// d += a b. Warp-wide, all lanes.
__device__ __forceinline__ void quern_mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ void quern_mma_f16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// The low 13 bits of a and b are not read: round with quern_tf32_bits first.
__device__ __forceinline__ void quern_mma_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
// To nearest, ties away from zero.
__device__ __forceinline__ unsigned quern_tf32_bits(float x) { unsigned y; asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(y) : "f"(x)); return y; }

__device__ __forceinline__ unsigned quern_shared_address(const void* p) { return (unsigned)__cvta_generic_to_shared(p); }

__device__ __forceinline__ void quern_ldmatrix_x4(unsigned (&r)[4], unsigned shared_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address) : "memory");
}
__device__ __forceinline__ void quern_ldmatrix_x4_trans(unsigned (&r)[4], unsigned shared_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3]) : "r"(shared_address) : "memory");
}
__device__ __forceinline__ void quern_ldmatrix_x2(unsigned (&r)[2], unsigned shared_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address) : "memory");
}
__device__ __forceinline__ void quern_ldmatrix_x2_trans(unsigned (&r)[2], unsigned shared_address) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];" : "=r"(r[0]), "=r"(r[1]) : "r"(shared_address) : "memory");
}

// Of 8 x 8 values of 16 bits, lane l holds (g, 2q..) before and (2q.., g) after. Warp-wide, all lanes.
__device__ __forceinline__ unsigned quern_transposed(unsigned x) {
  unsigned y;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(y) : "r"(x));
  return y;
}

// 16 bytes of shared memory: the first `bytes` from global memory, the rest 0. Both addresses are multiples of 16.
// Nothing there may be read before quern_cp_async_wait of this thread, nor by others before a barrier after it.
__device__ __forceinline__ void quern_cp_async_16(unsigned shared_address, const void* global, int bytes) {
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" : : "r"(shared_address), "l"(__cvta_generic_to_global(global)), "r"(bytes) : "memory");
}
__device__ __forceinline__ void quern_cp_async_commit() { asm volatile("cp.async.commit_group;" : : : "memory"); }
// All groups but the N newest have arrived.
template <int N>
__device__ __forceinline__ void quern_cp_async_wait() { asm volatile("cp.async.wait_group %0;" : : "n"(N) : "memory"); }

// Barriers 1 to 15 of some warps: `threads` counts those that wait and those that only arrive.
__device__ __forceinline__ void quern_barrier_sync(int id, int threads) { asm volatile("bar.sync %0, %1;" : : "r"(id), "r"(threads) : "memory"); }
__device__ __forceinline__ void quern_barrier_arrive(int id, int threads) { asm volatile("bar.arrive %0, %1;" : : "r"(id), "r"(threads) : "memory"); }
#endif

// x as the sum of two numbers of 11 bits, as far as those reach: what infinity leaves is 0.
__device__ __forceinline__ unsigned quern_tf32_upper(float x) { return __float_as_uint(x) & 0xffffe000u; }
__device__ __forceinline__ unsigned quern_tf32_rest(float x, unsigned upper) {
  const float rest = x - __uint_as_float(upper);
  return x == __uint_as_float(upper) ? 0u : quern_tf32_bits(rest);
}
)";
}

}  // namespace quern::cuda
