// NVRTC, the compiler of CUDA C++ text, opened when first needed. No CUDA header is needed to build.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace quern::runtime::gpu {

using NvrtcProgram = struct _nvrtcProgram*;

#define QUERN_NVRTC(X)                                                                                   \
  X(nvrtcGetErrorString, const char*, (int))                                                             \
  X(nvrtcGetNumSupportedArchs, int, (int*))                                                              \
  X(nvrtcGetSupportedArchs, int, (int*))                                                                 \
  X(nvrtcCreateProgram, int, (NvrtcProgram*, const char* text, const char* name, int headers,            \
                              const char* const* sources, const char* const* names))                     \
  X(nvrtcCompileProgram, int, (NvrtcProgram, int count, const char* const* options))                     \
  X(nvrtcDestroyProgram, int, (NvrtcProgram*))                                                           \
  X(nvrtcGetProgramLogSize, int, (NvrtcProgram, std::size_t*))                                           \
  X(nvrtcGetProgramLog, int, (NvrtcProgram, char*))                                                      \
  X(nvrtcGetCUBINSize, int, (NvrtcProgram, std::size_t*))                                                \
  X(nvrtcGetCUBIN, int, (NvrtcProgram, char*))                                                           \
  X(nvrtcGetPTXSize, int, (NvrtcProgram, std::size_t*))                                                  \
  X(nvrtcGetPTX, int, (NvrtcProgram, char*))

struct Nvrtc {
#define QUERN_NVRTC_MEMBER(name, result, parameters) result(*name) parameters = nullptr;
  QUERN_NVRTC(QUERN_NVRTC_MEMBER)
#undef QUERN_NVRTC_MEMBER
  int (*nvrtcSetFlowCallback)(NvrtcProgram, int (*callback)(void*, void*), void* payload) = nullptr;  // from 12.8 on; may be null
  int major = 0, minor = 0;
  std::string path;                 // of the library in use
  std::vector<int> architectures;   // compute capability x 10, ascending
};

/// Looks in the loader's path, then in CUDA_HOME, CUDA_PATH, /usr/local/cuda, and the wheel folders below CONDA_PREFIX,
/// VIRTUAL_ENV and PYTHONPATH; QUERN_NVRTC names one library instead. 12.0 or newer. Throws Error(unsupported) that lists
/// what was tried. Never touches the driver.
const Nvrtc& nvrtc();

}  // namespace quern::runtime::gpu
