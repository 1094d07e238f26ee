// What a device offers: it turns a checked program, fixed to one signature, into something that runs. The one idea: a call
// reaches a device as views in the order of the signature and as symbol values by name, so that passes may renumber
// whatever they like.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include <quern/kernel.h>

#include "dsl/ir/program.h"
#include "runtime/bind.h"

namespace quern::runtime {

/// What is known of one tensor of the signature when compiling.
struct Layout {
  bool dense = false;
  int unit_axis = -1;   // -1: none known
  friend bool operator==(const Layout&, const Layout&) = default;
};

struct CompileRequest {
  std::shared_ptr<const ir::Program> program;   // every compile-time symbol has its value
  const Options* options = nullptr;
  std::vector<Layout> layouts;                  // by slot: parameters, then outputs
};

/// One call, sizes bound and checked. Views by slot, none null; symbols and scalars by name order of the request's program.
struct Launch {
  const TensorView* const* tensors;
  const std::int64_t* symbols;        // by SymbolId of the request's program
  const double* scalar_values;        // by ScalarId of the request's program
  const std::int64_t* scalars;        // the same as 8 bytes each
  const Options* options;
};

class Executable {
 public:
  virtual ~Executable() = default;
  /// Throws Error(data) when the data broke a fact, Error(out_of_memory).
  virtual void run(const Launch& launch) const = 0;
  /// Whether the tensor written at slot `written` may be the very storage of the input at slot `read`.
  virtual bool may_share(std::size_t written, std::size_t read, std::string* why_not) const = 0;
  virtual std::string explain() const = 0;
};

/// Each throws Error(internal) on a fault of the compiler.
std::shared_ptr<const Executable> compile_for_interpreter(const CompileRequest& request);
std::shared_ptr<const Executable> compile_for_cpu(const CompileRequest& request);
/// Whether this build has the CPU device.
bool has_cpu();
/// What compiled code depends on beside the program: versions, target, ABI.
std::string device_key(Device device, const Options& options);

}  // namespace quern::runtime
