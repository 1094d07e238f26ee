// Stores of nests on fragments in pieces of 16 bytes. A lane has two neighbouring columns of every eight, 4 bytes of two-byte
// floats; the four lanes of a quad share a row, so that once they have exchanged words each has eight columns that follow
// each other. Where rows lie side by side in memory, eight by eight values are transposed first. All lanes take part, whether
// or not their row exists: masks that are no constants cost more than the shuffles.
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

/// Everything is stored, at every point; what goes to memory are two-byte floats side by side along `dim`, and not read again.
bool KernelPrinter::stores_quads(const Nest& nest, const Dim& dim) const {
  if (arranged_->f32) return false;  // its lanes stand elsewhere
  std::set<TensorId> stored;
  for (const Update& u : nest.updates) {
    if (u.kind != UpdateKind::store || u.domain) return false;
    if (in_registers(u.target)) continue;
    const DType type = program_.tensors[u.target].type, from = pool_.type(u.body);
    if ((type != DType::bf16 && type != DType::f16) || (from != type && from != DType::f32)) return false;
    if (tiles_.contains(u.target) || !lies_along(u.target, u.subscripts, dim.index)) return false;
    if (std::any_of(u.subscripts.begin(), u.subscripts.end(), [&](Expr s) { return touches_memory(s); })) return false;
    stored.insert(u.target);
  }
  bool again = false;
  for (const Update& u : nest.updates)
    compiler::for_each_node(pool_, u.body, [&](Expr at) { again |= pool_[at].op == Op::read && stored.contains(static_cast<TensorId>(pool_[at].payload)); });
  return !stored.empty() && !again;
}

/// What is chosen for all points alike is chosen behind them: `where(c, x, k)` is stored as x; then, by update, (c, k).
std::map<std::size_t, std::pair<Expr, Expr>> KernelPrinter::take_common_choices(Nest& nest) {
  std::map<std::size_t, std::pair<Expr, Expr>> choices;
  for (std::size_t i = 0; i < nest.updates.size(); ++i) {
    Update& u = nest.updates[i];
    Expr at = u.body;
    if (pool_[at].op == Op::cast && pool_[pool_[at].args[0]].op == Op::where) at = pool_[at].args[0];
    const Node n = pool_[at];
    if (in_registers(u.target) || n.op != Op::where || pool_[n.args[2]].op != Op::constant || touches_memory(n.args[0]) || touches_memory(n.args[1])) continue;
    if (std::any_of(nest.dims.begin(), nest.dims.end(), [&](const Dim& d) { return pool_.depends_on(n.args[0], d.index); })) continue;
    choices[i] = {n.args[0], n.args[2]};
    u.body = at == u.body ? n.args[1] : pool_.cast(n.args[1], pool_.type(u.body));
  }
  return choices;
}

void KernelPrinter::quad_nest(const Nest& given, const Dim& row, const Dim& column, bool along_rows) {
  Nest nest = given;
  const auto choices = take_common_choices(nest);
  const Arrangement& a = *arranged_;
  const int tiles = a.column_tiles.at(column.index);
  std::set<TensorId> written;
  bool reads = false;
  for (const Update& u : nest.updates) {
    written.insert(u.target);
    reads |= touches_memory(u.body);
  }
  const std::string row_limit = limit_text(row, a.rows()), column_limit = limit_text(column, a.columns(column.index));
  const Ring* through = !along_rows && through_ && ring_of(*through_).pieces * 64 >= (tiles + 3) / 4 * 32 ? &ring_of(*through_) : nullptr;
  std::map<std::size_t, std::string> words;  // by update, in pieces of four
  const int pieces = along_rows ? tiles / 2 : (tiles + 3) / 4;
  const auto declare_words = [&] {
    for (std::size_t i = 0; i < nest.updates.size(); ++i) {
      if (in_registers(nest.updates[i].target)) continue;
      words[i] = fresh("words");
      line(fmt::format("unsigned {}{}[{}][4] = {{}};", words[i], through ? "[2]" : "", pieces));
    }
  };
  // All words of a row. Rows that do not exist are not read, nor are such columns.
  const auto fill_words = [&] {
    const bool guarded = reads && !row_limit.empty();
    if (guarded) open(fmt::format("if (d{} < {})", row.index, row_limit));
    scopes_.emplace_back();
    column_begin_ = column.begin;
    for (const Update& u : nest.updates) hoist(u.body, column.index, written);
    line("#pragma unroll");
    open(fmt::format("for (int ct = 0; ct < {}; ++ct)", tiles));
    quad_words(nest, column, reads ? column_limit : "", words, along_rows ? "[ct / 2][ct % 2 * 2 + h]" : through ? "[h][ct / 4][ct % 4]" : "[ct / 4][ct % 4]");
    close();
    for (const auto& [i, choice] : choices) {
      const std::string k = cast_text(pool_.type(choice.second), DType::f32, value(choice.second));
      open(fmt::format("if (!({}))", value(choice.first)));
      line("#pragma unroll");
      line(fmt::format("for (int at = 0; at < {0}; ++at) {1}{2}[at / 4][at % 4] = {3}x2_bits({4}, {4});", pieces * 4, words.at(i), through ? "[h]" : "",
                       program_.tensors[nest.updates[i].target].type == DType::bf16 ? "bf16" : "f16", k));
      close();
    }
    scopes_.pop_back();
    if (guarded) close();
  };
  // What goes out at once: two times 16 neighbours. `there`: the first column of `side`; `left`: how many exist from there on.
  const auto store_words = [&](const std::string& there, const std::string& left) {
    line(fmt::format("unsigned short* to[{}][2];", words.size()));
    line("int valid[2];");
    line("#pragma unroll");
    open("for (int side = 0; side < 2; ++side)");
    scopes_.emplace_back();
    line(fmt::format("const int d{} = {};", column.index, there));
    line(fmt::format("const long long x{} = {} + d{};", column.index, value(column.begin), column.index));
    indices_[column.index] = fmt::format("x{}", column.index);
    line(fmt::format("valid[side] = {};", left));
    int k = 0;
    for (const auto& [i, name] : words) {
      const Update& u = nest.updates[i];
      line(fmt::format("to[{}][side] = {} + ({});", k++, tensor_pointer(u.target), offset_text(u.target, u.subscripts)));
    }
    scopes_.pop_back();
    close();
    k = 0;
    for (const auto& [i, name] : words) line(fmt::format("quern_store_quad(to[{}], valid, {}[piece], lane);", k++, name));
  };
  const auto open_pieces = [&](int pieces) {
    line("#pragma unroll");
    open(fmt::format("for (int piece = 0; piece < {}; ++piece)", pieces));
    scopes_.emplace_back();
  };
  const std::string columns = column_limit.empty() ? std::to_string(a.columns(column.index)) : column_limit;
  if (through) {
    declare_words();
    open_rows(row);
    fill_words();
    close_loops();
    line("quern_barrier_sync(8 + group, 128);  // nobody's products read the tile");
    for (const auto& [i, name] : words) store_through(*through, nest.updates[i], name, row, column, row_limit, columns);
  } else if (!along_rows) {
    open_rows(row);
    declare_words();
    fill_words();
    line(fmt::format("const int columns = {};", row_limit.empty() ? columns : fmt::format("d{} < {} ? {} : 0", row.index, row_limit, columns)));
    open_pieces(pieces);
    store_words(first_column(column.index) + "piece * 32 + side * 16", fmt::format("columns - d{}", column.index));
    scopes_.pop_back();
    close();
    close_loops();
  } else {
    line("#pragma unroll");
    open(fmt::format("for (int rt = 0; rt < {}; ++rt)", a.row_tiles));
    declare_words();
    line("#pragma unroll");
    open("for (int h = 0; h < 2; ++h)");
    scopes_.emplace_back();
    declare_row(row);
    fill_words();
    scopes_.pop_back();
    close();
    open_pieces(pieces);
    line("#pragma unroll");
    open("for (int j = 0; j < 4; ++j)");
    for (const auto& [i, name] : words) line(fmt::format("{0}[piece][j] = quern_transposed({0}[piece][j]);", name));
    close();
    line("const int h = 0;");
    declare_row(row, "");
    const std::string rows = fmt::format("{} - d{}", row_limit.empty() ? std::to_string(a.rows()) : row_limit, row.index);
    store_words(first_column(column.index) + "piece * 16 + side * 8 + lane / 4", column_limit.empty() ? rows : fmt::format("d{} < {} ? {} : 0", column.index, column_limit, rows));
    close_loops();
  }
  forget(row);
  forget(column);
}

/// Words of the warp's 16 rows to memory: each lane puts down what it has, and takes up 16 bytes of a row that follow each other.
void KernelPrinter::store_through(const Ring& r, const Update& u, const std::string& words, const Dim& row, const Dim& column, const std::string& row_limit,
                                  const std::string& columns) {
  const int tiles = arranged_->column_tiles.at(column.index), units = (tiles + 1) / 2 * 2;  // pieces of 16 bytes in a row
  open("");
  scopes_.emplace_back();
  line("__syncwarp();");
  line("#pragma unroll");
  open("for (int h = 0; h < 2; ++h)");
  line("#pragma unroll");
  line(fmt::format("for (int piece = 0; piece < {0}; ++piece) quern_stmatrix_x4(ring{1} + stage{1} * {2} + 2 * quern_swizzled({3}, {4} * 16 + h * 8 + lane % 8, piece * 32 + lane / 8 * 8), {5}[h][piece]);",
                   (tiles + 3) / 4, r.tile, r.bytes(), r.rows, row_warp(), words));
  close();
  line("__syncwarp();");
  line(fmt::format("const unsigned short* const tile = (const unsigned short*)(shared + (ring{0} - base) + stage{0} * {1});", r.tile, r.bytes()));
  line(fmt::format("uint4 held[{}];", units / 2));
  line("bool rest = false;");
  // As many lanes to a row as divide its pieces. `body` may name the unit's place in the tile (`from`).
  const int lanes = std::min(units & -units, 32), along = units / lanes;
  const auto each_unit = [&](const char* unroll, const std::function<void()>& body) {
    line(unroll);
    open(fmt::format("for (int i = 0; i < {}; ++i)", units / 2));
    scopes_.emplace_back();
    for (const Dim* d : {&row, &column}) {
      line(fmt::format("const int d{} = {};", d->index, d == &row ? fmt::format("{} * 16 + i / {} * {} + (unsigned)lane / {}", row_warp(), along, 32 / lanes, lanes)
                                                                  : fmt::format("(i % {} * {} + (unsigned)lane % {}) * 8", along, lanes, lanes)));
      line(fmt::format("const long long x{} = {} + d{};", d->index, value(d->begin), d->index));
      indices_[d->index] = fmt::format("x{}", d->index);
      local_begin_[d->index] = d->begin;
    }
    line(fmt::format("const unsigned short* const from = tile + quern_swizzled({}, d{}, d{});", r.rows, row.index, column.index));
    body();
    scopes_.pop_back();
    close();
  };
  const auto declare_target = [&] {
    line(fmt::format("unsigned short* const to = {} + ({});", tensor_pointer(u.target), offset_text(u.target, u.subscripts)));
    line(fmt::format("const int valid = {}{} - d{}{};", row_limit.empty() ? "" : fmt::format("d{} < {} ? ", row.index, row_limit), columns, column.index, row_limit.empty() ? "" : " : 0"));
    line("const bool at_once = valid >= 8 && ((unsigned long long)to & 15) == 0;");
  };
  each_unit("#pragma unroll", [&] {
    declare_target();
    line("held[i] = *(const uint4*)from;");
    line("rest |= !at_once && valid > 0;");
  });
  open("if (rest)");
  each_unit("#pragma unroll 1", [&] {
    declare_target();
    line("#pragma unroll 1");
    line("for (int k = 0; k < 8 && !at_once && k < valid; ++k) to[k] = from[k];");
  });
  close();
  line("quern_async_fence();  // the next copy to the tile comes behind this");
  line("__syncwarp();");
  each_unit("#pragma unroll", [&] {
    declare_target();
    line("if (at_once) quern_store_16_bytes(to, held[i]);");
  });
  scopes_.pop_back();
  close();
}

/// Two columns of tile `ct`, rounded into word `at` of each store; columns beyond `column_limit`, if any, are not read.
void KernelPrinter::quad_words(const Nest& nest, const Dim& column, const std::string& column_limit, const std::map<std::size_t, std::string>& words,
                               const std::string& at) {
  scopes_.emplace_back();
  for (const auto& [i, name] : words) {
    VectorStore s;
    s.array = fresh("w");
    s.packed = name;
    line(fmt::format("float {}[2];", s.array));
    vector_stores_[i] = std::move(s);
  }
  scopes_.emplace_back();
  line("const int e = 0;");
  declare_column(column);
  line(fmt::format("const int valid = {};", column_limit.empty() ? "2" : fmt::format("{} - d{}", column_limit, column.index)));
  load_vectors(nest, column.index, 2);
  scopes_.pop_back();
  for (Scope& scope : scopes_) std::erase_if(scope.names, [&](const auto& entry) { return pool_.depends_on(Expr{entry.first}, column.index); });
  load_pairs(nest, column);
  line("#pragma unroll");
  open("for (int e = 0; e < 2; ++e)");
  scopes_.emplace_back();
  declare_column(column);
  if (!column_limit.empty()) open(fmt::format("if (d{} < {})", column.index, column_limit));
  std::vector<Accumulation> none;
  at_point(nest, none);
  if (!column_limit.empty()) close();
  scopes_.pop_back();
  close();
  for (const auto& [i, name] : words)
    line(fmt::format("{0}{1} = {2}x2_bits({3}[0], {3}[1]);", name, at, program_.tensors[nest.updates[i].target].type == DType::bf16 ? "bf16" : "f16", vector_stores_.at(i).array));
  pairs_.clear();
  vector_reads_.clear();
  vector_stores_.clear();
  scopes_.pop_back();
}

}  // namespace quern::cuda
