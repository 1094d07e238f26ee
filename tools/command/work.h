// How much a program asks for at given sizes: arithmetic and bytes, counted from its equations. The one idea: every
// distinct value is computed once, so a subexpression costs the product of the extents of the indices it depends on, times
// the share of points that its domains leave alive. No schedule is assumed, so speeds of different plans compare.
#pragma once

#include "dsl/ir/program.h"
#include "tools/command/evaluate.h"

namespace quern::command {

struct Work {
  double multiply_adds = 0;  // terms of sums of products
  double operations = 0;     // all float operations, a multiply-add counting two, an exp or a division one
  double bytes_read = 0;     // each input once, in its stored type
  double bytes_written = 0;  // each output once
  bool double_precision = false;  // the arithmetic is f64

  /// What GFLOP/s means: two per multiply-add where there are contractions, else all float operations.
  double flops() const { return multiply_adds > 0 ? 2 * multiply_adds : operations; }
  double bytes() const { return bytes_read + bytes_written; }
};

/// `at` has values for every size; tensors that domains read are used where they are given.
Work count_work(const ir::Program& program, const Bindings& at);

}  // namespace quern::command
