// The search of dlopen and nvrtc() by file names. See nvrtc_files.h.
#include "runtime/cuda/nvrtc_files.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace quern::runtime::gpu {

namespace fs = std::filesystem;

std::string environment_text(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

namespace {

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// The parts of a list like PATH that are not empty.
std::vector<std::string> parts(const std::string& list) {
  std::vector<std::string> found;
  for (std::size_t at = 0; at < list.size();) {
    const std::size_t end = std::min(list.find_first_of(":;", at), list.size());
    if (end > at) found.push_back(list.substr(at, end - at));
    at = end + 1;
  }
  return found;
}

/// What the loader's cache knows by this name. The cache ends in a table of paths; its index is not needed to find one.
std::vector<std::string> in_loader_cache(const std::string& cache, const std::string& name) {
  std::vector<std::string> found;
  const std::string wanted = "/" + name + std::string(1, '\0');
  for (std::size_t at = 0; (at = cache.find(wanted, at)) != std::string::npos; at += wanted.size()) {
    const std::size_t begin = cache.rfind('\0', at) + 1;
    const std::string path = cache.substr(begin, at + wanted.size() - 1 - begin);
    if (path[0] == '/' && is_there(path)) found.push_back(path);
  }
  return found;
}

/// Where dlopen finds a plain name.
std::vector<std::string> by_loader(const std::string& cache, const std::string& name) {
  for (const std::string& folder : parts(environment_text("LD_LIBRARY_PATH")))
    if (is_there(fs::path(folder) / name)) return {(fs::path(folder) / name).string()};
  if (auto found = in_loader_cache(cache, name); !found.empty()) return found;
  for (const char* folder : {"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib"})
    if (is_there(fs::path(folder) / name)) return {(fs::path(folder) / name).string()};
  return {};
}

/// lib/pythonX.Y/site-packages below a prefix, and the folders in which wheels put NVRTC.
void add_wheels(const fs::path& packages, std::vector<fs::path>& folders) {
  for (const char* inside : {"nvidia/cu13/lib", "nvidia/cuda_nvrtc/lib"}) folders.push_back(packages / inside);
}

}  // namespace

std::vector<fs::path> nvrtc_folders() {
  std::vector<fs::path> found;
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"})
    if (const std::string home = environment_text(variable); !home.empty())
      for (const char* inside : {"lib64", "lib", "targets/x86_64-linux/lib"}) found.push_back(fs::path(home) / inside);
  for (const char* folder : {"/usr/local/cuda/lib64", "/usr/local/cuda/targets/x86_64-linux/lib"}) found.emplace_back(folder);
  for (const char* variable : {"CONDA_PREFIX", "VIRTUAL_ENV"}) {
    const std::string prefix = environment_text(variable);
    if (prefix.empty()) continue;
    found.push_back(fs::path(prefix) / "lib");
    std::error_code ignored;
    for (const auto& entry : fs::directory_iterator(fs::path(prefix) / "lib", ignored))
      if (entry.path().filename().string().starts_with("python")) add_wheels(entry.path() / "site-packages", found);
  }
  const std::string python = environment_text("PYTHONPATH");
  for (std::size_t at = 0; at < python.size();) {
    const std::size_t end = std::min(python.find(':', at), python.size());
    if (end > at) add_wheels(python.substr(at, end - at), found);
    at = end + 1;
  }
  return found;
}

std::vector<std::string> nvrtc_files() {
  const std::string given = environment_text("QUERN_NVRTC");
  if (given.find('/') != std::string::npos) return is_there(given) ? std::vector{given} : std::vector<std::string>{};
  std::ifstream file("/etc/ld.so.cache", std::ios::binary);
  const std::string cache{std::istreambuf_iterator<char>(file), {}};
  if (!given.empty()) return by_loader(cache, given);
  for (const char* name : kNvrtcNames)
    if (auto found = by_loader(cache, name); !found.empty()) return found;
  for (const fs::path& folder : nvrtc_folders())
    for (const char* name : kNvrtcNames)
      if (is_there(folder / name)) return {(folder / name).string()};
  return {};
}

}  // namespace quern::runtime::gpu
