// Reading, writing and checking. See store.h; what is kept is in prune.cpp, where it stands in folder.cpp.
#include "runtime/disk/store.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "runtime/disk/entry.h"

namespace quern::runtime::disk {
namespace {

constexpr std::int64_t kTouchAfter = 3600;  // seconds: use is recorded to the hour

bool write_all(int file, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = system_calls().write(file, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

/// Errors that will not go away while this process runs.
bool lasting(int error) { return error == EROFS || error == EACCES || error == EPERM; }

}  // namespace

std::string Store::digest(std::string_view key) const { return digest_of(key).substr(0, static_cast<std::size_t>(options_.digest_digits)); }

void Store::warn(std::string text) {
  const std::string* none = nullptr;
  auto* mine = new std::string(std::move(text));  // one for the life of the process: others may be reading it
  if (!warning_.compare_exchange_strong(none, mine)) delete mine;
}

std::string Store::warning() const {
  const std::string* text = warning_.load();
  return text ? *text : "";
}

bool Store::trusted(int file, bool folder, const std::string& what) {
  struct stat s;
  if (system_calls().status(file, &s) != 0) return false;
  if (folder ? !S_ISDIR(s.st_mode) : !S_ISREG(s.st_mode)) {
    warn(fmt::format("'{}' is not a {}; kernels in it are not used", what, folder ? "folder" : "file"));
    return false;
  }
  if (options_.shared) return true;
  if (s.st_uid != geteuid()) {
    warn(fmt::format("'{}' belongs to user {}, not to {}; it is not used as a cache (a kernel is code)", what, s.st_uid, geteuid()));
    return false;
  }
  if ((s.st_mode & 022) != 0) {
    warn(fmt::format("'{}' may be written by others (mode {:o}); it is not used as a cache (a kernel is code): chmod go-w", what, s.st_mode & 07777));
    return false;
  }
  return true;
}

/// What a failed write says of later ones.
void Store::not_written(int error) {
  if (error == ENOSPC || error == EDQUOT) warn(fmt::format("no room in the cache folder '{}': {}", options_.folder, std::strerror(error)));
  if (!lasting(error)) return;
  latched_ = true;
  warn(fmt::format("nothing can be written to the cache folder '{}': {}", options_.folder, std::strerror(error)));
}

File Store::open_root(bool create) {
  const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  File root = open_file(AT_FDCWD, options_.folder.c_str(), flags);
  if (!root && errno == ENOENT && create) {
    // Folders on the way are made as private as the last.
    for (std::size_t at = 1; at != std::string::npos;) {
      at = options_.folder.find('/', at);
      const std::string part = options_.folder.substr(0, at);
      if (at != std::string::npos) ++at;
      if (system_calls().make_folder(AT_FDCWD, part.c_str(), 0700) != 0 && errno != EEXIST && errno != EINTR) {
        if (lasting(errno)) {
          latched_ = true;
          warn(fmt::format("the cache folder '{}' cannot be made: {}", options_.folder, std::strerror(errno)));
        }
        return File();
      }
    }
    root = open_file(AT_FDCWD, options_.folder.c_str(), flags);
  }
  if (!root) {
    if (errno == ELOOP || errno == ENOTDIR)
      warn(fmt::format("'{}' is not a folder, or is reached through a symbolic link at its end; it is not used as a cache", options_.folder));
    else if (errno != ENOENT)
      warn(fmt::format("the cache folder '{}' cannot be opened: {}", options_.folder, std::strerror(errno)));
    return File();
  }
  if (!trusted(root.number(), true, options_.folder)) return File();
  return root;
}

File Store::open_part(const File& root, const std::string& name, bool create) {
  const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  File part = open_file(root.number(), name.c_str(), flags);
  if (!part && errno == ENOENT && create) {
    if (system_calls().make_folder(root.number(), name.c_str(), 0700) != 0 && errno != EEXIST && errno != EINTR) {
      not_written(errno);
      return File();
    }
    part = open_file(root.number(), name.c_str(), flags);
  }
  if (!part) {
    if (errno == ELOOP || errno == ENOTDIR) warn(fmt::format("'{}/{}' is a symbolic link or no folder; kernels in it are not used", options_.folder, name));
    return File();
  }
  if (!trusted(part.number(), true, options_.folder + "/" + name)) return File();
  return part;
}

std::optional<std::string> Store::load(const File& part, const std::string& name, bool used, Found* found) {
  const auto miss = [&](Found::How how, std::string why) {
    found->how = how;
    found->why = std::move(why);
    return std::nullopt;
  };
  // Non-blocking: a pipe of this name must not stop us.
  const File file = open_file(part.number(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  if (!file) {
    if (errno == ENOENT) return miss(Found::How::none, "");
    if (errno == ELOOP) {
      warn(fmt::format("'{}/{}/{}' is a symbolic link; it is not used", options_.folder, name.substr(0, 2), name));
      return miss(Found::How::refused, "it is a symbolic link");
    }
    return miss(Found::How::failed, std::strerror(errno));
  }
  if (!trusted(file.number(), false, fmt::format("{}/{}/{}", options_.folder, name.substr(0, 2), name))) return miss(Found::How::refused, warning());
  struct stat s;
  if (system_calls().status(file.number(), &s) != 0) return miss(Found::How::failed, std::strerror(errno));
  if (s.st_size < 0 || static_cast<std::uint64_t>(s.st_size) > kMostEntryBytes) return miss(Found::How::damaged, "too long for an entry");
  std::string bytes(static_cast<std::size_t>(s.st_size), '\0');
  std::size_t have = 0;
  while (have < bytes.size()) {
    const ssize_t n = system_calls().read(file.number(), bytes.data() + have, bytes.size() - have);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return miss(Found::How::failed, std::strerror(errno));
    if (n == 0) break;
    have += static_cast<std::size_t>(n);
  }
  bytes.resize(have);
  if (used && !read_only() && s.st_mtime + kTouchAfter < ::time(nullptr)) system_calls().touch(file.number());
  return bytes;
}

bool Store::is_there() { return static_cast<bool>(open_file(AT_FDCWD, options_.folder.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW)); }

Found Store::read(std::string_view key) {
  Found found;
  const std::string name = digest(key);
  const File root = open_root(false);
  if (!root) {
    found.how = errno == ENOENT && warning().empty() ? Found::How::none : Found::How::refused;
    found.why = warning();
    return found;
  }
  const File part = open_part(root, name.substr(0, 2), false);
  if (!part) {
    found.how = errno == ENOENT ? Found::How::none : Found::How::refused;
    return found;
  }
  const std::optional<std::string> bytes = load(part, name, true, &found);
  if (!bytes) {
    if (found.how == Found::How::damaged && !read_only()) system_calls().remove(part.number(), name.c_str());
    return found;
  }
  Entry entry;
  const char* fault = nullptr;
  if (!unpack(*bytes, &entry, &fault)) {
    // What it holds is wrong, not how it was read: it goes. An error of reading leaves it, the next process may fare better.
    if (!read_only()) system_calls().remove(part.number(), name.c_str());
    found.how = Found::How::damaged;
    found.why = fault;
    return found;
  }
  if (entry.key != key) {
    found.why = "another kernel has the same digest";
    return found;
  }
  found.how = Found::How::hit;
  found.name = entry.name;
  found.payload = entry.payload;
  return found;
}

bool Store::write(std::string_view key, std::string_view name, std::string_view payload) {
  if (read_only()) return false;
  const std::string file_name = digest(key);
  const std::string bytes = pack({key, name, payload});
  if (bytes.size() > kMostEntryBytes || bytes.size() > options_.most_bytes) return false;
  // A longer file than the process may write would end it (SIGXFSZ).
  struct rlimit longest {};
  if (getrlimit(RLIMIT_FSIZE, &longest) == 0 && bytes.size() > longest.rlim_cur) return false;
  const File root = open_root(true);
  if (!root) return false;
  const File part = open_part(root, file_name.substr(0, 2), true);
  if (!part) return false;
  std::uint64_t random = 0;
  if (getrandom(&random, sizeof random, GRND_NONBLOCK) != sizeof random) {
    struct timespec now {};
    clock_gettime(CLOCK_MONOTONIC, &now);
    random = static_cast<std::uint64_t>(now.tv_nsec) * 0x9e3779b97f4a7c15ull;
  }
  // Beside its place, so that the rename stays within one file system. No fsync: what a power failure leaves is found by the
  // checksum.
  const std::string temporary = fmt::format(".{}-{:016x}", getpid(), random);
  File file = open_file(part.number(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0600);
  if (!file) {
    not_written(errno);
    return false;
  }
  bool stored = write_all(file.number(), bytes);
  // A network file system may say only now that there was no room.
  stored = system_calls().close(file.release()) == 0 && stored;
  stored = stored && system_calls().rename(part.number(), temporary.c_str(), file_name.c_str()) == 0;
  if (!stored) {
    const int why = errno;
    system_calls().remove(part.number(), temporary.c_str());
    not_written(why);
    return false;
  }
  keep_bounded(bytes.size());
  return true;
}

void Store::forget(std::string_view key) {
  if (read_only()) return;
  const std::string name = digest(key);
  const File root = open_root(false);
  if (!root) return;
  if (const File part = open_part(root, name.substr(0, 2), false)) system_calls().remove(part.number(), name.c_str());
}

}  // namespace quern::runtime::disk
