// A warp for each task. In: a tile kernel that selects from one row in a task, or one of small sums alone (of parts of a walk,
// say). Out: the same kernel where every warp has a task of its own, for calls with many short rows: nobody waits for a whole
// block, and a block has eight tasks at once.
#include <algorithm>

#include <fmt/format.h>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;

namespace {
constexpr std::int64_t kWarps = 8;            // of a block
constexpr std::int64_t kWarpBytes = 4096;     // shared memory of a warp, at most
constexpr std::int64_t kShort = 256, kLong = 4096, kManyRows = 2048;
constexpr std::int64_t kFewTerms = 64;        // of a sum that a warp does beside others
}  // namespace

/// One selection, then nests, or several nests of which some sum; tiles of known size.
bool KernelPrinter::find_warps() {
  if (arranged_ || kernel_.chained || kernel_.grid.empty()) return false;
  const tile::Select* select = nullptr;
  std::vector<Expr> lengths;  // of sums
  for (const tile::Statement& s : kernel_.body) {
    if (const auto* found = std::get_if<tile::Select>(&s.node)) {
      if (select || !found->body) return false;
      select = found;
    } else if (const auto* nest = std::get_if<tile::Nest>(&s.node)) {
      for (const tile::Update& u : nest->updates) {
        if ((u.kind != tile::UpdateKind::store && u.kind != tile::UpdateKind::reduce) || u.is_search) return false;
        for (const tile::Dim& d : nest->dims)
          if (std::find(u.over.begin(), u.over.end(), d.index) != u.over.end()) lengths.push_back(pool_.sub(d.end, d.begin));
      }
    } else {
      return false;
    }
  }
  if (select && (!pool_.free_indices(select->extent).empty() || touches_memory(select->extent))) return false;
  if (!select && lengths.size() < 2) return false;
  Expr rows = pool_.integer(1);
  for (const tile::GridDim& g : kernel_.grid) {
    if (g.step != 1) return false;
    rows = pool_.mul(rows, pool_.max(pool_.integer(0), pool_.sub(g.end, g.begin)));
  }
  std::int64_t bytes = 0;
  for (TensorId t : kernel_.scratch) {
    std::int64_t own = static_cast<std::int64_t>(size_of(program_.tensors[t].type));
    for (Expr size : program_.tensors[t].shape) {
      std::int64_t n = 0;
      if (!pool_.is_integer_constant(size, &n)) return false;
      own *= n + kernel_.lanes;
    }
    bytes += own + 128;
  }
  if (bytes > kWarpBytes) return false;
  const auto at_most = [&](Expr e, std::int64_t n) { return pool_.apply(Op::le, {e, pool_.integer(n)}); };
  if (!select) {
    warps_fit_ = at_most(rows, kWarps * 0x7fffffff);
    for (Expr n : lengths) {
      if (!pool_.free_indices(n).empty() || touches_memory(n)) return false;
      warps_fit_ = pool_.both(warps_fit_, at_most(n, kFewTerms));
    }
    return true;
  }
  const Expr many = pool_.both(at_most(select->extent, kLong), pool_.apply(Op::le, {pool_.integer(kManyRows), rows}));
  warps_fit_ = pool_.both(at_most(rows, kWarps * 0x7fffffff), pool_.apply(Op::or_, {at_most(select->extent, kShort), many}));
  return true;
}

std::string KernelPrinter::run_warps() {
  if (!find_warps()) return "";
  by_warp_ = true;
  meet_ = "__syncwarp();";
  launch.entry += "_warps";
  launch.threads = 32 * kWarps;
  place_tiles();
  if (!pool_.is_integer_constant(launch.shared_bytes, &warp_bytes_)) return "";
  launch.shared_bytes = pool_.integer(kWarps * warp_bytes_);
  launch.slab_bytes = launch.zeroed_bytes = pool_.integer(0);
  Expr rows = pool_.integer(1);
  std::vector<std::string> counts;
  for (const tile::GridDim& g : kernel_.grid) {
    const Expr own = pool_.max(pool_.integer(0), pool_.sub(g.end, g.begin));
    rows = pool_.mul(rows, own);
    counts.push_back(value(own));
  }
  const Expr runs = kernel_.when ? pool_.both(kernel_.when, warps_fit_) : warps_fit_;
  // Four rows to a warp where they are short and nothing else is done with them.
  by_eighths_ = fits_eighths();
  Expr each = pool_.integer(1);
  for (const tile::Statement& s : kernel_.body)
    if (const auto* select = std::get_if<tile::Select>(&s.node); select && by_eighths_) each = pool_.where(pool_.apply(Op::le, {select->extent, pool_.integer(128)}), pool_.integer(4), each);
  const Expr of_block = pool_.mul(each, pool_.integer(kWarps));
  const Expr blocks = pool_.apply(Op::floordiv, {pool_.add(rows, pool_.sub(of_block, pool_.integer(1))), of_block});
  launch.tasks = pool_.where(runs, blocks, pool_.integer(0));
  line(fmt::format("long long rest = ((long long)blockIdx.x * {} + threadIdx.x / 32){};", kWarps, by_eighths_ ? " * " + value(each) : ""));
  line(fmt::format("if (rest >= {}) return;  // the whole warp", value(rows)));
  if (by_eighths_) {
    line(fmt::format("if ({} > 1) rest += thread / 8;", value(each)));
    line(fmt::format("const bool owned = rest < {};", value(rows)));
    line(fmt::format("rest = min(rest, {} - 1);", value(rows)));
  }
  for (std::size_t k = kernel_.grid.size(); k-- > 0;) {
    const tile::GridDim& g = kernel_.grid[k];
    line(fmt::format("const long long x{} = {} + {};", g.index, value(g.begin), k == 0 ? "rest" : fmt::format("quern_split(rest, {})", counts[k])));
    indices_[g.index] = fmt::format("x{}", g.index);
  }
  block(kernel_.body);
  return function(fmt::format("{}, 6", launch.threads));
}

}  // namespace quern::cuda
