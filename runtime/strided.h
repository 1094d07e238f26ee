// Copies between strided views and dense memory.
#pragma once

#include <quern/tensor.h>

namespace quern::runtime {

/// Row-major strides; sizes of 0 count as 1. Wraps on overflow: counting and binding refuse such shapes.
Sizes dense_strides(const Sizes& shape);
/// Every element of `from` in row-major order to `to`.
void copy_dense(const TensorView& from, void* to);

}  // namespace quern::runtime
