// A variant for a GPU: planned and printed as at run time, compiled by NVRTC, which is opened for it.
#pragma once

#include <string>

#include "runtime/aot/image.h"

namespace quern::runtime::aot {

struct GpuPart {
  Variant variant;     // without target, layouts and place of the cubin
  std::string cubin;
};

/// `target`: "sm_80", "sm_90a". Throws Error(unsupported) without CUDA in the build or NVRTC on the machine.
GpuPart compile_gpu_part(const CompileRequest& request, const std::string& target);

}  // namespace quern::runtime::aot
