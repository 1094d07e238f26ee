// Kernels with roles: a product by warp groups through tensor maps and memory barriers is exact in every order; what is wrong
// about the barriers shows.
#include <cmath>
#include <cstring>

#include "tests/catch.h"
#include "tests/cuda_emulator/emulated.h"
#include "tests/cuda_emulator/group_product.h"
#include "tests/cuda_emulator/machine/tensor_copies.h"

using namespace quern::emulator;
using quern::DType;
using quern_test::GroupProductCase;
using quern_test::GroupProductData;
using quern_test::kOrders;

namespace {

struct Outcome {
  std::string error;
  bool right = false;
};

struct alignas(64) Parameters {
  unsigned char maps[2][128];
  const void* a;
  float* y;
};

Outcome run(const GroupProductCase& c, const std::string& text, Order order) {
  GroupProductData data(c);
  std::vector<std::uint16_t> a(data.a.size() + 8), b(data.b.size() + 8);  // on multiples of 16 bytes
  const auto aligned = [](std::vector<std::uint16_t>& v) { return reinterpret_cast<std::uint16_t*>((reinterpret_cast<std::uintptr_t>(v.data()) + 15) / 16 * 16); };
  std::memcpy(aligned(a), data.a.data(), 2 * data.a.size());
  std::memcpy(aligned(b), data.b.data(), 2 * data.b.size());
  std::vector<float> y(data.y.size(), NAN);
  Parameters p{{}, aligned(a), y.data()};
  encode_map(data.map_of_a(reinterpret_cast<std::uint64_t>(aligned(a))), p.maps[0]);
  encode_map(data.map_of_b(reinterpret_cast<std::uint64_t>(aligned(b))), p.maps[1]);
  const auto loaded = Text::load(text, {"kernel"});
  REQUIRE(loaded->parameter_bytes(0) == sizeof p);
  How how;
  how.order = order;
  Outcome out{loaded->launch(0, {c.row_tiles(), c.threads(), c.shared_bytes()}, &p, how), false};
  out.right = out.error.empty() && y == data.y;
  return out;
}

void check_right(const GroupProductCase& c) {
  for (const Order order : kOrders) {
    const Outcome out = run(c, c.text(), order);
    INFO("transposed " << c.a_transposed << c.b_transposed << ", order " << static_cast<int>(order));
    CHECK(out.error == "");
    CHECK(out.right);
  }
}

/// The text with one part exchanged for another, and what comes of it in each order.
std::vector<Outcome> with(const GroupProductCase& c, const std::string& part, const std::string& other) {
  std::string text = c.text();
  const std::size_t at = text.find(part);
  REQUIRE(at != std::string::npos);
  text.replace(at, part.size(), other);
  std::vector<Outcome> out;
  for (const Order order : kOrders) out.push_back(run(c, text, order));
  return out;
}

int right_ones(const std::vector<Outcome>& outcomes) {
  int n = 0;
  for (const Outcome& o : outcomes) n += o.right;
  return n;
}

bool all_say(const std::vector<Outcome>& outcomes, const std::string& part) {
  for (const Outcome& o : outcomes)
    if (o.error.find(part) == std::string::npos) {
      UNSCOPED_INFO("the message is: " << o.error);
      return false;
    }
  return true;
}

}  // namespace

TEST_CASE("products of warp groups through tensor maps are exact for both ways that operands lie") {
  for (const bool a : {false, true})
    for (const bool b : {false, true}) check_right({.a_transposed = a, .b_transposed = b});
}

TEST_CASE("products with the left operand in registers are exact") {
  check_right({.b_transposed = true, .a_in_registers = true});
  check_right({.b_transposed = false, .a_in_registers = true});
}

TEST_CASE("one warp group, f16, narrow and widest products, several tiles of rows") {
  check_right({.groups = 1, .rows = 130, .columns = 8, .depth = 64, .type = DType::f16});
  check_right({.b_transposed = false, .groups = 1, .rows = 64, .columns = 256, .depth = 72, .type = DType::f16});
  check_right({.groups = 1, .rows = 64, .columns = 256, .depth = 200});
}

TEST_CASE("a tile that is not waited for shows") {
  CHECK(right_ones(with({}, "/* wait for the tile */", "if (false)")) == 0);
}

TEST_CASE("a tile that is released before the product has read it shows") {
  CHECK(right_ones(with({.depth = 300}, "/* release early */", "if (lane == 0) quern_mbarrier_arrive(empty + 8 * s); if (false)")) < 3);
  std::string text = GroupProductCase{.depth = 300}.text();
  const std::string late = "/* release */ if (lane == 0)", early = "/* release early */";
  text.replace(text.find(late), late.size(), "if (false)");
  text.replace(text.find(early), early.size(), "if (lane == 0) quern_mbarrier_arrive(empty + 8 * s);");
  int right = 0;
  for (const Order order : kOrders) right += run({.depth = 300}, text, order).right;
  CHECK(right < 3);
}

TEST_CASE("a wait for a phase that never ends is told, with who waits where") {
  for (const Outcome& out : with({}, "turn ^ 1", "turn")) {
    CHECK(out.error.find("nobody can go on") != std::string::npos);
    CHECK(out.error.find("threads 0 wait at line") != std::string::npos);
    CHECK(out.error.find("for the phase of parity 0 of the barrier at byte") != std::string::npos);
    CHECK(out.error.find("0 of 8 threads have arrived") != std::string::npos);
  }
}

TEST_CASE("other bytes than announced are told") {
  const std::string expect = "quern_mbarrier_expect(full + 8 * s, EXPECTED)";
  CHECK(all_say(with({.depth = 64}, expect, "quern_mbarrier_expect(full + 8 * s, EXPECTED + 16)"), "16 bytes are to come"));
  CHECK(all_say(with({.depth = 64}, expect, "quern_mbarrier_expect(full + 8 * s, EXPECTED - 16)"), "16 bytes more than announced have come"));
  CHECK(right_ones(with({.depth = 64}, expect, "quern_mbarrier_expect(full + 8 * s, EXPECTED - 8192)")) == 0);
}

TEST_CASE("sums that are used before the wait show") {
  CHECK(all_say(with({.depth = 64}, "quern_wgmma_wait<0>();", ""), "products that it has not waited for"));
  CHECK(right_ones(with({.depth = 64}, "quern_wgmma_wait<0>();", "quern_wgmma_wait<1>();")) == 0);
  CHECK(all_say(with({}, "quern_wgmma_commit();", "d[0][0] += 1.0f; quern_wgmma_commit();"), "were written while it was under way"));
}

TEST_CASE("wrong operands are told") {
  CHECK(all_say(with({}, "const unsigned a = base + s * stage_bytes + g * 8192", "const unsigned a = base + s * stage_bytes + g * 8192 + 128"),
                "not in the first row of a swizzle pattern"));
  CHECK(all_say(with({.b_transposed = false}, "b + 2, 1)", "b + 7, 1)"), "has no 16 elements left"));
  CHECK(all_say(with({}, "(d, a + 2,", "(d, a + 2 + (threadIdx.x / 32 % 4 == 2),"), "the warps of a group differ"));
  CHECK(all_say(with({}, "(d, a + 2,", "(d, a + 2 + 2 * (threadIdx.x % 32 / 16),"), "different operands"));
  CHECK(all_say(with({}, "quern_tensor_load(b + i * 8192", "quern_tensor_load(b + i * 8192 + 16"), "not aligned to 128 bytes"));
  CHECK(all_say(with({}, "quern_mbarrier_init(empty + 8 * s, 4 * GROUPS);", ""), "has not been initialised"));
}
