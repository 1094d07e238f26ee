// Kernels in a folder, a file each, below 256 folders by the first two digits of the key's digest. Any number of processes
// share it without locks: a file appears whole by rename, is read whole, and is believed only when all of it is right.
// The one idea: the folder may be gone, full, read only, damaged or somebody else's at any moment; every such thing is a miss.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/disk/system_calls.h"

namespace quern::runtime::disk {

/// Where entries go: what the caller says, else QUERN_CACHE_DIR, else XDG_CACHE_HOME/quern, else ~/.cache/quern. Empty, with
/// `why`, when there is no such place: the two variables must hold absolute paths, and no home folder means no cache.
std::string default_folder(const std::string& wanted, std::string* why);

struct Found {
  enum class How { hit, none, damaged, refused, failed } how = How::none;
  std::string name, payload;  // of a hit
  std::string why;            // of a miss that is more than "none"
};

struct Listed {
  std::string digest;         // the name of the file
  std::string key, name;      // empty where it is damaged
  std::string fault;
  std::uint64_t bytes = 0;
  std::int64_t used = 0;      // seconds since 1970: stored, or read (to the hour)
};

struct StoreOptions {
  std::string folder;
  std::uint64_t most_bytes = std::uint64_t{1} << 30;
  bool read_only = false;
  bool shared = false;        // folders and files may be others', and others may write them: they are trusted as this program is
  int digest_digits = 32;     // for tests of collisions
};

class Store {
 public:
  explicit Store(StoreOptions options) : options_(std::move(options)) {}

  Found read(std::string_view key);
  /// False: not stored, for whatever reason.
  bool write(std::string_view key, std::string_view name, std::string_view payload);
  /// What a device could not load, although it was whole.
  void forget(std::string_view key);

  /// Every entry; `damaged`: says what is wrong with those that are, else they are left out.
  std::vector<Listed> list(bool damaged = false);
  /// Removes what was not used for longest until at most so many bytes are left, and what dead writers left behind. Entries
  /// removed.
  std::size_t prune(std::uint64_t most_bytes);
  /// Removes every entry; files that are none stay.
  std::size_t clear() { return prune(0); }

  /// Whether there is a folder at all: cheaper than to read from it.
  bool is_there();

  const std::string& folder() const { return options_.folder; }
  bool read_only() const { return options_.read_only || latched_.load(); }
  std::uint64_t most_bytes() const { return options_.most_bytes; }
  /// The first reason for which the folder, or a part of it, was not used; "" while all is well.
  std::string warning() const;

 private:
  struct Item {
    std::string folder, file;
    std::uint64_t bytes;
    std::int64_t used, nanoseconds;
  };
  File open_root(bool create);
  File open_part(const File& root, const std::string& name, bool create);
  bool trusted(int file, bool folder, const std::string& what);
  std::optional<std::string> load(const File& part, const std::string& name, bool used, Found* found);
  std::string digest(std::string_view key) const;
  void warn(std::string text);
  void not_written(int error);
  /// All files, and those that dead writers left (removed when `clean`).
  std::vector<Item> items(const File& root, bool clean);
  void keep_bounded(std::uint64_t added);

  StoreOptions options_;
  std::atomic<bool> latched_{false};
  std::atomic<const std::string*> warning_{nullptr};
  std::atomic<std::uint64_t> added_{0};  // bytes since the folder was measured
  std::atomic<bool> measured_{false};
};

}  // namespace quern::runtime::disk
