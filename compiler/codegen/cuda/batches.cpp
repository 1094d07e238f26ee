// Batches of a walk: the loads of several steps are under way before the first is used, so that a thread waits for memory
// once for all of them. In: a nest and the loop over one of its reduced dims. Vectors lie along that dim, or along a kept
// one; the steps that are left over at the end come one by one.
#include <algorithm>

#include <fmt/format.h>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

namespace {
constexpr int kLoads = 8;   // of a thread, under way at once
constexpr int kSteps = 4;   // of the walk, at most
}  // namespace

void KernelPrinter::batches(const Nest& nest, const Walk& w, std::vector<Accumulation>& sums) {
  const IndexId walked = nest.dims[w.dim].index, along = nest.dims[w.along].index;
  const bool lengthwise = walked == along;
  std::vector<Expr> reads;
  for (Expr e : reads_along(nest, along))
    if (!(pool_[e].flags & kChecked) && pool_.depends_on(e, walked)) reads.push_back(e);
  int steps = reads.empty() ? 1 : std::clamp(static_cast<int>(kLoads / reads.size()), 1, kSteps);
  // Behind the end of a kept dim are zeros, of which nothing comes where sums of vectors are all there is.
  bool sums_of_vectors = true;
  for (const Update& u : nest.updates) {
    sums_of_vectors &= u.kind == UpdateKind::reduce;
    for (Expr root : {u.body, u.domain})
      if (root) compiler::for_each_node(pool_, root, [&](Expr e) {
        sums_of_vectors &= pool_[e].op != Op::read || !pool_.depends_on(e, along) || std::find(reads.begin(), reads.end(), e) != reads.end();
      });
  }
  const Ends ends = lengthwise ? Ends::none : sums_of_vectors ? Ends::unseen : Ends::either;
  const std::string r = fresh("r");
  const auto declare = [&](const std::string& at) {
    line(fmt::format("const {} d{} = {};", w.type, walked, at));
    line(fmt::format("const long long x{} = {} + d{};", walked, w.begin, walked));
    indices_[walked] = fmt::format("x{}", walked);
  };
  const auto forget = [&] {
    for (Scope& s : scopes_) std::erase_if(s.names, [&](const auto& entry) { return pool_.depends_on(Expr{entry.first}, walked); });
  };
  line(fmt::format("{} {} = {};", w.type, r, w.first));
  if (steps > 1) {
    if (lengthwise) begin_best_vectors(nest, along, w.vector, sums);
    open(fmt::format("for (; {} + {} <= {}; {} += {})", r, (steps - 1) * w.step + (lengthwise ? w.vector : 1), w.extent, r, steps * w.step));
    const std::vector<Scope> outside = scopes_;
    const auto before = vector_reads_;
    scopes_.emplace_back();
    std::vector<std::string> names;
    for (Expr e : reads) {
      names.push_back(fresh("w"));
      line(fmt::format("quern_vector<{}, {}> {}[{}];", stored_type(pool_[e].type), w.vector, names.back(), steps));
    }
    if (lengthwise) {
      declare(r);
    } else {
      line(fmt::format("const int valid = (int)min((long long)({} - d{}), {}ll);", w.along_extent, along, w.vector));
      line("#pragma unroll");
      open(fmt::format("for (int c = 0; c < {}; ++c)", steps));
      declare(fmt::format("{} + c * {}", r, w.step));
    }
    for (std::size_t k = 0; k < reads.size(); ++k) {
      const Node n = pool_[reads[k]];
      const auto tensor = static_cast<TensorId>(n.payload);
      const std::string address = fmt::format("{} + ({})", tensor_pointer(tensor), offset_text(tensor, n.args));
      if (lengthwise) line(fmt::format("quern_load_chunks<true>({}, {}, {}, 0);", names[k], address, w.step));
      else line(fmt::format("quern_load({}[c], {}, valid);", names[k], address));
      vector_reads_[reads[k].id] = names[k] + "[c]";
    }
    if (!lengthwise) close();
    forget();
    line("#pragma unroll");
    open(fmt::format("for (int c = 0; c < {}; ++c)", steps));
    scopes_.emplace_back();
    declare(fmt::format("{} + c * {}", r, w.step));
    vector_points(nest, along, w.vector, w.along_extent, ends, sums);
    close();
    scopes_ = outside;
    vector_reads_ = before;
    close();
    end_best_vectors(sums);
  }
  line("#pragma unroll 1");
  open(fmt::format("for (; {} < {}; {} += {})", r, w.extent, r, w.step));
  scopes_.emplace_back();
  forget();
  declare(r);
  vector_points(nest, along, w.vector, w.along_extent, lengthwise ? Ends::tested : ends, sums);
  scopes_.pop_back();
  close();
}

/// How many of its vectors a thread loads at once, of `points` of the nest that it shares with the block's others.
int KernelPrinter::points_at_once(const Nest& nest, const Split& split, double points) const {
  if (!split.reduced.empty() || split.team > 1) return 1;
  for (const Update& u : nest.updates) if (u.kind != UpdateKind::store) return 1;
  std::size_t reads = 0;
  for (Expr e : reads_along(nest, nest.dims[split.kept.back()].index)) {
    if (pool_[e].flags & kChecked) return 1;
    reads += !tiles_.contains(static_cast<TensorId>(pool_[e].payload));
  }
  if (reads == 0) return 1;
  const double each = points / split.vector / split.threads;
  return std::clamp(static_cast<int>(std::min<double>(each, kLoads / static_cast<double>(reads))), 1, kSteps);
}

/// Points without sums: the vectors of several are loaded, then each is computed and stored.
void KernelPrinter::point_batches(const Nest& nest, IndexId along, const Split& split, int at_once, const std::string& extent, const std::function<void()>& locate,
                                  int opened) {
  std::vector<Expr> reads = reads_along(nest, along);
  std::erase_if(reads, [&](Expr e) { return tiles_.contains(static_cast<TensorId>(pool_[e].payload)); });  // those are near
  std::vector<std::string> names;
  open(fmt::format("for (int first = thread; first < points; first += {})", at_once * split.threads));
  for (Expr e : reads) {
    names.push_back(fresh("w"));
    line(fmt::format("quern_vector<{}, {}> {}[{}];", stored_type(pool_[e].type), split.vector, names.back(), at_once));
  }
  std::vector<Accumulation> none;
  for (const bool load : {true, false}) {
    line("#pragma unroll");
    open(fmt::format("for (int c = 0; c < {}; ++c)", at_once));
    line(fmt::format("const int point = first + c * {};", split.threads));
    open("if (point < points)");
    scopes_.emplace_back();
    locate();
    if (load) {
      line(fmt::format("const int valid = (int)min((long long)({} - d{}), {}ll);", extent, along, split.vector));
      for (std::size_t k = 0; k < reads.size(); ++k) {
        const Node n = pool_[reads[k]];
        const auto tensor = static_cast<TensorId>(n.payload);
        line(fmt::format("quern_load({}[c], {} + ({}), valid);", names[k], tensor_pointer(tensor), offset_text(tensor, n.args)));
      }
    } else {
      for (std::size_t k = 0; k < reads.size(); ++k) vector_reads_[reads[k].id] = names[k] + "[c]";
      vector_points(nest, along, split.vector, extent, Ends::either, none);
      vector_reads_.clear();
    }
    scopes_.pop_back();
    for (int k = 0; k < opened + 2; ++k) close();
  }
  close();
}

}  // namespace quern::cuda
