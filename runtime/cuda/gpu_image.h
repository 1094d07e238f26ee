// What the cache keeps of a kernel for a GPU: machine code, how it is launched, and which NVRTC made it. With it a call needs no
// plan, no text and no NVRTC. No names of the program that it was made from matter: those of the kernel at hand are put in.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/codegen/cuda/compile_cuda.h"
#include "runtime/bind.h"
#include "runtime/cuda/compile_nvrtc.h"

namespace quern::runtime::gpu {

/// Shared by all kernels of a signature.
struct GpuImage {
  CompiledText compiled;                              // no log; of the PTX only what is needed where there is no cubin
  quern::cuda::CudaModule module;                     // no text; its program has no equations
  std::vector<std::vector<std::uint8_t>> may_share;   // [written slot][read slot]
};

std::string pack(const GpuImage& image);
/// Null, with `error`, when the bytes are not the image of such a program. `binding` is of the settled program, whose names it gets.
std::shared_ptr<const GpuImage> unpack(std::string_view bytes, const Binding& binding, std::string* error);

/// The module of the image with the names of `settled`.
quern::cuda::CudaModule named(const quern::cuda::CudaModule& module, const ir::Program& settled);

/// Why machine code of `maker` should be made anew: another version of NVRTC would be found now (newer or older, the one that the
/// user's environment names). "" where the file that would be found has the name and the size of the maker's, where it has its
/// version, and where there is none. Opens NVRTC only when name or size is another.
std::string outdated(const NvrtcFile& maker);

}  // namespace quern::runtime::gpu
