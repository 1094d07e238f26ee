// Time on a GPU, by its own clock: events around many calls.
#pragma once

#include <functional>
#include <vector>

namespace quern::runtime::gpu {

struct GpuTiming {
  std::vector<double> seconds;   // per call, one entry per batch, ascending
  long calls = 0;
};

/// Calls `call`, which queues work on `stream` of the GPU and returns, in batches of at least 200 us on the GPU, for about
/// `seconds` after 0.1 s of warming up. Throws Error.
GpuTiming time_on_gpu(int gpu, void* stream, double seconds, const std::function<void()>& call);

}  // namespace quern::runtime::gpu
