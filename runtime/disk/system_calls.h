// The system calls of the disk cache, in one place so that tests can make each of them fail.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace quern::runtime::disk {

/// As in POSIX, with a directory's descriptor and a name below it: -1 and errno where they fail.
class SystemCalls {
 public:
  virtual ~SystemCalls() = default;
  virtual int open(int folder, const char* name, int flags, mode_t mode);
  virtual int status(int file, struct stat* out);
  virtual ssize_t read(int file, void* to, std::size_t bytes);
  virtual ssize_t write(int file, const void* from, std::size_t bytes);
  virtual int close(int file);
  virtual int make_folder(int folder, const char* name, mode_t mode);
  virtual int rename(int folder, const char* from, const char* to);
  virtual int remove(int folder, const char* name);
  /// Sets both times of an open file to now.
  virtual int touch(int file);
  /// The names in an open folder, without "." and "..".
  virtual int list(int folder, std::vector<std::string>* names);
};

SystemCalls& system_calls();
/// For tests: null puts the real ones back.
void replace_system_calls(SystemCalls* calls);

/// A descriptor that is closed with the object.
class File {
 public:
  explicit File(int number = -1) : number_(number) {}
  File(File&& other) noexcept : number_(other.release()) {}
  File& operator=(File&& other) noexcept;
  ~File() { reset(); }
  explicit operator bool() const { return number_ >= 0; }
  int number() const { return number_; }
  int release();
  void reset();

 private:
  int number_;
};

/// Opens, again where a signal came between.
File open_file(int folder, const char* name, int flags, mode_t mode = 0);

}  // namespace quern::runtime::disk
