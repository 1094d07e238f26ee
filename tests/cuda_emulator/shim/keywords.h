// Keywords, indices of threads, shared memory, barriers.
#pragma once

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __cluster_dims__(...)
#define __maxnreg__(...)
#define __grid_constant__
#define __constant__ static
#define __align__(n) __attribute__((aligned(n)))
#define alignas(n) __attribute__((aligned(n)))  // nvcc takes it between other specifiers
// Static shared arrays lie together, so that the emulator can poison them before every block.
#define __shared__ static __attribute__((section("quern_shared"), used))

#define threadIdx (quern_machine->thread)
#define blockIdx (quern_machine->block)
#define blockDim (quern_machine->block_size)
#define gridDim (quern_machine->grid_size)
#define warpSize 32

#define __builtin_assume(...) ((void)0)
#define __assume(...) ((void)0)

namespace quern_emulated {

__shared__ unsigned char first_of_static_shared[16] __attribute__((aligned(16)));

/// `extern __shared__ T name[];` is rewritten to `T* const name = DynamicShared();`.
struct DynamicShared {
  template <class T>
  operator T*() const {
    if (!quern_machine) {
      quern_namespace_scope = 1;
      return nullptr;
    }
    return reinterpret_cast<T*>(quern_machine->dynamic_shared);
  }
};

// An entry: one parameter, by value.
template <class P>
inline void call(void (*kernel)(P), const void* parameter) {
  kernel(*static_cast<const P*>(parameter));
}
template <class P>
constexpr unsigned long parameter_bytes(void (*)(P)) {
  return sizeof(P);
}

/// The address of shared memory as 32 bits.
inline unsigned shared_address(const void* p, int line) {
  const auto at = reinterpret_cast<unsigned long>(p);
  const auto dynamic = reinterpret_cast<unsigned long>(quern_machine->dynamic_shared);
  const auto fixed = reinterpret_cast<unsigned long>(quern_machine->static_shared);
  if (at - dynamic <= quern_machine->dynamic_bytes) return static_cast<unsigned>(quern_machine->dynamic_address + (at - dynamic));
  if (at - fixed < quern_machine->static_bytes) return static_cast<unsigned>(kStaticWindow + (at - fixed));
  quern_emulated::fail("the shared address of something that is not in shared memory", line);
}

/// `bytes` of shared memory at a 32-bit address.
inline unsigned char* shared_memory(unsigned address, unsigned bytes, unsigned alignment, int line) {
  if (address % alignment != 0) quern_emulated::fail("a shared address is not aligned", line);
  if (unsigned char* p = shared_at(*quern_machine, address, bytes)) return p;
  quern_emulated::fail("a shared address outside of shared memory", line);
}

}  // namespace quern_emulated

extern "C" {
extern unsigned char __start_quern_shared[] __attribute__((visibility("hidden")));
extern unsigned char __stop_quern_shared[] __attribute__((visibility("hidden")));
__attribute__((visibility("default"))) void* quern_static_shared() { return __start_quern_shared; }
__attribute__((visibility("default"))) unsigned long quern_static_bytes() { return static_cast<unsigned long>(__stop_quern_shared - __start_quern_shared); }
}

inline void __syncthreads(int line = __builtin_LINE()) { quern_machine->wait(quern_machine, "__syncthreads", 0, 0, 0, line); }
inline int __syncthreads_count(int predicate, int line = __builtin_LINE()) {
  return quern_machine->wait(quern_machine, "__syncthreads_count", 0, 0, predicate, line).count;
}
inline int __syncthreads_or(int predicate, int line = __builtin_LINE()) {
  return quern_machine->wait(quern_machine, "__syncthreads_or", 0, 0, predicate, line).count != 0;
}
inline int __syncthreads_and(int predicate, int line = __builtin_LINE()) {
  const quern_emulated::Barrier b = quern_machine->wait(quern_machine, "__syncthreads_and", 0, 0, predicate, line);
  return b.count == b.threads;
}
/// bar.sync id, threads and bar.arrive id, threads.
inline void quern_barrier_sync(int id, int threads, int line = __builtin_LINE()) { quern_machine->wait(quern_machine, "bar.sync", id, threads, 0, line); }
inline void quern_barrier_arrive(int id, int threads, int line = __builtin_LINE()) { quern_machine->arrive(quern_machine, id, threads, line); }

inline void __threadfence() {}
inline void __threadfence_block() {}
inline void __threadfence_system() {}
inline void __nanosleep(unsigned, int line = __builtin_LINE()) { quern_machine->yield(quern_machine, line); }
[[noreturn]] inline void __trap(int line = __builtin_LINE()) { quern_emulated::fail("__trap", line); }
inline long long clock64() { return quern_machine->clock; }
inline int clock() { return static_cast<int>(quern_machine->clock); }

inline unsigned quern_shared_address(const void* p, int line = __builtin_LINE()) { return quern_emulated::shared_address(p, line); }
inline size_t __cvta_generic_to_shared(const void* p, int line = __builtin_LINE()) { return quern_emulated::shared_address(p, line); }
inline size_t __cvta_generic_to_global(const void* p) { return reinterpret_cast<size_t>(p); }
