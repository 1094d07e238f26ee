// A kernel: the string, checked once, compiled per shape signature, called on tensors. Run-time sizes bind at each call and
// do not recompile; compile-time names (`<D>`), element types and which axis is contiguous do.
#pragma once

#include <array>
#include <cstdint>
#include <future>
#include <memory>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <quern/tensor.h>

namespace quern {
inline namespace v0 {

enum class Device { automatic, cpu, interpreter, cuda };

/// Runs task(data, i) for every i in [0, count), in any order, on any threads, and returns when all are done.
struct Executor {
  void (*run)(void* self, std::int64_t count, void (*task)(void* data, std::int64_t i), void* data) = nullptr;
  void* self = nullptr;
};

/// A compile-time value: an integer, a flag or an element type.
struct Setting {
  std::string name;
  bool is_type = false;
  std::int64_t value = 0;  // for a type: the ElementType
};

struct QUERN_API Options {
  Device device = Device::automatic;   // automatic: the CPU when this build has it, else the interpreter; never a GPU
  int threads = 0;                     // 0: all that the process may use
  std::string target;                  // "" or "host" = this processor; "avx512", "avx2", "baseline"; cuda: "" = the GPU, "sm_90a", ...
  int gpu = 0;                         // cuda: the GPU of calls whose tensors all lie in host memory
  void* stream = nullptr;              // cuda: a CUstream for calls that name none by on_stream; null: the default stream
  Executor executor;                   // instead of the library's own threads
  std::vector<Setting> settings;       // compile-time names; those not set are read off the arguments
  std::vector<std::string> disabled;   // passes switched off

  Options& on(Device value) { device = value; return *this; }
  Options& with_threads(int value) { threads = value; return *this; }
  Options& on_gpu(int number) { gpu = number; return *this; }
  Options& on_stream(void* value) { stream = value; return *this; }
  Options& for_target(std::string value) { target = std::move(value); return *this; }
  template <class T> requires std::integral<T>
  Options& set(std::string name, T value) { settings.push_back({std::move(name), false, static_cast<std::int64_t>(value)}); return *this; }
  Options& set(std::string name, ElementType type) { settings.push_back({std::move(name), true, static_cast<std::int64_t>(type)}); return *this; }
  Options& without(std::string pass) { disabled.push_back(std::move(pass)); return *this; }
};

/// One argument of a call: a tensor or a number, by position or by name, or the stream that a GPU is to run it on.
class Argument {
 public:
  enum class Kind : std::uint8_t { tensor, real, integer, boolean, stream };

  Argument() noexcept {}
  Argument(const TensorView& view) : tensor(view) {}
  Argument(const Tensor& value) : tensor(value.view()) {}
  template <class T> requires std::is_arithmetic_v<T>
  Argument(T value) noexcept {
    if constexpr (std::is_same_v<T, bool>) { kind = Kind::boolean; integer = value; }
    else if constexpr (std::is_integral_v<T>) { kind = Kind::integer; integer = static_cast<std::int64_t>(value); }
    else { kind = Kind::real; real = static_cast<double>(value); }
  }
  template <class T>
    requires(!std::is_arithmetic_v<std::remove_cvref_t<T>> && !std::is_base_of_v<Argument, std::remove_cvref_t<T>> &&
             !std::is_same_v<std::remove_cvref_t<T>, TensorView> && !std::is_same_v<std::remove_cvref_t<T>, Tensor> &&
             std::is_constructible_v<TensorView, T>)
  Argument(T&& value) : tensor(std::forward<T>(value)) {}

  TensorView tensor;
  std::string_view name;  // empty: by position; must outlive the call
  double real = 0;
  std::int64_t integer = 0;
  Kind kind = Kind::tensor;
  bool output = false;
};

/// An argument by name: arg("scale", 0.125).
template <class T>
Argument arg(std::string_view name, T&& value) {
  Argument a(std::forward<T>(value));
  a.name = name;
  return a;
}
/// Where an output goes, by position among the outputs or by name.
template <class T>
Argument out(T&& value) {
  Argument a(std::forward<T>(value));
  a.output = true;
  return a;
}
template <class T>
Argument out(std::string_view name, T&& value) {
  Argument a = out(std::forward<T>(value));
  a.name = name;
  return a;
}

/// The CUstream of one call, anywhere among the arguments: kernel.launch(x, out(y), on_stream(stream)).
inline Argument on_stream(void* stream) {
  Argument a;
  a.kind = Argument::Kind::stream;
  a.integer = static_cast<std::int64_t>(reinterpret_cast<std::intptr_t>(stream));
  return a;
}

/// The outputs that the call allocated, in the order of the signature.
class QUERN_API Outputs {
 public:
  struct Entry {
    std::string name;
    Tensor tensor;
  };
  std::size_t size() const noexcept { return entries_.size(); }
  const Tensor& operator[](std::size_t i) const;
  const Tensor& operator[](std::string_view name) const;
  /// The only one.
  operator Tensor() const;
  const std::vector<Entry>& entries() const noexcept { return entries_; }

 private:
  friend class Kernel;
  std::vector<Entry> entries_;
};

/// What a test or a monitor reads: of one kernel object, or of the whole process.
struct Counters {
  std::uint64_t calls = 0;      // launches
  std::uint64_t compiles = 0;   // finished compiles
  std::uint64_t failures = 0;   // compiles that failed (never kept)
  std::uint64_t hits = 0;       // calls whose signature was compiled already
  std::uint64_t misses = 0;     // calls that compiled or loaded, or waited for another that did
  std::uint64_t loads = 0;      // kernels that were compiled before: by another process, or as another text of the same program
};

struct Parameter {
  enum class Role { input, inout, output, scalar };
  std::string name;
  Role role = Role::input;
  std::string type;  // as declared: "f16[B,H,M,D]", "f32"
  bool has_default = false;
};

class QUERN_API Kernel {
 public:
  /// Checks `text` and takes the kernel called `name` (or its only one). Throws Error.
  explicit Kernel(std::string_view text, std::string_view name = {}, Options options = {},
                  std::source_location where = std::source_location::current());
  Kernel(std::string_view text, Options options, std::source_location where = std::source_location::current())
      : Kernel(text, {}, std::move(options), where) {}
  /// The same without exceptions.
  static Result<Kernel> compile(std::string_view text, std::string_view name = {}, Options options = {},
                                std::source_location where = std::source_location::current()) noexcept;
  static Result<Kernel> compile(std::string_view text, Options options,
                                std::source_location where = std::source_location::current()) noexcept {
    return compile(text, {}, std::move(options), where);
  }
  /// Reads the text from a file; diagnostics name the file.
  static Kernel from_file(const std::string& path, std::string_view name = {}, Options options = {},
                          std::source_location where = std::source_location::current());
  static Result<Kernel> compile_file(const std::string& path, std::string_view name = {}, Options options = {},
                                     std::source_location where = std::source_location::current()) noexcept;

  /// Arguments in the order of the signature or by name; outputs by `out`, those not given are allocated and returned.
  template <class... A>
  Outputs operator()(A&&... arguments) const {
    const std::array<Argument, sizeof...(A)> list{Argument(std::forward<A>(arguments))...};
    return run(list);
  }
  Outputs run(std::span<const Argument> arguments) const;
  Result<Outputs> try_run(std::span<const Argument> arguments) const noexcept;

  /// Compiles for the signature of these arguments and runs nothing; data pointers may be null. On a GPU it also loads the
  /// code and sets workspace aside for these sizes and this stream, so that a launch can be captured into a graph.
  template <class... A>
  void prepare(A&&... arguments) const {
    const std::array<Argument, sizeof...(A)> list{Argument(std::forward<A>(arguments))...};
    prepare_for(list);
  }
  void prepare_for(std::span<const Argument> arguments) const;
  /// The same on a thread of the library (several compile at once). The arguments' data is not read, nor are the names and
  /// shapes kept by the caller; the kernel may be destroyed meanwhile.
  std::future<Status> prepare_async(std::span<const Argument> arguments) const;
  Status try_prepare(std::span<const Argument> arguments) const noexcept;

  /// The same for dense arguments of any sizes. Every compile-time name and element type must have been set (Options::set).
  void prepare_dense() const;

  /// Runs and never compiles or allocates results: every output must be given; Code::not_prepared otherwise. On a GPU, with
  /// all tensors in its memory, it returns when the work is queued on the stream, and may be captured into a CUDA graph;
  /// what the data broke is then reported by `synchronize`. There it takes `nondecreasing` on trust, whether the code was
  /// compiled now or came from the cache (`run` checks it): false, it costs right results, never memory.
  template <class... A>
  Status launch(A&&... arguments) const noexcept {
    const std::array<Argument, sizeof...(A)> list{Argument(std::forward<A>(arguments))...};
    return try_launch(list);
  }
  Status try_launch(std::span<const Argument> arguments) const noexcept;

  /// Waits for what was launched on `stream` (null: the stream of the options) and reports what the data broke since the last
  /// time. Nothing to wait for on other devices than a GPU.
  Status synchronize(void* stream = nullptr) const noexcept;

  const std::string& name() const noexcept;
  /// Inputs and scalars as the signature lists them, then outputs.
  const std::vector<Parameter>& parameters() const noexcept;
  Device device() const noexcept;
  Counters counters() const noexcept;
  /// How the program is run: its kernels, what was fused and why, the algebra. With arguments: for their signature.
  std::string explain() const;
  std::string explain(std::span<const Argument> arguments) const;
  /// What the compiled kernel depends on, field by field, and whether the cache on disk has it (quern/cache.h); where it has
  /// not, how the nearest entry differs. Compiles nothing. Without arguments: for dense ones, as `prepare_dense`.
  std::string explain_key() const;
  std::string explain_key(std::span<const Argument> arguments) const;

 private:
  struct Impl;
  explicit Kernel(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

/// Sums over every kernel of the process.
QUERN_API Counters counters() noexcept;
/// At most this many compiled kernels are kept (least recently used go first); 0: no bound.
QUERN_API void set_cache_capacity(std::size_t kernels) noexcept;
QUERN_API std::size_t cached_kernels() noexcept;
/// Forgets compiled kernels that no Kernel object holds.
QUERN_API void clear_cache() noexcept;
QUERN_API const char* version() noexcept;

}  // namespace v0
}  // namespace quern
