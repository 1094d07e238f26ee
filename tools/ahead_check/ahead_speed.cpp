// ahead_speed FILE: functions made ahead of time beside kernels compiled at run time, on the GPU: results against the
// interpreter, bits against each other, and time per call, in turns. Exit status 1: a wrong result.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>

#include "cases.h"
#include "kernels.h"

using namespace ahead_check;

namespace {

using Ahead = std::function<quern_status(const std::vector<Tensor>& inputs, const Tensor& output, const quern_call* call)>;

template <class T>
T* at(const Tensor& t) { return static_cast<T*>(t.view().data()); }

double seconds_now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

bool check(const std::string& text, const Case& c, const Ahead& ahead) {
  std::vector<Tensor> inputs;
  for (const Tensor& t : c.inputs) inputs.push_back(to_gpu(t.view()));
  const Tensor output = gpu_tensor(c.type, c.output), other = gpu_tensor(c.type, c.output);
  const Kernel kernel(text, c.kernel, options(c, Device::cuda));
  kernel.run(std::span<const Argument>(arguments(inputs, other)));
  if (ahead(inputs, output, nullptr) != QUERN_OK) {
    std::printf("%-9s %s\n", c.kernel.c_str(), quern_aot_message());
    return false;
  }
  const Tensor found = to_host(output.view()), jit = to_host(other.view());
  const double apart = difference(found, reference(text, c));
  const bool same = std::memcmp(found.view().data(), jit.view().data(), static_cast<std::size_t>(found.view().count()) * (c.type == bf16 ? 2 : 4)) == 0;
  std::printf("%-9s D=%-3lld %s: largest difference %.3g of %.3g; %s the kernel compiled at run time\n", c.kernel.c_str(), static_cast<long long>(c.d), apart <= c.tolerance ? "right" : "WRONG",
              apart, c.tolerance, same ? "bit for bit" : "OTHER BITS than");
  return apart <= c.tolerance && same;
}

void time(const std::string& text, const Case& c, const Ahead& ahead, int calls) {
  std::vector<Tensor> inputs;
  for (const Tensor& t : c.inputs) inputs.push_back(to_gpu(t.view()));
  const Tensor output = gpu_tensor(c.type, c.output);
  const Kernel kernel(text, c.kernel, options(c, Device::cuda));
  const std::vector<Argument> list = arguments(inputs, output);
  quern_call queued{};
  queued.no_wait = 1;
  std::vector<double> first, second;
  for (int round = 0; round < 12; ++round) {
    double begin = seconds_now();
    for (int i = 0; i + 1 < calls; ++i) (void)kernel.try_launch(list);
    kernel.run(std::span<const Argument>(list));
    if (round > 0) first.push_back((seconds_now() - begin) / calls);
    begin = seconds_now();
    for (int i = 0; i + 1 < calls; ++i) ahead(inputs, output, &queued);
    ahead(inputs, output, nullptr);
    if (round > 0) second.push_back((seconds_now() - begin) / calls);
  }
  std::sort(first.begin(), first.end());
  std::sort(second.begin(), second.end());
  std::string shape;
  for (const std::int64_t n : c.output) shape += (shape.empty() ? "" : ",") + std::to_string(n);
  std::printf("%-9s [%s]: at run time %.2f us (%.2f to %.2f), ahead of time %.2f us (%.2f to %.2f), ratio %.3f\n", c.kernel.c_str(), shape.c_str(), first[5] * 1e6, first[0] * 1e6,
              first[10] * 1e6, second[5] * 1e6, second[0] * 1e6, second[10] * 1e6, first[5] / second[5]);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string text = text_of(argv[1]);
  const int calls = argc > 2 ? std::atoi(argv[2]) : 200;
  using raw = std::uint16_t;
  const auto causal_of = [](std::int64_t heads, std::int64_t t, std::int64_t d) -> Ahead {
    return [=](const std::vector<Tensor>& in, const Tensor& o, const quern_call* call) {
      return x_causal_cuda(d, heads, t, at<raw>(in[0]), nullptr, at<raw>(in[1]), nullptr, at<raw>(in[2]), nullptr, at<raw>(o), nullptr, call);
    };
  };
  const auto attention_of = [](std::int64_t m, std::int64_t n, std::int64_t d) -> Ahead {
    return [=](const std::vector<Tensor>& in, const Tensor& o, const quern_call* call) {
      return x_attention_cuda(d, m, n, at<float>(in[0]), nullptr, at<float>(in[1]), nullptr, at<float>(in[2]), nullptr, at<float>(o), nullptr, call);
    };
  };
  const auto rows_of = [](std::int64_t m, std::int64_t n) -> Ahead {
    return [=](const std::vector<Tensor>& in, const Tensor& o, const quern_call* call) { return x_rows_cuda(m, n, at<float>(in[0]), nullptr, at<float>(o), nullptr, call); };
  };
  bool right = check(text, causal(3, 300, 64), causal_of(3, 300, 64));
  right &= check(text, causal(2, 129, 128), causal_of(2, 129, 128));
  right &= check(text, attention(130, 190, 64), attention_of(130, 190, 64));
  right &= check(text, rows(100, 1000), rows_of(100, 1000));
  right &= check(text, pick(100, 64, 50), [](const std::vector<Tensor>& in, const Tensor& o, const quern_call* call) {
    return x_pick_cuda(100, 64, 50, at<float>(in[0]), nullptr, at<std::int32_t>(in[1]), nullptr, at<float>(o), nullptr, call);
  });
  if (!right) return 1;  // no speed of a wrong result
  if (calls == 0) return 0;
  time(text, causal(1, 64, 64), causal_of(1, 64, 64), calls);
  time(text, causal(16, 2048, 128), causal_of(16, 2048, 128), calls);
  time(text, attention(2048, 2048, 64), attention_of(2048, 2048, 64), calls);
  time(text, rows(4096, 4096), rows_of(4096, 4096), calls);
  return 0;
}
