// The tile IR: what a kernel does, tile by tile, before it becomes LLVM or CUDA text. Printers decide nothing: which
// loop is parallel, which index runs in vector lanes, how far a loop is unrolled and where a tile lives stand here.
//
// Expressions are those of the index IR (one pool). A `read` of a tensor with role `scratch` reads a tile; input, output
// and temp tensors are global memory (any strides, dense row-major for temp). A block index (of a grid or For) stands
// for the *start* of its block; a Nest then runs an index of its own over [start, min(start + block, end)).
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "dsl/ir/program.h"

namespace quern::tile {

using ir::Expr;
using ir::IndexId;
using ir::TensorId;

struct Statement;
struct Nest;
using Block = std::vector<Statement>;

/// Sequential loop: index = begin, begin + step, ... < end.
struct For {
  IndexId index;
  Expr begin, end;
  std::int64_t step = 1;
  Block body;
  // May replace the tests of blocks that are not whole: -inf into scores at the points outside. What reads them is then done
  // as for whole blocks. Empty where that would not come to the same.
  std::vector<Nest> masks;
  // Kernel::groups: what of begin to end the rows of group `group` (0 to groups - 1) need. None: all of it. Conditions in
  // `body` may speak of the group, too.
  struct Own {
    IndexId group = 0;
    Expr begin, end;
  };
  std::optional<Own> own;
};

struct If {
  Expr condition;  // uniform: depends on symbols, block indices and scratch scalars only
  Block then_block, else_block;
};

/// One dimension of a Nest. `lanes`: runs in vector lanes (at most one dimension of a nest). `unroll`: iterations (for
/// the lane dimension: whole vectors) kept in flight at once, the register tile. An extent need not divide.
struct Dim {
  IndexId index;
  Expr begin, end;
  int unroll = 1;
  bool lanes = false;
};

enum class UpdateKind : std::uint8_t {
  store,    // target[subscripts] = body, for every point where `domain` holds
  reduce,   // target[subscripts] = result(start ⊕ body over the `over` dims where `domain` holds)
  scan,     // like reduce along the single `over` dim, but every step stores: target[subscripts] (subscripts use the dim)
  scatter,  // target[subscripts] ⊕= body, in iteration order; the caller guarantees that no two threads collide
};

/// One thing a Nest computes at its points.
struct Update {
  UpdateKind kind = UpdateKind::store;
  TensorId target = 0;
  std::vector<Expr> subscripts;   // over the dims that are not reduced (store, scan, scatter: over all)
  Expr body;                      // scan with `previous` in it: the recurrence itself; otherwise combined by `reducer`
  Expr domain;                    // bool; none = everywhere
  ir::Reducer reducer = ir::Reducer::sum;  // sum prod max min any all argmax argmin
  std::vector<IndexId> over;      // reduced dims: innermost dims of the nest
  // reduce, min of the one reduced dim itself: `domain` fails up to some point and holds from there on, so that a search may
  // look for it; `start` is the dim's end.
  bool is_search = false;
  Expr start;                     // initial accumulator (evaluated once per kept point); none = the identity
  Expr result;                    // value stored, a function of `accumulator`; none = the accumulator
  // argmax, argmin: `body` is the compared value, `position` the i64 index reported. The best value goes to `target` when
  // has_value_target, its position (i32, -1 if none) to `position_target`. Ties keep the lower position.
  Expr position;
  Expr start_position;
  TensorId position_target = 0;
  bool has_value_target = true;
  bool has_position_target = false;
  bool checked = false;           // scatter: subscripts are tested, out of range does nothing and is reported
};

/// A perfect loop nest over a box of points, outermost dim first. Dims that some update reduces over (or scans) stand
/// innermost. All reads of a point happen as written: an update may read what an earlier update of the same nest stored
/// at the same point, nothing else of it.
struct Nest {
  std::vector<Dim> dims;
  std::vector<Update> updates;
  std::string note;  // e.g. "line 3: sum[d](q*k)", printed as a comment
};

/// Per execution: takes `extent` values of the scratch row `source` (offset 0, contiguous) and writes the k largest
/// (descending, stable, NaN largest), or all of them sorted ascending when `sort`. Points that are not live are never taken.
struct Select {
  TensorId source = 0;
  Expr extent;
  Expr k;
  bool sort = false;        // ascending, k == extent
  TensorId values = 0;      // scratch rows of at least k elements
  TensorId positions = 0;   // scratch i32; -1, beside the lowest value, where the live points are short of k
  TensorId live = 0;        // scratch bool, beside the source row, when has_live
  bool has_live = false;
  bool want_values = true, want_positions = true;
  // GPU, top-k: there is no row; value number d is `body` at index = begin + d, live where `domain` holds (none: everywhere).
  // GPU, sort: `values`, where wanted, is `source`.
  IndexId index = 0;
  Expr begin, body, domain;
};

struct Statement {
  std::variant<For, If, Nest, Select> node;
};

/// Grid dimension: blocks start at begin, begin + step, ...; the tasks of a kernel are their product and are independent.
struct GridDim {
  IndexId index;
  Expr begin, end;
  std::int64_t step = 1;
};

struct Kernel {
  std::string name;             // k0, k1, ...
  int lanes = 16;               // elements of one vector in this kernel, whatever their type (16: f32 on AVX-512)
  std::vector<GridDim> grid;
  Expr when;                      // bool over sizes: nothing runs where it is false; none = always
  int groups = 0;                 // GPU: warp groups that compute, 64 rows each, while one more loads; 0 = no roles
  int column_groups = 1;          // of those, so many share 64 rows: each has a part of the columns of wide results
  bool chained = false;           // tasks along the last grid dim pass the state of the body's one scan on, in order (GPU)
  std::vector<TensorId> scratch;  // row-major, last axis padded to whole vectors (`lanes`); shapes over symbols
  Block body;
  std::vector<std::string> why;   // how it came to be: plan, fusion steps with their algebra, for `explain`
};

struct Module {
  ir::Program program;            // owns the pool; its equations are those before lowering
  std::vector<Kernel> kernels;    // run in order
  std::vector<TensorId> workspace;  // temps that live in memory between kernels
};

}  // namespace quern::tile
