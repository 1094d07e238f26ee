// The text of a kernel whose rows are in registers (rows.cpp): who has which row, the loads, the nests one after the other,
// sums over a team that end in all of its threads.
#include <algorithm>

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

std::string KernelPrinter::run_rows() {
  if (!find_rows()) return "";
  const Rows& rows = *rows_;
  launch.entry += "_rows";
  launch.shared_bytes = launch.slab_bytes = launch.zeroed_bytes = pool_.integer(0);
  const Expr extent = pool_.max(pool_.sub(rows.end, rows.begin), pool_.integer(0));
  Expr count = pool_.integer(1);
  std::vector<std::string> counts;
  for (const tile::GridDim& g : kernel_.grid) {
    const Expr own = pool_.max(pool_.integer(0), pool_.sub(g.end, g.begin));
    count = pool_.mul(count, own);
    counts.push_back(value(own));
  }
  // Rows of a block: as many as its threads can take.
  Expr teams = pool_.integer(rows.width ? launch.threads / rows.width : 1);
  if (!rows.width)
    for (int width = launch.threads / 2; width >= 8; width /= 2)
      teams = pool_.where(pool_.apply(Op::le, {extent, pool_.integer(std::int64_t{width} * rows.each())}), pool_.integer(launch.threads / width), teams);
  const Expr runs = kernel_.when ? pool_.both(kernel_.when, rows.fit) : rows.fit;
  launch.tasks = pool_.where(runs, pool_.apply(Op::floordiv, {pool_.add(count, pool_.sub(teams, pool_.integer(1))), teams}), pool_.integer(0));

  line(fmt::format("const int extent = (int){};", value(extent)));
  if (rows.width) {
    line(fmt::format("const int width = {};  // threads of a row", rows.width));
    line(fmt::format("const int member = thread % {}, team = thread / {}, teams = {};", rows.width, rows.width, launch.threads / rows.width));
  } else {
    line(fmt::format("const int shift = max(3, 32 - __clz((extent - 1) / {}));", rows.each()));
    line("const int width = 1 << shift;  // threads of a row");
    line(fmt::format("const int member = thread & (width - 1), team = thread >> shift, teams = {} >> shift;", launch.threads));
  }
  line(fmt::format("const long long rows = {};", value(count)));
  // No loop over tasks: what would be the same in every pass would take registers.
  line("const long long task = blockIdx.x;");
  line("const bool there = task * teams + team < rows;");
  line("long long rest = min(task * teams + team, rows - 1);");
  for (std::size_t k = kernel_.grid.size(); k-- > 0;) {
    const tile::GridDim& g = kernel_.grid[k];
    line(fmt::format("const long long x{} = {} + {};", g.index, value(g.begin), k == 0 ? "rest" : fmt::format("quern_split(rest, {})", counts[k])));
    indices_[g.index] = fmt::format("x{}", g.index);
    for (const auto& [index, dim] : rows.of_grid) if (dim == k) indices_[index] = indices_[g.index];
  }
  for (TensorId t : rows.row_tiles) line(fmt::format("{} tile{};  // {}, of the row", value_type(program_.tensors[t].type), t, program_.tensors[t].name));
  for (TensorId t : rows.column_tiles)
    line(fmt::format("{} tile{}[{}][{}];  // {}, this thread's part", value_type(program_.tensors[t].type), t, rows.chunks, rows.vector, program_.tensors[t].name));
  // The first of this thread's columns, for addresses.
  const auto first_column = [&] {
    line(fmt::format("const int d{} = member * {};", rows.column, rows.vector));
    line(fmt::format("const long long x{} = {} + d{};", rows.column, value(rows.begin), rows.column));
    indices_[rows.column] = fmt::format("x{}", rows.column);
  };
  first_column();
  for (Expr e : rows.held) hold(e, fmt::format("held{}", e.id));
  int passes = 0;
  for (const tile::Statement& s : kernel_.body) row_nest(std::get<Nest>(s.node), passes);
  vector_reads_.clear();
  return function(fmt::format("{}, {}", launch.threads, std::max(1, 1024 / launch.threads)));
}

/// Every piece of a thread's part of a read, loaded into registers at once.
void KernelPrinter::hold(Expr e, const std::string& name) {
  const Node n = pool_[e];
  const auto tensor = static_cast<TensorId>(n.payload);
  scopes_.emplace_back();
  line(fmt::format("quern_vector<{}, {}> {}[{}];", stored_type(n.type), rows_->vector, name, rows_->chunks));
  line(fmt::format("quern_load_chunks<{}>({}, {} + ({}), width * {}, extent - member * {});", rows_->exact, name, tensor_pointer(tensor), offset_text(tensor, n.args),
                   rows_->vector, rows_->vector));
  vector_reads_[e.id] = name + "[c]";
  scopes_.pop_back();
}

/// Some read of the tensor is made after the first nests began.
bool KernelPrinter::reads_unheld(TensorId tensor) const {
  bool found = false;
  auto look = [&](Expr root) {
    if (root) compiler::for_each_node(pool_, root, [&](Expr e) {
      found |= pool_[e].op == Op::read && static_cast<TensorId>(pool_[e].payload) == tensor && std::find(rows_->held.begin(), rows_->held.end(), e) == rows_->held.end();
    });
  };
  for (const tile::Statement& s : kernel_.body)
    for (const Update& u : std::get<Nest>(s.node).updates)
      for (Expr e : {u.body, u.domain, u.start, u.result, u.position, u.start_position}) look(e);
  return found;
}

void KernelPrinter::store_row(TensorId tensor, const std::vector<Expr>& subscripts, const std::string& text, DType from) {
  if (in_registers(tensor)) return store(tensor, subscripts, text, from);
  open("if (member == 0 && there)");
  scopes_.emplace_back();
  store(tensor, subscripts, text, from);
  scopes_.pop_back();
  close();
}

/// A nest without columns: every thread of a team computes the same.
void KernelPrinter::row_values(const Nest& nest) {
  for (const Update& u : nest.updates) {
    open("");
    scopes_.emplace_back();
    const int guards = open_domain(u.domain);
    const std::string x = value(u.body);
    store_row(u.target, u.subscripts, x, pool_.type(u.body));
    close_domain(guards);
    scopes_.pop_back();
    close();
  }
}

void KernelPrinter::row_nest(const Nest& nest, int& passes) {
  const Rows& rows = *rows_;
  for (const auto& [in, out] : shared_.may_share)
    if (touched_by(nest).written.contains(out) && reads_unheld(in)) {
      line("__syncthreads();");
      break;
    }
  if (!nest.note.empty()) line(comment(nest.note));
  open("");
  scopes_.emplace_back();
  const bool walks = std::any_of(nest.dims.begin(), nest.dims.end(), [&](const Dim& d) { return d.index == rows.column; });
  if (!walks) {
    row_values(nest);
    scopes_.pop_back();
    close();
    return;
  }
  const auto held = vector_reads_;
  const Touched touched = touched_by(nest);
  std::vector<Accumulation> sums;
  begin_sums(nest, sums);
  for (const Update& u : nest.updates)
    for (Expr e : {u.body, u.domain}) hoist_tiles(e, {rows.column}, touched.written);
  // Reads of this nest alone: whole parts as long as they find room.
  int words = 0;
  for (Expr e : reads_along(nest, rows.column)) {
    if (vector_reads_.contains(e.id) || (pool_[e].flags & kChecked)) continue;
    words += rows.each() * static_cast<int>(size_of(pool_[e].type)) / 4;
    if (words > 32) break;
    hold(e, fresh("part"));
  }
  const IndexId column = rows.column;
  begin_best_vectors(nest, column, rows.vector, sums);
  line("#pragma unroll");
  open(fmt::format("for (int c = 0; c < {}; ++c)", rows.chunks));
  scopes_.emplace_back();
  line(fmt::format("const int d{} = (c * width + member) * {};", column, rows.vector));
  if (!rows.exact) open(fmt::format("if (d{} < extent)", column));
  line(fmt::format("const long long x{} = {} + d{};", column, value(rows.begin), column));
  vector_points(nest, column, rows.vector, "", Ends::none, sums, "there");
  if (!rows.exact) close();
  scopes_.pop_back();
  close();
  vector_reads_ = held;
  end_best_vectors(sums);
  for (const Accumulation& s : sums) {
    combine_row(nest.updates[s.update], s, passes++);
    finish(nest.updates[s.update], s, &KernelPrinter::store_row);
  }
  scopes_.pop_back();
  close();
}

/// Every thread of a team gets the team's sum.
void KernelPrinter::combine_row(const Update& u, const Accumulation& s, int pass) {
  const int width = rows_->width;
  const std::string type = value_type(s.type);
  auto merge = [&](const std::string& x, const std::string& at) {
    if (s.position.empty()) line(fmt::format("{} = {};", s.value, combined(u, s.type, s.value, x)));
    else line(fmt::format("quern_{}({}, {}, {}, {});", name(u.reducer), s.value, s.position, x, at));
  };
  auto shuffle = [&](int step, const std::string& when) {
    open(when);
    line(fmt::format("const {} other = quern_shuffle_xor(0xffffffffu, {}, {});", type, s.value, step));
    if (!s.position.empty()) line(fmt::format("const int other_at = quern_shuffle_xor(0xffffffffu, {}, {});", s.position, step));
    merge("other", "other_at");
    close();
  };
  for (int step = 1; step < 32 && (width == 0 || step < width); step *= 2) shuffle(step, width == 0 && step >= 8 ? fmt::format("if (width > {})", step) : "");
  if (width != 0 && width <= 32) return;
  uses_exchange_ = true;
  open(width == 0 ? "if (width > 32)" : "");
  line(fmt::format("{}* const passed = ({}*)(exchange + {});", type, type, pass * 32 * 12));
  if (!s.position.empty()) line(fmt::format("int* const passed_at = (int*)(exchange + {});", pass * 32 * 12 + 32 * 8));
  open("if (thread % 32 == 0)");
  line(fmt::format("passed[thread / 32] = {};", s.value));
  if (!s.position.empty()) line(fmt::format("passed_at[thread / 32] = {};", s.position));
  close();
  line("__syncthreads();");
  // One of the team's warps for each lane, and again by shuffles.
  line("const int warps = width / 32, from = team * warps + (thread & (warps - 1));");
  line(fmt::format("{} = passed[from];", s.value));
  if (!s.position.empty()) line(fmt::format("{} = passed_at[from];", s.position));
  for (int step = 1; 32 * step < (width ? width : launch.threads); step *= 2) shuffle(step, width == 0 && step > 1 ? fmt::format("if (warps > {})", step) : "");
  close();
}

}  // namespace quern::cuda
