// What devices run, made once for each signature: from this process's memory, else from the disk, else by compiling. The one
// idea: a device says how to compile to bytes and how to load bytes; whether bytes come from the compiler or from a file is
// not its affair, so kernels from the disk take no way of their own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/signature.h"

namespace quern::runtime {

struct ImageMaker {
  /// Bytes that `load` understands. Throws Error.
  std::function<std::string()> compile;
  /// Null, with `error`, when the bytes cannot be loaded.
  std::function<std::shared_ptr<const void>(std::string_view bytes, std::string* error)> load;
  /// Why a loaded image should be made anew although it is right, else "". Not asked in frozen mode. May be empty.
  std::function<std::string(const void* image)> outdated = {};
};

/// Throws Error(not_prepared) in frozen mode where the image is neither in memory nor on disk. `kernel`: its name, for lists and
/// messages. `source` (may be null) tells where it came from.
std::shared_ptr<const void> image_of(const Signature& signature, const std::string& kernel, const ImageMaker& maker, Source* source);

/// Instead of `refused`, which loaded and yet does not run here (`why`): its entry goes, and the image is compiled, once for all
/// that share it. Throws Error(not_prepared) in frozen mode.
std::shared_ptr<const void> image_anew(const Signature& signature, const std::string& kernel, const ImageMaker& maker,
                                       const std::shared_ptr<const void>& refused, const std::string& why);
/// An image that must not be found again: out of memory and off the disk.
void forget_image(const Signature& signature, const std::shared_ptr<const void>& image);

}  // namespace quern::runtime
