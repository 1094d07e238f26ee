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

Layout layout_of(const TensorView& view);

/// Where an executable's code came from: another executable of this process, a file, the compiler.
enum class Source { compiler, disk, memory };

struct SignatureField;

struct CompileRequest {
  std::shared_ptr<const ir::Program> program;   // every compile-time symbol has its value
  const Options* options = nullptr;
  std::vector<Layout> layouts;                  // by slot: parameters, then outputs
  Source* source = nullptr;                     // where to say so, if anywhere
};

/// One call, sizes bound and checked. Views by slot, none null; symbols and scalars by name order of the request's program.
struct Launch {
  const TensorView* const* tensors;
  const std::int64_t* symbols;        // by SymbolId of the request's program
  const double* scalar_values;        // by ScalarId of the request's program
  const std::int64_t* scalars;        // the same as 8 bytes each
  const Options* options;
  void* stream = nullptr;             // CUstream of a GPU
  bool wait = true;                   // false: a GPU returns when the work is queued, where all tensors are in its memory
  bool may_prepare = true;            // false: Error(not_prepared) where code would have to be loaded or memory allocated
};

class Executable {
 public:
  virtual ~Executable() = default;
  /// Throws Error(data) when the data broke a fact, Error(out_of_memory).
  virtual void run(const Launch& launch) const = 0;
  /// What a run with such arguments would have to do once beforehand. Views of outputs may be null, data is not read.
  virtual void prepare(const Launch&) const {}
  /// Waits for what ran on `stream` without being waited for. Throws Error(data) for what its data broke.
  virtual void synchronize(void*, const Options&) const {}
  /// Whether the tensor written at slot `written` may be the very storage of the input at slot `read`.
  virtual bool may_share(std::size_t written, std::size_t read, std::string* why_not) const = 0;
  virtual std::string explain() const = 0;
};

/// Each throws Error(internal) on a fault of the compiler.
std::shared_ptr<const Executable> compile_for_interpreter(const CompileRequest& request);
std::shared_ptr<const Executable> compile_for_cpu(const CompileRequest& request);
std::shared_ptr<const Executable> compile_for_cuda(const CompileRequest& request);
std::shared_ptr<const Executable> compile_for(Device device, const CompileRequest& request);
/// Whether this build has the CPU device, the CUDA device.
bool has_cpu();
bool has_cuda();
/// What compiled code depends on beside the program: versions, target, ABI.
std::vector<SignatureField> device_fields(Device device, const Options& options);

}  // namespace quern::runtime
