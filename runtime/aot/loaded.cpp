// The way of a call: sizes choose the case, shapes follow from sizes, layouts and processor choose the variant. See loaded.h.
#include "runtime/aot/loaded.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/aot/gpu_variant.h"
#include "runtime/aot/processor.h"
#include "runtime/cpu_code.h"
#include "runtime/data_error.h"
#include "runtime/shared_storage.h"
#include "runtime/strided.h"

namespace quern::runtime::aot {

/// Exactly one of the two is there.
struct Loaded::Ready {
  explicit Ready(const Variant& v) : binding(v.program) {}
  Binding binding;
  std::unique_ptr<CpuCode> cpu;
  std::unique_ptr<GpuVariant> gpu;
};

namespace {

/// Whether code for `known` may run on `view`.
bool fits(const Layout& known, const TensorView& view, const Layout& actual) {
  if (known.dense) return actual.dense;
  if (known.unit_axis < 0) return true;
  return view.extent(known.unit_axis) <= 1 || view.stride(known.unit_axis) == 1 || view.count() == 0;
}

using Layouts = SmallArray<Layout, 24>;

bool fits(const Variant& variant, const CallArguments& call, const Layouts& actual) {
  for (std::size_t slot = 0; slot < variant.layouts.size(); ++slot)
    if (!fits(variant.layouts[slot], *call.tensors[slot], actual[slot])) return false;
  return true;
}

std::string values_text(const ir::Program& program) {
  std::string text;
  for (const ir::Symbol& s : program.symbols)
    if (s.value) text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", s.name, *s.value);
  return text;
}

Argument scalar_argument(const ir::Scalar& scalar, const void* at) {
  const auto read = [&]<class T>(T) {
    T value;
    std::memcpy(&value, at, sizeof value);
    return value;
  };
  switch (scalar.type) {
    case DType::f64: return Argument(read(double{}));
    case DType::i64: return Argument(read(std::int64_t{}));
    default: break;
  }
  if (is_float(scalar.type)) return Argument(read(float{}));
  return Argument(read(std::int32_t{}));
}

}  // namespace

Loaded::ReadyCase::ReadyCase(const Case& of)
    : made(of), binding(of.program), variants(std::make_unique<std::atomic<Ready*>[]>(of.variants.size())) {
  for (const Variant& v : of.variants) levels.push_back(v.on_gpu() ? 0 : level_named(v.target));
}
Loaded::ReadyCase::~ReadyCase() {
  for (std::size_t i = 0; i < made.variants.size(); ++i) delete variants[i].load();
}

Loaded::Loaded(const quern_aot_kernel& kernel) : kernel_(kernel), image_(read_image({kernel.image, kernel.image_bytes})) {
  for (const Case& c : image_.cases) cases_.push_back(std::make_unique<ReadyCase>(c));
}
Loaded::~Loaded() = default;

Loaded::ReadyCase& Loaded::case_for(const std::int64_t* sizes) {
  for (const auto& c : cases_) {
    const auto& symbols = c->made.program.symbols;
    bool same = true;
    for (std::size_t s = 0; s < symbols.size(); ++s) same &= !symbols[s].value || *symbols[s].value == sizes[s];
    if (same) return *c;
  }
  const ir::Program& program = image_.cases[0].program;
  std::string given, made;
  for (std::size_t s = 0; s < program.symbols.size(); ++s)
    if (program.symbols[s].value) given += fmt::format("{}{} = {}", given.empty() ? "" : ", ", program.symbols[s].name, sizes[s]);
  for (const Case& c : image_.cases) made += fmt::format("{}{}", made.empty() ? "" : "; ", values_text(c.program));
  throw Error(Code::not_prepared, fmt::format("error: kernel '{}' was not compiled for {}; it was for: {}", program.name, given, made));
}

const Variant& Loaded::choose(const ReadyCase& of, const CallArguments& call, const quern_call& options, bool on_gpu) const {
  Layouts actual(call.tensors.size());
  for (std::size_t slot = 0; slot < actual.size(); ++slot) actual[slot] = layout_of(*call.tensors[slot]);
  const int most = options.target ? level_named(options.target) : 4;
  if (most == 0) throw Error(Code::invalid_argument, fmt::format("error: no target '{}'; there are x86-64-v2, x86-64-v3 and x86-64-v4", options.target));
  const int level = std::min(most, level_of_processor());
  // The image lists the best first.
  bool any = false;
  for (std::size_t i = 0; i < of.made.variants.size(); ++i) {
    const Variant& v = of.made.variants[i];
    if (v.on_gpu() != on_gpu || (on_gpu ? !GpuVariant::runs_on(v.gpu, options.gpu) : of.levels[i] > level)) continue;
    any = true;
    if (fits(v, call, actual)) return v;
  }
  const std::string& name = of.made.program.name;
  std::string targets;
  for (const Variant& v : of.made.variants)
    if (v.on_gpu() == on_gpu && targets.find(v.target) == std::string::npos) targets += (targets.empty() ? "" : ", ") + v.target;
  if (!any)
    throw Error(Code::unsupported, fmt::format("error: kernel '{}' was compiled for {}; {}", name, targets.empty() ? "no such device" : targets,
                                               on_gpu ? GpuVariant::name_of_gpu(options.gpu) : options.target ? fmt::format("'{}' was asked for", options.target)
                                                                                              : fmt::format("this processor offers x86-64-v{}", level)));
  throw Error(Code::not_prepared, fmt::format("error: kernel '{}' was compiled for denser tensors than these; compile it with --layouts any", name));
}

Loaded::Ready& Loaded::ready(ReadyCase& of, const Variant& variant) {
  std::atomic<Ready*>& where = of.variants[static_cast<std::size_t>(&variant - of.made.variants.data())];
  if (Ready* r = where.load(std::memory_order_acquire)) return *r;
  const std::lock_guard lock(mutex_);
  if (Ready* r = where.load(std::memory_order_acquire)) return *r;
  auto made = std::make_unique<Ready>(variant);
  if (variant.on_gpu()) {
    made->gpu = std::make_unique<GpuVariant>(variant, made->binding, static_cast<const char*>(kernel_.table[variant.cubin]));
  } else {
    std::vector<cpu::RunFunction> run;
    for (const std::uint32_t r : variant.run) run.push_back(reinterpret_cast<cpu::RunFunction>(const_cast<void*>(kernel_.table[r])));
    made->cpu = std::make_unique<CpuCode>(variant.program, variant.workspace, made->binding,
                                          reinterpret_cast<cpu::PlanFunction>(const_cast<void*>(kernel_.table[variant.plan])), std::move(run));
  }
  where.store(made.get(), std::memory_order_release);
  return *made.release();
}

void Loaded::run(const Given& given, bool on_gpu) {
  ReadyCase& chosen = case_for(given.sizes);
  const Binding& binding = chosen.binding;
  const ir::Program& program = chosen.made.program;

  CallArguments call;
  call.scalars.resize(binding.scalars().size());
  SmallArray<Argument, 8> numbers(binding.scalars().size());
  for (std::size_t i = 0; i < binding.scalars().size(); ++i) {
    if (!given.scalars[i]) continue;
    numbers[i] = scalar_argument(program.scalars[binding.scalars()[i].scalar], given.scalars[i]);
    call.scalars[i] = &numbers[i];
  }
  Bound bound;
  binding.bind_sizes(given.sizes, call, bound);

  const std::size_t slots = binding.slots().size();
  call.tensors.resize(slots);
  SmallArray<TensorView, 12> views(slots);
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const auto type = static_cast<ElementType>(program.tensors[binding.slots()[slot].tensor].type);
    const Sizes shape = binding.shape_of(slot, bound);
    const std::int64_t* strides = given.strides[slot];
    views[slot] = strides ? TensorView(given.data[slot], type, shape, Sizes(std::span(strides, static_cast<std::size_t>(shape.size()))))
                          : TensorView(given.data[slot], type, shape);
    if (on_gpu) views[slot] = views[slot].on_gpu(given.call.gpu);
    call.tensors[slot] = &views[slot];
  }
  binding.check_outputs(call, bound);
  require_data(binding, call);
  SmallArray<Shared, 8> shared(8);
  std::size_t shared_count = 0;
  find_shared(binding, call, shared, shared_count);

  const Variant& variant = choose(chosen, call, given.call, on_gpu);
  for (std::size_t i = 0; i < shared_count; ++i)
    if (!variant.may_share[shared[i].written][shared[i].read])
      throw Error(Code::overlap, fmt::format("error: '{}' is the same memory as '{}', which is not safe: {}", binding.slots()[shared[i].written].name,
                                             binding.slots()[shared[i].read].name, sharing_refused(binding, shared[i].read)));
  Ready& code = ready(chosen, variant);
  if (binding.has_facts()) binding.check_facts(call);
  Options options;
  options.threads = given.call.threads;
  options.gpu = given.call.gpu;
  Launch launch{call.tensors.data(), bound.symbols.data(), bound.scalar_values.data(), bound.scalars.data(), &options};
  launch.stream = given.call.stream;
  launch.wait = !given.call.no_wait;
  if (on_gpu) code.gpu->run(launch);
  else code.cpu->run(launch);
}

}  // namespace quern::runtime::aot
