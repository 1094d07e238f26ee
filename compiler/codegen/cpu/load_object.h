// An object of our own as functions to call. In: the bytes of an ELF relocatable object as compile_cpu makes them. Out: its
// functions, mapped readable and executable, constants readable only. The one idea: such an object needs nothing from
// outside and has no writable data, so loading is a copy, a few relative distances and two mprotect: no linker, no LLVM.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "compiler/codegen/cpu/abi.h"

namespace quern::cpu {

/// Loaded code; destroying it unmaps the code (no thread may be inside).
class LoadedCpu {
 public:
  ~LoadedCpu();
  LoadedCpu(const LoadedCpu&) = delete;
  LoadedCpu& operator=(const LoadedCpu&) = delete;

  PlanFunction plan() const { return plan_; }
  RunFunction run(std::size_t kernel) const { return run_[kernel]; }
  std::size_t kernels() const { return run_.size(); }

 private:
  friend std::unique_ptr<LoadedCpu> load_object(std::string_view, const std::string&, const std::vector<std::string>&, std::string*);
  LoadedCpu() = default;
  void* memory_ = nullptr;
  std::size_t bytes_ = 0;
  PlanFunction plan_ = nullptr;
  std::vector<RunFunction> run_;
};

/// Every field of the object is checked before it is used. Null, with `error` filled, when the object is damaged, refers to
/// something outside itself, has writable data, or lacks a function.
std::unique_ptr<LoadedCpu> load_object(std::string_view object, const std::string& plan_symbol, const std::vector<std::string>& run_symbols,
                                       std::string* error);

}  // namespace quern::cpu
