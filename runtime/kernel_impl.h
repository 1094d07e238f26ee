// What stands behind a Kernel: the parsed text, the checked programs (one per assignment of open element types) and, per
// checked program, the compiled variants. The one idea: lists grow at the head by one atomic store and are never cut, so
// a call walks them without locks or reference counts.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <source_location>
#include <string>
#include <vector>

#include <quern/kernel.h>

#include "runtime/bind.h"
#include "runtime/cache.h"
#include "runtime/device.h"
#include "runtime/front.h"
#include "runtime/small_array.h"

namespace quern::runtime {

/// What the compiled code depends on, beside the program: values of compile-time symbols, layouts, shared storage.
using SignatureWords = SmallArray<std::uint64_t, 64>;

struct Variant {
  std::vector<std::uint64_t> words;
  std::shared_ptr<const Executable> executable;
  Variant* next = nullptr;
};

struct Checked {
  Checked(std::shared_ptr<const ir::Program> p, std::vector<Setting> s);
  ~Checked();

  std::shared_ptr<const ir::Program> program;
  std::vector<Setting> settings;               // those of the options and the types read off the arguments
  std::vector<std::uint8_t> types;             // of the open type names, in order
  Binding binding;
  std::vector<ir::SymbolId> compile_time;      // compile-time symbols that a call binds
  std::atomic<Variant*> variants{nullptr};
  std::atomic<int> count{0};
  Checked* next = nullptr;
};

inline constexpr int kPinnedVariants = 64;  // per checked program; further ones are found through the cache

}  // namespace quern::runtime

namespace quern {
inline namespace v0 {

struct __attribute__((visibility("hidden"))) Kernel::Impl {
  Impl(std::string text, std::string file, std::string_view name, Options options, std::source_location where);
  ~Impl();

  enum class Mode { run, prepare, launch, key };
  /// The whole of a call. `allocated` receives outputs that were not given (run); null forbids that.
  void call(std::span<const Argument> arguments, Mode mode, Outputs* allocated, std::string* explanation = nullptr) const;

  const runtime::Checked& checked_for(std::span<const Argument> arguments) const;
  std::shared_ptr<const runtime::Executable> compiled(const runtime::Checked& checked, const runtime::SignatureWords& words,
                                                      const runtime::CallArguments& call, const runtime::Bound& bound,
                                                      bool may_compile) const;

  /// What the devices are asked for. Slots without a tensor are dense.
  runtime::CompileRequest request_for(const runtime::Checked& checked, const runtime::CallArguments& call, const runtime::Bound& bound) const;
  /// The checked program where nothing of it is left to the arguments. Throws Error(invalid_argument) that names what is.
  const runtime::Checked& settled_for_dense() const;

  Options options;
  std::source_location where;
  runtime::Front front;
  std::string name;
  Device device;
  std::string key_prefix;
  std::vector<Parameter> parameters;
  std::vector<std::string> open_types;
  mutable std::mutex mutex;
  mutable std::atomic<runtime::Checked*> checked{nullptr};
  mutable runtime::CacheCounters counters;
};

}  // namespace v0
}  // namespace quern
