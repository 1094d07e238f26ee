// mbarrier: a phase ends when all threads have arrived and all bytes that they announced have come. The state of a barrier
// is 8 bytes of shared memory, as on a GPU; what wrote over it is found by a second copy of the state.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "tests/cuda_emulator/shim/machine.h"

namespace quern::emulator {

class MemoryBarriers {
 public:
  explicit MemoryBarriers(const quern_emulated::Machine& machine) : machine_(machine) {}

  void clear() { known_.clear(); }
  // Each returns what is wrong, or "".
  std::string init(unsigned address, std::uint32_t count);
  /// One thread arrives and announces bytes. `ended`: the phase did.
  std::string arrive(unsigned address, std::uint32_t bytes, bool* ended);
  /// Bytes come.
  std::string deliver(unsigned address, std::uint32_t bytes, bool* ended);
  /// Whether the phase of this parity has ended.
  std::string passed(unsigned address, unsigned parity, bool* yes);
  /// At the end of a block: bytes that are still announced, or came and were not.
  std::string left() const;
  /// "0 of 2 threads have arrived, 512 bytes are to come"
  std::string state(unsigned address) const;
  /// "the barrier at byte 64 of dynamic shared memory"
  std::string name(unsigned address) const;

 private:
  struct State {
    std::uint32_t count, arrived;
    std::int32_t bytes;  // announced and not come; negative: the other way
    bool parity;         // of the phase under way
    bool operator==(const State&) const = default;
    std::uint64_t packed() const;
  };
  std::string find(unsigned address, State** state);
  std::string change(unsigned address, State& state, bool* ended);

  const quern_emulated::Machine& machine_;
  std::map<unsigned, State> known_;
};

}  // namespace quern::emulator
