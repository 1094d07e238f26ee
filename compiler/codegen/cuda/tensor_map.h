// Whether a TensorMap can be made for the tensor of a call, and with which numbers: the part that a launch on a GPU and
// the emulator have in common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "compiler/codegen/cuda/compile_cuda.h"

namespace quern::cuda {

inline constexpr std::size_t kMapBytes = 128, kMapAlignment = 64;  // of a map in the parameter block
inline constexpr int kMostMapAxes = 5;
/// Coordinates are 32-bit integers with a sign, of a box's start that may lie a block beyond the end.
inline constexpr std::int64_t kMostMapExtent = 0x7fffffff - 1024;

/// What cuTensorMapEncodeTiled takes, the fastest axis first. Entries beyond the rank are 0.
struct MapNumbers {
  std::uint64_t address = 0;
  std::uint64_t extents[kMostMapAxes] = {};
  std::uint64_t strides[kMostMapAxes - 1] = {};  // bytes, from axis 1 on
  std::uint32_t box[kMostMapAxes] = {};
  int rank = 0;
  int element_bytes = 2;
  bool swizzled = true;

  bool operator==(const MapNumbers&) const = default;
};

/// "" or what is wrong with the map itself, whatever the tensor: a fault of the compiler.
std::string fault_of(const TensorMap& map);

/// Numbers for a tensor with this address of its element [0, ..., 0]; extent(axis) and stride(axis) count elements.
/// False where the map cannot be made. The stride of an axis of extent 1 is never used, so any will do.
template <class Extent, class Stride>
bool map_numbers(const TensorMap& map, std::uint64_t address, const Extent& extent, const Stride& stride, MapNumbers& numbers) {
  numbers = {};
  numbers.address = address;
  numbers.rank = static_cast<int>(map.axes.size());
  numbers.element_bytes = map.element_bytes;
  numbers.swizzled = map.swizzled;
  const std::int64_t unit = 16 / map.element_bytes;
  if (address == 0 || address % 16 != 0) return false;
  for (std::size_t i = 0; i < map.axes.size(); ++i) {
    const std::int64_t n = extent(map.axes[i]), elements = n == 1 ? (i == 0 ? 1 : unit) : stride(map.axes[i]);
    if (n < 1 || n > kMostMapExtent) return false;
    numbers.extents[i] = static_cast<std::uint64_t>(n);
    numbers.box[i] = map.box[i];
    if (i == 0 && elements != 1) return false;
    if (i == 0) continue;
    if (map.axes[i] == map.axes[0]) {
      if (n % map.box[0] != 0) return false;
      numbers.extents[0] = map.box[0];
      numbers.extents[i] = static_cast<std::uint64_t>(n) / map.box[0];
      numbers.strides[i - 1] = static_cast<std::uint64_t>(map.box[0]) * map.element_bytes;
      continue;
    }
    if (elements < 0 || elements % unit != 0 || elements >= std::int64_t{1} << 39) return false;
    numbers.strides[i - 1] = static_cast<std::uint64_t>(elements * map.element_bytes);
  }
  return true;
}

/// Bytes of the parameter block of a launch with that many maps and words, as sizeof counts them.
inline std::size_t parameter_bytes(std::size_t maps, std::size_t words) {
  const std::size_t bytes = maps * kMapBytes + words * 8;
  return maps == 0 ? bytes : (bytes + kMapAlignment - 1) / kMapAlignment * kMapAlignment;
}

}  // namespace quern::cuda
