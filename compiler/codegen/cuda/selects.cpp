// Selection from a row and sorting by the threads of a block: calls of the prelude. What is selected from is computed or read
// where it is looked at; what is sorted lies in a tile.
#include <algorithm>
#include <stdexcept>

#include <fmt/format.h>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;

void KernelPrinter::statement(const tile::Select& s) {
  Touched t;
  if (s.body) note_reads(s.body, t), note_reads(s.domain, t);
  else t.read.insert(s.source);
  if (s.want_values) t.written.insert(s.values);
  if (s.want_positions) t.written.insert(s.positions);
  settle(t);
  barrier();  // the call has barriers of its own
  uses_exchange_ = true;
  open("");
  scopes_.emplace_back();
  if (s.body) select_top(s);
  else if (!s.sort) throw std::logic_error("a selection from a row reached the code generator");
  else line(fmt::format("quern_sort<{}, {}>({}, {}, {});", stored_type(program_.tensors[s.source].type), s.want_positions ? "true" : "false", tensor_pointer(s.source),
                        s.want_positions ? tensor_pointer(s.positions) : "(int*)0", value(s.extent)));
  scopes_.pop_back();
  close();
  touched_ = {};  // it ends with a barrier
}

namespace {
constexpr int kTopPieces = 4, kWarpTopPieces = 2;  // of 4 values that a thread of a block, or of a lone warp, has in registers
}  // namespace

/// The row's values as quern_top asks for them: pieces of four neighbours, by loads of 16 bytes where they lie side by side.
void KernelPrinter::selected_row(const tile::Select& s) {
  tile::Nest points;
  points.dims.push_back({s.index, s.begin, pool_.add(s.begin, s.extent)});
  tile::Update u;
  u.body = s.body;
  // Where the index stays below something is where the row ends; the rest of the domain is asked at every point.
  std::vector<std::pair<Expr, Expr>> ends;
  if (s.domain)
    for (Expr c : compiler::conjuncts(pool_, s.domain)) {
      const Node& n = pool_[c];
      if (n.op == Op::lt && pool_.type(n.args[0]) == DType::i64 && steps_with(pool_, n.args[0], s.index) && !pool_.depends_on(n.args[1], s.index) && !touches_memory(c)) ends.push_back({n.args[0], n.args[1]});
      else u.domain = u.domain ? pool_.both(u.domain, c) : c;
    }
  const Expr domain = u.domain;
  u.has_value_target = false;
  points.updates.push_back(u);
  std::vector<Expr> reads = reads_along(points, s.index);
  // What a domain protects may lie outside of the tensor.
  std::erase_if(reads, [&](Expr e) { return (pool_[e].flags & kChecked) || (domain && !is_always_inside(static_cast<TensorId>(pool_[e].payload), pool_[e].args)); });
  bool everywhere = !domain;  // zeros behind the end may be computed with
  compiler::for_each_node(pool_, s.body, [&](Expr e) {
    everywhere &= pool_[e].op != Op::read || !pool_.depends_on(e, s.index) || std::find(reads.begin(), reads.end(), e) != reads.end();
  });
  const std::string begin = value(s.begin);
  const auto at = [&](const std::string& d) {
    line(fmt::format("const long long d{} = {};", s.index, d));
    line(fmt::format("const long long x{} = {} + d{};", s.index, begin, s.index));
  };
  open("const auto row = [&](auto& values, long long first, int step, int left) -> unsigned");
  line("constexpr int pieces = sizeof(values) / sizeof(values[0]);");
  const std::vector<Scope> outside = scopes_;
  const auto held = vector_reads_;
  scopes_.emplace_back();
  indices_[s.index] = fmt::format("x{}", s.index);
  local_begin_[s.index] = s.begin;
  if (!reads.empty() || !ends.empty()) at("first");
  for (const auto& [inside, end] : ends) line(fmt::format("left = (int)min((long long)left, max({} - {}, 0ll));", value(end), value(inside)));
  for (Expr e : reads) {
    const Node n = pool_[e];
    const auto tensor = static_cast<TensorId>(n.payload);
    const std::string name = fresh("w");
    line(fmt::format("quern_vector<{}, 4> {}[pieces];", stored_type(program_.tensors[tensor].type), name));
    line(fmt::format("quern_load_pieces({}, {} + ({}), step, left);", name, tensor_pointer(tensor), offset_text(tensor, n.args)));
    vector_reads_[e.id] = name + "[p]";
  }
  line(everywhere ? "const unsigned there = quern_existing<pieces>(step, left);" : "unsigned there = 0;");
  line("#pragma unroll");
  open("for (int p = 0; p < pieces; ++p)");
  line("#pragma unroll");
  open("for (int e = 0; e < 4; ++e)");
  scopes_ = outside;
  scopes_.emplace_back();
  if (!everywhere) {
    line("values[p][e] = 0;");
    open("if (p * step + e < left)");
  }
  at("first + p * step + e");
  const int guards = open_domain(domain);
  line(fmt::format("values[p][e] = {};", value(s.body)));
  if (!everywhere) line("there |= 1u << (p * 4 + e);");
  close_domain(guards);
  if (!everywhere) close();
  scopes_ = outside;
  vector_reads_ = held;
  indices_.erase(s.index);
  local_begin_.erase(s.index);
  close();
  close();
  line("return there;");
  close(";");
}

/// The one nest that reads a tile, where it does nothing but store each of its `count` values somewhere else.
const tile::Nest* KernelPrinter::handing_out(TensorId tile, Expr count) const {
  const tile::Nest* found = nullptr;
  for (const tile::Statement& s : kernel_.body) {
    const auto* nest = std::get_if<tile::Nest>(&s.node);
    if (!nest) {
      if (!std::holds_alternative<tile::Select>(s.node)) return nullptr;
      continue;
    }
    if (!touched_by(*nest).read.contains(tile)) continue;
    if (found || nest->updates.size() != 1 || nest->dims.size() != 1) return nullptr;
    found = nest;
  }
  if (!found) return nullptr;
  const tile::Update& u = found->updates[0];
  const tile::Dim& d = found->dims[0];
  if (u.kind != tile::UpdateKind::store || u.checked || u.domain || pool_[u.body].op != Op::read || tiles_.contains(u.target)) return nullptr;
  const std::vector<Expr>& at = pool_[u.body].args;
  std::int64_t begin = 0;
  const bool counted = at.size() == 1 && pool_[at[0]].op == Op::sub && pool_[at[0]].args[1] == d.begin && pool_[pool_[at[0]].args[0]].op == Op::index &&
                       static_cast<IndexId>(pool_[pool_[at[0]].args[0]].payload) == d.index;
  const bool bare = at.size() == 1 && pool_[at[0]].op == Op::index && static_cast<IndexId>(pool_[at[0]].payload) == d.index && pool_.is_integer_constant(d.begin, &begin) && begin == 0;
  if (!counted && !bare) return nullptr;
  const auto extent = constant_difference(pool_, d.end, d.begin);
  std::int64_t known = 0;
  if (!(extent && pool_.is_integer_constant(count, &known) && known == *extent) && pool_.sub(d.end, d.begin) != count) return nullptr;
  for (Expr s : u.subscripts) if (touches_memory(s)) return nullptr;
  // An input of the same storage has been read by then, if the row is walked once and nobody else reads it.
  const bool once = pool_.is_integer_constant(count, &known) && known <= 32;
  for (const auto& [in, out] : shared_.may_share) {
    if (out != u.target) continue;
    if (!once) return nullptr;
    for (const tile::Statement& s : kernel_.body)
      if (const auto* nest = std::get_if<tile::Nest>(&s.node); nest && touched_by(*nest).read.contains(in)) return nullptr;
  }
  return found;
}

/// Whether a warp may take four rows at once: selections of a few f32 whose results go where they belong at once.
bool KernelPrinter::fits_eighths() const {
  std::size_t handed = 0;
  bool few = true;
  for (const tile::Statement& s : kernel_.body) {
    const auto* select = std::get_if<tile::Select>(&s.node);
    if (!select) continue;
    std::int64_t k = 0;
    few &= value_type(pool_.type(select->body)) == "float" && pool_.is_integer_constant(select->k, &k) && k <= 16;
    handed += 1;
    if (select->want_values) handed += handing_out(select->values, select->k) != nullptr;
    if (select->want_positions) handed += handing_out(select->positions, select->k) != nullptr;
  }
  return few && handed == kernel_.body.size();
}

void KernelPrinter::select_top(const tile::Select& s) {
  const DType type = pool_.type(s.body);
  const std::string held = value_type(type), extent = value(s.extent), k = value(s.k);
  const std::string none = value(compiler::identity_of(pool_, Reducer::max, type));
  selected_row(s);
  // Results go where they belong at once, if nothing else is done with them.
  open(fmt::format("const auto keep = [&](long long j, {} value, int at)", held));
  if (by_eighths_) line("if (!owned) return;");
  const auto hand = [&](TensorId tile, const char* result, DType from) {
    const tile::Nest* nest = handing_out(tile, s.k);
    if (!nest) return line(fmt::format("{}[j] = {};", tensor_pointer(tile), stored_text(program_.tensors[tile].type, from, result)));
    const tile::Dim& d = nest->dims[0];
    const tile::Update& u = nest->updates[0];
    open("");
    scopes_.emplace_back();
    line(fmt::format("const long long x{} = {} + j;", d.index, value(d.begin)));
    indices_[d.index] = fmt::format("x{}", d.index);
    store(u.target, u.subscripts, result, from);
    indices_.erase(d.index);
    scopes_.pop_back();
    close();
    handed_out_.insert(nest);
  };
  if (s.want_values) hand(s.values, "value", type);
  if (s.want_positions) hand(s.positions, "at", DType::i32);
  close(";");
  selects_ = true;
  std::int64_t few = 0;
  const int pieces = std::min(by_warp_ ? kWarpTopPieces : kTopPieces, 16 / static_cast<int>(std::max<std::size_t>(size_of(type), 4)));
  const std::string call = fmt::format("quern_top<{}, {}, {}>(row, keep, {}, {}, {}, exchange);", threads(), pieces, held, extent, k, none);
  if (!by_warp_ || held != "float" || !pool_.is_integer_constant(s.k, &few) || few > 32) return line(call);
  if (by_eighths_) line(fmt::format("if ({} <= 128) quern_top_eighths<{}>(row, keep, (int){}, {}, exchange);", extent, few, extent, none));
  else line(fmt::format("if ({} <= 128) quern_top_128(row, keep, (int){}, (int){}, {});", extent, extent, k, none));
  line(fmt::format("else {}", call));
}

}  // namespace quern::cuda
