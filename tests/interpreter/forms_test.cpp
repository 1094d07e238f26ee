// Reducers, axis maps, scans, top-k, scatter and read policies on small data worked out by hand, empty domains
// included.
#include "tests/interpreter/given.h"

using namespace given;

namespace {

std::vector<double> reduced(const std::string& what, const std::vector<double>& x, const std::string& type = "f32",
                            const std::string& result = "f32") {
  return run("kernel f(x: " + type + "[N]) -> (y: " + result + ") { y = " + what + " }", {row(x)}).values();
}
std::vector<double> mapped(const std::string& what, const std::vector<double>& x, const std::string& type = "f32",
                           const std::string& result = "f32") {
  return run("kernel f(x: " + type + "[N]) -> (y: " + result + "[N]) { y[n] = " + what + " }", {row(x)}).values();
}

}  // namespace

TEST_CASE("reducers") {
  const std::vector<double> x = {3, -1, 4, 1, -5};
  CHECK(same(reduced("sum[n](x[n])", x), {2}));
  CHECK(same(reduced("prod[n](x[n])", x), {60}));
  CHECK(same(reduced("max[n](x[n])", x), {4}));
  CHECK(same(reduced("min[n](x[n])", x), {-5}));
  CHECK(same(reduced("argmax[n](x[n])", x, "f32", "i32"), {2}));
  CHECK(same(reduced("argmin[n](x[n])", x, "f32", "i32"), {4}));
  CHECK(same(reduced("any[n](x[n] > 3)", x, "f32", "bool"), {1}));
  CHECK(same(reduced("all[n](x[n] > 3)", x, "f32", "bool"), {0}));
  CHECK(same(reduced("count[n](x[n] > 0)", x, "f32", "i32"), {3}));
  CHECK(near(reduced("mean[n](x[n])", x), {0.4}));
  CHECK(near(reduced("var[n](x[n])", x), {(9 + 1 + 16 + 1 + 25) / 5.0 - 0.16}));
  CHECK(near(reduced("std[n](x[n])", x), {std::sqrt(10.4 - 0.16)}));
  CHECK(near(reduced("norm[n](x[n])", x), {std::sqrt(52.0)}));
  CHECK(near(reduced("logsumexp[n](x[n])", x),
             {std::log(std::exp(3) + std::exp(-1) + std::exp(4) + std::exp(1) + std::exp(-5))}));
}

TEST_CASE("integer reducers wrap and accumulate wide") {
  CHECK(same(reduced("sum[n](x[n])", {127, 127, 127}, "i8", "i32"), {381}));
  CHECK(same(reduced("sum[n](x[n])", {2147483647, 2147483647}, "i32", "i64"), {4294967294.0}));
  CHECK(same(reduced("sum[n](i32(x[n]))", {1, 0, 1}, "bool", "i32"), {2}));
  CHECK(same(reduced("max[n](x[n])", {3, -7, 5}, "i32", "i32"), {5}));
  CHECK(same(reduced("prod[n](x[n])", {3, -7, 5}, "i32", "i64"), {-105}));
}

TEST_CASE("domains that hold nothing") {
  const std::vector<double> x = {NaN, NaN};
  auto none = [&](const std::string& r) { return reduced(r + "[n where n > 5](x[n])", x); };
  CHECK(same(none("sum"), {0}));
  CHECK(same(none("prod"), {1}));
  CHECK(same(none("max"), {-inf}));
  CHECK(same(none("min"), {inf}));
  for (const char* r : {"mean", "var", "std", "norm"}) CHECK(same(none(r), {0}));
  CHECK(same(none("logsumexp"), {-inf}));
  CHECK(same(reduced("argmax[n where n > 5](x[n])", x, "f32", "i32"), {-1}));
  CHECK(same(reduced("any[n where n > 5](x[n] > 0)", x, "f32", "bool"), {0}));
  CHECK(same(reduced("all[n where n > 5](x[n] > 0)", x, "f32", "bool"), {1}));
  CHECK(same(reduced("count[n where n > 5](x[n] == x[n])", x, "f32", "i32"), {0}));
  CHECK(same(mapped("softmax[n where n > 5](x[n])", x), {0, 0}));
  CHECK(same(mapped("log_softmax[n where n > 5](x[n])", x), {-inf, -inf}));
  CHECK(same(run("kernel f(x: f32[N]) -> (y: f32) { y = sum[n](x[n]) }", {row({})}).values(), {0}));
  CHECK(same(run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = softmax[n](x[n]) }", {row({})}).values(), {}));
}

TEST_CASE("NaN and infinities in reducers") {
  CHECK(same(reduced("sum[n](x[n])", {1, NaN}), {NaN}));
  CHECK(same(reduced("sum[n](x[n])", {inf, -inf}), {NaN}));
  CHECK(same(reduced("sum[n](x[n])", {inf, 1}), {inf}));
  CHECK(same(reduced("max[n](x[n])", {1, NaN, 3}), {NaN}));
  CHECK(same(reduced("min[n](x[n])", {1, NaN, -inf}), {NaN}));
  CHECK(same(reduced("argmax[n](x[n])", {1, NaN, inf, NaN}, "f32", "i32"), {1}));
  CHECK(same(reduced("logsumexp[n](x[n])", {-inf, -inf}), {-inf}));
  CHECK(same(reduced("logsumexp[n](x[n])", {inf, 1}), {inf}));
  CHECK(same(reduced("sum[n where n != 1](x[n])", {1, NaN, 3}), {4}));
}

TEST_CASE("ties take the lowest index, and the judge knows") {
  const Run r = run("kernel f(x: f32[N]) -> (y: i32) { y = argmax[n](x[n]) }", {row({1, 7, 7, 3})});
  CHECK(r.accepts({1}));
  CHECK_FALSE(r.accepts({2}));
}

TEST_CASE("an argmax within the bounds may be either") {
  // x * 0.1 differs from y by less than a rounding of the product.
  const Run r = run("kernel f(x: f32[N], y: f32[N]) -> (p: i32) { p = argmax[n](x[n] * y[n]) }",
                    {row({3, 0.30000001192092896, 1}), row({0.10000000149011612, 1, 0.1})});
  CHECK(r.accepts({0}));
  CHECK(r.accepts({1}));
  CHECK_FALSE(r.accepts({2}));
}

TEST_CASE("softmax") {
  const double a = std::exp(-2.0), b = std::exp(-1.0);
  CHECK(near(mapped("softmax[n](x[n])", {1, 2, 3}), {a / (1 + a + b), b / (1 + a + b), 1 / (1 + a + b)}));
  CHECK(near(mapped("log_softmax[n](x[n])", {1, 2, 3}),
             {-2 - std::log(1 + a + b), -1 - std::log(1 + a + b), -std::log(1 + a + b)}));
  CHECK(near(mapped("softmax[n where n < 2](x[n])", {1, 2, NaN}), {b / (1 + b), 1 / (1 + b), 0}));
  CHECK(same(mapped("softmax[n](x[n])", {-inf, -inf}), {NaN, NaN}));
  CHECK(same(mapped("softmax[n](x[n])", {1, NaN}), {NaN, NaN}));
  CHECK(same(mapped("softmax[n](x[n])", {1, inf}), {NaN, NaN}));
  CHECK(same(mapped("softmax[n](x[n])", {-inf, 5}), {0, 1}));
  CHECK(near(mapped("softmax[n](x[n])", {10000, 10000}), {0.5, 0.5}));
}

TEST_CASE("running maps and sorts") {
  CHECK(same(mapped("cumsum[n](x[n])", {1, 2, 3}), {1, 3, 6}));
  CHECK(same(mapped("cumprod[n](x[n])", {2, 3, -1}), {2, 6, -6}));
  CHECK(same(mapped("cummax[n](x[n])", {1, 3, 2, NaN, 9}), {1, 3, 3, NaN, NaN}));
  CHECK(same(mapped("cummin[n](x[n])", {1, 3, -2}), {1, 1, -2}));
  CHECK(same(mapped("sort[n](x[n])", {3, NaN, -1, 2}), {-1, 2, 3, NaN}));
  CHECK(same(mapped("argsort[n](x[n])", {3, NaN, -1, 3}, "f32", "i32"), {2, 0, 3, 1}));
  CHECK(same(mapped("cumsum[n](x[n])", {100, 100}, "i8", "i32"), {100, 200}));
}

TEST_CASE("a running sum is remembered, a sample of it is enough") {
  compiler::InterpretOptions options;
  options.samples = {std::vector<std::int64_t>{2, 0}};
  const Run r = run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = cumsum[n](x[n]) }", {row({1, 2, 3, 4})}, {}, options);
  CHECK(same(r.values(), {6, 1}));
  CHECK(r.accepts({1, 99, 6, 99}));
  CHECK_FALSE(r.accepts({1, 3, 7, 10}));
}

TEST_CASE("recurrences") {
  CHECK(same(run("kernel f(a: f32[T], x: f32[T]) -> (h: f32[T]) { h[t] = scan[t](a[t] * prev + x[t], init = 1) }",
                 {row({2, 3, 0}), row({1, -1, 5})})
                 .values(),
             {3, 8, 5}));
}

TEST_CASE("top-k") {
  const std::string text =
      "kernel f<K = 3>(p: f32[T,X]) -> (v: f32[T,K], id: i32[T,K]) { v[t,j], id[t,j] = topk[x -> j in 0:K](p[t,x]) }";
  const Run r = run(text, {{{2, 4}, {1, 5, 5, NaN, 4, 3, 2, 1}}});
  CHECK(same(r.values(0), {NaN, 5, 5, 4, 3, 2}));
  CHECK(same(r.values(1), {3, 1, 2, 0, 1, 2}));
  const Run shorter = run(text, {{{1, 2}, {1, 2}}});
  CHECK(same(shorter.values(0), {2, 1, -inf}));
  CHECK(same(shorter.values(1), {1, 0, -1}));
  const auto swapped = r.judge({{NaN, 5, 5, 4, 3, 2}, {3, 2, 1, 0, 1, 2}});
  CHECK_FALSE(swapped.ok);
  CHECK(swapped.message.find("id[0, 1]") != std::string::npos);
}

TEST_CASE("scatter adds repeated indices, leaves the rest") {
  const std::string text = "kernel f(inout w: f32[V], ids: i32[T] in 0:V, g: f32[T]) { w[ids[t]] += g[t] }";
  const Run r = run(text, {row({10, 20, 30}), row({2, 0, 2}), row({1, 2, 4})});
  CHECK(same(r.values(), {12, 20, 35}));
  CHECK_FALSE(r.results.violation.has_value());
  const Run wrong = run(text, {row({10, 20, 30}), row({2, 7, 2}), row({1, 2, 4})});
  REQUIRE(wrong.results.violation.has_value());
  CHECK(compiler::describe(wrong.program, *wrong.results.violation) ==
        "ids[1] = 7 is outside axis 0 of 'w', which has 3 entries");
  CHECK(same(run("kernel f(inout w: i32[V], ids: i32[T] in 0:V, g: i32[T]) { w[ids[t]] max= g[t] }",
                 {row({10, 20, 30}), row({2, 0, 2}), row({40, 2, 35})})
                 .values(),
             {10, 20, 40}));
}

TEST_CASE("policies of reads") {
  const std::vector<Array> x = {row({1, 2, 3})};
  CHECK(same(run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = pad(x[n-1], 9) }", x).values(), {9, 1, 2}));
  CHECK(same(run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = clamp(x[n-1]) }", x).values(), {1, 1, 2}));
  CHECK(same(run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = wrap(x[n-1]) }", x).values(), {3, 1, 2}));
  CHECK(same(run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = where(n > 0, x[n-1], 7) }", x).values(), {7, 1, 2}));
  const std::string gather = "kernel f(e: f32[V], ids: i32[T] in 0:V) -> (y: f32[T]) { y[t] = e[ids[t]] }";
  CHECK(same(run(gather, {row({5, 6, 7}), row({2, 0, 1})}).values(), {7, 5, 6}));
  const Run wrong = run(gather, {row({5, 6, 7}), row({2, -1, 1})});
  CHECK(same(wrong.values(), {7, 0, 6}));
  REQUIRE(wrong.results.violation.has_value());
  CHECK_FALSE(wrong.results.violation->promised);
  CHECK(compiler::describe(wrong.program, *wrong.results.violation) ==
        "ids[1] = -1 is outside axis 0 of 'e', which has 3 entries");
}

TEST_CASE("nondecreasing data is checked") {
  const std::string text = "kernel f(d: i32[T] nondecreasing) -> (y: i32[T]) { y[t] = d[t] }";
  CHECK_FALSE(run(text, {row({1, 1, 4})}).results.violation.has_value());
  const Run wrong = run(text, {row({1, 4, 3})});
  REQUIRE(wrong.results.violation.has_value());
  CHECK(compiler::describe(wrong.program, *wrong.results.violation) ==
        "'d' is declared nondecreasing, but d[2] = 3 is less than the element before it");
}

TEST_CASE("inout reads its values at entry, later statements the new ones") {
  const Run r =
      run("kernel f(inout x: f32[N]) -> (y: f32[N]) { x[n] = x[n] - sum[n](x[n])\n y[n] = x[n] * 2 }", {row({1, 2})});
  CHECK(same(r.values(0), {-2, -1}));
  CHECK(same(r.values(1), {-4, -2}));
}

TEST_CASE("pair indices and views") {
  CHECK(same(run("kernel f<G = 2>(q: f32[J*G], k: f32[J]) -> (o: f32[J*G]) { o[(j,g)] = q[(j,g)] * k[j] }",
                 {{{4}, {1, 2, 3, 4}}, row({10, 100})})
                 .values(),
             {10, 20, 300, 400}));
}

TEST_CASE("strides of any sign, and zero") {
  const ir::Program p = checked("kernel f(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = x[m,n] }");
  const float data[] = {1, 2, 3, 4, 5, 6};
  compiler::Arguments arguments;
  arguments.symbols = {2, 3};
  arguments.tensors = {{data + 5, {2, 3}, {-3, -1}}};
  CHECK(same(compiler::interpret(p, arguments).outputs[0].values, {6, 5, 4, 3, 2, 1}));
  arguments.tensors = {{data, {2, 3}, {0, 1}}};
  CHECK(same(compiler::interpret(p, arguments).outputs[0].values, {1, 2, 3, 1, 2, 3}));
  arguments.tensors = {{data, {3, 3}, {0, 1}}};
  CHECK(compiler::interpret(p, arguments).error == "axis 0 of 'x' is 2 long, the argument's 3");
}
