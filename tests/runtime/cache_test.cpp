// One make per key under contention, failures to all and not kept, bounded.
#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "runtime/cache.h"
#include "tests/catch.h"

using quern::runtime::CacheCounters;
using quern::runtime::KernelCache;

TEST_CASE("one make per key under contention") {
  KernelCache cache;
  CacheCounters counters;
  std::atomic<int> made{0};
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 24; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        const int key = i % 10;
        const auto value = cache.get("key" + std::to_string(key), [&]() -> KernelCache::Value {
          ++made;
          std::this_thread::yield();
          return std::make_shared<const int>(key);
        }, counters);
        if (*std::static_pointer_cast<const int>(value) != key) ++wrong;
      }
    });
  for (auto& t : threads) t.join();
  CHECK(wrong == 0);
  CHECK(made == 10);
  CHECK(counters.compiles == 10);
  CHECK(counters.hits + counters.misses == 24 * 200);
  CHECK(cache.size() == 10);
}

TEST_CASE("a failed make reaches everybody and is not kept") {
  KernelCache cache;
  CacheCounters counters;
  std::atomic<int> tries{0}, seen{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      try {
        cache.get("k", [&]() -> KernelCache::Value {
          ++tries;
          std::this_thread::sleep_for(std::chrono::milliseconds(20));
          throw std::runtime_error("no");
        }, counters);
      } catch (const std::runtime_error&) {
        ++seen;
      }
    });
  for (auto& t : threads) t.join();
  CHECK(seen == 8);
  CHECK(tries >= 1);
  CHECK(counters.failures == static_cast<std::uint64_t>(tries));
  CHECK(cache.size() == 0);
  CHECK(cache.get("k", [] { return std::make_shared<const int>(1); }, counters));
}

TEST_CASE("a bounded cache drops the least recently used") {
  KernelCache cache;
  CacheCounters counters;
  cache.set_capacity(3);
  const auto make = [] { return std::make_shared<const int>(0); };
  for (const char* key : {"a", "b", "c"}) cache.get(key, make, counters);
  cache.get("a", make, counters);
  cache.get("d", make, counters);
  CHECK(cache.size() == 3);
  CHECK(cache.find("a"));
  CHECK_FALSE(cache.find("b"));
  cache.clear();
  CHECK(cache.size() == 0);
}
