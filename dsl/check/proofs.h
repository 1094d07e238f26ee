// Proofs of e >= 0 for index expressions, from index ranges, `require`s, guards in scope and declared facts about data.
// The one idea: a claim is reduced by subtracting known non-negative forms (times non-negative factors) until only
// non-negative terms are left; the search is bounded, so "not proved" only ever means that a fix must be written.
#pragma once

#include <vector>

#include "dsl/check/sizes.h"

namespace quern::dsl {

/// argmax, argmin, argsort.
bool gives_positions(const ir::Node& n);

class Proofs {
 public:
  Proofs(ir::Program& program, Sizes& sizes) : program_(program), sizes_(sizes) {}

  /// Facts hold until the mark is restored.
  struct Mark {
    std::size_t facts, indices;
  };
  Mark mark() const { return {facts_.size(), indices_.size()}; }
  void restore(Mark m) {
    facts_.resize(m.facts);
    indices_.resize(m.indices);
  }
  /// The bool expression `condition` has the value `truth`. What is not linear in integers is ignored.
  void assume(ir::Expr condition, bool truth = true);
  /// As a condition that every call satisfies: it outlives every mark.
  void assume_always(ir::Expr condition);
  /// A point of this index exists: its range is not empty.
  void assume_index(ir::IndexId index);
  /// A tensor of positions along lo:hi (argmax, argsort, topk). Like a declared fact: -1 says that there is none.
  void assume_values(ir::TensorId tensor, ir::Expr lo, ir::Expr hi) { by_construction_.push_back({tensor, lo, hi}); }

  /// a <= b; `with_data` also believes the declared facts about data.
  bool at_most(ir::Expr a, ir::Expr b, bool with_data = false);
  bool less(ir::Expr a, ir::Expr b, bool with_data = false);
  /// Whether the bool expression is known to have the value `truth` (from values of flags and the facts in scope).
  bool holds(ir::Expr condition, bool truth = true);
  /// The same from what every call satisfies, whatever is in scope here.
  bool holds_always(ir::Expr condition);

 private:
  struct Fact {
    ir::Expr low, high;  // 0 <= high - low - strict
    std::int64_t strict = 0;
  };
  struct Values {
    ir::TensorId tensor;
    ir::Expr lo, hi;
  };
  using Forms = std::vector<NormalForm>;

  bool prove(ir::Expr low, ir::Expr high, std::int64_t strict, bool with_data);
  bool prove(ir::Expr low, ir::Expr high, std::int64_t strict, bool with_data, bool with_facts);
  bool nonnegative(const NormalForm& e, int depth);
  bool split_cases(const NormalForm& e, int depth, bool& done);
  bool eliminate(const NormalForm& e, int depth);
  bool is_nonnegative_atom(ir::Expr atom);
  bool positive(const NormalForm& e);
  void add_form(Forms& to, const NormalForm& f);
  void add_atom_facts(ir::Expr atom);
  NormalForm read(ir::Expr e) { return sizes_.normal(e, reading_); }
  std::optional<bool> known(ir::Expr condition);
  void assume(ir::Expr condition, bool truth, int& steps);
  bool holds(ir::Expr condition, bool truth, int& steps);

  ir::Program& program_;
  Sizes& sizes_;
  std::vector<Fact> facts_, always_;
  std::vector<ir::IndexId> indices_;
  std::vector<Values> by_construction_;

  std::unordered_map<ir::Expr, std::optional<bool>> known_;

  // State of one proof.
  Reading reading_ = Reading::values;
  bool with_data_ = false;
  int budget_ = 0;
  Forms forms_;                       // known >= 0
  std::vector<ir::Expr> seen_atoms_;  // whose facts are in forms_
  int atom_depth_ = 0;
  bool asking_ = false;
};

}  // namespace quern::dsl
