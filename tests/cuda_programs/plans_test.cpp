// Plans for many threads at sizes on both sides of every boundary: long reductions in parts. Texts as CUDA on the emulator.
#include "tests/catch.h"
#include "tests/cuda_programs/emulated_device.h"
#include "tools/fuzz/case.h"

using namespace quern;

namespace {

/// Every case agrees, and some text has `sign`: the plan is the one that the test is about.
void run_text(const std::string& text, const std::string& sign) {
  int seen = 0;
  const auto look = [&](std::string& printed) { seen += printed.find(sign) != std::string::npos; };
  const auto cases = fuzz::cases_of(text);
  REQUIRE(!cases.empty());
  for (const fuzz::Case& which : cases) {
    const fuzz::Verdict verdict = fuzz::judge(text, which, test::emulated({}, look));
    INFO("kernel " << which.kernel << ", case " << which.text());
    INFO(fuzz::name(verdict.outcome) << ": " << verdict.message);
    CHECK(verdict.outcome == fuzz::Outcome::agree);
  }
  CHECK(seen > 0);
}

}  // namespace

TEST_CASE("long reductions to few results") {
  run_text(R"(
#: N=0 | N=1 | N=31 | N=33 | N=255 | N=257 | N=4096 | N=4097 | N=100001
kernel total(x: f32[N]) -> (s: f32) { s = sum[n](x[n]) }
#: N=1 | N=4097 | N=100001 x=nan | N=100001 x=ties | N=0
kernel best(x: f32[N]) -> (i: i32, j: i32, m: f32) {
  i = argmax[n](x[n])
  j = argmin[n where n > 5](x[n])
  m = max[n](x[n])
}
#: N=4097 | N=100001 x=inf
kernel small_best(x: f16[N]) -> (i: i32, m: f16) { i = argmax[n](x[n]); m = min[n](x[n]) }
#: M=1 N=1 | M=33 N=257 | M=300 N=401 | M=3 N=50001 | M=5000 N=3
kernel over_both(x: f16[M,N]) -> (s: f32) { s = sum[m,n](x[m,n]) }
#: N=1 | N=4097 | N=100001
kernel normalised(x: f32[N]) -> (y: f32[N]) {
  mu = mean[n](x[n])
  sd = sqrt(var[n](x[n]) + 0.001)
  y[n] = (x[n] - mu) / sd
}
#: N=4097 | N=100001
kernel integers(x: i32[N], y: i8[N]) -> (s: i64, t: i32, p: i64, a: bool, b: bool, c: i64) {
  s = sum[n](x[n]); t = sum[n](y[n]); p = max[n](i64(y[n]))
  a = any[n](x[n] > 3); b = all[n where n mod 3 == 1](x[n] > -100000)
  c = count[n](x[n] > 0)
}
#: N=1 | N=4097 | N=100001
kernel soft(x: f32[N]) -> (y: f32[N], l: f32) { y[n] = softmax[n](x[n]); l = logsumexp[n](x[n]) }
#: N=4097 | N=100001
kernel dots(x: bf16[N], y: bf16[N]) -> (s: f32, r: f32) { s = sum[n](x[n] * y[n]); r = norm[n](x[n]) }
#: N=40000 | N=70001
kernel inside(x: f32[N]) -> (s: f32, i: i32) { s = sum[n in 3:N-2](x[n]); i = argmax[n in 3:N-2](x[n]) }
#: R=2 N=40000 | R=3 N=70001
kernel few_rows<R>(x: f32[R,N]) -> (s: f32[R], i: i32[R]) { s[r] = max[n](x[r,n]); i[r] = argmin[n](x[r,n]) }
)", "// s_part");
}

TEST_CASE("the first few of long vectors") {
  run_text(R"(
#: N=1 | N=8191 | N=8193 | N=30001 | N=30001 x=nan | N=30001 x=ties | N=20000 x=zeros
kernel best<K: int = 8>(x: f32[N]) -> (v: f32[K], i: i32[K]) { v[j], i[j] = topk[n -> j in 0:K](x[n]) }
#: N=9 | N=20000 | N=30001
kernel masked(x: f16[2,N]) -> (v: f16[2,5], i: i32[2,5]) { v[r,j], i[r,j] = topk[n in 3:N-1 -> j in 0:5 where n mod 301 == 1](x[r,n]) }
)", "quern_top<");
}

TEST_CASE("columns of tall matrices") {
  run_text(R"(
#: M=0 N=3 | M=1 N=1 | M=4097 N=3 | M=1000 N=33 | M=300 N=257 | M=257 N=1000
kernel columns(x: f32[M,N]) -> (s: f32[N], i: i32[N]) { s[n] = sum[m](x[m,n]); i[n] = argmax[m](x[m,n]) }
#: M=4097 C=3 | M=70000 C=1 | M=600 C=130
kernel batch(x: f32[M,C]) -> (y: f32[M,C]) {
  mu[c] = mean[m](x[m,c])
  v[c] = var[m](x[m,c])
  y[m,c] = (x[m,c] - mu[c]) / sqrt(v[c] + 0.01)
}
#: B=3 H=30 W=41 C=5 | B=64 H=33 W=32 C=1
kernel images(x: f16[B,H,W,C]) -> (s: f32[C]) { s[c] = sum[b,h,w](x[b,h,w,c]) }
#: M=4097 N=3 | M=1000 N=33
kernel masked(x: f32[M,N], k: i32[N] in 0:M) -> (s: f32[N]) { s[n] = sum[m where m <= k[n]](x[m,n]) }
)", "// s_part");
}

TEST_CASE("scans of rows, columns and one long vector") {
  run_text(R"(
#: M=1 N=1 | M=3 N=31 | M=9 N=33 | M=2 N=257 | M=2 N=479 | M=2 N=481 | M=17 N=1000 | M=2 N=4097 | M=3 N=9001 | M=0 N=4 | M=4 N=0
kernel rowsum(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = cumsum[n](x[m,n]) }
#: M=4100 N=3 | M=4097 N=33 | M=4097 N=40
kernel many_rows(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = cumsum[n](x[m,n]) }
#: N=1 | N=31 | N=255 | N=3840 | N=3841 | N=100001 | N=100001 x=nan | N=20000 x=inf
kernel vector(x: f16[N]) -> (y: f32[N], z: f16[N]) { y[n] = cumsum[n](x[n]); z[n] = cummax[n](x[n]) }
#: N=4097 | N=70001 | N=70001 x=wide
kernel products(x: f32[N], k: i64[N], i: i32[N]) -> (y: f32[N], z: i64[N], w: i64[N], v: i32[N]) {
  y[n] = cumprod[n](x[n]); z[n] = cumprod[n](k[n]); w[n] = cumsum[n](i[n]); v[n] = cummin[n](i[n])
}
#: M=1 N=1 | M=33 N=3 | M=257 N=33 | M=700 N=40 | M=1000 N=65
kernel columns(x: f32[M,N]) -> (y: f32[M,N], z: f32[M,N]) { y[m,n] = cumsum[m](x[m,n]); z[m,n] = cummin[m](x[m,n]) }
#: M=1 T=1 | M=3 T=33 | M=2 T=4097 | M=1 T=20001 | M=2 T=4097 a=inf | M=2 T=4097 a=wide x=wide | M=1 T=9000 x=nan | M=9 T=500 a=wide
kernel linear(x: f32[M,T], a: f32[M,T], h0: f32[M]) -> (h: f32[M,T]) { h[m,t] = scan[t](a[m,t] * prev + x[m,t], init=h0[m]) }
#: M=3 T=33 | M=2 T=4097 | M=4097 T=5
kernel decays(x: f64[M,T], a: f64[M,T]) -> (h: f64[M,T]) { h[m,t] = scan[t](x[m,t] - 3.5 + prev / (1.0 + a[m,t] * a[m,t]), init=1) }
#: T=3 C=1 | T=121 C=33 | T=1000 C=40 | T=500 C=33 a=wide
kernel recur(x: f32[T,C], a: f32[T,C]) -> (h: f32[T,C]) { h[t,c] = scan[t](sigmoid(a[t,c]) * prev + x[t,c], init=0) }
#: T=300 C=4 | T=5000 C=1
kernel wild(x: f32[C,T], a: f32[C,T]) -> (h: f32[C,T], g: f32[C,T]) {
  h[c,t] = scan[t](tanh(a[c,t] * prev) + x[c,t], init=0)
  g[c,t] = scan[t]((prev + x[c,t]) * a[c,t], init=0)
}
#: M=3 N=300 | M=5 N=4000
kernel fused(x: f32[M,N]) -> (y: f32[M,N]) { z[m,n] = cumsum[n](x[m,n] * x[m,n]); y[m,n] = z[m,n] / (1 + abs(max[n](x[m,n])))  }
#: B=1 T=1 E=2 | B=2 T=130 E=3 | B=1 T=500 E=2
kernel states<S: int = 16>(x: f32[B,T,E], dt: f32[B,T,E], A: f32[E,S], Bm: f32[B,T,S], C: f32[B,T,S]) -> (y: f32[B,T,E]) {
  h[b,t,e,s] = scan[t](exp(-abs(dt[b,t,e] * A[e,s])) * prev + dt[b,t,e] * Bm[b,t,s] * x[b,t,e], init=0)
  y[b,t,e] = sum[s](h[b,t,e,s] * C[b,t,s])
}
)", "scanned");
}

TEST_CASE("a scan whose groups of chunks follow each other") {
  run_text(R"(
#: N=2100000
kernel vector(x: i32[N]) -> (y: i32[N]) { y[n] = cummax[n](x[n]) }
)", "quern_ticket(");
}

TEST_CASE("a scan that drops what came before is noticed") {
  const std::string text = R"(
#: N=9001
kernel vector(x: f32[N]) -> (y: f32[N]) { y[n] = cumsum[n](x[n]) }
)";
  for (const char* part : {"carry = passed_x[9];", "before_x = (warps_x + before_x);", "since_x = (since_x + step_x);"}) {
    int edits = 0;
    const auto without = [&](std::string& printed) {
      if (const auto at = printed.find(part); at != std::string::npos) printed.replace(at, std::string(part).size(), ";"), ++edits;
    };
    INFO(part);
    CHECK(fuzz::judge(text, fuzz::cases_of(text).at(0), test::emulated({}, without)).outcome != fuzz::Outcome::agree);
    CHECK(edits > 0);
  }
}

TEST_CASE("the first few of a row") {
  run_text(R"(
#: M=1 N=1 | M=2 N=31 | M=2 N=33 | M=3 N=257 | M=2 N=4097 x=ties | M=1 N=20000 | M=2 N=4097 x=nan | M=2 N=2049 x=inf | M=2 N=3000 x=zeros | M=0 N=3 | M=2 N=0
kernel best<K: int = 8>(x: f32[M,N]) -> (v: f32[M,K], i: i32[M,K]) { v[m,j], i[m,j] = topk[n -> j in 0:K](x[m,n]) }
#: N=5 | N=64 | N=65 | N=1000 | N=4097 x=ties
kernel more<K: int = 70>(x: f16[N]) -> (v: f16[K], i: i32[K]) { v[j], i[j] = topk[n -> j in 0:K](x[n]) }
#: N=40 | N=1000
kernel many(x: i32[N]) -> (v: i32[N], i: i32[N]) { v[j], i[j] = topk[n -> j in 0:N](x[n]) }
#: N=40 | N=1000 | N=5000 x=nan
kernel masked(x: f64[N]) -> (v: f64[5], i: i32[5]) { v[j], i[j] = topk[n in 3:N-1 -> j in 0:5 where n mod 3 == 1 and x[n] > 0](x[n] * x[n]) }
#: N=40 E=3 | N=1000 E=20
kernel routed(x: f32[N,E]) -> (w: f32[N,2], i: i32[N,2]) {
  v[n,j], i[n,j] = topk[e -> j in 0:2](x[n,e])
  w[n,j] = softmax[j](v[n,j])
}
)", "quern_top<");
}

TEST_CASE("sorted rows") {
  run_text(R"(
#: M=1 N=1 | M=2 N=2 | M=2 N=3 | M=2 N=31 | M=2 N=33 | M=3 N=257 | M=2 N=4097 x=ties | M=1 N=9000 x=nan | M=0 N=3 | M=2 N=0
kernel sorts(x: f32[M,N], y: f16[M,N], k: i8[M,N]) -> (v: f32[M,N], p: i32[M,N], w: f16[M,N], q: i32[M,N], l: i8[M,N]) {
  v[m,n] = sort[n](x[m,n]); p[m,n] = argsort[n](x[m,n]); w[m,n] = sort[n](-y[m,n]); q[m,n] = argsort[n](k[m,n]); l[m,n] = sort[n](k[m,n])
}
#: N=70000
kernel in_device_memory(x: i32[N]) -> (p: i32[N]) { p[n] = argsort[n](x[n]) }
)", "quern_sort<");
}
