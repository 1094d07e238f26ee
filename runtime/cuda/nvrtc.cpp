// The search for libnvrtc. Its builtins library is opened by plain name at the first compile and libnvrtc has no run path,
// so it is opened here by full path beside the libnvrtc that was found.
#include "runtime/cuda/nvrtc.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <mutex>

#include <fmt/format.h>

#include <quern/error.h>

#include "runtime/cuda/nvrtc_files.h"

namespace quern::runtime::gpu {
namespace {

namespace fs = std::filesystem;

/// Fills `n` from `library`; what is wrong with it, or "".
std::string take(void* library, Nvrtc& n) {
  const auto version = reinterpret_cast<int (*)(int*, int*)>(dlsym(library, "nvrtcVersion"));
  if (!version || version(&n.major, &n.minor) != 0) return "does not tell its version";
  Dl_info info{};
  if (dladdr(reinterpret_cast<void*>(version), &info) != 0 && info.dli_fname) n.path = info.dli_fname;
  if (n.major < 12) return fmt::format("is version {}.{}; 12.0 or newer is needed", n.major, n.minor);
  std::string missing;
#define QUERN_NVRTC_FIND(name, result, parameters)                                       \
  n.name = reinterpret_cast<decltype(n.name)>(dlsym(library, #name));                    \
  if (!n.name) missing = #name;
  QUERN_NVRTC(QUERN_NVRTC_FIND)
#undef QUERN_NVRTC_FIND
  n.nvrtcSetFlowCallback = reinterpret_cast<decltype(n.nvrtcSetFlowCallback)>(dlsym(library, "nvrtcSetFlowCallback"));
  if (!missing.empty()) return "lacks " + missing;
  if (const std::string folder = fs::path(n.path).parent_path().string(); !folder.empty())
    dlopen(fmt::format("{}/libnvrtc-builtins.so.{}.{}", folder, n.major, n.minor).c_str(), RTLD_NOW | RTLD_GLOBAL);
  int count = 0;
  if (n.nvrtcGetNumSupportedArchs(&count) == 0 && count > 0) {
    n.architectures.resize(static_cast<std::size_t>(count));
    n.nvrtcGetSupportedArchs(n.architectures.data());
    std::sort(n.architectures.begin(), n.architectures.end());
  }
  return {};
}

std::string open(Nvrtc& n) {
  std::string tried;
  const auto attempt = [&](const std::string& name) {
    void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      const char* why = dlerror();
      tried += fmt::format("\n  {}", why ? why : name);
      return false;
    }
    const std::string problem = take(library, n);
    if (problem.empty()) return true;
    tried += fmt::format("\n  {} {}", n.path.empty() ? name : n.path, problem);
    dlclose(library);
    n = {};
    return false;
  };
  if (const std::string given = environment_text("QUERN_NVRTC"); !given.empty()) {
    if (attempt(given)) return {};
    return "NVRTC, which QUERN_NVRTC names, cannot be used:" + tried;
  }
  for (const char* name : kNvrtcNames)
    if (attempt(name)) return {};
  for (const fs::path& folder : nvrtc_folders()) {
    for (const char* name : kNvrtcNames) {
      std::error_code ignored;
      if (fs::exists(folder / name, ignored) && attempt((folder / name).string())) return {};
    }
  }
  return "no NVRTC (CUDA's run-time compiler, 12.0 or newer); install the CUDA toolkit or the nvidia-cuda-nvrtc wheel, or name "
         "libnvrtc by QUERN_NVRTC. Tried:" + tried;
}

}  // namespace

const Nvrtc& nvrtc() {
  struct Opened {
    Nvrtc nvrtc;
    std::string problem;
  };
  static const Opened* opened = [] {
    auto* made = new Opened;
    made->problem = open(made->nvrtc);
    return made;
  }();
  if (!opened->problem.empty()) throw Error(Code::unsupported, "error: " + opened->problem);
  return opened->nvrtc;
}

}  // namespace quern::runtime::gpu
