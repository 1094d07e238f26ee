// See tensor_map.h.
#include "compiler/codegen/cuda/tensor_map.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

namespace quern::cuda {

std::string fault_of(const TensorMap& map) {
  const auto axes = static_cast<int>(map.axes.size());
  if (axes < 2 || axes > kMostMapAxes) return fmt::format("a tensor map of {} axes; it has 2 to {}", axes, kMostMapAxes);
  if (map.element_bytes != 1 && map.element_bytes != 2) return fmt::format("a tensor map of elements of {} bytes; it has 1 or 2", map.element_bytes);
  if (map.box.size() != map.axes.size()) return fmt::format("a tensor map of {} axes with a box of {}", axes, map.box.size());
  // The fastest axis may stand there once more: in pieces of the box's extent.
  const bool in_pieces = std::count(map.axes.begin(), map.axes.end(), map.axes[0]) == 2;
  if (std::set<int>(map.axes.begin(), map.axes.end()).size() + in_pieces != map.axes.size()) return "a tensor map with an axis twice";
  for (const std::uint32_t n : map.box)
    if (n < 1 || n > 256) return fmt::format("a tensor map with a box of {} elements along an axis; it has 1 to 256", n);
  const std::uint32_t unit = 16 / static_cast<std::uint32_t>(map.element_bytes), most = map.swizzled ? 8 * unit : 256;
  if (map.box[0] % unit != 0 || map.box[0] > most)
    return fmt::format("a tensor map whose box has {} elements along its fastest axis; it has {} to {}, whole 16 bytes", map.box[0], unit, most);
  return {};
}

}  // namespace quern::cuda
