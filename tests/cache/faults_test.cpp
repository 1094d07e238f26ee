// The k-th system call fails, for every k, in every way: what follows is a miss or a hit with the right bytes, never more.
#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "tests/cache/place.h"
#include "tests/catch.h"

using namespace quern_test;
using How = disk::Found::How;

namespace {

/// Fails one call. A write that fails may have written half first.
class Failing final : public disk::SystemCalls {
 public:
  Failing(int which, int error, bool half) : left_(which), error_(error), half_(half) { disk::replace_system_calls(this); }
  ~Failing() override { disk::replace_system_calls(nullptr); }
  bool fired() const { return left_ <= 0; }

  int open(int folder, const char* name, int flags, mode_t mode) override { return fails() ? -1 : SystemCalls::open(folder, name, flags, mode); }
  int status(int file, struct stat* out) override { return fails() ? -1 : SystemCalls::status(file, out); }
  ssize_t read(int file, void* to, std::size_t bytes) override {
    if (fails()) return half_ ? SystemCalls::read(file, to, bytes / 2) : -1;
    return SystemCalls::read(file, to, bytes);
  }
  ssize_t write(int file, const void* from, std::size_t bytes) override {
    if (!fails()) return SystemCalls::write(file, from, bytes);
    if (half_) return SystemCalls::write(file, from, bytes / 2);
    return -1;
  }
  int close(int file) override {
    SystemCalls::close(file);  // closed even when it says that it failed, as on Linux
    return fails() ? -1 : 0;
  }
  int make_folder(int folder, const char* name, mode_t mode) override { return fails() ? -1 : SystemCalls::make_folder(folder, name, mode); }
  int rename(int folder, const char* from, const char* to) override { return fails() ? -1 : SystemCalls::rename(folder, from, to); }
  int remove(int folder, const char* name) override { return fails() ? -1 : SystemCalls::remove(folder, name); }
  int touch(int file) override { return fails() ? -1 : SystemCalls::touch(file); }
  int list(int folder, std::vector<std::string>* names) override { return fails() ? -1 : SystemCalls::list(folder, names); }

 private:
  bool fails() {
    if (--left_ != 0) return false;
    errno = error_;
    return true;
  }
  int left_, error_;
  bool half_;
};

int open_descriptors() {
  int n = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) n += !entry.path().empty();
  return n;
}

}  // namespace

TEST_CASE("any one system call may fail") {
  const std::string payload(30000, 'p');
  const int before = open_descriptors();
  int cases = 0, longest = 0;
  for (const int error : {ENOSPC, EDQUOT, EROFS, EACCES, EIO, ESTALE, EINTR, EMFILE, ENOENT}) {
    for (const bool half : {false, true}) {
      bool fired = true;
      for (int k = 1; fired; ++k) {
        CAPTURE(std::strerror(error), half, k);
        REQUIRE(k < 500);
        const Place place;
        disk::Store store = place.store();
        {
          Failing failing(k, error, half);
          store.write("one", "k", payload);
          const disk::Found one = store.read("one");
          const bool right = one.how != How::hit || one.payload == payload;
          store.write("two", "k", payload);
          store.read("none");
          store.list(true);
          store.prune(1000000);
          store.forget("two");
          fired = failing.fired();
          CHECK(right);
        }
        ++cases;
        longest = std::max(longest, k);
        // The folder is as usable as ever.
        disk::Store after = place.store();
        const disk::Found one = after.read("one");
        CHECK((one.how == How::none || (one.how == How::hit && one.payload == payload)));
        REQUIRE(after.write("one", "k", payload));
        CHECK(after.read("one").how == How::hit);
        for (const disk::Listed& e : after.list(true)) CHECK(e.fault.empty());
      }
    }
  }
  CHECK(longest > 30);
  CHECK(cases > 500);
  CHECK(open_descriptors() == before);
}

TEST_CASE("a network file system whose reader does not see the winner's file") {
  const Place place;
  disk::Store store = place.store();
  REQUIRE(store.write("key", "k", "payload"));
  // ENOENT and ESTALE for what is there: a miss, and the file stays.
  for (const int error : {ENOENT, ESTALE, EIO})
    for (int k = 1; k <= 8; ++k) {
      Failing failing(k, error, false);
      const disk::Found found = store.read("key");
      CHECK((found.how != How::hit || found.payload == "payload"));
    }
  CHECK(store.read("key").how == How::hit);
  // EEXIST for the temporary file: not stored, nothing broken.
  for (int k = 1; k <= 12; ++k) {
    Failing failing(k, EEXIST, false);
    store.write("key", "k", "payload");
  }
  CHECK(store.read("key").how == How::hit);
}
