// The part of the CUDA driver that is used, declared here so that no CUDA header is needed to build. The one idea: one list
// of names with their types; driver.cpp fills the table from libcuda.so.1 the first time a GPU is used.
#pragma once

#include <cstddef>
#include <cstdint>

namespace quern::runtime::gpu {

using Result = int;  // CUresult; 0 is success
using DeviceId = int;
using DevicePointer = std::uint64_t;
using Context = struct CUctx_st*;
using Stream = struct CUstream_st*;
using Event = struct CUevent_st*;
using Library = struct CUlib_st*;
using Kernel = struct CUkern_st*;
using Function = struct CUfunc_st*;

// Results that are told apart.
inline constexpr Result kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2, kDeinitialized = 4, kNoBinaryForGpu = 209;

// Device attributes.
inline constexpr int kMultiprocessorCount = 16, kComputeMajor = 75, kComputeMinor = 76, kSharedBytesOptin = 97, kMemoryPools = 115;
// Attributes of a kernel.
inline constexpr int kStaticShared = 1, kLocalBytes = 3, kRegisters = 4, kMaxDynamicShared = 8;
// Capture status of a stream.
inline constexpr int kCaptureNone = 0, kCaptureActive = 1;

// X(name in the driver, parameter types). The versions are those of CUDA 12.0.
#define QUERN_CUDA_DRIVER(X)                                                                                        \
  X(cuInit, (unsigned flags))                                                                                       \
  X(cuGetErrorName, (Result, const char**))                                                                         \
  X(cuGetErrorString, (Result, const char**))                                                                       \
  X(cuDeviceGetCount, (int*))                                                                                       \
  X(cuDeviceGet, (DeviceId*, int ordinal))                                                                          \
  X(cuDeviceGetName, (char*, int length, DeviceId))                                                                 \
  X(cuDeviceTotalMem, (std::size_t*, DeviceId))                                                                     \
  X(cuDeviceGetAttribute, (int*, int attribute, DeviceId))                                                          \
  X(cuDevicePrimaryCtxRetain, (Context*, DeviceId))                                                                 \
  X(cuCtxGetCurrent, (Context*))                                                                                    \
  X(cuCtxPushCurrent, (Context))                                                                                    \
  X(cuCtxPopCurrent, (Context*))                                                                                    \
  X(cuCtxSynchronize, ())                                                                                           \
  X(cuLibraryLoadData, (Library*, const void* image, void* jit, void** jit_values, unsigned jit_count, void* options, \
                        void** option_values, unsigned count))                                                      \
  X(cuLibraryUnload, (Library))                                                                                     \
  X(cuLibraryGetKernel, (Kernel*, Library, const char* name))                                                       \
  X(cuKernelGetFunction, (Function*, Kernel))                                                                       \
  X(cuKernelGetAttribute, (int*, int attribute, Kernel, DeviceId))                                                  \
  X(cuKernelSetAttribute, (int attribute, int value, Kernel, DeviceId))                                             \
  X(cuLaunchKernel, (Function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y, \
                     unsigned block_z, unsigned shared_bytes, Stream, void** parameters, void** extra))             \
  X(cuTensorMapEncodeTiled, (void* map, int type, unsigned rank, void* address, const std::uint64_t* extents, const std::uint64_t* strides, \
                             const std::uint32_t* box, const std::uint32_t* element_strides, int interleave, int swizzle, int promotion, int fill)) \
  X(cuMemAlloc, (DevicePointer*, std::size_t bytes))                                                                \
  X(cuMemFree, (DevicePointer))                                                                                     \
  X(cuMemAllocAsync, (DevicePointer*, std::size_t bytes, Stream))                                                   \
  X(cuMemFreeAsync, (DevicePointer, Stream))                                                                        \
  X(cuMemGetInfo, (std::size_t* free, std::size_t* total))                                                          \
  X(cuMemcpyHtoDAsync, (DevicePointer to, const void* from, std::size_t bytes, Stream))                             \
  X(cuMemcpyDtoHAsync, (void* to, DevicePointer from, std::size_t bytes, Stream))                                   \
  X(cuMemcpyDtoDAsync, (DevicePointer to, DevicePointer from, std::size_t bytes, Stream))                           \
  X(cuMemsetD8Async, (DevicePointer to, unsigned char value, std::size_t bytes, Stream))                            \
  X(cuStreamCreate, (Stream*, unsigned flags))                                                                      \
  X(cuStreamDestroy, (Stream))                                                                                      \
  X(cuStreamSynchronize, (Stream))                                                                                  \
  X(cuStreamGetCaptureInfo, (Stream, int* status, std::uint64_t* id, void* graph, void* dependencies, std::size_t* count)) \
  X(cuEventCreate, (Event*, unsigned flags))                                                                        \
  X(cuEventDestroy, (Event))                                                                                        \
  X(cuEventRecord, (Event, Stream))                                                                                 \
  X(cuEventSynchronize, (Event))                                                                                    \
  X(cuEventElapsedTime, (float* milliseconds, Event begin, Event end))

/// Every function of the list, callable by its name.
struct Driver {
#define QUERN_CUDA_MEMBER(name, parameters) Result(*name) parameters = nullptr;
  QUERN_CUDA_DRIVER(QUERN_CUDA_MEMBER)
#undef QUERN_CUDA_MEMBER
  int version = 0;  // what the driver supports: 13000 for CUDA 13.0
};

}  // namespace quern::runtime::gpu
