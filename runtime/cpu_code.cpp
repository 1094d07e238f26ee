// Workspace, scratch and the dealing out of tasks to threads. See cpu_code.h.
#include "runtime/cpu_code.h"

#include <algorithm>
#include <chrono>

#include <fmt/format.h>

#include "compiler/codegen/cpu/helpers.h"
#include "runtime/data_error.h"
#include "runtime/float_mode.h"
#include "runtime/pool.h"
#include "runtime/small_array.h"

namespace quern::runtime {
namespace {

std::size_t padded(std::size_t bytes) { return (bytes + 2 * kAlignment - 1) / kAlignment * kAlignment; }

/// Workspace and scratch of the calls of one thread. A call takes them away while it runs, so a call within a call (an
/// executor that runs other work of the user) gets its own.
struct Buffers {
  Buffer workspace, scratch;
};
Buffers& buffers_of_thread() {
  thread_local Buffers buffers;
  return buffers;
}

}  // namespace

CpuCode::CpuCode(const ir::Program& program, std::vector<ir::TensorId> workspace, const Binding& binding, cpu::PlanFunction plan,
                 std::vector<cpu::RunFunction> run)
    : program_(program), workspace_(std::move(workspace)), binding_(binding), plan_(plan), run_(std::move(run)), timing_(run_.size()) {}

void CpuCode::run(const Launch& launch) const {
  const FloatMode mode;
  SmallArray<cpu::TensorArg, 64> tensors(program_.tensors.size());
  cpu::Status status{};
  const cpu::Args args{tensors.data(), launch.symbols, launch.scalars, &status, &cpu::default_helpers()};

  const std::size_t kernels = run_.size();
  SmallArray<std::int64_t, 16> tasks(kernels), scratch_bytes(kernels), workspace(workspace_.size());
  cpu::Plan plan{tasks.data(), scratch_bytes.data(), workspace.data()};
  plan_(&args, &plan);

  Buffers buffers = std::move(buffers_of_thread());
  struct Return {
    Buffers& buffers;
    ~Return() { buffers_of_thread() = std::move(buffers); }
  } give_back{buffers};

  // One block for all workspace tensors.
  std::size_t bytes = 0;
  const auto out_of_memory = [&](std::size_t wanted) {
    throw Error(Code::out_of_memory, fmt::format("error: no memory for the workspace of kernel '{}' ({} bytes)", program_.name, wanted));
  };
  const auto grow = [&](std::int64_t elements, std::size_t size) {
    std::int64_t more = 0, total = 0;
    if (elements < 0 || __builtin_mul_overflow(elements, static_cast<std::int64_t>(size), &more) || more > (std::int64_t{1} << 56) ||
        __builtin_add_overflow(static_cast<std::int64_t>(bytes), static_cast<std::int64_t>(padded(static_cast<std::size_t>(more))), &total))
      throw Error(Code::overflow, fmt::format("error: the workspace of kernel '{}' would take more than 2^56 bytes", program_.name));
    bytes = static_cast<std::size_t>(total);
  };
  for (std::size_t i = 0; i < workspace_.size(); ++i) grow(workspace[i], size_of(program_.tensors[workspace_[i]].type));
  char* block = nullptr;
  if (bytes > 0 && !(block = static_cast<char*>(buffers.workspace.reserve(bytes)))) out_of_memory(bytes);

  std::size_t at = 0;
  for (std::size_t i = 0; i < workspace_.size(); ++i) {
    const ir::TensorId id = workspace_[i];
    tensors[id] = {block + at, nullptr};
    at += padded(static_cast<std::size_t>(workspace[i]) * size_of(program_.tensors[id].type));
  }
  for (std::size_t slot = 0; slot < binding_.slots().size(); ++slot) {
    const TensorView& v = *launch.tensors[slot];
    const TensorSlot& s = binding_.slots()[slot];
    tensors[s.tensor] = {v.data(), v.strides().data()};
    if (s.result) tensors[*s.result] = tensors[s.tensor];
  }

  for (std::size_t k = 0; k < kernels; ++k)
    if (tasks[k] > 0) run_kernel(k, tasks[k], scratch_bytes[k], args, buffers.scratch, *launch.options);
  if (status.state != 0) throw_data_error(program_, status);
}

void CpuCode::run_kernel(std::size_t k, std::int64_t tasks, std::int64_t scratch_bytes, const cpu::Args& args, Buffer& scratch,
                          const Options& options) const {
  const cpu::RunFunction function = run_[k];
  const auto reserve = [&](std::size_t threads) {
    const std::size_t step = scratch_bytes > 0 ? padded(static_cast<std::size_t>(scratch_bytes)) : 0;
    char* memory = nullptr;
    // Kernels compute on the unused rows of a tile, too: what the heap left there may be subnormal, which takes 10 to 50 times as long.
    if (step > 0 && !(memory = static_cast<char*>(scratch.reserve(step * threads, true))))
      throw Error(Code::out_of_memory, fmt::format("error: no memory for the scratch tiles of kernel '{}' ({} bytes)", program_.name, step * threads));
    return RunTasks{function, &args, memory, step};
  };
  if (options.executor.run && tasks > 1) {
    // Which thread runs a task is the executor's affair, so each task has scratch of its own.
    const std::int64_t parts = std::min<std::int64_t>(tasks, options.threads > 0 ? options.threads * 4 : 4 * usable_threads());
    struct Part {
      RunTasks run;
      std::int64_t tasks, parts;
    } part{reserve(static_cast<std::size_t>(parts)), tasks, parts};
    options.executor.run(options.executor.self, parts, [](void* data, std::int64_t i) {
      const Part& p = *static_cast<Part*>(data);
      const FloatMode mode;  // on the user's threads too
      const std::int64_t each = p.tasks / p.parts, more = p.tasks % p.parts;
      const std::int64_t begin = i * each + std::min(i, more), end = begin + each + (i < more);
      p.run.function(p.run.args, begin, end, p.run.scratch + static_cast<std::size_t>(i) * p.run.scratch_step);
    }, &part);
    return;
  }
  const int threads = options.threads == 1 || tasks == 1 ? 1 : options.threads;
  if (threads == 1) {
    const RunTasks run = reserve(1);
    function(&args, 0, tasks, run.scratch);
    return;
  }
  Pool& pool = Pool::of_process();
  const int used = threads == 0 ? pool.threads() : std::min(threads, pool.threads());
  RunTasks run = reserve(static_cast<std::size_t>(used));
  // How long the same tasks took the last time decides whether sleeping threads are woken. The time of a task depends on
  // the sizes, so it counts for equal sizes only.
  std::uint64_t sizes = static_cast<std::uint64_t>(tasks);
  for (std::size_t s = 0; s < program_.symbols.size(); ++s) sizes = sizes * 0x9e3779b97f4a7c15ull + static_cast<std::uint64_t>(args.symbols[s]);
  if (k == 0 && sizes_seen_.exchange(sizes, std::memory_order_relaxed) != sizes)
    for (Timing& t : timing_) t.us_per_task.store(-1, std::memory_order_relaxed);
  const double per_task = timing_[k].us_per_task.load(std::memory_order_relaxed);
  const auto start = std::chrono::steady_clock::now();
  const double ran_on = pool.run(tasks, used, per_task < 0 ? -1 : per_task * static_cast<double>(tasks), [](void* data, std::int64_t begin, std::int64_t end, int worker) {
    const RunTasks& r = *static_cast<RunTasks*>(data);
    r.function(r.args, begin, end, r.scratch + static_cast<std::size_t>(worker) * r.scratch_step);
  }, &run);
  const double us = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
  timing_[k].us_per_task.store(us * ran_on / static_cast<double>(tasks), std::memory_order_relaxed);
}

}  // namespace quern::runtime
