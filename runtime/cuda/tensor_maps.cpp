// See tensor_maps.h.
#include "runtime/cuda/tensor_maps.h"

#include <cstring>

namespace quern::runtime::gpu {

TensorMaps::TensorMaps(const std::vector<quern::cuda::KernelLaunch>& launches) {
  std::size_t count = 0;
  for (const quern::cuda::KernelLaunch& launch : launches) {
    first_.push_back(count);
    count += launch.maps.size();
  }
  encoded_.resize(count);
}

bool TensorMaps::write(const Driver& driver, std::size_t launch, std::size_t map, const quern::cuda::MapNumbers& numbers, void* to) {
  // Values of the enumerations in cuda.h.
  constexpr int kUint8 = 0, kUint16 = 1, kNoInterleave = 0, kNoSwizzle = 0, kSwizzle128 = 3, kPromote256 = 3, kZerosOutside = 0;
  constexpr std::uint32_t kEveryElement[quern::cuda::kMostMapAxes] = {1, 1, 1, 1, 1};
  std::lock_guard lock(mutex_);
  Encoded& e = encoded_[first_[launch] + map];
  if (!(e.numbers == numbers)) {
    e.numbers = numbers;
    e.made = driver.cuTensorMapEncodeTiled(e.content, numbers.element_bytes == 1 ? kUint8 : kUint16, static_cast<unsigned>(numbers.rank), reinterpret_cast<void*>(numbers.address), numbers.extents,
                                           numbers.strides, numbers.box, kEveryElement, kNoInterleave, numbers.swizzled ? kSwizzle128 : kNoSwizzle, kPromote256, kZerosOutside) == kSuccess;
    if (!e.made) std::memset(e.content, 0, sizeof e.content);
  }
  std::memcpy(to, e.content, sizeof e.content);
  return e.made;
}

}  // namespace quern::runtime::gpu
