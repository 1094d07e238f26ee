// The C ABI over the C++ API: arguments in, status out, the message kept with the handle. Nothing here throws outward.
#include <quern.h>

#include <cstring>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <vector>

#include <quern/quern.h>

struct quern_options {
  quern::Options options;
};

struct quern_kernel {
  std::optional<quern::Kernel> kernel;
  mutable std::mutex mutex;
  mutable std::string message;
  std::size_t outputs = 0;
};

namespace {

static_assert(static_cast<int>(quern::Code::device_lost) == QUERN_DEVICE_LOST && static_cast<int>(quern::Device::cuda) == QUERN_DEVICE_CUDA);
static_assert(static_cast<int>(quern::Code::internal) == QUERN_INTERNAL && static_cast<int>(quern::Code::data) == QUERN_DATA);
static_assert(static_cast<int>(quern::ElementType::boolean) == QUERN_BOOL && static_cast<int>(quern::ElementType::i64) == QUERN_I64);

quern_status status_of(quern::Code code) { return static_cast<quern_status>(code); }

void keep_message(const quern_kernel& k, const char* text) noexcept {
  try {
    std::lock_guard lock(k.mutex);
    k.message = text;
  } catch (...) {
    // Without memory for the message the status alone tells.
  }
}

/// Runs `f`, which returns void; turns what it throws into a status.
template <class F>
quern_status guarded(const quern_kernel& k, F f) noexcept {
  try {
    f();
    return QUERN_OK;
  } catch (const quern::Error& e) {
    keep_message(k, e.what());
    return status_of(e.code());
  } catch (const std::bad_alloc&) {
    keep_message(k, "error: out of memory");
    return QUERN_OUT_OF_MEMORY;
  } catch (const std::exception& e) {
    keep_message(k, e.what());
    return QUERN_INTERNAL;
  } catch (...) {
    keep_message(k, "error: internal fault");
    return QUERN_INTERNAL;
  }
}

template <class F>
quern_status set(quern_options* options, const char* name, F f) noexcept {
  if (!options || !name) return QUERN_INVALID_ARGUMENT;
  try {
    f(options->options);
    return QUERN_OK;
  } catch (...) {
    return QUERN_OUT_OF_MEMORY;
  }
}

std::size_t copy_text(const std::string& from, char* text, std::size_t capacity) noexcept {
  if (text && capacity > 0) {
    const std::size_t n = from.size() < capacity ? from.size() : capacity - 1;
    std::memcpy(text, from.data(), n);
    text[n] = 0;
  }
  return from.size();
}

/// The same for functions without a handle: the message goes to the caller's buffer.
template <class F>
quern_status explained(char* error, std::size_t capacity, F f) noexcept {
  if (error && capacity > 0) *error = 0;
  quern_kernel k;
  const quern_status status = guarded(k, f);
  copy_text(k.message, error, capacity);
  return status;
}

/// Up to 16 arguments without allocation.
class ArgumentList {
 public:
  ArgumentList(const quern_argument* from, std::size_t count) : size_(count) {
    if (count > 0 && !from) throw quern::Error(quern::Code::invalid_argument, "error: the list of arguments is null");
    if (count > kInline) heap_.resize(count);
    for (std::size_t i = 0; i < count; ++i) {
      quern::Argument& to = data()[i];
      const quern_argument& a = from[i];
      if (a.name) to.name = a.name;
      switch (a.kind) {
        case QUERN_INPUT:
        case QUERN_OUTPUT:
          if (!a.tensor) throw quern::Error(quern::Code::invalid_argument, "error: an argument of kind QUERN_INPUT or QUERN_OUTPUT has no tensor");
          to.tensor = quern::TensorView(*a.tensor);
          to.output = a.kind == QUERN_OUTPUT;
          outputs_ += to.output;
          break;
        case QUERN_REAL:
          to.kind = quern::Argument::Kind::real;
          to.real = a.real;
          break;
        case QUERN_INTEGER:
          to.kind = quern::Argument::Kind::integer;
          to.integer = a.integer;
          break;
        case QUERN_BOOLEAN:
          to.kind = quern::Argument::Kind::boolean;
          to.integer = a.integer != 0;
          break;
        case QUERN_STREAM:
          to.kind = quern::Argument::Kind::stream;
          to.integer = a.integer;
          break;
        default: throw quern::Error(quern::Code::invalid_argument, "error: an argument has an unknown kind");
      }
    }
  }
  std::span<const quern::Argument> span() { return {data(), size_}; }
  std::size_t outputs() const { return outputs_; }

 private:
  static constexpr std::size_t kInline = 16;
  quern::Argument* data() { return size_ > kInline ? heap_.data() : inline_; }
  std::size_t size_, outputs_ = 0;
  quern::Argument inline_[kInline];
  std::vector<quern::Argument> heap_;
};

template <class F>
quern_status compile(quern_kernel** kernel, const char* text, F make) noexcept {
  if (!kernel) return QUERN_INVALID_ARGUMENT;
  *kernel = new (std::nothrow) quern_kernel;
  if (!*kernel) return QUERN_OUT_OF_MEMORY;
  quern_kernel& k = **kernel;
  return guarded(k, [&] {
    if (!text) throw quern::Error(quern::Code::invalid_argument, "error: the text is null");
    k.kernel.emplace(make());
    for (const quern::Parameter& p : k.kernel->parameters()) k.outputs += p.role == quern::Parameter::Role::output;
  });
}

bool usable(const quern_kernel* k) { return k && k->kernel; }

}  // namespace

extern "C" {

const char* quern_version(void) { return quern::version(); }
const char* quern_status_name(quern_status status) { return quern::name(static_cast<quern::Code>(status)); }

quern_options* quern_options_create(void) { return new (std::nothrow) quern_options; }
void quern_options_destroy(quern_options* options) { delete options; }
quern_status quern_options_device(quern_options* options, quern_device device) {
  if (device < QUERN_DEVICE_AUTOMATIC || device > QUERN_DEVICE_CUDA) return QUERN_INVALID_ARGUMENT;
  return set(options, "", [&](quern::Options& o) { o.device = static_cast<quern::Device>(device); });
}
quern_status quern_options_threads(quern_options* options, int32_t threads) {
  if (threads < 0) return QUERN_INVALID_ARGUMENT;
  return set(options, "", [&](quern::Options& o) { o.threads = threads; });
}
quern_status quern_options_target(quern_options* options, const char* target) {
  return set(options, target, [&](quern::Options& o) { o.target = target; });
}
quern_status quern_options_gpu(quern_options* options, int32_t gpu) {
  if (gpu < 0) return QUERN_INVALID_ARGUMENT;
  return set(options, "", [&](quern::Options& o) { o.gpu = gpu; });
}
quern_status quern_options_stream(quern_options* options, void* stream) {
  return set(options, "", [&](quern::Options& o) { o.stream = stream; });
}
quern_status quern_options_set(quern_options* options, const char* name, int64_t value) {
  return set(options, name, [&](quern::Options& o) { o.set(name, value); });
}
quern_status quern_options_set_type(quern_options* options, const char* name, quern_type type) {
  if (type < QUERN_F64 || type > QUERN_BOOL) return QUERN_INVALID_ARGUMENT;
  return set(options, name, [&](quern::Options& o) { o.set(name, static_cast<quern::ElementType>(type)); });
}
quern_status quern_options_without(quern_options* options, const char* pass) {
  return set(options, pass, [&](quern::Options& o) { o.without(pass); });
}

quern_status quern_compile(const char* text, const char* name, const quern_options* options, quern_kernel** kernel) {
  return compile(kernel, text, [&] {
    return quern::Kernel(text, name ? name : "", options ? options->options : quern::Options{}, std::source_location{});
  });
}
quern_status quern_compile_file(const char* path, const char* name, const quern_options* options, quern_kernel** kernel) {
  return compile(kernel, path, [&] {
    return quern::Kernel::from_file(path, name ? name : "", options ? options->options : quern::Options{}, std::source_location{});
  });
}
void quern_destroy(quern_kernel* kernel) { delete kernel; }

quern_status quern_run(const quern_kernel* k, const quern_argument* arguments, size_t count,
                       DLManagedTensorVersioned** allocated, size_t capacity) {
  if (!usable(k)) return QUERN_INVALID_ARGUMENT;
  return guarded(*k, [&] {
    ArgumentList list(arguments, count);
    const std::size_t missing = k->outputs > list.outputs() ? k->outputs - list.outputs() : 0;
    if (missing > (allocated ? capacity : 0))
      throw quern::Error(quern::Code::invalid_argument,
                         "error: outputs are missing: give every output, or room for those that are to be allocated");
    const quern::Outputs outputs = k->kernel->run(list.span());
    for (std::size_t i = 0; i < outputs.size(); ++i) allocated[i] = nullptr;
    for (std::size_t i = 0; i < outputs.size(); ++i) allocated[i] = outputs[i].to_dlpack();
  });
}
quern_status quern_prepare(const quern_kernel* k, const quern_argument* arguments, size_t count) {
  if (!usable(k)) return QUERN_INVALID_ARGUMENT;
  return guarded(*k, [&] { k->kernel->prepare_for(ArgumentList(arguments, count).span()); });
}
quern_status quern_launch(const quern_kernel* k, const quern_argument* arguments, size_t count) {
  if (!usable(k)) return QUERN_INVALID_ARGUMENT;
  return guarded(*k, [&] {
    if (const quern::Status status = k->kernel->try_launch(ArgumentList(arguments, count).span()); !status) throw status.error();
  });
}

quern_status quern_synchronize(const quern_kernel* k, void* stream) {
  if (!usable(k)) return QUERN_INVALID_ARGUMENT;
  return guarded(*k, [&] {
    if (const quern::Status status = k->kernel->synchronize(stream); !status) throw status.error();
  });
}

quern_status quern_gpu_allocate(const DLTensor* tensor, int32_t gpu, DLManagedTensorVersioned** allocated, char* error, size_t capacity) {
  return explained(error, capacity, [&] {
    if (!tensor || !allocated) throw quern::Error(quern::Code::invalid_argument, "error: quern_gpu_allocate with a null argument");
    *allocated = nullptr;
    DLTensor described = *tensor;
    described.data = nullptr;
    described.strides = nullptr;
    described.device.device_type = kDLCPU;
    const quern::TensorView view(described);
    *allocated = quern::gpu_tensor(view.type(), view.shape(), gpu).to_dlpack();
  });
}
quern_status quern_copy(const DLTensor* from, const DLTensor* to, char* error, size_t capacity) {
  return explained(error, capacity, [&] {
    if (!from || !to) throw quern::Error(quern::Code::invalid_argument, "error: quern_copy with a null argument");
    quern::copy_elements(quern::TensorView(*from, true), quern::TensorView(*to));
  });
}
int32_t quern_gpu_count(char* error, size_t capacity) {
  int32_t count = 0;
  explained(error, capacity, [&] {
    const quern::CudaStatus status = quern::cuda_status();
    count = static_cast<int32_t>(status.gpus.size());
    if (count == 0) throw quern::Error(quern::Code::unsupported, "error: " + (status.driver_problem.empty() ? "the driver finds no GPU" : status.driver_problem));
  });
  return count;
}

size_t quern_error(const quern_kernel* k, char* text, size_t capacity) {
  if (!k) return copy_text("error: no handle", text, capacity);
  std::lock_guard lock(k->mutex);
  return copy_text(k->message, text, capacity);
}
size_t quern_explain(const quern_kernel* k, char* text, size_t capacity) {
  if (text && capacity) *text = 0;
  if (!usable(k)) return 0;
  std::size_t length = 0;
  guarded(*k, [&] { length = copy_text(k->kernel->explain(), text, capacity); });
  return length;
}

quern_status quern_prepare_dense(const quern_kernel* k) {
  if (!usable(k)) return QUERN_INVALID_ARGUMENT;
  return guarded(*k, [&] { k->kernel->prepare_dense(); });
}
size_t quern_explain_key(const quern_kernel* k, char* text, size_t capacity) {
  if (text && capacity) *text = 0;
  if (!usable(k)) return 0;
  std::size_t length = 0;
  guarded(*k, [&] { length = copy_text(k->kernel->explain_key(), text, capacity); });
  return length;
}

quern_status quern_set_cache(quern_cache_mode mode, const char* directory, uint64_t most_bytes) {
  if (mode < QUERN_CACHE_ON || mode > QUERN_CACHE_OFF) return QUERN_INVALID_ARGUMENT;
  try {
    quern::set_cache({static_cast<quern::CacheMode>(mode), directory ? directory : "", most_bytes, false});
  } catch (const std::bad_alloc&) {
    return QUERN_OUT_OF_MEMORY;
  }
  return QUERN_OK;
}
size_t quern_cache_directory(char* text, size_t capacity) { return copy_text(quern::cache_status().directory, text, capacity); }
size_t quern_cache_warning(char* text, size_t capacity) { return copy_text(quern::cache_status().warning, text, capacity); }

size_t quern_output_count(const quern_kernel* k) { return k ? k->outputs : 0; }

quern_counters quern_kernel_counters(const quern_kernel* k) {
  if (!usable(k)) return {};
  const quern::Counters c = k->kernel->counters();
  return {c.calls, c.compiles, c.failures, c.hits, c.misses, c.loads};
}
quern_counters quern_process_counters(void) {
  const quern::Counters c = quern::counters();
  return {c.calls, c.compiles, c.failures, c.hits, c.misses, c.loads};
}

}  // extern "C"
