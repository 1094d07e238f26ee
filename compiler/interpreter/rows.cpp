// Forms that give a row at once: softmax, running sums, sorts, recurrences and top-k, each from its definition. Softmax
// and log-sum-exp are computed with the row's maximum taken out; their bounds hold for any shift that a back end takes.
#include <algorithm>
#include <numeric>

#include "compiler/interpreter/elementwise.h"
#include "compiler/interpreter/machine.h"

namespace quern::interpreter {

using ir::AxisMap;

namespace {

/// What a softmax-like row needs of one entry: its weight and how far that may be off, relatively.
struct Weights {
  double total = 0;   // sum of weights
  double moved = 0;   // how far the sum may be off
  double unsure = 0;  // weight of entries that may not belong
  std::int64_t count = 0;
};

/// Relative error of exp(s - m): the score's own, that of the shift's rounding, and the function's.
double exponent_error(double score, double error, double top, const Precision& p) {
  const ErrorRule& rule = error_rule(Op::exp);
  return std::expm1(
      std::fmin(700.0, error + rule.argument * p.eps * (std::fabs(score) + std::fabs(top)) + 2 * rule.ulps * p.eps));
}

enum class Row : std::uint8_t { plain, empty, dead, nan, infinite, unknown };

}  // namespace

template <class R>
void Machine<R>::fill_row(const Form& f, std::uint32_t id, V* row) {
  if (f.op == Op::scan) return scan_row(f, id, row);
  if (f.op == Op::topk_value || f.op == Op::topk_position) return best_row(f, row);
  const Axis& a = f.axes[0];
  std::vector<Member> members;
  members.reserve(static_cast<std::size_t>(f.row_length));
  const DType result = is_float(f.body_type) || is_float(f.type) ? f.type : f.body_type;
  const bool convert = is_float(result) && !is_float(f.body_type) && f.map != AxisMap::argsort;
  for (std::int64_t x = a.begin; x < a.end; ++x) {
    step(a.level, x);
    const Member m = member(f.domain);
    members.push_back(m);
    V& v = row[x - a.begin];
    if (m == Member::no) {
      v = V::integer(0);
      continue;
    }
    if (m != Member::yes) ++open_;
    v = eval(f.body);
    if (m != Member::yes) --open_;
    if (convert) {
      Item cast;
      cast.type = f.type;
      cast.from = f.body_type;
      v = float_of(cast, v);
    }
  }
  switch (f.map) {
    case AxisMap::softmax:
    case AxisMap::log_softmax:
      return softmax_row(f, row, members, nullptr);
    case AxisMap::sort:
    case AxisMap::argsort:
      return sorted_row(f, row, members);
    default:
      return running_row(f, row, members);
  }
}

/// Turns scores into softmax or log_softmax in place, or (with `log_sum`) gives their log-sum-exp.
template <class R>
void Machine<R>::softmax_row(const Form& f, V* row, const std::vector<Member>& members, V* log_sum) {
  const Precision& p = precision(f.type);
  const std::size_t n = members.size();
  R top = static_cast<R>(-kInf);
  Row kind = Row::empty;
  for (std::size_t i = 0; i < n; ++i) {
    if (members[i] == Member::no) continue;
    const V& s = row[i];
    if (kind == Row::empty) kind = Row::dead;
    if (s.e == kInf || (std::isfinite(s.v) && !tame(s, p)) ||
        (members[i] != Member::yes && !std::isfinite(s.v) && !(s.v < 0)))
      kind = Row::unknown;
    if (kind == Row::unknown) break;
    if (std::isnan(s.v)) kind = Row::nan;
    if (s.v > top) top = s.v;
  }
  if (kind == Row::dead && std::isinf(top) && top > 0) kind = Row::infinite;
  if (kind == Row::dead && std::isfinite(top)) kind = Row::plain;
  const R nan = std::numeric_limits<R>::quiet_NaN(), minus = static_cast<R>(-kInf);
  const bool log = f.op == Op::map && f.map == AxisMap::log_softmax;
  const V outside = V::real(log ? minus : R(0));
  if (kind != Row::plain) {
    if (log_sum) {
      switch (kind) {
        case Row::empty:
        case Row::dead:
          *log_sum = V::real(minus);
          break;
        case Row::infinite:
          *log_sum = V::real(static_cast<R>(kInf));
          break;
        case Row::nan:
          *log_sum = V::real(nan);
          break;
        default:
          *log_sum = V::real(nan, kInf);
          break;
      }
      return;
    }
    for (std::size_t i = 0; i < n; ++i)
      row[i] = members[i] == Member::no ? outside : V::real(nan, kind == Row::unknown ? kInf : 0);
    return;
  }
  Weights w;
  R total = 0;
  const auto shift = static_cast<double>(top);
  std::vector<double> errors(n, 0);
  std::vector<R> weights(n, 0);
  for (std::size_t i = 0; i < n; ++i) {
    if (members[i] == Member::no || row[i].v == minus) continue;
    const V& s = row[i];
    weights[i] = std::exp(s.v - top);
    errors[i] = exponent_error(static_cast<double>(s.v), s.e, shift, p);
    if (members[i] != Member::maybe_no) total += weights[i];
    w.moved += static_cast<double>(weights[i]) * errors[i];
    if (members[i] != Member::yes) w.unsure += static_cast<double>(weights[i]) * (1 + errors[i]);
    ++w.count;
  }
  w.total = static_cast<double>(total);
  // The sum may be off by this share of itself.
  const double share = (w.moved + w.unsure) / w.total + static_cast<double>(w.count) * p.eps;
  const bool lost = !(share < 0.9);
  if (log_sum) {
    const R r = top + std::log(total);
    const double e = lost ? kInf
                          : -std::log1p(-share) +
                                4 * p.eps * (std::fabs(shift) + std::fabs(static_cast<double>(std::log(total)))) +
                                8 * p.eps * std::fabs(static_cast<double>(r));
    *log_sum = V::real(r, w.count == 1 && w.unsure == 0
                              ? row[std::max_element(weights.begin(), weights.end()) - weights.begin()].e +
                                    8 * p.eps * std::fabs(static_cast<double>(r))
                              : e);
    return;
  }
  for (std::size_t i = 0; i < n; ++i) {
    if (members[i] == Member::no) {
      row[i] = outside;
      continue;
    }
    const bool dead = row[i].v == minus;
    if (log) {
      if (dead) {
        row[i] = V::real(minus);
        continue;
      }
      const R r = row[i].v - top - std::log(total);
      const double e = lost ? kInf
                            : row[i].e - std::log1p(-share) +
                                  4 * p.eps *
                                      (std::fabs(static_cast<double>(row[i].v)) + std::fabs(shift) +
                                       std::fabs(static_cast<double>(std::log(total)))) +
                                  8 * p.eps * std::fabs(static_cast<double>(r));
      row[i] = V::real(r, members[i] == Member::yes ? e * laxity_ : kInf);
      continue;
    }
    if (dead) {
      row[i] = V::real(0);
      continue;
    }
    // By the reference's values this one has no weight, and where none is known to have one there is no sum to divide by.
    const R r = members[i] == Member::maybe_no || !(total > 0) ? R(0) : weights[i] / total;
    const auto size = static_cast<double>(r);
    double e = lost ? 1 : size * ((1 + errors[i]) * (1 + 6 * p.eps) / (1 - share) - 1) + 4 * p.tiny;
    if (members[i] != Member::yes) e = 1;
    // No correct weight lies outside [0, 1] by more than a few roundings.
    row[i] = V::real(r, std::fmin(e * laxity_, std::fmax(size, 1 - size) + 16 * p.eps));
  }
}

template <class R>
void Machine<R>::running_row(const Form& f, V* row, const std::vector<Member>& members) {
  const bool real = is_float(f.type);
  const Precision& p = precision(f.type);
  const bool sum = f.map == AxisMap::cumsum, product = f.map == AxisMap::cumprod, largest = f.map == AxisMap::cummax;
  Total<R> total;
  PartialProducts<R> partial;
  const bool integer = !real;
  const auto top = f.type == DType::i64 ? std::numeric_limits<std::int64_t>::max()
                                        : static_cast<std::int64_t>(largest_finite(f.type));
  const auto bottom = f.type == DType::u8 || f.type == DType::boolean ? 0 : -top - 1;
  V running = integer ? V::integer(sum       ? 0
                                   : product ? 1
                                   : largest ? bottom
                                             : top)
                      : V::real(sum       ? R(0)
                                : product ? R(1)
                                          : static_cast<R>(largest ? -kInf : kInf));
  bool open = false;
  for (std::size_t i = 0; i < members.size(); ++i) {
    const V v = row[i];
    if (members[i] == Member::maybe_no || members[i] == Member::maybe_yes) open = true;
    if (members[i] == Member::yes || members[i] == Member::maybe_yes) {
      if (sum && real) {
        total.add(v);
        running = total.finish(p);
      } else {
        const Op op = sum ? Op::add : product ? Op::mul : largest ? Op::max : Op::min;
        if (real) {
          running = apply_float<R>(op, p, false, running, v, v);
        } else {
          Item item;
          item.op = op;
          item.type = item.from = f.type;
          running = whole(item, running, v, v);
        }
      }
    }
    row[i] = running;
    if (product && real) {
      if (members[i] != Member::no) partial.add(v);
      partial.widen(row[i], p);
    }
    if (open) row[i].e = kInf;
  }
}

template <class R>
void Machine<R>::sorted_row(const Form& f, V* row, const std::vector<Member>& members) {
  std::vector<V> values;
  std::vector<std::int64_t> places;
  bool open = false;
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (members[i] == Member::no) continue;
    open = open || members[i] != Member::yes;
    values.push_back(row[i]);
    places.push_back(f.axes[0].begin + static_cast<std::int64_t>(i));
  }
  const auto n = static_cast<std::int64_t>(values.size());
  const bool positions = f.map == AxisMap::argsort;
  std::vector<V> by_value(values.size()), by_position(values.size());
  order(values, f.body_type, false, n, 0, by_value.data(), by_position.data());
  const bool real = is_float(f.body_type);
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (i >= values.size()) {  // short of the axis: nothing is left to place
      row[i] = positions ? V::integer(-1)
               : real    ? V::real(static_cast<R>(kInf))
                         : V::integer(f.type == DType::i64 ? std::numeric_limits<std::int64_t>::max()
                                                           : static_cast<std::int64_t>(largest_finite(f.type)));
    } else if (positions) {
      V p = by_position[i];
      if (p.e == 0)
        p.i = places[static_cast<std::size_t>(p.i)];
      else if (p.e < 0) {
        std::vector<std::int64_t> set = sets_[static_cast<std::size_t>(-p.e) - 1];
        for (std::int64_t& s : set) s = places[static_cast<std::size_t>(s)];
        sets_.push_back(std::move(set));
        p = V::integer(places[static_cast<std::size_t>(p.i)], -static_cast<double>(sets_.size()));
      }
      row[i] = p;
    } else {
      row[i] = by_value[i];
    }
    if (open) row[i].e = kInf;
  }
}

/// The first `keep` in order, stable, NaN largest: values with the range each rank can have, and the positions
/// (from `first`) that each rank can hold.
template <class R>
void Machine<R>::order(const std::vector<V>& values, DType type, bool descending, std::int64_t keep, std::int64_t first,
                       V* by_value, V* by_position) {
  const bool real = is_float(type);
  std::vector<std::int64_t> sorted(values.size());
  std::iota(sorted.begin(), sorted.end(), 0);
  auto before = [&](std::int64_t x, std::int64_t y) {
    const V &a = values[static_cast<std::size_t>(x)], &b = values[static_cast<std::size_t>(y)];
    if (!real) return descending ? a.i > b.i : a.i < b.i;
    if (std::isnan(a.v) || std::isnan(b.v))
      return descending ? std::isnan(a.v) && !std::isnan(b.v) : !std::isnan(a.v) && std::isnan(b.v);
    return descending ? a.v > b.v : a.v < b.v;
  };
  std::sort(sorted.begin(), sorted.end(), [&](std::int64_t x, std::int64_t y) {  // equals keep their order
    return before(x, y) || (!before(y, x) && x < y);
  });
  for (std::int64_t j = 0; j < keep; ++j) {
    by_value[j] = values[static_cast<std::size_t>(sorted[static_cast<std::size_t>(j)])];
    by_position[j] = V::integer(first + sorted[static_cast<std::size_t>(j)]);
  }
  bool exact = true, lost = false, overflows = false;
  auto overflow = [&](const V& v) { return real && !std::isnan(v.v) && !tame(v, precision(type)); };  // or infinite
  for (const V& v : values) {
    exact = exact && v.e == 0;
    lost = lost || v.e == kInf;
    overflows = overflows || (overflow(v) && std::isfinite(v.v));
  }
  if (exact && !overflows) return;
  for (const V& v : values) lost = lost || (!exact && real && std::isnan(v.v));
  if (lost) {
    for (std::int64_t j = 0; j < keep; ++j) by_value[j].e = by_position[j].e = kInf;
    return;
  }
  // Ranks an entry may take.
  std::vector<std::int64_t> from(values.size()), to(values.size());
  for (std::size_t j = 0; j < sorted.size(); ++j) from[static_cast<std::size_t>(sorted[j])] = to[static_cast<std::size_t>(sorted[j])] = static_cast<std::int64_t>(j);
  if (!exact) inexact_ranks(values, real, descending, keep, sorted, by_value, from, to);
  // What overflows may be held as infinity: such entries of one sign are equal then, in either order.
  for (std::size_t j = 0; overflows && j < sorted.size();) {
    const V& first_one = values[static_cast<std::size_t>(sorted[j])];
    std::size_t end = j + 1;
    bool finite = std::isfinite(first_one.v);
    while (overflow(first_one) && end < sorted.size()) {
      const V& next = values[static_cast<std::size_t>(sorted[end])];
      if (!overflow(next) || std::signbit(next.v) != std::signbit(first_one.v)) break;
      finite = finite || std::isfinite(next.v);
      ++end;
    }
    for (std::size_t k = j; finite && k < end; ++k) {
      const auto i = static_cast<std::size_t>(sorted[k]);
      from[i] = std::min(from[i], static_cast<std::int64_t>(j)), to[i] = std::max(to[i], static_cast<std::int64_t>(end) - 1);
    }
    j = end;
  }
  std::vector<std::vector<std::int64_t>> ranks(static_cast<std::size_t>(keep));
  std::vector<bool> many(static_cast<std::size_t>(keep), false);
  for (std::size_t i = 0; i < values.size(); ++i)
    for (std::int64_t j = from[i]; j <= std::min(to[i], keep - 1); ++j) {
      auto& set = ranks[static_cast<std::size_t>(j)];
      if (set.size() < 256)
        set.push_back(first + static_cast<std::int64_t>(i));
      else
        many[static_cast<std::size_t>(j)] = true;
    }
  for (std::int64_t j = 0; j < keep; ++j) {
    auto& set = ranks[static_cast<std::size_t>(j)];
    if (many[static_cast<std::size_t>(j)] || sets_.size() > (std::size_t{1} << 20)) {
      by_position[j].e = kInf;
    } else if (set.size() > 1) {
      sets_.push_back(std::move(set));
      by_position[j].e = -static_cast<double>(sets_.size());
    }
  }
}

/// What entries with bounds may be in order: the range of the value at each rank, and the ranks of each entry.
template <class R>
void Machine<R>::inexact_ranks(const std::vector<V>& values, bool real, bool descending, std::int64_t keep, const std::vector<std::int64_t>& sorted,
                               V* by_value, std::vector<std::int64_t>& from, std::vector<std::int64_t>& to) {
  const auto n = static_cast<std::int64_t>(values.size());
  // Keys ascend in the order wanted.
  std::vector<R> low(values.size()), high(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    R l, h;
    if (real) {
      l = values[i].v - static_cast<R>(values[i].e), h = values[i].v + static_cast<R>(values[i].e);
    } else {
      const auto [a, b] = interval(values[i]);
      l = static_cast<R>(a), h = static_cast<R>(b);
    }
    low[i] = descending ? -h : l;
    high[i] = descending ? -l : h;
  }
  std::vector<R> lows = low, highs = high;
  std::sort(lows.begin(), lows.end());
  std::sort(highs.begin(), highs.end());
  for (std::int64_t j = 0; j < keep; ++j) {
    const auto k = static_cast<std::size_t>(j);
    const R l = descending ? -highs[k] : lows[k], h = descending ? -lows[k] : highs[k];
    const R v = real ? by_value[j].v : static_cast<R>(by_value[j].i);
    by_value[j].e = l == h ? 0 : static_cast<double>(std::fmax(h - v, v - l));
  }
  // After all that surely stand before it, before all that surely stand after it.
  for (std::size_t i = 0; i < values.size(); ++i) {
    from[i] = std::lower_bound(highs.begin(), highs.end(), low[i]) - highs.begin();
    to[i] = n - 1 - (lows.end() - std::upper_bound(lows.begin(), lows.end(), high[i]));
  }
  std::size_t run = 0;  // exact equals keep their order
  for (std::size_t j = 0; j < sorted.size(); ++j) {
    const auto i = static_cast<std::size_t>(sorted[j]);
    if (low[i] != high[i]) continue;
    std::size_t earlier = 0, later = 0;
    run = j;
    while (run > 0 && low[static_cast<std::size_t>(sorted[run - 1])] == high[i] &&
           high[static_cast<std::size_t>(sorted[run - 1])] == high[i])
      --run, ++earlier;
    run = j;
    while (run + 1 < sorted.size() && low[static_cast<std::size_t>(sorted[run + 1])] == high[i] &&
           high[static_cast<std::size_t>(sorted[run + 1])] == high[i])
      ++run, ++later;
    if (earlier + later > 1024) break;
    from[i] += static_cast<std::int64_t>(earlier);
    to[i] -= static_cast<std::int64_t>(later);
  }
}

/// Steps that make a linear recurrence may be combined in another order: what rounds to nothing in this order may round
/// in that one. A plain sum that is exact in every order stays exact; other recurrences run as they stand.
template <class R>
void Machine<R>::scan_row(const Form& f, std::uint32_t id, V* row) {
  const Axis& a = f.axes[0];
  previous_[id] = eval(f.init);
  const bool reordered = f.reorder != Reorder::none, sum = f.reorder == Reorder::sum;
  const Precision& p = precision(f.type);
  Total<R> total;
  PartialProducts<R> partial;
  if (reordered) total.add(previous_[id]);
  for (std::int64_t t = a.begin; t < a.end; ++t) {
    step(a.level, t);
    V v = eval(f.body);
    const V before = previous_[id];
    previous_[id] = v;
    if (reordered && std::isfinite(v.v) && std::isfinite(before.v)) {
      total.add(V::real(v.v - before.v));
      if (v.e != kInf && !(sum && v.e == 0 && total.exact(p))) v.e += static_cast<double>(t - a.begin) * p.eps * total.size();
    }
    if (f.factor) {
      partial.add(eval(f.factor));
      partial.widen(v, p);
    }
    row[t - a.begin] = v;
  }
}

template <class R>
void Machine<R>::best_row(const Form& f, V* row) {
  std::vector<V> values;
  std::vector<std::int64_t> places;
  bool open = false;
  const Axis& a = f.axes[0];
  for (std::int64_t x = a.begin; x < a.end; ++x) {
    step(a.level, x);
    const Member m = member(f.domain);
    if (m == Member::no) continue;
    open = open || m != Member::yes;
    values.push_back(eval(f.body));
    places.push_back(x);
  }
  const auto n = static_cast<std::int64_t>(values.size());
  const std::int64_t keep = std::min(n, f.k);
  order(values, f.body_type, true, keep, 0, row, row + f.k);
  const bool real = is_float(f.body_type);
  const std::int64_t lowest = f.body_type == DType::u8 || f.body_type == DType::boolean ? 0
                              : f.body_type == DType::i64
                                  ? std::numeric_limits<std::int64_t>::min()
                                  : -static_cast<std::int64_t>(largest_finite(real ? DType::i32 : f.body_type)) - 1;
  for (std::int64_t j = 0; j < f.k; ++j) {
    V &value = row[j], &position = row[f.k + j];
    if (j >= keep) {
      value = real ? V::real(static_cast<R>(-kInf)) : V::integer(lowest);
      position = V::integer(-1);
    } else {
      if (position.e < 0) {
        std::vector<std::int64_t> set = sets_[static_cast<std::size_t>(-position.e) - 1];
        for (std::int64_t& s : set) s = places[static_cast<std::size_t>(s)];
        sets_.push_back(std::move(set));
        position.e = -static_cast<double>(sets_.size());
      }
      position.i = places[static_cast<std::size_t>(position.i)];
      // Beyond its type it may be held as infinity, which a wider tensor tells from the value.
      if (real && std::isfinite(value.v) && !tame(value, precision(f.body_type))) value.e = kInf;
    }
    if (open) value.e = position.e = kInf;
  }
}

#define QUERN_INSTANTIATE(R)                                          \
  template void Machine<R>::fill_row(const Form&, std::uint32_t, V*); \
  template void Machine<R>::softmax_row(const Form&, V*, const std::vector<Member>&, V*);
QUERN_INSTANTIATE(double)
QUERN_INSTANTIATE(long double)
#undef QUERN_INSTANTIATE

}  // namespace quern::interpreter
