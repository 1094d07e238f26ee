// Tensor maps of a module's launches on one GPU. Encoding one costs more than a launch should, so each place of a map keeps the
// last one: a call with the same tensors only compares and copies.
#pragma once

#include <mutex>
#include <vector>

#include "compiler/codegen/cuda/tensor_map.h"
#include "runtime/cuda/driver_api.h"

namespace quern::runtime::gpu {

class TensorMaps {
 public:
  explicit TensorMaps(const std::vector<quern::cuda::KernelLaunch>& launches);

  /// Writes kMapBytes. False, and zeros, where the driver cannot make such a map. Thread-safe.
  bool write(const Driver& driver, std::size_t launch, std::size_t map, const quern::cuda::MapNumbers& numbers, void* to);

 private:
  struct Encoded {
    quern::cuda::MapNumbers numbers;  // rank 0: nothing yet
    bool made = false;
    alignas(quern::cuda::kMapAlignment) unsigned char content[quern::cuda::kMapBytes] = {};
  };
  std::mutex mutex_;
  std::vector<std::size_t> first_;  // of each launch, in encoded_
  std::vector<Encoded> encoded_;
};

}  // namespace quern::runtime::gpu
