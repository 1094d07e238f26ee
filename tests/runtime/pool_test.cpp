// Every task runs exactly once, whatever the count, the threads and the callers; fork leaves a working pool.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

#include "runtime/pool.h"
#include "tests/catch.h"

using quern::runtime::Pool;

namespace {
struct Count {
  std::vector<std::atomic<int>> seen;
  std::atomic<int> bad_worker{0};
  int limit;
  Count(std::size_t n, int l) : seen(n), limit(l) {}
  static void run(void* data, std::int64_t begin, std::int64_t end, int worker) {
    auto& c = *static_cast<Count*>(data);
    if (worker < 0 || worker >= c.limit) ++c.bad_worker;
    for (std::int64_t i = begin; i < end; ++i) ++c.seen[static_cast<std::size_t>(i)];
  }
  bool once() const {
    for (const auto& s : seen)
      if (s != 1) return false;
    return bad_worker == 0;
  }
};
}  // namespace

TEST_CASE("every task runs once") {
  for (int threads : {1, 2, 3, 8}) {
    Pool pool(threads);
    REQUIRE(pool.threads() == threads);
    for (std::int64_t tasks : {0, 1, 2, 3, 7, 64, 1000})
      for (double us : {-1.0, 0.5, 100.0, 1e6}) {
        Count c(static_cast<std::size_t>(tasks), threads);
        pool.run(tasks, 0, us, Count::run, &c);
        REQUIRE(c.once());
      }
  }
}

TEST_CASE("more tasks than chunks") {
  Pool pool(2);
  Count c(3000000, 2);
  pool.run(3000000, 2, -1, Count::run, &c);
  REQUIRE(c.once());
}

TEST_CASE("a job may ask for fewer threads than the pool has") {
  Pool pool(4);
  for (int round = 0; round < 2000; ++round) {
    const int limit = 1 + round % 4;
    Count c(16, limit);
    pool.run(16, limit, 1e6, Count::run, &c);
    REQUIRE(c.once());
  }
}

TEST_CASE("many callers share one pool") {
  Pool pool(3);
  std::atomic<int> wrong{0};
  std::vector<std::thread> callers;
  for (int t = 0; t < 8; ++t)
    callers.emplace_back([&] {
      for (int round = 0; round < 300; ++round) {
        Count c(20, 3);
        pool.run(20, 0, 1e6, Count::run, &c);
        if (!c.once()) ++wrong;
      }
    });
  for (auto& t : callers) t.join();
  REQUIRE(wrong == 0);
}

TEST_CASE("sleeping workers wake and a nested job runs") {
  Pool pool(2);
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  struct Outer {
    Pool* pool;
    std::atomic<int> inner{0};
  } outer{&pool};
  pool.run(4, 0, 1e6, [](void* data, std::int64_t begin, std::int64_t end, int) {
    auto& o = *static_cast<Outer*>(data);
    for (std::int64_t i = begin; i < end; ++i) {
      Count c(10, 2);
      o.pool->run(10, 0, 1e6, Count::run, &c);
      if (c.once()) ++o.inner;
    }
  }, &outer);
  REQUIRE(outer.inner == 4);
}

TEST_CASE("a forked child has a pool of its own") {
#ifdef __SANITIZE_THREAD__
  return;  // the thread sanitizer allows no threads after fork
#endif
  Count before(64, 64);
  Pool::of_process().run(64, 0, 1e6, Count::run, &before);
  REQUIRE(before.once());
  const pid_t child = fork();
  if (child == 0) {
    Count c(64, 64);
    Pool::of_process().run(64, 0, 1e6, Count::run, &c);
    _exit(c.once() ? 0 : 1);
  }
  int status = 1;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  REQUIRE(WEXITSTATUS(status) == 0);
}
