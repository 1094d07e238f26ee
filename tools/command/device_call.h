// A kernel made ready on a device, called through the library's public interface as any program would. The one idea: all
// arrays live in the library's own tensors, outputs are filled with a pattern first, so an element that nothing writes
// cannot pass for a result.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <quern/quern.h>

#include "tools/command/loaded_kernel.h"
#include "tools/command/reference.h"

namespace quern::command {

/// Throws Failure with the exit status that belongs to a library error.
[[noreturn]] void fail_with(const Error& error);

/// What --on says: "interpreter", "cpu", "cuda", "cuda:sm_90a"; "" = the CPU where this build has it, else the interpreter.
struct DeviceChoice {
  Device device = Device::automatic;
  std::string target;  // of a GPU; "" = the one that is there
};
/// Throws Failure for anything else.
DeviceChoice device_named(const std::string& name);
std::string_view name_of(Device device);

class DeviceCall {
 public:
  /// Compiles for the signature of these arguments; `threads` 0: all.
  /// On a GPU the arrays live in its memory.
  DeviceCall(const LoadedKernel& loaded, const Arguments& arguments, const DeviceChoice& device, int threads,
             const std::vector<std::string>& disabled_passes = {});

  double compile_seconds() const { return compile_seconds_; }  // from text to a kernel ready to launch
  Device device() const { return kernel_->device(); }
  const Kernel& kernel() const { return *kernel_; }

  /// Puts the entry values of inout parameters back and the pattern into outputs.
  void reset();
  /// One launch, waited for. Throws Failure.
  void operator()();
  /// One launch; a GPU may still be at it. Throws Failure.
  void queue();
  /// By outputs_of(program).
  std::vector<NamedArray> outputs() const;
  std::string explain() const;

 private:
  const LoadedKernel& loaded_;
  bool on_gpu_;

  std::unique_ptr<Kernel> kernel_;
  const Arguments& given_;
  Tensor placed(const TensorView& host) const;

  std::vector<Tensor> inputs_;    // by program.parameters
  std::vector<Tensor> outputs_;   // by program.outputs
  std::vector<Argument> launch_;
  double compile_seconds_ = 0;
};

}  // namespace quern::command
