// How long a call takes: median and best of many, in batches long enough for the clock. The one idea: a batch is at least
// 20 microseconds of calls, so that reading the clock costs nothing that shows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "tools/command/peak.h"

namespace quern::command {

struct Timing {
  double median = 0, best = 0;  // seconds per call
  std::int64_t calls = 0;
};

/// Calls for about `seconds`, at least five times.
template <class Call>
Timing time_calls(Call&& call, double seconds) {
  double start = now();
  call();
  double once = now() - start;
  // The first call may have been slow for other reasons.
  start = now();
  call();
  once = std::min(once, now() - start);
  const auto batch = static_cast<std::int64_t>(std::clamp(20e-6 / std::max(once, 1e-9), 1.0, 1e5));
  std::vector<double> samples;
  Timing timing;
  const double end = now() + seconds;
  while ((now() < end && samples.size() < 100000) || samples.size() < 5) {
    start = now();
    for (std::int64_t i = 0; i < batch; ++i) call();
    samples.push_back((now() - start) / static_cast<double>(batch));
    timing.calls += batch;
  }
  std::sort(samples.begin(), samples.end());
  timing.median = samples[samples.size() / 2];
  timing.best = samples.front();
  return timing;
}

}  // namespace quern::command
