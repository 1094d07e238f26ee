// Kernels compiled by LLVM as a device. In: a program fixed to one signature. Out: loaded code, run over the thread pool
// with workspace and scratch that are kept between calls.
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>

#include <fmt/format.h>

#include "compiler/codegen/cpu/code_generator.h"
#include "compiler/codegen/cpu/load_object.h"
#include "compiler/compile.h"
#include "runtime/cpu/target_option.h"
#include "runtime/device.h"
#include "runtime/float_mode.h"
#include "runtime/later.h"
#include "runtime/lowered.h"
#include "runtime/memory.h"
#include "runtime/pool.h"

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

class Compiled final : public Executable {
 public:
  explicit Compiled(const CompileRequest& request);
  void run(const Launch& launch) const override;
  bool may_share(std::size_t written, std::size_t read, std::string* why_not) const override;
  std::string explain() const override;

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

  std::shared_ptr<const ir::Program> checked_;
  tile::Module module_;
  Binding binding_;                         // of the module's program: its slots are those of the call
  std::unique_ptr<cpu::LoadedCpu> code_;
  std::vector<std::vector<std::uint8_t>> may_share_;  // [written slot][read slot]
  mutable std::vector<Timing> timing_;
  mutable std::atomic<std::uint64_t> sizes_seen_{0};
  double compile_ms_ = 0;
};

Compiled::Compiled(const CompileRequest& request)
    : checked_(request.program),
      module_([&] {
        compiler::CompileOptions options;
        options.passes.off.insert(request.options->disabled.begin(), request.options->disabled.end());
        options.plan.target = target_of(*request.options);
        options.plan.layouts = layouts_of(Binding(*request.program), request);
        return compiler::compile(*request.program, options);
      }()),
      binding_(module_.program) {
  const auto start = std::chrono::steady_clock::now();
  cpu::CpuOptions options;
  options.target = target_of(*request.options);
  options.layouts = layouts_of(binding_, request);
  std::string error;
  const UnderWay under_way;  // a process that ends waits for LLVM
  const cpu::CodeGenerator* generator = cpu::code_generator(&error);
  if (!generator) throw Error(Code::unsupported, fmt::format("error: kernel '{}' cannot be compiled: {}", module_.program.name, error));
  const cpu::CompiledCpu compiled = generator->compile(module_, options);
  if (!compiled.error.empty()) throw Error(Code::internal, fmt::format("error: internal fault while generating code for kernel '{}': {}", module_.program.name, compiled.error));
  code_ = cpu::load_object(compiled.object, compiled.plan_symbol, compiled.run_symbols, &error);
  if (!code_) throw Error(Code::internal, fmt::format("error: internal fault while loading kernel '{}': {}", module_.program.name, error));

  may_share_ = sharing_of(module_, binding_);
  timing_ = std::vector<Timing>(module_.kernels.size());
  compile_ms_ = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

bool Compiled::may_share(std::size_t written, std::size_t read, std::string* why_not) const {
  if (may_share_[written][read]) return true;
  if (why_not) *why_not = sharing_refused(binding_, read);
  return false;
}

void Compiled::run(const Launch& launch) const {
  const ir::Program& program = module_.program;
  const FloatMode mode;
  SmallArray<cpu::TensorArg, 64> tensors(program.tensors.size());
  cpu::Status status{};
  const cpu::Args args{tensors.data(), launch.symbols, launch.scalars, &status, &cpu::default_helpers()};

  const std::size_t kernels = module_.kernels.size();
  SmallArray<std::int64_t, 16> tasks(kernels), scratch_bytes(kernels), workspace(module_.workspace.size());
  cpu::Plan plan{tasks.data(), scratch_bytes.data(), workspace.data()};
  code_->plan()(&args, &plan);

  Buffers buffers = std::move(buffers_of_thread());
  struct Return {
    Buffers& buffers;
    ~Return() { buffers_of_thread() = std::move(buffers); }
  } give_back{buffers};

  // One block for all workspace tensors.
  std::size_t bytes = 0;
  const auto out_of_memory = [&](std::size_t wanted) {
    throw Error(Code::out_of_memory, fmt::format("error: no memory for the workspace of kernel '{}' ({} bytes)", program.name, wanted));
  };
  const auto grow = [&](std::int64_t elements, std::size_t size) {
    std::int64_t more = 0, total = 0;
    if (elements < 0 || __builtin_mul_overflow(elements, static_cast<std::int64_t>(size), &more) || more > (std::int64_t{1} << 56) ||
        __builtin_add_overflow(static_cast<std::int64_t>(bytes), static_cast<std::int64_t>(padded(static_cast<std::size_t>(more))), &total))
      throw Error(Code::overflow, fmt::format("error: the workspace of kernel '{}' would take more than 2^56 bytes", program.name));
    bytes = static_cast<std::size_t>(total);
  };
  for (std::size_t i = 0; i < module_.workspace.size(); ++i) grow(workspace[i], size_of(program.tensors[module_.workspace[i]].type));
  char* block = nullptr;
  if (bytes > 0 && !(block = static_cast<char*>(buffers.workspace.reserve(bytes)))) out_of_memory(bytes);

  std::size_t at = 0;
  for (std::size_t i = 0; i < module_.workspace.size(); ++i) {
    const ir::TensorId id = module_.workspace[i];
    tensors[id] = {block + at, nullptr};
    at += padded(static_cast<std::size_t>(workspace[i]) * size_of(program.tensors[id].type));
  }
  for (std::size_t slot = 0; slot < binding_.slots().size(); ++slot) {
    const TensorView& v = *launch.tensors[slot];
    const TensorSlot& s = binding_.slots()[slot];
    tensors[s.tensor] = {v.data(), v.strides().data()};
    if (s.result) tensors[*s.result] = tensors[s.tensor];
  }

  for (std::size_t k = 0; k < kernels; ++k)
    if (tasks[k] > 0) run_kernel(k, tasks[k], scratch_bytes[k], args, buffers.scratch, *launch.options);
  if (status.state != 0) throw_data_error(program, status);
}

void Compiled::run_kernel(std::size_t k, std::int64_t tasks, std::int64_t scratch_bytes, const cpu::Args& args, Buffer& scratch,
                          const Options& options) const {
  const cpu::RunFunction function = code_->run(k);
  const auto reserve = [&](std::size_t threads) {
    const std::size_t step = scratch_bytes > 0 ? padded(static_cast<std::size_t>(scratch_bytes)) : 0;
    char* memory = nullptr;
    if (step > 0 && !(memory = static_cast<char*>(scratch.reserve(step * threads))))
      throw Error(Code::out_of_memory, fmt::format("error: no memory for the scratch tiles of kernel '{}' ({} bytes)", module_.program.name, step * threads));
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
  for (std::size_t s = 0; s < module_.program.symbols.size(); ++s) sizes = sizes * 0x9e3779b97f4a7c15ull + static_cast<std::uint64_t>(args.symbols[s]);
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

std::string Compiled::explain() const {
  std::string text = fmt::format("kernel {} on the CPU: {} kernel{}, {} tensor{} of workspace\n", module_.program.name, module_.kernels.size(),
                                 module_.kernels.size() == 1 ? "" : "s", module_.workspace.size(), module_.workspace.size() == 1 ? "" : "s");
  for (const tile::Kernel& k : module_.kernels) {
    text += "  " + k.name + "\n";
    for (const std::string& why : k.why) text += "    " + why + "\n";
  }
  return text;
}

}  // namespace

std::shared_ptr<const Executable> compile_for_cpu(const CompileRequest& request) { return std::make_shared<const Compiled>(request); }

}  // namespace quern::runtime
