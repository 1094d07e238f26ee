// Copies between strided views and dense memory.
#pragma once

#include <quern/tensor.h>

namespace quern::runtime {

/// Row-major strides; sizes of 0 count as 1. Wraps on overflow: counting and binding refuse such shapes.
Sizes dense_strides(const Sizes& shape);
/// Every element of `from` in row-major order to `to`. Host memory.
void copy_dense(const TensorView& from, void* to);
/// Every element of `from` to its place in `to`; same type and shape. Host memory.
void copy_strided(const TensorView& from, const TensorView& to);
/// copy_elements where one view at least is of GPU memory; checked, with elements.
void copy_with_gpu(const TensorView& from, const TensorView& to);

}  // namespace quern::runtime
