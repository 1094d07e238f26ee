// Loop nests over the threads of a block: the kept points of a nest are dealt out to teams of threads, a team shares the
// reduced points of its kept point and combines its sums by shuffles, or through shared memory where it spans warps.
#include <algorithm>
#include <bit>
#include <functional>
#include <map>
#include <stdexcept>

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

bool has_position(Reducer r) { return r == Reducer::argmax || r == Reducer::argmin; }
std::int64_t power_below(std::int64_t n) { return n < 1 ? 1 : static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(n))); }
std::int64_t power_above(std::int64_t n) { return n < 1 ? 1 : static_cast<std::int64_t>(std::bit_ceil(static_cast<std::uint64_t>(n))); }

bool recurs(const ExprPool& pool, Expr e) {
  bool found = false;
  compiler::for_each_node(pool, e, [&](Expr at) { found |= pool[at].op == Op::previous; });
  return found;
}

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
    const bool tile = tiles_.contains(tensor);
    std::size_t unit = subscripts.empty() ? 0 : subscripts.size() - 1;
    const auto& layouts = shared_.options.layouts;
    if (!tile && tensor < layouts.size() && !layouts[tensor].dense)
      for (std::size_t k = 0; k < layouts[tensor].strides.size(); ++k)
        if (layouts[tensor].strides[k] == cpu::StrideClass::one) unit = k;
    for (std::size_t k = 0; k < subscripts.size(); ++k) {
      if (!pool_.depends_on(subscripts[k], index)) continue;
      const int weight = tile ? 1 : 8;
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
  split.threads = launch.threads;
  std::set<IndexId> over;
  bool scans = false, scatters = false;
  for (const Update& u : nest.updates) {
    over.insert(u.over.begin(), u.over.end());
    scans |= u.kind == UpdateKind::scan;
    scatters |= u.kind == UpdateKind::scatter;
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
  if (split.reduced.empty() && split.kept.size() > 1 && !extent_bound(nest.dims[split.kept.back()])) {
    // Long rows: a team walks each, so that what a row needs is computed once and no point is divided into its indices.
    std::int64_t rows = 1;
    for (std::size_t k = 0; k + 1 < split.kept.size(); ++k) {
      const auto b = extent_bound(nest.dims[split.kept[k]]);
      rows = std::min<std::int64_t>(rows * (b ? std::max<std::int64_t>(*b, 1) : 1), launch.threads / 32);
    }
    split.reduced = {split.kept.back()};
    split.kept.pop_back();
    split.vector = vector_of(nest, split.reduced.back());
    split.team = launch.threads / static_cast<int>(power_above(rows));
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
  const std::int64_t most = std::min<std::int64_t>(launch.threads, inner_bound ? power_below(*inner_bound) : launch.threads);
  const int kept_score = split.kept.empty() ? 0 : score[split.kept.back()];
  split.neighbours = score[inner] > kept_score || split.kept.empty();
  std::int64_t team = 1;
  if (kept_bound) team = power_below(launch.threads / std::min<std::int64_t>(power_above(*kept_bound), launch.threads));
  if (split.neighbours && score[inner] > 0) team = std::max<std::int64_t>(team, 32);
  // A vector for each thread, along the dim that threads share or, where they do not, the kept one.
  split.kept_vector = !split.neighbours;
  if (split.kept_vector ? !split.kept.empty() : true) split.vector = vector_of(nest, split.kept_vector ? split.kept.back() : inner);
  if (!split.kept_vector && inner_bound) team = std::min(team, power_below((*inner_bound + split.vector - 1) / split.vector));
  if (split.kept_vector && kept_bound && split.vector > 1) {
    const std::int64_t chunks = std::max<std::int64_t>(1, *kept_bound / split.vector);
    team = power_below(launch.threads / std::min<std::int64_t>(power_above(chunks), launch.threads));
  }
  split.team = static_cast<int>(std::clamp<std::int64_t>(team, 1, most));
  return split;
}

DType KernelPrinter::accumulator_type(const Update& u) const {
  auto plain = [](DType t) { return is_small_float(t) ? DType::f32 : t; };
  if (u.reducer == Reducer::any || u.reducer == Reducer::all) return DType::boolean;
  if (u.start) return plain(pool_.type(u.start));
  DType found = plain(pool_.type(u.body));
  if (u.result)
    compiler::for_each_node(pool_, u.result, [&](Expr at) {
      if (pool_[at].op == Op::accumulator && pool_[at].payload == 0) found = pool_[at].type;
    });
  return found;
}

std::string KernelPrinter::identity(Reducer reducer, DType type) {
  const Reducer plain = reducer == Reducer::argmax ? Reducer::max : reducer == Reducer::argmin ? Reducer::min : reducer;
  return value(compiler::identity_of(pool_, plain, type));
}

std::string KernelPrinter::combined(const Update& u, DType type, const std::string& a, const std::string& b) const {
  const std::vector<std::string> args{a, b};
  switch (u.reducer) {
    case Reducer::sum: return apply_text(Op::add, type, type, args);
    case Reducer::prod: return apply_text(Op::mul, type, type, args);
    case Reducer::max: return apply_text(Op::max, type, type, args);
    case Reducer::min: return apply_text(Op::min, type, type, args);
    case Reducer::any: return a + " || " + b;
    case Reducer::all: return a + " && " + b;
    default: throw std::logic_error("a composite reducer reached the code generator");
  }
}

void KernelPrinter::begin_sums(const Nest& nest, std::vector<Accumulation>& sums, int vector) {
  sums.clear();
  for (std::size_t i = 0; i < nest.updates.size(); ++i) {
    const Update& u = nest.updates[i];
    if (u.kind != UpdateKind::reduce && u.kind != UpdateKind::scan) continue;
    Accumulation sum;
    sum.update = i;
    sum.type = accumulator_type(u);
    sum.stem = fresh("sum");
    sum.value = vector > 1 ? sum.stem + "[e]" : sum.stem;
    const bool scan = u.kind == UpdateKind::scan;
    const std::string from = scan && u.start ? cast_text(pool_.type(u.start), sum.type, value(u.start)) : identity(u.reducer, sum.type);
    const std::string at = has_position(u.reducer) ? fresh("at") : "";
    if (vector > 1) {
      line(fmt::format("{} {}[{}];", value_type(sum.type), sum.stem, vector));
      if (!at.empty()) line(fmt::format("int {}[{}];", at, vector));
      line("#pragma unroll");
      line(fmt::format("for (int e = 0; e < {}; ++e) {} = {};", vector, sum.value, from));
      if (!at.empty()) line("#pragma unroll");
      if (!at.empty()) line(fmt::format("for (int e = 0; e < {}; ++e) {}[e] = -1;", vector, at));
    } else {
      line(fmt::format("{} {} = {};", value_type(sum.type), sum.value, from));
      if (!at.empty()) line(fmt::format("int {} = -1;", at));
    }
    if (!at.empty()) sum.position = vector > 1 ? at + "[e]" : at;
    sums.push_back(sum);
  }
}

void KernelPrinter::scan_step(const Update& u, const Accumulation& sum) {
  previous_ = sum.value;
  const int guards = open_domain(u.domain);
  scopes_.emplace_back();
  const std::string x = cast_text(pool_.type(u.body), sum.type, value(u.body));
  line(fmt::format("{} = {};", sum.value, recurs(pool_, u.body) ? x : combined(u, sum.type, sum.value, x)));
  scopes_.pop_back();
  close_domain(guards);
  previous_.clear();
  accumulator_[0] = sum.value;
  scopes_.emplace_back();
  store(u.target, u.subscripts, u.result ? value(u.result) : sum.value, u.result ? pool_.type(u.result) : sum.type);
  scopes_.pop_back();
  accumulator_[0].clear();
}

void KernelPrinter::scatter(const Update& u) {
  const DType type = program_.tensors[u.target].type;
  std::string offset, ok = "true";
  if (u.checked) {
    std::vector<std::string> texts;
    ok = checked_subscripts(u.target, u.subscripts, &texts);
    for (std::size_t axis = 0; axis < texts.size(); ++axis) offset += fmt::format("{}{} * {}", axis ? " + " : "", texts[axis], stride(u.target, axis));
    if (offset.empty()) offset = "0";
    open(fmt::format("if ({})", ok));
  } else {
    offset = offset_text(u.target, u.subscripts);
  }
  scopes_.emplace_back();
  const std::string x = cast_text(pool_.type(u.body), type, value(u.body));
  line(fmt::format("atomic_{}_{}({} + {}, {});", u.reducer == Reducer::sum ? "add" : ir::name(u.reducer), name(type), tensor_pointer(u.target), offset, x));
  scopes_.pop_back();
  if (u.checked) close();
}

/// One point of the nest: every update in turn.
void KernelPrinter::at_point(const Nest& nest, std::vector<Accumulation>& sums) {
  for (std::size_t i = 0; i < nest.updates.size(); ++i) {
    const Update& u = nest.updates[i];
    open("");
    scopes_.emplace_back();
    if (u.kind == UpdateKind::scan) {
      for (const Accumulation& s : sums) if (s.update == i) scan_step(u, s);
    } else {
      // On fragments a point outside is the identity: no branch.
      const bool selected = in_fragment_ && (u.domain || !column_guard_.empty()) && u.kind == UpdateKind::reduce &&
                            !(u.domain && touches_memory(u.domain)) && !touches_memory(u.body) && !has_position(u.reducer);
      const bool guarded = static_cast<bool>(u.domain) && !selected;
      const int guards = guarded ? open_domain(u.domain) : 0;
      if (u.kind == UpdateKind::store) {
        update_ = i;
        store_point(u);
      } else if (u.kind == UpdateKind::scatter) {
        scatter(u);
      } else {
        for (const Accumulation& s : sums) {
          if (s.update != i) continue;
          std::string x = cast_text(pool_.type(u.body), s.type, value(u.body));
          if (selected) {
            std::string in = u.domain ? value(u.domain) : "";
            if (!column_guard_.empty()) in += (in.empty() ? "" : " && ") + column_guard_;
            x = fmt::format("({} ? {} : {})", in, x, identity(u.reducer, s.type));
          }
          if (s.position.empty()) line(fmt::format("{} = {};", s.value, combined(u, s.type, s.value, x)));
          else line(fmt::format("quern_{}({}, {}, {}, (int){});", name(u.reducer), s.value, s.position, x, value(u.position)));
        }
      }
      close_domain(guards);
    }
    scopes_.pop_back();
    close();
  }
}

/// Opens what stands behind a domain; what reads memory is asked only where the rest holds.
int KernelPrinter::open_domain(Expr domain) {
  if (!domain) return 0;
  std::string plain;
  std::vector<Expr> reading;
  for (Expr c : compiler::conjuncts(pool_, domain)) {
    if (touches_memory(c)) reading.push_back(c);
    else plain += (plain.empty() ? "" : " && ") + value(c);
  }
  int opened = 0;
  auto guard = [&](const std::string& condition) {
    open(fmt::format("if ({})", condition));
    scopes_.emplace_back();
    ++opened;
  };
  if (!plain.empty()) guard(plain);
  for (Expr c : reading) guard(value(c));
  return opened;
}

void KernelPrinter::close_domain(int opened) {
  for (; opened > 0; --opened) {
    scopes_.pop_back();
    close();
  }
}

/// Every thread of a team, or its first one, gets the team's sum.
void KernelPrinter::combine_team(const Split& split, const Update& u, const Accumulation& s) {
  const std::string type = value_type(s.type);
  auto merge = [&](const std::string& x, const std::string& at) {
    if (s.position.empty()) line(fmt::format("{} = {};", s.value, combined(u, s.type, s.value, x)));
    else line(fmt::format("quern_{}({}, {}, {}, {});", name(u.reducer), s.value, s.position, x, at));
  };
  if (split.neighbours) {
    const int within = std::min(split.team, 32);
    for (int step = within / 2; step > 0; step /= 2) {
      open("");
      line(fmt::format("const {} other = quern_shuffle_xor({}, {}, {});", type, team_mask_, s.value, step));
      if (!s.position.empty()) line(fmt::format("const int other_at = quern_shuffle_xor({}, {}, {});", team_mask_, s.position, step));
      merge("other", "other_at");
      close();
    }
    if (split.team <= 32) return;
  }
  uses_exchange_ = true;
  line(fmt::format("{}* const passed_{} = ({}*)exchange;", type, s.stem, type));
  if (!s.position.empty()) line(fmt::format("int* const passed_{}_at = (int*)(exchange + {});", s.stem, split.threads * 8));
  auto pass = [&](const std::string& slot) {
    line(fmt::format("passed_{}[{}] = {};", s.stem, slot, s.value));
    if (!s.position.empty()) line(fmt::format("passed_{}_at[{}] = {};", s.stem, slot, s.position));
  };
  auto take = [&](const std::string& slot) { merge(fmt::format("passed_{}[{}]", s.stem, slot), fmt::format("passed_{}_at[{}]", s.stem, slot)); };
  if (split.neighbours) {
    // One value a warp; the first thread of the team takes them in order.
    open("if (thread % 32 == 0)");
    pass("thread / 32");
    close();
    line("__syncthreads();");
    open("if (member == 0)");
    open(fmt::format("for (int w = 1; w < {}; ++w)", split.team / 32));
    take("thread / 32 + w");
    close();
    close();
    line("__syncthreads();");
    return;
  }
  for (int step = split.team / 2; step > 0; step /= 2) {
    open(fmt::format("if (member >= {} && member < {})", step, 2 * step));
    pass("thread");
    close();
    line("__syncthreads();");
    open(fmt::format("if (member < {})", step));
    take(fmt::format("thread + {}", step * split.teams()));
    close();
    line("__syncthreads();");
  }
}

/// By one thread of the team: start ⊕ sum, then the result.
void KernelPrinter::finish(const Update& u, const Accumulation& s) {
  scopes_.emplace_back();
  if (u.start) {
    const std::string from = cast_text(pool_.type(u.start), s.type, value(u.start));
    if (s.position.empty()) {
      line(fmt::format("{} = {};", s.value, combined(u, s.type, from, s.value)));
    } else {
      const std::string at = u.start_position ? "(int)" + value(u.start_position) : "-1";
      line(fmt::format("quern_{}({}, {}, {}, {});", name(u.reducer), s.value, s.position, from, at));
    }
  }
  accumulator_[0] = s.value;
  accumulator_[1] = s.position;
  if (!has_position(u.reducer) || u.has_value_target) {
    const std::string x = u.result ? value(u.result) : s.value;
    store(u.target, u.subscripts, x, u.result ? pool_.type(u.result) : s.type);
  }
  if (u.has_position_target) store(u.position_target, u.subscripts, s.position, DType::i32);
  accumulator_[0].clear();
  accumulator_[1].clear();
  scopes_.pop_back();
}

void KernelPrinter::statement(const Nest& nest) {
  settle(touched_by(nest));
  if (!nest.note.empty()) {
    std::string safe;
    for (char c : nest.note) safe += c == '\\' || c == '\n' || static_cast<unsigned char>(c) >= 0x80 ? '?' : c;
    line("// " + safe);
  }
  open("");
  scopes_.emplace_back();
  switch (arranged_ ? arranged_->kinds.at(&nest) : NestKind::flat) {
    case NestKind::flat: flat_nest(nest); break;
    case NestKind::arranged:
    case NestKind::contraction:
      in_fragment_ = true;
      if (arranged_->contractions.contains(&nest)) contraction_nest(nest);
      else fragment_nest(nest);
      in_fragment_ = false;
      break;
    case NestKind::copy: copy_nest(nest); break;
  }
  scopes_.pop_back();
  close();
}

void KernelPrinter::flat_nest(const Nest& nest) {
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
  loop_over(nest, split_of(nest));
}

/// Evaluates ahead of the inner loops what does not change in them. Tiles alone may be read early: they have every point.
void KernelPrinter::hoist_tiles(Expr e, const std::vector<IndexId>& moving, const std::set<TensorId>& written) {
  if (!e) return;
  const Node n = pool_[e];
  if (n.args.empty() || n.op == Op::previous || n.op == Op::accumulator) return;
  if (!pool_.depends_on_any(e, moving)) {
    bool safe = true;
    compiler::for_each_node(pool_, e, [&](Expr at) {
      const Node& x = pool_[at];
      const auto t = static_cast<TensorId>(x.payload);
      if (x.op == Op::accumulator || x.op == Op::previous || (x.op == Op::read && (!tiles_.contains(t) || written.contains(t)))) safe = false;
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
  const std::string first = split.team > 1 ? "team" : "thread";
  if (together) {
    open(fmt::format("for ({} base = 0; base < points; base += {})", count, split.teams()));
    line(fmt::format("const {} point = base + {};", count, first));
  } else {
    open(fmt::format("for ({} point = {}; point < points; point += {})", count, first, split.teams()));
  }
  scopes_.emplace_back();
  // Where the point is; behind the end when a team has none.
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
  for (std::size_t k = 0; k < split.reduced.size(); ++k) {
    const std::size_t d = split.reduced[k];
    const bool shared = k + 1 == split.reduced.size() && split.team > 1;
    const std::string c = fresh("r");
    const auto b = extent_bound(nest.dims[d]);
    if (k + 1 == split.reduced.size()) line("#pragma unroll 4");
    const int by = vectors && d == along ? split.vector : 1;
    open(fmt::format("for ({} {} = {}; {} < {}; {} += {})", b && *b < (1 << 30) ? "int" : "long long", c,
                     !shared ? "0" : by > 1 ? fmt::format("member * {}", by) : "member", c, extent[d], c, (shared ? split.team : 1) * by));
    scopes_.emplace_back();
    declare(d, c);
  }
  const IndexId moving = vectors ? nest.dims[along].index : 0;
  if (vectors) {
    line(fmt::format("const int valid = (int)min((long long)({} - d{}), {}ll);", extent[along], moving, split.vector));
    load_vectors(nest, moving, split.vector);
    prepare_stores(nest, moving, split.vector);
    line(fmt::format("const auto first_d = d{}; const auto first_x = x{};", moving, moving));
    const auto reads = vector_reads_;
    const Touched touched = touched_by(nest);
    for (const Update& u : nest.updates)
      for (Expr e : {u.body, u.domain}) hoist_tiles(e, {moving}, touched.written);
    // Whole vectors carry no test.
    for (const bool whole : {true, false}) {
      open(whole ? fmt::format("if (valid >= {})", split.vector) : "else");
      line("#pragma unroll");
      open(fmt::format("for (int e = 0; e < {}; ++e)", split.vector));
      const std::vector<Scope> kept = scopes_;
      scopes_.emplace_back();
      for (Scope& s : scopes_) std::erase_if(s.names, [&](const auto& entry) { return pool_.depends_on(Expr{entry.first}, moving); });
      line(fmt::format("const auto d{} = first_d + e; const auto x{} = first_x + e;", moving, moving));
      if (!whole) open("if (e < valid)");
      vector_reads_ = reads;
      at_point(nest, sums);
      if (!whole) close();
      scopes_ = kept;
      close();
      close();
    }
    store_vectors(split.vector);
    vector_reads_.clear();
    vector_stores_.clear();
  } else {
    at_point(nest, sums);
  }
  for (std::size_t k = 0; k < split.reduced.size(); ++k) {
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
  scopes_.pop_back();
  close();
  for (const Dim& d : nest.dims) {
    local_begin_.erase(d.index);
    indices_.erase(d.index);
  }
}

}  // namespace quern::cuda
