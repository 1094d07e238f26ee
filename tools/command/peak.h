// What this machine's arithmetic can do at best, measured now: a loop of independent fused multiply-adds on the widest
// vectors the processor has. Speeds are given as a share of it, so a slow clock or a busy machine does not distort them.
#pragma once

#include <string>

namespace quern::command {

struct Peak {
  double gflops = 0;       // of all threads together; a multiply-add counts two
  std::string instructions;  // "avx512 fma f32"
};

/// Best of several repeats on `threads` threads, each bound to a processor of its own. Takes about 0.1 s.
Peak measure_peak(bool double_precision, int threads);

/// Threads this process may use: its processor affinity.
int usable_threads();

/// Seconds on a steady clock.
double now();

}  // namespace quern::command
