// A queue, its threads, and the end of the process. See later.h.
#include "runtime/later.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <deque>
#include <mutex>
#include <thread>

#include <quern/error.h>

namespace quern::runtime {
namespace {

struct Queue {
  std::mutex mutex;
  std::condition_variable more, idle, changed;
  std::deque<std::function<void()>> work;
  int threads = 0, waiting = 0, under_way = 0;
  bool leaving = false;   // the main thread has ended its thread-local objects: exit() goes on with its handlers, or it was pthread_exit()
  bool ending = false;    // exit() has called its handlers
  int registered = 0;

  /// Nothing new begins between `leaving` and `ending`. After pthread_exit() work goes on, a little later.
  void see_whether_ending(std::unique_lock<std::mutex>& lock) {
    if (leaving && !changed.wait_for(lock, std::chrono::seconds(2), [&] { return ending || !leaving; })) leaving = false;
  }

  void serve() {
    std::unique_lock lock(mutex);
    for (;;) {
      ++waiting;
      idle.notify_all();
      do {
        more.wait(lock, [&] { return !work.empty() && !ending; });
        see_whether_ending(lock);
      } while (work.empty() || ending);
      --waiting;
      std::function<void()> next = std::move(work.front());
      work.pop_front();
      lock.unlock();
      next();
      next = nullptr;
      lock.lock();
    }
  }
};

std::atomic<Queue*>& process_queue() {
  static std::atomic<Queue*> queue{nullptr};
  return queue;
}

/// UnderWay objects of this thread: a signal handler that calls exit() in the middle of a compile does not wait for that.
thread_local int own_under_way = 0;

void finish(bool Queue::*what) {
  Queue* queue = process_queue().load();
  if (!queue) return;
  std::unique_lock lock(queue->mutex);
  queue->*what = true;
  queue->changed.notify_all();
  queue->idle.wait(lock, [&] { return queue->waiting == queue->threads && queue->under_way <= own_under_way; });
}

/// Runs any number of times.
void at_exit() { finish(&Queue::ending); }

struct OfMain {
  bool made = false;
  ~OfMain() { finish(&Queue::leaving); }
};
thread_local OfMain of_main;
/// Objects like this one are made on the main thread, or on whichever opens the library.
[[maybe_unused]] const bool main_is_watched = gettid() == getpid() && (of_main.made = true);

Queue& queue_of_process() {
  static const int once = pthread_atfork(nullptr, nullptr, [] { process_queue().store(nullptr); });
  (void)once;
  static std::mutex mutex;
  if (Queue* queue = process_queue().load(std::memory_order_acquire)) return *queue;
  std::lock_guard lock(mutex);
  if (!process_queue().load()) process_queue().store(new Queue, std::memory_order_release);  // never destroyed: its threads wait in it
  return *process_queue().load();
}

/// Libraries set things up in their first few compiles; after so many there is nothing new.
constexpr int kMostRegistered = 400;

void register_again(Queue& queue) {
  {
    std::lock_guard lock(queue.mutex);
    if (queue.ending || queue.registered == kMostRegistered) return;
    ++queue.registered;
  }
  std::atexit(at_exit);
}

}  // namespace

UnderWay::UnderWay() {
  Queue& queue = queue_of_process();
  register_again(queue);
  std::unique_lock lock(queue.mutex);
  queue.see_whether_ending(lock);
  if (queue.ending) throw Error(Code::unsupported, "error: the process is ending");
  ++queue.under_way;
  ++own_under_way;
}

UnderWay::~UnderWay() {
  Queue& queue = queue_of_process();
  register_again(queue);
  std::lock_guard lock(queue.mutex);
  --own_under_way;
  if (queue.under_way > 0) --queue.under_way;
  queue.idle.notify_all();
}

void UnderWay::renew() { register_again(queue_of_process()); }

void later(std::function<void()> work) {
  Queue& queue = queue_of_process();
  register_again(queue);
  std::unique_lock lock(queue.mutex);
  const int most = static_cast<int>(std::clamp(std::thread::hardware_concurrency(), 1u, 8u));
  if (queue.waiting <= static_cast<int>(queue.work.size()) && queue.threads < most) {
    // The program's signal handlers run on its own threads.
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      std::thread([&queue] { queue.serve(); }).detach();
      ++queue.threads;
    } catch (...) {
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      if (queue.threads == 0) throw;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
  queue.work.push_back(std::move(work));
  queue.more.notify_one();
}

}  // namespace quern::runtime
