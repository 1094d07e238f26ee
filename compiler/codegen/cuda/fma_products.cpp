// Sums of products of f32, and other reductions of what is computed from an element of a left and one of a right tile: results
// lie in registers as those of matrix instructions do (arrange.h), so that everything around them is done by the nests on
// fragments; a thread reads the elements of its rows and columns from shared memory, 16 bytes at a time, and multiplies and adds.
// A left factor that is computed in registers passes through shared memory, for the threads that share its rows.
// Bits 1 and 2 of a lane's number change places: neighbours in either direction then read the same bytes, and pieces of 16 bytes
// for a warp take two turns of the banks instead of four.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Dim;
using tile::Nest;
using tile::Update;

void KernelPrinter::declare_lanes() {
  line(arranged_->swapped_lanes() ? "const int lane = (thread & 25) | (thread & 2) << 1 | (thread & 4) >> 1;" : "const int lane = thread % 32;");
  if (arranged_->column_warps == 1) line("const int row_warp = thread / 32;");
  else line(fmt::format("const int row_warp = thread / {}, column_warp = thread / 32 % {};", 32 * arranged_->column_warps, arranged_->column_warps));
}

/// The machine's distance of lanes that differ by `step` columns' places.
int KernelPrinter::quad_step(int step) const { return in_fragment_ && arranged_ && arranged_->swapped_lanes() && step == 2 ? 4 : step; }

/// The four lanes of a row.
std::string KernelPrinter::quad_mask() const { return arranged_->swapped_lanes() ? "0x33u << (thread & 26)" : "15u << (lane / 4 * 4)"; }

std::string KernelPrinter::first_of_row() const { return fmt::format("lane % 4 == 0{}", arranged_->column_warps > 1 ? " && column_warp == 0" : arranged_->column_groups > 1 ? " && group == 0" : ""); }

std::string KernelPrinter::first_column(IndexId column) const {
  if (arranged_->parted.contains(column)) return fmt::format("group * {} + ", 8 * arranged_->column_tiles.at(column));
  return arranged_->column_warps > 1 ? fmt::format("column_warp * {} + ", 8 * arranged_->column_tiles.at(column)) : "";
}

/// A column's count in its block is the sum of these and, in a pair of neighbours, e.
std::string KernelPrinter::column_of_lane(IndexId column) const {
  return first_column(column) + (arranged_->wide_columns.contains(column) ? "lane % 4 * 4" : "lane % 4 * 2");
}
std::string KernelPrinter::column_of_point(IndexId column) const { return arranged_->wide_columns.contains(column) ? "ct / 2 * 16 + ct % 2 * 2" : "ct * 8"; }

std::int64_t KernelPrinter::passed_pitch(const Contraction& c) const { return arranged_->columns(c.inner) + (arranged_->tf32 ? 8 : 4); }

std::int64_t KernelPrinter::passed_bytes(const Contraction& c) const {
  return arranged_->f32 && c.left_in_registers ? (arranged_->rows() * passed_pitch(c) * 4 + 127) / 128 * 128 : 0;
}

/// Whether sums of the nest's rows are finished by warps side by side.
bool KernelPrinter::meets_column_warps(const Nest& nest) const {
  return arranged_->column_warps > 1 && std::any_of(nest.updates.begin(), nest.updates.end(), [&](const Update& u) { return !u.over.empty() && !is_in_parts(u.target); });
}

void KernelPrinter::pass_to_column_warps(const Accumulation& s, std::size_t number, const std::string& row) {
  uses_exchange_ = true;
  const int rows = arranged_->rows(), side = arranged_->column_warps;
  line(fmt::format("if (lane % 4 == 0) (({}*)(exchange + {}))[column_warp * {} + {}] = {};", value_type(s.type), number * static_cast<std::size_t>(rows * side * 8), rows, row, s.value));
}

/// The sum of all of them, in their order.
void KernelPrinter::take_from_column_warps(const Update& u, Accumulation& s, std::size_t number, const std::string& row) {
  const int rows = arranged_->rows(), side = arranged_->column_warps;
  const std::string all = s.stem + "_all";
  const auto from = [&](int w) { return fmt::format("((const {}*)(exchange + {}))[{} + {}]", value_type(s.type), number * static_cast<std::size_t>(rows * side * 8), w * rows, row); };
  line(fmt::format("{} {} = {};", value_type(s.type), all, from(0)));
  for (int w = 1; w < side; ++w) line(fmt::format("{} = {};", all, combined(u, s.type, all, from(w))));
  s.value = all;
}

namespace {
/// 0 where both elements are 0: steps behind the end, which tiles hold as zeros, then change no sum.
bool vanishes(const ExprPool& pool, const Contraction& c, Reducer reducer) {
  if (reducer != Reducer::sum) return false;
  const Node& n = pool[c.body];
  if (n.op != Op::mul) return false;
  for (Expr a : n.args) {
    if (a == c.left || a == c.right) return true;
    const Node& x = pool[a];
    if ((x.op == Op::sub || x.op == Op::add) && (x.args[0] == c.left || x.args[0] == c.right) && (x.args[1] == c.left || x.args[1] == c.right)) return n.args[0] == n.args[1];
  }
  return false;
}
}  // namespace

void KernelPrinter::fma_nest(const Nest& nest) {
  const Arrangement& a = *arranged_;
  const Contraction& c = a.contractions.at(&nest);
  const Update& u = nest.updates[0];
  const Dim &row = dim_of(nest, a.row), &inner = dim_of(nest, c.inner);
  const int columns = a.column_tiles.at(c.column);
  const std::string sum = fmt::format("tile{}[rt][ct][h * 2 + e]", u.target);
  start_sums(nest);
  if (c.left_in_registers) pass_left(nest, c, row, inner);
  if (a.tf32) return tf32_nest(nest);

  const auto right_tile = static_cast<TensorId>(pool_[c.right].payload);
  const OperandTile& right = a.operands.at(right_tile);
  const bool right_by_column = right.dims[1] == c.inner;
  const std::string right_at = fresh("right"), left_at = fresh("left");
  line(fmt::format("const float* const {} = tile{} + ({}){};", right_at, right_tile, column_of_lane(c.column), right_by_column ? fmt::format(" * {}", right.pitch) : ""));
  bool left_by_row = true;
  std::int64_t left_pitch = passed_pitch(c);
  std::string left_base = fmt::format("passed{}", u.target);
  if (!c.left_in_registers) {
    const auto t = static_cast<TensorId>(pool_[c.left].payload);
    const OperandTile& left = a.operands.at(t);
    left_by_row = left.dims[1] == c.inner;
    left_pitch = left.pitch;
    left_base = fmt::format("tile{}", t);
  }
  line(fmt::format("const float* const {} = {} + (row_warp * {} + lane / 4){};", left_at, left_base, 16 * a.row_tiles, left_by_row ? fmt::format(" * {}", left_pitch) : ""));

  const std::int64_t most = extent_of(pool_, inner)->most;
  const std::string limit = limit_text(inner, most);
  const std::string count = limit.empty() ? std::to_string(most) : limit;
  const bool wide = a.wide_columns.contains(c.column);
  const bool round_up = vanishes(pool_, c, u.reducer);
  const auto loop = [&](const char* name, int n) {
    line("#pragma unroll");
    open(fmt::format("for (int {} = 0; {} < {}; ++{})", name, name, n, name));
  };
  const auto add = [&](const std::string& x, const std::string& y) {
    loop("rt", a.row_tiles);
    loop("h", 2);
    scopes_.emplace_back();
    scopes_.back().names[c.left.id] = x;
    scopes_.back().names[c.right.id] = y;
    const Node body = pool_[c.body];
    if (u.reducer == Reducer::sum && body.op == Op::mul) line(fmt::format("{0} = fmaf({1}, {2}, {0});", sum, value(body.args[0]), value(body.args[1])));
    else line(fmt::format("{} = {};", sum, combined(u, DType::f32, sum, value(c.body))));
    scopes_.pop_back();
    close();
    close();
  };
  const auto step = [&](int by) {
    const std::string left_vector = fmt::format("quern_vector<float, {}>", left_by_row ? by : 1), right_vector = fmt::format("quern_vector<float, {}>", right_by_column ? by : wide ? 4 : 2);
    line(fmt::format("quern_vector<float, {}> x[{}][2];", by, a.row_tiles));
    loop("rt", a.row_tiles);
    loop("h", 2);
    if (left_by_row) {
      line(fmt::format("x[rt][h] = *(const {}*)({} + (rt * 16 + h * 8) * {} + k);", left_vector, left_at, left_pitch));
    } else {
      line("#pragma unroll");
      line(fmt::format("for (int i = 0; i < {}; ++i) x[rt][h].at[i] = {}[(k + i) * {} + rt * 16 + h * 8];", by, left_at, left_pitch));
    }
    close();
    close();
    if (right_by_column) {
      loop("ct", columns);
      loop("e", 2);
      line(fmt::format("const {} y = *(const {}*)({} + (ct * 8 + e) * {} + k);", right_vector, right_vector, right_at, right.pitch));
      loop("i", by);
      add("x[rt][h].at[i]", "y.at[i]");
      close();
      close();
      close();
    } else {
      loop("i", by);
      loop("piece", wide ? columns / 2 : columns);
      line(fmt::format("const {} y = *(const {}*)({} + (k + i) * {} + piece * {});", right_vector, right_vector, right_at, right.pitch, wide ? 16 : 8));
      loop("j", wide ? 4 : 2);
      line(wide ? "const int ct = piece * 2 + j / 2, e = j % 2;" : "const int ct = piece, e = j;");
      add("x[rt][h].at[i]", "y.at[j]");
      close();
      close();
      close();
    }
  };
  if (limit.empty() && (round_up || most % 4 == 0)) {
    line("#pragma unroll 1");
    open(fmt::format("for (int k = 0; k < {}; k += 4)", most));
    step(4);
    close();
  } else if (round_up) {
    line("#pragma unroll 1");
    open(fmt::format("for (int k = 0; k < {}; k += 4)", count));
    step(4);
    close();
  } else {
    line("int k = 0;");
    line("#pragma unroll 1");
    open(fmt::format("for (; k + 4 <= {}; k += 4)", count));
    step(4);
    close();
    line("#pragma unroll 1");
    open(fmt::format("for (; k < {}; ++k)", count));
    step(1);
    close();
  }
}

/// The left factor from where its threads hold it to shared memory; zeros where there is no point.
void KernelPrinter::pass_left(const Nest& nest, const Contraction& c, const Dim& row, const Dim& inner) {
  const Arrangement& a = *arranged_;
  const Update& u = nest.updates[0];
  const bool memory = touches_memory(u.domain) || touches_memory(c.left);
  const std::string inner_limit = limit_text(inner, a.columns(c.inner)), row_limit = memory ? limit_text(row, a.rows()) : "";
  const std::string meet = a.column_warps > 1 ? meet_ : "__syncwarp();";
  line(meet);  // who read the last block's is done
  open_rows(row);
  column_begin_ = inner.begin;
  hoist(c.left, c.inner, {});
  hoist(u.domain, c.inner, {});
  line("#pragma unroll");
  open(fmt::format("for (int ct = 0; ct < {}; ++ct)", a.column_tiles.at(c.inner)));
  line("quern_vector<float, 2> pair;");
  line("#pragma unroll");
  open("for (int e = 0; e < 2; ++e)");
  scopes_.emplace_back();
  declare_column(inner);
  std::vector<std::string> guards;
  if (!inner_limit.empty()) guards.push_back(fmt::format("d{} < {}", inner.index, inner_limit));
  if (!memory) {
    const std::string x = value(c.left);
    if (u.domain) guards.push_back(value(u.domain));
    line(fmt::format("pair.at[e] = {};", guards.empty() ? x : fmt::format("{} ? {} : 0.0f", fmt::join(guards, " && "), x)));
  } else {
    // What is read is read for points that exist only.
    if (!row_limit.empty()) guards.push_back(fmt::format("d{} < {}", row.index, row_limit));
    line("pair.at[e] = 0.0f;");
    if (!guards.empty()) open(fmt::format("if ({})", fmt::join(guards, " && ")));
    scopes_.emplace_back();
    const int opened = open_domain(u.domain);
    line(fmt::format("pair.at[e] = {};", value(c.left)));
    close_domain(opened);
    scopes_.pop_back();
    if (!guards.empty()) close();
  }
  scopes_.pop_back();
  close();
  line(fmt::format("*(quern_vector<float, 2>*)(passed{} + d{} * {} + {} + {}) = pair;", u.target, row.index, passed_pitch(c), column_of_point(c.inner), column_of_lane(c.inner)));
  close();
  close_loops();
  forget(row);
  forget(inner);
  line(meet);
}

}  // namespace quern::cuda
