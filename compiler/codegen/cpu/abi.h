// What a compiled CPU program and its caller agree on: plain structures, no LLVM. An object has one `plan` function and
// one `run` function per kernel; it references nothing outside itself, what it must call comes by pointer in `Args`.
// Tensors, symbols and scalars are found by their id in the ir::Program that was compiled.
#pragma once

#include <cstdint>

namespace quern::cpu {

/// One tensor. `strides` counts elements, one per axis (any sign). Workspace tensors are dense row-major: their strides
/// are not read. Entries of tensors without storage (scratch, unused temps) are never touched.
struct TensorArg {
  void* data;
  const std::int64_t* strides;
};

/// First failed data check of a call. All zero before the call; `state` turns 1 once, by whichever thread comes first,
/// and the fields are complete when `state` is 2. Read it after the call's threads have joined.
struct Status {
  std::int32_t state;
  std::uint32_t tensor;     // the tensor that was read or written out of range
  std::int32_t axis;        // the axis whose subscript was out of range
  std::uint32_t source;     // the tensor that held the bad subscript, or kNoSource
  std::int64_t value;       // the subscript
  std::int64_t extent;      // of that axis
  std::int64_t position[8]; // where in `source` (its first `rank` axes; meaningless without a source)
  std::int32_t rank;
  std::int32_t reserved;
};
inline constexpr std::uint32_t kNoSource = 0xffffffffu;

/// What kernels call. `default_helpers()` (helpers.h) fills it.
struct Helpers {
  /// The k largest of n values (descending, stable, NaN largest), or all ascending when `sort`; missing ones get
  /// fill (-inf, lowest integer) and position -1. Values whose byte in `live` is 0 are not there. `live`, `values` and
  /// `positions` may be null. `dtype` is quern::DType.
  void (*select)(std::int32_t dtype, const void* row, const std::uint8_t* live, std::int64_t n, std::int64_t k, std::int32_t sort, void* values,
                 std::int32_t* positions);
  void (*report)(Status* status, std::uint32_t tensor, std::int32_t axis, std::int64_t value, std::int64_t extent,
                 std::uint32_t source, std::int32_t rank, const std::int64_t* position);
};

struct Args {
  const TensorArg* tensors;       // by TensorId, program.tensors.size() of them
  const std::int64_t* symbols;    // by SymbolId
  const std::int64_t* scalars;    // by ScalarId, 8 bytes each: f32 in the low 4 bytes, f64 whole, integers sign-extended
  Status* status;
  const Helpers* helpers;
};

/// Filled by `plan`, a function of the symbols alone. The caller provides the arrays.
struct Plan {
  std::int64_t* tasks;              // per kernel: run(args, 0, tasks, scratch) does all of it; 0 = nothing to do
  std::int64_t* scratch_bytes;      // per kernel: for each thread, 64-byte aligned; may be 0
  std::int64_t* workspace_elements; // per entry of tile::Module::workspace: elements to allocate (64-byte aligned)
};

/// Reads `symbols` and `scalars` of `args` only.
using PlanFunction = void (*)(const Args* args, Plan* plan);
/// Runs tasks [task_begin, task_end) of one kernel. Disjoint ranges may run on several threads at once.
using RunFunction = void (*)(const Args* args, std::int64_t task_begin, std::int64_t task_end, void* scratch);

/// A version of this header: part of every cache key.
inline constexpr std::uint32_t kAbiVersion = 1;

}  // namespace quern::cpu
