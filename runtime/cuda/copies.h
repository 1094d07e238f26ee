// Between host and GPU memory: the public copies, and the staging of a call whose tensors lie on the host.
#pragma once

#include <memory>
#include <vector>

#include "runtime/bind.h"
#include "runtime/cuda/gpu.h"

namespace quern::runtime::gpu {

/// Host tensors of one call, mirrored on the GPU: each keeps its strides, its address modulo 256 and what lies between its
/// elements; views that share memory share their mirror. What the kernel wrote is copied back element by element.
class Staging {
 public:
  /// Copies in. `views` receives the views of the call by slot, all of GPU memory.
  Staging(Gpu& gpu, Stream stream, const Binding& binding, const TensorView* const* tensors, TensorView* views);
  /// Frees the mirrors, after the work on the stream.
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;
  /// Copies what was written back and waits.
  void copy_back();

 private:
  struct Range {
    const char *low, *high;        // host bytes
    DevicePointer memory = 0, at = 0;  // allocation; where `low` is mirrored
  };
  struct Written {
    TensorView host;
    const char *low, *high;
    std::size_t range;
  };
  void free_all();
  std::size_t range_of(const char* low) const;

  Gpu& gpu_;
  Stream stream_;
  std::vector<Range> ranges_;
  std::vector<Written> written_;
};

/// What Binding::check_facts leaves out: `nondecreasing` of tensors in GPU memory, through copies made after the work on `stream`.
/// Throws Error(data).
void check_facts(Gpu& gpu, Stream stream, const Binding& binding, const TensorView* const* tensors);

}  // namespace quern::runtime::gpu
