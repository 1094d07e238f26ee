// The bounded search behind Proofs. See proofs.h for the idea; each rule says why it is sound where it stands.
#include "dsl/check/proofs.h"

#include <algorithm>
#include <numeric>

namespace quern::dsl {
namespace {

using ir::Expr;
using ir::Op;

constexpr int kMaxDepth = 9;
constexpr int kBudget = 600;
constexpr std::size_t kMaxGoalTerms = 40;
constexpr std::size_t kMaxForms = 120;
constexpr int kMaxConditionSteps = 64;

bool is_comparison(Op op) {
  return op == Op::eq || op == Op::ne || op == Op::lt || op == Op::le || op == Op::gt || op == Op::ge;
}

/// Whether a term of f divides the monomial.
bool mentions(const NormalForm& f, const NormalForm::Monomial& target) {
  return std::any_of(f.terms().begin(), f.terms().end(), [&](const auto& term) {
    return std::includes(target.begin(), target.end(), term.first.begin(), term.first.end()) &&
           (target.empty() || !term.first.empty());
  });
}

/// e = f + c with a constant c >= 0.
bool covers(const NormalForm& f, const NormalForm& e) {
  const auto& a = f.terms();
  const auto& b = e.terms();
  auto x = a.begin(), y = b.begin();
  // The constant term comes first.
  const std::int64_t cf = x != a.end() && x->first.empty() ? (x++)->second : 0;
  const std::int64_t ce = y != b.end() && y->first.empty() ? (y++)->second : 0;
  return ce >= cf && std::distance(x, a.end()) == std::distance(y, b.end()) && std::equal(x, a.end(), y);
}

Op negated(Op op) {
  switch (op) {
    case Op::lt:
      return Op::ge;
    case Op::le:
      return Op::gt;
    case Op::gt:
      return Op::le;
    case Op::ge:
      return Op::lt;
    case Op::eq:
      return Op::ne;
    default:
      return Op::eq;
  }
}

}  // namespace

std::optional<bool> Proofs::known(Expr condition) {
  if (auto it = known_.find(condition); it != known_.end()) return it->second;
  auto compute = [&]() -> std::optional<bool> {
    const ir::Node n = program_.pool[condition];
    switch (n.op) {
      case Op::constant:
        return n.payload != 0;
      case Op::symbol: {
        const auto& value = program_.symbols[n.payload].value;
        return value ? std::optional<bool>(*value != 0) : std::nullopt;
      }
      case Op::not_: {
        auto v = known(n.args[0]);
        return v ? std::optional<bool>(!*v) : std::nullopt;
      }
      case Op::and_:
      case Op::or_: {
        auto a = known(n.args[0]), b = known(n.args[1]);
        const bool absorbing = n.op == Op::or_;
        if ((a && *a == absorbing) || (b && *b == absorbing)) return absorbing;
        return a && b ? std::optional<bool>(!absorbing) : std::nullopt;
      }
      default:
        return std::nullopt;
    }
  };
  return known_[condition] = compute();
}

// Conditions share parts, so the walk over them is bounded, not only its depth.
void Proofs::assume(Expr condition, bool truth) {
  int steps = kMaxConditionSteps;
  assume(condition, truth, steps);
}

void Proofs::assume(Expr condition, bool truth, int& steps) {
  if (!condition || --steps < 0 || program_.pool.type(condition) != DType::boolean) return;
  const ir::Node n = program_.pool[condition];
  if (n.op == Op::not_) return assume(n.args[0], !truth, steps);
  if (n.op == Op::and_ || n.op == Op::or_) {
    const bool conjunction = (n.op == Op::and_) == truth;
    auto a = known(n.args[0]), b = known(n.args[1]);
    // A side that is known not to decide leaves the other.
    if (conjunction || (a && *a != truth)) assume(n.args[1], truth, steps);
    if (conjunction || (b && *b != truth)) assume(n.args[0], truth, steps);
    return;
  }
  if (!is_comparison(n.op)) return;
  const Expr a = n.args[0], b = n.args[1];
  if (!is_integer(program_.pool.type(a))) return;
  const Op op = truth ? n.op : negated(n.op);
  switch (op) {
    case Op::lt:
      facts_.push_back({a, b, 1});
      break;
    case Op::le:
      facts_.push_back({a, b, 0});
      break;
    case Op::gt:
      facts_.push_back({b, a, 1});
      break;
    case Op::ge:
      facts_.push_back({b, a, 0});
      break;
    case Op::eq:
      facts_.push_back({a, b, 0});
      facts_.push_back({b, a, 0});
      break;
    default:
      break;
  }
}

void Proofs::assume_always(Expr condition) {
  const std::size_t before = facts_.size();
  assume(condition, true);
  always_.insert(always_.end(), facts_.begin() + static_cast<std::ptrdiff_t>(before), facts_.end());
  facts_.resize(before);
}

void Proofs::assume_index(ir::IndexId index) { indices_.push_back(index); }

bool Proofs::at_most(Expr a, Expr b, bool with_data) { return prove(a, b, 0, with_data); }
bool Proofs::less(Expr a, Expr b, bool with_data) { return prove(a, b, 1, with_data); }

bool Proofs::holds(Expr condition, bool truth) {
  int steps = kMaxConditionSteps;
  return holds(condition, truth, steps);
}

bool Proofs::holds_always(Expr condition) {
  std::vector<Fact> facts;
  std::vector<ir::IndexId> indices;
  facts.swap(facts_);
  indices.swap(indices_);
  const bool yes = holds(condition);
  facts.swap(facts_);
  indices.swap(indices_);
  return yes;
}

bool Proofs::holds(Expr condition, bool truth, int& steps) {
  if (--steps < 0) return false;
  if (auto v = known(condition)) return *v == truth;
  const ir::Node n = program_.pool[condition];
  if (n.op == Op::not_) return holds(n.args[0], !truth, steps);
  if (n.op == Op::and_ || n.op == Op::or_) {
    const bool a = holds(n.args[0], truth, steps), b = holds(n.args[1], truth, steps);
    return (n.op == Op::and_) == truth ? a && b : a || b;
  }
  if (!is_comparison(n.op) || !is_integer(program_.pool.type(n.args[0]))) return false;
  const Expr a = n.args[0], b = n.args[1];
  switch (truth ? n.op : negated(n.op)) {
    case Op::lt:
      return less(a, b);
    case Op::le:
      return at_most(a, b);
    case Op::gt:
      return less(b, a);
    case Op::ge:
      return at_most(b, a);
    case Op::eq:
      return at_most(a, b) && at_most(b, a);
    default:
      return less(a, b) || less(b, a);
  }
}

// Ranges alone decide most goals; facts of the program are added only when they are needed, as they widen the search.
bool Proofs::prove(Expr low, Expr high, std::int64_t strict, bool with_data) {
  return (!facts_.empty() && prove(low, high, strict, with_data, false)) || prove(low, high, strict, with_data, true);
}

bool Proofs::prove(Expr low, Expr high, std::int64_t strict, bool with_data, bool with_facts) {
  with_data_ = with_data;
  reading_ = with_data ? Reading::data : Reading::values;
  budget_ = kBudget;
  forms_.clear();
  seen_atoms_.clear();
  atom_depth_ = 0;
  const NormalForm goal = read(high) - read(low) - NormalForm::constant(strict);
  if (goal.overflow()) return false;
  if (auto c = goal.as_constant(); c && *c >= 0) return true;
  for (const auto* list : {&facts_, &always_})
    for (const Fact& f : *list)
      if (with_facts || list == &always_) add_form(forms_, read(f.high) - read(f.low) - NormalForm::constant(f.strict));
  for (ir::IndexId i : indices_)
    add_form(forms_, read(program_.indices[i].end) - read(program_.indices[i].begin) - NormalForm::constant(1));
  // Facts about the atoms of the facts, then of the goal.
  for (std::size_t i = 0; i < forms_.size() && i < kMaxForms; ++i) {
    const NormalForm f = forms_[i];
    for (const auto& [m, c] : f.terms())
      for (Expr a : m) add_atom_facts(a);
  }
  for (const auto& [m, c] : goal.terms())
    for (Expr a : m) add_atom_facts(a);
  for (std::size_t i = 0; i < forms_.size() && i < kMaxForms; ++i) {
    const NormalForm f = forms_[i];
    for (const auto& [m, c] : f.terms())
      for (Expr a : m) add_atom_facts(a);
  }
  return nonnegative(goal, kMaxDepth);
}

void Proofs::add_form(Forms& to, const NormalForm& f) {
  if (f.overflow() || f.terms().empty() || to.size() >= kMaxForms) return;
  if (std::find(to.begin(), to.end(), f) != to.end()) return;
  // t = max(a, b) known to be at most something: so are a and b; the same for min from the other side.
  for (const auto& [m, c] : f.terms()) {
    if (m.size() != 1) continue;
    const ir::Node n = program_.pool[m[0]];
    // Only where it stands nowhere else: in t*C - t, the first t would have to stay.
    const bool alone = std::none_of(f.terms().begin(), f.terms().end(), [&](const auto& other) {
      return &other.first != &m && std::binary_search(other.first.begin(), other.first.end(), m[0]);
    });
    if (alone && ((n.op == Op::max && c < 0) || (n.op == Op::min && c > 0))) {
      add_form(to, f.with(m[0], read(n.args[0])));
      add_form(to, f.with(m[0], read(n.args[1])));
      to.push_back(f);  // the goal may be this very fact
      return;
    }
  }
  to.push_back(f);
  // x*y >= k > 0 for non-negative x and y makes each of them at least 1.
  if (f.terms().size() == 2 && f.coefficient({}) < 0) {
    for (const auto& [m, c] : f.terms()) {
      if (m.empty() || c < 0) continue;
      if (!std::all_of(m.begin(), m.end(), [&](Expr a) { return program_.pool[a].op == Op::symbol; })) continue;
      if (m.size() > 1 || c != 1)
        for (Expr a : m) add_form(to, NormalForm::atom(a) - NormalForm::constant(1));
    }
  }
}

// A side question of the search: it takes from the same budget and asks no side questions of its own.
bool Proofs::positive(const NormalForm& e) {
  if (auto c = e.as_constant()) return *c > 0;
  const NormalForm goal = e - NormalForm::constant(1);
  if (std::any_of(forms_.begin(), forms_.end(), [&](const NormalForm& f) { return covers(f, goal); })) return true;
  if (asking_) return false;
  asking_ = true;
  const int kept = budget_;
  budget_ = std::min(budget_, 60);
  const int given = budget_;
  const bool yes = nonnegative(goal, 3);
  budget_ = kept - (given - std::max(budget_, 0)) - 1;
  asking_ = false;
  return yes;
}

// Facts that hold of an atom whatever the program says elsewhere.
void Proofs::add_atom_facts(Expr atom) {
  if (std::find(seen_atoms_.begin(), seen_atoms_.end(), atom) != seen_atoms_.end()) return;
  seen_atoms_.push_back(atom);
  if (atom_depth_ > 4) return;
  ++atom_depth_;
  const ir::Node n = program_.pool[atom];
  const NormalForm self = NormalForm::atom(atom);
  auto below = [&](const NormalForm& limit) { add_form(forms_, limit - self - NormalForm::constant(1)); };
  auto from = [&](const NormalForm& least) { add_form(forms_, self - least); };
  switch (n.op) {
    case Op::index: {
      const ir::Index index = program_.indices[n.payload];
      from(read(index.begin));
      below(read(index.end));
      add_form(forms_, read(index.end) - read(index.begin) - NormalForm::constant(1));
      break;
    }
    case Op::floordiv:
    case Op::mod: {
      const NormalForm a = read(n.args[0]), b = read(n.args[1]);
      for (const auto& [m, c] : a.terms())
        for (Expr x : m) add_atom_facts(x);
      if (!positive(b)) break;
      if (n.op == Op::floordiv) {
        add_form(forms_, a - b * self);                                // b*q <= a
        add_form(forms_, b * self + b - NormalForm::constant(1) - a);  // a < b*q + b
      } else {
        from(NormalForm::constant(0));
        below(b);
      }
      break;
    }
    case Op::cast:
      if (program_.pool.type(n.args[0]) != DType::boolean) break;
      [[fallthrough]];
    case Op::eq:
    case Op::ne:
    case Op::lt:
    case Op::le:
    case Op::gt:
    case Op::ge:
    case Op::not_:
    case Op::and_:
    case Op::or_:
      from(NormalForm::constant(0));
      below(NormalForm::constant(2));
      break;
    case Op::read: {
      const ir::Tensor& t = program_.tensors[n.payload];
      if (n.type == DType::u8) from(NormalForm::constant(0)), below(NormalForm::constant(256));
      if (n.type == DType::i8) from(NormalForm::constant(-128)), below(NormalForm::constant(128));
      if (with_data_ && t.fact_begin) from(read(t.fact_begin)), below(read(t.fact_end));
      for (const Values& v : by_construction_)
        if (with_data_ && v.tensor == n.payload) from(read(v.lo)), below(read(v.hi));
      break;
    }
    case Op::reduce:
    case Op::map:
      if (with_data_ && gives_positions(n))
        from(read(program_.indices[n.axes[0]].begin)), below(read(program_.indices[n.axes[0]].end));
      break;
    default:
      break;
  }
  --atom_depth_;
}

bool Proofs::is_nonnegative_atom(Expr atom) {
  const ir::Node& n = program_.pool[atom];
  if (n.op == Op::symbol) return true;
  if (n.op == Op::index) {
    const NormalForm begin = read(program_.indices[n.payload].begin);
    return !begin.overflow() && std::all_of(begin.terms().begin(), begin.terms().end(), [&](const auto& term) {
      return term.second > 0 && std::all_of(term.first.begin(), term.first.end(),
                                            [&](Expr a) { return program_.pool[a].op == Op::symbol; });
    });
  }
  if (n.op == Op::floordiv) {  // of non-negatives; a zero divisor gives 0
    auto plain = [&](const NormalForm& f) {
      return !f.overflow() && std::all_of(f.terms().begin(), f.terms().end(), [&](const auto& term) {
        return term.second > 0 &&
               std::all_of(term.first.begin(), term.first.end(), [&](Expr a) { return is_nonnegative_atom(a); });
      });
    };
    return plain(read(n.args[0])) && plain(read(n.args[1]));
  }
  if (n.op == Op::mod) return false;  // through its facts, when the divisor is positive
  return n.op == Op::read && n.type == DType::u8;
}

bool Proofs::nonnegative(const NormalForm& e, int depth) {
  if (e.overflow() || --budget_ < 0) return false;
  bool plain = true;
  for (const auto& [m, c] : e.terms())
    if (c < 0 || !std::all_of(m.begin(), m.end(), [&](Expr a) { return is_nonnegative_atom(a); })) plain = false;
  if (plain) return true;
  // A fact says it as it stands, whatever its atoms are.
  for (const NormalForm& f : forms_)
    if (covers(f, e)) return true;
  if (depth == 0 || e.terms().size() > kMaxGoalTerms) return false;
  bool done = false;
  const bool answer = split_cases(e, depth, done);
  return done ? answer : eliminate(e, depth);
}

// min, max, abs, sign and where are one of their cases; each case is proved with what it adds.
bool Proofs::split_cases(const NormalForm& e, int depth, bool& done) {
  for (const auto& [m, c] : e.terms())
    for (Expr atom : m) {
      const ir::Node n = program_.pool[atom];
      struct Case {
        NormalForm value;
        Forms facts;
      };
      std::vector<Case> cases;
      const Op op = n.op;
      if (op == Op::min || op == Op::max) {
        const NormalForm a = read(n.args[0]), b = read(n.args[1]);
        const NormalForm a_least = b - a, b_least = a - b;
        cases.push_back({a, {op == Op::min ? a_least : b_least}});
        cases.push_back({b, {op == Op::min ? b_least : a_least}});
      } else if (op == Op::abs || op == Op::relu) {
        const NormalForm a = read(n.args[0]);
        cases.push_back({a, {a}});
        cases.push_back({op == Op::abs ? a.scaled(-1) : NormalForm::constant(0), {a.scaled(-1)}});
      } else if (op == Op::sign) {
        for (int s = -1; s <= 1; ++s) cases.push_back({NormalForm::constant(s), {}});
      } else if (op == Op::where) {
        for (int branch = 0; branch < 2; ++branch) {
          const std::size_t before = facts_.size();
          assume(n.args[0], branch == 0);
          Case one{read(n.args[1 + branch]), {}};
          for (std::size_t i = before; i < facts_.size(); ++i)
            one.facts.push_back(read(facts_[i].high) - read(facts_[i].low) - NormalForm::constant(facts_[i].strict));
          facts_.resize(before);
          cases.push_back(std::move(one));
        }
      } else {
        continue;
      }
      done = true;
      for (const Case& one : cases) {
        const std::size_t kept = forms_.size(), kept_atoms = seen_atoms_.size();
        for (const NormalForm& f : one.facts) add_form(forms_, f);
        const NormalForm goal = e.with(atom, one.value);
        for (const auto& [gm, gc] : goal.terms())
          for (Expr a : gm) add_atom_facts(a);
        const bool yes = nonnegative(goal, depth - 1);
        forms_.resize(kept);
        seen_atoms_.resize(kept_atoms);
        if (!yes) return false;
      }
      return true;
    }
  return false;
}

bool Proofs::eliminate(const NormalForm& e, int depth) {
  // The term to remove: one that keeps the form from being plainly non-negative; data and indices before symbols before
  // the constant, because what stands for them brings symbols in.
  auto rank = [&](const NormalForm::Monomial& m) {
    int r = 0;
    for (Expr a : m) {
      const Op op = program_.pool[a].op;
      r = std::max(r, op == Op::symbol ? 1 : op == Op::index ? 2 : 3);
    }
    return r * 100 + static_cast<int>(m.size());
  };
  const NormalForm::Monomial* worst = nullptr;
  std::int64_t coefficient = 0;
  for (const auto& [m, c] : e.terms()) {
    const bool bad = c < 0 || !std::all_of(m.begin(), m.end(), [&](Expr a) { return is_nonnegative_atom(a); });
    if (bad && (!worst || rank(m) > rank(*worst))) worst = &m, coefficient = c;
  }
  if (!worst || coefficient == INT64_MIN) return false;
  const NormalForm::Monomial target = *worst;

  // A lone floor division with coefficient +-1:  q <= r  iff  a < b*(r+1),  and  q >= -r  iff  a >= -r*b  (b >= 1).
  if (target.size() == 1 && program_.pool[target[0]].op == Op::floordiv && (coefficient == 1 || coefficient == -1)) {
    const ir::Node n = program_.pool[target[0]];
    const NormalForm a = read(n.args[0]), b = read(n.args[1]);
    NormalForm rest = e - NormalForm::atom(target[0]).scaled(coefficient);
    if (!rest.contains(target[0]) && positive(b)) {
      const NormalForm goal =
          coefficient < 0 ? b * (rest + NormalForm::constant(1)) - a - NormalForm::constant(1) : a + rest * b;
      if (nonnegative(goal, depth - 1)) return true;
    }
  }
  // Deeper steps only append, and take back what they appended: what is here now stays.
  const std::size_t count = forms_.size();
  for (std::size_t i = 0; i < count; ++i) {
    const NormalForm f = mentions(forms_[i], target) ? forms_[i] : NormalForm();
    for (const auto& [m, c] : f.terms()) {
      if ((c < 0) != (coefficient < 0) || c == INT64_MIN) continue;
      const auto factor = quotient(target, m);
      if (!factor) continue;
      if (m.empty() && !target.empty()) continue;
      if (!std::all_of(factor->begin(), factor->end(), [&](Expr a) { return is_nonnegative_atom(a); })) continue;
      const std::int64_t g = std::gcd(c, coefficient);
      const std::int64_t scale_e = std::abs(c / g), scale_f = std::abs(coefficient / g);
      if (nonnegative(e.scaled(scale_e) - f.times(*factor).scaled(scale_f), depth - 1)) return true;
      // Two facts may share a term: take this one once and look for the other.
      if (scale_f > 1 && scale_e == 1 && nonnegative(e - f.times(*factor), depth - 1)) return true;
      if (budget_ < 0) return false;
    }
  }
  return false;
}

}  // namespace quern::dsl
