// A variant for a GPU: its cubin as a module of the CUDA driver, which is opened when the first such call comes.
#pragma once

#include <memory>
#include <string>

#include "runtime/aot/image.h"
#include "runtime/bind.h"

namespace quern::runtime::aot {

class GpuVariant {
 public:
  /// `binding` is of the variant's program; `cubin` holds variant.cubin_bytes. All outlive this.
  GpuVariant(const Variant& variant, const Binding& binding, const char* cubin);
  ~GpuVariant();
  /// Tensors are in the memory of the GPU of the launch's options. A run that is waited for reads `nondecreasing` through copies
  /// and throws what the data broke; one that is not leaves the facts to the caller. Throws Error.
  void run(const Launch& launch);

  /// Whether a cubin for `target` runs on GPU `number`. Throws Error without a driver or such a GPU.
  static bool runs_on(const quern::cuda::Target& target, int number);
  /// "GPU 0 (NVIDIA H200) is sm_90a"
  static std::string name_of_gpu(int number);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quern::runtime::aot
