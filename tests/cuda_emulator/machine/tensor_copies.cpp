// A box in shared memory: rows one after another in the order of the axes. Swizzled they have 128 bytes (also where the box is
// narrower), 16-byte unit u of a row at u ^ (bits 7 to 9 of the address); else they are as long as the box is wide.
#include "tests/cuda_emulator/machine/tensor_copies.h"

#include <cstring>

#include <fmt/format.h>

namespace quern::emulator {

namespace {

constexpr std::uint64_t kMark = 0x70616d5f6e726571;

struct MapContent {
  std::uint64_t mark;
  cuda::MapNumbers numbers;
};
static_assert(sizeof(MapContent) <= cuda::kMapBytes);

std::uint32_t rows_of(const cuda::MapNumbers& map) {
  std::uint32_t rows = 1;
  for (int i = 1; i < map.rank; ++i) rows *= map.box[i];
  return rows;
}

/// Bytes of a row in shared memory.
std::uint32_t row_of(const cuda::MapNumbers& map) { return map.swizzled ? 128 : map.box[0] * static_cast<std::uint32_t>(map.element_bytes); }

}  // namespace

void encode_map(const cuda::MapNumbers& numbers, void* map) {
  std::memset(map, 0, cuda::kMapBytes);
  const MapContent content{kMark, numbers};
  std::memcpy(map, &content, sizeof content);
}

std::string TensorCopies::issue(const quern_emulated::BoxCopy& box) {
  MapContent content;
  std::memcpy(&content, box.map, sizeof content);
  if (content.mark != kMark) return "the tensor map of a copy was not made (its bit in Word::mapped is 0), or is something else";
  const cuda::MapNumbers& map = content.numbers;
  if (map.rank != box.rank) return fmt::format("a copy with {} coordinates by a tensor map of {} axes", box.rank, map.rank);
  if (box.to % 128 != 0) return fmt::format("a tensor copy to shared address {:#x}, which is not aligned to 128 bytes", box.to);
  const std::uint32_t bytes = rows_of(map) * row_of(map);
  unsigned char* to = quern_emulated::shared_at(machine_, box.to, bytes);
  if (!to) return fmt::format("a tensor copy of {} bytes goes beyond shared memory", bytes);
  std::memset(to, 0xff, bytes);  // until it has come there is nothing to read here
  waiting_.push_back({box, map});
  return {};
}

TensorCopies::Arrival TensorCopies::deliver(std::size_t which) {
  const Copy copy = waiting_[which];
  waiting_.erase(waiting_.begin() + static_cast<std::ptrdiff_t>(which));
  const cuda::MapNumbers& map = copy.map;
  const std::uint32_t rows = rows_of(map), pitch = row_of(map), bytes = static_cast<std::uint32_t>(map.element_bytes);
  unsigned char* const to = quern_emulated::shared_at(machine_, copy.box.to, rows * pitch);
  for (std::uint32_t row = 0; row < rows; ++row) {
    const char* from = reinterpret_cast<const char*>(map.address);
    bool inside = true;
    std::uint32_t rest = row;
    for (int i = 1; i < map.rank; ++i) {
      const std::int64_t at = std::int64_t{copy.box.at[i]} + rest % map.box[i];
      rest /= map.box[i];
      inside &= at >= 0 && at < static_cast<std::int64_t>(map.extents[i]);
      from += at * static_cast<std::int64_t>(map.strides[i - 1]);
    }
    for (std::uint32_t k = 0; k < map.box[0]; ++k) {
      const std::int64_t at = std::int64_t{copy.box.at[0]} + k;
      std::uint16_t element = 0;
      if (inside && at >= 0 && at < static_cast<std::int64_t>(map.extents[0])) std::memcpy(&element, from + at * map.element_bytes, bytes);
      const unsigned byte = k * bytes, unit = map.swizzled ? (byte / 16) ^ ((copy.box.to + row * pitch) >> 7 & 7) : byte / 16;
      std::memcpy(to + row * pitch + unit * 16 + byte % 16, &element, bytes);
    }
  }
  return {copy.box.barrier, rows * map.box[0] * bytes};
}

}  // namespace quern::emulator
