// libcuda.so.1 by dlopen; functions by cuGetProcAddress, which hands out the version of each that CUDA 12.0 had.
#include "runtime/cuda/driver.h"

#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <optional>

#include <fmt/format.h>

#include <quern/error.h>

namespace quern::runtime::gpu {
namespace {

constexpr int kNeeded = 12000;

std::atomic<bool> initialised{false}, inherited{false};

void forget_after_fork() {
  if (initialised.load()) inherited.store(true);
}

using GetProcAddress = Result (*)(const char* name, void** function, int version, std::uint64_t flags, int* status);

/// What `open` found out; kept, so that a second use costs nothing and says the same.
struct Opened {
  Driver driver;
  std::string problem;  // empty: it works
};

std::string open(Driver& driver) {
  std::string tried;
  void* library = open_library("QUERN_LIBCUDA", {"libcuda.so.1"}, tried);
  if (!library) return "no CUDA driver: " + tried;
  const auto version_of = reinterpret_cast<Result (*)(int*)>(dlsym(library, "cuDriverGetVersion"));
  auto get = reinterpret_cast<GetProcAddress>(dlsym(library, "cuGetProcAddress_v2"));
  if (!version_of || version_of(&driver.version) != kSuccess) return "the CUDA driver does not tell its version";
  if (driver.version < kNeeded)
    return fmt::format("the CUDA driver supports CUDA {}; {} or newer is needed (driver 525 or newer)", version_text(driver.version), version_text(kNeeded));
  if (!get) return fmt::format("the CUDA driver (CUDA {}) lacks cuGetProcAddress_v2", version_text(driver.version));
  std::string missing;
  const auto find = [&](const char* name, auto& function) {
    void* found = nullptr;
    int status = 0;
    if (get(name, &found, kNeeded, 0, &status) != kSuccess || !found) missing = name;
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(found);
  };
#define QUERN_CUDA_FIND(name, parameters) find(#name, driver.name);
  QUERN_CUDA_DRIVER(QUERN_CUDA_FIND)
#undef QUERN_CUDA_FIND
  if (!missing.empty()) return fmt::format("the CUDA driver (CUDA {}) lacks {}", version_text(driver.version), missing);
  static const int once = pthread_atfork(nullptr, nullptr, forget_after_fork);
  (void)once;
  const Result result = driver.cuInit(0);
  initialised.store(true);
  if (result != kSuccess) return fmt::format("the CUDA driver (CUDA {}) does not start: {}", version_text(driver.version), text_of(driver, result));
  return {};
}

}  // namespace

void* open_library(const char* variable, std::initializer_list<std::string> names, std::string& tried) {
  const auto attempt = [&](const std::string& name) {
    void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!library) {
      const char* why = dlerror();
      tried += (tried.empty() ? "" : "; ") + std::string(why ? why : name);
    }
    return library;
  };
  if (const char* given = std::getenv(variable); given && *given) {
    void* library = attempt(given);
    if (!library) tried += fmt::format(" (named by {})", variable);
    return library;
  }
  for (const std::string& name : names)
    if (void* library = attempt(name)) return library;
  return nullptr;
}

std::string version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

std::string text_of(const Driver& driver, Result result) {
  const char *name = nullptr, *text = nullptr;
  if (driver.cuGetErrorName(result, &name) != kSuccess || !name) return fmt::format("CUDA error {}", result);
  if (driver.cuGetErrorString(result, &text) != kSuccess || !text) return name;
  return fmt::format("{} ({})", name, text);
}

const Driver& driver() {
  static std::mutex mutex;
  static std::atomic<const Opened*> opened{nullptr};
  const Opened* o = opened.load(std::memory_order_acquire);
  if (!o) {
    std::lock_guard lock(mutex);
    o = opened.load(std::memory_order_acquire);
    if (!o) {
      auto* made = new Opened;
      made->problem = open(made->driver);
      opened.store(made, std::memory_order_release);
      o = made;
    }
  }
  if (!o->problem.empty()) throw Error(Code::unsupported, "error: " + o->problem);
  if (inherited.load(std::memory_order_relaxed))
    throw Error(Code::unsupported, "error: CUDA was in use when this process was forked, and cannot be used in the child; "
                                   "fork before the first use of a GPU, or start the child with exec");
  return o->driver;
}

}  // namespace quern::runtime::gpu
