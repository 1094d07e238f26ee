// Finding the contractions of a kernel, the row index they share, and the tiles that only ever meet it in place.
#include "compiler/codegen/cuda/arrange.h"

#include <algorithm>
#include <array>
#include <functional>
#include <utility>

#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Dim;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

std::optional<std::int64_t> constant_difference(const ExprPool& pool, Expr a, Expr b) {
  std::map<Expr, std::int64_t> terms;
  std::int64_t constant = 0;
  std::function<void(Expr, std::int64_t)> add = [&](Expr e, std::int64_t times) {
    const Node& n = pool[e];
    std::int64_t k = 0;
    if (pool.is_integer_constant(e, &k)) constant += times * k;
    else if (n.op == Op::add) add(n.args[0], times), add(n.args[1], times);
    else if (n.op == Op::sub) add(n.args[0], times), add(n.args[1], -times);
    else terms[e] += times;
  };
  add(a, 1);
  add(b, -1);
  for (const auto& [e, times] : terms) if (times) return std::nullopt;
  return constant;
}

std::optional<DimExtent> extent_of(const ExprPool& pool, const Dim& dim) {
  if (auto exact = constant_difference(pool, dim.end, dim.begin)) return DimExtent{std::max<std::int64_t>(*exact, 0), {}};
  const Node& n = pool[dim.end];
  if (n.op != Op::min) return std::nullopt;
  for (int side = 0; side < 2; ++side)
    if (auto whole = constant_difference(pool, n.args[static_cast<std::size_t>(side)], dim.begin))
      return DimExtent{std::max<std::int64_t>(*whole, 0), n.args[static_cast<std::size_t>(1 - side)]};
  return std::nullopt;
}

Expr copied_read(const ExprPool& pool, const Nest& copy) {
  Expr e = copy.updates[0].body;
  while (pool[e].op == Op::cast) e = pool[e].args[0];
  return e;
}

bool steps_with(const ExprPool& pool, Expr subscript, IndexId index) {
  const Node& n = pool[subscript];
  const auto bare = [&](Expr e) { return pool[e].op == Op::index && static_cast<IndexId>(pool[e].payload) == index; };
  return bare(subscript) || ((n.op == Op::add || n.op == Op::sub) && bare(n.args[0]) && !pool.depends_on(n.args[1], index));
}

namespace {

constexpr std::int64_t kMostColumns = 256;
/// 32-bit registers of a thread that tiles may take.
constexpr std::int64_t kMostTileRegisters = 224;
/// The same where other values of products need registers, too.
constexpr std::int64_t kMostResults = 176;
/// Shared memory in which warps pass sums to each other (kernel_printer.cpp).
constexpr std::int64_t kMeetingBytes = 4096;

class Arranger {
 public:
  Arranger(const Program& p, const tile::Kernel& k) : program(p), pool(p.pool), kernel(k) {}
  std::optional<Arrangement> run();
  bool f32 = false;  // what kind of products are looked for

 private:
  const Program& program;
  const ExprPool& pool;
  const tile::Kernel& kernel;
  Arrangement result;
  std::vector<const Nest*> nests;
  std::set<TensorId> scratch;
  std::set<TensorId> selected;       // what top-k and sort touch, by threads of their own

  std::set<const Nest*> in_loops;
  std::map<const Nest*, int> place;  // in the order of work; two branches share their places
  int places = 0;

  void collect(const tile::Block& block, bool looped);
  bool has(const Nest& nest, IndexId i) const { return std::any_of(nest.dims.begin(), nest.dims.end(), [&](const Dim& d) { return d.index == i; }); }
  const Dim& dim_of(const Nest& nest, IndexId i) const { return *std::find_if(nest.dims.begin(), nest.dims.end(), [&](const Dim& d) { return d.index == i; }); }
  Expr factor(Expr e) const;
  std::optional<Contraction> contraction(const Nest& nest) const;
  std::optional<Contraction> contraction_f32(const Nest& nest) const;
  bool share_rows(std::int64_t rows);
  void find_wide_columns();
  std::optional<std::vector<IndexId>> dims_of(const Nest& nest, const std::vector<Expr>& subscripts) const;
  bool is_operand_tile(TensorId t) const;
  bool find_operands();
  bool fits_fragments(const Nest& nest) const;
  bool is_copy(const Nest& nest) const;
  void find_elements();
  void find_byte_products();
  void place_tiles();
  std::int64_t registers_at_once() const;
  template <class See> void each_access(const Nest& nest, See see) const;
};

void Arranger::collect(const tile::Block& block, bool looped) {
  for (const tile::Statement& s : block) {
    if (auto* n = std::get_if<Nest>(&s.node)) {
      nests.push_back(n);
      place[n] = places++;
      if (looped) in_loops.insert(n);
    } else if (auto* f = std::get_if<tile::For>(&s.node)) {
      collect(f->body, true);
      for (const Nest& mask : f->masks) {
        nests.push_back(&mask);
        place[&mask] = places - 1;
        in_loops.insert(&mask);
      }
    } else if (auto* i = std::get_if<tile::If>(&s.node)) {
      const int start = places;
      collect(i->then_block, looped);
      const int end = std::exchange(places, start);
      collect(i->else_block, looped);
      places = std::max(places, end);
    } else if (auto* select = std::get_if<tile::Select>(&s.node)) {
      for (TensorId t : {select->source, select->values, select->positions, select->live}) selected.insert(t);
      for (Expr e : {select->body, select->domain})
        if (e) compiler::for_each_node(pool, e, [&](Expr at) { if (pool[at].op == Op::read) selected.insert(static_cast<TensorId>(pool[at].payload)); });
    }
  }
}

/// A factor of a product without its widening to f32.
Expr Arranger::factor(Expr e) const {
  const Node& n = pool[e];
  if (n.op == Op::cast && n.type == DType::f32 && is_small_float(pool.type(n.args[0]))) return n.args[0];
  return e;
}

std::optional<Contraction> Arranger::contraction(const Nest& nest) const {
  if (f32) return contraction_f32(nest);
  if (nest.updates.size() != 1) return std::nullopt;
  const Update& u = nest.updates[0];
  if (u.kind != UpdateKind::reduce || u.reducer != Reducer::sum || u.over.size() != 1 || nest.dims.size() != 3 || u.result) return std::nullopt;
  const Node& product = pool[u.body];
  if (product.op != Op::mul || product.type != DType::f32) return std::nullopt;
  Contraction c;
  c.inner = u.over[0];
  Expr a = factor(product.args[0]), b = factor(product.args[1]);
  // fp8 values are f16 values.
  auto multiplied_as = [&](Expr e) {
    const DType t = pool.type(e);
    return t == DType::e4m3 || t == DType::e5m2 ? DType::f16 : t;
  };
  const DType type = multiplied_as(a);
  if (type != multiplied_as(b) || (type != DType::bf16 && type != DType::f16)) return std::nullopt;
  if (!pool.depends_on(a, result.row)) std::swap(a, b);
  if (!pool.depends_on(a, result.row) || pool.depends_on(b, result.row)) return std::nullopt;
  bool found = false;
  for (const Dim& d : nest.dims) {
    if (d.index == c.inner || d.index == result.row) continue;
    if (pool.depends_on(a, d.index) || !pool.depends_on(b, d.index)) return std::nullopt;
    c.column = d.index;
    found = true;
  }
  if (!found || !pool.depends_on(a, c.inner) || !pool.depends_on(b, c.inner)) return std::nullopt;
  c.left = a;
  c.right = b;
  c.bf16 = type == DType::bf16;
  return c;
}

/// A product of f32 factors, or a reduction of what is computed from one element with the row and one with the column.
std::optional<Contraction> Arranger::contraction_f32(const Nest& nest) const {
  if (nest.updates.size() != 1 || nest.dims.size() != 3) return std::nullopt;
  const Update& u = nest.updates[0];
  if (u.kind != UpdateKind::reduce || u.over.size() != 1 || u.result || u.has_position_target || u.is_search || !u.has_value_target) return std::nullopt;
  if (u.reducer != Reducer::sum && u.reducer != Reducer::max && u.reducer != Reducer::min) return std::nullopt;
  if (pool.type(u.body) != DType::f32 || (u.start && pool.type(u.start) != DType::f32) || program.tensors[u.target].type != DType::f32) return std::nullopt;
  Contraction c;
  c.inner = u.over[0];
  for (const Dim& d : nest.dims)
    if (d.index != c.inner && d.index != result.row) c.column = d.index;
  if (c.inner == result.row || !has(nest, result.row)) return std::nullopt;
  const auto is_left = [&](Expr e) { return pool.type(e) == DType::f32 && pool.depends_on(e, result.row) && pool.depends_on(e, c.inner) && !pool.depends_on(e, c.column); };
  const auto is_right = [&](Expr e) { return pool.type(e) == DType::f32 && pool.depends_on(e, c.column) && pool.depends_on(e, c.inner) && !pool.depends_on(e, result.row); };
  c.body = u.body;
  const Node product = pool[u.body];
  if (product.op == Op::mul && u.reducer == Reducer::sum) {
    for (std::size_t side = 0; side < 2; ++side) {
      if (!is_left(product.args[side]) || !is_right(product.args[1 - side])) continue;
      c.left = product.args[side];
      c.right = product.args[1 - side];
      return c;
    }
  }
  bool good = true;
  std::function<void(Expr)> visit = [&](Expr e) {
    const Node& n = pool[e];
    if (n.op == Op::index || n.op == Op::accumulator || n.op == Op::previous || (is_left(e) && is_right(e))) good = false;
    if (n.op == Op::read) {
      Expr* const to = is_left(e) ? &c.left : is_right(e) ? &c.right : nullptr;
      if (!to || (*to && *to != e)) good = false;
      else *to = e;
      return;
    }
    for (Expr a : n.args) visit(a);
  };
  visit(u.body);
  if (!good || !c.left || !c.right) return std::nullopt;
  return c;
}

/// How warps share the rows of a block and the columns: the fewest reads of shared memory for each product among what
/// registers hold. For 16 R rows and 8 C columns of a warp, a step of 2 R 2 C products reads 2 R + 2 C values.
bool Arranger::share_rows(std::int64_t rows) {
  const auto tiles = result.column_tiles;
  bool positions = false;
  std::set<TensorId> sums;  // of rows: warps side by side need room for them to meet
  for (const Nest* n : nests)
    for (const Update& u : n->updates) {
      positions |= u.has_position_target;
      if (!u.over.empty() && !result.contractions.contains(n)) sums.insert(u.target);
    }
  double best = 0;
  std::optional<std::array<int, 3>> chosen;
  for (const int warps : {4, 8})
    for (const int side : {1, 2, 4}) {
      if (rows % (16 * (warps / side)) != 0 || (side > 1 && (positions || static_cast<std::int64_t>(sums.size()) * rows * side * 8 > kMeetingBytes))) continue;
      const auto row_tiles = static_cast<int>(rows / (16 * (warps / side)));
      double reads = 0;
      std::int64_t most = 0;
      for (const auto& [nest, c] : result.contractions) {
        const int of_warp = (tiles.at(c.column) + side - 1) / side;
        reads += tiles.at(c.column) * (1.0 / row_tiles + 1.0 / of_warp);
        most += std::int64_t{4} * row_tiles * of_warp;
      }
      // Warps side by side meet for each sum of a row; more warps hide less each.
      reads *= (side > 1 ? 1.05 : 1.0) * (warps == 8 ? 1.1 : 1.0);
      if (most > kMostResults || (chosen && reads >= best)) continue;
      best = reads;
      chosen = {warps, side, row_tiles};
    }
  if (!chosen) return false;
  result.warps = (*chosen)[0], result.column_warps = (*chosen)[1], result.row_tiles = (*chosen)[2];
  for (auto& [i, count] : result.column_tiles) count = (count + result.column_warps - 1) / result.column_warps;
  return true;
}

/// Columns that lie side by side in all tiles that products read them from: 16 bytes at a time.
void Arranger::find_wide_columns() {
  for (const auto& [i, count] : result.column_tiles) {
    bool wide = count % 2 == 0, any = false;
    for (const auto& [nest, c] : result.contractions) {
      if (c.column != i) continue;
      wide = wide && result.operands.at(static_cast<TensorId>(pool[c.right].payload)).dims[1] == i;
      any = true;
    }
    if (wide && any) result.wide_columns.insert(i);
  }
}

/// The indices at which a tile is met, when each subscript is an index counted from its block's start.
std::optional<std::vector<IndexId>> Arranger::dims_of(const Nest& nest, const std::vector<Expr>& subscripts) const {
  std::vector<IndexId> out;
  for (Expr s : subscripts) {
    bool known = false;
    for (const Dim& d : nest.dims) {
      if (!pool.depends_on(s, d.index)) continue;
      const Node& n = pool[s];
      std::int64_t begin = 0;
      const bool bare = n.op == Op::index && pool.is_integer_constant(d.begin, &begin) && begin == 0;
      const bool counted = n.op == Op::sub && pool[n.args[0]].op == Op::index && n.args[1] == d.begin;
      if (!bare && !counted) return std::nullopt;
      if (std::find(out.begin(), out.end(), d.index) != out.end()) return std::nullopt;
      out.push_back(d.index);
      known = true;
    }
    if (!known) return std::nullopt;
  }
  return out;
}

template <class See>
void Arranger::each_access(const Nest& nest, See see) const {
  auto reads = [&](Expr root) {
    if (!root) return;
    compiler::for_each_node(pool, root, [&](Expr e) {
      if (pool[e].op == Op::read && scratch.contains(static_cast<TensorId>(pool[e].payload))) see(static_cast<TensorId>(pool[e].payload), pool[e].args, false);
    });
  };
  for (const Update& u : nest.updates) {
    for (Expr e : {u.body, u.domain, u.start, u.result, u.position, u.start_position}) reads(e);
    for (Expr e : u.subscripts) reads(e);
    if (u.has_value_target && scratch.contains(u.target)) see(u.target, u.subscripts, true);
    if (u.has_position_target && scratch.contains(u.position_target)) see(u.position_target, u.subscripts, true);
  }
}

/// Filled from memory by a nest that reads no other tile.
bool Arranger::is_operand_tile(TensorId t) const {
  bool written = false;
  for (const Nest* n : nests) {
    bool writes = false, reads_tile = false;
    each_access(*n, [&](TensorId x, const std::vector<Expr>&, bool write) {
      if (x == t && write) writes = true;
      if (!write) reads_tile = true;
    });
    if (!writes) continue;
    if (reads_tile) return false;
    for (const Update& u : n->updates) if (u.kind != UpdateKind::store) return false;
    written = true;
  }
  return written;
}

/// Both factors of every contraction have to be where matrix instructions can take them from.
bool Arranger::find_operands() {
  for (auto& [nest, c] : result.contractions) {
    auto add = [&](Expr e, IndexId other) {
      const Node& n = pool[e];
      if (n.op != Op::read || !scratch.contains(static_cast<TensorId>(n.payload)) || !is_operand_tile(static_cast<TensorId>(n.payload))) return false;
      const auto dims = dims_of(*nest, n.args);
      if (!dims || dims->size() != 2) return false;
      const auto t = static_cast<TensorId>(n.payload);
      OperandTile tile;
      tile.dims = *dims;
      for (int k = 0; k < 2; ++k) {
        const IndexId i = (*dims)[static_cast<std::size_t>(k)];
        if (i != c.inner && i != other) return false;
        const auto extent = extent_of(pool, dim_of(*nest, i));
        if (!extent) return false;
        std::int64_t padded = (extent->most + 15) / 16 * 16;
        if (i == c.column && (f32 || result.parted.contains(i))) padded = std::max<std::int64_t>(padded, result.columns(i));
        (k == 0 ? tile.rows : tile.columns) = padded;
      }
      tile.bytes = static_cast<std::int64_t>(size_of(n.type));
      tile.pitch = tile.columns + (result.tf32 && tile.dims[1] == c.inner ? 32 : 16) / tile.bytes;
      if (auto it = result.operands.find(t); it != result.operands.end() && it->second.dims != tile.dims) return false;
      result.operands[t] = tile;
      return true;
    };
    if (!add(c.right, c.column)) return false;
    c.left_in_registers = !add(c.left, result.row);
    const Node& body = pool[nest->updates[0].body];
    if (f32 && c.left_in_registers && !(body.op == Op::mul && ((body.args[0] == c.left && body.args[1] == c.right) || (body.args[1] == c.left && body.args[0] == c.right)))) return false;
    c.tiles = {static_cast<TensorId>(pool[c.right].payload)};
    if (!c.left_in_registers) c.tiles.push_back(static_cast<TensorId>(pool[c.left].payload));
    // Points outside a domain become zeros on fragments only.
    if (!c.left_in_registers && nest->updates[0].domain) return false;
  }
  return true;
}

/// Whether the nest can walk fragments: rows and at most one column index of constant size, sums over columns only.
bool Arranger::fits_fragments(const Nest& nest) const {
  if (!has(nest, result.row) || nest.dims.size() > 2) return false;
  for (const Dim& d : nest.dims) {
    const auto extent = extent_of(pool, d);
    if (!extent) return false;
    if (d.index == result.row) {
      if (extent->most != result.rows()) return false;
      continue;
    }
    auto it = result.column_tiles.find(d.index);
    if (it == result.column_tiles.end() || extent->most > result.columns(d.index)) return false;
  }
  for (const Update& u : nest.updates) {
    if (u.kind == UpdateKind::scan || u.kind == UpdateKind::scatter) return false;
    for (IndexId i : u.over) if (i == result.row || result.parted.contains(i)) return false;
    if (u.kind == UpdateKind::reduce && nest.dims.size() != 2) return false;
  }
  return true;
}

bool Arranger::is_copy(const Nest& nest) const {
  if (nest.updates.size() != 1 || nest.dims.size() != 2) return false;
  const Update& u = nest.updates[0];
  if (u.kind != UpdateKind::store || u.domain) return false;
  auto it = result.operands.find(u.target);
  if (it == result.operands.end()) return false;
  const auto dims = dims_of(nest, u.subscripts);
  if (!dims || *dims != it->second.dims) return false;
  // The value as stored: narrowing what was just widened changes nothing.
  Expr e = u.body;
  const DType type = program.tensors[u.target].type;
  if (pool[e].op == Op::cast) e = pool[e].args[0];
  if (pool[e].op == Op::cast) e = pool[e].args[0];
  const Node& n = pool[e];
  // Loading warps widen on the way.
  const bool held = n.type == type || (kernel.groups > 0 && is_small_float(n.type) && size_of(n.type) == 1 && size_of(type) == 2);
  if (n.op != Op::read || !held || (n.flags & kChecked) || scratch.contains(static_cast<TensorId>(n.payload))) return false;
  // Side by side along the tile's last dim.
  const IndexId last = it->second.dims[1];
  for (std::size_t k = 0; k < n.args.size(); ++k) {
    if (!pool.depends_on(n.args[k], last)) continue;
    if (k + 1 != n.args.size() || !steps_with(pool, n.args[k], last)) return false;
  }
  return true;
}

/// Tiles of small floats that a loop copies from memory and nests on fragments read at the point.
void Arranger::find_elements() {
  for (const Nest* n : nests) {
    if (!in_loops.contains(n) || n->updates.size() != 1 || n->dims.size() != 2) continue;
    const Update& u = n->updates[0];
    if (u.kind != UpdateKind::store || result.operands.contains(u.target) || !scratch.contains(u.target) || !is_operand_tile(u.target)) continue;
    if (const DType type = program.tensors[u.target].type; type != DType::f16 && type != DType::bf16) continue;
    const auto dims = dims_of(*n, u.subscripts);
    if (!dims || dims->size() != 2 || !has(*n, result.row)) continue;
    OperandTile tile;
    tile.dims = *dims;
    bool ok = true;
    for (int k = 0; k < 2; ++k) {
      const IndexId i = (*dims)[static_cast<std::size_t>(k)];
      const auto column = result.column_tiles.find(i);
      ok = ok && (i == result.row || column != result.column_tiles.end());
      if (ok) (k == 0 ? tile.rows : tile.columns) = i == result.row ? result.rows() : result.columns(i);
    }
    for (const Nest* reader : nests)
      each_access(*reader, [&](TensorId t, const std::vector<Expr>& subscripts, bool write) {
        if (t == u.target && !write) ok = ok && fits_fragments(*reader) && dims_of(*reader, subscripts) == dims;
      });
    if (!ok) continue;
    tile.pitch = tile.columns + 8;
    result.operands[u.target] = tile;
    if (is_copy(*n)) result.elements.insert(u.target);
    else result.operands.erase(u.target);
  }
}

/// Products of one-byte floats as they are, where the program allows their short sums: both factors lie along the summed
/// index, which is all that the machine takes, and nothing else wants the tiles in another form.
void Arranger::find_byte_products() {
  if (kernel.groups == 0 || !program.annotations.fast) return;
  std::set<TensorId> others = result.elements;
  std::vector<Contraction*> found;
  for (auto& [nest, c] : result.contractions) {
    bool ok = !c.left_in_registers && c.tiles.size() == 2;
    for (TensorId t : c.tiles) {
      ok = ok && result.operands.at(t).dims[1] == c.inner;
      for (const Nest* n : nests)
        if (n->updates[0].target == t) {
          const DType from = pool.type(copied_read(pool, *n));
          ok = ok && is_copy(*n) && is_small_float(from) && size_of(from) == 1;
        }
    }
    if (ok) found.push_back(&c);
    else others.insert(c.tiles.begin(), c.tiles.end());
  }
  for (Contraction* c : found) {
    if (std::any_of(c->tiles.begin(), c->tiles.end(), [&](TensorId t) { return others.contains(t); })) continue;
    c->bytes = true;
    for (TensorId t : c->tiles) result.operands.at(t).bytes = 1;
  }
}

/// Tiles that every nest meets at the point at hand stay in registers; the others, and the nests that need them so, do not.
void Arranger::place_tiles() {
  for (const Nest* n : nests) {
    if (result.contractions.contains(n)) result.kinds[n] = NestKind::contraction;
    else if (is_copy(*n)) result.kinds[n] = NestKind::copy;
    else result.kinds[n] = fits_fragments(*n) ? NestKind::arranged : NestKind::flat;
    // Operand tiles are filled whole, zeros included, by all threads.
    for (const Update& u : n->updates)
      if (result.operands.contains(u.target) && result.kinds.at(n) == NestKind::arranged) result.kinds[n] = NestKind::flat;
  }
  std::set<TensorId> memory = selected;
  for (const auto& [t, tile] : result.operands) memory.insert(t);
  std::map<TensorId, std::vector<IndexId>> met;
  for (const Nest* n : nests) {
    const NestKind kind = result.kinds.at(n);
    each_access(*n, [&](TensorId t, const std::vector<Expr>& subscripts, bool) {
      const auto dims = dims_of(*n, subscripts);
      bool ok = dims && !dims->empty() && dims->size() <= 2 && (kind == NestKind::arranged || kind == NestKind::contraction);
      if (ok) {
        std::vector<IndexId> d = *dims;
        if (d.size() == 2 && d[1] == result.row) std::swap(d[0], d[1]);
        ok = d[0] == result.row && (d.size() == 1 || result.column_tiles.contains(d[1]));
        if (ok && kind == NestKind::contraction) {
          // Only the left factor, the sum and what its start reads.
          const Contraction& c = result.contractions.at(n);
          ok = d.size() == 1 || d[1] == c.column || (d[1] == c.inner && c.left_in_registers);
        }
        if (ok) {
          auto [it, fresh] = met.emplace(t, d);
          ok = fresh || it->second == d;
        }
      }
      if (!ok) memory.insert(t);
    });
  }
  for (const auto& [t, dims] : met)
    if (!memory.contains(t)) result.registers[t] = dims;
  // All rows are there, whichever exist: such a tile may be read early, and at any row.
  for (const Nest* n : nests) {
    const Update& u = n->updates[0];
    if (result.kinds.at(n) != NestKind::flat || n->updates.size() != 1 || !memory.contains(u.target)) continue;
    if (dims_of(*n, u.subscripts) == std::vector{result.row}) result.row_vectors.insert(u.target);
  }
  for (const Nest* n : nests) {
    const bool looped = in_loops.contains(n);
    each_access(*n, [&](TensorId t, const std::vector<Expr>& subscripts, bool write) {
      if (write ? looped || result.kinds.at(n) != NestKind::flat : dims_of(*n, subscripts) != std::vector{result.row}) result.row_vectors.erase(t);
    });
  }
}

/// The most registers that tiles need at a time: one that each pass of a loop writes before it reads it lives from there to
/// its last reader, which may put its own result in the same place.
std::int64_t Arranger::registers_at_once() const {
  struct Life {
    int first = -1, last = -1;
    bool carried = false;
  };
  std::map<TensorId, Life> lives;
  for (const Nest* n : nests) {
    const int at = place.at(n);
    std::set<TensorId> reads;
    each_access(*n, [&](TensorId t, const std::vector<Expr>&, bool write) { if (!write) reads.insert(t); });
    each_access(*n, [&](TensorId t, const std::vector<Expr>&, bool write) {
      Life& life = lives[t];
      // Read in the place where it begins, or needed outside of the loop.
      if (life.first < 0) life.carried = !write || reads.contains(t);
      if (!in_loops.contains(n)) life.carried = true;
      if (life.first < 0 || at < life.first) life.first = at;
      life.last = std::max(life.last, at);
    });
  }
  auto size = [&](const std::vector<IndexId>& dims) {
    return dims.size() == 1 ? std::int64_t{2} * result.row_tiles : std::int64_t{result.row_tiles} * result.column_tiles.at(dims[1]) * 4;
  };
  std::int64_t most = 0;
  for (int at = 0; at < places; ++at) {
    std::int64_t taken = 0;
    for (const auto& [t, dims] : result.registers) {
      const Life& life = lives.at(t);
      if (life.carried || (life.first <= at && (at < life.last || life.first == at))) taken += size(dims);
    }
    most = std::max(most, taken);
  }
  return most;
}

std::optional<Arrangement> Arranger::run() {
  scratch.insert(kernel.scratch.begin(), kernel.scratch.end());
  collect(kernel.body, false);
  // Rows: the index kept by every contraction.
  std::set<IndexId> rows;
  bool first = true;
  std::vector<const Nest*> found;
  for (const Nest* n : nests) {
    for (const Dim& d : n->dims) {
      Arranger trial = *this;
      trial.result.row = d.index;
      if (!trial.contraction(*n)) continue;
      found.push_back(n);
      break;
    }
  }
  if (found.empty()) {
    if (f32 || kernel.groups > 0) return std::nullopt;
    Arranger other(program, kernel);
    other.f32 = true;
    return other.run();
  }
  for (const Nest* n : found) {
    std::set<IndexId> own;
    for (const Dim& d : n->dims) {
      Arranger trial = *this;
      trial.result.row = d.index;
      const auto extent = extent_of(pool, d);
      if (extent && extent->most % 16 == 0 && trial.contraction(*n)) own.insert(d.index);
    }
    if (first) rows = own;
    else std::erase_if(rows, [&](IndexId i) { return !own.contains(i); });
    first = false;
  }
  for (IndexId row : rows) {
    result = {};
    result.row = row;
    result.f32 = f32;
    const auto block = extent_of(pool, dim_of(*found[0], row));
    if (kernel.groups > 0) result.warps = 4 * kernel.groups;
    else if (block->most % 64 != 0) result.warps = block->most % 32 == 0 ? 2 : 1;
    result.column_groups = kernel.column_groups;
    result.row_tiles = static_cast<int>(block->most * result.column_groups / (16 * result.warps));
    // Results are parted, what further products sum over is not.
    if (result.column_groups > 1) {
      for (const Nest* n : found) if (const auto c = contraction(*n)) result.parted.insert(c->column);
      for (const Nest* n : found) if (const auto c = contraction(*n)) result.parted.erase(c->inner);
    }
    bool ok = f32 || (result.rows() == block->most && (kernel.groups == 0 || result.row_tiles == 1));
    for (const Nest* n : found) {
      const auto c = contraction(*n);
      if (!c) { ok = false; break; }
      for (IndexId i : {c->column, c->inner}) {
        const auto extent = extent_of(pool, dim_of(*n, i));
        const int parts = result.parted.contains(i) ? result.column_groups : 1;
        ok = ok && extent && extent->most > 0 && (i == c->inner || extent->most <= kMostColumns * parts);
        if (!ok) continue;
        const std::int64_t whole = parts > 1 ? 64 : 16, part = (extent->most + whole * parts - 1) / (whole * parts) * whole;
        result.column_tiles[i] = std::max(result.column_tiles[i], static_cast<int>(part / 8));
      }
      result.contractions[n] = *c;
      result.products.push_back(n);
    }
    if (f32 && ok) {
      const bool products = std::all_of(result.products.begin(), result.products.end(), [&](const Nest* n) {
        const Node& body = pool[n->updates[0].body];
        const Contraction& c = result.contractions.at(n);
        return n->updates[0].reducer == Reducer::sum && body.op == Op::mul && ((body.args[0] == c.left && body.args[1] == c.right) || (body.args[1] == c.left && body.args[0] == c.right));
      });
      result.tf32 = !products || program.annotations.precise ? 0 : program.annotations.tf32 ? 1 : program.annotations.fast ? 3 : 0;
    }
    if (!ok || (f32 && !share_rows(block->most)) || !find_operands()) continue;
    if (f32 && result.tf32 == 0) find_wide_columns();
    find_elements();
    find_byte_products();
    place_tiles();
    // Every contraction's sum has to be in registers, and what it takes from registers too.
    std::int64_t taken = registers_at_once();
    for (const auto& [n, c] : result.contractions) {
      ok = ok && result.registers.contains(n->updates[0].target);
      if (c.left_in_registers)
        compiler::for_each_node(pool, c.left, [&](Expr e) {
          if (pool[e].op == Op::read && scratch.contains(static_cast<TensorId>(pool[e].payload))) ok = ok && result.registers.contains(static_cast<TensorId>(pool[e].payload));
        });
    }
    if (!ok) continue;
    if (f32) {
      if (taken <= kMostTileRegisters) return result;
      continue;
    }
    if (kernel.groups > 0) return result;  // whether they fit is weighed with the roles
    // More warps with fewer rows each where a warp's rows would not fit in its registers.
    while (taken > kMostTileRegisters && result.row_tiles > 1) {
      result.row_tiles /= 2;
      result.warps *= 2;
      taken /= 2;
    }
    if (taken <= 2 * kMostTileRegisters) return result;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Arrangement> arrange(const Program& program, const tile::Kernel& kernel) {
  return Arranger(program, kernel).run();
}

}  // namespace quern::cuda
