// The store of this process: what set_cache or the environment said.
#pragma once

#include <memory>

#include <quern/cache.h>

#include "runtime/disk/store.h"

namespace quern::runtime::disk {

struct ProcessStore {
  CacheMode mode = CacheMode::on;
  std::unique_ptr<Store> store;  // null: off, or there is no folder for it
  std::unique_ptr<Store> choices;  // measured ones (runtime/tuned.h), in "tuned" below that folder; null where `store` is
  std::string problem;           // why there is none
};

/// Lives as long as the process: threads may be using it while another is set.
const ProcessStore& process_store();

}  // namespace quern::runtime::disk
