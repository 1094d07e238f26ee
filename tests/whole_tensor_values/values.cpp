// What whole-tensor statements compute, against loops written here. Inputs are small whole numbers, so results are exact.
#include <algorithm>
#include <functional>
#include <map>
#include <random>
#include <vector>

#include "compiler/interpreter/interpret.h"
#include "dsl/check/check.h"
#include "dsl/syntax/parse.h"
#include "tests/catch.h"

using namespace quern;

namespace {

constexpr int M = 5, N = 7, T = 3;

struct Data {
  float x[M][N], y[N], v[M], s[6][6], z[2][3][4];
  std::int32_t i[T] = {4, 0, 4}, j[T] = {6, 1, 0}, a[T] = {1, 1, 0}, b[T] = {2, 0, 1}, c[T] = {3, 0, 2};
  Data() {
    std::mt19937 random(7);
    const auto fill = [&](float* at, std::size_t count) {
      // Distinct values, so that sorting has one answer.
      std::vector<float> values(count);
      for (std::size_t k = 0; k < count; ++k) values[k] = static_cast<float>(k) - static_cast<float>(count / 2);
      std::shuffle(values.begin(), values.end(), random);
      std::copy(values.begin(), values.end(), at);
    };
    fill(&x[0][0], M * N);
    fill(y, N);
    fill(v, M);
    fill(&s[0][0], 36);
    fill(&z[0][0][0], 24);
  }
};

const Data d;
using Place = const std::vector<std::int64_t>&;

struct Case {
  std::string statements, type;  // of output o
  std::vector<std::int64_t> shape;
  std::function<double(Place)> expected;
};

std::vector<Case> cases() {
  return {
      {"o = x + y", "f32[M,N]", {M, N}, [](Place p) { return d.x[p[0]][p[1]] + d.y[p[1]]; }},
      {"o = x.T * v", "f32[N,M]", {N, M}, [](Place p) { return d.x[p[1]][p[0]] * d.v[p[1]]; }},
      {"o = v[:, None] - v", "f32[M,M]", {M, M}, [](Place p) { return d.v[p[0]] - d.v[p[1]]; }},
      {"o = x[1:, ::2]", "f32[M-1, (N+1) div 2]", {M - 1, 4}, [](Place p) { return d.x[p[0] + 1][2 * p[1]]; }},
      {"o = x[::-1, -1]", "f32[M]", {M}, [](Place p) { return d.x[M - 1 - p[0]][N - 1]; }},
      {"o = x[..., -3:]", "f32[M,3]", {M, 3}, [](Place p) { return d.x[p[0]][N - 3 + p[1]]; }},
      {"o = y[5:0:-2]", "f32[3]", {3}, [](Place p) { return d.y[5 - 2 * p[0]]; }},
      {"o = y[2:] - y[:-2]", "f32[N-2]", {N - 2}, [](Place p) { return d.y[p[0] + 2] - d.y[p[0]]; }},
      {"o = x[i]", "f32[T,N]", {T, N}, [](Place p) { return d.x[d.i[p[0]]][p[1]]; }},
      {"o = (x * 2)[i, j]", "f32[T]", {T}, [](Place p) { return 2 * d.x[d.i[p[0]]][d.j[p[0]]]; }},
      {"o = x[i[:, None], j]", "f32[T,T]", {T, T}, [](Place p) { return d.x[d.i[p[0]]][d.j[p[1]]]; }},
      {"o = z[a, :, c]", "f32[T,3]", {T, 3}, [](Place p) { return d.z[d.a[p[0]]][p[1]][d.c[p[0]]]; }},
      {"o = z[:, b, c]", "f32[2,T]", {2, T}, [](Place p) { return d.z[p[0]][d.b[p[1]]][d.c[p[1]]]; }},
      {"o = z[1:, None, b, 0]", "f32[1,1,T]", {1, 1, T}, [](Place p) { return d.z[1][d.b[p[2]]][0]; }},
      {"o = concat([[1, 2], y, v * 3])", "f32[M+N+2]", {M + N + 2},
       [](Place p) { return p[0] < 2 ? p[0] + 1 : p[0] < N + 2 ? d.y[p[0] - 2] : 3 * d.v[p[0] - N - 2]; }},
      {"o = concat([x, zeros((M, 1)), x[:, 1:3]], axis=-1)", "f32[M,N+3]", {M, N + 3},
       [](Place p) { return p[1] < N ? d.x[p[0]][p[1]] : p[1] == N ? 0 : d.x[p[0]][p[1] - N]; }},
      {"o = cumsum(x, axis=1)[:, 2:]", "f32[M,N-2]", {M, N - 2},
       [](Place p) {
         double sum = 0;
         for (int n = 0; n <= p[1] + 2; ++n) sum += d.x[p[0]][n];
         return sum;
       }},
      {"o = diagonal(cumsum(s, axis=1))", "f32[6]", {6},
       [](Place p) {
         double sum = 0;
         for (int n = 0; n <= p[0]; ++n) sum += d.s[p[0]][n];
         return sum;
       }},
      {"o = einsum(\"mn,n->m\", x, y)", "f32[M]", {M},
       [](Place p) {
         double sum = 0;
         for (int n = 0; n < N; ++n) sum += d.x[p[0]][n] * d.y[n];
         return sum;
       }},
      {"o = einsum(\"ii->i\", s) + einsum(\"ii->\", s)", "f32[6]", {6},
       [](Place p) {
         double sum = d.s[p[0]][p[0]];
         for (int n = 0; n < 6; ++n) sum += d.s[n][n];
         return sum;
       }},
      {"o = einsum(\"a...c,c->...a\", z, arange(4))", "f32[3,2]", {3, 2},
       [](Place p) {
         double sum = 0;
         for (int k = 0; k < 4; ++k) sum += d.z[p[1]][p[0]][k] * k;
         return sum;
       }},
      {"o = x @ x.T", "f32[M,M]", {M, M},
       [](Place p) {
         double sum = 0;
         for (int n = 0; n < N; ++n) sum += d.x[p[0]][n] * d.x[p[1]][n];
         return sum;
       }},
      {"o = z @ (arange(4)[:, None] + arange(2))", "f32[2,3,2]", {2, 3, 2},
       [](Place p) {
         double sum = 0;
         for (int k = 0; k < 4; ++k) sum += d.z[p[0]][p[1]][k] * static_cast<double>(k + p[2]);
         return sum;
       }},
      {"o = diagonal(s, offset=1)", "f32[5]", {5}, [](Place p) { return d.s[p[0]][p[0] + 1]; }},
      {"o = diagonal(s, offset=-2)", "f32[4]", {4}, [](Place p) { return d.s[p[0] + 2][p[0]]; }},
      {"o = diagonal(x)", "f32[5]", {5}, [](Place p) { return d.x[p[0]][p[0]]; }},
      {"o = diagonal(z, axis1=1, axis2=2)", "f32[2,3]", {2, 3}, [](Place p) { return d.z[p[0]][p[1]][p[1]]; }},
      {"o = triu(s, 1) - tril(s, -1)", "f32[6,6]", {6, 6},
       [](Place p) { return p[1] > p[0] ? d.s[p[0]][p[1]] : p[1] < p[0] ? -d.s[p[0]][p[1]] : 0; }},
      {"o = stack([y, y * 2], axis=1)", "f32[N,2]", {N, 2}, [](Place p) { return d.y[p[0]] * static_cast<double>(p[1] + 1); }},
      {"o = [[1, 2, 3], [4, 5, 6]]", "i32[2,3]", {2, 3}, [](Place p) { return static_cast<double>(3 * p[0] + p[1] + 1); }},
      {"o = arange(10, 0, -3)", "i64[4]", {4}, [](Place p) { return static_cast<double>(10 - 3 * p[0]); }},
      {"o = take(x, j, axis=1)", "f32[M,T]", {M, T}, [](Place p) { return d.x[p[0]][d.j[p[1]]]; }},
      {"o = take_along_axis(x, argsort(x, axis=1), axis=1) - sort(x, axis=1)", "f32[M,N]", {M, N}, [](Place) { return 0.0; }},
      {"o = flip(z, axis=(0, 2))", "f32[2,3,4]", {2, 3, 4}, [](Place p) { return d.z[1 - p[0]][p[1]][3 - p[2]]; }},
      {"o = permute(z, (2, 0, 1))", "f32[4,2,3]", {4, 2, 3}, [](Place p) { return d.z[p[1]][p[2]][p[0]]; }},
      {"o = sum(z, axis=(0, 2))", "f32[3]", {3},
       [](Place p) {
         double sum = 0;
         for (int k = 0; k < 8; ++k) sum += d.z[k / 4][p[0]][k % 4];
         return sum;
       }},
      {"o = z - max(z, axis=1, keepdims=true)", "f32[2,3,4]", {2, 3, 4},
       [](Place p) {
         float top = d.z[p[0]][0][p[2]];
         for (int k = 1; k < 3; ++k) top = std::max(top, d.z[p[0]][k][p[2]]);
         return d.z[p[0]][p[1]][p[2]] - top;
       }},
      {"o = where(arange(N) < 3, y, -y)", "f32[N]", {N}, [](Place p) { return p[0] < 3 ? d.y[p[0]] : -d.y[p[0]]; }},
      {"o = one_hot(i, 5)", "i32[T,5]", {T, 5}, [](Place p) { return d.i[p[0]] == p[1] ? 1.0 : 0.0; }},
      {"o = outer(v, y) + eye(M, N)", "f32[M,N]", {M, N}, [](Place p) { return d.v[p[0]] * d.y[p[1]] + (p[0] == p[1] ? 1 : 0); }},
      {"o, at = topk(x, 2, axis=1)", "f32[M,2]", {M, 2},
       [](Place p) {
         std::vector<float> row(d.x[p[0]], d.x[p[0]] + N);
         std::sort(row.rbegin(), row.rend());
         return row[p[1]];
       }},
      {"let twice(q) = q + q[::-1]\n  o = twice(y * 2)", "f32[N]", {N}, [](Place p) { return 2 * (d.y[p[0]] + d.y[N - 1 - p[0]]); }},
      {"o = clip(maximum(x, y), -3, 3)", "f32[M,N]", {M, N},
       [](Place p) { return std::min(std::max(std::max(d.x[p[0]][p[1]], d.y[p[1]]), -3.0f), 3.0f); }},
  };
}

compiler::TensorView view(const void* data, std::vector<std::int64_t> shape) {
  return {data, shape, compiler::dense_strides(shape)};
}

}  // namespace

TEST_CASE("whole-tensor statements compute what NumPy computes") {
  for (const Case& c : cases()) {
    const std::string text = fmt::format(
        "kernel k(x: f32[M,N], y: f32[N], v: f32[M], s: f32[6,6], z: f32[2,3,4], i: i32[T] in 0:M, j: i32[T] in 0:N,\n"
        "    a: i32[T] in 0:2, b: i32[T] in 0:3, c: i32[T] in 0:4) -> (o: {}) {{\n  require 5 <= N\n  require M == 5\n  {}\n}}\n",
        c.type, c.statements);
    const dsl::Source source("t.quern", text);
    dsl::Diagnostics diagnostics;
    const dsl::ast::File file = dsl::parse(source, diagnostics);
    INFO(text << render(diagnostics, source));
    REQUIRE_FALSE(diagnostics.has_errors());
    const auto program = dsl::check(std::get<dsl::ast::Kernel>(file.items.back().node), &file, source, {}, diagnostics);
    INFO(render(diagnostics, source));
    REQUIRE(program.has_value());

    compiler::Arguments arguments;
    arguments.tensors = {view(d.x, {M, N}), view(d.y, {N}), view(d.v, {M}), view(d.s, {6, 6}), view(d.z, {2, 3, 4}),
                         view(d.i, {T}), view(d.j, {T}), view(d.a, {T}), view(d.b, {T}), view(d.c, {T})};
    const std::map<std::string, std::int64_t> sizes{{"M", M}, {"N", N}, {"T", T}};
    for (const ir::Symbol& symbol : program->symbols) arguments.symbols.push_back(sizes.at(symbol.name));
    const compiler::Results results = compiler::interpret(*program, arguments);
    REQUIRE(results.error == "");
    REQUIRE_FALSE(results.violation.has_value());
    const compiler::OutputValues& o = results.outputs.front();
    REQUIRE(o.shape == c.shape);
    for (std::size_t k = 0; k < o.count(); ++k) {
      std::vector<std::int64_t> place(c.shape.size());
      std::int64_t rest = static_cast<std::int64_t>(k);
      for (std::size_t axis = c.shape.size(); axis-- > 0; rest /= c.shape[axis]) place[axis] = rest % c.shape[axis];
      INFO("element " << k);
      CHECK((is_float(o.type) ? o.values[k] : static_cast<double>(o.integers[k])) == c.expected(place));
    }
  }
}
