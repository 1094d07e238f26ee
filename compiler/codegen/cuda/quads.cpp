// Stores of nests on fragments in pieces of 16 bytes. A lane has two neighbouring columns of every eight, 4 bytes of two-byte
// floats; the four lanes of a quad share a row, so that once they have exchanged words each has eight columns that follow
// each other. All lanes take part, whether or not their row exists: masks that are no constants cost more than the shuffles.
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

/// Everything is stored, at every point; what goes to memory are two-byte floats side by side along the column, and not read again.
bool KernelPrinter::stores_quads(const Nest& nest, const Dim& column) const {
  std::set<TensorId> stored;
  for (const Update& u : nest.updates) {
    if (u.kind != UpdateKind::store || u.domain) return false;
    if (in_registers(u.target)) continue;
    const DType type = program_.tensors[u.target].type, from = pool_.type(u.body);
    if ((type != DType::bf16 && type != DType::f16) || (from != type && from != DType::f32)) return false;
    if (tiles_.contains(u.target) || !lies_along(u.target, u.subscripts, column.index)) return false;
    if (std::any_of(u.subscripts.begin(), u.subscripts.end(), [&](Expr s) { return touches_memory(s); })) return false;
    stored.insert(u.target);
  }
  for (const Update& u : nest.updates)
    compiler::for_each_node(pool_, u.body, [&](Expr at) { if (pool_[at].op == Op::read && stored.contains(static_cast<TensorId>(pool_[at].payload))) stored.clear(); });
  return !stored.empty();
}

void KernelPrinter::quad_nest(const Nest& nest, const Dim& row, const Dim& column) {
  const int tiles = arranged_->column_tiles.at(column.index);
  std::set<TensorId> written;
  bool reads = false;
  for (const Update& u : nest.updates) {
    written.insert(u.target);
    reads |= touches_memory(u.body);
  }
  const std::string row_limit = limit_text(row, arranged_->rows()), column_limit = limit_text(column, tiles * 8);
  open_rows(row);
  scopes_.emplace_back();
  const std::string exists = row_limit.empty() ? "" : fmt::format("d{} < {}", row.index, row_limit);
  const std::string columns = column_limit.empty() ? std::to_string(tiles * 8) : column_limit;
  line(fmt::format("const int columns = {};", exists.empty() ? columns : fmt::format("{} ? {} : 0", exists, columns)));
  column_begin_ = column.begin;
  for (const Update& u : nest.updates) hoist(u.body, column.index, written);
  line("#pragma unroll");
  open(fmt::format("for (int quad = 0; quad < {}; ++quad)", (tiles + 3) / 4));
  std::map<std::size_t, std::string> words;
  for (std::size_t i = 0; i < nest.updates.size(); ++i) {
    if (in_registers(nest.updates[i].target)) continue;
    words[i] = fresh("words");
    line(fmt::format("unsigned {}[4] = {{0u, 0u, 0u, 0u}};", words[i]));
  }
  line("#pragma unroll");
  open("for (int part = 0; part < 4; ++part)");
  line("const int ct = quad * 4 + part;");
  if (tiles % 4 != 0) line(fmt::format("if (ct >= {}) break;", tiles));
  // Only points that exist are read.
  if (reads && !exists.empty()) open(fmt::format("if ({})", exists));
  scopes_.emplace_back();
  for (const auto& [i, name] : words) {
    VectorStore s;
    s.array = fresh("w");
    s.packed = name;
    line(fmt::format("float {}[2];", s.array));
    vector_stores_[i] = std::move(s);
  }
  if (reads) {
    open("");
    scopes_.emplace_back();
    line("const int e = 0;");
    declare_column(column);
    line(fmt::format("const int valid = {};", column_limit.empty() ? "2" : fmt::format("{} - d{}", column_limit, column.index)));
    load_vectors(nest, column.index, 2);
    scopes_.pop_back();
    for (Scope& scope : scopes_) std::erase_if(scope.names, [&](const auto& entry) { return pool_.depends_on(Expr{entry.first}, column.index); });
  }
  load_pairs(nest, column);
  line("#pragma unroll");
  open("for (int e = 0; e < 2; ++e)");
  scopes_.emplace_back();
  declare_column(column);
  const bool branch = reads && !column_limit.empty();
  if (branch) open(fmt::format("if (d{} < {})", column.index, column_limit));
  std::vector<Accumulation> none;
  at_point(nest, none);
  if (branch) close();
  scopes_.pop_back();
  close();
  pairs_.clear();
  for (const auto& [i, name] : words)
    line(fmt::format("{0}[part] = {1}x2_bits({2}[0], {2}[1]);", name, program_.tensors[nest.updates[i].target].type == DType::bf16 ? "bf16" : "f16", vector_stores_.at(i).array));
  vector_reads_.clear();
  vector_stores_.clear();
  if (reads) close();
  scopes_.pop_back();
  if (reads && !exists.empty()) close();
  close();
  // Addresses are those of the quad.
  scopes_.emplace_back();
  line(fmt::format("const int d{} = quad * 32;", column.index));
  line(fmt::format("const long long x{} = {} + d{};", column.index, value(column.begin), column.index));
  for (const auto& [i, name] : words) {
    const Update& u = nest.updates[i];
    line(fmt::format("quern_store_quad({} + ({}), {}, lane, columns - quad * 32);", tensor_pointer(u.target), offset_text(u.target, u.subscripts), name));
  }
  scopes_.pop_back();
  close();
  scopes_.pop_back();
  close_loops();
  forget(row);
  forget(column);
}

}  // namespace quern::cuda
