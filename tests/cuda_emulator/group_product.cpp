// See group_product.h. A stage holds 64 of the depth: for each group 64 x 64 of a, and all columns of b.
#include "tests/cuda_emulator/group_product.h"

#include <random>

#include <fmt/format.h>

#include "compiler/codegen/cuda/prelude_hopper.h"
#include "compiler/codegen/cuda/prelude_tensor.h"

namespace quern_test {

namespace {

constexpr int kTile = 64 * 128;  // bytes

/// A matrix of these sides, the second one contiguous, with boxes of 64 elements of it.
quern::cuda::MapNumbers matrix_map(std::uint64_t address, int outer, int inner, int box_outer) {
  quern::cuda::MapNumbers m;
  m.address = address;
  m.rank = 2;
  m.extents[0] = static_cast<std::uint64_t>(inner);
  m.extents[1] = static_cast<std::uint64_t>(outer);
  m.strides[0] = static_cast<std::uint64_t>(padded(inner)) * 2;
  m.box[0] = 64;
  m.box[1] = static_cast<std::uint32_t>(box_outer);
  return m;
}

}  // namespace

std::size_t GroupProductCase::shared_bytes() const {
  const int b = b_transposed ? (columns + 63) / 64 * kTile : columns * 128;
  return static_cast<std::size_t>(2 * (groups * kTile + (b + 1023) / 1024 * 1024) + 64);
}

std::string GroupProductCase::text() const {
  const int pieces = (columns + 63) / 64, b_bytes = b_transposed ? pieces * kTile : columns * 128, b_room = (b_bytes + 1023) / 1024 * 1024;
  const char* name = type == quern::DType::bf16 ? "bf16" : "f16";
  const auto define = [](const char* what, auto value) { return fmt::format("#define {} {}\n", what, value); };
  // Four steps a tile of 64.
  quern::cuda::GroupProduct product{name, name, columns, 4, {}, {}};
  product.left = a_in_registers ? quern::cuda::GroupOperand{true, false, 0} : quern::cuda::GroupOperand{false, a_transposed, a_transposed ? 0 : 64};
  product.right = {false, b_transposed, b_transposed ? 0 : columns};
  std::string text = quern::cuda::tensor_prelude() + std::string(quern::cuda::hopper_prelude()) + quern::cuda::group_products({product});
  text += define("GROUPS", groups) + define("M", rows) + define("N", columns) + define("K", depth) + define("TA", int{a_transposed}) + define("TB", int{b_transposed}) +
          define("RS", int{a_in_registers}) + define("PIECES", b_transposed ? pieces : 0) + define("B_ROOM", b_room) + define("LDA", padded(a_transposed ? rows : depth)) +
          define("EXPECTED", (a_in_registers ? 0 : groups * kTile) + b_bytes) + fmt::format("#define PRODUCT {}\n", product.name());
  return text + R"(
struct Parameters { quern_map a, b; const unsigned short* at; float* y; };
extern "C" __global__ void __launch_bounds__(128 * (1 + GROUPS), 1) kernel(const __grid_constant__ Parameters p) {
  extern __shared__ __align__(1024) unsigned char tile[];
  constexpr int stage_bytes = GROUPS * 8192 + B_ROOM;
  const unsigned base = quern_shared_address(tile), full = base + 2 * stage_bytes, empty = full + 16;
  const int group = threadIdx.x / 128, warp = threadIdx.x / 32 % 4, lane = threadIdx.x % 32, first = blockIdx.x * 64 * GROUPS;
  if (threadIdx.x == 0) {
    for (int s = 0; s < 2; ++s) {
      quern_mbarrier_init(full + 8 * s, 1);
      quern_mbarrier_init(empty + 8 * s, 4 * GROUPS);
    }
    quern_mbarrier_init_fence();
  }
  __syncthreads();
  if (group == 0) {
    quern_fewer_registers<24>();
    if (warp == 0 && lane == 0)
      for (int k = 0; k < K; k += 64) {
        const int s = k / 64 % 2, turn = k / 128 % 2;
        const unsigned a = base + s * stage_bytes, b = a + GROUPS * 8192;
        quern_mbarrier_wait(empty + 8 * s, turn ^ 1);
        quern_mbarrier_expect(full + 8 * s, EXPECTED);
        if (!RS)
          for (int g = 0; g < GROUPS; ++g) {
            if (TA) quern_tensor_load(a + g * 8192, p.a, full + 8 * s, first + 64 * g, k);
            else quern_tensor_load(a + g * 8192, p.a, full + 8 * s, k, first + 64 * g);
          }
        if (!TB) quern_tensor_load(b, p.b, full + 8 * s, k, 0);
        for (int i = 0; i < PIECES; ++i) quern_tensor_load(b + i * 8192, p.b, full + 8 * s, 64 * i, k);
      }
  } else {
    quern_more_registers<240>();
    const int g = group - 1;
    float d[N / 8][4];
    for (int k = 0; k < K; k += 64) {
      const int s = k / 64 % 2, turn = k / 128 % 2;
      const unsigned a = base + s * stage_bytes + g * 8192, b = base + s * stage_bytes + GROUPS * 8192;
      /* wait for the tile */ quern_mbarrier_wait(full + 8 * s, turn);
      const unsigned long long of_a = quern_operand(a, 16), of_b = quern_operand(b, TB ? 8192 : 16);
#if RS
      unsigned own[4][4];
      for (int i = 0; i < 4; ++i)
        for (int r = 0; r < 4; ++r) {
          const int row = first + 64 * g + 16 * warp + lane / 4 + r % 2 * 8, column = k + 16 * i + lane % 4 * 2 + r / 2 * 8;
          own[i][r] = row >= M ? 0u : (column < K ? p.at[row * LDA + column] : 0u) | (column + 1 < K ? (unsigned)p.at[row * LDA + column + 1] << 16 : 0u);
        }
#endif
      quern_wgmma_fence();
#if RS
      PRODUCT(d, own, of_b, k > 0);
#else
      PRODUCT(d, of_a, of_b, k > 0);
#endif
      quern_wgmma_commit();
      /* release early */
      quern_wgmma_wait<0>();
      quern_wgmma_pin(d);
      /* release */ if (lane == 0) quern_mbarrier_arrive(empty + 8 * s);
    }
#pragma unroll
    for (int i = 0; i < N / 8; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int row = first + 64 * g + 16 * warp + lane / 4 + j / 2 * 8, column = 8 * i + lane % 4 * 2 + j % 2;
        if (row < M) p.y[row * N + column] = d[i][j];
      }
  }
}
)";
}

GroupProductData::GroupProductData(const GroupProductCase& c) : case_(c) {
  const int m = c.rows, n = c.columns, k = c.depth;
  std::mt19937 random(7);
  const auto index = [](int at, int stride, int rest) { return static_cast<std::size_t>(at * stride + rest); };
  std::vector<int> av(static_cast<std::size_t>(m * k)), bv(static_cast<std::size_t>(k * n));
  for (int& v : av) v = static_cast<int>(random() % 7) - 3;
  for (int& v : bv) v = static_cast<int>(random() % 7) - 3;
  const auto value = [&](int v) {
    std::uint16_t bits = 0;
    quern::store_from_f64(c.type, &bits, v);
    return bits;
  };
  // What pads a row is no number: nobody may read it.
  a.assign(index(c.a_transposed ? k : m, padded(c.a_transposed ? m : k), 0), 0xffff);
  b.assign(index(c.b_transposed ? k : n, padded(c.b_transposed ? n : k), 0), 0xffff);
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < k; ++j) a[c.a_transposed ? index(j, padded(m), i) : index(i, padded(k), j)] = value(av[index(i, k, j)]);
  for (int i = 0; i < k; ++i)
    for (int j = 0; j < n; ++j) b[c.b_transposed ? index(i, padded(n), j) : index(j, padded(k), i)] = value(bv[index(i, n, j)]);
  y.resize(index(m, n, 0));
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      int sum = 0;
      for (int l = 0; l < k; ++l) sum += av[index(i, k, l)] * bv[index(l, n, j)];
      y[index(i, n, j)] = static_cast<float>(sum);
    }
}

quern::cuda::MapNumbers GroupProductData::map_of_a(std::uint64_t address) const {
  return case_.a_transposed ? matrix_map(address, case_.depth, case_.rows, 64) : matrix_map(address, case_.rows, case_.depth, 64);
}

quern::cuda::MapNumbers GroupProductData::map_of_b(std::uint64_t address) const {
  return case_.b_transposed ? matrix_map(address, case_.depth, case_.columns, 64) : matrix_map(address, case_.columns, case_.depth, case_.columns);
}

}  // namespace quern_test
