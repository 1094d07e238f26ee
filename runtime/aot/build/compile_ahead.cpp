// Kernels x values x targets x layouts. See compile_ahead.h.
#include "runtime/aot/build/compile_ahead.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/aot/build/c_interface.h"
#include "runtime/aot/build/c_source.h"
#include "runtime/aot/build/cpu_part.h"
#include "runtime/aot/build/gpu_part.h"
#include "runtime/aot/image.h"
#include "runtime/aot/object.h"
#include "runtime/aot/processor.h"
#include "runtime/front.h"
#include "runtime/lowered.h"

namespace quern::runtime::aot {
namespace {

constexpr std::size_t kMostCases = 256;

/// What the class says of every tensor; empty when it says no more than the one before it.
std::vector<Layout> layouts_of(LayoutClass c, const ir::Program& program, const Binding& binding) {
  std::vector<Layout> list;
  for (const TensorSlot& slot : binding.slots()) {
    const int rank = static_cast<int>(program.tensors[slot.tensor].shape.size());
    list.push_back(c == LayoutClass::dense || rank == 0 ? Layout{true, -1} : Layout{false, c == LayoutClass::rows ? rank - 1 : -1});
  }
  return list;
}

/// The classes that differ for this program: without axes there is one, with one axis each "rows" is "dense".
std::vector<LayoutClass> distinct(const std::vector<LayoutClass>& asked, const ir::Program& program, const Binding& binding) {
  int most = 0;
  for (const TensorSlot& slot : binding.slots()) most = std::max(most, static_cast<int>(program.tensors[slot.tensor].shape.size()));
  std::vector<LayoutClass> list;
  for (const LayoutClass c : {LayoutClass::dense, LayoutClass::rows, LayoutClass::any}) {
    if (std::find(asked.begin(), asked.end(), c) == asked.end()) continue;
    if (!list.empty() && (most == 0 || (most == 1 && c == LayoutClass::rows))) continue;
    list.push_back(c);
  }
  return list;
}

const char* name(LayoutClass c) { return c == LayoutClass::dense ? "dense" : c == LayoutClass::rows ? "rows" : "any"; }

/// Everything that goes into the object, as it grows.
class Builder {
 public:
  Builder(const std::string& text, const std::string& file, const AheadOptions& options) : text_(text), file_(file), options_(options) {
    for (const std::string& target : options.targets) {
      if (is_cpu_target(target)) cpu_targets_.push_back(target);
      else if (is_gpu_target(target)) gpu_targets_.push_back(target);
      else throw Error(Code::invalid_argument, fmt::format("error: no target '{}'; there are x86-64-v2, x86-64-v3, x86-64-v4, sm_80, sm_86, sm_89, sm_90 and sm_90a", target));
    }
    // The best first: the runtime takes the first that fits.
    for (auto* list : {&cpu_targets_, &gpu_targets_}) {
      std::sort(list->begin(), list->end(), std::greater<>());
      list->erase(std::unique(list->begin(), list->end()), list->end());
    }
    if (cpu_targets_.empty() && gpu_targets_.empty()) throw Error(Code::invalid_argument, "error: no target; say for example --target x86-64-v3,x86-64-v4");
    if (options.source && !cpu_targets_.empty())
      throw Error(Code::invalid_argument, fmt::format("error: code for {} goes into an object, not into C", cpu_targets_[0]));
  }

  void kernel(const std::string& kernel_name) {
    const Front front(text_, file_, kernel_name);
    std::vector<const Choice*> types, values;
    for (const CompileTimeName& ct : front.compile_time()) {
      const Choice* choice = choice_for(ct.name);
      if (!choice && !ct.has_default)
        throw Error(Code::invalid_argument, fmt::format("error: compile-time name '{}' of kernel '{}' has no value; say for example --set {}={}", ct.name,
                                                        kernel_name, ct.name, ct.is_type ? "f32,f16" : "64,128"));
      if (!choice) continue;
      for (const Setting& value : choice->values)
        if (value.is_type != ct.is_type)
          throw Error(Code::invalid_argument, fmt::format("error: '{}' of kernel '{}' is {}", ct.name, kernel_name, ct.is_type ? "an element type" : "a number or a flag, not an element type"));
      (ct.is_type ? types : values).push_back(choice);
    }
    for (const Choice& choice : options_.choices) {
      if (std::find(values.begin(), values.end(), &choice) != values.end() || std::find(types.begin(), types.end(), &choice) != types.end()) continue;
      if (!choice.values.empty() && !choice.values[0].is_type && names_size(front, choice.name)) values.push_back(&choice);  // a run-time size, fixed
    }
    for (const Choice* c : types) used_.push_back(c->name);
    for (const Choice* c : values) used_.push_back(c->name);
    each(types, {}, [&](const std::vector<Setting>& chosen) { function(front, kernel_name, chosen, values); });
  }

  void finish() const {
    for (const Choice& c : options_.choices)
      if (std::find(used_.begin(), used_.end(), c.name) == used_.end())
        throw Error(Code::invalid_argument, fmt::format("error: no kernel that is compiled has the name '{}'", c.name));
  }

  cpu::ObjectRequest request() {
    cpu::ObjectRequest request;
    for (CpuPart& part : parts_) request.parts.push_back({&part.module, part.options, part.prefix});
    request.kernels = kernels_;
    for (const CFunction& f : functions_) request.functions.push_back(f.made);
    return request;
  }
  std::string source() const { return c_source(options_.name, file_, kernels_, functions_); }
  const std::vector<HeaderEntry>& entries() const { return entries_; }
  const std::vector<CFunction>& functions() const { return functions_; }

 private:
  const Choice* choice_for(const std::string& name) const {
    for (const Choice& c : options_.choices)
      if (c.name == name) return &c;
    return nullptr;
  }

  /// Whether a size of the signature is called so. Element types do not matter for that.
  bool names_size(const Front& front, const std::string& name) const {
    for (const Parameter& p : front.parameters()) {
      std::string word;
      for (const char c : p.type.substr(std::min(p.type.find('['), p.type.size())) + " ") {
        if (std::isalnum(static_cast<unsigned char>(c)) || c == '_') {
          word += c;
          continue;
        }
        if (word == name) return true;
        word.clear();
      }
    }
    return false;
  }

  template <class F>
  void each(const std::vector<const Choice*>& choices, std::vector<Setting> chosen, F f) {
    if (chosen.size() == choices.size()) return f(chosen);
    for (const Setting& value : choices[chosen.size()]->values) {
      std::vector<Setting> more = chosen;
      more.push_back(value);
      each(choices, more, f);
    }
  }

  void function(const Front& front, const std::string& kernel_name, const std::vector<Setting>& types, const std::vector<const Choice*>& values) {
    std::string c_name = options_.prefix + kernel_name;
    for (const Setting& type : types) c_name += fmt::format("_{}", quern::name(static_cast<DType>(type.value)));
    Image image;
    cpu::ObjectKernel made;
    made.symbol = "quern_kernel_" + c_name;
    std::shared_ptr<const ir::Program> first;
    std::size_t cases = 1;
    for (const Choice* c : values) cases *= std::max<std::size_t>(1, c->values.size());
    if (cases > kMostCases) throw Error(Code::invalid_argument, fmt::format("error: {} combinations of values; at most {} go into one kernel", cases, kMostCases));
    std::string comment_values;
    each(values, {}, [&](std::vector<Setting> settings) {
      std::string text;
      for (const Setting& s : settings) text += fmt::format("{}{} = {}", text.empty() ? "" : ", ", s.name, s.value);
      if (!text.empty()) comment_values += (comment_values.empty() ? "" : "; ") + text;
      settings.insert(settings.begin(), types.begin(), types.end());
      const std::shared_ptr<const ir::Program> program = fixed(front, settings);
      if (!first) first = program;
      require_same(*first, *program);
      image.cases.push_back(one_case(program, c_name, text, made));
    });
    made.image = write_image(image);
    kernels_.push_back(std::move(made));
    const Binding binding(*first);
    const auto declare = [&](const std::string& symbol, std::int32_t device, const std::vector<std::string>& targets) {
      CFunction f = c_function(*first, binding, symbol, kernels_.back().symbol, device);
      for (const CFunction& other : functions_)
        if (other.made.symbol == symbol) throw Error(Code::invalid_argument, fmt::format("error: two kernels would be the C function '{}'", symbol));
      std::string comment = signature_of(front, kernel_name);
      if (!comment_values.empty()) comment += "\n   Compiled for " + comment_values + ".";
      comment += fmt::format("\n   Targets: {}.{}", fmt::join(targets, ", "), device == QUERN_AOT_ON_CUDA ? " Pointers are of GPU memory." : "");
      entries_.push_back({std::move(comment), f.declaration});
      functions_.push_back(std::move(f));
    };
    if (!cpu_targets_.empty()) declare(c_name, QUERN_AOT_ON_CPU, cpu_targets_);
    if (!gpu_targets_.empty()) declare(c_name + "_cuda", QUERN_AOT_ON_CUDA, gpu_targets_);
  }

  static std::string signature_of(const Front& front, const std::string& kernel_name) {
    std::vector<std::string> in, out;
    for (const Parameter& p : front.parameters())
      (p.role == Parameter::Role::output ? out : in).push_back(fmt::format("{}{}: {}", p.role == Parameter::Role::inout ? "inout " : "", p.name, p.type));
    return fmt::format("kernel {}({}){}", kernel_name, fmt::join(in, ", "), out.empty() ? "" : fmt::format(" -> ({})", fmt::join(out, ", ")));
  }

  /// Checked with these settings; run-time sizes among them are fixed too.
  static std::shared_ptr<const ir::Program> fixed(const Front& front, const std::vector<Setting>& settings) {
    return front.check(settings);
  }

  static void require_same(const ir::Program& a, const ir::Program& b) {
    bool same = a.symbols.size() == b.symbols.size() && a.parameters == b.parameters && a.outputs == b.outputs && a.scalar_parameters == b.scalar_parameters;
    for (std::size_t s = 0; same && s < a.symbols.size(); ++s) same = a.symbols[s].name == b.symbols[s].name;
    if (!same) throw Error(Code::internal, fmt::format("error: internal fault: the signature of kernel '{}' depends on compile-time values", a.name));
  }

  Case one_case(const std::shared_ptr<const ir::Program>& program, const std::string& c_name, const std::string& values, cpu::ObjectKernel& made) {
    Case result;
    result.program = described(*program, {});
    const Binding binding(*program);
    const std::vector<LayoutClass> classes = distinct(options_.layouts, *program, binding);
    const auto say = [&](const std::string& target, LayoutClass c) {
      if (options_.progress) options_.progress(fmt::format("{}{}{}: {}, {}", c_name, values.empty() ? "" : " for ", values, target, name(c)));
    };
    const Options defaults;
    for (const auto* targets : {&cpu_targets_, &gpu_targets_})
      for (const std::string& target : *targets)
        for (const LayoutClass c : classes) {
          CompileRequest request{program, &defaults, layouts_of(c, *program, binding)};
          say(target, c);
          Variant v = targets == &cpu_targets_ ? cpu_variant(request, target, c_name, made) : gpu_variant(request, target, made);
          v.target = target;
          v.layouts = std::move(request.layouts);
          result.variants.push_back(std::move(v));
        }
    return result;
  }

  Variant cpu_variant(const CompileRequest& request, const std::string& target, const std::string& c_name, cpu::ObjectKernel& made) {
    Variant v;
    parts_.push_back(lower_cpu_part(request, target, fmt::format("quern_{}_{}", c_name, parts_.size()), v));
    const CpuPart& part = parts_.back();
    const auto entry = [&](const std::string& function) {
      made.table.push_back({function, {}});
      return static_cast<std::uint32_t>(made.table.size() - 1);
    };
    v.plan = entry(part.prefix + "_plan");
    for (std::size_t k = 0; k < part.module.kernels.size(); ++k) v.run.push_back(entry(fmt::format("{}_k{}", part.prefix, k)));
    return v;
  }

  Variant gpu_variant(const CompileRequest& request, const std::string& target, cpu::ObjectKernel& made) {
    GpuPart part = compile_gpu_part(request, target);
    part.variant.program = described(part.variant.program, part.variant.workspace);
    part.variant.cubin = static_cast<std::uint32_t>(made.table.size());
    part.variant.cubin_bytes = part.cubin.size();
    made.table.push_back({{}, std::move(part.cubin)});
    return std::move(part.variant);
  }

  const std::string& text_;
  const std::string& file_;
  const AheadOptions& options_;
  std::vector<std::string> cpu_targets_, gpu_targets_, used_;
  std::vector<CpuPart> parts_;
  std::vector<cpu::ObjectKernel> kernels_;
  std::vector<CFunction> functions_;
  std::vector<HeaderEntry> entries_;
};

}  // namespace

bool is_cpu_target(const std::string& name) { return level_named(name) != 0; }
bool is_gpu_target(const std::string& name) { return quern::cuda::target_named(name).has_value(); }

Ahead compile_ahead(const std::string& text, const std::string& file, const AheadOptions& options) {
  Builder builder(text, file, options);
  for (const std::string& kernel : options.kernels) builder.kernel(kernel);
  builder.finish();
  Ahead result;
  result.header = c_header(options.name, file, builder.entries());
  for (const CFunction& f : builder.functions()) result.functions.push_back(f.made.symbol);
  if (options.source) result.source = builder.source();
  else result.object = write_object(builder.request(), file);
  return result;
}

}  // namespace quern::runtime::aot
