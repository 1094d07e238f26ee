// The bounds from both sides: straightforward f32 implementations are accepted, results that are wrong by little (twice
// the bound, one element of a mask, a scale, a rounding that was not allowed) are not.
#include <algorithm>
#include <random>

#include "tests/interpreter/given.h"

using namespace given;

namespace {

Array random_array(std::vector<std::int64_t> shape, unsigned seed, double scale = 1, DType type = DType::f32) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, scale);
  std::int64_t n = 1;
  for (std::int64_t extent : shape) n *= extent;
  Array a{std::move(shape), {}};
  for (std::int64_t i = 0; i < n; ++i) a.values.push_back(rounded_to(type, normal(generator)));
  return a;
}

/// Attention in f32, one key after the other with a running maximum, as a fused kernel computes it.
std::vector<double> streamed(const Array& q, const Array& k, const Array& v, bool causal, float scale,
                             bool round_weights = false) {
  const auto M = q.shape[0], D = q.shape[1], N = k.shape[0], E = v.shape[1];
  std::vector<double> out;
  for (std::int64_t m = 0; m < M; ++m) {
    float top = -INFINITY, sum = 0;
    std::vector<float> acc(static_cast<std::size_t>(E), 0);
    for (std::int64_t n = 0; n < (causal ? std::min(N, m + 1) : N); ++n) {
      float s = 0;
      for (std::int64_t d = 0; d < D; ++d) s += float(q.values[m * D + d]) * float(k.values[n * D + d]);
      s *= scale;
      const float next = std::max(top, s), shrink = std::exp2((top - next) * 1.44269504f);
      float w = std::exp2((s - next) * 1.44269504f);
      sum = sum * shrink + w;
      if (round_weights) w = float(rounded_to(DType::f16, w));
      for (std::int64_t e = 0; e < E; ++e) acc[e] = acc[e] * shrink + w * float(v.values[n * E + e]);
      top = next;
    }
    for (float a : acc) out.push_back(a / sum);
  }
  return out;
}

const char* kAttention =
    "kernel f(q: f32[M,D], k: f32[N,D], v: f32[N,E], scale: f32) -> (o: f32[M,E]) {\n"
    "  s[m,n] = sum[d](q[m,d] * k[n,d]) * scale\n"
    "  o[m,e] = sum[n](softmax[n](s[m,n]) * v[n,e])\n}";
const char* kCausal =
    "kernel f(q: f32[M,D], k: f32[N,D], v: f32[N,E], scale: f32) -> (o: f32[M,E]) {\n"
    "  s[m,n] = sum[d](q[m,d] * k[n,d]) * scale\n"
    "  o[m,e] = sum[n](softmax[n where n <= m](s[m,n]) * v[n,e])\n}";

}  // namespace

TEST_CASE("integers in floats are exact: any order of an exact sum gives the same bits") {
  Array a = random_array({5, 40}, 1, 20), b = random_array({40, 3}, 2, 20);
  for (Array* x : {&a, &b})
    for (double& v : x->values) v = std::round(v);
  const Run r = run("kernel f(a: f32[M,K], b: f32[K,N]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }", {a, b});
  for (std::size_t i = 0; i < 15; ++i) CHECK(r.bound(i) == 0);
  auto stored = r.values();
  CHECK(r.accepts(stored));
  stored[7] = std::nextafterf(float(stored[7]), 1e30f);
  CHECK_FALSE(r.accepts(stored));
}

TEST_CASE("a product of matrices: f32 in any order is accepted, twice the bound is not") {
  const Array a = random_array({4, 300}, 3), b = random_array({300, 3}, 4);
  const Run r = run("kernel f(a: f32[M,K], b: f32[K,N]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }", {a, b});
  std::vector<double> forward(12), backward(12);
  for (int m = 0; m < 4; ++m)
    for (int n = 0; n < 3; ++n) {
      float up = 0, down = 0;
      for (int k = 0; k < 300; ++k) up += float(a.values[m * 300 + k]) * float(b.values[k * 3 + n]);
      for (int k = 300; k-- > 0;) down += float(a.values[m * 300 + k]) * float(b.values[k * 3 + n]);
      forward[m * 3 + n] = up, backward[m * 3 + n] = down;
    }
  CHECK(r.accepts(forward));
  CHECK(r.accepts(backward));
  forward[5] = r.values()[5] + 2 * r.bound(5);
  const auto report = r.judge({forward});
  CHECK_FALSE(report.ok);
  CHECK(report.outputs[0].wrong == 1);
  CHECK(report.outputs[0].index == std::vector<std::int64_t>{1, 2});
  CHECK(report.message.find("c[1, 2]: expected") == 0);
}

TEST_CASE("streamed attention is accepted; wrong scale, wrong mask, one swapped row are not") {
  const Array q = random_array({9, 16}, 5), k = random_array({21, 16}, 6), v = random_array({21, 4}, 7);
  const Run r = run(kAttention, {q, k, v}, {{"scale", 0.25}});
  CHECK(r.accepts(streamed(q, k, v, false, 0.25f)));
  CHECK_FALSE(r.accepts(streamed(q, k, v, false, 0.2501f)));
  CHECK_FALSE(r.accepts(streamed(q, k, v, true, 0.25f)));
  const Run causal = run(kCausal, {q, k, v}, {{"scale", 0.25}});
  CHECK(causal.accepts(streamed(q, k, v, true, 0.25f)));
  CHECK_FALSE(causal.accepts(streamed(q, k, v, false, 0.25f)));
  auto swapped = streamed(q, k, v, false, 0.25f);
  std::swap_ranges(swapped.begin(), swapped.begin() + 4, swapped.begin() + 4);
  CHECK_FALSE(r.accepts(swapped));
}

TEST_CASE("large logits") {
  const Array q = random_array({6, 8}, 8, 60), k = random_array({30, 8}, 9, 60), v = random_array({30, 3}, 10);
  const Run r = run(kAttention, {q, k, v}, {{"scale", 1}});
  CHECK(r.accepts(streamed(q, k, v, false, 1)));
  std::size_t undecided = 0;
  for (double e : r.output().errors) undecided += e == inf;
  CHECK(undecided == 0);
}

TEST_CASE("the permitted rounding of softmax weights, and @precise") {
  const std::string body =
      "kernel f(q: f32[M,D], k: f32[N,D], v: f16[N,E], scale: f32) -> (o: f32[M,E]) {\n  s[m,n] = sum[d](q[m,d] * "
      "k[n,d]) * scale\n"
      "  o[m,e] = sum[n](softmax[n](s[m,n]) * v[n,e])\n}";
  const Array q = random_array({3, 4}, 11, 0.1), k = random_array({40, 4}, 12, 0.1),
              v = random_array({40, 2}, 13, 1, DType::f16);
  const Run r = run(body, {q, k, v}, {{"scale", 1}}), precise = run("@precise " + body, {q, k, v}, {{"scale", 1}});
  CHECK(r.accepts(streamed(q, k, v, false, 1)));
  CHECK(precise.accepts(streamed(q, k, v, false, 1)));
  std::vector<double> rounded;  // weights normalised, then rounded
  for (int m = 0; m < 3; ++m)
    for (int e = 0; e < 2; ++e) {
      std::vector<double> s(40);
      double sum = 0, acc = 0;
      for (int n = 0; n < 40; ++n) {
        for (int d = 0; d < 4; ++d) s[n] += q.values[m * 4 + d] * k.values[n * 4 + d];
        sum += std::exp(s[n]);
      }
      for (int n = 0; n < 40; ++n) acc += rounded_to(DType::f16, std::exp(s[n]) / sum) * v.values[n * 2 + e];
      rounded.push_back(acc);
    }
  CHECK(r.accepts(rounded));
  CHECK_FALSE(precise.accepts(rounded));
}

TEST_CASE("a difference that is a factor may be rounded term by term, other forms as a whole") {
  // 1.0003 and 1 are the same f16: rounded by themselves they cancel, their difference does not.
  const std::vector<double> a(8, 1.0003), b(8, 1);
  const double whole = 8 * (double(float(1.0003)) - 1);
  const auto sum = [&](const std::string& factor, const std::string& mode = "") {
    return run(mode + "kernel f(a: f32[M,N], b: f32[N], v: f16[N,E]) -> (y: f32[M,E]) { y[m,e] = sum[n](" + factor + " * v[n,e]) }",
               {Array{{1, 8}, a}, row(b), Array{{8, 1}, std::vector<double>(8, 1)}});
  };
  CHECK(sum("(a[m,n] - b[n])").accepts({whole}));
  CHECK(sum("(a[m,n] - b[n])").accepts({8 * rounded_to(DType::f16, whole / 8)}));
  CHECK(sum("(a[m,n] - b[n])").accepts({0}));
  CHECK(sum("(-b[n] + a[m,n])").accepts({0}));
  CHECK_FALSE(sum("(a[m,n] - b[n])").accepts({8 * (1 - rounded_to(DType::bf16, 1.0041))}));  // rounded to fewer bits
  CHECK_FALSE(sum("(a[m,n] - b[n])", "@precise ").accepts({0}));
  // The maximum of a difference is not a sum of two factors.
  CHECK_FALSE(sum("max(a[m,n] - b[n], 0)").accepts({0}));
}

TEST_CASE("what lies behind a domain does not leak; what is live does") {
  const Array q = random_array({3, 2}, 14), k = random_array({3, 2}, 15);
  Array v = random_array({3, 2}, 16);
  v.values[4] = NaN;  // row 2: masked for queries 0 and 1
  const Run r = run(kCausal, {q, k, v}, {{"scale", 1}});
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::isfinite(r.values()[i]));
  CHECK(std::isnan(r.values()[4]));
  CHECK(r.bound(4) == 0);
  auto stored = r.values();
  CHECK(r.accepts(stored));
  stored[0] = NaN;
  CHECK_FALSE(r.accepts(stored));
  stored = r.values();
  stored[4] = 1;
  CHECK_FALSE(r.accepts(stored));
}

TEST_CASE("the structural zero of a softmax holds through a name") {
  const Run r =
      run("kernel f(x: f32[N], v: f32[N]) -> (o: f32) {\n  w[n] = softmax[n where n < 2](x[n])\n  o = sum[n](w[n] * "
          "v[n])\n}",
          {row({1, 1, 1}), row({2, 4, NaN})});
  CHECK(near(r.values(), {3}));
}

TEST_CASE("behind where(c, s, -inf) a NaN may be skipped or seen") {
  const Run r =
      run("kernel f(x: f32[N], v: f32[N]) -> (o: f32) { o = sum[n](softmax[n](where(n < 2, x[n], -inf)) * v[n]) }",
          {row({1, 1, 1}), row({2, 4, NaN})});
  CHECK(r.accepts({3}));
  CHECK(r.accepts({NaN}));
}

TEST_CASE("an infinite factor that may leave its sum may hide the NaN that its products made, and no other") {
  const auto sum = [](const std::string& term, std::vector<double> f, std::vector<double> x) {
    const auto n = static_cast<std::int64_t>(x.size());
    return run("kernel f(f: f32[1], x: f32[1,N]) -> (y: f32[1]) {\n  t[m,n] = " + term + "\n  y[m] = sum[n](t[m,n])\n}",
               {Array{{1}, std::move(f)}, Array{{1, n}, std::move(x)}});
  };
  for (const char* term : {"f[m] * x[m,n]", "x[m,n] / (1 / f[m])", "where(n >= 0, -(x[m,n] * f[m]), 0)"}) {
    INFO(term);
    CHECK(sum(term, {inf}, {0, 1}).accepts({inf}));   // inf * 0
    CHECK(sum(term, {inf}, {0, 1}).accepts({NaN}));
    CHECK(sum(term, {inf}, {2, -1}).accepts({inf}));  // inf - inf
    CHECK_FALSE(sum(term, {inf}, {NaN, 1}).accepts({inf}));
    CHECK_FALSE(sum(term, {NaN}, {inf, 1}).accepts({inf}));
    CHECK_FALSE(sum(term, {1}, {inf, -inf}).accepts({inf}));
    CHECK_FALSE(sum(term, {0}, {inf, 1}).accepts({0}));
    CHECK_FALSE(sum(term, {inf}, {0}).accepts({inf}));  // one point: nothing varies along the axis
  }
  // Both vary along the axis.
  const std::string own = "kernel f(f: f32[N], x: f32[N]) -> (y: f32) { y = sum[n](f[n] * x[n]) }";
  CHECK_FALSE(run(own, {row({inf, 1}), row({0, 1})}).accepts({inf}));
  CHECK_FALSE(run(own, {row({inf, inf}), row({2, -1})}).accepts({inf}));
  // A factor of an inner sum may leave both; a contraction may sum over one axis before it meets the other factor.
  const Run nested = run("kernel f(f: f32[1], x: f32[M,N]) -> (y: f32) {\n  y = sum[m](sum[n](f[0] * x[m,n]))\n}",
                         {row({inf}), Array{{2, 2}, {1, 1, -1, 2}}});
  CHECK(nested.accepts({inf}));
  const Run product = run("kernel f(f: f32[M], a: f32[M,N], x: f32[N]) -> (y: f32) { y = sum[m,n](f[m] * a[m,n] * x[n]) }",
                          {row({inf, 1}), Array{{2, 2}, {1, 0, 1, 1}}, row({1, 1})});
  CHECK(product.accepts({inf}));
  CHECK(product.accepts({NaN}));
}

TEST_CASE("stored values divide exactly; computed ones may meet the reciprocal of a divisor that many share") {
  const double off = 1 - 0x1p-24;  // 1, one rounding below
  const auto quotient = [](const std::string& body, std::vector<double> x, double z) {
    return run("kernel f(x: f32[1,N], z: f32[1]) -> (y: f32[1,N]) { y[m,n] = " + body + " }",
               {Array{{1, static_cast<std::int64_t>(x.size())}, x}, row({z})});
  };
  CHECK(quotient("x[m,n] / z[m]", {41}, 41).accepts({1}));
  CHECK_FALSE(quotient("x[m,n] / z[m]", {41}, 41).accepts({off}));
  CHECK(quotient("(x[m,n] + 1) / z[m]", {40}, 41).accepts({off}));
  CHECK_FALSE(quotient("(x[m,n] + 1) / z[m]", {31}, 32).accepts({off}));              // a power of two
  CHECK_FALSE(quotient("(x[m,n] + 1) / (z[m] + 0 * x[m,n])", {40}, 41).accepts({off}));  // a divisor of its own
  CHECK_FALSE(quotient("sum[k in 0:41](x[m,n]) / f32(i32(z[m]))", {1}, 41).accepts({off}));
  CHECK_FALSE(run("kernel f(x: f32[N]) -> (y: f32) { y = mean[n](x[n]) }", {row(std::vector<double>(41, 1))}).accepts({off}));
}

TEST_CASE("a factor outside its sum rounds once, also where a product with it is exact") {
  const double f = 1.75, first = 1 + 0x1p-21, second = 0x1p-24 + 0x1p-29;  // both products are exact, the sum rounds up
  const Run r = run("kernel f(f: f32[1], x: f32[1,N]) -> (y: f64[1]) { y[m] = sum[n](f[m] * x[m,n]) }", {row({f}), Array{{1, 2}, {first, second}}});
  const float sum = static_cast<float>(first) + static_cast<float>(second), outside = static_cast<float>(f) * sum;
  CHECK(std::fabs(outside - f * (first + second)) > 0x1p-24 * f);  // more than the one rounding of a sum of two
  CHECK(r.accepts({outside}));
  CHECK_FALSE(r.accepts({outside + 0x1p-22}));
}

TEST_CASE("a sum over a polynomial in prev is a sum for each power: each rounds by itself") {
  const auto mean = [&](const std::string& term, double x) {
    return run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = scan[n](mean[j in 0:5](" + term + "), init=2) }", {row({x})});
  };
  const float x = 0.496732980012893677f;
  float five = 0;
  for (int j = 0; j < 5; ++j) five += x;
  const double apart = static_cast<double>(0.5f - five / 5), exact = 0.5 - static_cast<double>(x);
  CHECK(apart != exact);
  for (const char* term : {"0.25 * prev - x[n]", "0.125 * prev ** 2 - x[n]"}) {
    const Run r = mean(term, static_cast<double>(x));
    CHECK(r.accepts({exact}));
    CHECK(r.accepts({apart}));
    CHECK_FALSE(r.accepts({exact + 0x1p-20}));
  }
  CHECK(mean("prev - x[n]", 7).bound(0) == 0);             // whole numbers stay exact
  CHECK(mean("prev * (prev * 3 - x[n])", 7).bound(0) == 0);
}

TEST_CASE("linear recurrences may be combined in another order, others run as they stand") {
  const std::vector<double> x = {0x1p24, 1, 1, 1};  // one after the other the ones are lost, added up first they are not
  const auto scan = [&](const std::string& step) {
    return run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = scan[n](" + step + ", init=0) }", {row(x)});
  };
  const double first = 0x1p24, apart = 0x1p24 + 4;
  CHECK(scan("prev + x[n]").accepts({first, first, first + 2, apart}));
  CHECK_FALSE(scan("prev + x[n]").accepts({first, first, first + 2, first + 32}));
  CHECK(scan("0.5 * (prev + x[n])").accepts({0x1p23, 0x1p22 + 0.5, 0x1p21 + 0.75, 0x1p20 + 0.875}));
  const std::vector<double> whole = {3, 5, -2, 7};
  CHECK(run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = scan[n](prev + x[n], init=1) }", {row(whole)}).bound(3) == 0);
  CHECK(run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = scan[n](max(prev, x[n]) - min(prev, 0.25), init=0.5) }", {row(whole)}).bound(3) == 0);
}

TEST_CASE("overflow that may be avoided, and overflow that may not") {
  const std::string ratio = "kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = exp(x[n]) / exp(x[n]) }";
  const Run r = run(ratio, {row({100, 1000, 10000, 1})});
  CHECK(r.accepts({1, 1, 1, 1}));
  CHECK(r.accepts({NaN, NaN, NaN, 1}));
  CHECK_FALSE(r.accepts({1, 1, 1, NaN}));
  const Run product = run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] * 10 }", {row({3e38, 1, -3e38})});
  CHECK(product.accepts({inf, 10, -inf}));
  CHECK_FALSE(product.accepts({largest_finite(DType::f32), 10, -inf}));
  const Run threshold = run("kernel f(x: f32[N]) -> (y: f16[N]) { y[n] = exp(x[n]) }", {row({std::log(65520.0)})});
  CHECK(threshold.accepts({65504}));
  CHECK(threshold.accepts({inf}));
  CHECK_FALSE(threshold.accepts({65440}));
  const Run by_hand =
      run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = exp(x[n]) / sum[k](exp(x[k])) }", {row({200, 201})});
  const double a = 1 / (1 + std::exp(1.0));
  CHECK(by_hand.accepts({a, 1 - a}));
  CHECK(by_hand.accepts({NaN, NaN}));
}

TEST_CASE("what overflows may be held as infinity: its like are equal to it, and others are not") {
  const std::vector<double> x = {-3e38, 1, -2e38, 2, 3e38};  // times 4: beyond f32 but for 1 and 2
  const Run order = run("kernel f(x: f32[N]) -> (p: i32[N]) { p = argsort(x * 4.0) }", {row(x)});
  CHECK(order.accepts({0, 2, 1, 3, 4}));
  CHECK(order.accepts({2, 0, 1, 3, 4}));
  CHECK_FALSE(order.accepts({0, 1, 2, 3, 4}));
  CHECK_FALSE(order.accepts({0, 2, 3, 1, 4}));
  const Run best = run("kernel f(x: f32[N]) -> (p: i32[2]) { v[k], p[k] = topk[n -> k in 0:2](-(x[n] * 4.0)) }", {row({-3e38, 1, -2e38, 3e38})});
  CHECK(best.accepts({0, 2}));
  CHECK(best.accepts({2, 0}));
  CHECK_FALSE(best.accepts({0, 1}));
  CHECK(run("kernel f(x: f32[N]) -> (p: i32[N]) { p = argsort(x * 2.0) }", {row({1, -1e38, -1.5e38})}).accepts({2, 1, 0}));
  CHECK_FALSE(run("kernel f(x: f32[N]) -> (p: i32[N]) { p = argsort(x * 2.0) }", {row({1, -1e38, -1.5e38})}).accepts({1, 2, 0}));
}

TEST_CASE("denormals are kept, zeros have no sign to the judge") {
  const Run r = run("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] * 0.5 }", {row({0x1p-126, 0x1p-140, -0.0})});
  CHECK(r.accepts({0x1p-127, 0x1p-141, 0}));
  CHECK_FALSE(r.accepts({0, 0, 0}));
}

TEST_CASE("f64 programs are judged at f64") {
  const Array x = random_array({50}, 17, 1, DType::f64);
  const Run r = run("kernel f(x: f64[N]) -> (y: f64) { y = sum[n](exp(x[n])) }", {x});
  double sum = 0, rough = 0;
  for (double v : x.values) sum += std::exp(v), rough += double(float(std::exp(v)));
  CHECK(r.accepts({sum}));
  CHECK_FALSE(r.accepts({rough}));
  CHECK_FALSE(r.accepts({sum + 2 * r.bound()}));
}

TEST_CASE("stores round once: the neighbours of the right value are wrong") {
  const Run r = run("kernel f(x: f32[N]) -> (y: bf16[N]) { y[n] = x[n] }", {row({1.00390625 /* a tie */, 1.2})});
  CHECK(r.accepts({1, rounded_to(DType::bf16, double(1.2f))}));
  CHECK_FALSE(r.accepts({1.0078125, rounded_to(DType::bf16, double(1.2f))}));
}

TEST_CASE("an open comparison accepts either branch, a clear one does not") {
  const std::string text = "kernel f(x: f32[N], y: f32[N]) -> (o: f32[N]) { o[n] = where(x[n] * y[n] > 0.3, 1, 2) }";
  const Run r = run(text, {row({3, 3}), row({0.1, 0.2})});
  CHECK(r.accepts({1, 1}));
  CHECK(r.accepts({2, 1}));
  CHECK_FALSE(r.accepts({1, 2}));
  const Run whole = run("kernel f(x: f32[N], y: f32[N]) -> (o: i32[N]) { o[n] = i32(floor(x[n] * y[n] / 0.3)) }",
                        {row({3, 3}), row({0.1, 0.23})});
  CHECK(whole.accepts({1, 2}));
  CHECK(whole.accepts({0, 2}));
  CHECK_FALSE(whole.accepts({1, 1}));
}

TEST_CASE("variance: two passes and shifted data in f32 are accepted, a cancelled one is not") {
  Array x = random_array({400}, 18);
  for (double& v : x.values) v = double(float(v + 3000));
  const Run r = run("kernel f(x: f32[N]) -> (y: f32) { y = var[n](x[n]) }", {x});
  float mean = 0, two = 0, sum = 0, squares = 0, shifted = 0, shifted_squares = 0;
  for (double v : x.values) mean += float(v);
  mean /= 400;
  for (double v : x.values) {
    const float d = float(v) - mean, s = float(v) - float(x.values[0]);
    two += d * d, sum += float(v), squares += float(v) * float(v), shifted += s, shifted_squares += s * s;
  }
  CHECK(r.accepts({double(two / 400)}));
  CHECK(r.accepts({double(shifted_squares / 400 - (shifted / 400) * (shifted / 400))}));
  CHECK_FALSE(r.accepts({double(squares / 400 - (sum / 400) * (sum / 400))}));
}

TEST_CASE("memory: a remembered row that does not fit is refused with a size, not with a crash") {
  const ir::Program p = checked("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = softmax[n](x[n]) }");
  const float one = 1;
  compiler::Arguments arguments;
  arguments.symbols = {std::int64_t{1} << 40};
  arguments.tensors = {{&one, {std::int64_t{1} << 40}, {0}}};
  CHECK(compiler::interpret(p, arguments).error.find("ask for a sample") != std::string::npos);
  compiler::InterpretOptions options;
  options.samples = {std::vector<std::int64_t>{5}};
  CHECK(compiler::interpret(p, arguments, options).error.find("memory limit of 2048 MiB") != std::string::npos);
}

TEST_CASE("a small memory limit costs time, not results") {
  const Array q = random_array({7, 4}, 19), k = random_array({9, 4}, 20), v = random_array({9, 3}, 21);
  compiler::InterpretOptions options;
  options.memory_limit = 2000;
  CHECK(same(run(kAttention, {q, k, v}, {{"scale", 1}}, options).values(),
             run(kAttention, {q, k, v}, {{"scale", 1}}).values()));
}
