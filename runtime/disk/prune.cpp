// What stays in the folder: a walk over all its files. See store.h.
#include <fcntl.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <tuple>

#include "runtime/disk/entry.h"
#include "runtime/disk/store.h"

namespace quern::runtime::disk {
namespace {

constexpr std::int64_t kWriterLives = 600;  // seconds after which an unfinished file has no writer any more

bool hexadecimal(const std::string& s) { return s.find_first_not_of("0123456789abcdef") == std::string::npos; }

}  // namespace

std::vector<Store::Item> Store::items(const File& root, bool clean) {
  std::vector<Item> found;
  std::vector<std::string> parts;
  if (system_calls().list(root.number(), &parts) != 0) return found;
  const std::int64_t now = ::time(nullptr);
  for (const std::string& part_name : parts) {
    if (part_name.size() != 2 || !hexadecimal(part_name)) continue;
    const File part = open_part(root, part_name, false);
    std::vector<std::string> files;
    if (!part || system_calls().list(part.number(), &files) != 0) continue;
    for (const std::string& name : files) {
      const bool unfinished = name.starts_with(".");
      if (!unfinished && (name.size() != static_cast<std::size_t>(options_.digest_digits) || !hexadecimal(name))) continue;
      const File file = open_file(part.number(), name.c_str(), O_PATH | O_NOFOLLOW);
      struct stat s;
      if (!file || system_calls().status(file.number(), &s) != 0 || !S_ISREG(s.st_mode)) continue;
      if (!unfinished) found.push_back({part_name, name, static_cast<std::uint64_t>(s.st_size), s.st_mtim.tv_sec, s.st_mtim.tv_nsec});
      else if (clean && s.st_mtime + kWriterLives < now) system_calls().remove(part.number(), name.c_str());
    }
  }
  return found;
}

std::vector<Listed> Store::list(bool damaged) {
  std::vector<Listed> result;
  const File root = open_root(false);
  if (!root) return result;
  for (const Item& item : items(root, false)) {
    Listed listed;
    listed.digest = item.file;
    listed.bytes = item.bytes;
    listed.used = item.used;
    const File part = open_part(root, item.folder, false);
    if (!part) continue;
    Found found;
    const std::optional<std::string> bytes = load(part, item.file, false, &found);
    if (!bytes && found.how == Found::How::none) continue;  // removed meanwhile
    Entry entry;
    const char* fault = nullptr;
    if (!bytes) {
      listed.fault = found.why;
    } else if (!unpack(*bytes, &entry, &fault)) {
      listed.fault = fault;
    } else if (digest(entry.key) != item.file) {
      listed.fault = "its name is not that of its key";
    } else {
      listed.key = entry.key;
      listed.name = entry.name;
    }
    if (listed.fault.empty() || damaged) result.push_back(std::move(listed));
  }
  std::sort(result.begin(), result.end(), [](const Listed& a, const Listed& b) { return std::tie(b.used, a.digest) < std::tie(a.used, b.digest); });
  return result;
}

std::size_t Store::prune(std::uint64_t most_bytes) {
  if (read_only()) return 0;
  const File root = open_root(false);
  if (!root) return 0;
  std::vector<Item> all = items(root, true);
  std::uint64_t total = 0;
  for (const Item& item : all) total += item.bytes;
  std::sort(all.begin(), all.end(), [](const Item& a, const Item& b) { return std::tie(a.used, a.nanoseconds, a.file) < std::tie(b.used, b.nanoseconds, b.file); });
  std::size_t removed = 0;
  for (const Item& item : all) {
    if (total <= most_bytes) break;
    const File part = open_part(root, item.folder, false);
    if (!part) continue;
    // A reader that has it open reads on; gone already means that another process prunes too.
    const bool done = system_calls().remove(part.number(), item.file.c_str()) == 0;
    removed += done;
    if (done || errno == ENOENT) total -= item.bytes;
  }
  return removed;
}

/// The folder is measured at a process's first store and then after every sixteenth part of the bound, so that with p writers
/// it is beyond the bound by p sixteenths at most.
void Store::keep_bounded(std::uint64_t added) {
  const std::uint64_t since = added_.fetch_add(added) + added;
  if (measured_.exchange(true) && since <= options_.most_bytes / 16) return;
  added_ = 0;
  const File root = open_root(false);
  if (!root) return;
  std::uint64_t total = 0;
  for (const Item& item : items(root, false)) total += item.bytes;
  if (total > options_.most_bytes) prune(options_.most_bytes / 8 * 7);
}

}  // namespace quern::runtime::disk
