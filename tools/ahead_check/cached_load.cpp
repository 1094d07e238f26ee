// cached_load FILE: each kernel made ready on the GPU by this process, timed, run, compared with the interpreter. Started twice
// with one cache folder it shows what the second process compiles, and whether NVRTC was opened. Exit status 1: a wrong result.
#include <algorithm>
#include <chrono>
#include <cstdio>

#include "cases.h"

using namespace ahead_check;

int main(int, char** argv) {
  const std::string text = text_of(argv[1]);
  const auto milliseconds = [begin = std::chrono::steady_clock::now()] { return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count(); };
  bool right = true;
  const Tensor first = gpu_tensor(f32, {1});  // the driver and its context are not the kernel's
  std::printf("driver and context %.1f ms\n", milliseconds());
  const double before = milliseconds();
  const Kernel any("kernel one(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] + 1 }", Options().on(Device::cuda));
  any.prepare(first, out(gpu_tensor(f32, {1})));
  std::printf("first kernel of the process, of one line: %.2f ms (%s)\n", milliseconds() - before, any.counters().compiles ? "compiled" : "loaded");
  for (const Case& c : {causal(2, 300, 64), causal(2, 300, 128), attention(130, 190, 64), rows(100, 1000), pick(100, 64, 50)}) {
    std::vector<Tensor> inputs;
    for (const Tensor& t : c.inputs) inputs.push_back(to_gpu(t.view()));
    const Tensor output = gpu_tensor(c.type, c.output);
    const std::vector<Argument> list = arguments(inputs, output);
    std::vector<double> times;
    Counters counters;
    for (int i = 0; i < 21; ++i) {
      clear_cache();  // of the process: each round goes to the disk again
      const double begin = milliseconds();
      const Kernel kernel(text, c.kernel, options(c, Device::cuda));
      kernel.prepare_for(list);
      times.push_back(milliseconds() - begin);
      if (i == 0) counters = kernel.counters();
      kernel.run(std::span<const Argument>(list));
    }
    const double apart = difference(to_host(output.view()), reference(text, c));
    const bool good = apart <= c.tolerance;
    right &= good;
    const double once = times[0];
    std::sort(times.begin(), times.end());
    std::printf("%-9s D=%-3lld  %s in %8.2f ms; again from the disk %.2f ms (best %.2f); %s, largest difference %.3g of %.3g\n", c.kernel.c_str(), static_cast<long long>(c.d),
                counters.compiles ? "compiled" : "loaded  ", once, times[10], times[0], good ? "right" : "WRONG", apart, c.tolerance);
  }
  std::ifstream maps("/proc/self/maps");
  const std::string mapped{std::istreambuf_iterator<char>(maps), {}};
  std::printf("NVRTC was %sopened by this process\n", mapped.find("nvrtc") == std::string::npos ? "not " : "");
  return right ? 0 : 1;
}
