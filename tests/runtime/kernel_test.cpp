// Programs through the public API on every device: values do not depend on where tensors lie, nothing outside them is
// touched, every element of an output is written, shared storage is right or refused.
#include <sys/mman.h>

#include "tests/catch.h"
#include "tests/runtime/guarded.h"
#include "tests/runtime/layouts.h"
#include "tests/runtime/programs.h"

using namespace quern;
using namespace quern_test;

namespace {

std::vector<Device> devices() {
  std::vector<Device> list{Device::interpreter};
  if (Kernel("kernel f(x: f32[N]) -> (o: f32[N]) { o[n] = x[n] }").device() == Device::cpu) list.push_back(Device::cpu);
  return list;
}

struct Case {
  explicit Case(const SmallProgram& p) : kernel(p.text), meaning(p.text, Options().on(Device::interpreter)) {
    std::mt19937 random(11);
    for (const Input& i : p.inputs) inputs.push_back(random_tensor(random, i.type, i.shape, i.integers_below));
    std::vector<Argument> list(inputs.begin(), inputs.end());
    const Outputs result = meaning.run(list);
    for (const auto& e : result.entries()) expected.push_back(e.tensor);
  }
  Kernel kernel, meaning;
  std::vector<Tensor> inputs, expected;
};

TensorView constant(const TensorView& v) { return TensorView(static_cast<const void*>(v.data()), v.type(), v.shape(), v.strides()); }

}  // namespace

TEST_CASE("values do not depend on where tensors lie") {
  for (const SmallProgram& p : small_programs()) {
    INFO(p.name);
    Case c(p);
    for (Place how : kPlaces)
      for (int offset = 0; offset < 16; ++offset) {
        if (how != Place::dense && offset % 5) continue;
        INFO("place " << static_cast<int>(how) << " offset " << offset);
        std::vector<Placed> placed;
        std::vector<Argument> list;
        for (const Tensor& t : c.inputs) placed.push_back(place_values(t, how, offset));
        for (const Tensor& t : c.expected) placed.push_back(place(t, how, offset));
        for (std::size_t i = 0; i < placed.size(); ++i)
          list.push_back(i < c.inputs.size() ? Argument(constant(placed[i].view)) : out(placed[i].view));
        c.kernel.run(list);
        for (std::size_t i = 0; i < c.expected.size(); ++i)
          REQUIRE(difference(placed[c.inputs.size() + i].view, c.expected[i]) <= p.tolerance);
      }
    // Six places; the dense ones of all offsets are one signature.
    CHECK(c.kernel.counters().compiles <= 6);
  }
}

TEST_CASE("nothing outside the tensors is touched and every output element is written") {
  for (const SmallProgram& p : small_programs()) {
    INFO(p.name);
    Case c(p);
    for (bool at_end : {true, false}) {
      std::vector<std::unique_ptr<Guarded>> memory;
      std::vector<Argument> list;
      for (const Tensor& t : c.inputs) {
        memory.push_back(std::make_unique<Guarded>(t.type(), t.shape(), at_end));
        memory.back()->fill(t);
        list.push_back(memory.back()->input());
      }
      for (const Tensor& t : c.expected) {
        memory.push_back(std::make_unique<Guarded>(t.type(), t.shape(), at_end, 0xff));  // NaN, -1
        list.push_back(out(memory.back()->view()));
      }
      c.kernel.run(list);
      for (std::size_t i = 0; i < c.expected.size(); ++i)
        REQUIRE(difference(memory[c.inputs.size() + i]->view(), c.expected[i]) <= p.tolerance);
    }
  }
}

TEST_CASE("an output in an input's storage is right or refused") {
  int right = 0, refused = 0;
  for (const SmallProgram& p : small_programs()) {
    INFO(p.name);
    Case c(p);
    for (Device device : devices())
      for (std::size_t o = 0; o < c.expected.size(); ++o)
        for (std::size_t i = 0; i < c.inputs.size(); ++i)
          for (std::int64_t shift : {0, 1, -3, 1000}) {
            const Kernel kernel(p.text, Options().on(device));
            const Tensor& in = c.inputs[i];
            const Tensor& expected = c.expected[o];
            // A block that holds the input, and the output `shift` elements further.
            std::vector<char> block(65536, 0);
            char* base = block.data() + 8192;
            const TensorView shared_in(static_cast<void*>(base), in.type(), in.shape());
            const TensorView shared_out(static_cast<void*>(base + shift * static_cast<std::int64_t>(size_of(expected.type()))), expected.type(), expected.shape());
            for_each_pair(in, shared_in, [&](const char* from, char* to) { std::memcpy(to, from, size_of(in.type())); });
            std::vector<Argument> list;
            for (std::size_t k = 0; k < c.inputs.size(); ++k) list.push_back(k == i ? Argument(shared_in) : Argument(c.inputs[k]));
            list.push_back(out(kernel.parameters()[c.inputs.size() + o].name, shared_out));
            const auto result = kernel.try_run(list);
            const std::int64_t in_bytes = in.count() * static_cast<std::int64_t>(size_of(in.type()));
            const std::int64_t out_bytes = expected.count() * static_cast<std::int64_t>(size_of(expected.type()));
            const std::int64_t distance = shift * static_cast<std::int64_t>(size_of(expected.type()));
            const bool apart = distance >= in_bytes || distance + out_bytes <= 0;
            if (!result) {
              REQUIRE(result.code() == Code::overlap);
              CHECK_FALSE(apart);
              ++refused;
            } else {
              REQUIRE(difference(shared_out, expected) <= p.tolerance);
              ++right;
              if (shift != 0) CHECK(apart);
            }
          }
  }
  CHECK(right > 20);
  CHECK(refused > 60);
}

TEST_CASE("elementwise programs work in place, programs that cannot are refused with a reason") {
  const Kernel twice("kernel f(x: f32[N]) -> (o: f32[N]) { o[n] = x[n] * 2 }");
  std::vector<float> x(100, 3);
  twice(x, out(x));
  CHECK(x == std::vector<float>(100, 6));
  for (Device device : devices()) {
    if (device == Device::interpreter) continue;
    const Kernel reverse("kernel f(x: f32[N]) -> (o: f32[N]) { o[n in 0:N] = x[N-1-n] }", Options().on(device));
    const Argument list[] = {x, out(x)};
    const auto refused = reverse.try_run(list);
    REQUIRE_FALSE(refused);
    CHECK(refused.code() == Code::overlap);
    CHECK(refused.error().message().find("'o' is the same memory as 'x'") != std::string::npos);
  }
}

TEST_CASE("inout parameters are updated in the caller's memory") {
  for (Device device : devices()) {
    const Options options = Options().on(device);
    std::vector<float> x{1, 2, 3, 4, 5, 6, 7, 8};  // four rows: their mean is exact, however it is divided
    const Kernel center("kernel f(inout x: f32[N,C]) { x[n,c] = x[n,c] - mean[k](x[k,c]) }", options);
    center(TensorView(x, {4, 2}));
    CHECK(x == std::vector<float>{-3, -3, -1, -1, 1, 1, 3, 3});
    const Kernel reverse("kernel f(inout x: f32[N]) { x[n in 0:N] = x[N-1-n] }", options);
    std::vector<float> y{1, 2, 3, 4, 5};
    reverse(y);
    CHECK(y == std::vector<float>{5, 4, 3, 2, 1});
    const Kernel scatter("kernel f(inout w: f32[V,E], ids: i32[T] in 0:V, g: f32[T,E]) { w[ids[t],e] += g[t,e] }", options);
    std::vector<float> w(8, 10), g{1, 2, 3, 4, 5, 6};
    const std::vector<std::int32_t> ids{3, 1, 3};
    scatter(TensorView(w, {4, 2}), ids, TensorView(g, {3, 2}));
    CHECK(w == std::vector<float>{10, 10, 13, 14, 10, 10, 16, 18});
  }
}

TEST_CASE("bad indices are reported with tensor, value and place, and touch nothing outside") {
  for (Device device : devices()) {
    const Kernel gather("kernel f(x: f32[V,E], ids: i32[T] in 0:V) -> (o: f32[T,E]) { o[t,e] = x[ids[t],e] }", Options().on(device));
    Guarded x(f32, {4, 3});
    x.fill(Tensor::zeros(f32, {4, 3}));
    for (std::int32_t bad : {-1, 4, 1000000, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()}) {
      const std::vector<std::int32_t> ids{0, 1, bad, 2};
      const Argument list[] = {x.input(), ids};
      const auto result = gather.try_run(list);
      REQUIRE_FALSE(result);
      CHECK(result.code() == Code::data);
      INFO(result.error().message());
      CHECK(result.error().message().find(std::to_string(bad)) != std::string::npos);
      CHECK(result.error().message().find("'x'") != std::string::npos);
      CHECK(result.error().message().find("ids[2]") != std::string::npos);
    }
    const std::vector<std::int32_t> good{3, 0};
    const Argument list[] = {x.input(), good};
    CHECK(gather.try_run(list));
  }
}

TEST_CASE("sizes of zero, rank 0 and empty reductions") {
  for (Device device : devices()) {
    const Options o = Options().on(device);
    const TensorView none(static_cast<float*>(nullptr), {0});
    CHECK(Tensor(Kernel("kernel f(x: f32[N]) -> (s: f32) { s = sum[n](x[n]) }", o)(none)).get({}) == 0);
    CHECK(Tensor(Kernel("kernel f(x: f32[N]) -> (s: f32) { s = prod[n](x[n]) }", o)(none)).get({}) == 1);
    CHECK(Tensor(Kernel("kernel f(x: f32[N]) -> (s: f32) { s = max[n](x[n]) }", o)(none)).get({}) == -std::numeric_limits<double>::infinity());
    CHECK(Tensor(Kernel("kernel f(x: f32[N]) -> (s: f32) { s = mean[n](x[n]) }", o)(none)).get({}) == 0);
    CHECK(Tensor(Kernel("kernel f(x: f32[N]) -> (s: i32) { s = argmax[n](x[n]) }", o)(none)).get({}) == -1);
    CHECK(Tensor(Kernel("kernel f(x: f32[N]) -> (o: f32[N]) { o[n] = x[n] + 1 }", o)(none)).count() == 0);
    const Kernel product("kernel f(a: f32[M,K], b: f32[K,N]) -> (c: f32[M,N]) { c[m,n] = sum[k](a[m,k] * b[k,n]) }", o);
    const Tensor c = product(TensorView(static_cast<float*>(nullptr), {2, 0}), TensorView(static_cast<float*>(nullptr), {0, 3}));
    CHECK(c.shape() == Sizes{2, 3});
    CHECK(c.get({1, 2}) == 0);
    CHECK(Tensor(product(TensorView(static_cast<float*>(nullptr), {0, 5}), Tensor::zeros(f32, {5, 3}))).shape() == Sizes{0, 3});
    CHECK(Tensor(Kernel("kernel f(x: f32) -> (s: f32) { s = x * 2 }", o)(21)).get({}) == 42);
    const std::vector<float> one{5};
    const Argument missing[] = {TensorView(static_cast<float*>(nullptr), {3})};
    CHECK(Kernel("kernel f(x: f32[N]) -> (o: f32[N]) { o[n] = x[n] }", o).try_run(missing).code() == Code::invalid_argument);
  }
}

TEST_CASE("strides beyond 2^31 elements") {
  // Address space without memory behind it, but for the pages that are used.
  const std::int64_t step = (std::int64_t{1} << 31) + 1000;
  const std::size_t bytes = static_cast<std::size_t>(3 * step + 1000) * sizeof(float);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return;  // an address space limit: nothing to test here
  auto* x = static_cast<float*>(memory);
  for (std::int64_t row = 0; row < 3; ++row)
    for (int i = 0; i < 40; ++i) x[row * step + i] = static_cast<float>(row * 100 + i);
  for (Device device : devices()) {
    const Options o = Options().on(device);
    const TensorView far(x, {3, 40}, {step, 1});
    const Tensor copy = Kernel("kernel f(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = x[m,n] + 1 }", o)(far);
    CHECK(copy.get({2, 39}) == 240);
    const Tensor sums = Kernel("kernel f(x: f32[M,N]) -> (o: f32[N]) { o[n] = sum[m](x[m,n]) }", o)(far.transposed({0, 1}));
    CHECK(sums.get({7}) == 321);
    const std::vector<float> small(120, 2);
    Kernel("kernel f(x: f32[M,N]) -> (o: f32[M,N]) { o[m,n] = x[m,n] }", o)(TensorView(small, {3, 40}), out(TensorView(x, {3, 40}, {step, 1})));
    CHECK(x[2 * step + 39] == 2);
    for (std::int64_t row = 0; row < 3; ++row)
      for (int i = 0; i < 40; ++i) x[row * step + i] = static_cast<float>(row * 100 + i);
    const std::vector<std::int32_t> ids{2, 0};
    const Tensor rows = Kernel("kernel f(x: f32[V,E], ids: i32[T] in 0:V) -> (o: f32[T,E]) { o[t,e] = x[ids[t],e] }", o)(far, ids);
    CHECK(rows.get({0, 5}) == 205);
  }
  munmap(memory, bytes);
}
