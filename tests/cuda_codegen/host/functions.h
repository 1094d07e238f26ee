// What the written file exports: one loop per case of cases.h, one update per atomic, and literals beside their values.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quern::cuda::test {

struct HostFunction {
  const char* name;  // of the Case
  void (*run)(const void* x, const void* y, const void* z, void* out, std::int64_t n);
};
struct HostAtomic {
  const char* name;                                 // atomic_add_f32
  void (*run)(void* at, const void* stored_value);
};
struct HostLiteral {
  std::uint64_t wanted, got;  // bits of the stored element
};
extern const HostFunction host_functions[];
extern const std::size_t host_function_count;
extern const HostAtomic host_atomics[];
extern const std::size_t host_atomic_count;
extern const HostLiteral host_literals[];
extern const std::size_t host_literal_count;

}  // namespace quern::cuda::test
