// Copies of boxes by tensor maps: the target is NaN from the issue on, the data comes when it is delivered.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/codegen/cuda/tensor_map.h"
#include "tests/cuda_emulator/shim/machine.h"

namespace quern::emulator {

/// What the 128 bytes of a tensor map hold here.
void encode_map(const cuda::MapNumbers& numbers, void* map);

class TensorCopies {
 public:
  explicit TensorCopies(const quern_emulated::Machine& machine) : machine_(machine) {}

  void clear() { waiting_.clear(); }
  std::size_t count() const { return waiting_.size(); }
  /// Returns what is wrong, or "".
  std::string issue(const quern_emulated::BoxCopy& copy);
  struct Arrival {
    unsigned barrier;
    std::uint32_t bytes;
  };
  /// Copy number `which`, by order of issue, is done.
  Arrival deliver(std::size_t which);

 private:
  struct Copy {
    quern_emulated::BoxCopy box;
    cuda::MapNumbers map;
  };
  const quern_emulated::Machine& machine_;
  std::vector<Copy> waiting_;
};

}  // namespace quern::emulator
