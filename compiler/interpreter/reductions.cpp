// Reducers: the points of a domain go in, one value with its bound comes out. The rules hold for every order in which a
// back end may combine the terms. A point whose membership is open widens the bound by what it could contribute.
#include <algorithm>

#include "compiler/interpreter/elementwise.h"
#include "compiler/interpreter/machine.h"

namespace quern::interpreter {

using ir::Reducer;

template <class R>
Member Machine<R>::member(std::uint32_t domain) {
  if (!domain) return Member::yes;
  const V d = eval(domain);
  if (d.e == 0) return d.i ? Member::yes : Member::no;
  return d.i ? Member::maybe_yes : Member::maybe_no;
}

/// Calls each(value, member) for every point that is or may be in the domain, outermost axis first.
template <class R>
template <class F>
void Machine<R>::points(const Form& f, std::size_t axis, F&& each) {
  const Axis& a = f.axes[axis];
  const bool last = axis + 1 == f.axes.size();
  for (std::int64_t x = a.begin; x < a.end; ++x) {
    step(a.level, x);
    if (!last) {
      points(f, axis + 1, each);
      continue;
    }
    const Member m = member(f.domain);
    if (m == Member::no) continue;
    if (m != Member::yes) ++open_;
    V v = eval(f.body);
    if (m != Member::yes) --open_;
    if (is_float(f.type) && !is_float(f.body_type)) {
      Item cast;
      cast.type = f.type;
      cast.from = f.body_type;
      v = float_of(cast, v);
    }
    each(v, m);
  }
}

/// The sum is not finite and may be something else after a rewriting that the language allows (leaving_factors.h): it is
/// NaN only because a factor that may leave it is infinite, or such a divisor zero; or a factor beside weights that may be
/// summed one by one is infinite.
template <class R>
bool Machine<R>::depends_on_rewriting(const Form& f, const V& sum) {
  if (std::isfinite(sum.v) || sum.e != 0 || (f.leaving.empty() && f.beside_weights.empty())) return false;
  const Precision& p = precision(f.type);
  bool infinite = false, nan = false, beside = false;
  ++open_;
  points(f, 0, [&](const V&, Member m) {
    const auto see = [&](const V& v) { nan = nan || (m == Member::yes && std::isnan(v.v) && v.e == 0); };
    for (const auto& [id, divides] : f.leaving) {
      const V v = eval(id);
      see(v);
      infinite = infinite || (divides ? !(std::fabs(static_cast<double>(v.v)) > v.e) : !tame(v, p));
    }
    if (f.rest) see(eval(f.rest));
    for (const std::uint32_t id : f.beside_weights) beside = beside || !tame(eval(id), p);
  });
  --open_;
  return std::isnan(sum.v) ? infinite && !nan : beside;
}

/// One point's part of the sums that a polynomial in `prev` becomes (powers_of_previous.h).
template <class R>
void Machine<R>::add_powers(const Form& f, Member m, std::vector<Total<R>>& sums) {
  sums.resize(f.powers.size());
  if (m != Member::yes) ++open_;
  for (std::size_t k = 0; k < sums.size(); ++k) {
    const V v = eval(f.powers[k]);
    if (m == Member::yes) sums[k].add(v);
    else sums[k].maybe(v, m == Member::maybe_yes);
  }
  if (m != Member::yes) --open_;
}

/// Each of them rounds by itself, is multiplied with a power of at most four and added to the others.
template <class R>
void Machine<R>::widen_by_powers(const Form& f, const std::vector<Total<R>>& sums, V& whole) {
  if (!std::isfinite(whole.v)) return;
  double e = 0;
  for (const Total<R>& t : sums) {
    const V v = t.finish(precision(f.type), 4 + static_cast<double>(sums.size()));
    e += std::isfinite(v.v) ? v.e : kInf;
  }
  whole.e = std::fmax(whole.e, e);
}

template <class R>
Value<R> Machine<R>::sum(const Form& f) {
  Total<R> total;
  std::vector<Total<R>> powers;
  points(f, 0, [&](V v, Member m) {
    if (!f.powers.empty()) add_powers(f, m, powers);
    if (f.coarse && v.v != 0 && std::isfinite(v.v)) v.e += 0x1p-10 * (std::fabs(static_cast<double>(v.v)) + v.e);  // tf32 factors
    if (m == Member::yes)
      total.add(v);
    else
      total.maybe(v, m == Member::maybe_yes);
  });
  // A factor outside rounds once, also where its products with the terms happen to be exact.
  V out = total.finish(precision(f.type), 0, static_cast<double>(f.leaving.size()));
  widen_by_powers(f, powers, out);
  if (depends_on_rewriting(f, out)) out.e = kInf;
  out.e *= laxity_;
  // Each term and each partial sum is cut at 13 bits behind the largest one's first.
  if (f.short_sum && std::isfinite(out.v)) out.e += 0x1p-12 * static_cast<double>(total.count()) * (total.size() + total.error());
  return out;
}

template <class R>
Value<R> Machine<R>::whole_sum(const Form& f) {
  std::uint64_t total = 0;
  double e = 0;
  points(f, 0, [&](const V& v, Member m) {
    const auto [low, high] = interval(v);
    if (m != Member::maybe_no) total += static_cast<std::uint64_t>(v.i);
    if (m == Member::yes)
      e += v.e == 0 ? 0 : high - low;
    else
      e += std::fmax(std::fabs(low), std::fabs(high));
  });
  return V::integer(wrapped_to(f.type, static_cast<std::int64_t>(total)), e);
}

template <class R>
Value<R> Machine<R>::multiply(const Form& f) {
  if (!is_float(f.type)) {
    std::uint64_t product = 1;
    bool open = false;
    points(f, 0, [&](const V& v, Member m) {
      open = open || v.e != 0 || m != Member::yes;
      if (m != Member::maybe_no) product *= static_cast<std::uint64_t>(v.i);
    });
    return V::integer(wrapped_to(f.type, static_cast<std::int64_t>(product)), open ? kInf : 0);
  }
  const Precision& p = precision(f.type);
  V product = V::real(1);
  PartialProducts<R> partial;
  bool bounded = true;
  points(f, 0, [&](const V& v, Member m) {
    product = apply_float<R>(Op::mul, p, false, product, v, v);
    if (m != Member::yes) bounded = false;
    partial.add(v);
  });
  if (!bounded) product.e = kInf;
  partial.widen(product, p);
  return product;
}

template <class R>
Value<R> Machine<R>::extreme(const Form& f, bool largest) {
  if (!is_float(f.type)) {
    const std::int64_t worst = f.type == DType::boolean ? !largest
                               : largest
                                   ? (f.type == DType::u8    ? 0
                                      : f.type == DType::i64 ? std::numeric_limits<std::int64_t>::min()
                                                             : -static_cast<std::int64_t>(largest_finite(f.type)) - 1)
                               : f.type == DType::i64 ? std::numeric_limits<std::int64_t>::max()
                                                      : static_cast<std::int64_t>(largest_finite(f.type));
    V best = V::integer(worst);
    double low = static_cast<double>(worst), high = low;
    bool exact = true;
    points(f, 0, [&](const V& v, Member m) {
      exact = exact && v.e == 0 && m == Member::yes;
      if (m != Member::maybe_no && (largest ? v.i > best.i : v.i < best.i)) best.i = v.i;
      const auto [l, h] = interval(v);
      if (largest)
        high = std::fmax(high, h), low = m == Member::yes ? std::fmax(low, l) : low;
      else
        low = std::fmin(low, l), high = m == Member::yes ? std::fmin(high, h) : high;
    });
    if (!exact) best.e = std::fmax(high - static_cast<double>(best.i), static_cast<double>(best.i) - low);
    return best;
  }
  const R worst = static_cast<R>(largest ? -kInf : kInf);
  R best = worst, low = worst, high = worst;
  bool nan = false, unknown = false;
  points(f, 0, [&](const V& v, Member m) {
    if (v.e == kInf || (std::isnan(v.v) && m != Member::yes)) unknown = true;
    if (std::isnan(v.v)) {
      nan = nan || (m == Member::yes && v.e == 0);
      return;
    }
    if (m != Member::maybe_no) best = largest ? std::fmax(best, v.v) : std::fmin(best, v.v);
    const R l = v.v - static_cast<R>(v.e), h = v.v + static_cast<R>(v.e);
    if (largest)
      high = std::fmax(high, h), low = m == Member::yes ? std::fmax(low, l) : low;
    else
      low = std::fmin(low, l), high = m == Member::yes ? std::fmin(high, h) : high;
  });
  if (nan) return V::real(std::numeric_limits<R>::quiet_NaN());  // whatever the others are
  if (unknown) return V::real(best, kInf);
  if (low == high) return V::real(best);
  if (!std::isfinite(best)) return V::real(best, kInf);
  return V::real(best, static_cast<double>(std::fmax(high - best, best - low)));
}

/// argmax, argmin: every position whose value may be the best; of exact equals the first. NaN wins, the first one.
template <class R>
Value<R> Machine<R>::extreme_position(const Form& f, bool largest) {
  struct Candidate {
    R low, high;
    std::int64_t position;
    bool exact, sure;
  };
  std::vector<Candidate> candidates;  // those that were possible when seen
  std::int64_t best = -1, best_integer = 0;
  R best_value = 0, floor = static_cast<R>(-kInf);
  bool nan = false, unknown = false, any_sure = false;
  const bool whole = !is_float(f.body_type);
  points(f, 0, [&](const V& v, Member m) {
    std::int64_t position = index_[static_cast<std::size_t>(f.axes.back().level)];
    if (f.axes.size() > 1) {
      position = 0;
      for (const Axis& a : f.axes)
        position = position * (a.end - a.begin) + index_[static_cast<std::size_t>(a.level)] - a.begin;
    }
    if (nan) return;
    if (!whole && (v.e == kInf || (std::isnan(v.v) && m != Member::yes))) unknown = true;
    if (!whole && std::isfinite(v.v) && !tame(v, precision(f.body_type))) unknown = true;  // may be held as infinity, a tie
    if (!whole && std::isnan(v.v)) {
      if (m == Member::yes) nan = true, best = position;
      return;
    }
    const R value = whole ? static_cast<R>(v.i) : v.v;
    R low, high;
    if (whole) {
      const auto [l, h] = interval(v);
      low = static_cast<R>(l), high = static_cast<R>(h);
    } else {
      low = v.v - static_cast<R>(v.e), high = v.v + static_cast<R>(v.e);
    }
    if (!largest) {
      std::swap(low, high);
      low = -low, high = -high;
    }
    const bool better = best < 0 || (whole     ? (largest ? v.i > best_integer : v.i < best_integer)
                                     : largest ? value > best_value
                                               : value < best_value);
    if (m != Member::maybe_no && better) best = position, best_value = value, best_integer = v.i;
    if (high < floor && any_sure) return;
    if (m == Member::yes) floor = any_sure ? std::fmax(floor, low) : low, any_sure = true;
    candidates.push_back({low, high, position, v.e == 0 && m == Member::yes, m == Member::yes});
    if (candidates.size() > 4096)
      std::erase_if(candidates, [&](const Candidate& c) { return any_sure && c.high < floor; });
  });
  if (nan && !unknown) return V::integer(best);
  if (unknown) return V::integer(best, kInf);
  if (best < 0 && candidates.empty()) return V::integer(-1);
  std::vector<std::int64_t> possible;
  bool exact_taken = false;
  R exact_value = 0;
  for (const Candidate& c : candidates) {
    if (any_sure && c.high < floor) continue;
    if (c.exact && exact_taken && c.high <= exact_value) continue;  // an exact equal stands before it
    if (c.exact) exact_taken = true, exact_value = exact_taken ? std::fmax(exact_value, c.high) : c.high;
    possible.push_back(c.position);
  }
  if (!any_sure) possible.push_back(-1);
  if (whole && std::all_of(candidates.begin(), candidates.end(), [](const Candidate& c) { return c.exact; }))
    return V::integer(best);
  if (possible.size() > 4096) return V::integer(best, kInf);
  // `one_of` takes {0, 1} for a truth value; a set is kept as a set here.
  std::sort(possible.begin(), possible.end());
  if (possible.size() == 1) return V::integer(possible[0]);
  sets_.push_back(std::move(possible));
  return V::integer(best, -static_cast<double>(sets_.size()));
}

template <class R>
Value<R> Machine<R>::decide(const Form& f, bool any) {
  bool settled = false, reference = !any, open = false;
  points(f, 0, [&](const V& v, Member m) {
    const bool hit = (v.i != 0) == any;
    if (hit && v.e == 0 && m == Member::yes)
      settled = true;
    else if (hit || v.e != 0)
      open = true;
    if (hit && m != Member::maybe_no) reference = any;
  });
  return V::integer(settled ? any : reference, !settled && open ? 1 : 0);
}

template <class R>
Value<R> Machine<R>::count(const Form& f) {
  std::int64_t sure = 0, reference = 0, possible = 0;
  points(f, 0, [&](const V& v, Member m) {
    const bool counted = f.body_type != DType::boolean || v.i != 0;
    const bool open = (f.body_type == DType::boolean && v.e != 0) || m != Member::yes;
    if (!counted && v.e == 0) return;
    ++possible;
    if (!open && counted) ++sure;
    if (counted && m != Member::maybe_no) ++reference;
  });
  const double e = std::fmax(static_cast<double>(possible - reference), static_cast<double>(reference - sure));
  return is_float(f.type) ? V::real(static_cast<R>(reference), e) : V::integer(wrapped_to(f.type, reference), e);
}

/// mean, var, std, norm. A variance may be computed in two passes or in one from shifted data or by merging parts: its
/// own error is bounded by n roundings of deviation times (deviation + mean).
template <class R>
Value<R> Machine<R>::statistic(const Form& f) {
  const Precision& p = precision(f.type);
  std::vector<V> values;
  bool open = false;
  Total<R> total, squares;
  std::vector<Total<R>> powers;
  points(f, 0, [&](const V& v, Member m) {
    open = open || m != Member::yes;
    if (!f.powers.empty()) add_powers(f, m, powers);
    if (f.reducer == Reducer::norm)
      squares.add(apply_float<R>(Op::mul, p, false, v, v, v));
    else
      total.add(v);
    if (f.reducer == Reducer::var || f.reducer == Reducer::std)
      values.push_back(v);
    else if (f.reducer == Reducer::mean)
      values.resize(values.size() + 1);
  });
  if (f.reducer == Reducer::norm) {
    const V s = squares.finish(p, open ? 1e300 : 0);
    V out = apply_float<R>(Op::sqrt, p, true, s, s, s);
    return out;
  }
  const auto n = static_cast<double>(values.size());
  if (values.empty()) return V::real(0);
  V s = total.finish(p, 1, static_cast<double>(f.leaving.size()));
  widen_by_powers(f, powers, s);
  if (f.reducer == Reducer::mean && depends_on_rewriting(f, s)) s.e = kInf;
  const V divisor = V::real(static_cast<R>(n));
  V mean = apply_float<R>(Op::div, p, false, s, divisor, s);
  if (open) mean.e = kInf;
  if (f.reducer == Reducer::mean) return mean;
  const R centre = total.value() / static_cast<R>(n);
  R sum = 0;
  double moved = 0, worst = 0;
  bool bad = open, infinite = false, exact = true;
  for (const V& v : values) {
    const R d = v.v - centre;
    sum += d * d;
    moved += 2 * std::fabs(static_cast<double>(d)) * v.e;
    worst = std::fmax(worst, v.e);
    bad = bad || v.e == kInf;
    exact = exact && v.e == 0;
    infinite = infinite || !std::isfinite(v.v);
  }
  if (infinite && !bad) return V::real(std::numeric_limits<R>::quiet_NaN());
  const R variance = sum / static_cast<R>(n);
  const double var = static_cast<double>(variance), centred = std::fabs(static_cast<double>(centre));
  double e = moved / n + worst * worst;
  const double slip = (n + 2) * p.eps * (total.size() / n);  // error of the mean
  if (!(exact && (n == 1 || (var == 0 && mean.e == 0))))
    e += 4 * (n + 2) * p.eps * (var + std::sqrt(var) * centred) + 2 * slip * slip + p.tiny;
  if (bad || !(var + e <= p.largest) || !(n * var <= p.largest)) e = kInf;
  V out = V::real(variance, e * laxity_);
  if (f.reducer == Reducer::std) out = apply_float<R>(Op::sqrt, p, true, out, out, out);
  return out;
}

template <class R>
Value<R> Machine<R>::log_sum_exp(const Form& f) {
  std::vector<V> row;
  std::vector<Member> members;
  points(f, 0, [&](const V& v, Member m) {
    row.push_back(v);
    members.push_back(m);
  });
  V out = V::real(0);
  softmax_row(f, row.data(), members, &out);
  return out;
}

template <class R>
Value<R> Machine<R>::reduce(const Form& f) {
  switch (f.reducer) {
    case Reducer::sum:
      return is_float(f.type) ? sum(f) : whole_sum(f);
    case Reducer::prod:
      return multiply(f);
    case Reducer::max:
      return extreme(f, true);
    case Reducer::min:
      return extreme(f, false);
    case Reducer::any:
      return decide(f, true);
    case Reducer::all:
      return decide(f, false);
    case Reducer::argmax:
      return extreme_position(f, true);
    case Reducer::argmin:
      return extreme_position(f, false);
    case Reducer::count:
      return count(f);
    case Reducer::logsumexp:
      return log_sum_exp(f);
    default:
      return statistic(f);
  }
}

template <class R>
std::uint64_t Machine<R>::key_of(const Form& f) const {
  std::uint64_t key = 0;
  for (const KeyPart& k : f.key)
    key = key * static_cast<std::uint64_t>(k.extent) +
          static_cast<std::uint64_t>(index_[static_cast<std::size_t>(k.level)] - k.begin);
  return key;
}

template <class R>
Value<R> Machine<R>::form(std::uint32_t id, Op op) {
  const Form& f = code_.forms[id];
  const bool row_form = op != Op::reduce;
  std::int64_t at = 0;
  if (row_form) {
    at = index_[static_cast<std::size_t>(f.outer_level)] - f.outer_begin;
    if (op == Op::topk_position) at += f.k;
    if (at < 0 || at >= f.row_length) return is_float(f.type) ? V::real(0, kInf) : V::integer(0, kInf);
  }
  if (f.remembered && rows_[f.row_id].ready()) {
    const std::uint64_t key = key_of(f);
    bool known = false;
    V* row = rows_[f.row_id].find(key, known);
    if (!known) {
      if (row_form) {
        fill_row(f, id, row);
      } else {
        const V value = reduce(f);
        *row = value;
      }
      rows_[f.row_id].mark(key);
    }
    return row[at];
  }
  if (!row_form) return reduce(f);
  std::vector<V> row(static_cast<std::size_t>(f.row_length));
  fill_row(f, id, row.data());
  return row[static_cast<std::size_t>(at)];
}

#define QUERN_INSTANTIATE(R)                         \
  template Member Machine<R>::member(std::uint32_t); \
  template Value<R> Machine<R>::form(std::uint32_t, Op);
QUERN_INSTANTIATE(double)
QUERN_INSTANTIATE(long double)
#undef QUERN_INSTANTIATE

}  // namespace quern::interpreter
