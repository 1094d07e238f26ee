// A: results. The same program on the same machine gives the same bits, in another process, with another number of
// threads, beside other rows; what is generated does not change unnoticed. Where the other promises are shown: README.md.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <map>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "tests/catch.h"
#include "tests/from_environment.h"
#include "tests/programs/programs.h"
#include "tests/runtime/layouts.h"
#include "tools/fuzz/device.h"
#include "tools/fuzz/front.h"
#include "tools/fuzz/fuzz.h"

using namespace quern;
using namespace quern_test;

namespace {

Device device() { return fuzz::has_device(Device::cpu) ? Device::cpu : Device::interpreter; }

std::uint64_t digest(const void* data, std::size_t bytes, std::uint64_t from = 0xcbf29ce484222325ull) {
  for (std::size_t i = 0; i < bytes; ++i) from = (from ^ static_cast<const unsigned char*>(data)[i]) * 0x100000001b3ull;
  return from;
}

/// Float additions by many threads have no order unless the program asks for one.
bool has_order(const ir::Program& program) {
  if (program.annotations.deterministic) return true;
  for (const ir::Equation& e : program.equations)
    if (e.op == ir::AssignOp::add && is_float(program.tensors[e.targets[0]].type)) return false;
  return true;
}

/// Digest of all that a case writes; nothing where the call is refused.
std::optional<std::uint64_t> digest_of_case(const std::string& text, const fuzz::Case& which, int threads) {
  const fuzz::Checked checked = fuzz::check_case(text, which);
  if (!checked.program || !has_order(*checked.program)) return std::nullopt;
  const fuzz::CaseArguments arguments = fuzz::make_arguments(*checked.program, which, 3);
  fuzz::JudgeOptions options;
  options.device = device();
  options.threads = threads;
  std::vector<fuzz::TensorArgument> written;
  if (!fuzz::run_device(text, which, *checked.program, arguments, options, 0x5a, written).empty()) return std::nullopt;
  std::uint64_t all = digest(nullptr, 0);
  for (const fuzz::TensorArgument& t : written) all = digest(t.bytes.data(), t.bytes.size(), all);
  return all;
}

/// Long enough for several threads.
struct Long {
  const char* text;
  std::vector<std::pair<ElementType, Sizes>> inputs;
};
const std::vector<Long>& long_programs() {
  static const std::vector<Long> list{
      {"kernel f(x: f32[N]) -> (s: f32) { s = sum[n](x[n]) }", {{f32, {1000003}}}},
      {"kernel f(x: f32[N], y: f32[N]) -> (s: f32) { s = sum[n where n mod 3 > 0](x[n] * y[n]) }", {{f32, {700001}}, {f32, {700001}}}},
      {"kernel f(x: f16[M,N]) -> (s: f32) { s = logsumexp[m,n](x[m,n]) }", {{f16, {601, 997}}}},
      {"kernel f(x: f32[M,N]) -> (s: f32[N]) { s[n] = sum[m](x[m,n]) }", {{f32, {100003, 5}}}},
      {"kernel f(x: f32[N]) -> (v: f32, s: f32) {\n v = var[n](x[n])\n s = norm[n](x[n]) }", {{f32, {500009}}}},
      {"kernel f(x: f32[N]) -> (i: i32) { i = argmax[n](x[n]) }", {{f32, {500009}}}},
      {"kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = cumsum[n](x[n]) }", {{f32, {300007}}}},
      {"kernel f(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = softmax[n](x[m,n]) }", {{f32, {301, 1013}}}},
      {"kernel f(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = x[m,n] - mean[m](x[m,n]) }", {{f32, {1013, 301}}}},
      {"kernel f(a: f32[M,K], b: f32[K,N]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }", {{f32, {307, 211}}, {f32, {211, 293}}}},
      {"kernel f<D>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {\n s[m,n] = sum[d](q[m,d] * k[n,d]) / sqrt(D)\n o[m,d] = sum[n](softmax[n where n <= m](s[m,n]) * v[n,d]) }",
       {{f32, {333, 32}}, {f32, {333, 32}}, {f32, {333, 32}}}},
  };
  return list;
}
std::uint64_t digest_of_long(const Long& program, int threads) {
  const Kernel kernel(program.text, Options().on(device()).with_threads(threads));
  std::mt19937 random(5);
  std::vector<Tensor> inputs;
  for (const auto& [type, shape] : program.inputs) inputs.push_back(random_tensor(random, type, shape));
  const Outputs out = kernel.run(std::vector<Argument>(inputs.begin(), inputs.end()));
  std::uint64_t all = digest(nullptr, 0);
  for (const auto& e : out.entries()) all = digest(e.tensor.data(), static_cast<std::size_t>(e.tensor.count()) * size_of(e.tensor.type()), all);
  return all;
}

/// By name: the first case of every kernel of the examples, random programs, long programs.
std::map<std::string, std::uint64_t> digests(int threads) {
  std::map<std::string, std::uint64_t> out;
  for (const test::ExampleFile& file : test::examples()) {
    std::string last;
    for (const fuzz::Case& which : file.cases) {
      if (which.slow || which.kernel == last) continue;
      last = which.kernel;
      if (const auto d = digest_of_case(file.text, which, threads)) out[file.name + "." + which.kernel] = *d;
    }
  }
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const std::string text = fuzz::program_of(seed);
    for (const fuzz::Case& which : fuzz::cases_of(text))
      if (const auto d = digest_of_case(text, which, threads)) out[fmt::format("seed_{}", seed)] = *d;
  }
  for (std::size_t i = 0; i < long_programs().size(); ++i) out[fmt::format("long_{}", i)] = digest_of_long(long_programs()[i], threads);
  return out;
}

}  // namespace

TEST_CASE("digests for another process", "[.]") {
  for (const auto& [name, value] : digests(static_cast<int>(test::from_environment("QUERN_TEST_THREADS", 1))))
    std::printf("digest %s %llx\n", name.c_str(), static_cast<unsigned long long>(value));
}

TEST_CASE("A4: another process and another number of threads give the same bits") {
  const auto here = digests(2);
  CHECK(here.size() >= 120);
  char self[4096] = {};
  REQUIRE(readlink("/proc/self/exe", self, sizeof self - 1) > 0);
  for (const int threads : {1, 3}) {
    const std::string command = fmt::format("QUERN_TEST_THREADS={} '{}' 'digests for another process'", threads, self);
    FILE* child = popen(command.c_str(), "r");
    REQUIRE(child);
    char line[512], name[256];
    unsigned long long value = 0;
    std::size_t met = 0;
    while (std::fgets(line, sizeof line, child)) {
      if (std::sscanf(line, "digest %255s %llx", name, &value) != 2) continue;
      INFO(name << " with " << threads << " threads");
      REQUIRE(here.count(name) == 1);
      CHECK(here.at(name) == value);
      ++met;
    }
    CHECK(pclose(child) == 0);
    CHECK(met == here.size());
  }
}

TEST_CASE("A4: a hundred calls give the same bits") {
  std::size_t programs = 0;
  for (const Long& p : long_programs()) {
    const Kernel kernel(p.text, Options().on(device()).with_threads(2));
    std::mt19937 random(5);
    std::vector<Tensor> inputs;
    // A tenth of the size: a hundred calls.
    for (const auto& [type, shape] : p.inputs) {
      Sizes smaller = shape;
      smaller[0] = std::max<std::int64_t>(1, shape[0] / 10);
      inputs.push_back(random_tensor(random, type, p.inputs.size() > 1 ? shape : smaller));
    }
    const std::vector<Argument> list(inputs.begin(), inputs.end());
    std::set<std::uint64_t> seen;
    for (int call = 0; call < (device() == Device::cpu ? 100 : 2); ++call) {
      std::uint64_t all = digest(nullptr, 0);
      const Outputs out = kernel.run(list);
      for (const auto& e : out.entries()) all = digest(e.tensor.data(), static_cast<std::size_t>(e.tensor.count()) * size_of(e.tensor.type()), all);
      seen.insert(all);
    }
    INFO(p.text);
    CHECK(seen.size() == 1);
    ++programs;
  }
  for (std::uint64_t seed = 100; programs < 50; ++seed) {
    const std::string text = fuzz::program_of(seed);
    for (const fuzz::Case& which : fuzz::cases_of(text)) {
      const auto first = digest_of_case(text, which, 2);
      if (!first) continue;
      ++programs;
      for (int call = 1; call < (device() == Device::cpu ? 100 : 2); ++call) {
        INFO("REPRO: quern fuzz --seed " << seed << "\n" << text);
        REQUIRE(digest_of_case(text, which, 2) == first);
      }
    }
  }
}

namespace {

/// A kernel whose first `batched` inputs and whose output have rows that do not know each other.
struct Rows {
  const char* text;
  std::vector<Sizes> inputs;  // with 1 for the number of rows
  std::size_t batched = 1;
  int axis = 0;               // of the rows, in inputs and output
};
const std::vector<Rows>& row_kernels() {
  static const std::vector<Rows> list{
      {"kernel f(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = softmax[n](x[m,n]) }", {{1, 77}}},
      {"kernel f(x: f32[M,N]) -> (y: f32[M]) { y[m] = sum[n](x[m,n]) }", {{1, 133}}},
      {"kernel f(x: f32[M,N]) -> (y: f32[M]) { y[m] = logsumexp[n](x[m,n]) }", {{1, 45}}},
      {"kernel f(x: f32[M,N]) -> (y: f32[M]) { y[m] = max[n](exp(x[m,n])) }", {{1, 61}}},
      {"kernel f(x: f32[M,N]) -> (y: f32[M]) { y[m] = var[n](x[m,n]) }", {{1, 100}}},
      {"kernel f(x: f32[M,N], w: f32[N]) -> (y: f32[M,N]) { y[m,n] = x[m,n] * rsqrt(mean[k](x[m,k] ** 2) + 1e-6) * w[n] }", {{1, 96}, {96}}},
      {"kernel f(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = (x[m,n] - mean[k](x[m,k])) * rsqrt(var[k](x[m,k]) + 1e-5) }", {{1, 50}}},
      {"kernel f(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = cumsum[n](x[m,n]) }", {{1, 90}}},
      {"kernel f(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = scan[n](0.5 * prev + x[m,n], init=0) }", {{1, 40}}},
      {"kernel f(x: f32[M,N]) -> (y: i32[M]) { y[m] = argmax[n](x[m,n]) }", {{1, 70}}},
      {"kernel f(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = gelu(x[m,n]) }", {{1, 19}}},
      {"kernel f(x: f32[M,N]) -> (y: f32[M,N]) { y[m,n] = sort[n](x[m,n]) }", {{1, 30}}},
      {"kernel f(a: f32[M,K], b: f32[K,N]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }", {{1, 65}, {65, 47}}},
      {"kernel f(a: f32[M,K], b: f32[N,K]) -> (c: f32[M,N]) { c[m,n] = silu(sum[k](a[m,k] * b[n,k])) }", {{1, 64}, {33, 64}}},
      {"kernel f<D>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {\n s[m,n] = sum[d](q[m,d] * k[n,d]) / sqrt(D)\n o[m,d] = sum[n](softmax[n](s[m,n]) * v[n,d]) }",
       {{1, 32}, {101, 32}, {101, 32}}},
      {"kernel f<D>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {\n s[m,n] = sum[d](q[m,d] * k[n,d])\n o[m,d] = sum[n](softmax[n where n <= m](s[m,n]) * v[n,d]) }",
       {{1, 16}, {150, 16}, {150, 16}}},
      {"kernel f<D>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {\n p[m,n] = exp(30 * tanh(sum[d](q[m,d] * k[n,d]) / 30))\n o[m,d] = sum[n](p[m,n] * v[n,d]) / sum[n](p[m,n]) }",
       {{1, 24}, {70, 24}, {70, 24}}},
      {"kernel f<D>(q: f32[B,M,D], k: f32[B,N,D], v: f32[B,N,D]) -> (o: f32[B,M,D]) {\n s[b,m,n] = sum[d](q[b,m,d] * k[b,n,d])\n o[b,m,d] = sum[n](softmax[n](s[b,m,n]) * v[b,n,d]) }",
       {{1, 37, 16}, {1, 51, 16}, {1, 51, 16}}, 3},
      {"kernel f<D>(q: f32[H,M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[H,M,D]) {\n s[h,m,n] = sum[d](q[h,m,d] * k[n,d])\n o[h,m,d] = sum[n](softmax[n](s[h,m,n]) * v[n,d]) }",
       {{1, 5, 16}, {60, 16}, {60, 16}}},
      {"kernel f(x: f32[B,M,N]) -> (y: f32[B,N]) { y[b,n] = sum[m](x[b,m,n]) }", {{1, 40, 21}}},
  };
  return list;
}

}  // namespace

TEST_CASE("A5: a row's bits do not depend on how many rows there are") {
  constexpr std::int64_t kMost = 150;
  for (const Rows& p : row_kernels()) {
    const Kernel kernel(p.text, Options().on(device()));
    std::mt19937 random(8);
    std::vector<Tensor> inputs;
    for (std::size_t i = 0; i < p.inputs.size(); ++i) {
      Sizes shape = p.inputs[i];
      if (i < p.batched) shape[0] = kMost;
      inputs.push_back(random_tensor(random, f32, shape));
    }
    const Tensor whole = kernel.run(std::vector<Argument>(inputs.begin(), inputs.end()));
    for (const std::int64_t rows : {1, 2, 3, 4, 7, 16, 31, 64, 97, 149}) {
      std::vector<Argument> list;
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        Sizes shape = inputs[i].shape();
        if (i < p.batched) shape[0] = rows;
        list.push_back(TensorView(static_cast<const void*>(inputs[i].data()), f32, shape));
      }
      const Tensor part = kernel.run(list);
      INFO(p.text << "\n" << rows << " rows");
      CHECK(std::memcmp(part.data(), whole.data(), static_cast<std::size_t>(part.count()) * size_of(part.type())) == 0);
    }
    // One kernel for all; another test may have made it.
    CHECK(kernel.counters().compiles + kernel.counters().loads <= 1);
  }
}
