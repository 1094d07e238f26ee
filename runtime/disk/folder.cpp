// Where the cache is by default. See store.h. Never a folder that users share.
#include <pwd.h>
#include <sys/auxv.h>
#include <unistd.h>

#include <cstdlib>
#include <vector>

#include "runtime/disk/store.h"

namespace quern::runtime::disk {
namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

std::string home_folder() {
  if (const std::string home = variable("HOME"); home.starts_with("/")) return home;
  std::vector<char> buffer(16384);
  passwd entry{}, *found = nullptr;
  if (getpwuid_r(geteuid(), &entry, buffer.data(), buffer.size(), &found) != 0 || !found || !found->pw_dir) return "";
  const std::string home = found->pw_dir;
  return home.starts_with("/") && home != "/nonexistent" ? home : "";
}

}  // namespace

std::string default_folder(const std::string& wanted, std::string* why) {
  const auto plain = [](std::string path) {
    while (path.size() > 1 && path.back() == '/') path.pop_back();
    return path;
  };
  const auto refuse = [&](std::string text) {
    *why = std::move(text);
    return std::string();
  };
  if (!wanted.empty()) return wanted.starts_with("/") ? plain(wanted) : refuse("the cache folder '" + wanted + "' is not an absolute path");
  // With more rights than who started it, a program does not let the environment say where its code comes from.
  if (getauxval(AT_SECURE) != 0) return refuse("the program runs with more rights than its user has; kernels are not kept");
  if (const std::string named = variable("QUERN_CACHE_DIR"); !named.empty())
    return named.starts_with("/") ? plain(named) : refuse("QUERN_CACHE_DIR='" + named + "' is not an absolute path");
  if (const std::string base = variable("XDG_CACHE_HOME"); base.starts_with("/")) return plain(base) + "/quern";
  const std::string home = home_folder();
  if (home.empty()) return refuse("there is no home folder; kernels are not kept (QUERN_CACHE_DIR names another place)");
  return plain(home) + "/.cache/quern";
}

}  // namespace quern::runtime::disk
