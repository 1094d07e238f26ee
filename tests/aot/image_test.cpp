// The description inside an object: what is written is read, and damage is an error, never a crash.
#include "runtime/aot/image.h"

#include <quern/error.h>

#include "dsl/ir/print_program.h"
#include "runtime/front.h"
#include "tests/catch.h"

using namespace quern;
using namespace quern::runtime;

namespace {

aot::Image example() {
  const Front front("kernel f<D>(x: f32[J*G,D], ids: i32[T] in 0:J*G nondecreasing, w: f32[G], scale: f32 = 1/sqrt(D), n: i64, inout y: f64[T]) -> (o: f32[T,D]) {\n"
                    "  require G >= 1 or D < 5\n  o[t,d] = x[ids[t],d] * scale\n  y[t] = y[t] + f64(n)\n}",
                    "", "f");
  aot::Image image;
  for (const std::int64_t d : {4, 8}) {
    const Setting setting{"D", false, d};
    aot::Case c;
    c.program = *front.check(std::span(&setting, 1));
    c.program.equations.clear();
    aot::Variant v;
    v.target = d == 4 ? "x86-64-v3" : "sm_90a";
    v.program = c.program;
    v.layouts = {{true, -1}, {false, 2}};
    v.workspace = {0, 3};
    v.may_share = {{1, 0}, {0, 1}};
    v.plan = 4;
    v.run = {5, 6};
    quern::cuda::KernelLaunch launch;
    launch.entry = "k0";
    launch.tasks = v.program.tensors[v.program.parameters[0]].shape[0];
    launch.shared_bytes = v.program.pool.integer(-(std::int64_t{1} << 62));
    launch.words = {{quern::cuda::Word::stride, 3, 1}, {quern::cuda::Word::status, 0, 0}};
    launch.maps = {{1, {1, 0}, {64, 128}}};
    v.launches = {launch};
    v.cubin_bytes = std::uint64_t{1} << 40;
    c.variants = {v, v};
    image.cases.push_back(std::move(c));
  }
  return image;
}

}  // namespace

TEST_CASE("an image is read as it was written") {
  const aot::Image image = example();
  const std::string bytes = aot::write_image(image);
  CHECK(bytes == aot::write_image(example()));
  const aot::Image back = aot::read_image(bytes);
  CHECK(aot::write_image(back) == bytes);
  REQUIRE(back.cases.size() == 2);
  const ir::Program& a = image.cases[1].program;
  const ir::Program& b = back.cases[1].program;
  CHECK(a.parameter_order == b.parameter_order);
  CHECK(b.symbols[0].value == 8);
  CHECK(b.requirements.size() == a.requirements.size());
  const aot::Variant& v = back.cases[1].variants[1];
  CHECK(v.on_gpu());
  CHECK(v.launches[0].words.size() == 2);
  CHECK(v.launches[0].words[0].kind == quern::cuda::Word::stride);
  CHECK(v.launches[0].maps[0].box == std::vector<std::uint32_t>{64, 128});
  CHECK(v.launches[0].maps[0].axes == std::vector<int>{1, 0});
  std::int64_t constant = 0;
  CHECK(v.program.pool.is_integer_constant(v.launches[0].shared_bytes, &constant));
  CHECK(constant == -(std::int64_t{1} << 62));
  CHECK(v.cubin_bytes == std::uint64_t{1} << 40);
  // A second binding over what was read says the same of the sizes.
  CHECK(Binding(b).slots().size() == Binding(a).slots().size());
}

TEST_CASE("a shortened or changed image is an error") {
  const std::string bytes = aot::write_image(example());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    INFO(size);
    CHECK_THROWS_AS(aot::read_image(std::span(bytes.data(), size)), Error);
  }
  CHECK_THROWS_AS(aot::read_image(bytes + "x"), Error);
  std::string other = bytes;
  other[0] = 1;  // the version
  CHECK_THROWS_WITH(aot::read_image(other), contains_text("another version"));
}
