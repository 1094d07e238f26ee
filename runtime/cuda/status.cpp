// What there is of CUDA, for `quern doctor` and for programs that choose a device.
#include <fmt/format.h>

#include <quern/gpu.h>

#include "runtime/cuda/gpu.h"
#include "runtime/cuda/nvrtc.h"

namespace quern {
inline namespace v0 {

CudaStatus cuda_status() {
  namespace rg = runtime::gpu;
  CudaStatus status;
  status.built = true;
  const auto plain = [](const Error& e) { return e.message().starts_with("error: ") ? e.message().substr(7) : e.message(); };
  try {
    const rg::Nvrtc& n = rg::nvrtc();
    status.nvrtc = fmt::format("{}.{} ({})", n.major, n.minor, n.path);
  } catch (const Error& e) {
    status.nvrtc_problem = plain(e);
  }
  try {
    status.driver = fmt::format("CUDA {}", rg::version_text(rg::driver().version));
    for (int number = 0; number < rg::gpu_count(); ++number) {
      const rg::Gpu& gpu = rg::gpu_at(number);
      status.gpus.push_back({number, gpu.name(), quern::cuda::name_of(gpu.target()), gpu.memory_bytes(), gpu.target().multiprocessors});
    }
  } catch (const Error& e) {
    status.driver_problem = plain(e);
  }
  return status;
}

}  // namespace v0
}  // namespace quern
