// Compiled CPU functions as something to run. In: the lowered program, its workspace, the functions of its object. Out: calls
// over the thread pool, with workspace and scratch that are kept between calls. The one idea: running needs none of the
// compiler, so code that was compiled in this process, in an earlier one or ahead of time runs through here.
#pragma once

#include <atomic>
#include <vector>

#include "compiler/codegen/cpu/abi.h"
#include "runtime/device.h"
#include "runtime/memory.h"

namespace quern::runtime {

class CpuCode {
 public:
  /// `program` (lowered) and `binding`, which is of it, must outlive this. One `run` function per kernel.
  CpuCode(const ir::Program& program, std::vector<ir::TensorId> workspace, const Binding& binding, cpu::PlanFunction plan,
          std::vector<cpu::RunFunction> run);
  /// Throws Error(data) when the data broke a fact, Error(out_of_memory), Error(overflow).
  void run(const Launch& launch) const;

 private:
  struct Timing {
    std::atomic<double> us_per_task{-1};  // on one thread; < 0: not known
  };
  struct RunTasks {
    cpu::RunFunction function;
    const cpu::Args* args;
    char* scratch;
    std::size_t scratch_step;
  };

  void run_kernel(std::size_t k, std::int64_t tasks, std::int64_t scratch_bytes, const cpu::Args& args, Buffer& scratch,
                  const Options& options) const;

  const ir::Program& program_;
  std::vector<ir::TensorId> workspace_;
  const Binding& binding_;
  cpu::PlanFunction plan_;
  std::vector<cpu::RunFunction> run_;
  mutable std::vector<Timing> timing_;
  mutable std::atomic<std::uint64_t> sizes_seen_{0};
};

}  // namespace quern::runtime
