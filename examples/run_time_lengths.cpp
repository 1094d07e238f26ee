// Sizes outside <...> are run-time: one compiled kernel serves every length, and `launch` never compiles.
#include <quern/quern.h>

#include <cstdio>
#include <vector>

int main() {
  const quern::Kernel average(R"(
    kernel moving_average<W>(x: f32[N]) -> (y: f32[N-W+1]) {
      y[t in 0:N-W+1] = sum[w in 0:W](x[t+w]) / W
    })", quern::Options().set("W", 4));

  std::vector<float> x(100000), y(100000);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i % 8);
  // Compile ahead for the kind of argument; only element types and layout count, not the length or the data.
  const auto view = [](std::vector<float>& v, std::int64_t n) { return quern::TensorView(v.data(), {n}); };
  average.prepare(view(x, 10), quern::out(view(y, 7)));
  for (std::int64_t n : {4, 5, 17, 1000, 100000}) {
    const quern::Status status = average.launch(view(x, n), quern::out(view(y, n - 3)));
    if (!status) {
      std::fprintf(stderr, "%s\n", status.error().what());
      return 1;
    }
    std::printf("%6lld entries: y[0] = %g, last = %g\n", static_cast<long long>(n), y[0], y[static_cast<std::size_t>(n - 4)]);
  }
  // Compiled once, or loaded once where an earlier run of this program left the kernel on disk.
  const quern::Counters counted = average.counters();
  std::printf("%llu calls, %llu compiles, %llu loads\n", static_cast<unsigned long long>(counted.calls),
              static_cast<unsigned long long>(counted.compiles), static_cast<unsigned long long>(counted.loads));
  return counted.compiles + counted.loads == 1 && y[0] == 1.5f ? 0 : 1;
}
