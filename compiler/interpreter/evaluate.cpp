// Evaluation of items: the hot path. Guarded branches run only when taken; where a condition is open both run, quietly,
// and the answer covers either.
#include <algorithm>

#include "compiler/interpreter/elementwise.h"
#include "compiler/interpreter/machine.h"
#include "dsl/ir/operators.h"

namespace quern::interpreter {

namespace {

std::int64_t integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent % 2 ? -1 : 1) : 0;
  std::uint64_t out = 1, b = static_cast<std::uint64_t>(base);
  for (; exponent; exponent >>= 1, b *= b)
    if (exponent & 1) out *= b;
  return static_cast<std::int64_t>(out);
}

std::int64_t exact_whole(Op op, DType type, std::int64_t a, std::int64_t b, std::int64_t c) {
  if (op == Op::pow) return wrapped_to(type, integer_power(a, b));
  const std::int64_t args[3] = {a, b, c};
  return ir::fold_integer(op, std::span<const std::int64_t>(args, static_cast<std::size_t>(ir::info(op).arity)), type)
      .value_or(0);
}

std::int64_t converted(DType type, double value) {
  alignas(8) unsigned char at[8] = {};
  store_from_f64(type, at, value);
  return load_as_i64(type, at);
}

}  // namespace

template <class R>
Value<R> Machine<R>::eval(std::uint32_t id) {
  const Item& item = code_.items[id];
  switch (item.kind) {
    case Kind::constant:
      return is_float(item.type) ? V::real(static_cast<R>(item.real)) : V::integer(item.integer);
    case Kind::level:
      return V::integer(index_[item.a]);
    case Kind::affine:
      return V::integer(affine(code_.affines[item.more]));
    case Kind::read:
      return read(code_.reads[item.more], item.type);
    case Kind::share: {
      Remembered& r = remembered_[id];
      const std::uint64_t now = version_[static_cast<std::size_t>(item.level)];
      if (r.version != now) {
        r.value = eval(item.a);
        r.version = now;
      }
      return r.value;
    }
    case Kind::real: {
      const V a = eval(item.a);
      const V b = item.b ? eval(item.b) : a;
      const Precision& p = precision(item.type);
      // The commonest operators without a call.
      if ((item.op == Op::add || item.op == Op::sub || item.op == Op::mul) && tame(a, p) && tame(b, p)) {
        const bool mul = item.op == Op::mul;
        const R r = mul ? a.v * b.v : item.op == Op::add ? a.v + b.v : a.v - b.v;
        const bool exact = a.e == 0 && b.e == 0;
        if (exact && representable(r, p)) return V::real(r);
        const double e =
            exact ? 0
            : mul ? std::fabs(static_cast<double>(a.v)) * b.e + (std::fabs(static_cast<double>(b.v)) + b.e) * a.e
                  : a.e + b.e;
        if (std::isfinite(r))
          return V::real(r, (e + p.eps * (std::fabs(static_cast<double>(r)) + e) + p.tiny) * laxity_);
      }
      V out = apply_float<R>(item.op, p, item.nonnegative, a, b, item.c ? eval(item.c) : a);
      if (item.reciprocal) out = by_reciprocal(p, b, out);
      if (laxity_ != 1) out.e *= laxity_;
      return out;
    }
    case Kind::product:
      return product(item);
    default:
      return operate(item);
  }
}

template <class R>
Value<R> Machine<R>::operate(const Item& item) {
  switch (item.kind) {
    case Kind::scalar: {
      const ScalarValue& s = arguments_.scalars[item.more];
      return is_float(item.type) ? V::real(static_cast<R>(rounded_to(item.type, s.real)))
                                 : V::integer(wrapped_to(item.type, s.integer));
    }
    case Kind::previous:
      return previous_[item.more];
    case Kind::widen: {
      const V a = eval(item.a);
      return tame(a, single_) || !std::isfinite(a.v) ? a : V::real(a.v, kInf);
    }
    case Kind::round:
      return rounded<R>(item.type, eval(item.a), precision(item.from));
    case Kind::permit: {
      V out = maybe_rounded<R>(item.type, eval(item.a), precision(item.from));
      if (!item.b || out.e == kInf) return out;
      for (const V& term : {eval(item.b), eval(item.c)}) {
        const V rounded = maybe_rounded<R>(item.type, term, precision(item.from));
        if (rounded.e == kInf || !std::isfinite(rounded.v)) return out;  // the whole tells what may be there
        out.e += rounded.e - term.e;
      }
      return out;
    }
    case Kind::to_integer:
      return integer_of(item, eval(item.a));
    case Kind::to_float:
      return float_of(item, eval(item.a));
    case Kind::to_width: {
      const V a = eval(item.a);
      if (a.e == 0) return V::integer(wrapped_to(item.type, a.i));
      std::vector<std::int64_t> values;
      if (!possible(a, item.from, values)) return V::integer(wrapped_to(item.type, a.i), kInf);
      for (std::int64_t& v : values) v = wrapped_to(item.type, v);
      return one_of(std::move(values), wrapped_to(item.type, a.i));
    }
    case Kind::exp_sum: {
      const V x = eval(item.a);
      V out = exp_of_sum<R>(item.op, precision(item.type), x, eval(item.b));
      out.e *= laxity_;
      return out;
    }
    case Kind::compare: {
      const V a = eval(item.a);
      return compare_float<R>(item.op, precision(item.from), a, item.b ? eval(item.b) : a);
    }
    case Kind::whole: {
      const V a = eval(item.a);
      const V b = item.b ? eval(item.b) : a;
      return whole(item, a, b, item.c ? eval(item.c) : a);
    }
    case Kind::logic:
      return logic(item);
    case Kind::choose:
      return choose(item);
    case Kind::guard: {
      const V c = eval(item.a);
      if (c.e == 0) return c.i ? eval(item.b) : is_float(item.type) ? V::real(0) : V::integer(0);
      ++open_;
      const V inside = eval(item.b), outside = is_float(item.type) ? V::real(0) : V::integer(0);
      --open_;
      return c.i ? either(item.type, inside, outside) : either(item.type, outside, inside);
    }
    case Kind::form:
      return form(item.more, code_.forms[item.more].op);
    default:
      return V::integer(0);
  }
}

/// A product with an exact zero that stands for a skipped -inf: its partner may not have been looked at.
template <class R>
Value<R> Machine<R>::product(const Item& item) {
  const V a = eval(item.a), b = eval(item.b);
  const Precision& p = precision(item.type);
  V out = apply_float<R>(Op::mul, p, false, a, b, a);
  if (!std::isfinite(out.v) && ((a.v == 0 && a.e == 0 && b.e != kInf) || (b.v == 0 && b.e == 0 && a.e != kInf)))
    return V::real(0, kInf);
  if (laxity_ != 1) out.e *= laxity_;
  return out;
}

template <class R>
Value<R> Machine<R>::choose(const Item& item) {
  const V c = eval(item.a);
  if (c.e == 0) return eval(c.i ? item.b : item.c);
  ++open_;
  const V yes = eval(item.b), no = eval(item.c);
  --open_;
  return c.i ? either(item.type, yes, no) : either(item.type, no, yes);
}

template <class R>
Value<R> Machine<R>::logic(const Item& item) {
  const V a = eval(item.a);
  if (item.op == Op::not_) return V::integer(!a.i, a.e);
  const bool decisive = item.op == Op::or_;  // the value that settles it
  if (a.e == 0 && (a.i != 0) == decisive) return V::integer(decisive);
  const V b = eval(item.b);
  if (b.e == 0 && (b.i != 0) == decisive) return V::integer(decisive);
  const bool truth = decisive ? a.i || b.i : a.i && b.i;
  return V::integer(truth, a.e != 0 || b.e != 0 ? 1 : 0);
}

template <class R>
Value<R> Machine<R>::whole(const Item& item, const V& a, const V& b, const V& c) {
  const int arity = ir::info(item.op).arity;
  if (a.e == 0 && b.e == 0 && c.e == 0) {
    switch (item.op) {
      case Op::lt:
        return V::integer(a.i < b.i);
      case Op::le:
        return V::integer(a.i <= b.i);
      case Op::eq:
        return V::integer(a.i == b.i);
      default:
        return V::integer(exact_whole(item.op, item.from, a.i, b.i, c.i));
    }
  }
  const std::int64_t reference = exact_whole(item.op, item.from, a.i, b.i, c.i);
  const double open = item.type == DType::boolean ? 1 : kInf;
  std::vector<std::int64_t> as, bs, cs;
  if (!possible(a, item.from, as) || !possible(b, item.from, bs) || (arity > 2 && !possible(c, item.from, cs))) {
    // Too many to list: intervals serve sums, and comparisons of intervals that do not meet.
    const auto [al, ah] = interval(a);
    const auto [bl, bh] = interval(b);
    if (item.type == DType::boolean && (ah < bl || bh < al)) return V::integer(reference);
    if ((item.op == Op::add || item.op == Op::sub) &&
        std::fmax(std::fabs(al), std::fabs(ah)) + std::fmax(std::fabs(bl), std::fabs(bh)) <
            0.5 * largest_finite(item.from))
      return V::integer(reference, (ah - al) + (bh - bl));
    return V::integer(reference, open);
  }
  if (cs.empty()) cs.push_back(c.i);
  if (arity < 2) bs.assign(1, b.i);
  if (as.size() * bs.size() * cs.size() > 4096) return V::integer(reference, open);
  std::vector<std::int64_t> results;
  for (std::int64_t x : as)
    for (std::int64_t y : bs)
      for (std::int64_t z : cs) results.push_back(exact_whole(item.op, item.from, x, y, z));
  return one_of(std::move(results), reference);
}

template <class R>
Value<R> Machine<R>::integer_of(const Item& item, const V& a) {
  const std::int64_t value = converted(item.type, static_cast<double>(a.v));
  if (a.e == 0 && (std::isfinite(a.v) ? tame(a, precision(item.from)) : true)) return V::integer(value);
  if (a.e == kInf) return V::integer(value, kInf);
  const std::int64_t low = converted(item.type, static_cast<double>(a.v) - a.e),
                     high = converted(item.type, static_cast<double>(a.v) + a.e);
  if (item.type == DType::boolean) return V::integer(value, std::fabs(static_cast<double>(a.v)) <= a.e ? 1 : 0);
  return V::integer(value, std::fmax(static_cast<double>(high) - static_cast<double>(value),
                                     static_cast<double>(value) - static_cast<double>(low)));
}

template <class R>
Value<R> Machine<R>::float_of(const Item& item, const V& a) {
  const DType computed = is_small_float(item.type) ? DType::f32 : item.type;
  const Precision& p = precision(computed);
  const R v = static_cast<R>(a.i);
  V out = V::real(v);
  if (a.e == kInf) return V::real(v, kInf);
  if (a.e != 0) {
    const auto [low, high] = interval(a);
    out.e = std::fmax(high - static_cast<double>(v), static_cast<double>(v) - low);
  }
  if (out.e != 0 || !representable(v, p)) out.e += p.eps * (std::fabs(static_cast<double>(v)) + out.e);
  return is_small_float(item.type) ? rounded<R>(item.type, out, p) : out;
}

template <class R>
bool Machine<R>::possible(const V& a, DType type, std::vector<std::int64_t>& out) const {
  if (a.e == 0) return out.push_back(a.i), true;
  if (type == DType::boolean) return out = {0, 1}, true;
  if (a.e < 0) return out = sets_[static_cast<std::size_t>(-a.e) - 1], true;
  if (a.e > 64) return false;
  const auto n = static_cast<std::int64_t>(a.e);
  for (std::int64_t d = -n; d <= n; ++d) out.push_back(a.i + d);
  return true;
}

template <class R>
Value<R> Machine<R>::one_of(std::vector<std::int64_t> values, std::int64_t reference) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
  if (values.size() <= 1) return V::integer(reference);
  if (values.front() == 0 && values.back() == 1) return V::integer(reference, 1);
  if (sets_.size() >= (std::size_t{1} << 20))
    return V::integer(reference, static_cast<double>(values.back()) - static_cast<double>(values.front()));
  sets_.push_back(std::move(values));
  return V::integer(reference, -static_cast<double>(sets_.size()));
}

template <class R>
std::pair<double, double> Machine<R>::interval(const V& a) const {
  const auto i = static_cast<double>(a.i);
  if (a.e >= 0) return {i - a.e, i + a.e};
  const auto& set = sets_[static_cast<std::size_t>(-a.e) - 1];
  return {static_cast<double>(set.front()), static_cast<double>(set.back())};
}

template <class R>
Value<R> Machine<R>::either(DType type, const V& a, const V& b) {
  if (is_float(type)) return merged(a, b, precision(type));
  std::vector<std::int64_t> values, more;
  if (!possible(a, type, values) || !possible(b, type, more)) return V::integer(a.i, kInf);
  values.insert(values.end(), more.begin(), more.end());
  return one_of(std::move(values), a.i);
}

template <class R>
Value<R> Machine<R>::read(const Read& r, DType type) {
  std::int64_t at[16];
  const std::size_t rank = r.subscripts.size();
  const std::vector<std::int64_t>& shape = code_.shapes[r.tensor];
  for (std::size_t k = 0; k < rank; ++k) {
    const Subscript& s = r.subscripts[k];
    if (s.affine) {
      at[k] = affine(s.form);
    } else {
      const V v = eval(s.item);
      if (v.e != 0) return read_open(r, type);
      at[k] = v.i;
    }
    if (at[k] < 0 || at[k] >= shape[k]) {
      report(r, k, at[k]);
      return is_float(type) ? V::real(0) : V::integer(0);
    }
  }
  return element(r.tensor, type, at);
}

/// Some subscript is one of several: the answer covers all the elements it may name.
template <class R>
Value<R> Machine<R>::read_open(const Read& r, DType type) {
  const std::vector<std::int64_t>& shape = code_.shapes[r.tensor];
  std::vector<std::vector<std::int64_t>> choices(r.subscripts.size());
  std::vector<std::int64_t> reference;
  std::size_t total = 1;
  bool listed = true;
  for (std::size_t k = 0; k < r.subscripts.size(); ++k) {
    const Subscript& s = r.subscripts[k];
    const V v = s.affine ? V::integer(affine(s.form)) : eval(s.item);
    reference.push_back(v.i);
    listed = listed && possible(v, DType::i64, choices[k]);
    total *= std::max<std::size_t>(choices[k].size(), 1);
    if (total > 4096) listed = false;
  }
  auto value_at = [&](const std::vector<std::int64_t>& at) {
    for (std::size_t k = 0; k < at.size(); ++k)
      if (at[k] < 0 || at[k] >= shape[k]) return is_float(type) ? V::real(0) : V::integer(0);
    return element(r.tensor, type, at.data());
  };
  ++open_;
  V out = value_at(reference);
  if (!listed) out.e = kInf;
  for (std::size_t n = 0; listed && n < total; ++n) {
    std::vector<std::int64_t> at(choices.size());
    for (std::size_t k = choices.size(), rest = n; k-- > 0; rest /= choices[k].size())
      at[k] = choices[k][rest % choices[k].size()];
    const V other = value_at(at);
    out = is_float(type) ? merged(out, other, precision_of(type)) : either(type, out, other);
  }
  --open_;
  return out;
}

template <class R>
Value<R> Machine<R>::fetch(TensorId tensor, const std::int64_t* at) {
  const TensorView& view = *views_[tensor];
  std::int64_t offset = 0;
  for (std::size_t k = 0; k < view.strides.size(); ++k) offset += at[k] * view.strides[k];
  const DType type = p_.tensors[tensor].type;
  const char* from = static_cast<const char*>(view.data) + offset * static_cast<std::int64_t>(size_of(type));
  if (type == DType::f32) {
    float x;
    __builtin_memcpy(&x, from, sizeof x);
    return V::real(static_cast<R>(x));
  }
  return is_float(type) ? V::real(static_cast<R>(load_as_f64(type, from))) : V::integer(load_as_i64(type, from));
}

template <class R>
Value<R> Machine<R>::element(TensorId tensor, DType type, const std::int64_t* at) {
  if (views_[tensor]) return fetch(tensor, at);
  std::int64_t position = 0;
  const std::vector<std::int64_t>& shape = code_.shapes[tensor];
  for (std::size_t k = 0; k < shape.size(); ++k) position = position * shape[k] + at[k];
  const V v = tensor_at(tensor, at, position);
  return narrowed_[tensor] ? rounded<R>(type, v, precision(*narrowed_[tensor])) : v;
}

template <class R>
void Machine<R>::report(const Read& r, std::size_t axis, std::int64_t value) {
  if (violation_ || open_ > 0) return;
  Violation v;
  v.tensor = r.tensor;
  v.axis = static_cast<int>(axis);
  v.value = value;
  v.extent = code_.shapes[r.tensor][axis];
  v.promised = !r.checked;
  violation_ = v;
  if (auto source = source_of(r.subscripts[axis].expr)) {
    violation_->source = source->first;
    violation_->position = std::move(source->second);
  }
}

/// The first integer tensor read in a subscript, and where; its own subscripts are found again by evaluation.
template <class R>
std::optional<std::pair<TensorId, std::vector<std::int64_t>>> Machine<R>::source_of(Expr subscript) {
  const ir::Node& n = p_.pool[subscript];
  if (n.op == Op::read) {
    std::vector<std::int64_t> position;
    for (const Read& r : code_.reads) {
      if (r.tensor != static_cast<TensorId>(n.payload) || r.subscripts.size() != n.args.size()) continue;
      bool same = true;
      for (std::size_t k = 0; k < n.args.size(); ++k) same = same && r.subscripts[k].expr == n.args[k];
      if (!same) continue;
      for (const Subscript& s : r.subscripts) position.push_back(s.affine ? affine(s.form) : eval(s.item).i);
      return std::make_pair(r.tensor, std::move(position));
    }
  }
  for (Expr a : n.args)
    if (auto found = source_of(a)) return found;
  return std::nullopt;
}

#define QUERN_INSTANTIATE(R)                                                             \
  template Value<R> Machine<R>::eval(std::uint32_t);                                     \
  template Value<R> Machine<R>::either(DType, const V&, const V&);                       \
  template Value<R> Machine<R>::one_of(std::vector<std::int64_t>, std::int64_t);         \
  template std::pair<double, double> Machine<R>::interval(const V&) const;               \
  template bool Machine<R>::possible(const V&, DType, std::vector<std::int64_t>&) const; \
  template Value<R> Machine<R>::fetch(TensorId, const std::int64_t*);                    \
  template Value<R> Machine<R>::float_of(const Item&, const V&);                         \
  template Value<R> Machine<R>::integer_of(const Item&, const V&);                       \
  template Value<R> Machine<R>::whole(const Item&, const V&, const V&, const V&);        \
  template void Machine<R>::report(const Read&, std::size_t, std::int64_t);
QUERN_INSTANTIATE(double)
QUERN_INSTANTIATE(long double)
#undef QUERN_INSTANTIATE

}  // namespace quern::interpreter
