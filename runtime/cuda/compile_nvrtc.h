// CUDA C++ text to machine code. In: the text of a module and the GPU it is for. Out: a cubin (or PTX for a GPU newer than
// NVRTC), the log, and what each kernel takes of the machine, read from ptxas's report, so that no GPU is needed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compiler/codegen/cuda/target.h"

namespace quern::runtime::gpu {

struct KernelResources {
  std::string entry;
  int registers = 0;               // of a thread
  int stack_bytes = 0;             // local memory of a thread, spills among it
  int spill_store_bytes = 0, spill_load_bytes = 0;
  int static_shared_bytes = 0;     // of a block
};

/// A remark of ptxas that costs speed: "C7510" and what it means for us.
struct Remark {
  std::string code, text, meaning;
};

/// The compiler as a file, by which a later process sees that it is still the same without opening it.
struct NvrtcFile {
  std::string path;        // as it was found
  std::string name;        // what links lead to, without its folders: "libnvrtc.so.13.0.88"
  std::int64_t bytes = -1; // of the file; -1: no such file
  int major = 0, minor = 0;

  /// `name` and `bytes` of what stands at `path` now.
  void look();
};

struct CompiledText {
  std::string cubin, ptx, log;
  NvrtcFile made_by;
  std::vector<KernelResources> kernels;  // in the order of the report
  std::vector<Remark> remarks;
  double seconds = 0;

  const std::string& image() const { return cubin.empty() ? ptx : cubin; }
};

/// Thread-safe; several compiles run at once. Throws Error(unsupported) without NVRTC, Error(internal) with the log and the
/// lines it names when the text does not compile, Error(out_of_memory).
CompiledText compile_nvrtc(const std::string& text, const quern::cuda::Target& target);

/// The report of ptxas -v inside a log. Kept apart for tests.
void read_report(const std::string& log, CompiledText& into);

}  // namespace quern::runtime::gpu
