// Claiming, waking and sleeping of worker threads. See pool.h for the one idea.
#include "runtime/pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <system_error>

#include "runtime/float_mode.h"

namespace quern::runtime {
namespace {

constexpr int kLimitBits = 12, kChunkBits = 20;
constexpr std::uint64_t kChunkMask = (1ull << kChunkBits) - 1, kLimitMask = (1ull << kLimitBits) - 1;
constexpr std::int64_t kMaxChunks = std::int64_t{1} << (kChunkBits - 1);
constexpr auto kSpin = std::chrono::microseconds(300);
constexpr double kWakeWorthUs = 20;   // below this a sleeping worker comes too late
constexpr double kShareWorthUs = 2;   // below this even a spinning one does

std::uint64_t pack(std::uint32_t epoch, int limit, std::int64_t chunks) {
  return (std::uint64_t{epoch} << (kLimitBits + kChunkBits)) | (static_cast<std::uint64_t>(limit) << kChunkBits) |
         static_cast<std::uint64_t>(chunks);
}

void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// Keeps `thread` off the CPU that the caller is on, where the process's own mask leaves room.
void pin_away(std::thread& thread, int caller_cpu, int position, const std::vector<int>& cpus) {
  std::vector<int> others;
  for (int cpu : cpus)
    if (cpu != caller_cpu) others.push_back(cpu);
  if (others.empty()) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(others[static_cast<std::size_t>(position) % others.size()], &set);
  pthread_setaffinity_np(thread.native_handle(), sizeof set, &set);  // refusal is fine: unpinned works too
}

std::vector<int> allowed_cpus() {
  std::vector<int> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  return cpus;
}

std::atomic<Pool*>& process_pool() {
  static std::atomic<Pool*> pool{nullptr};
  return pool;
}

}  // namespace

int usable_threads() { return std::max<int>(1, static_cast<int>(allowed_cpus().size())); }

Pool::Pool(int threads) {
  if (threads <= 0) threads = usable_threads();
  threads = std::min<int>(threads, static_cast<int>(kLimitMask));
  const std::vector<int> cpus = allowed_cpus();
  const int caller_cpu = sched_getcpu();
  // The program's signals are for its own threads.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  try {
    for (int i = 1; i < threads; ++i) {
      workers_.emplace_back([this, i] { work(i); });
      if (static_cast<std::size_t>(threads) <= cpus.size()) pin_away(workers_.back(), caller_cpu, i - 1, cpus);
    }
  } catch (const std::system_error&) {
    // A process at its thread limit computes with the workers that it got.
  }
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Pool::~Pool() {
  {
    std::lock_guard lock(sleep_mutex_);
    stop_.store(true);
  }
  sleep_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

Pool& Pool::of_process() {
  // Never destroyed: a thread may still compute while the process exits. After fork() the child has none of the threads,
  // so it starts over with a pool of its own.
  static const int once = pthread_atfork(nullptr, nullptr, [] { process_pool().store(nullptr); });
  (void)once;
  Pool* pool = process_pool().load(std::memory_order_acquire);
  if (pool) return *pool;
  static std::mutex mutex;
  std::lock_guard lock(mutex);
  pool = process_pool().load(std::memory_order_acquire);
  if (!pool) {
    pool = new Pool;
    process_pool().store(pool, std::memory_order_release);
  }
  return *pool;
}

bool Pool::claim(int worker, bool any_epoch, std::uint32_t epoch) {
  std::uint64_t word = word_.load(std::memory_order_acquire);
  for (;;) {
    const std::int64_t left = static_cast<std::int64_t>(word & kChunkMask);
    if (left == 0) return false;
    if (worker >= static_cast<int>((word >> kChunkBits) & kLimitMask)) return false;
    if (!any_epoch && static_cast<std::uint32_t>(word >> (kLimitBits + kChunkBits)) != epoch) return false;
    if (!word_.compare_exchange_weak(word, word - 1, std::memory_order_acq_rel, std::memory_order_acquire)) {
      pause();
      continue;
    }
    // A claimed chunk keeps the job alive, so its fields can be read from here to the decrement below.
    const std::int64_t i = job_.chunks - left;
    const std::int64_t begin = i * job_.chunk, end = std::min(begin + job_.chunk, job_.tasks);
    job_.function(job_.data, begin, end, worker);
    unfinished_.fetch_sub(1, std::memory_order_acq_rel);
    return true;
  }
}

void Pool::work(int worker) {
  FloatMode::set_default();  // a new thread starts with the mode of the one that made it
  auto idle_since = std::chrono::steady_clock::now();
  for (int round = 0; !stop_.load(std::memory_order_relaxed); ++round) {
    if (claim(worker, true, 0)) {
      idle_since = std::chrono::steady_clock::now();
      round = 0;
      continue;
    }
    pause();
    if ((round & 63) != 63 || std::chrono::steady_clock::now() - idle_since < kSpin) continue;
    std::unique_lock lock(sleep_mutex_);
    sleeping_.fetch_add(1);
    // The caller publishes the job before it looks at sleeping_, so either it sees this worker or this sees the job.
    sleep_.wait(lock, [&] {
      const std::uint64_t word = word_.load();
      return stop_.load() || ((word & kChunkMask) != 0 && worker < static_cast<int>((word >> kChunkBits) & kLimitMask));
    });
    sleeping_.fetch_sub(1);
    idle_since = std::chrono::steady_clock::now();
  }
}

void Pool::wake() {
  { std::lock_guard lock(sleep_mutex_); }
  sleep_.notify_all();
}

double Pool::run(std::int64_t tasks, int threads, double expected_us, RangeFunction function, void* data) {
  if (tasks <= 0) return 1;
  const int limit = threads <= 0 ? this->threads() : std::min(threads, this->threads());
  const bool alone = limit == 1 || tasks == 1 || (expected_us >= 0 && expected_us < kShareWorthUs);
  if (alone || taken_.exchange(true, std::memory_order_acquire)) {
    function(data, 0, tasks, 0);
    return 1;
  }
  // Small enough to balance, large enough that claiming costs nothing.
  std::int64_t chunk = 1;
  if (expected_us >= 0 && tasks > limit * 8)
    chunk = std::max<std::int64_t>(1, std::min<std::int64_t>(static_cast<std::int64_t>(0.5 * static_cast<double>(tasks) / expected_us), tasks / (limit * 8)));
  chunk = std::max(chunk, (tasks + kMaxChunks - 1) / kMaxChunks);
  const std::int64_t chunks = (tasks + chunk - 1) / chunk;

  job_.function = function;
  job_.data = data;
  job_.tasks = tasks;
  job_.chunk = chunk;
  job_.chunks = chunks;
  unfinished_.store(chunks, std::memory_order_relaxed);
  const std::uint32_t epoch = ++epoch_;
  word_.store(pack(epoch, limit, chunks));
  if (sleeping_.load() > 0 && (expected_us < 0 || expected_us >= kWakeWorthUs)) wake();

  std::int64_t own = 0;
  while (claim(0, false, epoch)) ++own;
  // Only chunks that a worker is running now are left.
  for (int round = 0; unfinished_.load(std::memory_order_acquire) != 0; ++round) {
    if (round < 20000) pause();
    else std::this_thread::yield();
  }
  taken_.store(false, std::memory_order_release);
  return std::min<double>(limit, static_cast<double>(chunks) / static_cast<double>(std::max<std::int64_t>(own, 1)));
}

}  // namespace quern::runtime
