#include "tests/cuda_codegen/nvrtc.h"

#include <dlfcn.h>

#include <chrono>
#include <cstdlib>
#include <vector>

namespace quern::cuda::test {

namespace {

struct Nvrtc {
  int (*create)(void**, const char*, const char*, int, const char* const*, const char* const*) = nullptr;
  int (*compile)(void*, int, const char* const*) = nullptr;
  int (*destroy)(void**) = nullptr;
  int (*log_size)(void*, std::size_t*) = nullptr;
  int (*log)(void*, char*) = nullptr;
  int (*cubin_size)(void*, std::size_t*) = nullptr;
  int (*cubin)(void*, char*) = nullptr;
  std::string why;
};

template <class F>
bool find(void* library, const char* name, F& to) {
  to = reinterpret_cast<F>(dlsym(library, name));
  return to != nullptr;
}

const Nvrtc& nvrtc() {
  static const Nvrtc opened = [] {
    Nvrtc n;
    std::vector<std::string> names = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so", "/usr/local/cuda/lib64/libnvrtc.so", "/usr/local/cuda/lib/libnvrtc.so"};
    if (const char* named = std::getenv("QUERN_NVRTC")) names = {named};
    void* library = nullptr;
    for (const std::string& name : names)
      if (!library) library = dlopen(name.c_str(), RTLD_NOW);
    if (!library) {
      n.why = "no NVRTC: " + std::string(dlerror());
      return n;
    }
    const bool all = find(library, "nvrtcCreateProgram", n.create) && find(library, "nvrtcCompileProgram", n.compile) &&
                     find(library, "nvrtcDestroyProgram", n.destroy) && find(library, "nvrtcGetProgramLogSize", n.log_size) &&
                     find(library, "nvrtcGetProgramLog", n.log) && find(library, "nvrtcGetCUBINSize", n.cubin_size) &&
                     find(library, "nvrtcGetCUBIN", n.cubin);
    if (!all) n.why = "NVRTC lacks a function";
    return n;
  }();
  return opened;
}

}  // namespace

bool have_nvrtc(std::string* why) {
  *why = nvrtc().why;
  return why->empty();
}

Compiled compile(const std::string& text, const std::string& arch) {
  const Nvrtc& n = nvrtc();
  Compiled out;
  void* program = nullptr;
  if (n.create(&program, text.c_str(), "test.cu", 0, nullptr, nullptr) != 0) return out;
  const std::string option = "--gpu-architecture=" + arch;
  const char* options[] = {option.c_str()};
  const auto from = std::chrono::steady_clock::now();
  out.ok = n.compile(program, 1, options) == 0;
  out.milliseconds = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - from).count();
  std::size_t size = 0;
  if (n.log_size(program, &size) == 0 && size > 1) {
    out.log.resize(size);
    n.log(program, out.log.data());
  }
  if (out.ok && n.cubin_size(program, &size) == 0) {
    out.cubin.resize(size);
    n.cubin(program, out.cubin.data());
  }
  n.destroy(&program);
  return out;
}

}  // namespace quern::cuda::test
