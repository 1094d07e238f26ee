// The cache on machines as they are: a folder that is really full or really read only (a mount of its own), a limit on the size of
// files, and processors with fewer instructions than the one that stored the entries (qemu-user).
//
// Where mounts or qemu are not to be had a test says that it is skipped; QUERN_REQUIRE_MOUNTS=1 and QUERN_REQUIRE_QEMU=1 make that
// a failure.
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <cstring>
#include <fstream>
#include <functional>

#include "runtime/device.h"
#include "tests/cache/place.h"
#include "tests/catch.h"
#include "tests/command/process.h"

using namespace quern;
using namespace quern_test;
using How = disk::Found::How;

namespace {

bool required(const char* variable) {
  const char* value = getenv(variable);
  return value && std::strcmp(value, "1") == 0;
}

/// `test` in a child: "" or what was wrong.
std::string in_child(const std::function<std::string()>& test) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    std::string text;
    try {
      text = test();
    } catch (const std::exception& e) {
      text = std::string("exception: ") + e.what();
    }
    [[maybe_unused]] const ssize_t n = write(ends[1], text.data(), text.size());
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[1024];
  for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;) text.append(buffer, static_cast<std::size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return status == 0 ? text : text + " [ended with status " + std::to_string(status) + "]";
}

const std::string kNoMounts = "no mounts here";

/// A mount namespace of this process's own, as a user who is root in it.
bool own_mounts() {
  const uid_t user = getuid();
  const gid_t group = getgid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return false;
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/uid_map") << "0 " << user << " 1";
  std::ofstream("/proc/self/gid_map") << "0 " << group << " 1";
  return mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
}

#define EXPECT(condition) \
  if (!(condition)) return std::string(#condition)

std::string right_result(int k) {
  clear_cache();
  const Kernel kernel("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] * " + std::to_string(k) + " + 1 }");
  const std::vector<float> x{1, 2, 3};
  return Tensor(kernel(x)).get({2}) == 3.0 * k + 1 ? "" : "a wrong result";
}

/// Skipped, or not, where there are no mounts.
void check_mounted(const std::function<std::string()>& test) {
  const std::string said = in_child(test);
  if (said == kNoMounts) {
    CHECK_FALSE(required("QUERN_REQUIRE_MOUNTS"));
    WARN("skipped: no mount namespaces, so no file system really full or read only");
    return;
  }
  CHECK(said == "");
}

}  // namespace

TEST_CASE("a file system that is full: entries are refused, what is there is read, room is used again") {
  const Place place;
  check_mounted([&]() -> std::string {
    const std::string mounted = place / "full";
    mkdir(mounted.c_str(), 0700);
    if (!own_mounts() || mount("none", mounted.c_str(), "tmpfs", 0, "size=64k,mode=0700") != 0) return kNoMounts;
    disk::StoreOptions options;
    options.folder = mounted + "/cache";
    disk::Store store(options);
    const std::string payload(14000, 'p');
    int stored = 0;
    for (int k = 0; k < 12; ++k) stored += store.write("key " + std::to_string(k), "k", payload + std::to_string(k));
    EXPECT(stored >= 2);
    EXPECT(stored <= 4);
    EXPECT(store.warning().find("no room in the cache folder") != std::string::npos);
    EXPECT(!store.read_only());  // room may come again
    for (int k = 0; k < 12; ++k) {
      const disk::Found found = store.read("key " + std::to_string(k));
      EXPECT(found.how == (k < stored ? How::hit : How::none));
      EXPECT(k >= stored || found.payload == payload + std::to_string(k));
    }
    for (const auto& file : std::filesystem::recursive_directory_iterator(options.folder)) EXPECT(file.path().filename().string()[0] != '.');  // no half file is left
    set_cache({CacheMode::on, options.folder, 0, false});
    // Nothing at all goes in any more.
    std::ofstream(mounted + "/filler") << std::string(64 << 10, 'f');
    for (int k = 2; k < 5; ++k)
      if (const std::string wrong = right_result(k); !wrong.empty()) return wrong;
    std::filesystem::remove(mounted + "/filler");
    EXPECT(store.prune(1) == static_cast<std::size_t>(stored));
    EXPECT(store.write("again", "k", payload));
    EXPECT(store.read("again").payload == payload);
    // Files cannot be made for lack of inodes, not of bytes.
    const std::string crowded = place / "crowded";
    mkdir(crowded.c_str(), 0700);
    EXPECT(mount("none", crowded.c_str(), "tmpfs", 0, "nr_inodes=5,mode=0700") == 0);
    options.folder = crowded + "/cache";
    disk::Store few(options);
    stored = 0;
    for (int k = 0; k < 12; ++k) stored += few.write("key " + std::to_string(k), "k", payload);
    EXPECT(stored < 3);
    set_cache({CacheMode::on, options.folder, 0, false});
    return right_result(7);
  });
}

TEST_CASE("a file system mounted read only: what is there is read, nothing is written, nothing fails") {
  const Place place;
  check_mounted([&]() -> std::string {
    const std::string mounted = place / "fixed";
    mkdir(mounted.c_str(), 0700);
    if (!own_mounts() || mount("none", mounted.c_str(), "tmpfs", 0, "size=1m,mode=0700") != 0) return kNoMounts;
    disk::StoreOptions options;
    options.folder = mounted + "/cache";
    EXPECT(disk::Store(options).write("there", "k", "payload"));
    EXPECT(mount("none", mounted.c_str(), "tmpfs", MS_REMOUNT | MS_RDONLY, "") == 0);
    disk::Store store(options);
    EXPECT(store.read("there").payload == "payload");
    EXPECT(!store.write("new", "k", "payload"));
    EXPECT(store.read_only());
    EXPECT(!store.warning().empty());
    EXPECT(store.prune(0) == 0);
    EXPECT(store.read("there").how == How::hit);
    set_cache({CacheMode::on, options.folder, 0, false});
    return right_result(3);
  });
}

TEST_CASE("a limit on the size of files is no end of the process") {
  const Place place;
  for (const bool ignored : {false, true}) {
    CHECK(in_child([&]() -> std::string {
            if (ignored) signal(SIGXFSZ, SIG_IGN);
            const rlimit few{1000, 1000};
            EXPECT(setrlimit(RLIMIT_FSIZE, &few) == 0);
            disk::Store store = place.store();
            EXPECT(!store.write("long", "k", std::string(5000, 'p')));  // SIGXFSZ would end the process
            EXPECT(store.write("short", "k", "p"));
            EXPECT(store.read("short").payload == "p");
            EXPECT(store.read("long").how == How::none);
            set_cache({CacheMode::on, place.folder(), 0, false});
            return right_result(3);
          }) == "");
  }
}

namespace {

struct Emulated {
  int status = -1;
  std::string out;
};

/// The command on a processor that qemu plays; both streams together.
Emulated on_processor(const Place& place, const std::string& processor, const std::string& mode) {
  const std::string out = place / "out.txt";
  const std::string command = "QUERN_CACHE=" + mode + " QUERN_CACHE_DIR='" + place.folder() + "' " + (processor.empty() ? "" : "qemu-x86_64 -cpu '" + processor + "' ") + "'" QUERN_BINARY "' run '" +
                              (place / "rows.quern") + "' x=random:[3,40] --verify > '" + out + "' 2>&1";
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, content_of(out)};
}

/// Each processor: the entries of the others are not its own, what it compiles is right, and found by the next process on it.
void check_processors(const std::vector<std::string>& processors) {
  if (!runtime::has_cpu()) return;
  if (std::system("qemu-x86_64 -version > /dev/null 2>&1") != 0) {
    CHECK_FALSE(required("QUERN_REQUIRE_QEMU"));
    WARN("skipped: no qemu-x86_64 (package qemu-user), so no poorer processors");
    return;
  }
  const Place place;
  std::ofstream(place / "rows.quern") << "kernel rows(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = softmax[n](x[m,n]) }\n";
  CHECK(on_processor(place, "", "on").status == 0);
  REQUIRE(place.store().list().size() == 1);
  std::size_t entries = 1;
  for (const std::string& processor : processors) {
    INFO(processor);
    const Emulated foreign = on_processor(place, processor, "frozen");
    INFO(foreign.out);
    CHECK(foreign.status != 0);
    CHECK(foreign.out.find("is not in the cache, which is frozen: no entry ") != std::string::npos);
    const Emulated compiled = on_processor(place, processor, "on");
    INFO(compiled.out);
    CHECK(compiled.status == 0);
    CHECK(compiled.out.find("verified 120 of 120") != std::string::npos);
    CHECK(place.store().list().size() == ++entries);
    const Emulated found = on_processor(place, processor, "frozen");
    INFO(found.out);
    CHECK(found.status == 0);
    CHECK(found.out.find("verified 120 of 120") != std::string::npos);
  }
  CHECK(on_processor(place, "", "frozen").status == 0);
}

}  // namespace

TEST_CASE("entries of this processor are not those of a poorer one") { check_processors({"Haswell", "Nehalem"}); }
TEST_CASE("entries of this processor on 12 poorer ones", "[.][long]") {
  check_processors({"Penryn", "Nehalem", "Westmere", "SandyBridge", "IvyBridge", "Haswell", "Broadwell", "Skylake-Client", "Opteron_G5", "EPYC", "max,-avx2", "max,-fma,-f16c"});
}
