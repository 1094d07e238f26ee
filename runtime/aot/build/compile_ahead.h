// The ahead-of-time compiler. In: a program file, which kernels, for which processors and GPUs, with which compile-time
// values. Out: a C header and one object that needs only libquern-aot. The one idea: a kernel becomes variants, by
// value, target and layout, and the object says of each when it may run; who calls sees one C function.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <quern/kernel.h>

namespace quern::runtime::aot {

/// `--set D=64,128`: the values that a name takes.
struct Choice {
  std::string name;
  std::vector<Setting> values;
};

/// What may be assumed of tensors: `dense`, `rows` (the last axis has stride 1), `any`.
enum class LayoutClass { dense, rows, any };

struct AheadOptions {
  std::vector<std::string> kernels;      // by name, in the order of the header
  std::vector<std::string> targets;      // "x86-64-v3", "sm_90a"
  std::vector<Choice> choices;
  std::vector<LayoutClass> layouts{LayoutClass::dense, LayoutClass::rows, LayoutClass::any};
  std::string prefix;                    // of the C functions
  std::string name;                      // of the files: "attention" gives attention.h and attention.o
  bool source = false;                   // attention.c instead of attention.o: GPU targets alone, no LLVM needed
  std::function<void(const std::string&)> progress;  // a line for each variant
};

struct Ahead {
  std::string header, object, source;    // one of the last two
  std::vector<std::string> functions;    // the C functions, in order
};

/// Whether `name` is a target, and of which kind.
bool is_cpu_target(const std::string& name);
bool is_gpu_target(const std::string& name);

/// `file` names the text in messages. The same input gives the same bytes. Throws Error: invalid_program for the text,
/// invalid_argument for options, unsupported without LLVM (which writes objects) or, for GPU targets, NVRTC.
Ahead compile_ahead(const std::string& text, const std::string& file, const AheadOptions& options);

}  // namespace quern::runtime::aot
