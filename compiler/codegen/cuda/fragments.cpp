// Nests on matrix fragments (arrange.h): each thread walks its own rows and columns, sums over columns are finished between
// the four lanes that share a row, and sums of products are matrix instructions on operand tiles and fragments.
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Dim;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

bool KernelPrinter::in_registers(TensorId t) const { return arranged_ && arranged_->registers.contains(t); }

/// The element of a register tile at the point at hand.
std::string KernelPrinter::register_element(TensorId t) const {
  return arranged_->registers.at(t).size() == 1 ? fmt::format("tile{}[rt][h]", t) : fmt::format("tile{}[rt][ct][h * 2 + e]", t);
}

void KernelPrinter::declare_registers() {
  for (const auto& [t, dims] : arranged_->registers) {
    const std::string type = value_type(program_.tensors[t].type);
    if (dims.size() == 1) line(fmt::format("{} tile{}[{}][2];  // rows", type, t, arranged_->row_tiles));
    else line(fmt::format("{} tile{}[{}][{}][4];  // rows x {} columns", type, t, arranged_->row_tiles, arranged_->column_tiles.at(dims[1]), arranged_->column_tiles.at(dims[1]) * 8));
  }
}

/// Points of the dim that exist, as text; empty when all of its block do.
std::string KernelPrinter::limit_text(const Dim& dim, std::int64_t padded) {
  const auto extent = extent_of(pool_, dim);
  if (!extent) throw std::logic_error("a dim of a fragment has no bound");
  if (!extent->limit || whole_ends_.contains(dim.end)) return extent->most >= padded ? "" : std::to_string(extent->most);
  const std::string name = fresh("limit");
  line(fmt::format("const int {} = (int)max(min({} - {}, {}ll), 0ll);", name, value(extent->limit), value(dim.begin), extent->most));
  return name;
}

void KernelPrinter::open_rows(const Dim& row) {
  const Arrangement& a = *arranged_;
  line("#pragma unroll");
  open(fmt::format("for (int rt = 0; rt < {}; ++rt)", a.row_tiles));
  line("#pragma unroll");
  open("for (int h = 0; h < 2; ++h)");
  scopes_.emplace_back();
  line(fmt::format("const int d{} = warp * {} + rt * 16 + h * 8 + lane / 4;", row.index, 16 * a.row_tiles));
  line(fmt::format("const long long x{} = {} + d{};", row.index, value(row.begin), row.index));
  indices_[row.index] = fmt::format("x{}", row.index);
  local_begin_[row.index] = row.begin;
}

void KernelPrinter::open_columns(const Dim& column, const std::string& tiles) {
  line("#pragma unroll");
  open(fmt::format("for (int ct = 0; ct < {}; ++ct)", tiles));
  line("#pragma unroll");
  open("for (int e = 0; e < 2; ++e)");
  scopes_.emplace_back();
  declare_column(column);
}

void KernelPrinter::declare_column(const Dim& column) {
  line(fmt::format("const int d{} = ct * 8 + lane % 4 * 2 + e;", column.index));
  line(fmt::format("const long long x{} = {} + d{};", column.index, value(column.begin), column.index));
  indices_[column.index] = fmt::format("x{}", column.index);
  local_begin_[column.index] = column.begin;
}

void KernelPrinter::close_loops() {
  scopes_.pop_back();
  close();
  close();
}

void KernelPrinter::forget(const Dim& dim) {
  indices_.erase(dim.index);
  local_begin_.erase(dim.index);
}

bool KernelPrinter::reads_global(Expr e) const {
  bool found = false;
  if (e) compiler::for_each_node(pool_, e, [&](Expr at) { found |= pool_[at].op == Op::read && !in_registers(static_cast<TensorId>(pool_[at].payload)); });
  return found;
}

/// Evaluates ahead of the columns what does not depend on them: only what registers give may be read early.
void KernelPrinter::hoist(Expr e, IndexId column, const std::set<TensorId>& written) {
  if (!e) return;
  const Node n = pool_[e];
  if (n.args.empty() || n.op == Op::previous || n.op == Op::accumulator) return;
  if (n.op == Op::mul && pool_[n.args[0]].op == Op::sub && pool_.is_constant(n.args[1])) hoist(pool_.mul(pool_[n.args[0]].args[1], n.args[1]), column, written);
  if (!pool_.depends_on(e, column)) {
    bool safe = true;
    compiler::for_each_node(pool_, e, [&](Expr at) {
      const Node& x = pool_[at];
      if (x.op == Op::accumulator || x.op == Op::previous) safe = false;
      if (x.op == Op::read && (!in_registers(static_cast<TensorId>(x.payload)) || written.contains(static_cast<TensorId>(x.payload)))) safe = false;
    });
    if (safe) {
      value(e);
      return;
    }
  }
  for (Expr a : n.args) hoist(a, column, written);
}

void KernelPrinter::fragment_nest(const Nest& nest) {
  const Arrangement& a = *arranged_;
  const Dim* row = nullptr;
  const Dim* column = nullptr;
  for (const Dim& d : nest.dims) (d.index == a.row ? row : column) = &d;
  bool memory = false, sums_columns = false;
  std::set<TensorId> written;
  for (const Update& u : nest.updates) {
    sums_columns |= !u.over.empty();
    auto target = [&](TensorId t) { memory |= !in_registers(t); written.insert(t); };
    if (u.has_value_target) target(u.target);
    if (u.has_position_target) target(u.position_target);
    for (Expr e : {u.body, u.domain, u.start, u.result}) memory |= reads_global(e);
  }
  const std::string row_limit = memory ? limit_text(*row, a.rows()) : "";
  const int tiles = column ? a.column_tiles.at(column->index) : 0;
  const std::string column_limit = column && (memory || sums_columns) ? limit_text(*column, tiles * 8) : "";
  open_rows(*row);
  const bool guard_row = !row_limit.empty();
  if (guard_row) open(fmt::format("if (d{} < {})", row->index, row_limit));
  scopes_.emplace_back();
  std::vector<Accumulation> sums;
  if (column) {
    for (const Update& u : nest.updates)
      for (Expr e : {u.body, u.domain}) hoist(e, column->index, written);
    begin_sums(nest, sums);
    open_columns(*column, std::to_string(tiles));
    if (!column_limit.empty()) open(fmt::format("if (d{} < {})", column->index, column_limit));
    at_point(nest, sums);
    if (!column_limit.empty()) close();
    close_loops();
    for (const Accumulation& s : sums) {
      const Update& u = nest.updates[s.update];
      Split quad;
      quad.team = 4;
      line(fmt::format("const unsigned team_mask_{} = 15u << (lane / 4 * 4);", s.value));
      team_mask_ = "team_mask_" + s.value;
      combine_team(quad, u, s);
      team_mask_ = "team_mask";
      const bool to_memory = (u.has_value_target && !in_registers(u.target)) || (u.has_position_target && !in_registers(u.position_target));
      if (to_memory) open("if (lane % 4 == 0)");
      else open("");
      finish(u, s);
      close();
    }
  } else {
    // Four lanes hold each row: one of them writes to memory.
    for (const Update& u : nest.updates) {
      Nest one;
      one.dims = nest.dims;
      one.updates = {u};
      const bool alone = !in_registers(u.target);
      if (alone) open("if (lane % 4 == 0)");
      at_point(one, sums);
      if (alone) close();
    }
  }
  scopes_.pop_back();
  if (guard_row) close();
  close_loops();
  forget(*row);
  if (column) forget(*column);
}

void KernelPrinter::contraction_nest(const Nest& nest) {
  const Arrangement& a = *arranged_;
  const Contraction& c = a.contractions.at(&nest);
  const Update& u = nest.updates[0];
  auto dim_of = [&](IndexId i) -> const Dim& {
    for (const Dim& d : nest.dims) if (d.index == i) return d;
    throw std::logic_error("a contraction lacks a dim");
  };
  const Dim &row = dim_of(a.row), &inner = dim_of(c.inner), &column = dim_of(c.column);
  const int columns = a.column_tiles.at(c.column);
  const int steps = static_cast<int>((extent_of(pool_, inner)->most + 15) / 16);
  const std::string sum = fmt::format("tile{}", u.target);

  // What the sums start from.
  open_rows(row);
  if (u.start) hoist(u.start, c.column, {u.target});
  open_columns(column, std::to_string(columns));
  const std::string from = u.start ? cast_text(pool_.type(u.start), DType::f32, value(u.start)) : "0.0f";
  line(fmt::format("{}[rt][ct][h * 2 + e] = {};", sum, from));
  close_loops();
  close_loops();
  forget(row);
  forget(column);

  // Byte addresses: what depends on the lane is one register, the rest are constants of the instructions.
  auto lane_base = [&](const OperandTile& tile, TensorId t, const std::string& major, const std::string& minor) {
    const std::string name = fresh("base");
    line(fmt::format("const unsigned {} = quern_shared_address(tile{}) + (({}) * {} + ({})) * 2;", name, t, major, tile.pitch, minor));
    return name;
  };
  auto at = [](const OperandTile& tile, const std::string& base, const std::string& major, const std::string& minor) {
    return fmt::format("{} + (({}) * {} + ({})) * 2", base, major, tile.pitch, minor);
  };
  const auto right_tile = static_cast<TensorId>(pool_[c.right].payload);
  const OperandTile& tile = a.operands.at(right_tile);
  const bool right_by_column = tile.dims[1] == c.inner;
  const std::string right_base = right_by_column ? lane_base(tile, right_tile, "lane % 8 + lane / 16 * 8", "lane / 8 % 2 * 8")
                                                 : lane_base(tile, right_tile, "lane % 16", "lane / 16 * 8");
  std::string left_base;
  bool left_by_row = false;
  if (!c.left_in_registers) {
    const auto t = static_cast<TensorId>(pool_[c.left].payload);
    const OperandTile& left = a.operands.at(t);
    left_by_row = left.dims[1] == c.inner;
    const std::string first = fmt::format("warp * {}", 16 * a.row_tiles);
    left_base = left_by_row ? lane_base(left, t, first + " + lane % 16", "lane / 16 * 8")
                            : lane_base(left, t, "lane % 8 + lane / 16 * 8", first + " + lane / 8 % 2 * 8");
  }
  const std::string inner_limit = c.left_in_registers ? limit_text(inner, std::int64_t{steps} * 16) : "";
  const std::string row_limit = c.left_in_registers && (reads_global(u.domain) || reads_global(c.left)) ? limit_text(row, a.rows()) : "";
  line("#pragma unroll");
  open(fmt::format("for (int kt = 0; kt < {}; ++kt)", steps));
  scopes_.emplace_back();
  line(fmt::format("unsigned left[{}][4];", a.row_tiles));
  if (c.left_in_registers) {
    open_rows(row);
    hoist(c.left, c.inner, {});
    line("#pragma unroll");
    open("for (int side = 0; side < 2; ++side)");
    line("float pair[2];");
    line("const int ct = kt * 2 + side;");
    line("#pragma unroll");
    open("for (int e = 0; e < 2; ++e)");
    scopes_.emplace_back();
    declare_column(inner);
    // Packing rounds: the cast to the narrow type needs no rounding of its own.
    Expr left = c.left;
    if (pool_[left].op == Op::cast && pool_[left].type == (c.bf16 ? DType::bf16 : DType::f16)) left = pool_[left].args[0];
    // Where there is no point there is a zero; what the domain reads is read for points that exist only.
    std::vector<std::string> guards;
    if (!inner_limit.empty()) guards.push_back(fmt::format("d{} < {}", inner.index, inner_limit));
    if (!row_limit.empty()) guards.push_back(fmt::format("d{} < {}", row.index, row_limit));
    if (!guards.empty() || u.domain) line("pair[e] = 0.0f;");
    if (!guards.empty()) open(fmt::format("if ({})", fmt::join(guards, " && ")));
    scopes_.emplace_back();
    if (u.domain) open(fmt::format("if ({})", value(u.domain)));
    scopes_.emplace_back();
    line(fmt::format("pair[e] = {};", cast_text(pool_.type(left), DType::f32, value(left))));
    scopes_.pop_back();
    if (u.domain) close();
    scopes_.pop_back();
    if (!guards.empty()) close();
    scopes_.pop_back();
    close();
    line(fmt::format("left[rt][side * 2 + h] = {}x2_bits(pair[0], pair[1]);", c.bf16 ? "bf16" : "f16"));
    close();
    close_loops();
    forget(row);
    forget(inner);
  } else {
    if (u.domain) throw std::logic_error("a contraction of operand tiles has a domain");
    const OperandTile& left = a.operands.at(static_cast<TensorId>(pool_[c.left].payload));
    line("#pragma unroll");
    open(fmt::format("for (int rt = 0; rt < {}; ++rt)", a.row_tiles));
    if (left_by_row) line(fmt::format("quern_ldmatrix_x4(left[rt], {});", at(left, left_base, "rt * 16", "kt * 16")));
    else line(fmt::format("quern_ldmatrix_x4_trans(left[rt], {});", at(left, left_base, "kt * 16", "rt * 16")));
    close();
  }
  line("#pragma unroll");
  open(fmt::format("for (int ct = 0; ct < {}; ct += 2)", columns));
  line("unsigned right[4];");
  if (right_by_column) line(fmt::format("quern_ldmatrix_x4(right, {});", at(tile, right_base, "ct * 8", "kt * 16")));
  else line(fmt::format("quern_ldmatrix_x4_trans(right, {});", at(tile, right_base, "kt * 16", "ct * 8")));
  line("const unsigned first[2] = {right[0], right[1]}, second[2] = {right[2], right[3]};");
  line("#pragma unroll");
  open(fmt::format("for (int rt = 0; rt < {}; ++rt)", a.row_tiles));
  const char* type = c.bf16 ? "bf16" : "f16";
  line(fmt::format("quern_mma_{}({}[rt][ct], left[rt], first);", type, sum));
  line(fmt::format("quern_mma_{}({}[rt][ct + 1], left[rt], second);", type, sum));
  close();
  close();
  scopes_.pop_back();
  close();
}

}  // namespace quern::cuda
