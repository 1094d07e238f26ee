// Proofs about integer expressions (ranges.h). An index with a coefficient of known sign is replaced by the end of its
// range that makes the polynomial smallest; what is left over sizes must be a sum of known non-negative parts.
#include "compiler/passes/ranges.h"

#include <algorithm>

#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

std::int64_t Polynomial::constant() const {
  auto it = terms.find({});
  return it == terms.end() ? 0 : it->second;
}
bool Polynomial::is_constant() const { return terms.empty() || (terms.size() == 1 && terms.begin()->first.empty()); }

namespace {

void accumulate(Polynomial& to, const std::vector<Expr>& monomial, std::int64_t coefficient) {
  if (!coefficient) return;
  auto [it, fresh] = to.terms.emplace(monomial, coefficient);
  if (!fresh && (it->second += coefficient) == 0) to.terms.erase(it);
}
Polynomial constant_polynomial(std::int64_t value) {
  Polynomial p;
  accumulate(p, {}, value);
  return p;
}
Polynomial atom_polynomial(Expr atom) {
  Polynomial p;
  accumulate(p, {atom}, 1);
  return p;
}
Polynomial scaled(const Polynomial& p, std::int64_t k) { return p * constant_polynomial(k); }

/// An i64 value that holds the caller's data unbounded: sums with it may wrap, so they stay whole.
bool is_wide_data(const ExprPool& pool, Expr e) {
  const Node& n = pool[e];
  switch (n.op) {
    case Op::constant: case Op::index: case Op::symbol: return false;
    case Op::cast: return is_float(pool.type(n.args[0]));
    case Op::mod: return is_wide_data(pool, n.args[1]);
    case Op::add: case Op::sub: case Op::mul: case Op::neg: case Op::floordiv: case Op::min: case Op::max: case Op::abs:
      return std::any_of(n.args.begin(), n.args.end(), [&](Expr a) { return is_wide_data(pool, a); });
    case Op::where: return is_wide_data(pool, n.args[1]) || is_wide_data(pool, n.args[2]);
    default: return true;
  }
}
bool has_wide_data(const ExprPool& pool, const Polynomial& p) {
  for (const auto& [monomial, k] : p.terms)
    for (Expr atom : monomial)
      if (is_wide_data(pool, atom)) return true;
  return false;
}

}  // namespace

Polynomial operator+(const Polynomial& a, const Polynomial& b) {
  Polynomial out = a;
  for (const auto& [m, k] : b.terms) accumulate(out, m, k);
  return out;
}
Polynomial operator-(const Polynomial& a, const Polynomial& b) {
  Polynomial out = a;
  for (const auto& [m, k] : b.terms) accumulate(out, m, -k);
  return out;
}
Polynomial operator*(const Polynomial& a, const Polynomial& b) {
  Polynomial out;
  for (const auto& [m, k] : a.terms)
    for (const auto& [n, l] : b.terms) {
      std::vector<Expr> product;
      std::merge(m.begin(), m.end(), n.begin(), n.end(), std::back_inserter(product));
      accumulate(out, product, k * l);
    }
  return out;
}

namespace {

/// `budget` nodes are looked into; what is left over stands as it is.
Polynomial polynomial(const ExprPool& pool, Expr e, int& budget) {
  const Node& n = pool[e];
  std::int64_t value = 0;
  if (pool.is_integer_constant(e, &value)) return constant_polynomial(value);
  if (--budget > 0 && n.type == DType::i64 && (n.op == Op::add || n.op == Op::sub || n.op == Op::mul || n.op == Op::neg)) {
    const Polynomial a = polynomial(pool, n.args[0], budget);
    const Polynomial b = n.args.size() > 1 ? polynomial(pool, n.args[1], budget) : Polynomial{};
    if (!has_wide_data(pool, a) && !has_wide_data(pool, b)) {
      if (n.op == Op::neg) return Polynomial{} - a;
      const Polynomial out = n.op == Op::add ? a + b : n.op == Op::sub ? a - b : a * b;
      if (out.terms.size() <= 32) return out;
    }
  }
  return atom_polynomial(e);
}

}  // namespace

Polynomial polynomial(const ExprPool& pool, Expr e) {
  int budget = 256;
  return polynomial(pool, e, budget);
}

Expr expression(ExprPool& pool, const Polynomial& p) {
  // Positive terms first, so that a difference reads as one.
  Expr out;
  auto term = [&](const std::vector<Expr>& m, std::int64_t k) {
    Expr t;
    for (Expr atom : m) t = t ? pool.mul(t, atom) : atom;
    if (!t) return pool.integer(k);
    return k == 1 ? t : pool.mul(t, pool.integer(k));
  };
  for (const auto& [m, k] : p.terms)
    if (!m.empty() && k > 0) out = out ? pool.add(out, term(m, k)) : term(m, k);
  const std::int64_t c = p.constant();
  if (!out && c >= 0) out = pool.integer(c);
  else if (!out) {
    // All terms negative: c - ... with c negative, or -(t).
    out = pool.integer(c);
  } else if (c > 0) out = pool.add(out, pool.integer(c));
  else if (c < 0) out = pool.sub(out, pool.integer(-c));
  for (const auto& [m, k] : p.terms)
    if (!m.empty() && k < 0) out = pool.sub(out, term(m, -k));
  return out;
}

Ranges::Ranges(const Program& program) : program_(program) {
  const ExprPool& pool = program.pool;
  for (const Tensor& t : program.tensors) {
    if (t.role != Role::input) continue;
    for (Expr size : t.shape) {
      if (pool[size].op == Op::symbol) nonnegative_.push_back(static_cast<SymbolId>(pool[size].payload));
      else known_.push_back(polynomial(pool, size));
    }
  }
  for (const Requirement& r : program.requirements) add_facts(r.condition, known_);
}

void Ranges::add_facts(Expr condition, std::vector<Polynomial>& facts) const {
  const ExprPool& pool = program_.pool;
  for (Expr part : conjuncts(pool, condition)) {
    const Node& n = pool[part];
    if (n.args.size() != 2 || pool.type(n.args[0]) != DType::i64) continue;
    const Polynomial a = polynomial(pool, n.args[0]), b = polynomial(pool, n.args[1]);
    const Polynomial one = constant_polynomial(1);
    switch (n.op) {
      case Op::lt: facts.push_back(b - a - one); break;
      case Op::le: facts.push_back(b - a); break;
      case Op::gt: facts.push_back(a - b - one); break;
      case Op::ge: facts.push_back(a - b); break;
      case Op::eq:
        facts.push_back(a - b);
        facts.push_back(b - a);
        break;
      default: break;
    }
  }
}

/// +1 when p >= 0, -1 when p <= 0 by the signs of its terms alone; 0 for the zero polynomial.
std::optional<int> Ranges::sign(const Polynomial& p) const {
  const ExprPool& pool = program_.pool;
  int out = 0;
  for (const auto& [m, k] : p.terms) {
    for (std::size_t i = 0; i < m.size(); ++i) {
      if (i + 1 < m.size() && m[i] == m[i + 1]) { ++i; continue; }  // a square
      const Node& atom = pool[m[i]];
      bool fine = false;
      if (atom.op == Op::symbol) {
        const Symbol& s = program_.symbols[static_cast<SymbolId>(atom.payload)];
        fine = (s.value && *s.value >= 0) ||
               std::find(nonnegative_.begin(), nonnegative_.end(), static_cast<SymbolId>(atom.payload)) != nonnegative_.end();
      } else if (atom.op == Op::index) {
        std::int64_t begin = -1;
        fine = pool.is_integer_constant(program_.indices[static_cast<IndexId>(atom.payload)].begin, &begin) && begin >= 0;
      } else if (atom.op == Op::mod) {
        std::int64_t by = 0;
        fine = pool.is_integer_constant(atom.args[1], &by) ? by > 0 : sign(polynomial(pool, atom.args[1])).value_or(-1) >= 0;
      } else if (atom.op == Op::cast) {
        fine = pool.type(atom.args[0]) == DType::u8 || pool.type(atom.args[0]) == DType::boolean;
      }
      if (!fine) return std::nullopt;
    }
    const int s = k > 0 ? 1 : -1;
    if (out && out != s) return std::nullopt;
    out = s;
  }
  return out;
}

namespace {

/// p = atom * factor + rest with no atom left in factor or rest; nothing when the atom occurs in a higher power.
bool split_at(const Polynomial& p, Expr atom, Polynomial& factor, Polynomial& rest) {
  factor = {}, rest = {};
  for (const auto& [m, k] : p.terms) {
    const auto count = std::count(m.begin(), m.end(), atom);
    if (count > 1) return false;
    if (!count) {
      accumulate(rest, m, k);
      continue;
    }
    std::vector<Expr> without = m;
    without.erase(std::find(without.begin(), without.end(), atom));
    accumulate(factor, without, k);
  }
  return true;
}

/// Largest V with V <= floor(p / by) (up = false) or smallest found with V >= floor(p / by) (up = true), by >= 1.
std::optional<Polynomial> floor_quotient(const Polynomial& p, const Polynomial& by, bool up) {
  if (by.terms.size() != 1) return std::nullopt;
  const auto& [divisor, scale] = *by.terms.begin();
  if (scale <= 0) return std::nullopt;
  Polynomial quotient;
  std::int64_t left = 0;
  for (const auto& [m, k] : p.terms) {
    std::vector<Expr> rest = m;
    bool divides = k % scale == 0;
    for (Expr atom : divisor) {
      auto it = std::find(rest.begin(), rest.end(), atom);
      if (it == rest.end()) { divides = false; break; }
      rest.erase(it);
    }
    if (divides) accumulate(quotient, rest, k / scale);
    else if (m.empty()) left = k;
    else return std::nullopt;
  }
  if (divisor.empty()) {
    const std::int64_t q = left >= 0 ? left / scale : -((-left + scale - 1) / scale);
    return quotient + constant_polynomial(q);
  }
  // The divisor is a size of at least 1: floor(left / size) is at most left (left >= 0) or -1.
  if (up) return quotient + constant_polynomial(left >= 0 ? left : -1);
  return quotient + constant_polynomial(left >= 0 ? 0 : left);
}

/// Subtracting the fact f from p takes something away: they share a term of one sign.
bool helps(const Polynomial& f, const Polynomial& p) {
  for (const auto& [m, k] : f.terms) {
    if (m.empty()) continue;
    auto it = p.terms.find(m);
    if (it != p.terms.end() && (it->second > 0) == (k > 0)) return true;
  }
  return false;
}

}  // namespace

bool Ranges::prove(Polynomial p, const std::vector<Polynomial>& facts, int depth, int& budget) const {
  if (--budget < 0) return false;
  if (auto s = sign(p); s && *s >= 0) return true;
  if (p.is_constant() && depth > 0) return false;
  const ExprPool& pool = program_.pool;
  std::vector<Expr> atoms;
  for (const auto& [m, k] : p.terms)
    for (Expr atom : m)
      if (std::find(atoms.begin(), atoms.end(), atom) == atoms.end()) atoms.push_back(atom);
  auto positive = [&](const Polynomial& q) {
    if (q.is_constant()) return q.constant() >= 1;
    const Polynomial below = q - constant_polynomial(1);
    for (const Polynomial& f : facts) {
      if (f == below) return true;
      // A product of sizes that is at least 1 has no factor 0.
      if (q.terms.size() == 1 && q.terms.begin()->first.size() == 1 && f.constant() < 0 && f.terms.size() == 2)
        for (const auto& [m, k] : f.terms)
          if (k > 0 && std::find(m.begin(), m.end(), q.terms.begin()->first[0]) != m.end() && sign(q).value_or(-1) >= 0) return true;
    }
    return false;
  };
  auto by_facts = [&] {
    for (const Polynomial& f : facts) {
      if (!helps(f, p)) continue;
      const Polynomial left = p - f;
      if (left.terms.size() <= p.terms.size() + 1 && prove(left, facts, depth + 1, budget)) return true;
    }
    return false;
  };
  // Forms over an index (div, mod, min, max) first, indices after them.
  for (int round = 0; round < 2; ++round) {
    for (Expr atom : atoms) {
      const Node& n = pool[atom];
      if ((round == 0) == (n.op == Op::index)) continue;
      Polynomial factor, rest;
      if (!split_at(p, atom, factor, rest)) continue;
      const auto s = sign(factor);
      if (!s || *s == 0) continue;
      const bool low = *s > 0;  // the smallest value of the atom makes p smallest
      auto put = [&](const Polynomial& value) { return prove(rest + factor * value, facts, depth, budget); };
      if (n.op == Op::index) {
        const Index& index = program_.indices[static_cast<IndexId>(n.payload)];
        if (put(low ? polynomial(pool, index.begin) : polynomial(pool, index.end) - constant_polynomial(1))) return true;
        return depth < 3 && by_facts();
      }
      if (n.op == Op::mod) {
        const Polynomial by = polynomial(pool, n.args[1]);
        if (!positive(by)) continue;
        if (put(low ? Polynomial{} : by - constant_polynomial(1))) return true;
      } else if (n.op == Op::floordiv) {
        const Polynomial by = polynomial(pool, n.args[1]);
        Polynomial above = polynomial(pool, n.args[0]);
        if (!positive(by)) continue;
        // The end of the numerator's range on the side that matters.
        for (bool more = true; more;) {
          more = false;
          for (const auto& [m, k] : above.terms) {
            auto it = std::find_if(m.begin(), m.end(), [&](Expr a) { return pool[a].op == Op::index; });
            if (it == m.end()) continue;
            const Expr at = *it;
            Polynomial f, r;
            if (!split_at(above, at, f, r)) break;
            const auto fs = sign(f);
            if (!fs || *fs == 0) break;
            const Index& index = program_.indices[static_cast<IndexId>(pool[at].payload)];
            const bool take_low = (*fs > 0) == low;
            above = r + f * (take_low ? polynomial(pool, index.begin) : polynomial(pool, index.end) - constant_polynomial(1));
            more = true;
            break;
          }
        }
        if (auto q = floor_quotient(above, by, !low))
          if (put(*q)) return true;
        if (by.is_constant() && factor.is_constant()) {
          // by * q lies in [a - by + 1, a].
          const std::int64_t c = by.constant();
          const Polynomial a = polynomial(pool, n.args[0]);
          if (prove(scaled(rest, c) + factor * (low ? a - constant_polynomial(c - 1) : a), facts, depth, budget)) return true;
        }
      } else if (n.op == Op::min || n.op == Op::max) {
        const Polynomial a = polynomial(pool, n.args[0]), b = polynomial(pool, n.args[1]);
        const bool either = (n.op == Op::min) != low;
        if (either ? put(a) || put(b) : put(a) && put(b)) return true;
      } else if (n.op == Op::where) {
        if (put(polynomial(pool, n.args[1])) && put(polynomial(pool, n.args[2]))) return true;
      }
    }
  }
  return depth < 3 && by_facts();
}

bool Ranges::nonnegative(const Polynomial& p, std::span<const Expr> given) const {
  const ExprPool& pool = program_.pool;
  std::vector<Polynomial> facts = known_;
  for (Expr condition : given) add_facts(condition, facts);
  // Indices in play have at least one value.
  std::vector<IndexId> seen;
  auto see = [&](Expr e) {
    for (IndexId i : pool.free_indices(e))
      if (std::find(seen.begin(), seen.end(), i) == seen.end()) seen.push_back(i);
  };
  for (const auto& [m, k] : p.terms)
    for (Expr atom : m) see(atom);
  for (Expr condition : given) see(condition);
  for (IndexId i : seen) {
    const Index& index = program_.indices[i];
    facts.push_back(polynomial(pool, index.end) - polynomial(pool, index.begin) - constant_polynomial(1));
  }
  int budget = 300;
  return prove(p, facts, 0, budget);
}

bool Ranges::nonnegative(Expr e, std::span<const Expr> facts) const {
  return nonnegative(polynomial(program_.pool, e), facts);
}

bool Ranges::holds(Expr condition, std::span<const Expr> facts) const {
  const ExprPool& pool = program_.pool;
  if (pool.is_true(condition) || std::find(facts.begin(), facts.end(), condition) != facts.end()) return true;
  const Node& n = pool[condition];
  if (n.op == Op::and_) return holds(n.args[0], facts) && holds(n.args[1], facts);
  if (n.op == Op::or_) return holds(n.args[0], facts) || holds(n.args[1], facts);
  if (n.op == Op::not_) return fails(n.args[0], facts);
  if (n.args.size() != 2 || pool.type(n.args[0]) != DType::i64) return false;
  const Polynomial a = polynomial(pool, n.args[0]), b = polynomial(pool, n.args[1]);
  const Polynomial one = constant_polynomial(1);
  switch (n.op) {
    case Op::lt: return nonnegative(b - a - one, facts);
    case Op::le: return nonnegative(b - a, facts);
    case Op::gt: return nonnegative(a - b - one, facts);
    case Op::ge: return nonnegative(a - b, facts);
    case Op::eq: return a == b || (nonnegative(a - b, facts) && nonnegative(b - a, facts));
    case Op::ne: return nonnegative(a - b - one, facts) || nonnegative(b - a - one, facts);
    default: return false;
  }
}

bool Ranges::fails(Expr condition, std::span<const Expr> facts) const {
  const ExprPool& pool = program_.pool;
  std::int64_t value = 1;
  if (pool.type(condition) == DType::boolean && pool.is_integer_constant(condition, &value)) return value == 0;
  const Node& n = pool[condition];
  if (n.op == Op::and_) return fails(n.args[0], facts) || fails(n.args[1], facts);
  if (n.op == Op::or_) return fails(n.args[0], facts) && fails(n.args[1], facts);
  if (n.op == Op::not_) return holds(n.args[0], facts);
  if (n.args.size() != 2 || pool.type(n.args[0]) != DType::i64) return false;
  const Polynomial a = polynomial(pool, n.args[0]), b = polynomial(pool, n.args[1]);
  const Polynomial one = constant_polynomial(1);
  switch (n.op) {
    case Op::lt: return nonnegative(a - b, facts);
    case Op::le: return nonnegative(a - b - one, facts);
    case Op::gt: return nonnegative(b - a, facts);
    case Op::ge: return nonnegative(b - a - one, facts);
    case Op::eq: return nonnegative(a - b - one, facts) || nonnegative(b - a - one, facts);
    case Op::ne: return a == b || (nonnegative(a - b, facts) && nonnegative(b - a, facts));
    default: return false;
  }
}

bool Ranges::in_range(Expr read, std::span<const Expr> facts) const {
  const ExprPool& pool = program_.pool;
  const Node& n = pool[read];
  if (n.flags & kChecked) return false;
  const Tensor& t = program_.tensors[static_cast<TensorId>(n.payload)];
  for (std::size_t k = 0; k < n.args.size(); ++k) {
    const Polynomial at = polynomial(pool, n.args[k]);
    if (!nonnegative(at, facts)) return false;
    if (!nonnegative(polynomial(pool, t.shape[k]) - constant_polynomial(1) - at, facts)) return false;
  }
  return true;
}

bool Ranges::reads_in_range(Expr e, std::span<const Expr> facts) const {
  return tree_size(program_.pool, e) <= kLargestTree && reads_below_in_range(e, facts);
}

bool Ranges::reads_below_in_range(Expr e, std::span<const Expr> facts) const {
  const ExprPool& pool = program_.pool;
  const Node& n = pool[e];
  if (n.op == Op::constant || n.op == Op::index || n.op == Op::symbol || n.op == Op::scalar) return true;
  if (n.op == Op::read && !in_range(e, facts)) return false;
  std::vector<Expr> more(facts.begin(), facts.end());
  if (n.op == Op::where) {
    if (!reads_below_in_range(n.args[0], facts)) return false;
    more.push_back(n.args[0]);
    if (!reads_below_in_range(n.args[1], more)) return false;
    more.pop_back();  // the other branch knows that the condition failed, which is not used
    return reads_below_in_range(n.args[2], more);
  }
  if (n.op == Op::reduce || n.op == Op::map || n.op == Op::topk_value || n.op == Op::topk_position) {
    if (!reads_below_in_range(n.args[1], facts)) return false;
    more.push_back(n.args[1]);
    return reads_below_in_range(n.args[0], more);
  }
  for (Expr a : n.args)
    if (!reads_below_in_range(a, facts)) return false;
  return true;
}

}  // namespace quern::compiler
