// Compiled kernels by key, in memory. In: a key (every byte of what the code depends on) and how to make the value. Out:
// the value, made once however many threads ask. The one idea: the entry is in the table before it is made, so others find
// it and wait; a failure is handed to all who waited and the entry goes.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

namespace quern::runtime {

struct CacheCounters {
  std::atomic<std::uint64_t> calls{0}, compiles{0}, loads{0}, failures{0}, hits{0}, misses{0};
};

class KernelCache {
 public:
  using Value = std::shared_ptr<const void>;
  /// A value, and whether it was compiled for it (else it came from another cache).
  struct Made {
    Value value;
    bool compiled = true;
    Made(Value v, bool c) : value(std::move(v)), compiled(c) {}
    template <class T>
    Made(std::shared_ptr<T> v) : value(std::move(v)) {}
  };
  using Make = std::function<Made()>;

  /// The value of `key`; `make` runs at most once per key at a time and may throw, which every waiter sees.
  Value get(const std::string& key, const Make& make, CacheCounters& counters);
  /// The value if it is there and finished, else null. Waits for nothing.
  Value find(const std::string& key);
  /// Removes `key` unless its value is another than `value` by now; then false.
  bool forget(const std::string& key, const Value& value);

  /// 0: no bound.
  void set_capacity(std::size_t entries);
  std::size_t size();
  void clear();

  /// Executables of this process's kernels, by text and settings. Never destroyed.
  static KernelCache& of_process();
  /// What executables share, by signature (images.h). Never destroyed.
  static KernelCache& images_of_process();
  CacheCounters& totals() { return totals_; }

 private:
  struct Entry {
    std::mutex mutex;
    std::condition_variable finished;
    bool done = false;
    Value value;
    std::exception_ptr failure;
    std::atomic<std::uint64_t> used{0};
  };
  struct Shard {
    std::mutex mutex;
    std::unordered_map<std::string, std::shared_ptr<Entry>> entries;
  };
  static constexpr std::size_t kShards = 16;

  Shard& shard_of(const std::string& key) { return shards_[std::hash<std::string>{}(key) % kShards]; }
  static KernelCache& process_cache(bool images);
  void evict();
  void lock_all();
  void unlock_all(bool in_child);

  Shard shards_[kShards];
  std::atomic<std::uint64_t> clock_{0};
  std::atomic<std::size_t> capacity_{0};
  std::atomic<std::size_t> count_{0};
  CacheCounters totals_;
};

}  // namespace quern::runtime
