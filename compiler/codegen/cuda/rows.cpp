// Rows in registers. In: a tile kernel. Out: whether every nest of it walks the same rows, point for point: then a team of
// threads takes a row, each thread keeps its part of it from the first nest to the last, global memory is read once, and
// what is known of a row as a whole is known to every thread of its team.
//
// A thread has `chunks` pieces of `vector` neighbours, each piece as far from the next as the whole team is wide, so that
// the loads of a row are one run of memory and all under way before the first is needed. How many threads a row takes
// follows from its length, at the call where it is not known before. Longer rows, and lengths that are not whole pieces,
// are left to the flat nests.
#include <algorithm>

#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Dim;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

namespace {

constexpr int kElements = 32;    // of a row, for one thread, at most
constexpr int kRegisters = 64;   // that reads and tiles may take, were they all alive at once
constexpr int kLeastWidth = 8;   // threads of a row: 128 bytes of f32
constexpr int kThreads = 256, kMostThreads = 1024;

}  // namespace

/// Rows are the blocked dims of the grid; the column is the one dim that nests reduce over, with the same bounds everywhere.
bool KernelPrinter::find_row_dims(Rows& rows, const std::vector<const Nest*>& nests) const {
  bool found = false;
  for (const Nest* n : nests)
    for (const Update& u : n->updates) {
      if ((u.kind != UpdateKind::store && u.kind != UpdateKind::reduce) || u.checked || u.is_search || u.over.size() > 1) return false;
      if (u.kind == UpdateKind::reduce && (u.over.empty() || (found && rows.column != u.over[0]))) return false;
      if (u.kind == UpdateKind::reduce) rows.column = u.over[0], found = true;
    }
  if (!found) return false;
  for (const Nest* n : nests)
    for (const Dim& d : n->dims) {
      if (d.index == rows.column) {
        if (rows.begin && (rows.begin != d.begin || rows.end != d.end)) return false;
        rows.begin = d.begin;
        rows.end = d.end;
        continue;
      }
      const Node& start = pool_[d.begin];
      const Node& end = pool_[d.end];
      const auto block = std::find_if(kernel_.grid.begin(), kernel_.grid.end(), [&](const tile::GridDim& g) {
        if (g.step == 1 || start.op != Op::index || static_cast<IndexId>(start.payload) != g.index || end.op != Op::min) return false;
        for (int side = 0; side < 2; ++side)
          if (end.args[static_cast<std::size_t>(side)] == g.end && constant_difference(pool_, end.args[static_cast<std::size_t>(1 - side)], d.begin) == g.step) return true;
        return false;
      });
      if (block == kernel_.grid.end()) return false;
      rows.of_grid[d.index] = static_cast<std::size_t>(block - kernel_.grid.begin());
    }
  for (Expr e : {rows.begin, rows.end})
    if (!pool_.free_indices(e).empty() || touches_memory(e)) return false;
  return true;
}

/// Whether a tile is met at the row, or the row and the column, at hand.
bool KernelPrinter::meets_row(const Rows& rows, const Nest& nest, const std::vector<Expr>& subscripts, bool& at_column) const {
  at_column = false;
  for (Expr s : subscripts) {
    const bool here = std::any_of(nest.dims.begin(), nest.dims.end(), [&](const Dim& d) {
      const Node& n = pool_[s];
      std::int64_t begin = 0;
      const bool counted = n.op == Op::sub && pool_[n.args[0]].op == Op::index && static_cast<IndexId>(pool_[n.args[0]].payload) == d.index && n.args[1] == d.begin;
      const bool bare = n.op == Op::index && static_cast<IndexId>(n.payload) == d.index && pool_.is_integer_constant(d.begin, &begin) && begin == 0;
      at_column |= (counted || bare) && d.index == rows.column;
      return counted || bare;
    });
    if (!here) return false;
  }
  return true;
}

/// Every tile is met in place alone, and what the kernel writes to memory it does not read.
bool KernelPrinter::find_row_tiles(Rows& rows, const std::vector<const Nest*>& nests) const {
  const std::set<TensorId> scratch(kernel_.scratch.begin(), kernel_.scratch.end());
  std::set<TensorId> read, written;
  bool good = true;
  auto tile = [&](const Nest& nest, TensorId t, const std::vector<Expr>& subscripts) {
    bool at_column = false;
    good &= meets_row(rows, nest, subscripts, at_column) && !(at_column ? rows.row_tiles : rows.column_tiles).contains(t);
    (at_column ? rows.column_tiles : rows.row_tiles).insert(t);
  };
  for (const Nest* n : nests) {
    auto look = [&](Expr root) {
      if (root) compiler::for_each_node(pool_, root, [&](Expr e) {
        if (pool_[e].op != Op::read) return;
        const auto t = static_cast<TensorId>(pool_[e].payload);
        if (scratch.contains(t)) return tile(*n, t, pool_[e].args);
        read.insert(t);
        good &= !pool_.depends_on(e, rows.column) || lies_along(t, pool_[e].args, rows.column);
      });
    };
    const bool walks = std::any_of(n->dims.begin(), n->dims.end(), [&](const Dim& d) { return d.index == rows.column; });
    auto target = [&](const Update& u, TensorId t) {
      if (scratch.contains(t)) return tile(*n, t, u.subscripts);
      written.insert(t);
      // Rows that several teams had would be written by all of them.
      const auto blocked = std::count_if(kernel_.grid.begin(), kernel_.grid.end(), [](const tile::GridDim& g) { return g.step > 1; });
      good &= static_cast<std::size_t>(blocked) + (walks ? 1 : 0) == n->dims.size();
      good &= u.kind == UpdateKind::reduce || !walks || lies_along(t, u.subscripts, rows.column);
    };
    for (const Update& u : n->updates) {
      for (Expr e : {u.body, u.domain, u.start, u.result, u.position, u.start_position}) look(e);
      for (Expr e : u.subscripts) look(e);
      if (u.has_value_target) target(u, u.target);
      if (u.has_position_target) target(u, u.position_target);
    }
  }
  return good && std::none_of(written.begin(), written.end(), [&](TensorId t) { return read.contains(t); });
}

/// Pieces of 16 bytes of the narrowest elements, as many as registers hold.
bool KernelPrinter::find_row_vectors(Rows& rows, const std::vector<const Nest*>& nests) {
  std::size_t narrowest = 0;
  std::map<std::uint32_t, int> uses;
  int sums = 0;
  for (const Nest* n : nests) {
    for (Expr e : reads_along(*n, rows.column)) {
      if (in_registers(static_cast<TensorId>(pool_[e].payload))) continue;
      const std::size_t bytes = size_of(pool_[e].type);
      narrowest = narrowest == 0 ? bytes : std::min(narrowest, bytes);
      if (!(pool_[e].flags & kChecked) && ++uses[e.id] == 2) rows.held.push_back(e);
    }
    for (const Update& u : n->updates) sums += u.kind == UpdateKind::reduce;
  }
  if (narrowest == 0 || narrowest > 8 || sums > kRowPasses) return false;
  rows.vector = static_cast<int>(std::min<std::size_t>(8, 16 / narrowest));
  int words = 0;  // of a piece
  for (Expr e : rows.held) words += rows.vector * static_cast<int>(size_of(pool_[e].type)) / 4;
  for (TensorId t : rows.column_tiles) words += rows.vector * (program_.tensors[t].type == DType::f64 || program_.tensors[t].type == DType::i64 ? 2 : 1);
  rows.chunks = kElements / rows.vector;
  while (rows.chunks > 1 && rows.chunks * words > kRegisters) rows.chunks /= 2;
  if (rows.chunks * words > kRegisters) return false;

  // A block for each task: a grid has at most 2^31 - 1.
  Expr count = pool_.integer(1);
  for (const tile::GridDim& g : kernel_.grid) count = pool_.mul(count, pool_.max(pool_.integer(0), pool_.sub(g.end, g.begin)));
  rows.fit = pool_.apply(Op::le, {count, pool_.integer(0x7fffffff)});
  const Expr extent = pool_.max(pool_.sub(rows.end, rows.begin), pool_.integer(0));
  std::int64_t known = 0;
  if (!pool_.is_integer_constant(extent, &known)) {
    const Expr whole = pool_.apply(Op::eq, {pool_.apply(Op::mod, {extent, pool_.integer(rows.vector)}), pool_.integer(0)});
    rows.fit = pool_.both(rows.fit, pool_.both(pool_.apply(Op::le, {extent, pool_.integer(std::int64_t{kThreads} * rows.each())}), whole));
    launch.threads = kThreads;
    return true;
  }
  if (known < 2 * rows.vector || known % rows.vector != 0 || known > std::int64_t{kMostThreads} * rows.each()) return false;
  rows.width = kLeastWidth;
  while (std::int64_t{rows.width} * rows.each() < known) rows.width *= 2;
  while (rows.chunks > 1 && std::int64_t{rows.width} * rows.each() / 2 >= known) rows.chunks /= 2;
  rows.exact = std::int64_t{rows.width} * rows.each() == known;
  launch.threads = std::max(kThreads, rows.width);
  return true;
}

bool KernelPrinter::find_rows() {
  if (arranged_ || kernel_.chained || kernel_.grid.empty()) return false;
  std::vector<const Nest*> nests;
  for (const tile::Statement& s : kernel_.body) {
    const auto* n = std::get_if<Nest>(&s.node);
    if (!n) return false;
    nests.push_back(n);
  }
  Rows rows;
  if (!find_row_dims(rows, nests) || !find_row_tiles(rows, nests)) return false;
  rows_ = rows;  // tiles are in registers from here on
  if (find_row_vectors(*rows_, nests)) return true;
  rows_.reset();
  return false;
}

}  // namespace quern::cuda
