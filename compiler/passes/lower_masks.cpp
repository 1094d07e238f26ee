// Masks: where -inf as a score at the points outside of a block's domain makes every reader do nothing there, one nest
// that puts it there takes the place of all tests behind it. The proof follows values from scores to sums:
// exp(-inf - x) = 0 for an x that is not -inf, 0 adds nothing to a sum, -inf nothing to a maximum.
#include <algorithm>
#include <map>
#include <set>

#include "compiler/passes/lower_group.h"

namespace quern::compiler {

using namespace ir;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

namespace {

/// What an expression is at a point whose score is -inf.
enum class Becomes { itself, lowest, zero, unknown };

class Follow {
 public:
  Follow(ExprPool& pool, const std::vector<Expr>& assumed, const std::set<TensorId>& references) : pool_(pool), assumed_(assumed), references_(references) {}
  std::map<TensorId, Becomes> tiles;

  Becomes at(Expr e) {
    auto [it, fresh] = known_.try_emplace(e, Becomes::unknown);
    if (!fresh) return it->second;
    const Becomes b = find(e);
    return known_[e] = b;
  }
  void forget() { known_.clear(); }

 private:
  Becomes find(Expr e) {
    const Node n = pool_[e];
    if (n.op == Op::read) {
      const auto it = tiles.find(static_cast<TensorId>(n.payload));
      return it == tiles.end() ? Becomes::itself : it->second;
    }
    std::vector<Becomes> args;
    bool moved = false;
    for (Expr a : n.args) args.push_back(at(a)), moved |= args.back() != Becomes::itself;
    if (!moved) return Becomes::itself;
    switch (n.op) {
      case Op::cast: {
        // fp8 saturates: its lowest value is finite.
        const bool saturates = n.type == DType::e4m3 || n.type == DType::e5m2;
        return is_float(n.type) && (args[0] == Becomes::zero || !saturates) ? args[0] : Becomes::unknown;
      }
      case Op::sub: return args[0] == Becomes::lowest && args[1] == Becomes::itself && is_not_lowest(n.args[1]) ? Becomes::lowest : Becomes::unknown;
      case Op::mul:
        for (std::size_t side = 0; side < 2; ++side)
          if (args[side] == Becomes::lowest && is_positive(n.args[1 - side])) return Becomes::lowest;
        return Becomes::unknown;
      case Op::div: return args[0] == Becomes::lowest && is_positive(n.args[1]) ? Becomes::lowest : Becomes::unknown;
      case Op::exp: case Op::exp2: return args[0] == Becomes::lowest ? Becomes::zero : Becomes::unknown;
      case Op::where: {
        const Expr test = pool_.rewrite(n.args[0], [&](Expr x) {
          return std::find(assumed_.begin(), assumed_.end(), x) != assumed_.end() ? pool_.boolean(true) : Expr{};
        });
        return pool_.is_true(test) ? args[1] : Becomes::unknown;
      }
      default: return Becomes::unknown;
    }
  }

  bool is_positive(Expr e) const {
    double k = 0;
    return pool_.is_real_constant(e, &k) && k > 0 && k < 1e30;
  }
  /// where(x == -inf, a constant, x), a reference, or a constant.
  bool is_not_lowest(Expr e) const {
    const Node& n = pool_[e];
    double k = 0;
    if (pool_.is_real_constant(e, &k)) return k > -1e30;
    if (n.op == Op::read) return references_.contains(static_cast<TensorId>(n.payload));
    if (n.op == Op::mul || n.op == Op::div) return is_positive(n.args[1]) && is_not_lowest(n.args[0]);
    if (n.op != Op::where || !pool_.is_real_constant(n.args[1], &k) || !(k > -1e30)) return false;
    const Node& test = pool_[n.args[0]];
    double lowest = 0;
    return test.op == Op::eq && test.args[0] == n.args[2] && pool_.is_real_constant(test.args[1], &lowest) && lowest < 0 && lowest - lowest != 0;
  }

  ExprPool& pool_;
  const std::vector<Expr>& assumed_;
  const std::set<TensorId>& references_;  // never -inf
  std::map<Expr, Becomes> known_;
};

}  // namespace

/// One nest for each tile of scores; empty where some reader would notice.
std::vector<Nest> GroupLowering::masks() {
  const IndexId stream = *plan_.stream;
  std::vector<const Stage*> scores;
  std::set<TensorId> used;  // by readers for which -inf was right
  Follow follow(pool_, common_, references_);
  auto use = [&](const Stage& s) { for_each_read(pool_, s, [&](Expr, const Node& n) { used.insert(static_cast<TensorId>(n.payload)); }); };
  for (std::size_t i = 0; i < group_.stages.size(); ++i) {
    const Stage& s = group_.stages[i];
    if (places_[i] != Place::inside) continue;
    follow.forget();
    if (s.reduces(stream)) {
      if (s.targets.size() != 1 || s.form != Form::reduce) return {};
      // What the walk's own domain leaves of the reduction's must not ask about single points.
      for (Expr c : conjuncts(pool_, s.domain))
        if (std::find(common_.begin(), common_.end(), c) == common_.end()) return {};
      const Running& r = running_.at(s.targets[0]);
      if (!r.sums.empty() || !r.centres.empty()) return {};
      if (s.reducer == Reducer::max) {
        if (follow.at(s.body) != Becomes::lowest) return {};
      } else if (s.reducer == Reducer::sum) {
        const Node& product = pool_[s.body];
        // Products take factors as they are: a weight of 0 leaves nothing of a finite value.
        const bool weighted = has_reuse(program_, s) && product.op == Op::mul && (follow.at(product.args[0]) == Becomes::zero || follow.at(product.args[1]) == Becomes::zero);
        if (!weighted && follow.at(s.body) != Becomes::zero) return {};
      } else {
        return {};
      }
      use(s);
      continue;
    }
    if (!s.has(stream) || s.targets.size() != 1) continue;
    if (s.form == Form::reduce) {
      if (!has_reuse(program_, s)) return {};
      if (s.domain) return {};
      scores.push_back(&s);
      follow.tiles[s.targets[0]] = Becomes::lowest;
      continue;
    }
    if (s.form != Form::pointwise) return {};
    const Becomes b = follow.at(s.body);
    if (b == Becomes::itself) continue;
    if (b != Becomes::unknown) {
      follow.tiles[s.targets[0]] = b;
      use(s);
      continue;
    }
    // Scores made of sums: these are masked rather than the sums, which nobody else may read.
    std::vector<TensorId> read;
    for_each_read(pool_, s, [&](Expr, const Node& n) {
      const auto t = static_cast<TensorId>(n.payload);
      if (std::any_of(scores.begin(), scores.end(), [&](const Stage* p) { return p->targets[0] == t; })) read.push_back(t);
    });
    for (TensorId t : read) {
      if (used.contains(t)) return {};
      std::erase_if(scores, [&](const Stage* p) { return p->targets[0] == t; });
      follow.tiles[t] = Becomes::unknown;
    }
    scores.push_back(&s);
    follow.tiles[s.targets[0]] = Becomes::lowest;
  }
  std::vector<Nest> out;
  Expr keep = pool_.less(pool_.index(stream), stream_stop_);
  for (Expr c : common_) {
    // Values of rows are at hand; others would be read for points that may not exist.
    bool reads = false;
    for_each_node(pool_, c, [&](Expr e, const Node& n) {
      reads |= n.op == Op::read && (pool_.depends_on(e, stream) || !tiles_.contains(static_cast<TensorId>(n.payload)));
    });
    if (reads) return {};
    keep = pool_.both(keep, c);
  }
  for (const Stage* s : scores) {
    const TensorId target = s->targets[0];
    if (!tiles_.contains(target) || !is_float(program_.tensors[tiles_.at(target).scratch].type)) return {};
    const Tile& tile = tiles_.at(target);
    Nest nest = nest_for(*s, varying(s->free));
    for (tile::Dim& d : nest.dims)
      if (d.index == stream) d.end = padded_stop(stream);
      else if (plan_.blocks.contains(d.index)) d.end = padded_stop(d.index);
    Update u;
    u.kind = UpdateKind::store;
    u.target = tile.scratch;
    u.subscripts = tile_subscripts(tile);
    const Expr own = read_tile(tile);
    u.body = pool_.where(localize(keep), own, identity_of(pool_, Reducer::max, pool_.type(own)));
    nest.updates.push_back(u);
    nest.note = "outside: " + note_of(*s);
    out.push_back(std::move(nest));
  }
  return out;
}

}  // namespace quern::compiler
