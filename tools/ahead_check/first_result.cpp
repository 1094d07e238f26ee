// first_result [times]: one attention on the CPU, as a user's program calls it; the kernel comes from the cache on disk and LLVM is
// not loaded, unless QUERN_FIRST_RESULT=compile. With `times`: how long its parts take.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <quern/quern.h>

using namespace quern;

namespace {

const char* const kAttention =
    "kernel attention<D>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {\n"
    "  s[m,n] = sum[d](q[m,d] * k[n,d]) / sqrt(D)\n  o[m,d] = sum[n](softmax[n](s[m,n]) * v[n,d])\n}";

double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

/// The median of what `once` takes, in microseconds.
template <class F>
double median(int rounds, const F& once) {
  std::vector<double> times;
  for (int i = 0; i < rounds; ++i) {
    const double begin = seconds_now();
    once();
    times.push_back((seconds_now() - begin) * 1e6);
  }
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

void report(const char* what, double microseconds, double limit) {
  std::printf("%-75s %8.2f us   ", what, microseconds);
  if (limit > 0) std::printf("(asked: %g; %s)", limit, microseconds <= limit ? "met" : "MISSED");
  std::printf("\n");
}

}  // namespace

int main(int count, char**) {
  const std::vector<float> q(8 * 64), k(8 * 64), v(8 * 64, 1.0f);
  const TensorView tq(q, {8, 64}), tk(k, {8, 64}), tv(v, {8, 64});
  const Kernel attention(kAttention);
  const Tensor o = attention(tq, tk, tv);
  if (o.view().get({7, 63}) != 1) return 1;
  std::ifstream file("/proc/self/maps");
  const std::string maps{std::istreambuf_iterator<char>(file), {}};
  const bool llvm = maps.find("LLVM") != std::string::npos || maps.find("quern_llvm") != std::string::npos;
  const char* how = std::getenv("QUERN_FIRST_RESULT");
  const bool compiled = how && std::string(how) == "compile";
  if (llvm != compiled || attention.counters().loads != !compiled) return 2;
  if (count < 2) return 0;

  std::printf("LLVM was not loaded (/proc/self/maps)\n");
  // Text to result again, from the file; the same with code already in memory: what is left is reading and loading.
  const double disk = median(301, [&] {
    clear_cache();
    Kernel{kAttention}(tq, tk, tv);
  });
  const Kernel kept(kAttention);
  kept(tq, tk, tv);
  const double memory = median(301, [&] { Kernel{kAttention}(tq, tk, tv); });
  report("a new Kernel, its text to its result, with the entry on disk", disk, 0);
  report("the same with the kernel in memory", memory, 0);
  const Kernel tiny("kernel f(x: f32[N]) -> (o: f32[N]) { o[n] = x[n] }", Options().with_threads(1));
  const std::vector<float> x(1);
  const Tensor y(f32, {1});
  tiny.prepare(x, out(y));
  const double hit = median(101, [&] {
    for (int i = 0; i < 1000; ++i) tiny(x, out(y));
  });
  report("a call on a memory hit, with a kernel of one element in it", hit / 1000, 0.3);
}
