// B: memory and indexing. Offsets beyond 2^31, products beyond 2^63, indices from anywhere, results in the storage of
// arguments. Where the other promises are shown: README.md.
#include <sys/mman.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <set>

#include <fmt/format.h>

#include "tests/catch.h"
#include "tests/runtime/guarded.h"
#include "tests/runtime/layouts.h"
#include "tools/fuzz/device.h"

using namespace quern;
using namespace quern_test;

namespace {

std::vector<Device> devices() {
  std::vector<Device> list{Device::interpreter};
  if (fuzz::has_device(Device::cpu)) list.push_back(Device::cpu);
  return list;
}

/// Address space without memory behind it, but for the pages that are used.
struct Sparse {
  explicit Sparse(std::size_t bytes) : bytes(bytes) {
    memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    REQUIRE(memory != MAP_FAILED);
  }
  ~Sparse() { munmap(memory, bytes); }
  std::size_t bytes;
  void* memory = nullptr;
};

bool names_one_of(const std::string& message, std::int64_t a, std::int64_t b) {
  return message.find(std::to_string(a)) != std::string::npos || message.find(std::to_string(b)) != std::string::npos;
}

constexpr std::int64_t k31 = std::int64_t{1} << 31, k32 = std::int64_t{1} << 32;
constexpr std::int64_t kMin64 = std::numeric_limits<std::int64_t>::min(), kMax64 = std::numeric_limits<std::int64_t>::max();

}  // namespace

TEST_CASE("B3: elements behind 2^31 and 2^32 are found, by every way of naming them") {
  // Each program reads (or writes) element `at` of a vector of N elements; N and `at` lie around the powers of two.
  struct Way {
    const char* name;
    const char* text;
  };
  const Way ways[] = {
      {"constant distance from the end", "kernel f(x: i8[N], at: i64[1] in 0:N) -> (y: i8[1]) {\n require N >= 7\n y[i in 0:1] = x[N - 7 + i] }"},
      {"gather", "kernel f(x: i8[N], at: i64[1] in 0:N) -> (y: i8[1]) { y[i] = x[at[i]] }"},
      {"gather with an offset", "kernel f(x: i8[N], at: i64[1] in 0:N) -> (y: i8[1]) { y[i] = clamp(x[at[i] + 5 - 5]) }"},
      {"sum over a window", "kernel f(x: i8[N], at: i64[1] in 0:N) -> (y: i8[1]) { y[i in 0:1] = i8(sum[k in 0:3](pad(x[N - 8 + k], 0))) }"},
      {"view from the end", "kernel f(x: i8[N], at: i64[1] in 0:N) -> (y: i8[1]) { y[i in 0:1] = i8(max[k in max(N - 40, 0):N](x[k])) }"},
  };
  const std::int64_t sizes[] = {k31 - 1, k31, k31 + 1, k31 + 777, k32 - 1, k32, k32 + 1, k32 + 65537};
  Sparse sparse(static_cast<std::size_t>(k32 + 100000));
  int probes = 0;
  for (const Device device : devices())
    for (const Way& way : ways) {
      const Kernel kernel(way.text, Options().on(device));
      for (const std::int64_t n : sizes) {
        auto* x = static_cast<std::int8_t*>(sparse.memory);
        const std::int64_t position = n - 7;
        x[position] = 93;
        const std::vector<std::int64_t> at{position};
        const Tensor y = kernel(TensorView(x, {n}), TensorView(at));
        INFO(way.name << ", " << n << " elements");
        CHECK(y.get({0}) == 93);
        x[position] = 0;
        ++probes;
      }
      CHECK(kernel.counters().compiles + kernel.counters().loads <= 1);  // another test may have made it
    }
  // Two axes whose product is beyond, an axis of long stride, a scatter.
  for (const Device device : devices()) {
    const Options o = Options().on(device);
    auto* x = static_cast<std::int8_t*>(sparse.memory);
    for (const std::int64_t rows : {std::int64_t{46341}, std::int64_t{65537}}) {
      x[rows * (rows - 1) - 3] = 17;  // element [rows - 2, rows - 3]
      CHECK(Tensor(Kernel("kernel f(x: i8[M,N]) -> (y: i8) { y = clamp(x[M-2, N-3]) }", o)(TensorView(x, {rows, rows}))).get({}) == 17);
      CHECK(Tensor(Kernel("kernel f(x: i8[N,M]) -> (y: i8) { y = clamp(x[N-3, M-2]) }", o)(TensorView(x, {rows, rows}, {1, rows}))).get({}) == 17);
      x[rows * (rows - 1) - 3] = 0;
      probes += 2;
    }
    for (const std::int64_t n : {k31 + 1, k32 + 9}) {
      const std::vector<std::int64_t> at{n - 1, 5, n - 1};
      const std::vector<std::int32_t> g{3, 4, 5};
      Sparse wide(static_cast<std::size_t>(n) * 4);
      auto* w = static_cast<std::int32_t*>(wide.memory);
      const Argument list[] = {TensorView(w, {n}), TensorView(at), TensorView(g)};
      const auto result = Kernel("kernel f(inout w: i32[N], at: i64[T] in 0:N, g: i32[T]) { w[at[t]] += g[t] }", o).try_run(list);
      // The interpreter keeps a whole output in memory and says so.
      if (device == Device::interpreter && !result) continue;
      REQUIRE(result);
      CHECK(w[n - 1] == 8);
      CHECK(w[5] == 4);
      ++probes;
    }
  }
  CHECK(probes >= 40);
}

TEST_CASE("B4: sizes whose products do not fit are refused with the sizes, others are bound") {
  // Inputs have stride 0 or no elements in memory: what counts is the shape. The output is [M, N]; where it fits 63 bits but
  // no memory, allocation refuses it.
  const std::int64_t values[] = {1, 3, 1024, 1025, 65535, 65536, k31 - 1, k31, k31 + 1, k32 - 1, k32, k32 + 1, std::int64_t{1} << 40, std::int64_t{1} << 61, kMax64 / 4, kMax64};
  int refused = 0, unallocated = 0, computed = 0;
  static float one = 2;
  for (const Device device : devices()) {
    const Kernel outer("kernel f(x: f32[M], y: f32[N]) -> (o: f32[M,N]) { o[m,n] = x[m] * y[n] }", Options().on(device));
    const Kernel corner("kernel f(x: f32[M], y: f32[N]) -> (o: f32) { o = clamp(x[M-1]) * clamp(y[N-1]) }", Options().on(device));
    for (const std::int64_t m : values)
      for (const std::int64_t n : values) {
        const Argument list[] = {TensorView(&one, {m}, {0}), TensorView(&one, {n}, {0})};
        const auto at_corner = corner.try_run(list);
        INFO(m << " x " << n);
        const bool each_fits = m <= kMax64 / 4 && n <= kMax64 / 4;
        std::int64_t count = 0, bytes = 0;
        const bool fits = each_fits && !__builtin_mul_overflow(m, n, &count) && !__builtin_mul_overflow(count, std::int64_t{4}, &bytes);
        if (each_fits && device == Device::interpreter && std::max(m, n) > (std::int64_t{1} << 60)) {
          REQUIRE_FALSE(at_corner);  // more than it counts
          CHECK(at_corner.error().message().find(std::to_string(m > (std::int64_t{1} << 60) ? m : n)) != std::string::npos);
        } else if (each_fits) {
          if (!at_corner) FAIL(at_corner.error().message());
          CHECK(Tensor(*at_corner).get({}) == 4);
        } else {
          REQUIRE_FALSE(at_corner);
          CHECK(at_corner.code() == Code::overflow);
          CHECK(names_one_of(at_corner.error().message(), m, n));
        }
        if (fits && bytes <= (1 << 22)) {
          if (device == Device::interpreter && bytes > (1 << 14)) continue;  // slow
          const Tensor o = Tensor(*outer.try_run(list));
          CHECK(o.get({m - 1, n - 1}) == 4);
          ++computed;
          continue;
        }
        if (fits && bytes < (std::int64_t{1} << 46)) continue;  // may or may not be had
        const auto result = outer.try_run(list);
        REQUIRE_FALSE(result);
        INFO(result.error().message());
        if (fits) {
          CHECK(result.code() == Code::out_of_memory);
          ++unallocated;
        } else {
          CHECK(result.code() == Code::overflow);
          // One of the sizes is named with its number.
          CHECK(names_one_of(result.error().message(), m, n));
          ++refused;
        }
      }
  }
  CHECK(refused >= 120);
  CHECK(unallocated >= 10);
  CHECK(computed >= 10);
}

TEST_CASE("B4: strides whose reach does not fit are refused with the numbers") {
  static float data[64];
  int refused = 0, fine = 0;
  for (const Device device : devices()) {
    const Kernel kernel("kernel f(x: f32[M,N]) -> (o: f32) { o = x[0,0] }", Options().on(device));
    for (const std::int64_t extent : {std::int64_t{2}, std::int64_t{3}, std::int64_t{65536}, k31, k32 + 1})
      for (const std::int64_t stride : {std::int64_t{0}, std::int64_t{1}, std::int64_t{65535}, k31, k32, std::int64_t{1} << 61, kMax64, kMin64, kMin64 + 1, -k32}) {
        std::int64_t last = 0, bytes = 0;
        const bool fits = !__builtin_mul_overflow(extent - 1, stride, &last) && !__builtin_mul_overflow(last, std::int64_t{4}, &bytes);
        std::string message;
        bool ok = false;
        try {
          ok = Tensor(kernel(TensorView(data, {extent, 1}, {stride, 1}))).get({}) == 0;
        } catch (const Error& e) {
          message = e.message();
          CHECK(e.code() == Code::overflow);
        }
        INFO(extent << " of stride " << stride << ": " << message);
        CHECK(ok == fits);
        if (!fits) CHECK(names_one_of(message, extent, stride));
        ++(fits ? fine : refused);
      }
  }
  CHECK(refused >= 20);
  CHECK(fine >= 20);
}

TEST_CASE("B6: an index from anywhere reads 0 or what the policy says, is reported, and touches nothing outside") {
  constexpr std::int64_t kSize = 5;
  const std::int64_t from_anywhere[] = {0, 1, kSize - 1, kSize, -1, -kSize, -kSize - 1, 7, 100, 127, -128, 255, 32767, -32768, 65535, 1000000,
                                        std::numeric_limits<std::int32_t>::max(), std::numeric_limits<std::int32_t>::min(), k31, k32, k32 + 2, -k32, kMax64, kMin64};
  struct Policy {
    const char* name;
    const char* read;
    std::optional<double> (*value)(std::int64_t i);  // none: reported
  };
  const Policy policies[] = {
      {"checked", "x[ids[t]]", [](std::int64_t i) { return i >= 0 && i < kSize ? std::optional<double>(10.0 + double(i)) : std::nullopt; }},
      {"pad", "pad(x[ids[t]], -3)", [](std::int64_t i) { return std::optional<double>(i >= 0 && i < kSize ? 10.0 + double(i) : -3.0); }},
      {"clamp", "clamp(x[ids[t]])", [](std::int64_t i) { return std::optional<double>(10.0 + double(std::clamp<std::int64_t>(i, 0, kSize - 1))); }},
      {"wrap", "wrap(x[ids[t]])", [](std::int64_t i) { return std::optional<double>(10.0 + double((i % kSize + kSize) % kSize)); }},
  };
  struct Type {
    const char* name;
    ElementType type;
    std::int64_t lowest, highest;
  };
  const Type types[] = {{"i8", i8, -128, 127}, {"u8", u8, 0, 255}, {"i16", i16, -32768, 32767},
                        {"i32", i32, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()}, {"i64", i64, kMin64, kMax64}};
  int cases = 0, reported = 0;
  Guarded x(f32, {kSize});
  for (int i = 0; i < kSize; ++i) x.as<float>()[i] = 10.0f + static_cast<float>(i);
  for (const Device device : devices())
    for (const Type& type : types) {
      for (const Policy& policy : policies) {
        const bool fact = std::string(policy.name) == "checked";
        const Kernel kernel(fmt::format("kernel f(x: f32[N], ids: {}[T]{}) -> (o: f32[T]) {{ o[t] = {} }}", type.name, fact ? " in 0:N" : "", policy.read), Options().on(device));
        for (const std::int64_t index : from_anywhere) {
          if (index < type.lowest || index > type.highest) continue;
          ++cases;
          Guarded ids(type.type, {37}, true, 0), o(f32, {37});  // index 0, but for one
          store_from_i64(static_cast<DType>(type.type), static_cast<char*>(ids.data()) + 20 * size_of(type.type), index);
          const Argument list[] = {x.input(), ids.input(), out(o.view())};
          const auto result = kernel.try_run(list);
          INFO(policy.name << ", " << type.name << " " << index << " on " << (device == Device::cpu ? "cpu" : "interpreter"));
          const auto value = policy.value(index);
          if (value) {
            REQUIRE(result);
            CHECK(o.as<float>()[20] == *value);
          } else {
            REQUIRE_FALSE(result);
            CHECK(result.code() == Code::data);
            const std::string message = result.error().message();
            INFO(message);
            CHECK(message.find(std::to_string(index)) != std::string::npos);
            CHECK(message.find("'x'") != std::string::npos);
            CHECK(message.find("ids[20]") != std::string::npos);
            ++reported;
            if (device == Device::interpreter) continue;  // it stops at the first fault and writes nothing
            CHECK(o.as<float>()[20] == 0);
          }
          CHECK(o.as<float>()[19] == 10);
          CHECK(o.as<float>()[36] == 10);
        }
      }
      // Scatters.
      const Kernel scatter(fmt::format("kernel f(inout w: i32[N], ids: {}[T] in 0:N, g: i32[T]) {{ w[ids[t]] += g[t] }}", type.name), Options().on(device));
      for (const std::int64_t index : from_anywhere) {
        if (index < type.lowest || index > type.highest) continue;
        ++cases;
        Guarded w(i32, {kSize}, true, 0), ids(type.type, {9}, false, 0), g(i32, {9}, true, 0);
        store_from_i64(static_cast<DType>(type.type), static_cast<char*>(ids.data()) + 4 * size_of(type.type), index);
        for (int t = 0; t < 9; ++t) g.as<std::int32_t>()[t] = t == 4 ? 100 : 1;
        const Argument list[] = {w.view(), ids.input(), g.input()};
        const auto result = scatter.try_run(list);
        INFO("scatter, " << type.name << " " << index << " on " << (device == Device::cpu ? "cpu" : "interpreter"));
        const bool good = index >= 0 && index < kSize;
        CHECK(result.ok() == good);
        std::int32_t all = 0;
        for (int v = 0; v < kSize; ++v) all += w.as<std::int32_t>()[v];
        if (good) {
          CHECK(all == 108);
          CHECK(w.as<std::int32_t>()[index] == (index == 0 ? 108 : 100));
        } else {
          CHECK(result.code() == Code::data);
          CHECK(result.error().message().find(std::to_string(index)) != std::string::npos);
          CHECK((all == 8 || all == 0));  // the others, or none where the call stopped first
          ++reported;
        }
      }
    }
  CHECK(cases >= 200);
  CHECK(reported >= 50);
}

TEST_CASE("B7: a result over an argument, at every distance and step, is right or refused") {
  struct Program {
    const char* text;
    bool in_place;  // each element is read before it is overwritten, and only there
  };
  const Program programs[] = {
      {"kernel f(x: f32[N], z: f32[N]) -> (y: f32[N]) { y[n] = 2 * x[n] + z[n] }", true},
      {"kernel f(x: f32[N], z: f32[N]) -> (y: f32[N]) { y[n in 0:N] = x[N - 1 - n] + z[n] }", false},
      {"kernel f(x: f32[N], z: f32[N]) -> (y: f32[N]) { y[n] = x[n] + sum[k](x[k]) + z[n] }", false},
      {"kernel f(x: f32[N], z: f32[N]) -> (y: f32[N]) { y[n] = cumsum[n](x[n]) * z[n] }", false},
      {"kernel f(x: f32[N], z: f32[N]) -> (y: f32[N]) { y[n] = pad(x[n - 1], 0) + z[n] }", false},
      {"kernel f(x: f32[N], z: f32[N]) -> (y: f32[N]) { y[n] = z[n] + pad(x[n + 3], 1) }", false},
  };
  constexpr std::int64_t kSize = 23;
  const std::int64_t steps[] = {1, 2, 3, -1, -2};
  int right = 0, refused = 0, same = 0;
  for (const Device device : devices())
    for (const Program& p : programs) {
      const Kernel kernel(p.text, Options().on(device)), meaning(p.text, Options().on(Device::interpreter));
      for (const std::int64_t read_step : steps)
        for (const std::int64_t write_step : steps)
          for (std::int64_t distance : {0, 1, 2, -3, 22, 23, 44, 47, -70}) {
            std::vector<float> block(400);
            for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<float>(static_cast<int>(i * 37 % 101)) / 8;
            const auto first = [&](std::int64_t step) { return 150 + (step < 0 ? -step * (kSize - 1) : 0); };
            float* read = block.data() + first(read_step);
            float* write = block.data() + first(write_step) + distance;
            const std::vector<float> z(kSize, 0.25f), untouched = block;
            const TensorView x(static_cast<const float*>(read), {kSize}, {read_step});
            const Tensor wanted = meaning(x, z);
            std::set<float*> reads, writes;
            for (std::int64_t i = 0; i < kSize; ++i) reads.insert(read + i * read_step), writes.insert(write + i * write_step);
            bool apart = true;
            for (float* w : writes) apart = apart && !reads.count(w);
            const bool alias = distance == 0 && read_step == write_step;
            const Argument list[] = {x, z, out(TensorView(write, {kSize}, {write_step}))};
            const auto result = kernel.try_run(list);
            INFO(p.text << "\nread in steps of " << read_step << ", written in steps of " << write_step << " at " << distance << " on "
                        << (device == Device::cpu ? "cpu" : "interpreter"));
            if (!result) {
              CHECK(result.code() == Code::overlap);
              CHECK_FALSE(apart);
              CHECK_FALSE((alias && p.in_place));
              CHECK(block == untouched);
              ++refused;
              continue;
            }
            ++right;
            same += alias;
            CHECK((apart || alias));
            for (std::int64_t i = 0; i < kSize; ++i)
              if (std::abs(write[i * write_step] - wanted.get({i})) > 1e-4) FAIL_CHECK("element " << i << " is " << write[i * write_step] << ", not " << wanted.get({i}));
            for (std::size_t i = 0; i < block.size(); ++i)
              if (!writes.count(&block[i]) && block[i] != untouched[i]) FAIL_CHECK("element " << i << " of the block was written");
          }
    }
  CHECK(right >= 300);
  CHECK(refused >= 300);
  CHECK(same >= 10);
}
