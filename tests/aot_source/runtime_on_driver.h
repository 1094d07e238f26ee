// What an exported .cu program takes of the CUDA runtime, on the emulated driver: so that the program can be compiled by an
// ordinary C++ compiler and run without a GPU (export_test.cpp). EMULATED_CUDA: the driver's library, EMULATED_TEXT: a file with
// the kernels' text, both by the environment. Launches after the clock was made do nothing: there is nothing to time here.
#pragma once

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string>

#include "runtime/cuda/driver_api.h"

namespace emulated {

namespace api = quern::runtime::gpu;

inline const api::Driver& driver() {
  static const api::Driver found = [] {
    void* library = dlopen(std::getenv("EMULATED_CUDA"), RTLD_NOW | RTLD_LOCAL);
    if (!library) std::abort();
    using Find = int (*)(const char*, void**, int, std::uint64_t, void*);
    const auto find = reinterpret_cast<Find>(dlsym(library, "cuGetProcAddress_v2"));
    api::Driver d;
#define QUERN_TAKE(name, parameters) \
  if (find(#name, reinterpret_cast<void**>(&d.name), 12000, 0, nullptr) != 0) std::abort();
    QUERN_CUDA_DRIVER(QUERN_TAKE)
#undef QUERN_TAKE
    api::Context context = nullptr;
    if (d.cuInit(0) != 0 || d.cuDevicePrimaryCtxRetain(&context, 0) != 0 || d.cuCtxPushCurrent(context) != 0) std::abort();
    return d;
  }();
  return found;
}

inline int failed = 0;           // the first error, as the runtime keeps it
inline bool timing = false;
inline int note(int result) { return failed = failed ? failed : result; }

inline api::Kernel kernel_named(const char* name) {
  static const api::Library library = [] {
    std::ifstream file(std::getenv("EMULATED_TEXT"));
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    api::Library made = nullptr;
    note(driver().cuLibraryLoadData(&made, text.c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0));
    return made;
  }();
  api::Kernel kernel = nullptr;
  if (!failed) note(driver().cuLibraryGetKernel(&kernel, library, name));
  return kernel;
}

inline void launch(const char* name, unsigned grid, unsigned threads, unsigned shared, const void* words) {
  if (timing) return;
  api::Function function = nullptr;
  const api::Kernel kernel = kernel_named(name);
  if (failed || note(driver().cuKernelGetFunction(&function, kernel)) != 0) return;
  void* parameters[] = {const_cast<void*>(words)};
  note(driver().cuLaunchKernel(function, grid, 1, 1, threads, 1, 1, shared, nullptr, parameters, nullptr));
}

inline api::DevicePointer at(const void* p) { return reinterpret_cast<api::DevicePointer>(p); }

}  // namespace emulated

using cudaError_t = int;
using cudaEvent_t = emulated::api::Event;
constexpr int cudaSuccess = 0;
enum { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };
enum { cudaFuncAttributeMaxDynamicSharedMemorySize };
#define CUDART_VERSION 13000
enum { cudaEnableDefault };
enum cudaDriverEntryPointQueryResult { cudaDriverEntryPointSuccess };
struct cudaDeviceProp {
  char name[256];
  int multiProcessorCount;
};

inline const char* cudaGetErrorString(int) { return "the emulated driver refused"; }
inline int cudaGetDeviceProperties(cudaDeviceProp* p, int) {
  emulated::driver().cuDeviceGetName(p->name, sizeof p->name, 0);
  return emulated::driver().cuDeviceGetAttribute(&p->multiProcessorCount, emulated::api::kMultiprocessorCount, 0);
}
inline int cudaMalloc(void** p, std::size_t bytes) {
  emulated::api::DevicePointer made = 0;
  const int result = emulated::driver().cuMemAlloc(&made, bytes);
  *p = reinterpret_cast<void*>(made);
  return result;
}
inline int cudaMemset(void* p, int value, std::size_t bytes) { return emulated::driver().cuMemsetD8Async(emulated::at(p), static_cast<unsigned char>(value), bytes, nullptr); }
inline int cudaMemsetAsync(void* p, int value, std::size_t bytes) { return emulated::timing ? 0 : cudaMemset(p, value, bytes); }
inline int cudaMemcpy(void* to, const void* from, std::size_t bytes, int way) {
  return way == cudaMemcpyHostToDevice ? emulated::driver().cuMemcpyHtoDAsync(emulated::at(to), from, bytes, nullptr)
                                       : emulated::driver().cuMemcpyDtoHAsync(to, emulated::at(from), bytes, nullptr);
}
inline int cudaFuncSetAttribute(const char* name, int, int bytes) {
  const emulated::api::Kernel kernel = emulated::kernel_named(name);
  return emulated::failed ? emulated::failed : emulated::driver().cuKernelSetAttribute(emulated::api::kMaxDynamicShared, bytes, kernel, 0);
}
inline int cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, int, cudaDriverEntryPointQueryResult*) {
  if (std::strcmp(name, "cuTensorMapEncodeTiled") != 0) return 1;
  *function = reinterpret_cast<void*>(emulated::driver().cuTensorMapEncodeTiled);
  return 0;
}
inline int cudaGetLastError() { return emulated::failed; }
inline int cudaDeviceSynchronize() { return emulated::driver().cuCtxSynchronize(); }
inline int cudaEventCreate(cudaEvent_t* e) {
  emulated::timing = true;
  return emulated::driver().cuEventCreate(e, 0);
}
inline int cudaEventRecord(cudaEvent_t e) { return emulated::driver().cuEventRecord(e, nullptr); }
inline int cudaEventSynchronize(cudaEvent_t e) { return emulated::driver().cuEventSynchronize(e); }
inline int cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) { return emulated::driver().cuEventElapsedTime(ms, a, b); }
