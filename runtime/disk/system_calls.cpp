// See system_calls.h.
#include "runtime/disk/system_calls.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace quern::runtime::disk {

int SystemCalls::open(int folder, const char* name, int flags, mode_t mode) { return ::openat(folder, name, flags, mode); }
int SystemCalls::status(int file, struct stat* out) { return ::fstat(file, out); }
ssize_t SystemCalls::read(int file, void* to, std::size_t bytes) { return ::read(file, to, bytes); }
ssize_t SystemCalls::write(int file, const void* from, std::size_t bytes) { return ::write(file, from, bytes); }
int SystemCalls::close(int file) { return ::close(file); }
int SystemCalls::make_folder(int folder, const char* name, mode_t mode) { return ::mkdirat(folder, name, mode); }
int SystemCalls::rename(int folder, const char* from, const char* to) { return ::renameat(folder, from, folder, to); }
int SystemCalls::remove(int folder, const char* name) { return ::unlinkat(folder, name, 0); }
int SystemCalls::touch(int file) { return ::futimens(file, nullptr); }
int SystemCalls::list(int folder, std::vector<std::string>* names) {
  const int copy = ::fcntl(folder, F_DUPFD_CLOEXEC, 0);
  if (copy < 0) return -1;
  DIR* open = ::fdopendir(copy);
  if (!open) {
    const int why = errno;
    ::close(copy);
    errno = why;
    return -1;
  }
  ::rewinddir(open);
  errno = 0;
  while (const dirent* entry = ::readdir(open))
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) names->emplace_back(entry->d_name);
  const int why = errno;
  ::closedir(open);
  errno = why;
  return why == 0 ? 0 : -1;
}

namespace {
SystemCalls real;
std::atomic<SystemCalls*> current{&real};
}  // namespace

SystemCalls& system_calls() { return *current.load(std::memory_order_relaxed); }
void replace_system_calls(SystemCalls* calls) { current.store(calls ? calls : &real); }

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    reset();
    number_ = other.release();
  }
  return *this;
}
int File::release() { return std::exchange(number_, -1); }
void File::reset() {
  if (number_ < 0) return;
  const int why = errno;
  system_calls().close(std::exchange(number_, -1));
  errno = why;
}

File open_file(int folder, const char* name, int flags, mode_t mode) {
  for (;;) {
    const int number = system_calls().open(folder, name, flags | O_CLOEXEC, mode);
    if (number >= 0 || errno != EINTR) return File(number);
  }
}

}  // namespace quern::runtime::disk
