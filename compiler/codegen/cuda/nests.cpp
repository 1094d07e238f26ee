// Loop nests over the threads of a block: the kept points of a nest are dealt out to teams of threads, a team shares the
// reduced points of its kept point and combines its sums by shuffles, or through shared memory where it spans warps.
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

void KernelPrinter::statement(const Nest& nest) {
  if (handed_out_.contains(&nest)) return;
  settle(touched_by(nest));
  if (!nest.note.empty()) line(comment(nest.note));
  open("");
  scopes_.emplace_back();
  switch (arranged_ ? arranged_->kinds.at(&nest) : NestKind::flat) {
    case NestKind::flat: flat_nest(nest); break;
    case NestKind::arranged:
    case NestKind::contraction:
      in_fragment_ = true;
      if (arranged_->contractions.contains(&nest)) contraction_nest(nest);
      else if (arranged_->f32) whole_or_not(nest);
      else fragment_nest(nest);
      in_fragment_ = false;
      break;
    case NestKind::copy: copy_nest(nest); break;
  }
  scopes_.pop_back();
  close();
}

void KernelPrinter::flat_nest(const Nest& nest) {
  if (nest.updates.empty()) return;  // what it would compute is read by nobody
  // Matrix instructions read whole operand tiles: zeros where there are no points.
  bool filled = false;
  for (const Update& u : nest.updates) {
    if (!arranged_ || !arranged_->operands.contains(u.target)) continue;
    const OperandTile& tile = arranged_->operands.at(u.target);
    line(fmt::format("for (int i = thread; i < {}; i += {}) tile{}[i] = 0;", tile.rows * tile.pitch, launch.threads, u.target));
    filled = true;
  }
  if (filled) line("__syncthreads();");
  if (const auto scan = scan_of(nest)) return scan_nest(nest, *scan);
  if (const auto block = register_blocks_.find(&nest); block != register_blocks_.end()) return blocked_nest(nest, block->second);
  loop_over(nest, split_of(nest));
}

/// Evaluates ahead of the inner loops what does not change in them. Tiles alone may be read early: they have every point.
void KernelPrinter::hoist_tiles(Expr e, const std::vector<IndexId>& moving, const std::set<TensorId>& written) {
  if (!e) return;
  const Node n = pool_[e];
  if (n.args.empty() || n.op == Op::previous || n.op == Op::accumulator) return;
  const auto is_tile = [&](TensorId t) { return tiles_.contains(t) || (rows_ && rows_->row_tiles.contains(t)); };
  if (!pool_.depends_on_any(e, moving)) {
    bool safe = true;
    compiler::for_each_node(pool_, e, [&](Expr at) {
      const Node& x = pool_[at];
      const auto t = static_cast<TensorId>(x.payload);
      if (x.op == Op::accumulator || x.op == Op::previous || (x.op == Op::read && (!is_tile(t) || written.contains(t)))) safe = false;
    });
    if (safe) {
      value(e);
      return;
    }
  }
  for (Expr a : n.args) hoist_tiles(a, moving, written);
}

void KernelPrinter::loop_over(const Nest& nest, const Split& split) {
  const bool together = split.team > 32 || (split.team > 1 && !split.neighbours);  // the block walks in step
  std::vector<std::string> begin(nest.dims.size()), extent(nest.dims.size());
  bool narrow = true;  // counts fit in 32 bits for certain
  for (std::size_t d = 0; d < nest.dims.size(); ++d) {
    const Dim& dim = nest.dims[d];
    begin[d] = value(dim.begin);
    const auto exact = constant_difference(pool_, dim.end, dim.begin);
    if (exact) {
      extent[d] = std::to_string(std::max<std::int64_t>(*exact, 0));
    } else {
      extent[d] = fresh("extent");
      line(fmt::format("const long long {} = max({} - {}, 0ll);", extent[d], value(dim.end), begin[d]));
    }
    local_begin_[dim.index] = dim.begin;
  }
  std::string total = "1";
  double bound = 1;
  const bool vectors = split.vector > 1;
  const std::size_t along = !vectors ? nest.dims.size() : split.kept_vector ? split.kept.back() : split.reduced.back();
  std::vector<std::string> steps = extent;  // of the loops: a vector is one step
  if (vectors && split.kept_vector) {
    steps[along] = fresh("steps");
    line(fmt::format("const long long {} = ({} + {}) / {};", steps[along], extent[along], split.vector - 1, split.vector));
  }
  // What a block has at most is a constant, and constants divide fast; points behind the end are left out.
  std::string inside;
  if (split.team == 1)
    for (std::size_t k = 1; k < split.kept.size(); ++k) {
      const std::size_t d = split.kept[k];
      const auto b = extent_bound(nest.dims[d]);
      if (constant_difference(pool_, nest.dims[d].end, nest.dims[d].begin) || !b || *b < 1 || *b > 4096) continue;
      steps[d] = std::to_string(vectors && split.kept_vector && d == along ? (*b + split.vector - 1) / split.vector : *b);
      inside += fmt::format("{}d{} < {}", inside.empty() ? "" : " && ", nest.dims[d].index, extent[d]);
    }
  for (std::size_t d : split.kept) {
    total += " * " + steps[d];
    const auto b = extent_bound(nest.dims[d]);
    if (b) bound *= static_cast<double>(std::max<std::int64_t>(*b, 1));
    else narrow = false;
  }
  narrow &= bound < 1e9;
  const char* count = narrow ? "int" : "long long";
  auto declare = [&](std::size_t d, std::string local) {
    const IndexId index = nest.dims[d].index;
    const auto b = extent_bound(nest.dims[d]);
    if (vectors && d == along && split.kept_vector) local = fmt::format("({}) * {}", local, split.vector);
    line(fmt::format("const {} d{} = {};", b && *b < (1 << 30) ? "int" : "long long", index, local));
    line(fmt::format("const long long x{} = {} + d{};", index, begin[d], index));
    indices_[index] = fmt::format("x{}", index);
  };
  line(fmt::format("const {} points = {};", count, total));
  if (split.team > 1) {
    line(split.neighbours ? fmt::format("const int member = thread % {}, team = thread / {};", split.team, split.team)
                          : fmt::format("const int member = thread / {}, team = thread % {};", split.teams(), split.teams()));
    if (split.neighbours && split.team < 32)
      line(fmt::format("const unsigned team_mask = {}u << (thread % 32 / {} * {});", (1u << split.team) - 1, split.team, split.team));
    else if (split.neighbours)
      line("const unsigned team_mask = 0xffffffffu;");
  }
  // Where the point is; behind the end when a team has none.
  const auto locate = [&] {
    if (split.kept.size() == 1) {
      declare(split.kept[0], together ? fmt::format("min(point, points - 1)") : "point");
    } else if (!split.kept.empty()) {
      line(fmt::format("{} rest = {};", count, together ? "min(point, points - 1)" : "point"));
      for (std::size_t k = split.kept.size(); k-- > 0;) {
        const std::size_t d = split.kept[k];
        if (k == 0) declare(d, "rest");
        else if (narrow) {
          const std::string q = fresh("q");
          line(fmt::format("const int {} = (int)((unsigned)rest / (unsigned){});", q, steps[d]));
          declare(d, fmt::format("rest - {} * (int){}", q, steps[d]));
          line(fmt::format("rest = {};", q));
        } else {
          declare(d, fmt::format("quern_split(rest, {})", steps[d]));
        }
      }
    }
    if (!inside.empty()) open(fmt::format("if ({})", inside));
  };
  const std::string first = split.team > 1 ? "team" : "thread";
  if (const int at_once = narrow && vectors && split.kept_vector ? points_at_once(nest, split, bound) : 1; at_once > 1) {
    point_batches(nest, nest.dims[along].index, split, at_once, extent[along], locate, inside.empty() ? 0 : 1);
    for (const Dim& d : nest.dims) {
      local_begin_.erase(d.index);
      indices_.erase(d.index);
    }
    return;
  }
  if (together) {
    open(fmt::format("for ({} base = 0; base < points; base += {})", count, split.teams()));
    line(fmt::format("const {} point = base + {};", count, first));
  } else {
    open(fmt::format("for ({} point = {}; point < points; point += {})", count, first, split.teams()));
  }
  scopes_.emplace_back();
  locate();
  std::vector<Accumulation> sums;
  begin_sums(nest, sums, split.kept_vector ? split.vector : 1);
  if (together) {
    open("if (point < points)");
    scopes_.emplace_back();
  }
  if (!split.reduced.empty()) {
    std::vector<IndexId> moving_dims;
    for (std::size_t d : split.reduced) moving_dims.push_back(nest.dims[d].index);
    if (vectors) moving_dims.push_back(nest.dims[along].index);
    const Touched touched = touched_by(nest);
    for (const Update& u : nest.updates)
      for (Expr e : {u.body, u.domain}) hoist_tiles(e, moving_dims, touched.written);
  }
  const bool searches = nest.updates[0].is_search;
  if (searches) {
    const Update& u = nest.updates[0];
    const std::size_t d = split.reduced.at(0);
    line(fmt::format("long long low = 0, high = {};", extent[d]));
    open("while (low < high)");
    scopes_.emplace_back();
    declare(d, "(low + high) / 2");
    line(fmt::format("if ({}) high = d{}; else low = d{} + 1;", value(u.domain), u.over[0], u.over[0]));
    scopes_.pop_back();
    close();
    line(fmt::format("{} = {} + low;", sums.at(0).value, begin[d]));
  }
  bool batched = false;
  for (std::size_t k = 0; k < split.reduced.size() && !searches; ++k) {
    const std::size_t d = split.reduced[k];
    const bool inner = k + 1 == split.reduced.size(), shared = inner && split.team > 1;
    const auto b = extent_bound(nest.dims[d]);
    const std::string type = b && *b < (1 << 30) ? "int" : "long long";
    if (inner && vectors && std::none_of(nest.updates.begin(), nest.updates.end(), [](const Update& u) { return u.kind == UpdateKind::scan || u.kind == UpdateKind::scatter; })) {
      batched = true;
      const int by = d == along ? split.vector : 1;
      batches(nest, {d, along, split.vector, begin[d], extent[d], extent[along], type, shared && by > 1 ? fmt::format("member * {}", by) : shared ? "member" : "0", (shared ? split.team : 1) * by}, sums);
      break;
    }
    const std::string c = fresh("r");
    if (inner) line("#pragma unroll 4");
    const int by = vectors && d == along ? split.vector : 1;
    open(fmt::format("for ({} {} = {}; {} < {}; {} += {})", type, c, !shared ? "0" : by > 1 ? fmt::format("member * {}", by) : "member", c, extent[d], c, (shared ? split.team : 1) * by));
    scopes_.emplace_back();
    declare(d, c);
  }
  const IndexId moving = vectors ? nest.dims[along].index : 0;
  if (!batched && !searches) {
    if (vectors) vector_points(nest, moving, split.vector, extent[along], Ends::either, sums);
    else at_point(nest, sums);
  }
  for (std::size_t k = 0; k + (batched ? 1 : 0) < split.reduced.size() && !searches; ++k) {
    scopes_.pop_back();
    close();
  }
  if (together) {
    scopes_.pop_back();
    close();
  }
  for (const Accumulation& s : sums) {
    const Update& u = nest.updates[s.update];
    if (u.kind == UpdateKind::scan) continue;
    const bool each = vectors && split.kept_vector;
    std::string last;
    if (each) {
      line(fmt::format("const auto first_d_{} = d{}; const auto first_x_{} = x{};", s.stem, moving, s.stem, moving));
      line("#pragma unroll");
      open(fmt::format("for (int e = 0; e < {}; ++e)", split.vector));
      line(fmt::format("const auto d{} = first_d_{} + e; const auto x{} = first_x_{} + e;", moving, s.stem, moving, s.stem));
      last = fmt::format(" && d{} < {}", moving, extent[along]);
      scopes_.emplace_back();
      for (Scope& scope : scopes_) std::erase_if(scope.names, [&](const auto& entry) { return pool_.depends_on(Expr{entry.first}, moving); });
    }
    if (split.team > 1) combine_team(split, u, s);
    if (together) open("if (member == 0 && point < points" + last + ")");
    else if (split.team > 1) open("if (member == 0" + last + ")");
    else open(each ? fmt::format("if ({})", last.substr(4)) : "");
    finish(u, s);
    close();
    if (each) {
      scopes_.pop_back();
      close();
    }
  }
  if (!inside.empty()) close();
  scopes_.pop_back();
  close();
  for (const Dim& d : nest.dims) {
    local_begin_.erase(d.index);
    indices_.erase(d.index);
  }
}

}  // namespace quern::cuda
