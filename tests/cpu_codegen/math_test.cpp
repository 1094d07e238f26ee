// Elementary functions against long double over their ranges, with the largest error in units of the last place.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <limits>
#include <random>

#include "tests/catch.h"
#include "tests/cpu_codegen/fixture.h"

using namespace quern;
using namespace quern::cpu;
using namespace quern::cpu::test;

namespace {

using Reference = std::function<long double(long double, long double)>;
struct Row {
  Op op;
  Reference f;
  double low, high;      // plain range
  bool binary = false;
  double ulp32 = 4, ulp64 = 5;
  double y_low = 0, y_high = 0;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> list = {
      {Op::exp, [](auto x, auto) { return std::exp(x); }, -110, 95},
      {Op::exp2, [](auto x, auto) { return std::exp2(x); }, -160, 130},
      {Op::expm1, [](auto x, auto) { return std::expm1(x); }, -30, 90},
      {Op::log, [](auto x, auto) { return std::log(x); }, 0, 1e5},
      {Op::log2, [](auto x, auto) { return std::log2(x); }, 0, 1e5},
      {Op::log1p, [](auto x, auto) { return std::log1p(x); }, -1, 1e3},
      {Op::sqrt, [](auto x, auto) { return std::sqrt(x); }, 0, 1e5},
      {Op::rsqrt, [](auto x, auto) { return 1 / std::sqrt(x); }, 0, 1e5},
      {Op::cbrt, [](auto x, auto) { return std::cbrt(x); }, -1e5, 1e5},
      {Op::sin, [](auto x, auto) { return std::sin(x); }, -1000, 1000},
      {Op::cos, [](auto x, auto) { return std::cos(x); }, -1000, 1000},
      {Op::tan, [](auto x, auto) { return std::tan(x); }, -1000, 1000},
      {Op::sin, [](auto x, auto) { return std::sin(x); }, -1e30, 1e30},
      {Op::cos, [](auto x, auto) { return std::cos(x); }, -1e30, 1e30},
      {Op::tan, [](auto x, auto) { return std::tan(x); }, -3e6, 3e6},
      {Op::asin, [](auto x, auto) { return std::asin(x); }, -1, 1},
      {Op::acos, [](auto x, auto) { return std::acos(x); }, -1, 1},
      {Op::atan, [](auto x, auto) { return std::atan(x); }, -20, 20},
      {Op::sinh, [](auto x, auto) { return std::sinh(x); }, -91, 91},
      {Op::cosh, [](auto x, auto) { return std::cosh(x); }, -91, 91},
      {Op::tanh, [](auto x, auto) { return std::tanh(x); }, -12, 12},
      {Op::erf, [](auto x, auto) { return std::erf(x); }, -6, 6},
      {Op::sigmoid, [](auto x, auto) { return 1 / (1 + std::exp(-x)); }, -100, 40},
      {Op::gelu, [](auto x, auto) { return x * std::erfc(-x / std::sqrt(2.0L)) / 2; }, -8, 8},
      {Op::silu, [](auto x, auto) { return x / (1 + std::exp(-x)); }, -80, 40},
      {Op::softplus, [](auto x, auto) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }, -80, 40},
      {Op::pow, [](auto x, auto y) { return std::pow(x, y); }, 0, 50, true, 4, 5, -20, 20},
      {Op::atan2, [](auto x, auto y) { return std::atan2(x, y); }, -10, 10, true, 4, 5, -10, 10},
      {Op::hypot, [](auto x, auto y) { return std::hypot(x, y); }, -1e3, 1e3, true, 4, 5, -1e3, 1e3},
      {Op::logaddexp, [](auto x, auto y) { return std::max(x, y) + std::log1p(std::exp(-std::fabs(x - y))); }, 0, 30, true, 4, 5, 0, 30},
  };
  return list;
}

template <class T>
std::vector<T> evaluate(const std::string& target, const Row& row, const std::vector<T>& x, const std::vector<T>& y) {
  Bench t;
  t.options.target = target_named(target);
  const DType type = sizeof(T) == 8 ? DType::f64 : DType::f32;
  std::vector<T> out(x.size());
  Expr N = t.symbol("N", static_cast<std::int64_t>(x.size()));
  TensorId X = t.tensor(type, {N}, Role::input, (void*)x.data()), Y = t.tensor(type, {N}, Role::input, (void*)y.data());
  TensorId O = t.tensor(type, {N}, Role::output, out.data());
  IndexId i = t.index(t.n(0), N);
  Nest nest;
  nest.dims = {{i, t.n(0), N, 1, true}};
  Expr a = t.read(X, {t.ix(i)}), b = t.read(Y, {t.ix(i)});
  nest.updates = {store(O, {t.ix(i)}, row.binary ? t.pool().apply(row.op, {a, b}) : t.pool().apply(row.op, {a}))};
  t.add(nest);
  t.run();
  return out;
}

template <class T>
double error(T got, long double want) {
  if (std::isnan(want)) return std::isnan(got) ? 0 : 1e30;
  const T rounded = static_cast<T>(want);
  if (std::isinf(rounded) || std::isinf(got)) return got == rounded || std::fabs(want) > 0.9999L * std::numeric_limits<T>::max() ? 0 : 1e30;
  int e = 0;
  std::frexp(want, &e);
  e = std::max(e, std::numeric_limits<T>::min_exponent);
  return static_cast<double>(std::fabs(static_cast<long double>(got) - want) / std::ldexp(1.0L, e - std::numeric_limits<T>::digits));
}

template <class T>
void sweep(const std::string& target) {
  std::mt19937_64 g(7);
  for (const Row& row : rows()) {
    std::vector<T> x, y;
    const double stretch = sizeof(T) == 8 && (row.op == Op::exp || row.op == Op::exp2) ? 7 : 1;
    std::uniform_real_distribution<double> plain(row.low * stretch, row.high * stretch), other(row.y_low, row.y_high), small(-30, 3);
    for (int k = 0; k < 40000; ++k) {
      double v = plain(g);
      if (k % 4 == 1) v = std::copysign(std::exp2(small(g)), row.low < 0 ? v : 1.0);
      if (k % 16 == 2 && row.low >= 0) v = std::exp2(small(g) * (sizeof(T) == 8 ? 30 : 4.5));
      if (v < row.low * stretch || v > row.high * stretch) v = plain(g);
      x.push_back(static_cast<T>(v));
      y.push_back(static_cast<T>(other(g)));
    }
    const std::vector<T> out = evaluate(target, row, x, y);
    double worst = 0;
    std::size_t at = 0;
    for (std::size_t k = 0; k < x.size(); ++k) {
      const double e = error(out[k], row.f(x[k], y[k]));
      if (e > worst) worst = e, at = k;
    }
    if (std::getenv("QUERN_PRINT_ULP")) std::printf("%-9s %-10s f%zu %7.2f ulp at %a %a\n", target.c_str(), std::string(ir::name(row.op)).c_str(), 8 * sizeof(T), worst, static_cast<double>(x[at]), static_cast<double>(y[at]));
    INFO(target << " " << ir::name(row.op) << " of " << x[at] << ", " << y[at] << " gave " << out[at] << " for " << static_cast<double>(row.f(x[at], y[at])));
    CHECK(worst <= (sizeof(T) == 8 ? row.ulp64 : row.ulp32));
  }
}

}  // namespace

TEST_CASE("elementary functions in f32 stay within 4 units of the last place") {
  for (const char* target : {"host", "avx2", "baseline"}) sweep<float>(target);
}

TEST_CASE("elementary functions in f64 stay within 5 units of the last place") {
  for (const char* target : {"host", "avx2", "baseline"}) sweep<double>(target);
}

TEST_CASE("special values are those of the C library") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  std::vector<double> list = {0.0, -0.0, 1, -1, inf, -inf, nan, 0.5, -0.5, 2, -2, 3, -3, 1e30, -1e30, 1e-40, -1e-40, 1e-45, 100, -100, 0x1p-1074, 1e300, -1e300,
                              largest_finite(DType::f32), -largest_finite(DType::f32), largest_finite(DType::f64), -largest_finite(DType::f64)};
  auto run = [&]<class T>(T) {
    std::vector<T> x, y;
    for (double a : list) {
      for (double b : list) {
        x.push_back(static_cast<T>(a));
        y.push_back(static_cast<T>(b));
      }
    }
    for (const char* target : {"host", "avx2", "baseline"}) {
      for (const Row& row : rows()) {
        const std::vector<T> out = evaluate(target, row, x, y);
        for (std::size_t k = 0; k < x.size(); ++k) {
          long double want = row.f(x[k], y[k]);
          if (row.op == Op::logaddexp && x[k] == y[k]) want = x[k] + std::log(2.0L);
          if (row.op == Op::logaddexp && (std::isnan(x[k]) || std::isnan(y[k]))) want = nan;
          if ((row.op == Op::gelu || row.op == Op::silu) && std::isinf(x[k]) && x[k] < 0) want = -0.0L;
          INFO(target << " " << ir::name(row.op) << " of " << x[k] << ", " << y[k] << " gave " << out[k] << " for " << static_cast<double>(want));
          const bool fits = error(out[k], want) <= 5;
          CHECK(fits);
          if (fits && want == 0) CHECK((std::signbit(out[k]) == std::signbit(want) || row.op == Op::gelu || row.op == Op::silu));
        }
      }
    }
  };
  run(float{});
  run(double{});
}
