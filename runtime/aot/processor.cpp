// See processor.h. The compiler's own tables know each level and ask the system whether it keeps the wide registers.
#include "runtime/aot/processor.h"

namespace quern::runtime::aot {

int level_named(std::string_view name) {
  constexpr std::string_view prefix = "x86-64-v";
  if (name.size() != prefix.size() + 1 || !name.starts_with(prefix)) return 0;
  const int level = name.back() - '0';
  return level >= 2 && level <= 4 ? level : 0;
}

namespace {

int find_level() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const auto v3 = [] {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("lzcnt") && __builtin_cpu_supports("movbe");
  };
  const auto v4 = [] {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  };
  if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt")) return 1;
  return !v3() ? 2 : !v4() ? 3 : 4;
#else
  return 0;
#endif
}

}  // namespace

int level_of_processor() {
  static const int level = find_level();
  return level;
}

}  // namespace quern::runtime::aot
