// A variant for a kind of processor: lowered as at run time, then code in the object, which LLVM writes.
#pragma once

#include <string>

#include "compiler/codegen/cpu/compile_object.h"
#include "runtime/aot/image.h"

namespace quern::runtime::aot {

struct CpuPart {
  tile::Module module;
  cpu::CpuOptions options;
  std::string prefix;    // of its functions in the object
};

/// `target`: "x86-64-v3". Fills `variant` but for target, layouts and places of functions. Throws Error(unsupported) without
/// LLVM in the build.
CpuPart lower_cpu_part(const CompileRequest& request, const std::string& target, const std::string& prefix, Variant& variant);

/// The object of it all, also of what is for GPUs alone. Throws Error(unsupported) without LLVM. `file` names the text in messages.
std::string write_object(const cpu::ObjectRequest& request, const std::string& file);

}  // namespace quern::runtime::aot
