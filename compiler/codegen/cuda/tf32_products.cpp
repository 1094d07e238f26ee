// Products of f32 by matrix instructions that read 19 bits of a factor (mma.sync.m16n8k8.tf32), on the fragments of
// fma_products.cpp: where the program asks for @tf32 each factor is rounded once; under @fast it is the sum of two such numbers
// and the product of sums is three products (what is left out is below 2^-20 of a product).
// Places along the reduced dim are exchanged in both factors, so that a lane reads two neighbours at once.
#include <fmt/format.h>

#include "compiler/codegen/cuda/kernel_printer.h"

namespace quern::cuda {

using namespace ir;
using tile::Dim;
using tile::Nest;
using tile::Update;

/// Behind start_sums and pass_left.
void KernelPrinter::tf32_nest(const Nest& nest) {
  const Arrangement& a = *arranged_;
  const Contraction& c = a.contractions.at(&nest);
  const Update& u = nest.updates[0];
  const Dim& inner = dim_of(nest, c.inner);
  const auto right_tile = static_cast<TensorId>(pool_[c.right].payload);
  const OperandTile& right = a.operands.at(right_tile);
  const bool right_by_column = right.dims[1] == c.inner;
  bool left_by_row = true;
  std::int64_t left_pitch = passed_pitch(c);
  std::string left_base = fmt::format("passed{}", u.target);
  if (!c.left_in_registers) {
    const auto t = static_cast<TensorId>(pool_[c.left].payload);
    left_by_row = a.operands.at(t).dims[1] == c.inner;
    left_pitch = a.operands.at(t).pitch;
    left_base = fmt::format("tile{}", t);
  }
  const std::string right_at = fresh("right"), left_at = fresh("left"), steps = "lane % 4 * 2";
  const std::string row = fmt::format("(row_warp * {} + lane / 4)", 16 * a.row_tiles), column = fmt::format("({}lane / 4)", first_column(c.column));
  line(left_by_row ? fmt::format("const float* const {} = {} + {} * {} + {};", left_at, left_base, row, left_pitch, steps)
                   : fmt::format("const float* const {} = {} + {} * {} + {};", left_at, left_base, steps, left_pitch, row));
  line(right_by_column ? fmt::format("const float* const {} = tile{} + {} * {} + {};", right_at, right_tile, column, right.pitch, steps)
                       : fmt::format("const float* const {} = tile{} + {} * {} + {};", right_at, right_tile, steps, right.pitch, column));
  const std::int64_t most = extent_of(pool_, inner)->most;
  const std::string limit = limit_text(inner, most);
  const auto loop = [&](const char* name, int n) {
    line("#pragma unroll");
    open(fmt::format("for (int {} = 0; {} < {}; ++{})", name, name, n, name));
  };
  // Zeros stand behind the end.
  const bool three = a.tf32 == 3;
  const auto round = [&](const std::string& to, const std::string& at, const std::string& x) {
    line(fmt::format("{}[{}] = {}({});", to, at, three ? "quern_tf32_upper" : "quern_tf32_bits", x));
    if (three) line(fmt::format("{}_rest[{}] = quern_tf32_rest({}, {}[{}]);", to, at, x, to, at));
  };
  line("#pragma unroll 2");
  open(fmt::format("for (int k = 0; k < {}; k += 8)", limit.empty() ? std::to_string(most) : limit));
  line(fmt::format("unsigned x[{0}][4]{1};", a.row_tiles, three ? fmt::format(", x_rest[{}][4]", a.row_tiles) : ""));
  loop("rt", a.row_tiles);
  loop("h", 2);
  if (left_by_row) line(fmt::format("const quern_vector<float, 2> pair = *(const quern_vector<float, 2>*)({} + (rt * 16 + h * 8) * {} + k);", left_at, left_pitch));
  loop("j", 2);
  line(left_by_row ? "const float f = pair.at[j];" : fmt::format("const float f = {}[(k + j) * {} + rt * 16 + h * 8];", left_at, left_pitch));
  line(fmt::format("x[rt][2 * j + h] = {}(f);", three ? "quern_tf32_upper" : "quern_tf32_bits"));
  if (three) line("x_rest[rt][2 * j + h] = quern_tf32_rest(f, x[rt][2 * j + h]);");
  close();
  close();
  close();
  loop("ct", a.column_tiles.at(c.column));
  if (right_by_column) line(fmt::format("const quern_vector<float, 2> pair = *(const quern_vector<float, 2>*)({} + ct * {} + k);", right_at, 8 * right.pitch));
  line(three ? "unsigned y[2], y_rest[2];" : "unsigned y[2];");
  loop("j", 2);
  line(right_by_column ? "const float f = pair.at[j];" : fmt::format("const float f = {}[(k + j) * {} + ct * 8];", right_at, right.pitch));
  round("y", "j", "f");
  close();
  loop("rt", a.row_tiles);
  if (three) {
    line(fmt::format("quern_mma_tf32(tile{}[rt][ct], x_rest[rt], y);", u.target));
    line(fmt::format("quern_mma_tf32(tile{}[rt][ct], x[rt], y_rest);", u.target));
  }
  line(fmt::format("quern_mma_tf32(tile{}[rt][ct], x[rt], y);", u.target));
  close();
  close();
  close();
}

}  // namespace quern::cuda
