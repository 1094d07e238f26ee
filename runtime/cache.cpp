// Sharded table of finished and unfinished entries. See cache.h.
#include "runtime/cache.h"

#include <pthread.h>

namespace quern::runtime {
namespace {
struct ProcessCaches {
  KernelCache executables, images;
};
std::atomic<ProcessCaches*>& instance() {
  static std::atomic<ProcessCaches*> caches{nullptr};
  return caches;
}
}  // namespace

KernelCache& KernelCache::process_cache(bool images) {
  static ProcessCaches* caches = [] {
    instance().store(new ProcessCaches);
    // A child of fork() has one thread: the locks are taken so that it finds the tables whole, and entries that other
    // threads were making are dropped, since nobody in the child will finish them.
    pthread_atfork(
        [] {
          instance().load()->executables.lock_all();
          instance().load()->images.lock_all();
        },
        [] {
          instance().load()->executables.unlock_all(false);
          instance().load()->images.unlock_all(false);
        },
        [] {
          instance().load()->executables.unlock_all(true);
          instance().load()->images.unlock_all(true);
        });
    return instance().load();
  }();
  return images ? caches->images : caches->executables;
}

KernelCache& KernelCache::of_process() { return process_cache(false); }
KernelCache& KernelCache::images_of_process() { return process_cache(true); }

void KernelCache::lock_all() {
  for (Shard& shard : shards_) shard.mutex.lock();
}

void KernelCache::unlock_all(bool in_child) {
  for (Shard& shard : shards_) {
    if (in_child)
      for (auto it = shard.entries.begin(); it != shard.entries.end();) {
        if (it->second->done) {
          ++it;
        } else {
          new std::shared_ptr<Entry>(it->second);  // its mutex may be held by a thread that is gone: never destroyed
          it = shard.entries.erase(it);
          --count_;
        }
      }
    shard.mutex.unlock();
  }
}

KernelCache::Value KernelCache::get(const std::string& key, const Make& make, CacheCounters& counters) {
  Shard& shard = shard_of(key);
  std::shared_ptr<Entry> entry;
  bool mine = false;
  {
    std::lock_guard lock(shard.mutex);
    auto& place = shard.entries[key];
    if (!place) {
      place = std::make_shared<Entry>();
      mine = true;
      ++count_;
    }
    entry = place;
  }
  entry->used.store(++clock_, std::memory_order_relaxed);
  if (!mine) {
    std::unique_lock lock(entry->mutex);
    const bool waited = !entry->done;
    entry->finished.wait(lock, [&] { return entry->done; });
    ++(waited ? counters.misses : counters.hits);
    ++(waited ? totals_.misses : totals_.hits);
    if (entry->failure) std::rethrow_exception(entry->failure);
    return entry->value;
  }
  ++counters.misses;
  ++totals_.misses;
  Value value;
  std::exception_ptr failure;
  try {
    Made made = make();
    value = std::move(made.value);
    ++(made.compiled ? counters.compiles : counters.loads);
    ++(made.compiled ? totals_.compiles : totals_.loads);
  } catch (...) {
    failure = std::current_exception();
    ++counters.failures;
    ++totals_.failures;
    std::lock_guard lock(shard.mutex);
    const auto found = shard.entries.find(key);
    if (found != shard.entries.end() && found->second == entry) {
      shard.entries.erase(found);
      --count_;
    }
  }
  {
    std::lock_guard lock(entry->mutex);
    entry->value = value;
    entry->failure = failure;
    entry->done = true;
  }
  entry->finished.notify_all();
  if (failure) std::rethrow_exception(failure);
  evict();
  return value;
}

KernelCache::Value KernelCache::find(const std::string& key) {
  Shard& shard = shard_of(key);
  std::lock_guard lock(shard.mutex);
  const auto found = shard.entries.find(key);
  if (found == shard.entries.end()) return nullptr;
  std::lock_guard entry_lock(found->second->mutex);
  found->second->used.store(++clock_, std::memory_order_relaxed);
  return found->second->done ? found->second->value : nullptr;
}

bool KernelCache::forget(const std::string& key, const Value& value) {
  Shard& shard = shard_of(key);
  std::lock_guard lock(shard.mutex);
  const auto found = shard.entries.find(key);
  if (found == shard.entries.end()) return true;  // evicted
  {
    std::lock_guard entry_lock(found->second->mutex);
    if (!found->second->done || found->second->value != value) return false;
  }
  shard.entries.erase(found);
  --count_;
  return true;
}

void KernelCache::evict() {
  const std::size_t capacity = capacity_.load();
  while (capacity != 0 && count_.load() > capacity) {
    // The oldest finished entry of all shards; kernels in use live on in the objects that hold them.
    Shard* from = nullptr;
    std::string oldest;
    std::uint64_t when = ~std::uint64_t{0};
    for (Shard& shard : shards_) {
      std::lock_guard lock(shard.mutex);
      for (const auto& [key, entry] : shard.entries) {
        std::lock_guard entry_lock(entry->mutex);
        const std::uint64_t used = entry->used.load(std::memory_order_relaxed);
        if (entry->done && used < when) {
          when = used;
          oldest = key;
          from = &shard;
        }
      }
    }
    if (!from) return;
    std::lock_guard lock(from->mutex);
    if (from->entries.erase(oldest) > 0) --count_;
  }
}

void KernelCache::set_capacity(std::size_t entries) {
  capacity_.store(entries);
  evict();
}

std::size_t KernelCache::size() { return count_.load(); }

void KernelCache::clear() {
  for (Shard& shard : shards_) {
    std::lock_guard lock(shard.mutex);
    for (auto it = shard.entries.begin(); it != shard.entries.end();) {
      std::unique_lock entry_lock(it->second->mutex);
      const bool done = it->second->done;
      entry_lock.unlock();
      if (done) {
        it = shard.entries.erase(it);
        --count_;
      } else {
        ++it;
      }
    }
  }
}

}  // namespace quern::runtime
