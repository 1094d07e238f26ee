// A kernel is code: a folder or a file that another user made, can write or can redirect is refused, and said so; then kernels
// are compiled in memory. And the places where there is no cache at all.
#include <sys/wait.h>

#include <fstream>
#include <functional>

#include "runtime/disk/entry.h"
#include "tests/cache/place.h"
#include "tests/catch.h"

using namespace quern_test;
namespace fs = std::filesystem;
using How = disk::Found::How;

namespace {

constexpr const char* kKey = "key";

struct Attack {
  const char* name;
  std::function<void(const Place&, const std::string& part, const std::string& file)> make;
  bool root_only = false;  // another owner needs rights to give a file away
  bool says_so = true;     // a warning; otherwise a plain miss
};

void give_away(const std::string& path) { REQUIRE(lchown(path.c_str(), 65534, 65534) == 0); }

const std::vector<Attack>& attacks() {
  static const std::vector<Attack> list{
      {"the folder is a link to a folder", [](const Place& p, const auto&, const auto&) { fs::rename(p.folder(), p / "real"), fs::create_directory_symlink(p / "real", p.folder()); }},
      {"the folder is a link to nothing", [](const Place& p, const auto&, const auto&) { fs::remove_all(p.folder()), fs::create_directory_symlink(p / "nowhere", p.folder()); }},
      {"the folder is a file", [](const Place& p, const auto&, const auto&) { fs::remove_all(p.folder()), std::ofstream(p.folder()) << "x"; }},
      {"the folder may be written by the group", [](const Place& p, const auto&, const auto&) { chmod(p.folder().c_str(), 0770); }},
      {"the folder may be written by all", [](const Place& p, const auto&, const auto&) { chmod(p.folder().c_str(), 0777); }},
      {"the folder may be written by all, sticky", [](const Place& p, const auto&, const auto&) { chmod(p.folder().c_str(), 01777); }},
      {"the folder belongs to another user", [](const Place& p, const auto&, const auto&) { give_away(p.folder()); }, true},
      {"a part is a link", [](const Place& p, const std::string& part, const auto&) { fs::rename(part, p / "part"), fs::create_directory_symlink(p / "part", part); }},
      {"a part may be written by all", [](const Place&, const std::string& part, const auto&) { chmod(part.c_str(), 0777); }},
      {"a part belongs to another user", [](const Place&, const std::string& part, const auto&) { give_away(part); }, true},
      {"a part is a file", [](const Place&, const std::string& part, const auto&) { fs::remove_all(part), std::ofstream(part) << "x"; }},
      {"an entry is a link to a good one", [](const Place& p, const auto&, const std::string& file) { fs::rename(file, p / "entry"), fs::create_symlink(p / "entry", file); }},
      {"an entry may be written by the group", [](const Place&, const auto&, const std::string& file) { chmod(file.c_str(), 0660); }},
      {"an entry may be written by all", [](const Place&, const auto&, const std::string& file) { chmod(file.c_str(), 0666); }},
      {"an entry belongs to another user", [](const Place&, const auto&, const std::string& file) { give_away(file); }, true},
      {"an entry is a pipe that nobody writes", [](const Place&, const auto&, const std::string& file) { fs::remove(file), mkfifo(file.c_str(), 0600); }},
      {"an entry is a folder", [](const Place&, const auto&, const std::string& file) { fs::remove(file), fs::create_directory(file); }},
      {"an entry is enormous", [](const Place&, const auto&, const std::string& file) { fs::resize_file(file, std::uintmax_t{1} << 33); }, false, false},
      {"an entry is that of another key", [](const Place& p, const auto&, const std::string& file) {
         disk::Store store = p.store();
         REQUIRE(store.write("evil", "k", "evil payload"));
         const std::string digest = disk::digest_of("evil");
         fs::rename(p.folder() + "/" + digest.substr(0, 2) + "/" + digest, file);
       }, false, false},
  };
  return list;
}

}  // namespace

TEST_CASE("what others could have made is refused, with a warning") {
  std::size_t refused = 0;
  if (geteuid() != 0) WARN("skipped: files of another user, which only root can make");
  for (const Attack& attack : attacks()) {
    if (attack.root_only && geteuid() != 0) continue;
    CAPTURE(attack.name);
    const Place place;
    REQUIRE(place.store().write(kKey, "k", "payload"));
    REQUIRE(place.store().read(kKey).how == How::hit);
    const std::string digest = disk::digest_of(kKey), part = place.folder() + "/" + digest.substr(0, 2);
    attack.make(place, part, part + "/" + digest);
    disk::Store store = place.store();
    CHECK(store.read(kKey).how != How::hit);
    CHECK(store.warning().empty() == !attack.says_so);
    // And the library goes on: it compiles, and its answer is right.
    {
      const WithCache cache(place.folder());
      const std::vector<float> x{1, 2, 3};
      const quern::Kernel kernel("kernel attacked(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] + 1 }");
      CHECK(quern::Tensor(kernel(x)).get({2}) == 4);
    }
    ++refused;
  }
  CHECK(refused >= (geteuid() == 0 ? 19u : 16u));
}

TEST_CASE("a shared folder is accepted where it is asked for") {
  const Place place;
  REQUIRE(place.store().write(kKey, "k", "payload"));
  chmod(place.folder().c_str(), 0770);
  disk::StoreOptions options;
  options.folder = place.folder();
  options.shared = true;
  CHECK(disk::Store(options).read(kKey).how == How::hit);
}

TEST_CASE("where the folder is, and where there is none") {
  struct Variables {
    std::vector<std::pair<std::string, std::string>> kept;
    Variables() {
      for (const char* name : {"QUERN_CACHE_DIR", "XDG_CACHE_HOME", "HOME"})
        if (const char* value = getenv(name)) kept.push_back({name, value});
    }
    ~Variables() {
      set("", "", "");
      for (const auto& [name, value] : kept) setenv(name.c_str(), value.c_str(), 1);
    }
    static void set(const std::string& own, const std::string& xdg, const std::string& home) {
      const auto one = [](const char* name, const std::string& value) { value.empty() ? unsetenv(name) : setenv(name, value.c_str(), 1); };
      one("QUERN_CACHE_DIR", own), one("XDG_CACHE_HOME", xdg), one("HOME", home);
    }
  } variables;
  const std::string deep = "/home/" + std::string(300, 'd'), spaced = "/home/a b/\xc3\xa9";
  struct Row {
    std::string own, xdg, home, wanted, folder;
  };
  for (const Row& r : std::vector<Row>{
           {"/own", "/xdg", "/home/u", "", "/own"},
           {"/own/", "/xdg", "/home/u", "", "/own"},
           {"", "/xdg", "/home/u", "", "/xdg/quern"},
           {"", "", "/home/u", "", "/home/u/.cache/quern"},
           {"", "relative", "/home/u", "", "/home/u/.cache/quern"},  // as the XDG specification says
           {"relative", "", "/home/u", "", ""},
           {"", "", "/home/u", "/asked", "/asked"},
           {"", "", "/home/u", "asked", ""},
           {"", "", spaced, "", spaced + "/.cache/quern"},
           {"", "", deep, "", deep + "/.cache/quern"},
           {"/own", "", "", "", "/own"},
       }) {
    Variables::set(r.own, r.xdg, r.home);
    std::string why;
    CAPTURE(r.own, r.xdg, r.home, r.wanted);
    CHECK(disk::default_folder(r.wanted, &why) == r.folder);
    CHECK(why.empty() == !r.folder.empty());
  }
  // Names that cannot be made, or not written: a store that stores nothing.
  for (const std::string& folder : {deep + "/.cache", std::string("/proc/quern"), std::string("/dev/null/quern")}) {
    disk::StoreOptions options;
    options.folder = folder;
    disk::Store store(options);
    CHECK_FALSE(store.write(kKey, "k", "payload"));
    CHECK(store.read(kKey).how != How::hit);
  }
}
