// One block of a grid: its threads, where each of them waits, and who runs next. The one idea: a thread runs until it must
// meet others (a barrier, a shuffle, a product of the tensor cores); which thread runs next is a policy, so that work that
// nothing orders happens in the worst order for somebody.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/cuda_emulator/machine/fiber.h"
#include "tests/cuda_emulator/machine/group_products.h"
#include "tests/cuda_emulator/machine/memory_barriers.h"
#include "tests/cuda_emulator/machine/tensor_copies.h"
#include "tests/cuda_emulator/shim/machine.h"

namespace quern::emulator {

/// Which of the threads that can go on does: the lowest, the highest, or any.
enum class Order : std::uint8_t { ascending, descending, random };

class Block final : public quern_emulated::Machine {
 public:
  /// `lines` are those of the program text, for messages.
  Block(int threads, Order order, std::uint64_t seed, const std::vector<std::string>& lines);

  /// Runs kernel(words) in every thread of block `index`. Returns what went wrong, or "".
  std::string run(std::uint32_t index, void (*kernel)(const void*), const void* words);

  /// What the running thread does is at fault (from a signal handler too): remembered for `run` to return.
  void blame(const std::string& what, int line);
  /// The signal handler has led out of the thread that was at fault.
  void has_landed() { scheduler_.has_landed(); }
  const std::string& fault() const { return error_; }
  const Stacks& stacks() const { return stacks_; }

 private:
  enum class State : std::uint8_t { ready, at_barrier, at_mbarrier, at_meeting, ended };
  struct Copy {
    void* to;
    const void* from;
    int bytes;
  };
  struct Thread {
    Fiber fiber;
    State state = State::ready;
    const char* what = "";
    int line = 0;
    int barrier = 0;
    unsigned mbarrier = 0, parity = 0;
    unsigned mask = 0;
    void* mine = nullptr;
    quern_emulated::Execute execute = nullptr;
    quern_emulated::Barrier result;
    std::vector<std::vector<Copy>> copies;  // groups, oldest first; the last is open
  };
  struct NamedBarrier {
    int arrived = 0, expected = 0, line = 0, count = 0;
  };

  static Block* of(Machine* m) { return static_cast<Block*>(m); }
  static void enter(void* self);
  void give_way();           // the running thread waits or has ended: another one goes on
  void come_back();          // the running thread is `running_` again
  int next();                // -1: nobody can go on
  int next_after_copies();   // the same, once the tensor copies that this needs have come
  void set_ready(int t, bool ready);
  quern_emulated::Barrier wait_at(const char* name, int id, int threads, int predicate, int line, bool stay);
  void meet_lanes(const char* name, unsigned mask, void* mine, quern_emulated::Execute execute, int line);
  void copy_wait_for(int groups_left);
  void wait_at_mbarrier(unsigned barrier, unsigned parity, int line);
  void wake(unsigned barrier);  // a phase of it has ended
  std::string left() const;     // what a block that has ended should not leave
  std::uint64_t random();
  void require(std::string&& wrong, int line);  // "", or stops
  [[noreturn]] void stop(std::string&& what, int line);
  std::string who_waits_where() const;
  std::string text_of(int line) const;

  int count_;
  Order order_;
  std::uint64_t random_;
  const std::vector<std::string>& lines_;
  Stacks stacks_;
  std::vector<Thread> threads_;
  std::vector<std::uint64_t> ready_;   // a bit per thread
  NamedBarrier barriers_[16];
  MemoryBarriers mbarriers_;
  TensorCopies boxes_;
  GroupProducts products_;
  Fiber scheduler_;
  int running_ = -1;
  void (*kernel_)(const void*) = nullptr;
  const void* words_ = nullptr;
  std::string error_;
};

}  // namespace quern::emulator
