// Nests on matrix fragments (arrange.h): each thread walks its own rows and columns, sums over columns are finished between
// the four lanes that share a row, and sums of products are matrix instructions on operand tiles and fragments.
#include <algorithm>
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

bool KernelPrinter::in_registers(TensorId t) const {
  if (rows_) return rows_->row_tiles.contains(t) || rows_->column_tiles.contains(t);
  return arranged_ && arranged_->registers.contains(t);
}

/// Of a nest on fragments: read at the point at hand, which is there whether or not it exists.
bool KernelPrinter::is_filled(TensorId t) const {
  return in_fragment_ && arranged_ && (arranged_->row_vectors.contains(t) || arranged_->elements.contains(t));
}

/// Both columns of a thread's pair in one access, where the tile has them side by side.
void KernelPrinter::load_pairs(const Nest& nest, const Dim& column) {
  std::set<std::uint32_t> seen;
  for (const Update& u : nest.updates)
    for (Expr root : {u.body, u.domain}) {
      if (!root) continue;
      compiler::for_each_node(pool_, root, [&](Expr e) {
        const Node n = pool_[e];
        const auto t = static_cast<TensorId>(n.payload);
        if (n.op != Op::read || !arranged_->elements.contains(t) || arranged_->operands.at(t).dims[1] != column.index || !seen.insert(e.id).second) return;
        const std::string name = fresh("pair");
        line(fmt::format("unsigned {};", name));
        open("");
        scopes_.emplace_back();
        line("const int e = 0;");
        declare_column(column);
        line(fmt::format("{} = *(const unsigned*)({} + ({}));", name, tensor_pointer(t), offset_text(t, n.args)));
        scopes_.pop_back();
        close();
        pairs_[e.id] = name;
      });
    }
}

/// The element of a register tile at the point at hand.
std::string KernelPrinter::register_element(TensorId t) const {
  if (rows_) return fmt::format("tile{}{}", t, rows_->row_tiles.contains(t) ? "" : "[c][e]");
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
bool KernelPrinter::fills(const Dim& dim, std::int64_t padded) const {
  const auto extent = extent_of(pool_, dim);
  if (!extent) throw std::logic_error("a dim of a fragment has no bound");
  return (!extent->limit || whole_ends_.contains(dim.end)) && extent->most >= padded;
}

std::string KernelPrinter::limit_text(const Dim& dim, std::int64_t padded) {
  if (fills(dim, padded)) return "";
  const auto extent = extent_of(pool_, dim);
  if (!extent->limit || whole_ends_.contains(dim.end)) return std::to_string(extent->most);
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
  declare_row(row);
}

void KernelPrinter::declare_row(const Dim& row, const char* of_lane) {
  line(fmt::format("const int d{} = {} * {} + rt * 16 + h * 8{};", row.index, row_warp(), 16 * arranged_->row_tiles, of_lane));
  line(fmt::format("const long long x{} = {} + d{};", row.index, value(row.begin), row.index));
  indices_[row.index] = fmt::format("x{}", row.index);
  local_begin_[row.index] = row.begin;
}

void KernelPrinter::open_columns(const Dim& column, int tiles) {
  line("#pragma unroll");
  open(fmt::format("for (int ct = 0; ct < {}; ++ct)", tiles));
  line("#pragma unroll");
  open("for (int e = 0; e < 2; ++e)");
  scopes_.emplace_back();
  declare_column(column);
}

void KernelPrinter::declare_column(const Dim& column) {
  line(fmt::format("const int d{} = {} + {} + e;", column.index, column_of_point(column.index), column_of_lane(column.index)));
  line(fmt::format("const long long x{} = {} + d{};", column.index, value(column.begin), column.index));
  indices_[column.index] = fmt::format("x{}", column.index);
  local_begin_[column.index] = column.begin;
}

void KernelPrinter::close_loops() {
  column_limits_.clear();
  column_bases_.clear();
  scopes_.pop_back();
  close();
  close();
}

void KernelPrinter::forget(const Dim& dim) {
  indices_.erase(dim.index);
  local_begin_.erase(dim.index);
}

/// A read of an input that depends on the task alone and is in range whatever stands around it.
bool KernelPrinter::is_constant_of_task(Expr read) const {
  const Node& n = pool_[read];
  const auto t = static_cast<TensorId>(n.payload);
  if (program_.tensors[t].role != Role::input || (n.flags & kChecked) || !is_always_inside(t, n.args)) return false;
  for (const auto& [in, out] : shared_.may_share) if (in == t) return false;
  for (const auto& [index, begin] : local_begin_) if (pool_.depends_on(read, index)) return false;
  return !pool_.depends_on(read, arranged_->row) && !column_in(read);
}

/// Evaluates ahead of the columns what does not depend on them: only what registers give may be read early.
void KernelPrinter::hoist(Expr e, IndexId column, const std::set<TensorId>& written) {
  if (!e) return;
  const Node n = pool_[e];
  if (n.args.empty() || n.op == Op::previous || n.op == Op::accumulator) return;
  if (const auto folded = scaled_difference(e)) hoist(pool_.mul(folded->from, folded->by), column, written);
  if (!pool_.depends_on(e, column)) {
    bool safe = true;
    compiler::for_each_node(pool_, e, [&](Expr at) {
      const Node& x = pool_[at];
      if (x.op == Op::accumulator || x.op == Op::previous) safe = false;
      if (x.op != Op::read) return;
      const auto t = static_cast<TensorId>(x.payload);
      safe &= in_registers(t) || is_filled(t) ? !written.contains(t) : is_constant_of_task(at);
    });
    if (safe) {
      value(e);
      return;
    }
  }
  if (const auto limit = column_limit_of(e); limit) {
    hoist_limit(e, *limit);
    return;
  }
  if (const auto base = column_base_of(e); base) {
    hoist_base(e, *base);
    return;
  }
  for (Expr a : n.args) hoist(a, column, written);
}

/// The column index that the expression depends on.
std::optional<IndexId> KernelPrinter::column_in(Expr e) const {
  for (const auto& entry : arranged_->column_tiles)
    if (pool_.depends_on(e, entry.first)) return entry.first;
  return std::nullopt;
}

/// `e` at the first column, where e is that plus the column's count.
std::optional<Expr> KernelPrinter::at_first_column(Expr e) {
  const auto index = column_in(e);
  if (!index || !column_begin_ || touches_memory(e)) return std::nullopt;
  const Expr there = pool_.substitute(e, {{*index, column_begin_}});
  const Expr count = pool_.sub(pool_.index(*index), column_begin_);
  if (constant_difference(pool_, e, pool_.add(there, count)) != 0) return std::nullopt;
  return there;
}

/// A comparison of a column index, plus what does not depend on it, with something that does not: the bound of the column's
/// count. Counts are 32 bits, so that each point costs one comparison.
std::optional<Expr> KernelPrinter::column_limit_of(Expr e) {
  const Node n = pool_[e];
  if (n.op != Op::lt && n.op != Op::le && n.op != Op::gt && n.op != Op::ge) return std::nullopt;
  if (pool_.type(n.args[0]) != DType::i64 || column_in(n.args[1]) || touches_memory(n.args[1])) return std::nullopt;
  const auto there = at_first_column(n.args[0]);
  return there ? std::optional(pool_.sub(n.args[1], *there)) : std::nullopt;
}

/// f32(i64 with the column in it, once): the part that does not change along a row; conversions of 64 bits are slow.
std::optional<Expr> KernelPrinter::column_base_of(Expr e) {
  const Node n = pool_[e];
  if (n.op != Op::cast || n.type != DType::f32 || pool_.type(n.args[0]) != DType::i64) return std::nullopt;
  return at_first_column(n.args[0]);
}

/// The base as two floats whose sum it is: adding the counts of row and column to one is exact, the other then rounds once.
/// A base that moves with the row is taken at the block's first row: what is left depends on the thread alone.
void KernelPrinter::hoist_base(Expr e, Expr base) {
  const IndexId row = arranged_->row;
  std::string of_thread = column_of_lane(*column_in(e)), of_point = column_of_point(*column_in(e)) + " + e";
  if (pool_.depends_on(base, row)) {
    const Expr begin = local_begin_.at(row), there = pool_.substitute(base, {{row, begin}}), count = pool_.sub(pool_.index(row), begin);
    const bool up = constant_difference(pool_, base, pool_.add(there, count)) == 0;
    if (up || constant_difference(pool_, base, pool_.sub(there, count)) == 0) {
      const char* sign = up ? "+" : "-";
      of_thread += fmt::format(" {} ({} * {} + lane / 4)", sign, row_warp(), 16 * arranged_->row_tiles);
      of_point += fmt::format(" {} (rt * 16 + h * 8)", sign);
      base = there;
    }
  }
  const std::string name = fresh("from");
  line(fmt::format("const long long {} = {};", name, value(base)));
  line(fmt::format("const float {}_high = (float){};", name, name));
  line(fmt::format("const float {}_low = (float)({} - (long long){}_high + ({}));", name, name, name, of_thread));
  column_bases_[e.id] = fmt::format("{}_high + ({}_low + (float)({}))", name, name, of_point);
}

void KernelPrinter::hoist_limit(Expr e, Expr limit) {
  const std::string name = fresh("bound");
  line(fmt::format("const int {} = (int)min(max({}, -1073741824ll), 1073741824ll);", name, value(limit)));
  column_limits_[e.id] = name;
}

/// The maximum of a row of scores and what it was before: integers order floats that are not all negative, NaN as the
/// machine makes it (0x7fffffff) above all, and sm_90 takes three of them in one instruction. Whether it printed the nest.
bool KernelPrinter::largest_by_integers(const Nest& nest, const Dim& row, const Dim& column) {
  if (nest.updates.size() != 1) return false;
  const Update& u = nest.updates[0];
  const Node body = pool_[u.body];
  if (u.kind != UpdateKind::reduce || u.reducer != Reducer::max || u.domain || u.result || !u.start || body.op != Op::read || body.type != DType::f32 || pool_.type(u.start) != DType::f32) return false;
  const auto scores = static_cast<TensorId>(body.payload);
  // What comes out of arithmetic has no other NaN.
  if (!scores_.contains(scores) || arranged_->registers.at(scores).size() != 2 || pool_.depends_on(u.start, column.index) || !fills(column, arranged_->columns(column.index))) return false;
  const int tiles = arranged_->column_tiles.at(column.index);
  const std::string at = fmt::format("tile{}[0]", scores);
  // Both rows of a lane side by side: shuffles and the vote are on the way of everything else.
  open("");
  line("const int rt = 0;");
  line("float before[2], largest[2];");
  line("int top[2];");
  auto each_row = [&](auto body) {
    line("#pragma unroll");
    open("for (int h = 0; h < 2; ++h)");
    scopes_.emplace_back();
    declare_row(row);
    body();
    scopes_.pop_back();
    close();
  };
  each_row([&] {
    line(fmt::format("before[h] = {};", value(u.start)));
    line("int two[2] = {__float_as_int(before[h]), __float_as_int(before[h])};");
    line("#pragma unroll");
    line(fmt::format("for (int ct = 0; ct < {1}; ++ct) two[ct % 2] = max(max(__float_as_int({0}[ct][h * 2]), __float_as_int({0}[ct][h * 2 + 1])), two[ct % 2]);", at, tiles));
    line("top[h] = max(two[0], two[1]);");
  });
  for (const int step : {2, 1}) {
    line("#pragma unroll");
    line(fmt::format("for (int h = 0; h < 2; ++h) top[h] = max(top[h], __shfl_xor_sync(0xffffffffu, top[h], {}));", step));
  }
  line("#pragma unroll");
  line("for (int h = 0; h < 2; ++h) largest[h] = __int_as_float(top[h]);");
  open("if (__any_sync(0xffffffffu, (top[0] | top[1]) < 0))");
  each_row([&] {
    line("largest[h] = before[h];");
    line("#pragma unroll");
    line(fmt::format("for (int ct = 0; ct < {1}; ++ct) largest[h] = max_f32(largest[h], max_f32({0}[ct][h * 2], {0}[ct][h * 2 + 1]));", at, tiles));
    for (const int step : {2, 1}) line(fmt::format("largest[h] = max_f32(largest[h], quern_shuffle_xor(0xffffffffu, largest[h], {}));", step));
  });
  close();
  each_row([&] { line(fmt::format("{} = largest[h];", register_element(u.target))); });
  close();
  forget(row);
  return true;
}

/// Functions that are cheaper for small arguments: the nest twice, behind one vote of the warp. Whether it printed the nest.
bool KernelPrinter::by_size_of_arguments(const Nest& nest, const Dim& row, const Dim& column) {
  // Those of each point. Others, and what becomes of sums, have arguments that no vote is about.
  std::set<Expr> functions;
  for (const Update& u : nest.updates)
    compiler::for_each_node(pool_, u.body, [&](Expr e) {
      const Node& n = pool_[e];
      if (n.type == DType::f32 && small_form(n.op) && pool_.depends_on(e, column.index)) functions.insert(e);
    });
  if (functions.empty()) return false;
  open("");
  line("bool large = false;");
  open_rows(row);
  open_columns(column, arranged_->column_tiles.at(column.index));
  for (Expr e : functions) line(fmt::format("large |= fabsf({}) > {};", value(pool_[e].args[0]), literal_real(small_form(pool_[e].op)->limit, DType::f32)));
  close_loops();
  close_loops();
  for (const bool small : {true, false}) {
    open(small ? "if (!__any_sync(0xffffffffu, large))" : "else");
    scopes_.emplace_back();
    small_arguments_.clear();
    if (small) small_arguments_ = functions;
    voted_ = true;
    fragment_nest(nest);
    voted_ = false;
    scopes_.pop_back();
    close();
  }
  close();
  return true;
}

void KernelPrinter::fragment_nest(const Nest& nest) {
  const Arrangement& a = *arranged_;
  const Dim* row = nullptr;
  const Dim* column = nullptr;
  for (const Dim& d : nest.dims) (d.index == a.row ? row : column) = &d;
  if (column)
    for (const bool along_rows : {false, true})
      if (stores_quads(nest, along_rows ? *row : *column)) return quad_nest(nest, *row, *column, along_rows);
  bool memory = false, sums_columns = false;
  std::set<TensorId> written;
  for (const Update& u : nest.updates) {
    sums_columns |= !u.over.empty();
    auto target = [&](TensorId t) { memory |= !in_registers(t); written.insert(t); };
    if (u.has_value_target) target(u.target);
    if (u.has_position_target) target(u.position_target);
    for (Expr e : {u.body, u.domain, u.start, u.result}) memory |= touches_memory(e);
  }
  if (column && schedule_ && !memory && largest_by_integers(nest, *row, *column)) return;
  if (column && !memory && !voted_ && by_size_of_arguments(nest, *row, *column)) return;
  if (a.f32 && column && best_of_columns(nest, *row, *column, memory)) return;
  const std::string row_limit = memory ? limit_text(*row, a.rows()) : "";
  const int tiles = column ? a.column_tiles.at(column->index) : 0;
  const std::string column_limit = column && (memory || sums_columns) ? limit_text(*column, a.columns(column->index)) : "";
  if (meets_column_warps(nest)) line(meet_);  // the exchange is free
  if (a.f32 && column) load_columns(nest, *row, *column, column_limit);
  const auto of_columns = vector_reads_;
  open_rows(*row);
  const bool guard_row = !row_limit.empty();
  if (guard_row) open(fmt::format("if (d{} < {})", row->index, row_limit));
  scopes_.emplace_back();
  std::vector<Accumulation> sums;
  std::vector<Accumulation> met;  // by warps side by side
  if (column) {
    column_begin_ = column->begin;
    for (const Update& u : nest.updates)
      for (Expr e : {u.body, u.domain}) hoist(e, column->index, written);
    begin_sums(nest, sums, 2);  // a chain for each column of a thread's pair
    line("#pragma unroll");
    open(fmt::format("for (int ct = 0; ct < {}; ++ct)", tiles));
    if (memory) {
      // The two columns of a thread lie side by side.
      open("");
      scopes_.emplace_back();
      line("const int e = 0;");
      declare_column(*column);
      line(fmt::format("const int valid = {};", column_limit.empty() ? "2" : fmt::format("{} - d{}", column_limit, column->index)));
      load_vectors(nest, column->index, 2);
      prepare_stores(nest, column->index, 2);
      scopes_.pop_back();
      for (Scope& scope : scopes_) std::erase_if(scope.names, [&](const auto& entry) { return pool_.depends_on(Expr{entry.first}, column->index); });
    }
    load_pairs(nest, *column);
    line("#pragma unroll");
    open("for (int e = 0; e < 2; ++e)");
    scopes_.emplace_back();
    declare_column(*column);
    const bool positions = std::any_of(nest.updates.begin(), nest.updates.end(), [](const Update& u) { return u.has_position_target; });
    const bool branch = !column_limit.empty() && (memory || positions);
    if (branch) open(fmt::format("if (d{} < {})", column->index, column_limit));
    else if (!column_limit.empty()) column_guard_ = fmt::format("d{} < {}", column->index, column_limit);
    at_point(nest, sums);
    column_guard_.clear();
    if (branch) close();
    scopes_.pop_back();
    close();
    pairs_.clear();
    if (memory) {
      store_vectors();
      vector_reads_ = of_columns;
      vector_stores_.clear();
      close();
    }
    close();
    for (Accumulation& s : sums) {
      const Update& u = nest.updates[s.update];
      const std::string at = s.position.empty() ? "" : s.position.substr(0, s.position.find('['));
      s.value = s.stem + "[0]";
      if (s.position.empty()) {
        line(fmt::format("{} = {};", s.value, combined(u, s.type, s.value, s.stem + "[1]")));
      } else {
        s.position = at + "[0]";
        line(fmt::format("quern_{}({}, {}, {}[1], {}[1]);", name(u.reducer), s.value, s.position, s.stem, at));
      }
      Split quad;
      quad.team = 4;
      // A mask that is no constant costs far more than the shuffle: only where rows beyond the end have left.
      if (guard_row) line(fmt::format("const unsigned team_mask_{} = {};", s.stem, quad_mask()));
      team_mask_ = guard_row ? "team_mask_" + s.stem : "0xffffffffu";
      if (!is_in_parts(u.target)) combine_team(quad, u, s);
      team_mask_ = "team_mask";
      if (a.column_warps > 1 && !is_in_parts(u.target)) {
        pass_to_column_warps(s, met.size(), fmt::format("d{}", row->index));
        met.push_back(s);
        continue;
      }
      const bool to_memory = (u.has_value_target && !in_registers(u.target)) || (u.has_position_target && !in_registers(u.position_target));
      if (to_memory) open(fmt::format("if ({})", first_of_row()));
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
      if (alone) open(fmt::format("if ({})", first_of_row()));
      at_point(one, sums);
      if (alone) close();
    }
  }
  scopes_.pop_back();
  if (guard_row) close();
  close_loops();
  if (!met.empty()) {
    line(meet_);
    open_rows(*row);
    if (guard_row) open(fmt::format("if (d{} < {})", row->index, row_limit));
    scopes_.emplace_back();
    for (std::size_t k = 0; k < met.size(); ++k) {
      const Update& u = nest.updates[met[k].update];
      take_from_column_warps(u, met[k], k, fmt::format("d{}", row->index));
      if (in_registers(u.target)) open("");
      else open(fmt::format("if ({})", first_of_row()));
      finish(u, met[k]);
      close();
    }
    scopes_.pop_back();
    if (guard_row) close();
    close_loops();
  }
  vector_reads_.clear();
  forget(*row);
  if (column) forget(*column);
}

bool KernelPrinter::is_in_parts(TensorId t) const {
  return std::any_of(part_sums_.begin(), part_sums_.end(), [&](const auto& of_loop) { return of_loop.second.contains(t); });
}

/// Behind the loop: the sums whose parts four lanes hold.
void KernelPrinter::combine_parts(const tile::For& loop) {
  const auto of_loop = part_sums_.find(&loop);
  if (of_loop == part_sums_.end()) return;
  const bool meet = arranged_->column_warps > 1;
  if (meet) line(meet_);
  line("#pragma unroll");
  open(fmt::format("for (int rt = 0; rt < {}; ++rt)", arranged_->row_tiles));
  line("#pragma unroll");
  open("for (int h = 0; h < 2; ++h)");
  for (TensorId t : of_loop->second)
    for (const int step : {2, 1}) line(fmt::format("tile{0}[rt][h] += shuffle_xor(tile{0}[rt][h], {1});", t, arranged_->swapped_lanes() && step == 2 ? 4 : step));
  std::vector<Accumulation> sums;
  for (TensorId t : of_loop->second) {
    Accumulation sum;
    sum.stem = fresh("sum");
    sum.value = fmt::format("tile{}[rt][h]", t);
    sums.push_back(sum);
  }
  const std::string row = fmt::format("{} * {} + rt * 16 + h * 8 + lane / 4", row_warp(), 16 * arranged_->row_tiles);
  if (meet)
    for (std::size_t k = 0; k < sums.size(); ++k) pass_to_column_warps(sums[k], k, row);
  close();
  close();
  if (meet) {
    line(meet_);
    line("#pragma unroll");
    open(fmt::format("for (int rt = 0; rt < {}; ++rt)", arranged_->row_tiles));
    line("#pragma unroll");
    open("for (int h = 0; h < 2; ++h)");
    Update sum;
    for (std::size_t k = 0; k < sums.size(); ++k) {
      const std::string to = sums[k].value;
      take_from_column_warps(sum, sums[k], k, row);
      line(fmt::format("{} = {};", to, sums[k].value));
    }
    close();
    close();
  }
  part_sums_.erase(of_loop);
}

const Dim& KernelPrinter::dim_of(const Nest& nest, IndexId index) {
  for (const Dim& d : nest.dims) if (d.index == index) return d;
  throw std::logic_error("a nest lacks a dim");
}

/// What the sums of a contraction start from.
void KernelPrinter::start_sums(const Nest& nest) {
  const Contraction& c = arranged_->contractions.at(&nest);
  const Update& u = nest.updates[0];
  const Dim &row = dim_of(nest, arranged_->row), &column = dim_of(nest, c.column);
  open_rows(row);
  column_begin_ = column.begin;
  if (u.start) hoist(u.start, c.column, {u.target});
  open_columns(column, arranged_->column_tiles.at(c.column));
  const std::string from = u.start ? cast_text(pool_.type(u.start), DType::f32, value(u.start)) : "0.0f";
  line(fmt::format("tile{}[rt][ct][h * 2 + e] = {};", u.target, from));
  close_loops();
  close_loops();
  forget(row);
  forget(column);
}

void KernelPrinter::contraction_nest(const Nest& nest) {
  const Arrangement& a = *arranged_;
  if (a.f32) return fma_nest(nest);
  const Contraction& c = a.contractions.at(&nest);
  const Update& u = nest.updates[0];
  const Dim &row = dim_of(nest, a.row), &inner = dim_of(nest, c.inner);
  const int columns = a.column_tiles.at(c.column);
  const int steps = static_cast<int>((extent_of(pool_, inner)->most + 15) / 16);
  const std::string sum = fmt::format("tile{}", u.target);

  start_sums(nest);

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
  const std::string row_limit = c.left_in_registers && (touches_memory(u.domain) || touches_memory(c.left)) ? limit_text(row, a.rows()) : "";
  // Fragments come from shared memory two products ahead of their use.
  const int pairs = columns / 2;
  line(fmt::format("unsigned right[3][4], left[2][{}][4];", a.row_tiles));
  auto load_right = [&](const std::string& step) {
    const std::string kt = fmt::format("(({}) / {})", step, pairs), ct = fmt::format("(({}) % {} * 2)", step, pairs);
    if (right_by_column) line(fmt::format("quern_ldmatrix_x4(right[({}) % 3], {});", step, at(tile, right_base, ct + " * 8", kt + " * 16")));
    else line(fmt::format("quern_ldmatrix_x4_trans(right[({}) % 3], {});", step, at(tile, right_base, kt + " * 16", ct + " * 8")));
  };
  auto load_left = [&](const std::string& kt) {
    const OperandTile& left = a.operands.at(static_cast<TensorId>(pool_[c.left].payload));
    line("#pragma unroll");
    open(fmt::format("for (int rt = 0; rt < {}; ++rt)", a.row_tiles));
    if (left_by_row) line(fmt::format("quern_ldmatrix_x4(left[({}) % 2][rt], {});", kt, at(left, left_base, "rt * 16", "(" + kt + ") * 16")));
    else line(fmt::format("quern_ldmatrix_x4_trans(left[({}) % 2][rt], {});", kt, at(left, left_base, "(" + kt + ") * 16", "rt * 16")));
    close();
  };
  if (!c.left_in_registers) load_left("0");
  load_right("0");
  if (steps * pairs > 1) load_right("1");
  line("#pragma unroll");
  open(fmt::format("for (int kt = 0; kt < {}; ++kt)", steps));
  scopes_.emplace_back();
  if (c.left_in_registers) {
    left_fragments(nest, c, row, inner, inner_limit, row_limit, "left[kt % 2][rt]");
  } else if (steps > 1) {
    open(fmt::format("if (kt + 1 < {})", steps));
    load_left("kt + 1");
    close();
  }
  line("#pragma unroll");
  open(fmt::format("for (int pair = 0; pair < {}; ++pair)", pairs));
  line(fmt::format("const int step = kt * {} + pair;", pairs));
  open(fmt::format("if (step + 2 < {})", steps * pairs));
  load_right("step + 2");
  close();
  line("const unsigned (&now)[4] = right[step % 3];");
  line("const unsigned first[2] = {now[0], now[1]}, second[2] = {now[2], now[3]};");
  line("#pragma unroll");
  open(fmt::format("for (int rt = 0; rt < {}; ++rt)", a.row_tiles));
  const char* type = c.bf16 ? "bf16" : "f16";
  line(fmt::format("quern_mma_{}({}[rt][pair * 2], left[kt % 2][rt], first);", type, sum));
  line(fmt::format("quern_mma_{}({}[rt][pair * 2 + 1], left[kt % 2][rt], second);", type, sum));
  close();
  close();
  scopes_.pop_back();
  close();
}

/// The left factor of step kt from what its threads hold: rounded and packed, zeros where there is no point.
void KernelPrinter::left_fragments(const Nest& nest, const Contraction& c, const Dim& row, const Dim& inner, const std::string& inner_limit,
                                   const std::string& row_limit, const std::string& to) {
  const Update& u = nest.updates[0];
  open_rows(row);
  column_begin_ = inner.begin;
  hoist(c.left, c.inner, {});
  hoist(u.domain, c.inner, {});
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
  if (pool_[left].op == Op::cast && (pool_[left].type == (c.bf16 ? DType::bf16 : DType::f16) || (pool_[left].flags & kAllowed))) left = pool_[left].args[0];
  if (!touches_memory(u.domain) && !touches_memory(left)) {
    const std::string x = cast_text(pool_.type(left), DType::f32, value(left));
    std::string in = u.domain ? value(u.domain) : "";
    if (!inner_limit.empty()) in += fmt::format("{}d{} < {}", in.empty() ? "" : " && ", inner.index, inner_limit);
    line(fmt::format("pair[e] = {};", in.empty() ? x : fmt::format("{} ? {} : 0.0f", in, x)));
  } else {
    // What the domain reads is read for points that exist only.
    std::vector<std::string> guards;
    if (!inner_limit.empty()) guards.push_back(fmt::format("d{} < {}", inner.index, inner_limit));
    if (!row_limit.empty()) guards.push_back(fmt::format("d{} < {}", row.index, row_limit));
    if (!guards.empty() || u.domain) line("pair[e] = 0.0f;");
    if (!guards.empty()) open(fmt::format("if ({})", fmt::join(guards, " && ")));
    scopes_.emplace_back();
    const int opened = open_domain(u.domain);
    line(fmt::format("pair[e] = {};", cast_text(pool_.type(left), DType::f32, value(left))));
    close_domain(opened);
    scopes_.pop_back();
    if (!guards.empty()) close();
  }
  scopes_.pop_back();
  close();
  line(fmt::format("{}[side * 2 + h] = {}x2_bits(pair[0], pair[1]);", to, c.bf16 ? "bf16" : "f16"));
  close();
  close_loops();
  forget(row);
  forget(inner);
}

}  // namespace quern::cuda
