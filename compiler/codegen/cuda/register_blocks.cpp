// Sums of which every operand is used for many results, without matrix instructions: products and distances of f32 and f64.
// In: a nest that reduces one dim over tiles in shared memory, each of which lacks one of the two kept dims. A thread has a
// block of results in registers, up to 8 x 8; what it reads serves a row or a column of them. Tiles along the reduced dim
// are read 16 bytes at a time, and their rows are 16 bytes longer than they need to be, so that the rows that threads read
// together lie in different banks; of tiles along results, neighbours read neighbours. Threads are 16 x 16.
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

namespace {
constexpr int kSide = 16;                      // threads along each kept dim
constexpr std::int64_t kMostResults = 8;       // of a thread along each
constexpr std::int64_t kLeastPoints = 1024;
}  // namespace

std::optional<KernelPrinter::RegisterBlock> KernelPrinter::register_block(const Nest& nest) const {
  if (launch.threads != kSide * kSide || nest.dims.size() != 3 || nest.updates.size() != 1) return std::nullopt;
  const Update& u = nest.updates[0];
  if (u.kind != UpdateKind::reduce || u.over.size() != 1 || u.domain || u.has_position_target || u.is_search || !u.has_value_target || u.subscripts.size() != 2) return std::nullopt;
  if (u.reducer != Reducer::sum && u.reducer != Reducer::max && u.reducer != Reducer::min) return std::nullopt;
  RegisterBlock block;
  std::vector<std::size_t> kept;
  for (std::size_t d = 0; d < 3; ++d) {
    if (nest.dims[d].index == u.over[0]) block.inner = d;
    else kept.push_back(d);
  }
  if (kept.size() != 2) return std::nullopt;
  // Columns: what lies side by side in the result.
  block.column = pool_.depends_on(u.subscripts[1], nest.dims[kept[0]].index) ? kept[0] : kept[1];
  block.row = block.column == kept[0] ? kept[1] : kept[0];
  std::int64_t most[3] = {0, 0, 0};
  for (std::size_t d : kept) {
    const auto bound = extent_bound(nest.dims[d]);
    if (!bound || *bound > kSide * kMostResults) return std::nullopt;
    most[d] = *bound;
  }
  if (most[block.row] * most[block.column] < kLeastPoints) return std::nullopt;
  block.rows = static_cast<int>((most[block.row] + kSide - 1) / kSide);
  block.columns = static_cast<int>((most[block.column] + kSide - 1) / kSide);
  const auto is_local = [&](Expr s, const Dim& d) {
    const Node& n = pool_[s];
    std::int64_t begin = 0;
    if (n.op == Op::index) return static_cast<IndexId>(n.payload) == d.index && pool_.is_integer_constant(d.begin, &begin) && begin == 0;
    return n.op == Op::sub && pool_[n.args[0]].op == Op::index && static_cast<IndexId>(pool_[n.args[0]].payload) == d.index && n.args[1] == d.begin;
  };
  bool good = true;
  std::size_t bytes = 0;
  compiler::for_each_node(pool_, u.body, [&](Expr e) {
    const Node& n = pool_[e];
    if (n.op != Op::read || !good) return;
    const auto t = static_cast<TensorId>(n.payload);
    good = std::find(kernel_.scratch.begin(), kernel_.scratch.end(), t) != kernel_.scratch.end() && !in_registers(t) && t != u.target && n.args.size() == 2 &&
           !(arranged_ && arranged_->operands.contains(t));
    if (!good) return;
    const std::size_t other = is_local(n.args[1], nest.dims[block.inner]) ? 0 : 1;
    const bool of_row = is_local(n.args[other], nest.dims[block.row]), of_column = is_local(n.args[other], nest.dims[block.column]);
    // There is memory, if nothing in it, where a thread has more results than the tile has rows.
    std::int64_t rows = 0;
    good = is_local(n.args[1 - other], nest.dims[block.inner]) && (of_row || of_column) && pool_.is_integer_constant(program_.tensors[t].shape[other], &rows) &&
           rows >= kSide * (of_row ? block.rows : block.columns) && (bytes == 0 || bytes == size_of(n.type)) && size_of(n.type) >= 4;
    bytes = size_of(n.type);
    (of_row ? block.row_reads : block.column_reads).push_back(e);
  });
  if (!good || block.row_reads.empty() || block.column_reads.empty()) return std::nullopt;
  block.vector = static_cast<int>(16 / bytes);
  return block;
}

void KernelPrinter::find_register_blocks(const tile::Block& body) {
  for (const tile::Statement& s : body) {
    if (auto* f = std::get_if<tile::For>(&s.node)) find_register_blocks(f->body);
    if (auto* i = std::get_if<tile::If>(&s.node)) find_register_blocks(i->then_block), find_register_blocks(i->else_block);
    auto* n = std::get_if<Nest>(&s.node);
    if (!n || (arranged_ && arranged_->kinds.at(n) != NestKind::flat)) continue;
    if (auto block = register_block(*n)) {
      for (const auto* reads : {&block->row_reads, &block->column_reads})
        for (Expr e : *reads)
          if (pool_.depends_on(pool_[e].args[1], n->dims[block->inner].index)) padded_.insert(static_cast<TensorId>(pool_[e].payload));
      register_blocks_.emplace(n, std::move(*block));
    }
  }
}

void KernelPrinter::blocked_nest(const Nest& nest, const RegisterBlock& block) {
  const Update& u = nest.updates[0];
  const Dim &row = nest.dims[block.row], &column = nest.dims[block.column], &inner = nest.dims[block.inner];
  Accumulation sum;
  sum.type = accumulator_type(u);
  sum.stem = fresh("sum");
  sum.value = sum.stem + "[i][j]";
  for (const Dim* d : {&row, &column, &inner}) {
    line(fmt::format("const int extent{} = (int)max({} - {}, 0ll);", d->index, value(d->end), value(d->begin)));
    local_begin_[d->index] = d->begin;
  }
  const auto declare = [&](const Dim& d, const std::string& at) {
    line(fmt::format("const int d{} = {};", d.index, at));
    line(fmt::format("const long long x{} = {} + d{};", d.index, value(d.begin), d.index));
    indices_[d.index] = fmt::format("x{}", d.index);
  };
  const auto row_at = [&] { declare(row, fmt::format("thread / {} + i * {}", kSide, kSide)); };
  const auto column_at = [&] { declare(column, fmt::format("thread % {} + j * {}", kSide, kSide)); };
  const auto loop = [&](const char* name, int count) {
    line("#pragma unroll");
    open(fmt::format("for (int {} = 0; {} < {}; ++{})", name, name, count, name));
    scopes_.emplace_back();
  };
  const auto end = [&] {
    scopes_.pop_back();
    close();
  };
  line(fmt::format("{} {}[{}][{}];", value_type(sum.type), sum.stem, block.rows, block.columns));
  const std::string from = identity(u.reducer, sum.type);
  loop("i", block.rows);
  loop("j", block.columns);
  line(fmt::format("{} = {};", sum.value, from));
  end();
  end();
  const auto step = [&](bool whole) {
    scopes_.emplace_back();
    std::map<std::uint32_t, std::string> names;
    for (const bool of_row : {true, false}) {
      for (Expr e : of_row ? block.row_reads : block.column_reads) {
        const Node n = pool_[e];
        const auto tensor = static_cast<TensorId>(n.payload);
        const std::string type = fmt::format("quern_vector<{}, {}>", stored_type(n.type), whole ? block.vector : 1), name = fresh("w");
        line(fmt::format("{} {}[{}];", type, name, of_row ? block.rows : block.columns));
        loop(of_row ? "i" : "j", of_row ? block.rows : block.columns);
        if (of_row) row_at();
        else column_at();
        const std::string to = fmt::format("{}[{}]", name, of_row ? "i" : "j");
        if (pool_.depends_on(n.args[1], inner.index)) {
          declare(inner, "k");
          line(fmt::format("{} = *(const {}*)({} + ({}));", to, type, tensor_pointer(tensor), offset_text(tensor, n.args)));
        } else {
          // Neighbours are results: one element for each step.
          loop("e", whole ? block.vector : 1);
          declare(inner, "k + e");
          line(fmt::format("{}.at[e] = {}[{}];", to, tensor_pointer(tensor), offset_text(tensor, n.args)));
          end();
        }
        end();
        names[e.id] = fmt::format("{}[{}]", name, of_row ? "i" : "j");
      }
    }
    loop("e", whole ? block.vector : 1);
    loop("i", block.rows);
    loop("j", block.columns);
    for (const auto& [id, name] : names) vector_reads_[id] = name;
    row_at();
    column_at();
    declare(inner, "k + e");
    line(fmt::format("{} = {};", sum.value, combined(u, sum.type, sum.value, cast_text(pool_.type(u.body), sum.type, value(u.body)))));
    vector_reads_.clear();
    end();
    end();
    end();
    scopes_.pop_back();
  };
  line("int k = 0;");
  line("#pragma unroll 1");
  open(fmt::format("for (; k + {} <= extent{}; k += {})", block.vector, inner.index, block.vector));
  step(true);
  close();
  line("#pragma unroll 1");
  open(fmt::format("for (; k < extent{}; ++k)", inner.index));
  step(false);
  close();
  indices_.erase(inner.index);
  loop("i", block.rows);
  loop("j", block.columns);
  row_at();
  column_at();
  open(fmt::format("if (d{} < extent{} && d{} < extent{})", row.index, row.index, column.index, column.index));
  finish(u, sum);
  close();
  end();
  end();
  for (const Dim& d : nest.dims) {
    local_begin_.erase(d.index);
    indices_.erase(d.index);
  }
}

}  // namespace quern::cuda
