// The form in which equations are evaluated: a tree of small items over numbered loop levels. A program with the
// argument sizes goes in (symbols are constants from here on); nothing in it depends on the arguments' data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dsl/ir/program.h"

namespace quern::interpreter {

using ir::Expr;
using ir::Op;
using ir::TensorId;

enum class Kind : std::uint8_t {
  constant,    // real or integer
  level,       // the index of level `a`
  affine,      // affines[more]
  scalar,      // scalar parameter `more`
  previous,    // the running value of the scan forms[more]
  read,        // reads[more]
  widen,       // f32 -> f64 of a; exact
  round,       // a rounded to `type` (a written cast)
  permit,      // a, which a back end may round to `type`; a sum of b and c: or each of them
  to_integer,  // float a -> integer or bool
  to_float,    // integer or bool a -> float
  to_width,    // integer or bool a -> integer or bool
  real,        // float operator op on a, b, c
  exp_sum,     // exp(a op b)
  compare,     // float comparison or test
  whole,       // integer operator, integer comparison
  logic,       // and or not
  choose,      // where(a, b, c): only the taken branch runs
  guard,       // if a then b else 0: a product with a structural zero
  product,     // a * b, where a zero weight may hide a NaN (it comes from exp or softmax)
  form,        // forms[more]: reduce map scan topk
  share,       // a, remembered until level `level` moves
};

/// How a back end may reorder the steps of a scan: as they stand, as a linear recurrence, as a sum.
enum class Reorder : std::uint8_t { none, linear, sum };

struct Item {
  Kind kind = Kind::constant;
  Op op = Op::constant;
  DType type = DType::f32;
  DType from = DType::f32;   // type of the operands
  bool nonnegative = false;  // of operand a
  bool reciprocal = false;   // real, div: may be a product with the reciprocal
  bool hidden = false;       // product: a zero factor may stand for a skipped -inf
  int level = 0;             // the innermost level it depends on; 0 = none
  std::uint32_t a = 0, b = 0, c = 0;
  std::uint32_t more = 0;
  double real = 0;
  std::int64_t integer = 0;
};

/// base + sum of factor * index of level.
struct Affine {
  std::int64_t base = 0;
  std::vector<std::pair<int, std::int64_t>> terms;
};

struct Subscript {
  bool affine = false;
  Affine form;
  std::uint32_t item = 0;
  Expr expr;  // as written, for reports
};

struct Read {
  TensorId tensor = 0;
  bool checked = false;
  std::vector<Subscript> subscripts;
};

/// One coordinate of the key under which a form's result is remembered.
struct KeyPart {
  int level = 0;
  std::int64_t begin = 0, extent = 0;
};

struct Axis {
  int level = 0;  // while the form runs over it
  std::int64_t begin = 0, end = 0;
};

struct Form {
  Op op = Op::reduce;
  ir::Reducer reducer = ir::Reducer::sum;
  ir::AxisMap map = ir::AxisMap::softmax;
  DType type = DType::f32;  // of the result
  DType body_type = DType::f32;
  std::vector<Axis> axes;
  std::uint32_t body = 0;
  std::uint32_t domain = 0;  // 0: everywhere
  std::uint32_t init = 0;
  int outer_level = 0;  // map, scan: the axis outside; topk: the new axis
  std::int64_t outer_begin = 0;
  std::int64_t k = 0;        // topk: extent of the new axis
  Reorder reorder = Reorder::none;  // scan
  std::uint32_t factor = 0;  // scan: its step is `prev` times this
  std::vector<std::pair<std::uint32_t, bool>> leaving;  // sum, mean: factors that may leave it, and whether they divide
  std::uint32_t rest = 0;    // the term without them; 0: 1
  std::vector<std::uint32_t> powers;  // sum, mean over a polynomial in `prev`: its terms, summed one by one
  std::vector<std::uint32_t> beside_weights;  // factors beside a difference of weights that may be summed one by one
  bool short_sum = false;    // a sum of products of one-byte floats that @fast may add in 14 bits
  bool coarse = false;       // a sum of products that @tf32 may compute with short factors
  std::vector<KeyPart> key;  // what the result depends on besides its own axes
  std::uint32_t row_id = 0;  // forms that share one remembered row (the two results of topk) have one id
  std::int64_t row_length = 1;
  bool remembered = false;
};

/// How an equation's indices follow from a position in its target: subscript = base + sum factor * index.
struct Digit {
  int level = 0;
  std::int64_t begin = 0, extent = 0, factor = 0;
};
struct TargetAxis {
  std::int64_t base = 0;
  std::vector<Digit> digits;  // largest factor first
};

struct EquationCode {
  ir::Equation equation;
  int first_level = 0;  // levels of its indices: first_level, first_level + 1, ...
  std::vector<Axis> indices;
  std::vector<TargetAxis> target;     // set
  std::vector<Subscript> subscripts;  // scatter
  std::vector<std::uint32_t> roots;   // one per target
};

struct Code {
  std::vector<Item> items;
  std::vector<Affine> affines;
  std::vector<Read> reads;
  std::vector<Form> forms;
  std::vector<EquationCode> equations;
  std::vector<std::vector<std::int64_t>> shapes;  // by TensorId
  std::vector<int> definition;                    // by TensorId: the equation, -1 for parameters
  int levels = 1;                                 // level 0 never moves
  std::uint32_t rows = 0;
  std::string error;  // sizes out of reach
};

/// Compiles a copy of `program` (whose pool grows); `symbols` are all known.
Code compile_code(ir::Program& program, const std::vector<std::int64_t>& symbols);

}  // namespace quern::interpreter
