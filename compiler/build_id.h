// Which sources this was built from: a kernel made by others is another kernel.
#pragma once

namespace quern::compiler {

/// Hexadecimal digest of every source file from which code that makes kernels is built. Written by build_id.cmake.
extern const char kBuildId[];

}  // namespace quern::compiler
