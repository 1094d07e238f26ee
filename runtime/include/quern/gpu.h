// Tensors in the memory of a CUDA GPU, and what of CUDA this machine has. Nothing here starts the CUDA driver before it is
// called. A kernel takes tensors of either memory: those on the host are copied in and out by each call, which costs more
// than most kernels; keep data that several calls use on the GPU.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include <quern/tensor.h>

namespace quern {
inline namespace v0 {

struct Gpu {
  int number = 0;
  std::string name;            // "NVIDIA H200"
  std::string target;          // "sm_90a"
  std::size_t memory_bytes = 0;
  int multiprocessors = 0;
};

struct CudaStatus {
  bool built = false;          // QUERN_CUDA=ON
  std::string driver;          // "CUDA 13.0"; empty: `driver_problem` says what is missing
  std::string driver_problem;
  std::string nvrtc;           // "13.0 (/usr/.../libnvrtc.so.13)"; empty: `nvrtc_problem`
  std::string nvrtc_problem;
  std::vector<Gpu> gpus;
};

/// What is there of CUDA. Starts the driver.
QUERN_API CudaStatus cuda_status();

/// A dense tensor in the memory of a GPU, elements unset. Freed when the last copy of the Tensor goes, which waits for work
/// that still uses it. Throws Code::unsupported without a driver, Code::out_of_memory.
QUERN_API Tensor gpu_tensor(ElementType type, Sizes shape, int gpu = 0);
/// A dense copy of any view. Waits for the copy.
QUERN_API Tensor to_gpu(const TensorView& view, int gpu = 0);
QUERN_API Tensor to_host(const TensorView& view);
/// Copies elements between views of one type and shape, wherever each lies, and waits. Dense views are copied at once; others
/// pass through host memory. The views do not overlap.
QUERN_API void copy_elements(const TensorView& from, const TensorView& to);

}  // namespace v0
}  // namespace quern
