// How the points of a flat nest are dealt out. In: a nest. Out: which dims are kept and which reduced, the fastest last, how
// many threads share a kept point, and how many points a thread takes at once. Memory decides what neighbouring threads share.
#include <algorithm>
#include <bit>
#include <functional>
#include <set>

#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Dim;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

namespace {
std::int64_t power_below(std::int64_t n) { return n < 1 ? 1 : static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(n))); }
std::int64_t power_above(std::int64_t n) { return n < 1 ? 1 : static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n))); }
}  // namespace

/// The most points a dim can have, where that is known.
std::optional<std::int64_t> KernelPrinter::extent_bound(const Dim& dim) const {
  std::function<std::optional<std::int64_t>(Expr)> above = [&](Expr end) -> std::optional<std::int64_t> {
    if (auto d = constant_difference(pool_, end, dim.begin)) return std::max<std::int64_t>(*d, 0);
    const Node& n = pool_[end];
    if (n.op != Op::min) return std::nullopt;
    const auto a = above(n.args[0]), b = above(n.args[1]);
    if (a && b) return std::min(*a, *b);
    return a ? a : b;
  };
  return above(dim.end);
}

/// How much memory likes neighbouring threads to differ in `index`.
int KernelPrinter::access_score(const Nest& nest, IndexId index) const {
  int score = 0;
  auto see = [&](TensorId tensor, const std::vector<Expr>& subscripts) {
    const int weight = tiles_.contains(tensor) ? 1 : 8;
    const std::size_t unit = unit_axis(tensor).value_or(subscripts.empty() ? 0 : subscripts.size() - 1);
    for (std::size_t k = 0; k < subscripts.size(); ++k) {
      if (!pool_.depends_on(subscripts[k], index)) continue;
      const Node& n = pool_[subscripts[k]];
      const bool plain = n.op == Op::index || n.op == Op::add || n.op == Op::sub;
      score += k == unit && plain ? weight : -weight;
    }
  };
  for (const Update& u : nest.updates) {
    for (Expr e : {u.body, u.domain})
      if (e) compiler::for_each_node(pool_, e, [&](Expr at) {
        if (pool_[at].op == Op::read) see(static_cast<TensorId>(pool_[at].payload), pool_[at].args);
      });
    if (u.has_value_target) see(u.target, u.subscripts);
    if (u.has_position_target) see(u.position_target, u.subscripts);
  }
  return score;
}

/// Points of scatters that differ in this dim never meet in one element.
bool KernelPrinter::is_separated(const Nest& nest, std::size_t dim) const {
  const IndexId i = nest.dims[dim].index;
  return std::all_of(nest.updates.begin(), nest.updates.end(), [&](const Update& u) {
    if (u.kind != UpdateKind::scatter) return true;
    int bare = 0, other = 0;
    for (Expr s : u.subscripts) {
      if (pool_[s].op == Op::index && static_cast<IndexId>(pool_[s].payload) == i) ++bare;
      else if (pool_.depends_on(s, i)) ++other;
    }
    return bare == 1 && other == 0;
  });
}

KernelPrinter::Split KernelPrinter::split_of(const Nest& nest) const {
  Split split;
  split.threads = threads();
  std::set<IndexId> over;
  bool scans = false, scatters = false, searches = false;
  for (const Update& u : nest.updates) {
    over.insert(u.over.begin(), u.over.end());
    scans |= u.kind == UpdateKind::scan;
    scatters |= u.kind == UpdateKind::scatter;
    searches |= u.is_search;
  }
  const bool ordered = scatters && program_.annotations.deterministic;
  for (std::size_t d = 0; d < nest.dims.size(); ++d) {
    const bool reduced = over.contains(nest.dims[d].index) || (ordered && !is_separated(nest, d));
    (reduced ? split.reduced : split.kept).push_back(d);
  }
  std::vector<int> score;
  for (const Dim& d : nest.dims) score.push_back(access_score(nest, d.index));
  auto fastest_last = [&](std::vector<std::size_t>& dims) {
    if (dims.size() < 2) return;
    const auto best = std::max_element(dims.begin(), dims.end(), [&](std::size_t a, std::size_t b) { return score[a] <= score[b]; });
    if (score[*best] > 0) std::rotate(best, best + 1, dims.end());
  };
  fastest_last(split.kept);
  if (!scans && !ordered) fastest_last(split.reduced);
  if (scans || scatters) return split;
  if (searches) return split;  // a thread for each
  if (split.reduced.empty() && split.kept.size() > 1 && !extent_bound(nest.dims[split.kept.back()])) {
    // Long rows: a team walks each, so that what a row needs is computed once and no point is divided into its indices.
    std::int64_t rows = 1;
    for (std::size_t k = 0; k + 1 < split.kept.size(); ++k) {
      const auto b = extent_bound(nest.dims[split.kept[k]]);
      rows = std::min<std::int64_t>(rows * (b ? std::max<std::int64_t>(*b, 1) : 1), split.threads / 32);
    }
    split.reduced = {split.kept.back()};
    split.kept.pop_back();
    split.vector = vector_of(nest, split.reduced.back());
    split.team = split.threads / static_cast<int>(power_above(rows));
    return split;
  }
  if (split.reduced.empty()) {
    if (!split.kept.empty()) split.vector = vector_of(nest, split.kept.back());
    split.kept_vector = true;
    return split;
  }

  std::optional<std::int64_t> kept_bound = 1;
  for (std::size_t d : split.kept) {
    const auto b = extent_bound(nest.dims[d]);
    if (kept_bound && b) *kept_bound *= std::max<std::int64_t>(*b, 1);
    else kept_bound.reset();
  }
  const std::size_t inner = split.reduced.back();
  const auto inner_bound = extent_bound(nest.dims[inner]);
  const std::int64_t most = std::min<std::int64_t>(split.threads, inner_bound ? power_below(*inner_bound) : split.threads);
  const int kept_score = split.kept.empty() ? 0 : score[split.kept.back()];
  split.neighbours = score[inner] > kept_score || split.kept.empty();
  std::int64_t team = 1;
  if (kept_bound) team = power_below(split.threads / std::min<std::int64_t>(power_above(*kept_bound), split.threads));
  if (split.neighbours && score[inner] > 0) team = std::max<std::int64_t>(team, 32);
  // A vector for each thread, along the dim that threads share or, where they do not, the kept one.
  split.kept_vector = !split.neighbours;
  if (split.kept_vector ? !split.kept.empty() : true) split.vector = vector_of(nest, split.kept_vector ? split.kept.back() : inner);
  if (!split.kept_vector && inner_bound) team = std::min(team, power_below((*inner_bound + split.vector - 1) / split.vector));
  if (split.kept_vector && kept_bound && split.vector > 1) {
    const std::int64_t chunks = std::max<std::int64_t>(1, *kept_bound / split.vector);
    team = power_below(split.threads / std::min<std::int64_t>(power_above(chunks), split.threads));
  }
  split.team = static_cast<int>(std::clamp<std::int64_t>(team, 1, most));
  return split;
}

}  // namespace quern::cuda
