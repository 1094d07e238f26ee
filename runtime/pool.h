// Threads for the tasks of a kernel. In: a count of tasks and a function over a range of them. Out: all have run.
// The one idea: one atomic word holds {which job, how many threads it may use, chunks left}; a chunk is claimed by
// decrementing it. The caller claims too and at the end waits only for chunks that a worker has already claimed, so a
// worker that is asleep or not scheduled never delays a call.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace quern::runtime {

/// Runs tasks [begin, end) on thread `worker` (0 = the caller) of the job.
using RangeFunction = void (*)(void* data, std::int64_t begin, std::int64_t end, int worker);

class Pool {
 public:
  /// `threads` counts the caller; 0: as many as the process may run on.
  explicit Pool(int threads = 0);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  /// Runs all tasks on at most `threads` threads (0: all of the pool). `expected_us` is the expected time of the whole on
  /// one thread (< 0: not known); short jobs do not wake sleeping workers. A job that finds the pool taken by another
  /// caller runs on its own thread alone. Returns how many threads' worth of work was shared: 1 = the caller did all.
  double run(std::int64_t tasks, int threads, double expected_us, RangeFunction function, void* data);

  /// The pool of the process, made at first use; a fork()ed child gets a new one.
  static Pool& of_process();

 private:
  struct alignas(64) Job {
    RangeFunction function = nullptr;
    void* data = nullptr;
    std::int64_t tasks = 0;
    std::int64_t chunk = 1;
    std::int64_t chunks = 0;
  };

  void work(int worker);
  bool claim(int worker, bool any_epoch, std::uint32_t epoch);
  void wake();

  alignas(64) std::atomic<std::uint64_t> word_{0};      // epoch:32 | thread limit:12 | chunks left:20
  alignas(64) std::atomic<std::int64_t> unfinished_{0};
  Job job_;
  std::atomic<bool> taken_{false};
  std::uint32_t epoch_ = 0;

  alignas(64) std::atomic<int> sleeping_{0};
  std::atomic<bool> stop_{false};
  std::mutex sleep_mutex_;
  std::condition_variable sleep_;
  std::vector<std::thread> workers_;
};

/// Threads that this process may use (its CPU affinity), at least 1.
int usable_threads();

}  // namespace quern::runtime
