// Runs: where the tensors lie decides the GPU; tensors on the host are mirrored; what waits reads its status word.
#include "runtime/cuda/device_cuda.h"

#include <fmt/format.h>

#include <quern/gpu.h>

#include "compiler/codegen/cuda/plan_cuda.h"
#include "runtime/cuda/copies.h"
#include "runtime/cuda/module.h"
#include "runtime/images.h"
#include "runtime/lowered.h"

namespace quern::runtime::gpu {
namespace {

class Compiled final : public Executable {
 public:
  Compiled(tile::Module module, quern::cuda::CudaModule printed, CompiledText compiled, const quern::cuda::Target& target)
      : tiles_(std::move(module)),
        binding_(tiles_.program),
        module_(binding_, std::move(printed), std::move(compiled), target),
        target_(target),
        may_share_(sharing_of(tiles_, binding_)) {}

  void run(const Launch& launch) const override;
  void prepare(const Launch& launch) const override;
  void synchronize(void* stream, const Options& options) const override;
  bool may_share(std::size_t written, std::size_t read, std::string* why_not) const override {
    if (may_share_[written][read]) return true;
    if (why_not) *why_not = sharing_refused(binding_, read);
    return false;
  }
  std::string explain() const override;

 private:
  Gpu& gpu_of(const Launch& launch, bool* staged) const;
  void check_orders(const Launch& launch) const;
  /// Throws what the data broke.
  void require_kept(const cpu::Status& found) const {
    if (found.state != 0) throw_data_error(tiles_.program, found);
  }

  tile::Module tiles_;
  Binding binding_;          // of the tiles' program: its slots are those of the call
  mutable Module module_;
  quern::cuda::Target target_;
  std::vector<std::vector<std::uint8_t>> may_share_;
};

/// The one GPU of the call's tensors; `staged`: some tensor with elements is on the host.
Gpu& Compiled::gpu_of(const Launch& launch, bool* staged) const {
  int number = -1;
  *staged = false;
  for (std::size_t slot = 0; slot < binding_.slots().size(); ++slot) {
    const TensorView* v = launch.tensors[slot];
    if (!v) continue;
    if (v->memory() == Memory::host) {
      *staged |= v->data() != nullptr;
      continue;
    }
    if (number >= 0 && v->gpu() != number)
      throw Error(Code::invalid_argument, fmt::format("error: '{}' is in the memory of GPU {}, other tensors in that of GPU {}", binding_.slots()[slot].name, v->gpu(), number));
    number = v->gpu();
  }
  return gpu_at(number >= 0 ? number : launch.options->gpu);
}

void Compiled::prepare(const Launch& launch) const {
  bool staged = false;
  Gpu& gpu = gpu_of(launch, &staged);
  gpu.require_alive();
  module_.prepare(gpu, {launch.tensors, launch.symbols, launch.scalars, static_cast<Stream>(launch.stream), true});
}

void Compiled::run(const Launch& launch) const {
  bool staged = false;
  Gpu& gpu = gpu_of(launch, &staged);
  ModuleCall call{launch.tensors, launch.symbols, launch.scalars, static_cast<Stream>(launch.stream), launch.may_prepare};
  if (!staged && !launch.wait) {
    module_.launch(gpu, call);
    return;
  }
  gpu.require_alive();
  if (!launch.may_prepare && !module_.is_loaded(gpu.ordinal()))
    throw Error(Code::not_prepared, fmt::format("error: kernel '{}' is not loaded on GPU {}; call prepare with such arguments first", tiles_.program.name, gpu.ordinal()));
  const Current current(gpu);
  if (capture_of(gpu, call.stream) != 0)
    throw Error(Code::not_prepared, fmt::format("error: kernel '{}' {} while its stream is captured into a graph; prepare it before, then `launch` it on tensors "
                                                "in GPU memory", tiles_.program.name, staged ? "would copy host tensors" : "would be waited for"));
  call.may_allocate = true;  // nothing is captured
  if (launch.wait) check_orders(launch);
  if (!staged) {
    require_kept(module_.run_and_wait(gpu, call));
    return;
  }
  const std::size_t slots = binding_.slots().size();
  SmallArray<TensorView, 12> views(slots);
  SmallArray<const TensorView*, 12> pointers(slots);
  Staging staging(gpu, call.stream, binding_, launch.tensors, views.data());
  for (std::size_t slot = 0; slot < slots; ++slot) pointers[slot] = &views[slot];
  call.tensors = pointers.data();
  require_kept(module_.run_and_wait(gpu, call));
  staging.copy_back();
}

/// `nondecreasing` of tensors in GPU memory, by a copy. Those on the host were read by the caller.
void Compiled::check_orders(const Launch& launch) const {
  if (!binding_.has_facts()) return;
  CallArguments call;
  call.tensors.resize(binding_.slots().size());
  std::vector<Tensor> copies;
  copies.reserve(binding_.slots().size());
  for (std::size_t slot = 0; slot < binding_.inputs(); ++slot) {
    call.tensors[slot] = launch.tensors[slot];
    const ir::Tensor& tensor = tiles_.program.tensors[binding_.slots()[slot].tensor];
    if (tensor.nondecreasing && launch.tensors[slot]->memory() == Memory::gpu) call.tensors[slot] = &copies.emplace_back(to_host(*launch.tensors[slot])).view();
  }
  binding_.check_facts(call);
}

void Compiled::synchronize(void* stream, const Options&) const {
  if (module_.printed().launches.empty()) return;
  int loaded = 0;
  for (int number = 0; number < kMostGpus; ++number) loaded += module_.is_loaded(number);
  for (int number = 0; number < kMostGpus; ++number) {
    if (!module_.is_loaded(number)) continue;
    Gpu& gpu = gpu_at(number);
    gpu.require_alive();
    const auto queue = static_cast<Stream>(stream);
    // The stream is of one GPU. With several in use each gets its own copy, after that stream is through.
    if (loaded > 1) gpu.require(gpu.driver().cuStreamSynchronize(queue), fmt::format("kernel '{}'", tiles_.program.name));
    const cpu::Status found = module_.read_status(gpu, 0, loaded > 1 ? nullptr : queue);
    if (found.state != 0) throw_data_error(tiles_.program, found);
  }
}

std::string Compiled::explain() const {
  const CompiledText& compiled = module_.compiled();
  const auto plural = [](std::size_t n) { return n == 1 ? "" : "s"; };
  std::string text = fmt::format("kernel {} for {}: {} launch{}, {} tensor{} of workspace, compiled in {:.0f} ms\n", tiles_.program.name,
                                 quern::cuda::name_of(target_), module_.printed().launches.size(), module_.printed().launches.size() == 1 ? "" : "es",
                                 module_.printed().workspace.size(), plural(module_.printed().workspace.size()), compiled.seconds * 1e3);
  for (const tile::Kernel& k : tiles_.kernels) {
    text += "  " + k.name + "\n";
    for (const std::string& why : k.why) text += "    " + why + "\n";
  }
  for (const quern::cuda::KernelLaunch& launch : module_.printed().launches)
    for (const KernelResources& r : compiled.kernels)
      if (r.entry == launch.entry)
        text += fmt::format("  {}: {} threads a block, {} registers, {} bytes of static shared memory{}\n", r.entry, launch.threads, r.registers, r.static_shared_bytes,
                            r.stack_bytes == 0 ? "" : fmt::format(", {} bytes of stack ({} spilled)", r.stack_bytes, r.spill_store_bytes));
  for (const Remark& remark : compiled.remarks) text += fmt::format("  {}: {}\n", remark.code, remark.meaning.empty() ? remark.text : remark.meaning);
  return text;
}

}  // namespace

quern::cuda::Target target_of(const Options& options) {
  if (options.target.empty()) return gpu_at(options.gpu).target();
  if (const auto target = quern::cuda::target_named(options.target)) return *target;
  throw Error(Code::invalid_argument, fmt::format("error: no GPU target '{}'; there are sm_80, sm_86, sm_89, sm_90 and sm_90a", options.target));
}

std::shared_ptr<const Executable> compile_printed(tile::Module module, quern::cuda::CudaModule printed, const quern::cuda::Target& target,
                                                  const std::function<std::shared_ptr<const CompiledText>(const quern::cuda::CudaModule&)>& image) {
  if (!printed.error.empty())
    throw Error(Code::internal, fmt::format("error: internal fault while generating CUDA text for kernel '{}': {}", module.program.name, printed.error));
  CompiledText compiled;
  if (!printed.launches.empty()) compiled = image ? *image(printed) : compile_nvrtc(printed.text, target);
  return std::make_shared<const Compiled>(std::move(module), std::move(printed), std::move(compiled), target);
}

namespace {

tile::Module plan_settled(const ir::Program& settled, const CompileRequest& request, const quern::cuda::Target& target) {
  quern::cuda::CudaOptions options;
  options.target = target;
  options.layouts = layouts_of(Binding(settled), request);
  compiler::PassOptions passes;
  passes.off.insert(request.options->disabled.begin(), request.options->disabled.end());
  return quern::cuda::lower_for_cuda(settled, options, passes);
}

}  // namespace

tile::Module plan(const CompileRequest& request, const quern::cuda::Target& target) { return plan_settled(*settled_program(request), request, target); }

quern::cuda::CudaModule print(const tile::Module& module, const CompileRequest& request, const quern::cuda::Target& target) {
  quern::cuda::CudaOptions options;
  options.target = target;
  options.layouts = layouts_of(Binding(module.program), request);
  return quern::cuda::print_cuda(module, options);
}

}  // namespace quern::runtime::gpu

namespace quern::runtime {

std::shared_ptr<const Executable> compile_for_cuda(const CompileRequest& request) {
  const quern::cuda::Target target = gpu::target_of(*request.options);
  const std::shared_ptr<const ir::Program> settled = settled_program(request);
  tile::Module module = gpu::plan_settled(*settled, request, target);
  quern::cuda::CudaModule printed = gpu::print(module, request, target);
  // Planning and printing take milliseconds and are done again by every process: what is kept is the machine code.
  return gpu::compile_printed(std::move(module), std::move(printed), target, [&](const quern::cuda::CudaModule& text) {
    return std::static_pointer_cast<const gpu::CompiledText>(image_of(
        signature_of(Device::cuda, *settled, request), settled->name,
        {[&] { return gpu::pack(gpu::compile_nvrtc(text.text, target)); },
         [](std::string_view bytes, std::string* error) { return gpu::unpack(bytes, error); }},
        request.source));
  });
}

}  // namespace quern::runtime
