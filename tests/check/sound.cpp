// What the prover claims is true: random claims under random ranges, requirements and guards, each proved one tried at
// every point of a small box of sizes. A counterexample would be a read outside memory.
#include <fmt/format.h>

#include <random>

#include "dsl/check/proofs.h"
#include "dsl/ir/operators.h"
#include "tests/catch.h"

using namespace quern;
using ir::Expr;
using ir::Op;

#ifndef QUERN_SOUND_SEEDS
#define QUERN_SOUND_SEEDS 3000
#endif

namespace {

constexpr int kSymbols = 3;
constexpr int kIndices = 2;
constexpr int kLargest = 3;         // value of a symbol
constexpr std::int64_t kSteps = 8;  // points tried of one index

class Claim {
 public:
  explicit Claim(std::uint32_t seed) : random_(seed) {
    for (int s = 0; s < kSymbols; ++s)
      program_.symbols.push_back({std::string(1, static_cast<char>('A' + s)), DType::i64, false, {}});
    for (int i = 0; i < kIndices; ++i) {
      const Expr begin = pick(4) ? pool().integer(0) : value(1, false);
      const ir::IndexId id = program_.add_index(std::string(1, static_cast<char>('i' + i)), begin, value(2, false));
      proofs_.assume_index(id);
    }
    for (int g = pick(3); g > 0; --g) {
      guards_.push_back(condition(2));
      truths_.push_back(pick(4) != 0);
      proofs_.assume(guards_.back(), truths_.back());
    }
    // Half of the claims are of the kind that reads need: an index expression against 0 or the end of a range.
    low_ = value(2, true);
    high_ = pick(2) ? value(2, true) : program_.indices[pick(kIndices)].end;
    if (pick(3) == 0) high_ = low_, low_ = pool().integer(0);
    if (pick(4) == 0) high_ = pool().add(high_, pool().symbol(static_cast<ir::SymbolId>(pick(kSymbols))));
    strict_ = pick(2);
  }

  bool proved() { return strict_ ? proofs_.less(low_, high_) : proofs_.at_most(low_, high_); }

  /// A point where all that was assumed holds and the claim does not.
  std::string counterexample() {
    for (symbols_[0] = 0; symbols_[0] <= kLargest; ++symbols_[0])
      for (symbols_[1] = 0; symbols_[1] <= kLargest; ++symbols_[1])
        for (symbols_[2] = 0; symbols_[2] <= kLargest; ++symbols_[2])
          for (indices_[0] = begin(0); indices_[0] < end(0); ++indices_[0])
            for (indices_[1] = begin(1); indices_[1] < end(1); ++indices_[1]) {
              bool holds = true;
              for (std::size_t g = 0; g < guards_.size() && holds; ++g) holds = (at(guards_[g]) != 0) == truths_[g];
              if (!holds || at(low_) + strict_ <= at(high_)) continue;
              std::string text =
                  fmt::format("{} {} {} at", sizes_.text(low_), strict_ ? "<" : "<=", sizes_.text(high_));
              for (auto v : symbols_) text += fmt::format(" {}", v);
              for (auto v : indices_) text += fmt::format(" {}", v);
              for (std::size_t g = 0; g < guards_.size(); ++g)
                text += fmt::format("; {}{}", truths_[g] ? "" : "not ", sizes_.text(guards_[g]));
              for (const auto& i : program_.indices)
                text += fmt::format("; {} in {}:{}", i.name, sizes_.text(i.begin), sizes_.text(i.end));
              return text;
            }
    return {};
  }

 private:
  ir::ExprPool& pool() { return program_.pool; }
  int pick(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }

  Expr value(int depth, bool with_indices) {
    if (depth == 0 || pick(4) == 0) {
      const int kind = pick(with_indices ? 5 : 3);
      if (kind == 0) return pool().integer(pick(5) - 1);
      if (kind < 3) return pool().symbol(static_cast<ir::SymbolId>(pick(kSymbols)));
      return pool().index(static_cast<ir::IndexId>(pick(kIndices)));
    }
    constexpr Op kOps[] = {Op::add, Op::add, Op::sub, Op::sub, Op::mul,   Op::mul, Op::floordiv,
                           Op::mod, Op::min, Op::max, Op::abs, Op::where, Op::neg};
    const Op op = kOps[pick(13)];
    if (op == Op::neg || op == Op::abs) return pool().apply(op, {value(depth - 1, with_indices)});
    if (op == Op::where)
      return pool().apply(op,
                          {condition(1, with_indices), value(depth - 1, with_indices), value(depth - 1, with_indices)});
    return pool().apply(op, {value(depth - 1, with_indices), value(depth - 1, with_indices)});
  }

  Expr condition(int depth, bool with_indices = true) {
    if (depth > 1 && pick(3) == 0)
      return pool().apply(pick(2) ? Op::and_ : Op::or_,
                          {condition(depth - 1, with_indices), condition(depth - 1, with_indices)});
    constexpr Op kOps[] = {Op::eq, Op::ne, Op::lt, Op::le, Op::gt, Op::ge};
    return pool().apply(kOps[pick(6)], {value(depth, with_indices), value(depth, with_indices)});
  }

  std::int64_t at(Expr e) {
    const ir::Node& n = pool()[e];
    if (n.op == Op::constant) return n.payload;
    if (n.op == Op::symbol) return symbols_[n.payload];
    if (n.op == Op::index) return indices_[n.payload];
    std::vector<std::int64_t> args;
    for (Expr a : n.args) args.push_back(at(a));
    return *ir::fold_integer(n.op, args, n.type);
  }
  std::int64_t begin(int i) { return at(program_.indices[i].begin); }
  std::int64_t end(int i) { return std::min(at(program_.indices[i].end), begin(i) + kSteps); }

  std::mt19937 random_;
  ir::Program program_;
  dsl::Sizes sizes_{program_};
  dsl::Proofs proofs_{program_, sizes_};
  std::vector<Expr> guards_;
  std::vector<bool> truths_;
  Expr low_, high_;
  int strict_ = 0;
  std::int64_t symbols_[kSymbols] = {};
  std::int64_t indices_[kIndices] = {};
};

}  // namespace

TEST_CASE("what is proved is true") {
  int proved = 0;
  for (std::uint32_t seed = 1; seed <= QUERN_SOUND_SEEDS; ++seed) {
    Claim claim(seed);
    if (!claim.proved()) continue;
    ++proved;
    const std::string against = claim.counterexample();
    INFO("seed " << seed);
    CHECK(against == "");
  }
  CHECK(proved > QUERN_SOUND_SEEDS / 20);  // the test is not empty
}
