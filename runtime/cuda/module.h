// A compiled CUDA module as something to launch. In: the launches that the compiler listed, the cubin, and at each call the
// views, symbols and scalars. The one idea: every word of the parameter block is resolved to "slot 2, axis 1" when the
// module is made, so a launch is a walk over lists: no look-ups by name, no hashing, no allocation.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <quern/error.h>

#include "compiler/codegen/cpu/abi.h"
#include "compiler/codegen/cuda/compile_cuda.h"
#include "runtime/bind.h"
#include "runtime/cuda/compile_nvrtc.h"
#include "runtime/cuda/gpu.h"

namespace quern::runtime::gpu {

struct ModuleCall {
  const TensorView* const* tensors = nullptr;  // by slot, all in this GPU's memory
  const std::int64_t* symbols = nullptr;       // by SymbolId
  const std::int64_t* scalars = nullptr;       // by ScalarId, 8 bytes each
  Stream stream = nullptr;
  bool may_allocate = true;                    // false: Error(not_prepared) where memory would be needed
};

/// The driver does not take the machine code: of another GPU, damaged, newer than the driver. Nothing ran.
struct Refused : Error {
  explicit Refused(const std::string& message) : Error(Code::unsupported, message) {}
};

/// Loading is lazy, at the first `prepare` or launch on a GPU: these throw Refused.
class Module {
 public:
  /// `binding` is of the program that `printed` was printed from.
  Module(const Binding& binding, quern::cuda::CudaModule printed, CompiledText compiled, const quern::cuda::Target& target);
  ~Module();
  Module(const Module&) = delete;
  Module& operator=(const Module&) = delete;

  bool is_loaded(int gpu) const { return printed_.launches.empty() || places_[static_cast<std::size_t>(gpu)].load(std::memory_order_acquire) != nullptr; }
  /// Loads the code and sets memory aside for calls with these symbols on this stream. Reads no tensors.
  void prepare(Gpu& gpu, const ModuleCall& call);
  /// Every launch of the module, in order; returns without waiting. `status`: where checks report, 0 = the module's own.
  void launch(Gpu& gpu, const ModuleCall& call, DevicePointer status = 0);

  /// `launch`, waited for. What its own data broke, and nothing that other calls broke.
  cpu::Status run_and_wait(Gpu& gpu, const ModuleCall& call);

  /// A zeroed status word of its own for a call that waits; given back with `keep_status`. 0: the module checks nothing.
  DevicePointer take_status(Gpu& gpu);
  void keep_status(Gpu& gpu, DevicePointer status);
  /// Copies a status word (0: the module's own) to the host, after the work on `stream`, which it waits for; a report that
  /// was there is removed from the device.
  cpu::Status read_status(Gpu& gpu, DevicePointer status, Stream stream);
  bool checks() const { return checks_; }

  const quern::cuda::CudaModule& printed() const { return printed_; }
  const CompiledText& compiled() const { return compiled_; }

 private:
  struct Step {
    enum Kind : std::uint8_t { slot_data, work_data, slot_stride, work_stride, symbol, constant, scalar, status, slab, tasks, zeroed, counter, mapped } kind;
    std::uint32_t index = 0;   // of a slot, a workspace tensor, a symbol, a scalar
    int axis = 0;
    std::int64_t value = 0;    // constant
  };
  /// Memory for workspace and slabs. Work of one stream runs in order, so a stream needs one; a graph keeps its own.
  struct Block {
    Stream stream = nullptr;
    std::uint64_t capture = 0;
    DevicePointer memory = 0;
    std::size_t bytes = 0;
  };
  struct Place;  // what a GPU holds of the module
  struct Amounts;

  Place& place_on(Gpu& gpu, bool may_load);
  std::int64_t evaluate(ir::Expr e, const ModuleCall& call, const char* what) const;
  void measure(Gpu& gpu, const ModuleCall& call, Amounts& amounts) const;
  Block& block_for(Place& place, const ModuleCall& call, std::size_t bytes);
  /// The maps of a launch; returns which could be made, a bit each.
  std::uint64_t write_maps(Place& place, std::size_t launch, const ModuleCall& call, DevicePointer memory, const Amounts& amounts, unsigned char* to) const;
  /// Elements between neighbours along an axis of a workspace tensor.
  std::int64_t dense_stride(const ir::Tensor& tensor, int axis, const ModuleCall& call) const;
  void require_fits(const Gpu& gpu) const;
  std::string what() const;

  quern::cuda::CudaModule printed_;
  const ir::Program& program_;             // of printed_
  CompiledText compiled_;
  quern::cuda::Target target_;
  std::vector<std::vector<Step>> steps_;   // per launch
  std::vector<std::vector<Step>> mapped_;  // per launch, the tensors of its maps: slot_data or work_data
  bool checks_ = false;
  bool needs_memory_ = false;
  bool counts_ = false;                    // some launch hands out its tasks by a counter
  std::array<std::atomic<Place*>, kMostGpus> places_{};
  std::mutex mutex_;                       // loading
};

}  // namespace quern::runtime::gpu
