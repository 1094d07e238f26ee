// Every operator of the table on numbers worked out by hand, with NaN and infinities.
#include "tests/interpreter/given.h"

using namespace given;

namespace {

std::vector<double> unary(const std::string& op, const std::vector<double>& x) {
  return run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = " + op + "(x[n]) }", {row(x)}).values();
}
std::vector<double> binary(const std::string& expr, const std::vector<double>& a, const std::vector<double>& b,
                           const std::string& type = "f32", const std::string& result = "f32") {
  return run("kernel f(a: " + type + "[N], b: " + type + "[N]) -> (y: " + result + "[N]) { y[n] = " + expr + " }",
             {row(a), row(b)})
      .values();
}

}  // namespace

TEST_CASE("exact unary operators") {
  const std::vector<double> x = {-2.5, -0.5, 0, 0.5, 1.5, 2.5, inf, -inf, NaN};
  CHECK(same(unary("-", x), {2.5, 0.5, 0, -0.5, -1.5, -2.5, -inf, inf, NaN}));
  CHECK(same(unary("abs", x), {2.5, 0.5, 0, 0.5, 1.5, 2.5, inf, inf, NaN}));
  CHECK(same(unary("sign", x), {-1, -1, 0, 1, 1, 1, 1, -1, NaN}));
  CHECK(same(unary("relu", x), {0, 0, 0, 0.5, 1.5, 2.5, inf, 0, NaN}));
  CHECK(same(unary("floor", x), {-3, -1, 0, 0, 1, 2, inf, -inf, NaN}));
  CHECK(same(unary("ceil", x), {-2, 0, 0, 1, 2, 3, inf, -inf, NaN}));
  CHECK(same(unary("trunc", x), {-2, 0, 0, 0, 1, 2, inf, -inf, NaN}));
  CHECK(same(unary("round", x), {-2, 0, 0, 0, 2, 2, inf, -inf, NaN}));
}

TEST_CASE("functions") {
  const std::vector<double> x = {-1, 0, 0.5, 1, 2};
  auto each = [&](double (*f)(double)) {
    std::vector<double> out;
    for (double v : x) out.push_back(f(v));
    return out;
  };
  CHECK(near(unary("exp", x), each([](double v) { return std::exp(v); })));
  CHECK(near(unary("exp2", x), each([](double v) { return std::exp2(v); })));
  CHECK(near(unary("expm1", x), each([](double v) { return std::expm1(v); })));
  CHECK(near(unary("log", x), each([](double v) { return std::log(v); })));
  CHECK(near(unary("log2", x), each([](double v) { return std::log2(v); })));
  CHECK(near(unary("log1p", x), each([](double v) { return std::log1p(v); })));
  CHECK(near(unary("sqrt", x), each([](double v) { return std::sqrt(v); })));
  CHECK(near(unary("rsqrt", x), {NaN, inf, std::sqrt(2.0), 1, std::sqrt(0.5)}));
  CHECK(near(unary("cbrt", x), each([](double v) { return std::cbrt(v); })));
  CHECK(near(unary("sin", x), each([](double v) { return std::sin(v); })));
  CHECK(near(unary("cos", x), each([](double v) { return std::cos(v); })));
  CHECK(near(unary("tan", x), each([](double v) { return std::tan(v); })));
  CHECK(near(unary("asin", x), each([](double v) { return std::asin(v); })));
  CHECK(near(unary("acos", x), each([](double v) { return std::acos(v); })));
  CHECK(near(unary("atan", x), each([](double v) { return std::atan(v); })));
  CHECK(near(unary("sinh", x), each([](double v) { return std::sinh(v); })));
  CHECK(near(unary("cosh", x), each([](double v) { return std::cosh(v); })));
  CHECK(near(unary("tanh", x), each([](double v) { return std::tanh(v); })));
  CHECK(near(unary("erf", x), each([](double v) { return std::erf(v); })));
  CHECK(near(unary("sigmoid", x), each([](double v) { return 1 / (1 + std::exp(-v)); })));
  CHECK(near(unary("silu", x), each([](double v) { return v / (1 + std::exp(-v)); })));
  CHECK(near(unary("gelu", x), each([](double v) { return v * 0.5 * (1 + std::erf(v / std::sqrt(2.0))); })));
  CHECK(near(unary("softplus", x), each([](double v) { return std::log1p(std::exp(v)); })));
}

TEST_CASE("functions at infinities and NaN") {
  const std::vector<double> x = {inf, -inf, NaN};
  CHECK(same(unary("exp", x), {inf, 0, NaN}));
  CHECK(same(unary("log", x), {inf, NaN, NaN}));
  CHECK(same(unary("sqrt", x), {inf, NaN, NaN}));
  CHECK(same(unary("tanh", x), {1, -1, NaN}));
  CHECK(same(unary("sigmoid", x), {1, 0, NaN}));
  CHECK(same(unary("sin", x), {NaN, NaN, NaN}));
  CHECK(same(unary("erf", x), {1, -1, NaN}));
  CHECK(same(unary("softplus", x), {inf, 0, NaN}));
  CHECK(same(unary("gelu", x), {inf, 0, NaN}));
  CHECK(same(unary("silu", x), {inf, 0, NaN}));
}

TEST_CASE("binary operators") {
  CHECK(same(binary("a[n] + b[n]", {1, inf, inf}, {2, 1, -inf}), {3, inf, NaN}));
  CHECK(same(binary("a[n] - b[n]", {1, inf}, {2, inf}), {-1, NaN}));
  CHECK(same(binary("a[n] * b[n]", {3, 0, -2}, {2, inf, inf}), {6, NaN, -inf}));
  CHECK(same(binary("a[n] / b[n]", {3, 1, 0, -1}, {2, 0, 0, inf}), {1.5, inf, NaN, 0}));
  CHECK(same(binary("max(a[n], b[n])", {1, NaN, 2}, {2, 1, NaN}), {2, NaN, NaN}));
  CHECK(same(binary("min(a[n], b[n])", {1, NaN, -inf}, {2, 1, 5}), {1, NaN, -inf}));
  CHECK(near(binary("a[n] ** b[n]", {2, 9, -2, 0}, {10, 0.5, 3, 0}), {1024, 3, -8, 1}));
  CHECK(near(binary("pow(a[n], b[n])", {2, -8}, {-1, 1.5}), {0.5, NaN}));
  CHECK(near(binary("atan2(a[n], b[n])", {1, 1}, {1, -1}), {std::atan2(1, 1), std::atan2(1, -1)}));
  CHECK(near(binary("hypot(a[n], b[n])", {3, 1e30}, {4, 1e30}), {5, std::sqrt(2.0) * double(1e30f)}));
  CHECK(near(binary("logaddexp(a[n], b[n])", {0, -inf, 1000}, {0, 3, 1000}), {std::log(2.0), 3, 1000 + std::log(2.0)}));
  CHECK(near(binary("fma(a[n], b[n], 1)", {3}, {4}), {13}));
  CHECK(same(binary("clip(a[n], -1, b[n])", {-5, 0, 5}, {2, 2, 2}), {-1, 0, 2}));
  CHECK(same(binary("where(a[n] < b[n], a[n], -b[n])", {1, 3}, {2, 2}), {1, -2}));
}

TEST_CASE("comparisons, tests and logic") {
  const std::vector<double> a = {1, 2, 3, NaN}, b = {2, 2, 2, 2};
  auto test = [&](const char* e) { return binary(e, a, b, "f32", "bool"); };
  CHECK(same(test("a[n] < b[n]"), {1, 0, 0, 0}));
  CHECK(same(test("a[n] <= b[n]"), {1, 1, 0, 0}));
  CHECK(same(test("a[n] > b[n]"), {0, 0, 1, 0}));
  CHECK(same(test("a[n] >= b[n]"), {0, 1, 1, 0}));
  CHECK(same(test("a[n] == b[n]"), {0, 1, 0, 0}));
  CHECK(same(test("a[n] != b[n]"), {1, 0, 1, 1}));
  CHECK(same(test("isnan(a[n])"), {0, 0, 0, 1}));
  CHECK(same(test("isfinite(a[n])"), {1, 1, 1, 0}));
  CHECK(same(test("isinf(a[n] / 0)"), {1, 1, 1, 0}));
  CHECK(same(test("a[n] < b[n] or not (a[n] < 3 and b[n] > 1)"), {1, 0, 1, 1}));
}

TEST_CASE("integers wrap; div and mod floor, and give 0 for a zero divisor") {
  CHECK(same(binary("a[n] div b[n]", {7, -7, 7, -7, 5}, {2, 2, -2, -2, 0}, "i32", "i32"), {3, -4, -4, 3, 0}));
  CHECK(same(binary("a[n] mod b[n]", {7, -7, 7, -7, 5}, {2, 2, -2, -2, 0}, "i32", "i32"), {1, 1, -1, -1, 0}));
  CHECK(same(binary("a[n] + b[n]", {2147483647}, {1}, "i32", "i32"), {-2147483648.0}));
  CHECK(same(binary("a[n] * b[n]", {200, 16}, {2, 16}, "u8", "u8"), {144, 0}));
  CHECK(same(binary("-a[n] + b[n] * 0", {-128}, {0}, "i8", "i8"), {-128}));
  CHECK(same(binary("a[n] / b[n]", {7}, {2}, "i32", "f32"), {3.5}));
}

TEST_CASE("casts") {
  CHECK(same(unary("i32", {2.9, -2.9, 1e10, NaN}), {2, -2, 2147483647.0, 0}));
  CHECK(same(run("kernel f(x: f32[N]) -> (y: i8[N]) { y[n] = i8(x[n]) }", {row({2.9, -300, NaN, inf})}).values(),
             {2, -128, 0, 127}));
  CHECK(same(run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = f16(x[n]) }", {row({1 + 0x1p-11, 70000, 1e-9})}).values(),
             {1, inf, 0}));
  const Run small = run("kernel f(x: f32[N]) -> (y: e4m3[N]) { y[n] = x[n] }", {row({1000, -17, 0.3})});
  CHECK(small.accepts({448, -16, 0.3125}));
  CHECK_FALSE(small.accepts({448, -18, 0.3125}));
  CHECK(
      same(run("kernel f(x: f32[N]) -> (y: bool[N]) { y[n] = bool(x[n]) }", {row({0, 0.5, -1})}).values(), {0, 1, 1}));
  CHECK(same(run("kernel f(x: bool[N]) -> (y: i32[N]) { y[n] = x[n] + x[n] }", {row({0, 1})}).values(), {0, 2}));
}

TEST_CASE("a written cast rounds, and its bound is what is left of the rounding") {
  const Run r = run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = f16(x[n] * 3) }", {row({1.0 / 3, 0.1})});
  CHECK(r.accepts({1, rounded_to(DType::f16, double(0.1f) * 3)}));
  CHECK_FALSE(r.accepts({1.001, rounded_to(DType::f16, double(0.1f) * 3)}));
  CHECK_FALSE(r.accepts({1, double(float(double(0.1f) * 3))}));
}
