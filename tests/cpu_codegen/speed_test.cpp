// Speed of hand-built nests as a share of the FMA peak measured in the same run. Hidden: run with "[speed]".
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "tests/catch.h"
#include "tests/cpu_codegen/fixture.h"

using namespace quern;
using namespace quern::cpu;
using namespace quern::cpu::test;

#if defined(__x86_64__)
namespace {

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// f32 FMA per second of one core, in GFLOP/s.
__attribute__((target("avx512f"))) double fma_peak() {
  double best = 1e9;
  const long rounds = 400000;
  for (int r = 0; r < 4; ++r) {
    long n = rounds;
    const double t = now();
    asm volatile(
        "vpxord %%zmm30,%%zmm30,%%zmm30\nvpxord %%zmm31,%%zmm31,%%zmm31\n1:\n"
#define QUERN_FMA(i) "vfmadd231ps %%zmm30,%%zmm31,%%zmm" #i "\n"
        QUERN_FMA(0) QUERN_FMA(1) QUERN_FMA(2) QUERN_FMA(3) QUERN_FMA(4) QUERN_FMA(5) QUERN_FMA(6) QUERN_FMA(7) QUERN_FMA(8) QUERN_FMA(9)
        QUERN_FMA(10) QUERN_FMA(11) QUERN_FMA(12) QUERN_FMA(13) QUERN_FMA(14) QUERN_FMA(15)
#undef QUERN_FMA
        "dec %0\njnz 1b"
        : "+r"(n)::"zmm0", "zmm1", "zmm2", "zmm3", "zmm4", "zmm5", "zmm6", "zmm7", "zmm8", "zmm9", "zmm10", "zmm11", "zmm12", "zmm13",
          "zmm14", "zmm15", "zmm30", "zmm31", "cc");
    best = std::min(best, now() - t);
  }
  return static_cast<double>(rounds) * 16 * 32 / best * 1e-9;
}

struct Result {
  double seconds;
  double peak;
};
/// Best of several, with the peak measured around it.
Result measure(Bench& t) {
  t.prepare();
  t.run_prepared();
  double once = now();
  t.run_prepared();
  once = std::max(now() - once, 1e-8);
  const int repeat = std::max(1, static_cast<int>(2e-3 / once));
  double best = 1e9, peak = 0;
  for (int r = 0; r < 12; ++r) {
    if (r % 4 == 0) peak = std::max(peak, fma_peak());
    const double s = now();
    for (int k = 0; k < repeat; ++k) t.run_prepared();
    best = std::min(best, (now() - s) / repeat);
  }
  return {best, peak};
}

void print(const char* what, Bench& t, double flop, double elements = 0) {
  const Result r = measure(t);
  const double share = 100 * flop / r.seconds * 1e-9 / r.peak;
  const double cycles = elements > 0 ? r.seconds * (r.peak / 64 * 1e9) / (elements / 16) : 0;  // 64 flop a cycle at peak
  std::printf("%-44s %9.2f us  %5.1f %% of FMA peak  %6.2f cycles/16  compile %.1f + %.1f ms, object %zu B\n", what, r.seconds * 1e6, share, cycles,
              t.compiled.build_ms, t.compiled.codegen_ms, t.compiled.object.size());
  if (const char* folder = std::getenv("QUERN_DUMP")) {
    t.options.want_assembly = t.options.want_ir = true;
    const CompiledCpu c = compile_cpu(t.module, t.options);
    for (const auto& [name, text] : {std::pair{"s", &c.assembly}, std::pair{"ll", &c.ir}}) {
      std::string path = std::string(folder) + "/";
      for (const char* p = what; *p; ++p) path += *p == ' ' || *p == '/' ? '_' : *p;
      if (FILE* f = std::fopen((path + "." + name).c_str(), "w")) {
        std::fwrite(text->data(), 1, text->size(), f);
        std::fclose(f);
      }
    }
  }
}

struct Buffer {
  std::vector<float> v;
  explicit Buffer(std::size_t n) : v(n + 32) {
    for (std::size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>((i * 7919) % 1009) / 1009.f - 0.5f;
  }
  float* data() { return v.data() + (64 - reinterpret_cast<std::uintptr_t>(v.data()) % 64) % 64 / 4; }
};

/// c[i,j] (+)= sum a[i,k] b[k,j]; a has row stride `lda`.
void product(const char* what, int M, int N, int K, int unroll, int vectors, bool fixed, bool accumulate) {
  Bench t;
  Buffer a(static_cast<std::size_t>(M * K)), b(static_cast<std::size_t>(K * N)), c(static_cast<std::size_t>(M * N));
  Expr m = fixed ? t.n(M) : t.symbol("M", M), n = fixed ? t.n(N) : t.symbol("N", N), k = fixed ? t.n(K) : t.symbol("K", K);
  TensorId A = t.tensor(DType::f32, {m, k}, Role::input, a.data()), B = t.tensor(DType::f32, {k, n}, Role::input, b.data()),
           C = t.tensor(DType::f32, {m, n}, Role::output, c.data());
  IndexId i = t.index(t.n(0), m), j = t.index(t.n(0), n), d = t.index(t.n(0), k);
  Nest nest;
  nest.dims = {{j, t.n(0), n, vectors, true}, {i, t.n(0), m, unroll, false}, {d, t.n(0), k, 1, false}};
  Update u = reduce(Reducer::sum, C, {t.ix(i), t.ix(j)}, {d}, t.pool().mul(t.read(A, {t.ix(i), t.ix(d)}), t.read(B, {t.ix(d), t.ix(j)})));
  if (accumulate) u.start = t.pool().mul(t.read(C, {t.ix(i), t.ix(j)}), t.r(0.5));
  nest.updates = {u};
  t.add(nest);
  print(what, t, 2.0 * M * N * K);
}

}  // namespace

TEST_CASE("speed of products", "[.][speed]") {
  product("gemm 12x32, 96x128x128 fixed", 96, 128, 128, 12, 2, true, false);
  product("gemm 12x32, 96x128x128 run-time", 96, 128, 128, 12, 2, false, false);
  product("gemm 6x64, 96x128x128 fixed", 96, 128, 128, 6, 4, true, false);
  product("gemm 6x64, 96x128x128 run-time", 96, 128, 128, 6, 4, false, false);
  product("scores 64 keys 32 queries D 64 fixed", 60, 32, 64, 12, 2, true, false);
  product("scores 64 keys 32 queries D 64 with tail", 64, 32, 64, 12, 2, true, false);
  product("scores 120 keys D 128", 120, 32, 128, 12, 2, true, false);
}

TEST_CASE("speed of attention steps", "[.][speed]") {
  const int keys = 120, queries = 32, depth = 64;
  {
    Bench t;
    Buffer s(keys * queries), p(keys * queries), m(queries), l(queries);
    Expr n = t.n(keys), q = t.n(queries);
    TensorId S = t.tensor(DType::f32, {n, q}, Role::input, s.data()), P = t.tensor(DType::f32, {n, q}, Role::output, p.data()),
             M = t.tensor(DType::f32, {q}, Role::input, m.data()), L = t.tensor(DType::f32, {q}, Role::output, l.data());
    IndexId i = t.index(t.n(0), n), j = t.index(t.n(0), q);
    Nest nest;
    nest.dims = {{j, t.n(0), q, 2, true}, {i, t.n(0), n, 2, false}};
    Expr body = t.pool().apply(Op::exp2, {t.pool().sub(t.read(S, {t.ix(i), t.ix(j)}), t.read(M, {t.ix(j)}))});
    Update sum = reduce(Reducer::sum, L, {t.ix(j)}, {i}, t.read(P, {t.ix(i), t.ix(j)}));
    nest.updates = {store(P, {t.ix(i), t.ix(j)}, body), sum};
    t.add(nest);
    print("exp2 pass with row sums", t, 0, keys * queries);
  }
  {
    Bench t;
    Buffer v(keys * depth), p(keys * queries), o(depth * queries), k(queries);
    Expr n = t.n(keys), q = t.n(queries), d = t.n(depth);
    TensorId V = t.tensor(DType::f32, {n, d}, Role::input, v.data()), P = t.tensor(DType::f32, {n, q}, Role::input, p.data()),
             O = t.tensor(DType::f32, {d, q}, Role::output, o.data()), C = t.tensor(DType::f32, {q}, Role::input, k.data());
    IndexId i = t.index(t.n(0), n), j = t.index(t.n(0), q), e = t.index(t.n(0), d);
    Nest nest;
    nest.dims = {{e, t.n(0), d, 12, false}, {j, t.n(0), q, 2, true}, {i, t.n(0), n, 1, false}};
    Update u = reduce(Reducer::sum, O, {t.ix(e), t.ix(j)}, {i}, t.pool().mul(t.read(V, {t.ix(i), t.ix(e)}), t.read(P, {t.ix(i), t.ix(j)})));
    u.start = t.pool().mul(t.read(O, {t.ix(e), t.ix(j)}), t.read(C, {t.ix(j)}));
    nest.updates = {u};
    t.add(nest);
    print("output step 120 keys D 64", t, 2.0 * keys * queries * depth);
  }
  for (int rows : {32, 37}) {
    Bench t;
    Buffer x(static_cast<std::size_t>(depth * rows)), y(static_cast<std::size_t>(depth * 48));
    Expr n = t.n(rows), d = t.n(depth);
    TensorId X = t.tensor(DType::f32, {n, d}, Role::input, x.data()), Y = t.tensor(DType::f32, {d, n}, Role::scratch);
    TensorId Z = t.tensor(DType::f32, {d, n}, Role::output, y.data());
    IndexId i = t.index(t.n(0), n), j = t.index(t.n(0), d), one = t.index(t.n(0), t.n(1));
    Nest nest;
    nest.dims = {{j, t.n(0), d, 16, false}, {i, t.n(0), n, 1, true}};
    nest.updates = {store(Y, {t.ix(j), t.ix(i)}, t.pool().mul(t.read(X, {t.ix(i), t.ix(j)}), t.r(0.125)))};
    t.add(nest);
    Nest touch;
    touch.dims = {{one, t.n(0), t.n(1), 1, false}};
    touch.updates = {store(Z, {t.ix(one), t.ix(one)}, t.read(Y, {t.ix(one), t.ix(one)}))};
    t.add(touch);
    print(rows == 32 ? "pack 32 x 64 transposed" : "pack 37 x 64 transposed", t, 0, rows * depth);
  }
}

TEST_CASE("speed of row operations", "[.][speed]") {
  const int rows = 4096, columns = 1024;
  std::vector<float> x(static_cast<std::size_t>(rows) * columns), y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>((i * 7919) % 1009) / 1009.f - 0.5f;
  auto bench = [&](const char* what, double elements, const std::function<void(Bench&, TensorId, TensorId, IndexId, IndexId)>& fill) {
    Bench t;
    Expr R = t.n(rows), N = t.n(columns);
    TensorId X = t.tensor(DType::f32, {R, N}, Role::input, x.data()), Y = t.tensor(DType::f32, {R, N}, Role::output, y.data());
    IndexId i = t.index(t.n(0), R), j = t.index(t.n(0), N);
    fill(t, X, Y, i, j);
    print(what, t, 0, elements);
  };
  const double all = static_cast<double>(rows) * columns;
  std::vector<float> sums(static_cast<std::size_t>(rows));
  std::vector<std::int32_t> best(static_cast<std::size_t>(rows));
  for (int columns_in_lanes : {0, 1}) {
    bench(columns_in_lanes ? "sum over rows 4096x1024" : "sum over columns 4096x1024", all, [&](Bench& t, TensorId X, TensorId, IndexId i, IndexId j) {
      TensorId S = t.tensor(DType::f32, {t.n(columns_in_lanes ? columns : rows)}, Role::output, sums.data());
      Nest nest;
      if (columns_in_lanes) {
        nest.dims = {{j, t.n(0), t.n(columns), 4, true}, {i, t.n(0), t.n(rows), 4, false}};
        nest.updates = {reduce(Reducer::sum, S, {t.ix(j)}, {i}, t.read(X, {t.ix(i), t.ix(j)}))};
      } else {
        nest.dims = {{i, t.n(0), t.n(rows), 1, false}, {j, t.n(0), t.n(columns), 8, true}};
        nest.updates = {reduce(Reducer::sum, S, {t.ix(i)}, {j}, t.read(X, {t.ix(i), t.ix(j)}))};
      }
      t.add(nest);
    });
  }
  bench("argmax over columns 4096x1024", all, [&](Bench& t, TensorId X, TensorId, IndexId i, IndexId j) {
    TensorId P = t.tensor(DType::i32, {t.n(rows)}, Role::output, best.data());
    Nest nest;
    nest.dims = {{i, t.n(0), t.n(rows), 1, false}, {j, t.n(0), t.n(columns), 4, true}};
    Update u = reduce(Reducer::argmax, 0, {t.ix(i)}, {j}, t.read(X, {t.ix(i), t.ix(j)}));
    u.position = t.ix(j);
    u.has_value_target = false;
    u.has_position_target = true;
    u.position_target = P;
    nest.updates = {u};
    t.add(nest);
  });
  for (auto [axis, unroll] : {std::pair{0, 4}, {0, 16}, {1, 1}, {1, 2}, {1, 4}}) {
    const std::string title = std::string(axis ? "cumsum last axis 4096x1024" : "cumsum first axis 4096x1024") + ", unroll " + std::to_string(unroll);
    bench(title.c_str(), all, [&, axis = axis, unroll = unroll](Bench& t, TensorId X, TensorId Y, IndexId i, IndexId j) {
      Nest nest;
      Update u = reduce(Reducer::sum, Y, {t.ix(i), t.ix(j)}, {axis ? j : i}, t.read(X, {t.ix(i), t.ix(j)}));
      u.kind = UpdateKind::scan;
      if (axis) nest.dims = {{i, t.n(0), t.n(rows), unroll, false}, {j, t.n(0), t.n(columns), 1, true}};
      else nest.dims = {{j, t.n(0), t.n(columns), unroll, true}, {i, t.n(0), t.n(rows), 1, false}};
      nest.updates = {u};
      t.add(nest);
    });
  }
  for (Op op : {Op::exp, Op::exp2, Op::log, Op::tanh, Op::erf, Op::gelu, Op::sigmoid, Op::sin, Op::pow}) {
    Bench t;
    std::vector<float> in(4096), out(4096);
    for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<float>((i * 7919) % 1009) / 1009.f + 0.1f;
    Expr N = t.n(4096);
    TensorId X = t.tensor(DType::f32, {N}, Role::input, in.data()), Y = t.tensor(DType::f32, {N}, Role::output, out.data());
    IndexId i = t.index(t.n(0), N);
    Nest nest;
    nest.dims = {{i, t.n(0), N, 2, true}};
    Expr a = t.read(X, {t.ix(i)});
    nest.updates = {store(Y, {t.ix(i)}, op == Op::pow ? t.pool().apply(op, {a, t.r(1.7)}) : t.pool().apply(op, {a}))};
    t.add(nest);
    print(std::string(ir::name(op)).c_str(), t, 0, 4096);
  }
}
#endif
