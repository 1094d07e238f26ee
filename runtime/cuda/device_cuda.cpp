// Runs: where the tensors lie decides the GPU; tensors on the host are mirrored; what waits reads its status word.
#include "runtime/cuda/device_cuda.h"

#include <array>
#include <atomic>
#include <mutex>

#include <fmt/format.h>

#include <quern/gpu.h>

#include "compiler/codegen/cuda/plan_cuda.h"
#include "runtime/cuda/copies.h"
#include "runtime/cuda/gpu_image.h"
#include "runtime/cuda/module.h"
#include "runtime/images.h"
#include "runtime/lowered.h"

namespace quern::runtime::gpu {
namespace {

class Compiled final : public Executable {
 public:
  using Image = std::shared_ptr<const GpuImage>;
  /// How machine code that the driver refuses is replaced. `anew` may be empty.
  struct Replacing {
    std::function<Image(const Image& refused, const std::string& why)> anew;
    std::function<void(const Image& refused)> forget;
  };

  /// `settled`: with the names of this kernel. `tiles`: what the code was made from, made again to be explained.
  Compiled(std::shared_ptr<const ir::Program> settled, Image image, const quern::cuda::Target& target, std::function<tile::Module()> tiles, Replacing replacing = {})
      : settled_(std::move(settled)),
        binding_(*settled_),
        target_(target),
        may_share_(image->may_share),
        tiles_(std::move(tiles)),
        replacing_(std::move(replacing)) {
    take(std::move(image));
  }

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
  void synchronize(Module& module, void* stream) const;
  /// Throws what the data broke.
  void require_kept(const cpu::Status& found) const {
    if (found.state != 0) throw_data_error(module().printed().program, found);
  }

  Module& module() const { return *module_.load(std::memory_order_acquire); }
  void take(Image image) const {
    Made& made = made_[made_count_];
    made.module = std::make_unique<Module>(binding_, named(image->module, *settled_), image->compiled, target_);
    made.image = std::move(image);
    ++made_count_;
    module_.store(made.module.get(), std::memory_order_release);
  }
  /// `call` with the module; with machine code made anew where the driver refuses what came from the cache.
  template <class F>
  auto with_module(F call) const {
    Module& first = module();
    try {
      return call(first);
    } catch (const Refused& refused) {
      Module& second = anew(first, refused);
      try {
        return call(second);
      } catch (const Refused& again) {
        give_up(again);
      }
    }
  }
  Module& anew(const Module& refused, const Refused& why) const;
  [[noreturn]] void give_up(const Refused& why) const;

  struct Made {
    Image image;
    std::unique_ptr<Module> module;
  };

  std::shared_ptr<const ir::Program> settled_;
  Binding binding_;          // of settled_: its slots are those of the call
  quern::cuda::Target target_;
  std::vector<std::vector<std::uint8_t>> may_share_;
  std::function<tile::Module()> tiles_;
  Replacing replacing_;
  mutable std::mutex mutex_;                  // replacing
  mutable std::array<Made, 2> made_;          // the second only where the first was refused; calls may still look at that
  mutable std::size_t made_count_ = 0;
  mutable std::atomic<Module*> module_{nullptr};
};

Module& Compiled::anew(const Module& refused, const Refused& why) const {
  const std::lock_guard lock(mutex_);
  if (&module() != &refused) return module();  // another thread was here
  if (made_count_ == made_.size() || !replacing_.anew) give_up(why);
  Image image;
  try {
    image = replacing_.anew(made_[0].image, why.message());
  } catch (const Error& e) {
    if (e.code() == Code::not_prepared) throw;
    throw Error(e.code(), fmt::format("{}; compiling it again failed: {}", why.message(), e.message()));
  }
  take(std::move(image));
  return module();
}

/// What was compiled here and now is refused as well: it is not kept.
void Compiled::give_up(const Refused& why) const {
  const Made& last = made_[made_count_ - 1];
  if (replacing_.forget) replacing_.forget(last.image);
  const NvrtcFile& by = last.image->compiled.made_by;
  throw Error(Code::unsupported, fmt::format("{}; NVRTC {}.{} ({}) made it: install a newer driver, or name an NVRTC no newer than the driver by QUERN_NVRTC",
                                             why.message(), by.major, by.minor, by.path));
}

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
  with_module([&](Module& m) { m.prepare(gpu, {launch.tensors, launch.symbols, launch.scalars, static_cast<Stream>(launch.stream), true}); });
}

void Compiled::run(const Launch& launch) const {
  bool staged = false;
  Gpu& gpu = gpu_of(launch, &staged);
  ModuleCall call{launch.tensors, launch.symbols, launch.scalars, static_cast<Stream>(launch.stream), launch.may_prepare};
  if (!staged && !launch.wait) {
    with_module([&](Module& m) { m.launch(gpu, call); });
    return;
  }
  gpu.require_alive();
  if (!launch.may_prepare && !module().is_loaded(gpu.ordinal()))
    throw Error(Code::not_prepared, fmt::format("error: kernel '{}' is not loaded on GPU {}; call prepare with such arguments first", settled_->name, gpu.ordinal()));
  const Current current(gpu);
  if (capture_of(gpu, call.stream) != 0)
    throw Error(Code::not_prepared, fmt::format("error: kernel '{}' {} while its stream is captured into a graph; prepare it before, then `launch` it on tensors "
                                                "in GPU memory", settled_->name, staged ? "would copy host tensors" : "would be waited for"));
  call.may_allocate = true;  // nothing is captured
  if (launch.wait) check_facts(gpu, call.stream, binding_, launch.tensors);
  if (!staged) {
    require_kept(with_module([&](Module& m) { return m.run_and_wait(gpu, call); }));
    return;
  }
  const std::size_t slots = binding_.slots().size();
  SmallArray<TensorView, 12> views(slots);
  SmallArray<const TensorView*, 12> pointers(slots);
  Staging staging(gpu, call.stream, binding_, launch.tensors, views.data());
  for (std::size_t slot = 0; slot < slots; ++slot) pointers[slot] = &views[slot];
  call.tensors = pointers.data();
  require_kept(with_module([&](Module& m) { return m.run_and_wait(gpu, call); }));
  staging.copy_back();
}

void Compiled::synchronize(void* stream, const Options&) const {
  // Both where one was refused by some GPU only.
  std::size_t count;
  {
    const std::lock_guard lock(mutex_);
    count = made_count_;
  }
  for (std::size_t i = 0; i < count; ++i) synchronize(*made_[i].module, stream);
}

void Compiled::synchronize(Module& module, void* stream) const {
  if (module.printed().launches.empty()) return;
  int loaded = 0;
  for (int number = 0; number < kMostGpus; ++number) loaded += module.is_loaded(number);
  for (int number = 0; number < kMostGpus; ++number) {
    if (!module.is_loaded(number)) continue;
    Gpu& gpu = gpu_at(number);
    gpu.require_alive();
    const auto queue = static_cast<Stream>(stream);
    // The stream is of one GPU. With several in use each gets its own copy, after that stream is through.
    if (loaded > 1) gpu.require(gpu.driver().cuStreamSynchronize(queue), fmt::format("kernel '{}'", settled_->name));
    const cpu::Status found = module.read_status(gpu, 0, loaded > 1 ? nullptr : queue);
    if (found.state != 0) throw_data_error(module.printed().program, found);
  }
}

std::string Compiled::explain() const {
  const CompiledText& compiled = module().compiled();
  const auto plural = [](std::size_t n) { return n == 1 ? "" : "s"; };
  std::string text = fmt::format("kernel {} for {}: {} launch{}, {} tensor{} of workspace, compiled in {:.0f} ms\n", settled_->name,
                                 quern::cuda::name_of(target_), module().printed().launches.size(), module().printed().launches.size() == 1 ? "" : "es",
                                 module().printed().workspace.size(), plural(module().printed().workspace.size()), compiled.seconds * 1e3);
  for (const tile::Kernel& k : tiles_().kernels) {
    text += "  " + k.name + "\n";
    for (const std::string& why : k.why) text += "    " + why + "\n";
  }
  for (const quern::cuda::KernelLaunch& launch : module().printed().launches)
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

namespace {

/// The image of printed text. `compiled` by NVRTC unless there is nothing to launch.
GpuImage image_of_printed(const tile::Module& module, quern::cuda::CudaModule printed, const quern::cuda::Target& target) {
  if (!printed.error.empty())
    throw Error(Code::internal, fmt::format("error: internal fault while generating CUDA text for kernel '{}': {}", module.program.name, printed.error));
  GpuImage image;
  if (!printed.launches.empty()) image.compiled = compile_nvrtc(printed.text, target);
  image.may_share = sharing_of(module, Binding(module.program));
  image.module.program = described(printed.program, printed.workspace);
  image.module.launches = std::move(printed.launches);
  image.module.workspace = std::move(printed.workspace);
  return image;
}

tile::Module plan_settled(const ir::Program& settled, const CompileRequest& request, const quern::cuda::Target& target) {
  quern::cuda::CudaOptions options;
  options.target = target;
  options.layouts = layouts_of(Binding(settled), request);
  compiler::PassOptions passes;
  passes.off.insert(request.options->disabled.begin(), request.options->disabled.end());
  return quern::cuda::lower_for_cuda(settled, options, passes);
}

}  // namespace

std::shared_ptr<const Executable> compile_printed(tile::Module module, quern::cuda::CudaModule printed, const quern::cuda::Target& target) {
  GpuImage image = image_of_printed(module, std::move(printed), target);
  auto program = std::make_shared<const ir::Program>(module.program);
  return std::make_shared<const Compiled>(std::move(program), std::make_shared<const GpuImage>(std::move(image)), target, [module = std::move(module)] { return module; });
}

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
  const auto tiles = [settled, target, options = *request.options, layouts = request.layouts] {
    return gpu::plan_settled(*settled, {settled, &options, layouts, nullptr}, target);
  };
  const ImageMaker maker{[settled, target, tiles, layouts = request.layouts] {
                           const tile::Module module = tiles();
                           return gpu::pack(gpu::image_of_printed(module, gpu::print(module, {settled, nullptr, layouts, nullptr}, target), target));
                         },
                         [binding = std::make_shared<const Binding>(*settled)](std::string_view bytes, std::string* error) { return gpu::unpack(bytes, *binding, error); },
                         [](const void* image) { return gpu::outdated(static_cast<const gpu::GpuImage*>(image)->compiled.made_by); }};
  const Signature signature = signature_of(Device::cuda, *settled, request);
  using Image = gpu::Compiled::Image;
  const auto typed = [](const std::shared_ptr<const void>& image) { return std::static_pointer_cast<const gpu::GpuImage>(image); };
  const gpu::Compiled::Replacing replacing{
      [=](const Image& refused, const std::string& why) { return typed(image_anew(signature, settled->name, maker, refused, why)); },
      [=](const Image& refused) { forget_image(signature, refused); }};
  return std::make_shared<const gpu::Compiled>(settled, typed(image_of(signature, settled->name, maker, request.source)), target, tiles, replacing);
}

}  // namespace quern::runtime
