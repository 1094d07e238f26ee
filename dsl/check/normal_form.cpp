// Overflow-checked polynomial arithmetic. In: normal forms. Out: normal forms, marked where a coefficient left i64.
// The one idea: a bound on the number of terms keeps every operation short, whatever the text.
#include "dsl/check/normal_form.h"

#include <algorithm>

namespace quern::dsl {
namespace {
constexpr std::size_t kMaxTerms = 256;
constexpr std::size_t kMaxDegree = 24;
}  // namespace

NormalForm NormalForm::constant(std::int64_t value) {
  NormalForm f;
  f.add_term({}, value);
  return f;
}

NormalForm NormalForm::atom(ir::Expr e) {
  NormalForm f;
  f.add_term({e}, 1);
  return f;
}

NormalForm NormalForm::overflowed() {
  NormalForm f;
  f.overflow_ = true;
  return f;
}

std::optional<std::int64_t> NormalForm::as_constant() const {
  if (overflow_) return std::nullopt;
  if (terms_.empty()) return 0;
  if (terms_.size() == 1 && terms_.begin()->first.empty()) return terms_.begin()->second;
  return std::nullopt;
}

std::int64_t NormalForm::coefficient(const Monomial& m) const {
  auto it = terms_.find(m);
  return it == terms_.end() ? 0 : it->second;
}

bool NormalForm::contains(ir::Expr atom) const {
  return std::any_of(terms_.begin(), terms_.end(),
                     [&](const auto& term) { return std::binary_search(term.first.begin(), term.first.end(), atom); });
}

void NormalForm::add_term(const Monomial& m, std::int64_t c) {
  if (overflow_ || c == 0) return;
  auto [it, fresh] = terms_.try_emplace(m, c);
  if (!fresh) {
    if (__builtin_add_overflow(it->second, c, &it->second))
      overflow_ = true;
    else if (it->second == 0)
      terms_.erase(it);
  }
  if (terms_.size() > kMaxTerms || m.size() > kMaxDegree) overflow_ = true;
}

NormalForm NormalForm::scaled(std::int64_t factor) const {
  if (overflow_) return overflowed();
  NormalForm out;
  for (const auto& [m, c] : terms_) {
    std::int64_t product = 0;
    if (__builtin_mul_overflow(c, factor, &product)) return overflowed();
    out.add_term(m, product);
  }
  return out;
}

NormalForm NormalForm::times(const Monomial& m) const {
  NormalForm f;
  f.add_term(m, 1);
  return *this * f;
}

NormalForm NormalForm::with(ir::Expr atom, const NormalForm& value) const {
  if (overflow_) return overflowed();
  NormalForm out;
  for (const auto& [m, c] : terms_) {
    Monomial rest;
    NormalForm term = constant(c);
    for (ir::Expr a : m)
      if (a == atom)
        term = term * value;
      else
        rest.push_back(a);
    out = out + term.times(rest);
  }
  return out;
}

NormalForm::Division NormalForm::divided(const NormalForm& divisor) const {
  Division out;
  if (overflow_ || divisor.overflow_ || divisor.terms_.size() != 1) {
    out.rest = *this;
    return out;
  }
  const auto& [dm, dc] = *divisor.terms_.begin();
  for (const auto& [m, c] : terms_) {
    auto q = quotient(m, dm);
    // The constant term also splits: floor division of the coefficient where the divisor is a constant.
    if (q && dm.empty() && dc > 0) {
      std::int64_t whole = c / dc, part = c % dc;
      if (part < 0) --whole, part += dc;
      out.quotient.add_term(m, whole);
      out.rest.add_term(m, part);
    } else if (q && c % dc == 0 && !(dc == -1 && c == INT64_MIN)) {
      out.quotient.add_term(*q, c / dc);
    } else {
      out.rest.add_term(m, c);
    }
  }
  return out;
}

NormalForm operator+(const NormalForm& a, const NormalForm& b) {
  if (a.overflow_ || b.overflow_) return NormalForm::overflowed();
  NormalForm out = a;
  for (const auto& [m, c] : b.terms_) out.add_term(m, c);
  return out;
}

NormalForm operator-(const NormalForm& a, const NormalForm& b) { return a + b.scaled(-1); }

NormalForm operator*(const NormalForm& a, const NormalForm& b) {
  if (a.overflow_ || b.overflow_) return NormalForm::overflowed();
  NormalForm out;
  for (const auto& [ma, ca] : a.terms_)
    for (const auto& [mb, cb] : b.terms_) {
      std::int64_t c = 0;
      if (__builtin_mul_overflow(ca, cb, &c)) return NormalForm::overflowed();
      NormalForm::Monomial m;
      std::merge(ma.begin(), ma.end(), mb.begin(), mb.end(), std::back_inserter(m));
      out.add_term(m, c);
      if (out.overflow_) return out;
    }
  return out;
}

std::optional<NormalForm::Monomial> quotient(const NormalForm::Monomial& m, const NormalForm::Monomial& d) {
  if (!std::includes(m.begin(), m.end(), d.begin(), d.end())) return std::nullopt;
  NormalForm::Monomial out;
  std::set_difference(m.begin(), m.end(), d.begin(), d.end(), std::back_inserter(out));
  return out;
}

}  // namespace quern::dsl
