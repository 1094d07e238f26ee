// Which arguments share memory. In: views of a call. Out: for an output and another argument: nothing shared, exactly the
// same elements in the same places, or an overlap. The one idea: two strided boxes meet when an integer equation over
// their subscripts has a solution within bounds, found by bounded search, largest strides first.
#pragma once

#include <cstdint>

#include <quern/tensor.h>

namespace quern::runtime {

enum class Overlap { none, same, partial };

/// `a` and `b` have byte ranges that fit (byte_range).
Overlap overlap_of(const TensorView& a, const TensorView& b);
/// Two different subscripts reach one element.
bool overlaps_itself(const TensorView& view);
/// Row-major without gaps; sizes of 1 and empty tensors do not count.
bool is_dense(const TensorView& view);
/// The last axis of more than one element whose stride is 1, -1 if there is none.
int unit_axis(const TensorView& view);

}  // namespace quern::runtime
