// The public functions about GPUs in a build without them.
#ifndef QUERN_CUDA

#include <quern/gpu.h>

#include "runtime/strided.h"

namespace quern {
inline namespace v0 {

namespace {
[[noreturn]] void absent() { throw Error(Code::unsupported, "error: this build has no CUDA device; build with QUERN_CUDA=ON"); }
constexpr const char* kAbsent = "not in this build (QUERN_CUDA=OFF)";
}  // namespace

CudaStatus cuda_status() { return {false, "", kAbsent, "", kAbsent, {}}; }
Tensor gpu_tensor(ElementType, Sizes, int) { absent(); }
Tensor to_gpu(const TensorView&, int) { absent(); }
Tensor to_host(const TensorView& view) { return Tensor::copy_of(view); }


}  // namespace v0

void runtime::copy_with_gpu(const TensorView&, const TensorView&) { absent(); }

}  // namespace quern

#endif
