// The peak loop. Written as assembly, because a compiler may fold, reorder or spill what looks useless to it; chosen at
// run time by what the processor says it has.
#include "tools/command/peak.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace quern::command {
namespace {

using Loop = void (*)(long rounds);

struct Kind {
  Loop run;
  int flops_per_round;
  const char* name;
};

#if defined(__x86_64__)

// Twelve accumulators hide the latency (4 cycles x 2 ports = 8) within the 16 registers of AVX2; 24 with AVX-512.
#define TWELVE(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7) F(8) F(9) F(10) F(11)
#define TWELVE_MORE(F) F(12) F(13) F(14) F(15) F(16) F(17) F(18) F(19) F(20) F(21) F(22) F(23)
#define LOW_REGISTERS                                                                                           \
  "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12",   \
      "xmm13", "xmm14", "xmm15"
#define HIGH_REGISTERS "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm30", "xmm31"

#define CLEAR_ZMM(i) "vpxord %%zmm" #i ", %%zmm" #i ", %%zmm" #i "\n"
#define F32_ZMM(i) "vfmadd231ps %%zmm30, %%zmm31, %%zmm" #i "\n"
#define F64_ZMM(i) "vfmadd231pd %%zmm30, %%zmm31, %%zmm" #i "\n"
#define CLEAR_YMM(i) "vxorps %%ymm" #i ", %%ymm" #i ", %%ymm" #i "\n"
#define F32_YMM(i) "vfmadd231ps %%ymm14, %%ymm15, %%ymm" #i "\n"
#define F64_YMM(i) "vfmadd231pd %%ymm14, %%ymm15, %%ymm" #i "\n"
#define CLEAR_XMM(i) "xorps %%xmm" #i ", %%xmm" #i "\n"
#define F32_XMM(i) "mulps %%xmm14, %%xmm15\n addps %%xmm14, %%xmm" #i "\n"
#define F64_XMM(i) "mulpd %%xmm14, %%xmm15\n addpd %%xmm14, %%xmm" #i "\n"

#define LOOP_512(NAME, OP)                                                                                      \
  __attribute__((target("avx512f"))) void NAME(long rounds) {                                                   \
    asm volatile(TWELVE(CLEAR_ZMM) TWELVE_MORE(CLEAR_ZMM) CLEAR_ZMM(30) CLEAR_ZMM(31)                           \
                 "1:\n" TWELVE(OP) TWELVE_MORE(OP) "dec %0\n jnz 1b\n vzeroupper\n"                             \
                 : "+r"(rounds)                                                                                 \
                 :                                                                                              \
                 : LOW_REGISTERS, HIGH_REGISTERS, "cc");                                                        \
  }
#define LOOP_LOW(NAME, FEATURES, CLEAR, OP, LAST)                                                               \
  FEATURES void NAME(long rounds) {                                                                             \
    asm volatile(TWELVE(CLEAR) CLEAR(14) CLEAR(15) "1:\n" TWELVE(OP) TWELVE(OP) "dec %0\n jnz 1b\n" LAST        \
                 : "+r"(rounds)                                                                                 \
                 :                                                                                              \
                 : LOW_REGISTERS, "cc");                                                                        \
  }

LOOP_512(f32_avx512, F32_ZMM)
LOOP_512(f64_avx512, F64_ZMM)
LOOP_LOW(f32_avx2, __attribute__((target("avx2,fma"))), CLEAR_YMM, F32_YMM, "vzeroupper\n")
LOOP_LOW(f64_avx2, __attribute__((target("avx2,fma"))), CLEAR_YMM, F64_YMM, "vzeroupper\n")
LOOP_LOW(f32_sse, , CLEAR_XMM, F32_XMM, "")
LOOP_LOW(f64_sse, , CLEAR_XMM, F64_XMM, "")

Kind kind_of(bool f64) {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f")) {
    return f64 ? Kind{f64_avx512, 24 * 16, "avx512 fma f64"} : Kind{f32_avx512, 24 * 32, "avx512 fma f32"};
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return f64 ? Kind{f64_avx2, 24 * 8, "avx2 fma f64"} : Kind{f32_avx2, 24 * 16, "avx2 fma f32"};
  }
  return f64 ? Kind{f64_sse, 24 * 4, "sse2 multiply, add f64"} : Kind{f32_sse, 24 * 8, "sse2 multiply, add f32"};
}

#else

// Elsewhere: what the compiler makes of vectors of 16 bytes.
template <class Real>
void generic(long rounds) {
  typedef Real Vector __attribute__((vector_size(16)));
  Vector sums[12] = {}, a = {}, b = {};
  asm volatile("" : "+w"(a), "+w"(b));
  for (long r = 0; r < rounds; ++r) {
    for (Vector& sum : sums) sum += a * b;
    for (Vector& sum : sums) asm volatile("" : "+w"(sum));
  }
}

Kind kind_of(bool f64) {
  return f64 ? Kind{generic<double>, 12 * 4, "vector multiply-add f64"} : Kind{generic<float>, 12 * 8, "vector multiply-add f32"};
}

#endif

std::vector<int> allowed_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> result;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int i = 0; i < CPU_SETSIZE; ++i) {
      if (CPU_ISSET(i, &set)) result.push_back(i);
    }
  }
  if (result.empty()) result.push_back(0);
  return result;
}

}  // namespace

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int usable_threads() { return static_cast<int>(allowed_processors().size()); }

Peak measure_peak(bool double_precision, int threads) {
  const Kind kind = kind_of(double_precision);
  const std::vector<int> processors = allowed_processors();
  constexpr int kRepeats = 6;
  constexpr long kRounds = 150000;  // about 2 ms
  std::atomic<int> arrived{0};
  std::vector<double> seconds(static_cast<std::size_t>(threads) * kRepeats);
  const auto work = [&](int thread) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processors[static_cast<std::size_t>(thread) % processors.size()], &set);
    sched_setaffinity(0, sizeof set, &set);
    kind.run(kRounds * 4);  // to full clock
    for (int r = 0; r < kRepeats; ++r) {
      arrived.fetch_add(1);
      while (arrived.load() < (r + 1) * threads) std::this_thread::yield();
      const double start = now();
      kind.run(kRounds * 4);
      seconds[static_cast<std::size_t>(thread * kRepeats + r)] = now() - start;
    }
  };
  std::vector<std::thread> others;
  for (int t = 0; t < threads; ++t) others.emplace_back(work, t);
  for (std::thread& t : others) t.join();

  double best = 0;
  for (int r = 0; r < kRepeats; ++r) {
    double slowest = 0;
    for (int t = 0; t < threads; ++t) slowest = std::max(slowest, seconds[static_cast<std::size_t>(t * kRepeats + r)]);
    best = std::max(best, static_cast<double>(threads) * kind.flops_per_round * kRounds * 4 / slowest * 1e-9);
  }
  return {best, kind.name};
}

}  // namespace quern::command
