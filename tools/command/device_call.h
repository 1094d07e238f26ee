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

Device device_named(const std::string& name);  // "interpreter", "cpu", "" = the best of this build
std::string_view name_of(Device device);

class DeviceCall {
 public:
  /// Compiles for the signature of these arguments; `threads` 0: all.
  DeviceCall(const LoadedKernel& loaded, const Arguments& arguments, Device device, int threads,
             const std::vector<std::string>& disabled_passes = {});

  double compile_seconds() const { return compile_seconds_; }  // from text to a kernel ready to launch
  Device device() const { return kernel_->device(); }
  const Kernel& kernel() const { return *kernel_; }

  /// Puts the entry values of inout parameters back and the pattern into outputs.
  void reset();
  /// One launch. Throws Failure.
  void operator()();
  /// By outputs_of(program).
  std::vector<NamedArray> outputs() const;
  std::string explain() const;

 private:
  const LoadedKernel& loaded_;

  std::unique_ptr<Kernel> kernel_;
  const Arguments& given_;
  std::vector<Tensor> inputs_;    // by program.parameters
  std::vector<Tensor> outputs_;   // by program.outputs
  std::vector<Argument> launch_;
  double compile_seconds_ = 0;
};

}  // namespace quern::command
