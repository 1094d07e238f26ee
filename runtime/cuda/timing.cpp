// A batch lies between two events; only the events are waited for, so the queue never runs dry inside a batch.
#include "runtime/cuda/timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "runtime/cuda/gpu.h"

namespace quern::runtime::gpu {
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

class Events {
 public:
  explicit Events(Gpu& gpu) : gpu_(gpu) {
    gpu.require(gpu.driver().cuEventCreate(&begin_, 0), "timing");
    gpu.require(gpu.driver().cuEventCreate(&end_, 0), "timing");
  }
  ~Events() {
    if (begin_) gpu_.driver().cuEventDestroy(begin_);
    if (end_) gpu_.driver().cuEventDestroy(end_);
  }
  Events(const Events&) = delete;
  Events& operator=(const Events&) = delete;

  /// Seconds of the GPU for `batch` calls.
  double time(Stream stream, long batch, const std::function<void()>& call) {
    const Driver& d = gpu_.driver();
    gpu_.require(d.cuEventRecord(begin_, stream), "timing");
    for (long i = 0; i < batch; ++i) call();
    gpu_.require(d.cuEventRecord(end_, stream), "timing");
    gpu_.require(d.cuEventSynchronize(end_), "timing");
    float milliseconds = 0;
    gpu_.require(d.cuEventElapsedTime(&milliseconds, begin_, end_), "timing");
    return static_cast<double>(milliseconds) * 1e-3;
  }

 private:
  Gpu& gpu_;
  Event begin_ = nullptr, end_ = nullptr;
};

}  // namespace

GpuTiming time_on_gpu(int number, void* stream, double seconds, const std::function<void()>& call) {
  Gpu& gpu = gpu_at(number);
  const Current current(gpu);
  Events events(gpu);
  const auto queue = static_cast<Stream>(stream);
  events.time(queue, 1, call);
  double once = events.time(queue, 1, call);
  const double warm = now() + 0.1;
  while (now() < warm) once = std::min(once, events.time(queue, 10, call) / 10);
  // An event resolves about half a microsecond.
  const long batch = static_cast<long>(std::clamp(std::ceil(200e-6 / std::max(once, 1e-9)), 1.0, 1e4));
  GpuTiming timing;
  const double end = now() + seconds;
  while ((now() < end && timing.seconds.size() < 100000) || timing.seconds.size() < 5) {
    timing.seconds.push_back(events.time(queue, batch, call) / static_cast<double>(batch));
    timing.calls += batch;
  }
  std::sort(timing.seconds.begin(), timing.seconds.end());
  return timing;
}

}  // namespace quern::runtime::gpu
