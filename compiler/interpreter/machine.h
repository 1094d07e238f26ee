// The evaluator: compiled equations and arguments go in, values with bounds come out, each when it is asked for. A
// tensor defined by an equation is a table filled on demand; tables that would not fit keep what was used last.
#pragma once

#include <cstdlib>
#include <memory>
#include <vector>

#include "compiler/interpreter/code.h"
#include "compiler/interpreter/interpret.h"
#include "compiler/interpreter/value.h"

namespace quern::interpreter {

using compiler::Arguments;
using compiler::InterpretOptions;
using compiler::Results;
using compiler::ScalarValue;
using compiler::TensorView;
using compiler::Violation;

/// Rows of values remembered by key, each in the one place its key allows. Untouched memory costs nothing.
template <class R>
class Memo {
 public:
  void reserve(std::uint64_t keys, std::int64_t row_length, std::size_t bytes);
  bool ready() const { return slots_ != 0; }
  /// The row of `key`; `known` tells whether it holds that key's values.
  Value<R>* find(std::uint64_t key, bool& known) const {
    const std::uint64_t slot = key < slots_ ? key : key % slots_;
    known = tags_.get()[slot] == key + 1;
    return values_.get() + slot * row_;
  }
  /// Declares the row of `key` filled.
  void mark(std::uint64_t key) { tags_.get()[key < slots_ ? key : key % slots_] = key + 1; }
  std::size_t bytes() const { return slots_ * (sizeof(std::uint64_t) + row_ * sizeof(Value<R>)); }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  std::uint64_t slots_ = 0, row_ = 1;
  std::unique_ptr<std::uint64_t, Free> tags_;
  std::unique_ptr<Value<R>, Free> values_;
};

/// Whether a point belongs to a domain.
enum class Member : std::uint8_t { no, yes, maybe_no, maybe_yes };  // maybe_yes: by the reference's values it does

template <class R>
class Total;

template <class R>
class Machine {
 public:
  using V = Value<R>;

  Machine(ir::Program& program, Code code, const Arguments& arguments, const InterpretOptions& options);
  Results run();

 private:
  ir::Program& p_;
  Code code_;
  const Arguments& arguments_;
  const InterpretOptions& options_;
  std::vector<std::int64_t> index_;     // by level
  std::vector<std::uint64_t> version_;  // by level
  std::uint64_t clock_ = 1;
  struct Remembered {
    V value;
    std::uint64_t version = 0;
  };
  std::vector<Remembered> remembered_;          // by item, for share
  std::vector<V> previous_;                     // by form
  std::vector<Memo<R>> rows_;                   // by row id
  std::vector<Memo<R>> tensors_;                // by TensorId
  std::vector<const TensorView*> views_;        // by TensorId, parameters
  std::vector<std::optional<DType>> narrowed_;  // by TensorId: the wider type its equation computes in
  std::vector<std::vector<std::int64_t>> sets_;
  Precision single_ = precision_of(DType::f32), double_ = precision_of(DType::f64);
  double laxity_ = 1;  // @fast widens every rounding
  int open_ = 0;       // > 0: on a branch that may not be taken; violations are not reported
  std::optional<Violation> violation_;
  struct Bucket {  // scatter: which points land on each element
    bool ready = false, unknown = false;
    std::vector<std::int64_t> starts, points;
  };
  std::vector<Bucket> buckets_;  // by equation
  std::string error_;

  const Precision& precision(DType type) const { return type == DType::f64 ? double_ : single_; }
  std::size_t share_of(std::size_t part) const;
  void step(int level, std::int64_t value) {
    index_[static_cast<std::size_t>(level)] = value;
    version_[static_cast<std::size_t>(level)] = ++clock_;
  }

  // evaluate.cpp
  V eval(std::uint32_t id);
  V operate(const Item& item);
  V read(const Read& r, DType type);
  V read_open(const Read& r, DType type);
  V element(TensorId tensor, DType type, const std::int64_t* subscripts);
  V fetch(TensorId tensor, const std::int64_t* subscripts);
  V whole(const Item& item, const V& a, const V& b, const V& c);
  V logic(const Item& item);
  V choose(const Item& item);
  V product(const Item& item);
  V integer_of(const Item& item, const V& a);
  V float_of(const Item& item, const V& a);
  std::int64_t affine(const Affine& a) const {  // wraps: a subscript far outside is found outside
    auto value = static_cast<std::uint64_t>(a.base);
    for (const auto& [level, factor] : a.terms)
      value += static_cast<std::uint64_t>(factor) * static_cast<std::uint64_t>(index_[static_cast<std::size_t>(level)]);
    return static_cast<std::int64_t>(value);
  }
  void report(const Read& r, std::size_t axis, std::int64_t value);
  std::optional<std::pair<TensorId, std::vector<std::int64_t>>> source_of(Expr subscript);

  // Integers that are not certain.
  bool possible(const V& a, DType type, std::vector<std::int64_t>& out) const;
  V one_of(std::vector<std::int64_t> values, std::int64_t reference);
  V either(DType type, const V& a, const V& b);
  std::pair<double, double> interval(const V& a) const;

  // equations.cpp
  V tensor_at(TensorId tensor, const std::int64_t* subscripts, std::int64_t position);
  V define(const EquationCode& eq, TensorId tensor, const std::int64_t* subscripts);
  V scattered(std::size_t k, TensorId tensor, const std::int64_t* subscripts, std::int64_t position);
  bool fill_buckets(std::size_t k);
  void place(const EquationCode& eq, std::int64_t point);
  void check_facts();
  void set_up();

  // reductions.cpp
  Member member(std::uint32_t domain);
  template <class F>
  void points(const Form& f, std::size_t axis, F&& each);
  V reduce(const Form& f);
  V sum(const Form& f);
  bool depends_on_rewriting(const Form& f, const V& sum);
  void add_powers(const Form& f, Member m, std::vector<Total<R>>& sums);
  void widen_by_powers(const Form& f, const std::vector<Total<R>>& sums, V& whole);
  V whole_sum(const Form& f);
  V multiply(const Form& f);
  V extreme(const Form& f, bool largest);
  V extreme_position(const Form& f, bool largest);
  V decide(const Form& f, bool any);
  V count(const Form& f);
  V statistic(const Form& f);
  V form(std::uint32_t id, Op op);
  std::uint64_t key_of(const Form& f) const;

  // rows.cpp
  void fill_row(const Form& f, std::uint32_t id, V* row);
  void softmax_row(const Form& f, V* row, const std::vector<Member>& members, V* log_sum);
  void running_row(const Form& f, V* row, const std::vector<Member>& members);
  void sorted_row(const Form& f, V* row, const std::vector<Member>& members);
  void scan_row(const Form& f, std::uint32_t id, V* row);
  void best_row(const Form& f, V* row);
  V log_sum_exp(const Form& f);
  void order(const std::vector<V>& values, DType type, bool descending, std::int64_t keep, std::int64_t first,
             V* by_value, V* by_position);
  void inexact_ranks(const std::vector<V>& values, bool real, bool descending, std::int64_t keep, const std::vector<std::int64_t>& sorted, V* by_value,
                     std::vector<std::int64_t>& from, std::vector<std::int64_t>& to);
};

/// The exponent of the lowest bit that is set; `x` is positive.
inline int lowest_bit(double x) {
  std::uint64_t bits;
  static_assert(sizeof bits == sizeof x);
  __builtin_memcpy(&bits, &x, sizeof bits);
  const std::uint64_t significand = (bits & 0xFFFFFFFFFFFFFull) | 0x10000000000000ull;
  return static_cast<int>(bits >> 52) - 1075 + __builtin_ctzll(significand);
}

/// What the partial products of some order may reach, as exponents.
template <class R>
class PartialProducts {
 public:
  void add(const Value<R>& factor) {
    if (!std::isfinite(factor.v) || factor.v == 0) return;
    const double size = std::fabs(static_cast<double>(factor.v));
    const bool above = size > 1;
    (above ? up_ : down_) += std::ilogb(size) + (above ? 1 : 0);
    const int bits = std::ilogb(size) - lowest_bit(size) + 1;
    if (bits > 1) bits_ += bits, ++count_;
  }
  /// The product in any order: one that overflows or underflows, or whose partial products have more digits than others and round.
  void widen(Value<R>& product, const Precision& p) const {
    if (std::isinf(product.v) && down_ <= std::ilogb(p.tiny)) product.e = kInf;  // 0 times it
    if (!std::isfinite(product.v) || !tame(product, p)) return;
    if (bits_ > p.digits) product.e = std::fmax(product.e, (count_ - 1) * p.eps * std::fabs(static_cast<double>(product.v)));
    if (up_ > std::ilogb(p.largest)) product.e = kInf;
    if (down_ < std::ilogb(p.tiny) + p.digits) product.e += std::fabs(static_cast<double>(product.v));
  }

 private:
  double up_ = 0, down_ = 0;
  double bits_ = 0, count_ = 0;  // of factors that are no powers of two
};

/// A sum with the bound that any order of its terms obeys: (n - 1) roundings of the sum of sizes. Exact while every
/// partial sum must fit the type: all terms are multiples of one power of two and their sizes add up to few of it.
template <class R>
class Total {
 public:
  void add(const Value<R>& t) {
    const double size = std::fabs(static_cast<double>(t.v));
    if (t.v == 0 && t.e == 0) return;
    value_ += t.v;
    size_ += size;
    error_ += t.e;
    ++count_;
    if (!std::isfinite(t.v)) return void((std::isnan(t.v) ? nan_ : infinite_) |= t.e == 0 || !std::isnan(t.v));
    (t.v > 0 ? above_ : below_) += size + t.e;
    if (exact_) {
      if (t.e != 0)
        exact_ = false;
      else if (const int low = lowest_bit(size); low < low_)
        low_ = low;
    }
  }
  void maybe(const Value<R>& t, bool counted) {  // in or out
    const double size = std::fabs(static_cast<double>(t.v));
    Value<R> u = counted ? t : Value<R>::real(0);
    u.e = size + t.e;
    if (!std::isfinite(t.v)) u = Value<R>::real(0, kInf);
    add(u);
  }
  /// `roundings` more of the sum of sizes, `outside` more of the sum itself.
  Value<R> finish(const Precision& p, double roundings = 0, double outside = 0) const {
    if (nan_) return Value<R>::real(std::numeric_limits<R>::quiet_NaN(), 0);  // whatever the other terms are
    if (error_ == kInf) return Value<R>::real(value_, kInf);
    // Partial sums of both signs may overflow: an infinity then meets its opposite.
    const double against = infinite_ ? (value_ > 0 ? below_ : value_ < 0 ? above_ : 0) : std::fmin(above_, below_);
    if (against > p.largest) return Value<R>::real(value_, kInf);
    if (infinite_) return Value<R>::real(value_, 0);
    if (std::isinf(value_)) return Value<R>::real(std::copysign(std::numeric_limits<R>::max(), value_), 0);
    double e = error_;
    if (!exact(p))
      e += (static_cast<double>(count_ > 1 ? count_ - 1 : 0) + roundings) * p.eps * (size_ + error_) +
           outside * p.eps * (std::fabs(static_cast<double>(value_)) + error_);
    const bool out = std::fabs(static_cast<double>(value_)) + e > p.largest;
    if (size_ + e > p.largest && !out) e = kInf;  // a partial sum may overflow
    return Value<R>::real(value_, e);
  }
  R value() const { return value_; }
  double size() const { return size_; }
  double error() const { return error_; }
  std::int64_t count() const { return count_; }
  bool exact(const Precision& p) const { return exact_ && size_ <= std::ldexp(1.0, std::min(1023, low_ + p.digits)); }

 private:
  R value_ = 0;
  double size_ = 0, error_ = 0;
  double above_ = 0, below_ = 0;  // finite terms by sign
  std::int64_t count_ = 0;
  int low_ = 2000;
  bool exact_ = true, infinite_ = false, nan_ = false;
};

}  // namespace quern::interpreter
