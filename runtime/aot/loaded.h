// A kernel of an object, ready to be called. In: the object's image and table. Out: for sizes, pointers and strides: a run of
// the best variant, or an Error. The one idea: a variant is made ready when a call first needs it, and kept for good.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "runtime/aot/image.h"
#include "runtime/aot/object.h"
#include "runtime/bind.h"

namespace quern::runtime::aot {

/// What a call gave, as `quern_aot_call` takes it.
struct Given {
  const std::int64_t* sizes;
  void* const* data;
  const std::int64_t* const* strides;
  const void* const* scalars;
  quern_call call;
};

class Loaded {
 public:
  /// Throws Error for an image that cannot be read.
  explicit Loaded(const quern_aot_kernel& kernel);
  ~Loaded();
  void run(const Given& given, bool on_gpu);

 private:
  struct Ready;       // a variant with its functions
  struct ReadyCase {  // a case with its binding
    explicit ReadyCase(const Case& of);
    ~ReadyCase();
    const Case& made;
    Binding binding;
    std::vector<int> levels;  // of the variants for the CPU
    std::unique_ptr<std::atomic<Ready*>[]> variants;
  };

  ReadyCase& case_for(const std::int64_t* sizes);
  const Variant& choose(const ReadyCase& of, const CallArguments& call, const quern_call& options, bool on_gpu) const;
  Ready& ready(ReadyCase& of, const Variant& variant);

  const quern_aot_kernel& kernel_;
  Image image_;
  std::vector<std::unique_ptr<ReadyCase>> cases_;
  std::mutex mutex_;
};

}  // namespace quern::runtime::aot
