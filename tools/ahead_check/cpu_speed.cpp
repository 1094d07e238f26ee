// cpu_speed FILE: functions made ahead of time beside kernels compiled at run time, on this processor with one thread: bits against
// each other, the first call, and time per call in turns. Exit status 1: other bits.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>

#include "cases.h"
#include "kernels.h"

using namespace ahead_check;

namespace {

using Ahead = std::function<quern_status(const std::vector<Tensor>& inputs, const Tensor& output, const quern_call* call)>;

float* at(const Tensor& t) { return static_cast<float*>(t.view().data()); }
double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

bool compare(const std::string& text, const Case& c, const char* level, const char* jit, const Ahead& ahead) {
  const Tensor first(c.type, c.output), second(c.type, c.output);
  Options o = options(c, Device::cpu).for_target(jit);
  o.threads = 1;
  const Kernel kernel(text, c.kernel, o);
  const std::vector<Argument> list = arguments(c.inputs, first);
  quern_call call{};
  call.threads = 1;
  call.target = level;
  kernel.run(std::span<const Argument>(list));
  if (ahead(c.inputs, second, &call) != QUERN_OK) {
    std::printf("%-9s %s: %s\n", c.kernel.c_str(), level, quern_aot_message());
    return false;
  }
  const bool same = std::memcmp(first.view().data(), second.view().data(), static_cast<std::size_t>(first.view().count()) * sizeof(float)) == 0;
  double begin = 0, one = 1;
  for (int i = 0; i < 20; ++i) {
    begin = seconds_now();
    kernel.run(std::span<const Argument>(list));
    one = std::min(one, seconds_now() - begin);
  }
  const int calls = static_cast<int>(std::clamp(3e-4 / one, 1.0, 2000.0));
  std::vector<double> times[2];
  for (int round = 0; round < 500; ++round) {
    begin = seconds_now();
    for (int i = 0; i < calls; ++i) kernel.run(std::span<const Argument>(list));
    times[0].push_back((seconds_now() - begin) / calls);
    begin = seconds_now();
    for (int i = 0; i < calls; ++i) ahead(c.inputs, second, &call);
    times[1].push_back((seconds_now() - begin) / calls);
  }
  for (auto& t : times) std::sort(t.begin(), t.end());
  std::string shape;
  for (const Tensor& t : c.inputs) {
    shape += shape.empty() ? "[" : " [";
    for (int axis = 0; axis < t.view().rank(); ++axis) shape += (axis ? "," : "") + std::to_string(t.view().extent(axis));
    shape += "]";
  }
  std::printf("%-9s %-28s %s: at run time best %.2f us (median %.2f), ahead of time best %.2f us (median %.2f), ratio of the best %.3f; %s\n", c.kernel.c_str(), shape.c_str(), level, times[0][0] * 1e6,
              times[0][250] * 1e6, times[1][0] * 1e6, times[1][250] * 1e6, times[0][0] / times[1][0], same ? "bit for bit" : "OTHER BITS");
  return same;
}

}  // namespace

int main(int, char** argv) {
  const std::string text = text_of(argv[1]);
  bool same = true;
  const struct { const char *level, *jit; } levels[] = {{"x86-64-v3", "avx2"}, {"x86-64-v4", "avx512"}};
  for (const auto& [level, jit] : levels) {
    for (const auto& [m, n, d] : {std::array<std::int64_t, 3>{1, 16, 64}, {128, 128, 64}, {256, 256, 128}, {512, 512, 128}})
      same &= compare(text, attention(m, n, d), level, jit, [m, n, d](const std::vector<Tensor>& in, const Tensor& o, const quern_call* call) {
        return x_attention(d, m, n, at(in[0]), nullptr, at(in[1]), nullptr, at(in[2]), nullptr, at(o), nullptr, call);
      });
    same &= compare(text, rows(64, 1000), level, jit, [](const std::vector<Tensor>& in, const Tensor& o, const quern_call* call) {
      return x_rows(64, 1000, at(in[0]), nullptr, at(o), nullptr, call);
    });
  }
  return same ? 0 : 1;
}
