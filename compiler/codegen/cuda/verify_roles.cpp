// The protocol of a schedule, checked by walking its steps: what a computing group waits for and gives back, against what
// the loading group fills in its order, and the sums and factors that products use while they are under way.
#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

#include "compiler/codegen/cuda/roles.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Nest;

namespace {

/// The tiles of a task in the order in which the loading group fills them.
std::vector<TensorId> fills_of(const Schedule& s, int blocks) {
  std::vector<TensorId> fills;
  const bool overlapped = std::any_of(s.rings.begin(), s.rings.end(), [](const Ring& r) { return r.ahead; });
  for (const Ring& r : s.rings) if (!r.walked) fills.push_back(r.tile);
  for (int b = 0; b <= blocks; ++b)
    for (const bool ahead : {true, false})
      for (const Ring& r : s.rings)
        if (r.walked && r.ahead == ahead && (ahead || !overlapped ? b < blocks : b > 0)) fills.push_back(r.tile);
  return fills;
}

/// A task with that many blocks, of which a group's rows need those from `begin` to `end`, step by step.
class Walk {
 public:
  Walk(const ExprPool& pool, const Schedule& s, const Arrangement& a, int blocks, int begin, int end)
      : pool_(pool), s_(s), a_(a), blocks_(blocks), begin_(begin), end_(end), fills_(fills_of(s, blocks)) {}

  std::string fault() {
    steps(s_.before);
    for (int b = 0; b < begin_; ++b) steps(s_.skipped);
    for (int b = begin_; b < end_; ++b) steps(s_.peeled && b == begin_ ? s_.first : s_.steady);
    if (s_.peeled && begin_ < end_) steps(s_.last);
    for (int b = end_; b < blocks_; ++b) steps(s_.skipped);
    steps(s_.after);
    if (const int expected = turns_a_task(); turns_ != expected) report(fmt::format("{} turns are taken where others take {}", turns_, expected));
    if (has_turn_) report("a turn is not passed on");
    if (!flying_.empty()) report("products are under way at the end of a task");
    if (!packed_.empty()) report("factors are packed for nothing");
    expect_products(s_.loop->body);
    for (const Ring& r : s_.rings) {
      const int expected = r.walked ? blocks_ : 1;
      const Tile& t = tiles_[r.tile];
      if (t.awaits != expected || t.at != expected || t.releases != expected)
        report(fmt::format("tile {} is filled {} times, awaited {} times, left {} times and released {} times", r.tile, expected, t.awaits, t.at, t.releases));
    }
    return fault_.empty() ? "" : fmt::format("with {} blocks: {}", blocks_, fault_);
  }

 private:
  struct Tile {
    int fills = 0, awaits = 0, releases = 0, at = 0;  // `at`: the fill at hand
  };
  struct Flying {
    const Nest* nest;
    std::map<TensorId, int> reads;  // which fill
  };

  /// The first fault is the one to mend.
  void report(const std::string& what) {
    if (fault_.empty()) fault_ = what;
  }
  void steps(const std::vector<Step>& list) {
    for (const Step& step : list) take(step);
  }
  const Ring& ring(TensorId tile) const {
    return *std::find_if(s_.rings.begin(), s_.rings.end(), [&](const Ring& r) { return r.tile == tile; });
  }

  /// Of a group that needs all blocks.
  int turns_a_task() const {
    auto turns = [](const std::vector<Step>& list) { return static_cast<int>(std::count_if(list.begin(), list.end(), [](const Step& s) { return s.kind == Step::turn; })); };
    if (blocks_ == 0) return 0;
    return s_.peeled ? turns(s_.first) + (blocks_ - 1) * turns(s_.steady) + turns(s_.last) : blocks_ * turns(s_.steady);
  }

  void take(const Step& step) {
    switch (step.kind) {
      case Step::await: return await(step.tile);
      case Step::release: return release(step.tile);
      case Step::advance:
        if (tiles_[step.tile].awaits <= tiles_[step.tile].at) report(fmt::format("tile {} is passed over", step.tile));
        ++tiles_[step.tile].at;
        return;
      case Step::turn:
        if (has_turn_) report("a turn is taken twice");
        has_turn_ = true;
        ++turns_;
        return;
      case Step::pass:
        if (!has_turn_) report("a turn is passed on that was not taken");
        has_turn_ = false;
        return;
      case Step::issue: return issue(*step.work.whole);
      case Step::finish:
        while (static_cast<int>(flying_.size()) > step.pending) flying_.erase(flying_.begin());
        return;
      case Step::pack:
        for (const Flying& f : flying_) if (f.nest->updates[0].target == step.work.whole->updates[0].target) report("factors are packed while products read them");
        if (!packed_.insert(step.work.whole->updates[0].target).second) report("factors are packed over others that no product has read");
        wait_for_sums(a_.contractions.at(step.work.whole).left);
        return;
      case Step::run:
        for (TensorId t : step.work.elements) {
          if (tiles_[t].awaits <= tiles_[t].at) report(fmt::format("tile {} is read before it is awaited", t));
          if (tiles_[t].releases > tiles_[t].at) report(fmt::format("tile {} is read after its release", t));
        }
        if (const auto through = step.work.through) {
          if (tiles_[*through].awaits <= tiles_[*through].at || tiles_[*through].releases > tiles_[*through].at) report(fmt::format("results pass through tile {}, which is not at hand", *through));
          for (const Flying& f : flying_) if (f.reads.contains(*through)) report(fmt::format("results pass through tile {} while products read it", *through));
        }
        for (const Nest* w : {step.work.whole, step.work.partial}) {
          if (!w) continue;
          for (const tile::Update& u : w->updates) {
            if (is_flying(u.target)) report("a sum is touched while products add to it");
            for (Expr e : {u.body, u.domain, u.start, u.result}) wait_for_sums(e);
          }
        }
        return;
    }
  }

  void await(TensorId id) {
    Tile& tile = tiles_[id];
    if (tile.awaits != tile.at) report(fmt::format("tile {} is awaited twice", id));
    ++tile.awaits;
    // The loading group goes on until this one is filled.
    while (tile.fills < tile.awaits && next_fill_ < fills_.size()) {
      const TensorId filled = fills_[next_fill_++];
      Tile& t = tiles_[filled];
      if (t.fills >= t.releases + ring(filled).stages) report(fmt::format("tile {} is never filled: all stages of tile {} are held", id, filled));
      ++t.fills;
    }
    if (tile.fills < tile.awaits) report(fmt::format("tile {} is awaited more often than it is filled", id));
  }

  void release(TensorId id) {
    Tile& tile = tiles_[id];
    if (tile.releases >= tile.awaits) report(fmt::format("tile {} is released without having been awaited", id));
    if (!ring(id).held && tile.releases != tile.at) report(fmt::format("another stage of tile {} is released than the one at hand", id));
    for (const Flying& f : flying_)
      if (const auto it = f.reads.find(id); it != f.reads.end() && it->second == tile.releases) report(fmt::format("tile {} is released while products read it", id));
    ++tile.releases;
  }

  void issue(const Nest& nest) {
    const Contraction& c = a_.contractions.at(&nest);
    const tile::Update& u = nest.updates[0];
    Flying f{&nest, {}};
    for (TensorId t : c.tiles) {
      const Tile& tile = tiles_[t];
      if (tile.awaits <= tile.at) report(fmt::format("products read tile {} before it is awaited", t));
      if (tile.releases > tile.at) report(fmt::format("products read tile {} after its release", t));
      f.reads[t] = tile.at;
    }
    if (c.left_in_registers && packed_.erase(u.target) == 0) report("products read factors that were not packed");
    // Sums that simply go on may do so while products add to them.
    const bool goes_on = u.start && pool_[u.start].op == Op::read && static_cast<TensorId>(pool_[u.start].payload) == u.target;
    if (!goes_on) {
      if (is_flying(u.target)) report("a sum is started while products add to it");
      wait_for_sums(u.start);
    }
    flying_.push_back(std::move(f));
    ++issues_[&nest];
  }

  /// Every product once a block; whole blocks stand for partial ones.
  void expect_products(const tile::Block& block) {
    for (const tile::Statement& s : block) {
      if (const auto* nest = std::get_if<Nest>(&s.node); nest && a_.contractions.contains(nest) && issues_[nest] != end_ - begin_)
        report(fmt::format("products are started {} times", issues_[nest]));
      if (const auto* choice = std::get_if<tile::If>(&s.node)) expect_products(choice->then_block);
    }
  }

  bool is_flying(TensorId sum) const {
    return std::any_of(flying_.begin(), flying_.end(), [&](const Flying& f) { return f.nest->updates[0].target == sum; });
  }
  void wait_for_sums(Expr e) {
    if (e) compiler::for_each_node(pool_, e, [&](Expr at) {
      if (pool_[at].op == Op::read && is_flying(static_cast<TensorId>(pool_[at].payload))) report("a sum is touched while products add to it");
    });
  }

  const ExprPool& pool_;
  const Schedule& s_;
  const Arrangement& a_;
  int blocks_, begin_, end_;
  std::vector<TensorId> fills_;
  std::size_t next_fill_ = 0;
  std::map<TensorId, Tile> tiles_;
  std::vector<Flying> flying_;    // products under way, oldest first
  std::map<const Nest*, int> issues_;
  std::set<TensorId> packed_;     // sums whose next products find their factors in registers
  bool has_turn_ = false;
  int turns_ = 0;
  std::string fault_;
};

}  // namespace

std::string verify(const Program& program, const Schedule& s, const Arrangement& a) {
  // Widening warps take tiles in the order in which they are filled, so one place for bytes is enough.
  for (const Ring& r : s.rings)
    if (r.widened() && r.raw_stages < 1) return fmt::format("tile {} has no place for its bytes", r.tile);
  for (int blocks = 0; blocks <= 3; ++blocks) {
    if (std::string fault = Walk(program.pool, s, a, blocks, 0, blocks).fault(); !fault.empty()) return fault;
    if (!s.loop->own) continue;
    for (int begin = 0; begin <= blocks; ++begin)
      for (int end = begin; end <= blocks; ++end)
        if (std::string fault = Walk(program.pool, s, a, blocks, begin, end).fault(); !fault.empty()) return fault;
  }
  return {};
}

}  // namespace quern::cuda
