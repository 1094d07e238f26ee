// Tensor-core products and fragments against plain loops, asynchronous copies that are late until waited for.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>

#include "compiler/codegen/cuda/prelude_tensor.h"
#include "dsl/ir/dtype.h"
#include "tests/catch.h"
#include "tests/cuda_emulator/emulated.h"

using namespace quern::emulator;
using quern::DType;
using quern_test::kOrders;
using quern_test::run_text;

namespace {

std::string text_of(const std::string& body) {
  return quern::cuda::tensor_prelude() +
         "struct P { const unsigned short* a; const unsigned short* b; float* y; };\n"
         "extern \"C\" __global__ void kernel(P p) {\n  const int t = threadIdx.x;\n" + body + "}\n";
}

/// Random numbers of a 16-bit type.
std::vector<std::uint16_t> halves(DType type, std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::vector<std::uint16_t> out(count);
  for (std::uint16_t& x : out) quern::store_from_f64(type, &x, normal(random));
  return out;
}

}  // namespace

// a is 16 x 32 and b 32 x 8, row-major, copied to shared memory as they are: a by ldmatrix, b by its transposing form.
TEST_CASE("a product from shared memory is the plain product") {
  for (const auto& [type, mma] : {std::pair{DType::bf16, "quern_mma_bf16"}, {DType::f16, "quern_mma_f16"}}) {
    const std::string text = text_of(std::string(R"(
  __shared__ __align__(16) unsigned short a[16 * 32], b[32 * 8];
  for (int i = t; i < 16 * 32; i += 32) a[i] = p.a[i];
  for (int i = t; i < 32 * 8; i += 32) b[i] = p.b[i];
  __syncthreads();
  float d[4] = {0, 0, 0, 0};
  for (int k = 0; k < 32; k += 16) {
    unsigned fa[4], fb[2];
    quern_ldmatrix_x4(fa, quern_shared_address(a + (t % 16) * 32 + k + t / 16 * 8));
    quern_ldmatrix_x2_trans(fb, quern_shared_address(b + (k + t % 16) * 8));
    )") + mma + R"((d, fa, fb);
  }
  for (int i = 0; i < 4; ++i) p.y[(t / 4 + i / 2 * 8) * 8 + t % 4 * 2 + i % 2] = d[i];
)");
    for (const Order order : kOrders) {
      auto a = halves(type, 16 * 32, 1), b = halves(type, 32 * 8, 2);
      std::vector<float> y(128, NAN);
      REQUIRE(run_text(text, {1, 32, 0}, {order}, a.data(), b.data(), y.data()) == "");
      for (std::size_t row = 0; row < 16; ++row)
        for (std::size_t column = 0; column < 8; ++column) {
          double sum = 0, size = 0;
          for (std::size_t k = 0; k < 32; ++k) {
            const double term = quern::load_as_f64(type, &a[row * 32 + k]) * quern::load_as_f64(type, &b[k * 8 + column]);
            sum += term;
            size += std::fabs(term);
          }
          CHECK(std::fabs(static_cast<double>(y[row * 8 + column]) - sum) <= size * 0x1p-22);
        }
    }
  }
}

// b stands transposed in memory (n x k), as keys do: the plain form of ldmatrix, four 8 x 8 matrices at once.
TEST_CASE("the plain form of ldmatrix gives b from its transpose") {
  const std::string text = text_of(R"(
  extern __shared__ __align__(128) unsigned short tile[];
  unsigned short *a = tile, *b = tile + 16 * 32;
  for (int i = t; i < 16 * 32; i += 32) a[i] = p.a[i];
  for (int i = t; i < 8 * 32; i += 32) b[i] = p.b[i];
  __syncthreads();
  float d[4] = {0, 0, 0, 0};
  unsigned fb[4];
  quern_ldmatrix_x4(fb, quern_shared_address(b + t % 8 * 32 + t / 8 * 8));
  for (int k = 0; k < 2; ++k) {
    unsigned fa[4];
    const unsigned half[2] = {fb[2 * k], fb[2 * k + 1]};
    quern_ldmatrix_x2(reinterpret_cast<unsigned (&)[2]>(fa[0]), quern_shared_address(a + t % 16 * 32 + k * 16));
    quern_ldmatrix_x2(reinterpret_cast<unsigned (&)[2]>(fa[2]), quern_shared_address(a + t % 16 * 32 + k * 16 + 8));
    quern_mma_bf16(d, fa, half);
  }
  for (int i = 0; i < 4; ++i) p.y[(t / 4 + i / 2 * 8) * 8 + t % 4 * 2 + i % 2] = d[i];
)");
  auto a = halves(DType::bf16, 16 * 32, 3), b = halves(DType::bf16, 8 * 32, 4);
  std::vector<float> y(128, NAN);
  REQUIRE(run_text(text, {1, 32, (16 + 8) * 32 * 2}, {}, a.data(), b.data(), y.data()) == "");
  for (std::size_t row = 0; row < 16; ++row)
    for (std::size_t column = 0; column < 8; ++column) {
      double sum = 0, size = 0;
      for (std::size_t k = 0; k < 32; ++k) {
        const double term = quern::load_as_f64(DType::bf16, &a[row * 32 + k]) * quern::load_as_f64(DType::bf16, &b[column * 32 + k]);
        sum += term;
        size += std::fabs(term);
      }
      CHECK(std::fabs(static_cast<double>(y[row * 8 + column]) - sum) <= size * 0x1p-22);
    }
}

TEST_CASE("tf32 products read 19 bits, and the accumulator of one product is the operand of the next") {
  const std::string text = quern::cuda::tensor_prelude() + R"(
struct P { const float* a; const float* b; float* y; };
extern "C" __global__ void kernel(P p) {
  const int t = threadIdx.x, g = t / 4, q = t % 4;
  float d[4] = {1, 1, 1, 1};
  const unsigned a[4] = {quern_tf32_bits(p.a[g * 8 + q]), quern_tf32_bits(p.a[(g + 8) * 8 + q]), quern_tf32_bits(p.a[g * 8 + q + 4]), quern_tf32_bits(p.a[(g + 8) * 8 + q + 4])};
  const unsigned b[2] = {quern_tf32_bits(p.b[q * 8 + g]), quern_tf32_bits(p.b[(q + 4) * 8 + g])};
  quern_mma_tf32(d, a, b);
  p.y[g * 8 + 2 * q] = d[0];
  p.y[g * 8 + 2 * q + 1] = d[1];
  p.y[(g + 8) * 8 + 2 * q] = d[2];
  p.y[(g + 8) * 8 + 2 * q + 1] = d[3];
}
)";
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  std::vector<float> a(128), b(64), y(128, NAN);
  for (float& x : a) x = normal(random);
  for (float& x : b) x = normal(random);
  REQUIRE(run_text(text, {1, 32, 0}, {}, a.data(), b.data(), y.data()) == "");
  double largest = 0;
  for (std::size_t row = 0; row < 16; ++row)
    for (std::size_t column = 0; column < 8; ++column) {
      double sum = 1, size = 1;
      for (std::size_t k = 0; k < 8; ++k) {
        sum += static_cast<double>(a[row * 8 + k]) * static_cast<double>(b[k * 8 + column]);
        size += std::fabs(static_cast<double>(a[row * 8 + k]) * static_cast<double>(b[k * 8 + column]));
      }
      const double error = std::fabs(static_cast<double>(y[row * 8 + column]) - sum);
      CHECK(error <= size * 0x1p-10);
      largest = std::max(largest, error / size);
    }
  CHECK(largest > 0x1p-20);  // the operands were rounded
}

TEST_CASE("an asynchronous copy has arrived when it was waited for, and not before") {
  const auto text = [](const std::string& wait) {
    return quern::cuda::tensor_prelude() + R"(
struct P { const float* x; float* y; };
extern "C" __global__ void kernel(P p) {
  extern __shared__ __align__(16) float tile[];
  const int t = threadIdx.x;
  quern_cp_async_16(quern_shared_address(tile + 4 * t), p.x + 4 * t, 16);
  quern_cp_async_commit();
  quern_cp_async_16(quern_shared_address(tile + 128 + 4 * t), p.x + 128 + 4 * t, t < 31 ? 16 : 4);
  quern_cp_async_commit();
)" + wait + R"(
  for (int i = t; i < 256; i += 32) p.y[i] = tile[i];
}
)";
  };
  std::vector<float> x(256);
  for (std::size_t i = 0; i < 256; ++i) x[i] = static_cast<float>(i + 1);
  const auto right = [&](const std::string& wait, Order order) {
    alignas(16) float in[256], out[256];
    std::copy(x.begin(), x.end(), in);
    REQUIRE(run_text(text(wait), {1, 32, 1024}, {order}, in, out) == "");
    int count = 0;
    for (std::size_t i = 0; i < 256; ++i) count += out[i] == (i < 253 ? x[i] : 0.0f);
    return count;
  };
  for (const Order order : kOrders) {
    CHECK(right("  quern_cp_async_wait<0>();\n  __syncthreads();", order) == 256);
    CHECK(right("  quern_cp_async_wait<1>();\n  __syncthreads();", order) == 128);
    CHECK(right("  __syncthreads();", order) == 0);
  }
  CHECK(right("  quern_cp_async_wait<0>();", Order::ascending) < 256);
}

TEST_CASE("a missing lane, a wild or crooked address of the tensor functions are told") {
  const auto error_of = [](const std::string& body) {
    const std::string text = text_of(body);
    std::vector<std::uint16_t> a(64), b(64);
    std::vector<float> y(64);
    return run_text(text, {1, 32, 1024}, {}, a.data(), b.data(), y.data());
  };
  const auto has = [](const std::string& message, const std::string& part) {
    UNSCOPED_INFO(message);
    return message.find(part) != std::string::npos;
  };
  CHECK(has(error_of("  float d[4] = {}; const unsigned a[4] = {}, b[2] = {};\n  if (t < 31) quern_mma_f16(d, a, b);"), "for the lanes 0xffffffff"));
  CHECK(has(error_of("  extern __shared__ __align__(16) unsigned short s[];\n  unsigned r[4]; quern_ldmatrix_x4(r, quern_shared_address(s + t));"), "not aligned"));
  CHECK(has(error_of("  extern __shared__ __align__(16) unsigned short s[];\n  unsigned r[4]; quern_ldmatrix_x4(r, quern_shared_address(s) + 32 * t + 32);"), "outside of shared memory"));
  CHECK(has(error_of("  unsigned r[4]; quern_ldmatrix_x4(r, quern_shared_address(p.a));"), "not in shared memory"));
}
