// A cache folder of a test, and children that use it.
#pragma once

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include <quern/quern.h>

#include "runtime/disk/store.h"

namespace quern_test {

namespace disk = quern::runtime::disk;

/// A private folder that goes away with the object.
class Place {
 public:
  Place() {
    char name[] = "/tmp/quern-cache-test-XXXXXX";
    path_ = mkdtemp(name);
  }
  ~Place() {
    std::error_code ignored;
    std::filesystem::permissions(path_, std::filesystem::perms::owner_all, ignored);
    std::filesystem::remove_all(path_, ignored);
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }
  disk::Store store() const {
    disk::StoreOptions options;
    options.folder = path_ + "/cache";
    return disk::Store(std::move(options));
  }
  std::string folder() const { return path_ + "/cache"; }

 private:
  std::string path_;
};

/// The cache of this process is another for the life of the object; memory forgets before and after.
class WithCache {
 public:
  explicit WithCache(const std::string& folder, quern::CacheMode mode = quern::CacheMode::on) {
    quern::clear_cache();
    quern::set_cache({mode, folder, 0, false});
  }
  ~WithCache() {
    quern::clear_cache();
    quern::set_cache({quern::CacheMode::off, "", 0, false});
  }
};

}  // namespace quern_test
