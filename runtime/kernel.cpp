// A call from arguments to results: match, bind, look for overlaps, find or compile the variant, run. See kernel_impl.h.
#include <algorithm>
#include <cstring>
#include <deque>
#include <fstream>
#include <new>
#include <sstream>

#include <fmt/format.h>

#include <quern/gpu.h>

#include "runtime/explain_key.h"
#include "runtime/kernel_impl.h"
#include "runtime/later.h"
#include "runtime/shared_storage.h"
#include "runtime/signature.h"

namespace quern {

namespace runtime {

Checked::Checked(std::shared_ptr<const ir::Program> p, std::vector<Setting> s)
    : program(std::move(p)), settings(std::move(s)), binding(*program) {
  for (ir::SymbolId id = 0; id < program->symbols.size(); ++id)
    if (program->symbols[id].compile_time && !program->symbols[id].value) compile_time.push_back(id);
}

Checked::~Checked() {
  for (Variant* v = variants.load(); v;) delete std::exchange(v, v->next);
}

namespace {

constexpr std::uint64_t kDenseWord = 0xff;

std::uint64_t word_of(const Layout& layout) { return layout.dense ? kDenseWord : static_cast<std::uint64_t>(layout.unit_axis + 1); }

void require_host(const Binding& binding, const CallArguments& call) {
  for (std::size_t slot = 0; slot < binding.slots().size(); ++slot)
    if (const TensorView* v = call.tensors[slot]; v && v->memory() != Memory::host)
      throw Error(Code::unsupported, fmt::format("error: '{}' is in the memory of GPU {}, and the kernel does not run there; compile it with "
                                                 "Options().on(Device::cuda) or copy the tensor with to_host", binding.slots()[slot].name, v->gpu()));
}

/// The GPU whose memory some tensor of the call is in; -1: all are on the host.
int gpu_of(const CallArguments& call) {
  for (const TensorView* v : call.tensors)
    if (v && v->memory() == Memory::gpu) return v->gpu();
  return -1;
}

[[noreturn]] void rethrow(const std::source_location& where) {
  try {
    throw;
  } catch (const Error& e) {
    throw e.where().line() != 0 ? e : Error(e.code(), e.message(), where);
  } catch (const std::bad_alloc&) {
    throw Error(Code::out_of_memory, "error: out of memory", where);
  } catch (const std::exception& e) {
    throw Error(Code::internal, fmt::format("error: internal fault: {}", e.what()), where);
  }
}

}  // namespace
}  // namespace runtime

inline namespace v0 {

using namespace runtime;  // NOLINT: the rest of this file is the implementation of the public classes

Kernel::Impl::Impl(std::string text, std::string file, std::string_view kernel_name, Options o, std::source_location w)
    : options(std::move(o)),
      where(w),
      front(std::move(text), file.empty() ? "<string>" : std::move(file), kernel_name),
      name(front.kernel_name()),
      device(options.device) {
  if (device == Device::automatic) device = has_cpu() ? Device::cpu : Device::interpreter;
  if (device == Device::cpu && !has_cpu())
    throw Error(Code::unsupported, "error: this build has no CPU code generator; use the interpreter or build with QUERN_LLVM=ON");
  if (device == Device::cuda && !has_cuda())
    throw Error(Code::unsupported, "error: this build has no CUDA device; build with QUERN_CUDA=ON");
  parameters = front.parameters();
  for (const std::string& type : front.open_types())
    if (std::none_of(options.settings.begin(), options.settings.end(), [&](const Setting& s) { return s.name == type; }))
      open_types.push_back(type);
  // Lengths first: no two different lists of fields give one key.
  const auto field = [](const std::string& s) { return fmt::format("{}:{}", s.size(), s); };
  key_prefix = field(front.canonical()) + field(name);
  for (const SignatureField& f : device_fields(device, options)) key_prefix += field(f.value);
  for (const std::string& pass : options.disabled) key_prefix += field(pass);
  key_prefix += "|";
  for (const Setting& s : options.settings) key_prefix += field(s.name) + field(fmt::format("{}{}", s.is_type ? "t" : "v", s.value));
  key_prefix += "|";
  if (open_types.empty()) checked = new Checked(front.check(options.settings), options.settings);
}

Kernel::Impl::~Impl() {
  for (Checked* c = checked.load(); c;) delete std::exchange(c, c->next);
}

const Checked& Kernel::Impl::checked_for(std::span<const Argument> arguments) const {
  if (open_types.empty()) return *checked.load(std::memory_order_acquire);
  // Element types by name are those of the arguments declared with them.
  const std::vector<std::string> written = front.written_types();
  std::vector<std::uint8_t> types(open_types.size(), 0xff);
  std::size_t position = 0;
  std::vector<std::string> order, element;  // tensors and scalars as the signature lists them
  std::size_t tensor = 0;
  for (const Parameter& p : parameters) {
    order.push_back(p.name);
    element.push_back(p.role == Parameter::Role::scalar ? std::string() : written[tensor]);
    if (p.role != Parameter::Role::scalar) ++tensor;
  }
  for (const Argument& a : arguments) {
    if (a.kind == Argument::Kind::stream) continue;
    std::size_t at = order.size();
    if (!a.name.empty()) at = static_cast<std::size_t>(std::find(order.begin(), order.end(), a.name) - order.begin());
    else if (!a.output) at = position++;
    if (at >= order.size() || a.kind != Argument::Kind::tensor) continue;
    const auto open = std::find(open_types.begin(), open_types.end(), element[at]);
    if (open == open_types.end()) continue;
    std::uint8_t& type = types[static_cast<std::size_t>(open - open_types.begin())];
    if (type == 0xff) type = static_cast<std::uint8_t>(a.tensor.type());
  }
  for (std::size_t i = 0; i < types.size(); ++i)
    if (types[i] == 0xff)
      throw Error(Code::invalid_argument, fmt::format("error: no argument gives the element type '{}'; set(\"{}\", quern::f32) when compiling", open_types[i], open_types[i]));
  for (Checked* c = checked.load(std::memory_order_acquire); c; c = c->next)
    if (c->types == types) return *c;
  std::lock_guard lock(mutex);
  for (Checked* c = checked.load(std::memory_order_acquire); c; c = c->next)
    if (c->types == types) return *c;
  std::vector<Setting> settings = options.settings;
  for (std::size_t i = 0; i < types.size(); ++i) settings.push_back({open_types[i], true, types[i]});
  auto made = std::make_unique<Checked>(front.check(settings), settings);
  made->types = types;
  made->next = checked.load();
  checked.store(made.get(), std::memory_order_release);
  return *made.release();
}

CompileRequest Kernel::Impl::request_for(const Checked& c, const CallArguments& call, const Bound& bound) const {
  CompileRequest request;
  request.options = &options;
  request.program = c.program;
  if (!c.compile_time.empty()) {
    auto fixed = std::make_shared<ir::Program>(*c.program);
    for (ir::SymbolId id : c.compile_time) fixed->symbols[id].value = bound.symbols[id];
    request.program = std::move(fixed);
  }
  for (std::size_t slot = 0; slot < call.tensors.size(); ++slot) {
    // What the library allocates is dense.
    request.layouts.push_back(call.tensors[slot] ? layout_of(*call.tensors[slot]) : Layout{true, -1});
  }
  return request;
}

const Checked& Kernel::Impl::settled_for_dense() const {
  if (!open_types.empty())
    throw Error(Code::invalid_argument, fmt::format("error: the element type '{}' of kernel '{}' is open; set(\"{}\", quern::f32)", open_types[0], name, open_types[0]));
  const Checked& c = *checked.load(std::memory_order_acquire);
  if (!c.compile_time.empty()) {
    const std::string& open = c.program->symbols[c.compile_time[0]].name;
    throw Error(Code::invalid_argument, fmt::format("error: the compile-time value '{}' of kernel '{}' is open; set(\"{}\", 64)", open, name, open));
  }
  return c;
}

std::shared_ptr<const Executable> Kernel::Impl::compiled(const Checked& c, const SignatureWords& words, const CallArguments& call,
                                                         const Bound& bound, bool may_compile) const {
  std::string key = key_prefix;
  for (std::uint8_t type : c.types) key += static_cast<char>('a' + type);
  key.append(reinterpret_cast<const char*>(words.data()), words.size() * sizeof(std::uint64_t));
  KernelCache& cache = KernelCache::of_process();
  KernelCache::Value value;
  if (!may_compile) {
    value = cache.find(key);
    if (!value) throw Error(Code::not_prepared, fmt::format("error: kernel '{}' is not prepared for this signature; call prepare with such arguments first", name));
    ++counters.hits;
    ++cache.totals().hits;
  } else {
    value = cache.get(key, [&]() -> KernelCache::Made {
      CompileRequest request = request_for(c, call, bound);
      Source source = Source::compiler;
      request.source = &source;
      auto executable = compile_for(device, request);
      return {std::move(executable), source == Source::compiler};
    }, counters);
  }
  auto executable = std::static_pointer_cast<const Executable>(value);
  auto& checked_mutable = const_cast<Checked&>(c);
  std::lock_guard lock(mutex);
  const auto same = [&](const Variant& v) { return v.words.size() == words.size() && std::equal(words.begin(), words.end(), v.words.begin()); };
  for (const Variant* v = c.variants.load(); v; v = v->next)
    if (same(*v)) return v->executable;
  if (c.count.load() < kPinnedVariants) {
    auto* variant = new Variant{{words.begin(), words.end()}, executable, c.variants.load()};
    checked_mutable.variants.store(variant, std::memory_order_release);
    ++checked_mutable.count;
  }
  return executable;
}

void Kernel::Impl::call(std::span<const Argument> arguments, Mode mode, Outputs* allocated, std::string* explanation) const {
  const Checked& c = checked_for(arguments);
  const Binding& binding = c.binding;
  const std::size_t slots = binding.slots().size();
  CallArguments args;
  binding.match(arguments, args);
  Bound bound;
  binding.bind(args, bound);
  binding.check_outputs(args, bound);

  if (mode == Mode::launch)
    for (std::size_t slot = binding.inputs(); slot < slots; ++slot)
      if (!args.tensors[slot])
        throw Error(Code::invalid_argument, fmt::format("error: launch needs output '{}': pass out(\"{}\", ...)", binding.slots()[slot].name, binding.slots()[slot].name));
  if (mode == Mode::run || mode == Mode::launch) require_data(binding, args);
  if (device != Device::cuda) require_host(binding, args);

  SmallArray<Shared, 8> shared(8);
  std::size_t shared_count = 0;
  find_shared(binding, args, shared, shared_count);

  SignatureWords words(c.compile_time.size() + slots + shared_count);
  std::size_t n = 0;
  for (ir::SymbolId id : c.compile_time) words[n++] = static_cast<std::uint64_t>(bound.symbols[id]);
  for (std::size_t slot = 0; slot < slots; ++slot)
    words[n++] = args.tensors[slot] ? word_of(layout_of(*args.tensors[slot])) : kDenseWord;
  for (std::size_t i = 0; i < shared_count; ++i) words[n++] = 0x100000000ull + (shared[i].written << 16) + shared[i].read;

  if (mode == Mode::key) {
    *explanation = runtime::explain_key(device, request_for(c, args, bound));
    return;
  }
  const Executable* executable = nullptr;
  std::shared_ptr<const Executable> keep;
  for (const Variant* v = c.variants.load(std::memory_order_acquire); v; v = v->next)
    if (v->words.size() == words.size() && std::memcmp(v->words.data(), words.data(), words.size() * sizeof(std::uint64_t)) == 0) {
      executable = v->executable.get();
      break;
    }
  KernelCache& cache = KernelCache::of_process();
  if (executable) {
    counters.hits.fetch_add(1, std::memory_order_relaxed);
    cache.totals().hits.fetch_add(1, std::memory_order_relaxed);
  } else {
    keep = compiled(c, words, args, bound, mode != Mode::launch);
    executable = keep.get();
  }
  for (std::size_t i = 0; i < shared_count; ++i) {
    std::string why;
    if (!executable->may_share(shared[i].written, shared[i].read, &why))
      throw Error(Code::overlap, fmt::format("error: '{}' is the same memory as '{}', which is not safe: {}", binding.slots()[shared[i].written].name, binding.slots()[shared[i].read].name, why));
  }
  Launch launch{args.tensors.data(), bound.symbols.data(), bound.scalar_values.data(), bound.scalars.data(), &options};
  launch.stream = args.has_stream ? args.stream : options.stream;
  launch.wait = mode != Mode::launch;
  launch.may_prepare = mode != Mode::launch;
  if (explanation) {
    *explanation = executable->explain();
    return;
  }
  if (mode == Mode::prepare) {
    executable->prepare(launch);
    return;
  }
  if (binding.has_facts()) binding.check_facts(args);

  // Allocate what was not given, where the other tensors are.
  const int gpu = gpu_of(args);
  std::unique_ptr<Tensor[]> fresh;
  for (std::size_t slot = binding.inputs(); slot < slots; ++slot) {
    if (args.tensors[slot]) continue;
    if (!fresh) fresh = std::make_unique<Tensor[]>(slots - binding.inputs());
    Tensor& t = fresh[slot - binding.inputs()];
    const auto type = static_cast<ElementType>(c.program->tensors[binding.slots()[slot].tensor].type);
    t = gpu < 0 ? Tensor(type, binding.shape_of(slot, bound)) : gpu_tensor(type, binding.shape_of(slot, bound), gpu);
    args.tensors[slot] = &t.view();
  }
  counters.calls.fetch_add(1, std::memory_order_relaxed);
  cache.totals().calls.fetch_add(1, std::memory_order_relaxed);
  executable->run(launch);
  if (fresh)
    for (std::size_t slot = binding.inputs(); slot < slots; ++slot)
      if (Tensor& t = fresh[slot - binding.inputs()]; t) allocated->entries_.push_back({binding.slots()[slot].name, std::move(t)});
}

// --- Kernel ----------------------------------------------------------------------------------------------------------

namespace {
std::string read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  if (!file || !(text << file.rdbuf())) throw Error(Code::io, fmt::format("error: cannot read '{}': {}", path, std::strerror(errno)));
  return std::move(text).str();
}

/// Runs `f`; whatever it throws comes back as an Error that names the C++ line of the program.
template <class F>
auto guarded(const std::source_location& where, F f) -> decltype(f()) {
  try {
    return f();
  } catch (...) {
    rethrow(where);
  }
}
template <class R, class F>
R caught(const std::source_location& where, F f) noexcept {
  try {
    return guarded(where, f);
  } catch (const Error& e) {
    return e;
  }
}
}  // namespace

Kernel::Kernel(std::string_view text, std::string_view name, Options options, std::source_location where)
    : impl_(guarded(where, [&] { return std::make_shared<const Impl>(std::string(text), std::string(), name, std::move(options), where); })) {}

Result<Kernel> Kernel::compile(std::string_view text, std::string_view name, Options options, std::source_location where) noexcept {
  return caught<Result<Kernel>>(where, [&]() -> Result<Kernel> { return Kernel(text, name, std::move(options), where); });
}

Kernel Kernel::from_file(const std::string& path, std::string_view name, Options options, std::source_location where) {
  return guarded(where, [&] { return Kernel(std::make_shared<const Impl>(read_text(path), path, name, std::move(options), where)); });
}

Result<Kernel> Kernel::compile_file(const std::string& path, std::string_view name, Options options, std::source_location where) noexcept {
  return caught<Result<Kernel>>(where, [&]() -> Result<Kernel> { return from_file(path, name, std::move(options), where); });
}

Outputs Kernel::run(std::span<const Argument> arguments) const {
  Outputs outputs;
  guarded(impl_->where, [&] { impl_->call(arguments, Impl::Mode::run, &outputs); });
  return outputs;
}
Result<Outputs> Kernel::try_run(std::span<const Argument> arguments) const noexcept {
  return caught<Result<Outputs>>(impl_->where, [&]() -> Result<Outputs> { return run(arguments); });
}
void Kernel::prepare_for(std::span<const Argument> arguments) const {
  guarded(impl_->where, [&] { impl_->call(arguments, Impl::Mode::prepare, nullptr); });
}
void Kernel::prepare_dense() const {
  guarded(impl_->where, [&] {
    const Checked& c = impl_->settled_for_dense();
    const std::size_t slots = c.binding.slots().size();
    CallArguments call;
    call.tensors.resize(slots);
    SignatureWords words(slots);
    for (std::size_t slot = 0; slot < slots; ++slot) words[slot] = kDenseWord;
    impl_->compiled(c, words, call, Bound{}, true);
  });
}
Status Kernel::try_prepare(std::span<const Argument> arguments) const noexcept {
  return caught<Status>(impl_->where, [&]() -> Status { prepare_for(arguments); return {}; });
}
Status Kernel::try_launch(std::span<const Argument> arguments) const noexcept {
  return caught<Status>(impl_->where, [&]() -> Status { impl_->call(arguments, Impl::Mode::launch, nullptr); return {}; });
}

std::future<Status> Kernel::prepare_async(std::span<const Argument> arguments) const {
  return guarded(impl_->where, [&] {
    struct Job {
      Kernel kernel;
      std::vector<Argument> arguments;
      std::deque<std::string> names;
      std::promise<Status> done;
    };
    auto job = std::make_shared<Job>(Job{*this, {arguments.begin(), arguments.end()}, {}, {}});
    for (Argument& a : job->arguments)
      if (!a.name.empty()) a.name = job->names.emplace_back(a.name);
    std::future<Status> result = job->done.get_future();
    later([job] { job->done.set_value(job->kernel.try_prepare(job->arguments)); });
    return result;
  });
}

Status Kernel::synchronize(void* stream) const noexcept {
  return caught<Status>(impl_->where, [&]() -> Status {
    for (const Checked* c = impl_->checked.load(std::memory_order_acquire); c; c = c->next)
      for (const Variant* v = c->variants.load(std::memory_order_acquire); v; v = v->next)
        v->executable->synchronize(stream ? stream : impl_->options.stream, impl_->options);
    return {};
  });
}

const std::string& Kernel::name() const noexcept { return impl_->name; }
const std::vector<Parameter>& Kernel::parameters() const noexcept { return impl_->parameters; }
Device Kernel::device() const noexcept { return impl_->device; }

namespace {
Counters read(const CacheCounters& c) {
  return {c.calls.load(), c.compiles.load(), c.failures.load(), c.hits.load(), c.misses.load(), c.loads.load()};
}
}  // namespace

Counters Kernel::counters() const noexcept { return read(impl_->counters); }

std::string Kernel::explain() const {
  return guarded(impl_->where, [&] {
    if (!impl_->open_types.empty())
      throw Error(Code::invalid_argument, fmt::format("error: kernel '{}' has open element types; explain it for arguments", impl_->name));
    const Checked& c = *impl_->checked.load(std::memory_order_acquire);
    if (const Variant* v = c.variants.load(std::memory_order_acquire)) return v->executable->explain();
    // Not compiled yet: as it would be for dense arguments, compile-time names left open.
    const CompileRequest request{c.program, &impl_->options, std::vector<Layout>(c.binding.slots().size(), Layout{true, -1}), nullptr};
    return compile_for(impl_->device, request)->explain();
  });
}
std::string Kernel::explain(std::span<const Argument> arguments) const {
  std::string text;
  guarded(impl_->where, [&] { impl_->call(arguments, Impl::Mode::prepare, nullptr, &text); });
  return text;
}

std::string Kernel::explain_key() const {
  return guarded(impl_->where, [&] {
    const Checked& c = impl_->settled_for_dense();
    CallArguments call;
    call.tensors.resize(c.binding.slots().size());
    return runtime::explain_key(impl_->device, impl_->request_for(c, call, Bound{}));
  });
}
std::string Kernel::explain_key(std::span<const Argument> arguments) const {
  std::string text;
  guarded(impl_->where, [&] { impl_->call(arguments, Impl::Mode::key, nullptr, &text); });
  return text;
}

const Tensor& Outputs::operator[](std::size_t i) const {
  if (i >= entries_.size()) throw Error(Code::invalid_argument, fmt::format("error: output {} of {} allocated outputs", i, entries_.size()));
  return entries_[i].tensor;
}
const Tensor& Outputs::operator[](std::string_view name) const {
  for (const Entry& e : entries_)
    if (e.name == name) return e.tensor;
  throw Error(Code::invalid_argument, fmt::format("error: the call allocated no output '{}'", name));
}
Outputs::operator Tensor() const {
  if (entries_.size() != 1) throw Error(Code::invalid_argument, fmt::format("error: the call allocated {} outputs; pick one by name", entries_.size()));
  return entries_[0].tensor;
}

Counters counters() noexcept { return read(KernelCache::of_process().totals()); }
void set_cache_capacity(std::size_t kernels) noexcept {
  try {
    KernelCache::of_process().set_capacity(kernels);
    KernelCache::images_of_process().set_capacity(kernels);
  } catch (const std::bad_alloc&) {
    // The bound stands; entries beyond it go with the next compile.
  }
}
std::size_t cached_kernels() noexcept { return KernelCache::of_process().size(); }
void clear_cache() noexcept {
  KernelCache::of_process().clear();
  KernelCache::images_of_process().clear();
}

#define QUERN_TEXT2(x) #x
#define QUERN_TEXT(x) QUERN_TEXT2(x)
const char* version() noexcept {
  return QUERN_TEXT(QUERN_VERSION_MAJOR) "." QUERN_TEXT(QUERN_VERSION_MINOR) "." QUERN_TEXT(QUERN_VERSION_PATCH);
}

}  // namespace v0
}  // namespace quern
