// What happens to results of f32 products on fragments (fma_products.cpp) besides what fragments.cpp does for all kinds: blocks
// that are whole have text of their own, without a test at each of a hundred points; what a column brings from memory is read
// once for all rows; the best column of a row is found by its value first, and searched only where it beats the row's best so far.
#include <algorithm>
#include <ranges>

#include <fmt/format.h>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Dim;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

/// A nest that reads or writes memory, of which a block may end early.
void KernelPrinter::whole_or_not(const Nest& nest) {
  if (std::ranges::any_of(nest.dims, [&](const Dim& d) { return partial_ends_.contains(d.end); })) return fragment_nest(nest);
  std::string whole;
  std::set<Expr> ends;
  for (const Dim& d : nest.dims) {
    const auto extent = extent_of(pool_, d);
    if (!extent || !extent->limit || whole_ends_.contains(d.end)) continue;
    whole += fmt::format("{}{} - {} >= {}", whole.empty() ? "" : " && ", value(extent->limit), value(d.begin), extent->most);
    ends.insert(d.end);
  }
  const Touched t = touched_by(nest);
  const bool memory = !t.written.empty() || std::ranges::any_of(t.read, [&](TensorId x) { return !is_filled(x); });
  if (whole.empty() || !memory || nest.dims.size() < 2) return fragment_nest(nest);
  open(fmt::format("if ({})", whole));
  scopes_.emplace_back();
  auto known = whole_ends_;
  known.insert(ends.begin(), ends.end());
  std::swap(known, whole_ends_);
  fragment_nest(nest);
  std::swap(known, whole_ends_);
  scopes_.pop_back();
  close();
  open("else");
  scopes_.emplace_back();
  fragment_nest(nest);
  scopes_.pop_back();
  close();
}

/// Reads along the columns that are the same for all rows, ahead of the rows.
void KernelPrinter::load_columns(const Nest& nest, const Dim& row, const Dim& column, const std::string& column_limit) {
  const Touched touched = touched_by(nest);
  for (Expr e : reads_along(nest, column.index)) {
    const Node n = pool_[e];
    const auto t = static_cast<TensorId>(n.payload);
    bool same = !pool_.depends_on(e, row.index) && !(n.flags & kChecked) && !touched.written.contains(t) && !arranged_->elements.contains(t);
    for (const auto& [in, out] : shared_.may_share) same &= in != t || !touched.written.contains(out);
    if (!same) continue;
    const int tiles = arranged_->column_tiles.at(column.index);
    const std::string name = fresh("w");
    line(fmt::format("quern_vector<{}, 2> {}[{}];", stored_type(n.type), name, tiles));
    line("#pragma unroll");
    open(fmt::format("for (int ct = 0; ct < {}; ++ct)", tiles));
    scopes_.emplace_back();
    line("const int e = 0;");
    declare_column(column);
    line(fmt::format("quern_load({}[ct], {} + ({}), {});", name, tensor_pointer(t), offset_text(t, n.args), column_limit.empty() ? "2" : fmt::format("{} - d{}", column_limit, column.index)));
    scopes_.pop_back();
    close();
    forget(column);
    vector_reads_[e.id] = name + "[ct]";
  }
}

/// argmin and argmax over whole blocks of columns. Whether it printed the nest.
bool KernelPrinter::best_of_columns(const Nest& nest, const Dim& row, const Dim& column, bool memory) {
  const bool found = std::ranges::any_of(nest.updates, [](const Update& u) { return u.has_position_target; });
  const bool plain = std::ranges::all_of(nest.updates, [](const Update& u) { return u.kind == UpdateKind::reduce && !u.domain; });
  if (!found || !plain || arranged_->column_warps > 1 || !fills(column, arranged_->columns(column.index))) return false;
  if (nest.updates.size() > 1) {
    for (const Update& u : nest.updates) {
      Nest one;
      one.dims = nest.dims;
      one.updates = {u};
      open("");
      scopes_.emplace_back();
      fragment_nest(one);
      scopes_.pop_back();
      close();
    }
    return true;
  }
  const Update& u = nest.updates[0];
  const Node position = pool_[u.position];
  const bool in_place = in_registers(u.position_target) && (!u.has_value_target || in_registers(u.target));
  if (pool_.type(u.body) != DType::f32 || accumulator_type(u) != DType::f32 || u.result || !in_place || position.op != Op::index || static_cast<IndexId>(position.payload) != column.index) return false;
  const int tiles = arranged_->column_tiles.at(column.index);
  const bool least = u.reducer == Reducer::argmin;
  const char* better = least ? "min_f32" : "max_f32";
  const std::string row_limit = memory ? limit_text(row, arranged_->rows()) : "";
  load_columns(nest, row, column, "");
  const auto of_columns = vector_reads_;
  open_rows(row);
  if (!row_limit.empty()) open(fmt::format("if (d{} < {})", row.index, row_limit));
  scopes_.emplace_back();
  column_begin_ = column.begin;
  hoist(u.body, column.index, {u.target, u.position_target});
  line(fmt::format("const unsigned quad = {};", quad_mask()));
  line(fmt::format("float best = {}, all[{}][2];", identity(u.reducer, DType::f32), tiles));
  line("#pragma unroll");
  open(fmt::format("for (int ct = 0; ct < {}; ++ct)", tiles));
  if (memory) {
    open("");
    scopes_.emplace_back();
    line("const int e = 0, valid = 2;");
    declare_column(column);
    load_vectors(nest, column.index, 2);
    scopes_.pop_back();
    for (Scope& scope : scopes_) std::erase_if(scope.names, [&](const auto& entry) { return pool_.depends_on(Expr{entry.first}, column.index); });
  }
  load_pairs(nest, column);
  line("#pragma unroll");
  open("for (int e = 0; e < 2; ++e)");
  scopes_.emplace_back();
  declare_column(column);
  line(fmt::format("all[ct][e] = {};", value(u.body)));
  line(fmt::format("best = {}(best, all[ct][e]);", better));
  scopes_.pop_back();
  close();
  pairs_.clear();
  vector_reads_ = of_columns;
  if (memory) close();
  close();
  for (const int step : {2, 1}) line(fmt::format("best = {}(best, quern_shuffle_xor(quad, best, {}));", better, quad_step(step)));
  Accumulation s;
  s.type = DType::f32;
  s.stem = "best";
  s.value = "best";
  s.position = "at";
  // What does not beat the row's best changes nothing: later columns lose against equal ones.
  if (u.start) open(fmt::format("if (!(best {} {}) || {} < 0)", least ? ">=" : "<=", value(u.start), u.start_position ? "(int)" + value(u.start_position) : "-1"));
  else open("");
  scopes_.emplace_back();
  const bool wide = arranged_->wide_columns.contains(column.index);
  line("int at = 0x7fffffff;");
  line("#pragma unroll");
  line(fmt::format("for (int c = {}; c >= 0; --c) if (all[c / 2][c % 2] == best || all[c / 2][c % 2] != all[c / 2][c % 2]) at = {} + c % 2 + {};", 2 * tiles - 1, wide ? "c / 4 * 16 + c / 2 % 2 * 2" : "c / 2 * 8", column_of_lane(column.index)));
  for (const int step : {2, 1}) line(fmt::format("at = min(at, quern_shuffle_xor(quad, at, {}));", quad_step(step)));
  line(fmt::format("at = (int)({} + at);", value(column.begin)));
  finish(u, s);
  scopes_.pop_back();
  close();
  scopes_.pop_back();
  if (!row_limit.empty()) close();
  close_loops();
  vector_reads_.clear();
  forget(row);
  forget(column);
  return true;
}

}  // namespace quern::cuda
