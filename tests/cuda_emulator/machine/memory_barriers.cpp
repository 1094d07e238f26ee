// See memory_barriers.h.
#include "tests/cuda_emulator/machine/memory_barriers.h"

#include <cstring>

#include <fmt/format.h>

namespace quern::emulator {

namespace {
constexpr std::int32_t kMost = (1 << 20) - 1;  // threads, and bytes in either direction
}

std::uint64_t MemoryBarriers::State::packed() const {
  return std::uint64_t{count} | std::uint64_t{arrived} << 20 | static_cast<std::uint64_t>(bytes + kMost) << 40 | std::uint64_t{parity} << 62;
}

std::string MemoryBarriers::name(unsigned address) const {
  if (address >= quern_emulated::kStaticWindow) return fmt::format("the barrier at byte {} of static shared memory", address - quern_emulated::kStaticWindow);
  return fmt::format("the barrier at byte {} of dynamic shared memory", static_cast<int>(address - machine_.dynamic_address));
}

std::string MemoryBarriers::init(unsigned address, std::uint32_t count) {
  unsigned char* at = quern_emulated::shared_at(machine_, address, 8);
  if (!at) return name(address) + " would be outside of it";
  if (address % 8 != 0) return name(address) + " would not be aligned to 8 bytes";
  if (count < 1 || count > static_cast<std::uint32_t>(kMost)) return fmt::format("{} for {} threads; it waits for 1 to 2^20 - 1", name(address), count);
  if (known_.contains(address)) return name(address) + " is there already";
  const State& state = known_[address] = {count, 0, 0, false};
  const std::uint64_t packed = state.packed();
  std::memcpy(at, &packed, 8);
  return {};
}

std::string MemoryBarriers::find(unsigned address, State** state) {
  const auto found = known_.find(address);
  if (found == known_.end()) return name(address) + " has not been initialised";
  std::uint64_t packed = 0;
  std::memcpy(&packed, quern_emulated::shared_at(machine_, address, 8), 8);
  if (packed != found->second.packed()) return name(address) + " was overwritten by something else";
  *state = &found->second;
  return {};
}

std::string MemoryBarriers::change(unsigned address, State& state, bool* ended) {
  if (state.arrived > state.count) return fmt::format("more than {} threads arrive at {} in one phase", state.count, name(address));
  if (state.bytes > kMost || state.bytes < -kMost) return fmt::format("{} would wait for {} bytes; it counts to 2^20 - 1", name(address), state.bytes);
  *ended = state.arrived == state.count && state.bytes == 0;
  if (*ended) state.arrived = 0, state.parity = !state.parity;
  const std::uint64_t packed = state.packed();
  std::memcpy(quern_emulated::shared_at(machine_, address, 8), &packed, 8);
  return {};
}

std::string MemoryBarriers::arrive(unsigned address, std::uint32_t bytes, bool* ended) {
  State* state = nullptr;
  std::string wrong = find(address, &state);
  if (!wrong.empty()) return wrong;
  if (bytes > static_cast<std::uint32_t>(kMost)) return fmt::format("{} bytes announced at {}; it counts to 2^20 - 1", bytes, name(address));
  state->bytes += static_cast<std::int32_t>(bytes);
  ++state->arrived;
  return change(address, *state, ended);
}

std::string MemoryBarriers::deliver(unsigned address, std::uint32_t bytes, bool* ended) {
  State* state = nullptr;
  std::string wrong = find(address, &state);
  if (!wrong.empty()) return wrong;
  state->bytes -= static_cast<std::int32_t>(bytes);
  return change(address, *state, ended);
}

std::string MemoryBarriers::passed(unsigned address, unsigned parity, bool* yes) {
  State* state = nullptr;
  std::string wrong = find(address, &state);
  if (!wrong.empty()) return wrong;
  if (parity > 1) return fmt::format("a parity of {} is waited for at {}", parity, name(address));
  *yes = state->parity != (parity != 0);
  return {};
}

std::string MemoryBarriers::left() const {
  for (const auto& [address, state] : known_)
    if (state.bytes != 0)
      return fmt::format("{}: {} bytes {}", name(address), state.bytes < 0 ? -state.bytes : state.bytes,
                         state.bytes < 0 ? "more than announced have come" : "announced have not come");
  return {};
}

std::string MemoryBarriers::state(unsigned address) const {
  const auto found = known_.find(address);
  if (found == known_.end()) return "not initialised";
  const State& s = found->second;
  return fmt::format("phase of parity {}: {} of {} threads have arrived, {}", static_cast<int>(s.parity), s.arrived, s.count,
                     s.bytes < 0 ? fmt::format("{} bytes more than announced have come", -s.bytes) : fmt::format("{} bytes are to come", s.bytes));
}

}  // namespace quern::emulator
