// See process_store.h.
#include "runtime/disk/process_store.h"

#include <atomic>
#include <cstdlib>
#include <string_view>

namespace quern::runtime::disk {
namespace {

std::atomic<const ProcessStore*>& current() {
  static std::atomic<const ProcessStore*> store{nullptr};
  return store;
}

std::unique_ptr<ProcessStore> make(const CacheOptions& options) {
  auto made = std::make_unique<ProcessStore>();
  made->mode = options.mode;
  if (made->mode == CacheMode::off) return made;
  StoreOptions store;
  store.folder = default_folder(options.directory, &made->problem);
  if (store.folder.empty()) return made;
  store.read_only = made->mode != CacheMode::on;
  store.shared = options.shared;
  if (options.most_bytes != 0) {
    store.most_bytes = options.most_bytes;
  } else if (const char* size = std::getenv("QUERN_CACHE_SIZE")) {
    char* end = nullptr;
    const unsigned long long bytes = std::strtoull(size, &end, 10);
    if (end != size && *end == '\0' && bytes > 0) store.most_bytes = bytes;
    else if (*size) made->problem = "QUERN_CACHE_SIZE='" + std::string(size) + "' is no number of bytes";
  }
  StoreOptions choices = store;
  choices.folder += "/tuned";
  made->store = std::make_unique<Store>(std::move(store));
  made->choices = std::make_unique<Store>(std::move(choices));
  return made;
}

CacheOptions from_environment(std::string* problem) {
  CacheOptions options;
  const char* word = std::getenv("QUERN_CACHE");
  const std::string_view mode = word ? word : "";
  if (mode == "off" || mode == "0") options.mode = CacheMode::off;
  else if (mode == "read-only") options.mode = CacheMode::read_only;
  else if (mode == "frozen") options.mode = CacheMode::frozen;
  else if (!mode.empty() && mode != "on" && mode != "1") *problem = "QUERN_CACHE='" + std::string(mode) + "' is none of on, read-only, frozen and off";
  return options;
}

}  // namespace

const ProcessStore& process_store() {
  if (const ProcessStore* store = current().load(std::memory_order_acquire)) return *store;
  std::string problem;
  auto made = make(from_environment(&problem));
  if (!problem.empty()) made->problem = problem;
  const ProcessStore* none = nullptr;
  if (current().compare_exchange_strong(none, made.get())) return *made.release();
  return *none;
}

}  // namespace quern::runtime::disk

namespace quern {
inline namespace v0 {

using namespace runtime::disk;  // NOLINT: the rest is the public functions

void set_cache(const CacheOptions& options) { current().store(make(options).release(), std::memory_order_release); }

CacheStatus cache_status() {
  const ProcessStore& process = process_store();
  CacheStatus status;
  status.mode = process.mode;
  status.warning = process.problem;
  if (!process.store) return status;
  status.directory = process.store->folder();
  status.most_bytes = process.store->most_bytes();
  if (const std::string text = process.store->warning(); !text.empty()) status.warning = text;
  return status;
}

}  // namespace v0
}  // namespace quern
