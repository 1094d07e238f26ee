// The PTX behind warp-group products (wgmma), tensor copies (TMA) and memory barriers; sm_90a only.
//
// Products: d (64 x N, f32) += a (64 x 16) b (16 x N) by the four warps of a group, asynchronously. Warp w of the group
// has rows 16w .. 16w + 15, spread over its lanes as in prelude_tensor.cpp: d[i] is the 8-column tile i, a in registers is
// that of mma.m16n8k16. An operand in shared memory is named by a descriptor: the tile lies in pieces of 64 elements
// (128 bytes) a row, its 16-byte units exchanged by the 128-byte swizzle: unit u of row r is at u ^ (r mod 8).
//   transposed = 0: the summed index runs along the 128 bytes, pieces of it follow each other (descriptor + 2 for 16 more)
//   transposed = 1: the other index does; `lead` is the distance in bytes between pieces (descriptor + 128 for 16 more)
// PTX ISA 8.0, sections on wgmma.mma_async, cp.async.bulk.tensor, mbarrier.
#include "compiler/codegen/cuda/prelude_hopper.h"

namespace quern::cuda {
namespace {

constexpr const char* kText = R"(// A tensor map of the driver: opaque, made by the launch.
struct __align__(64) quern_map { unsigned long long at[16]; };
// Names an operand tile in shared memory (128-byte swizzle, groups of 8 rows 1024 bytes apart).
__device__ __forceinline__ unsigned long long quern_operand(unsigned address, unsigned lead) {
  return 1ull << 62 | (unsigned long long)(1024 >> 4) << 32 | (unsigned long long)(lead >> 4) << 16 | (unsigned long long)((address & 0x3ffff) >> 4);
}
// The place of an element in an operand tile of `rows` rows: pieces of 64 columns, 16-byte units swizzled.
__device__ __forceinline__ int quern_swizzled(unsigned rows, unsigned row, unsigned column) { return column / 64 * rows * 64 + row * 64 + ((column / 8 % 8) ^ (row % 8)) * 8 + column % 8; }
#ifndef QUERN_EMULATED
// Memory barriers, by their shared address. A phase ends when `count` threads have arrived and all expected bytes have.
__device__ __forceinline__ void quern_mbarrier_init(unsigned barrier, unsigned count) { asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" : : "r"(barrier), "r"(count) : "memory"); }
__device__ __forceinline__ void quern_mbarrier_init_fence() { asm volatile("fence.mbarrier_init.release.cluster;" : : : "memory"); }
__device__ __forceinline__ void quern_mbarrier_expect(unsigned barrier, unsigned bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" : : "r"(barrier), "r"(bytes) : "memory");
}
__device__ __forceinline__ void quern_mbarrier_arrive(unsigned barrier) { asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" : : "r"(barrier) : "memory"); }
// Until the phase of this parity has ended; a new barrier is in phase 0, before it one of parity 1 has ended.
__device__ __forceinline__ void quern_mbarrier_wait(unsigned barrier, unsigned parity) {
  unsigned done;
  do {
    asm volatile("{.reg .pred p;\n mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n selp.u32 %0, 1, 0, p;}" : "=r"(done) : "r"(barrier), "r"(parity) : "memory");
  } while (!done);
}
// Ordinary writes to shared memory before this are seen by products and tensor copies of whoever is told afterwards.
__device__ __forceinline__ void quern_async_fence() { asm volatile("fence.proxy.async.shared::cta;" : : : "memory"); }

// A box of a tensor to shared memory, swizzled; what lies outside of the tensor comes as zeros and counts as bytes.
__device__ __forceinline__ void quern_tensor_load(unsigned to, const quern_map& map, unsigned barrier, int c0, int c1) {
  asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];"
               : : "r"(to), "l"(&map), "r"(barrier), "r"(c0), "r"(c1) : "memory");
}
__device__ __forceinline__ void quern_tensor_load(unsigned to, const quern_map& map, unsigned barrier, int c0, int c1, int c2) {
  asm volatile("cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], [%2];"
               : : "r"(to), "l"(&map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2) : "memory");
}
__device__ __forceinline__ void quern_tensor_load(unsigned to, const quern_map& map, unsigned barrier, int c0, int c1, int c2, int c3) {
  asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], [%2];"
               : : "r"(to), "l"(&map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3) : "memory");
}
__device__ __forceinline__ void quern_tensor_load(unsigned to, const quern_map& map, unsigned barrier, int c0, int c1, int c2, int c3, int c4) {
  asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, %7}], [%2];"
               : : "r"(to), "l"(&map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4) : "memory");
}

// Four 8 x 8 matrices of 16-bit values to shared memory: lanes 8i .. 8i + 7 give the rows (16 bytes each) of the i-th, whose
// values lanes hold as fragments are held. Warp-wide.
__device__ __forceinline__ void quern_stmatrix_x4(unsigned shared_address, const unsigned (&r)[4]) {
  asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" : : "r"(shared_address), "r"(r[0]), "r"(r[1]), "r"(r[2]), "r"(r[3]) : "memory");
}

// 16 bytes to global memory in one instruction, whatever the compiler knows of the address.
__device__ __forceinline__ void quern_store_16_bytes(void* to, const uint4& x) {
  asm volatile("st.global.v4.b32 [%0], {%1, %2, %3, %4};" : : "l"(to), "r"(x.x), "r"(x.y), "r"(x.z), "r"(x.w) : "memory");
}

// Registers of each thread of a warp group: given back, or taken (waits until they are free).
template <int registers> __device__ __forceinline__ void quern_fewer_registers() { asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" : : "n"(registers)); }
template <int registers> __device__ __forceinline__ void quern_more_registers() { asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" : : "n"(registers)); }

// Products of a warp group: fence, products, commit; sums and factors in registers are not touched before the wait.
__device__ __forceinline__ void quern_wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" : : : "memory"); }
__device__ __forceinline__ void quern_wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" : : : "memory"); }
// All groups of products but the N newest are done.
template <int N> __device__ __forceinline__ void quern_wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" : : "n"(N) : "memory"); }
// Arithmetic on sums stays behind the wait that makes them valid.
template <int N> __device__ __forceinline__ void quern_wgmma_pin(float (&d)[N][4]) {
#pragma unroll
  for (int i = 0; i < N; ++i)
#pragma unroll
    for (int k = 0; k < 4; ++k) asm volatile("" : "+f"(d[i][k]) : : "memory");
}
#endif
)";

}  // namespace

std::string_view hopper_prelude() { return kText; }

}  // namespace quern::cuda
