// Barriers, shuffles and votes give what CUDA gives; what CUDA leaves undefined is reported; a race shows in some order.
#include <numeric>

#include "tests/catch.h"
#include "tests/cuda_emulator/emulated.h"

using namespace quern::emulator;
using quern_test::kOrders;
using quern_test::run_text;

namespace {

/// Sum of a block through shared memory; `barrier` stands where the partial sums have been written.
std::string block_sum(const std::string& barrier) {
  return R"(
struct P { float* x; float* y; };
extern "C" __global__ void __launch_bounds__(128) kernel(const __grid_constant__ P p) {
  __shared__ float partial[4];
  float s = p.x[blockIdx.x * 128 + threadIdx.x];
  for (int d = 16; d > 0; d >>= 1) s += __shfl_xor_sync(0xffffffffu, s, d);
  if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = s;
  )" + barrier + R"(
  p.y[blockIdx.x * 128 + threadIdx.x] = partial[0] + partial[1] + partial[2] + partial[3];
}
)";
}

/// In how many orders the block sum comes out right.
int orders_right(const std::string& text) {
  int right = 0;
  for (const Order order : kOrders) {
    std::vector<float> x(256), y(256, -1);
    std::iota(x.begin(), x.end(), 0.0f);
    REQUIRE(run_text(text, {2, 128, 0}, {order}, x.data(), y.data()) == "");
    bool all = true;
    for (std::size_t i = 0; i < 256; ++i) all &= y[i] == (i < 128 ? 8128.0f : 24512.0f);
    right += all;
  }
  return right;
}

/// Runs a body with an int array of 64 elements for one block and returns the error.
std::string error_of(const std::string& body, int threads = 64, std::size_t shared = 0, Order order = Order::ascending) {
  std::vector<int> y(64);
  return run_text("struct P { int* y; };\nextern \"C\" __global__ void kernel(P p) {\n  const int t = threadIdx.x;\n" + body + "\n}\n", {1, threads, shared},
                  {order}, y.data());
}

bool says(const std::string& message, const std::string& part) {
  if (message.find(part) != std::string::npos) return true;
  UNSCOPED_INFO("the message is: " << message);
  return false;
}

}  // namespace

TEST_CASE("a sum of a block is right in every order, and a missing barrier shows") {
  CHECK(orders_right(block_sum("__syncthreads();")) == 3);
  CHECK(orders_right(block_sum("")) < 3);
  CHECK(orders_right(block_sum("__syncwarp();")) < 3);
}

TEST_CASE("a barrier missing between two rounds shows") {
  const auto text = [](const std::string& second) {
    return R"(
struct P { float* x; float* y; };
extern "C" __global__ void kernel(P p) {
  __shared__ float tile[64];
  const int t = threadIdx.x;
  float s = 0.0f;
  for (int round = 0; round < 4; ++round) {
    tile[t] = p.x[round * 64 + t];
    __syncthreads();
    s += tile[63 - t];
    )" + second + R"(
  }
  p.y[t] = s;
}
)";
  };
  for (const auto& [second, wanted] : {std::pair{"__syncthreads();", true}, {"", false}}) {
    int right = 0;
    for (const Order order : kOrders) {
      std::vector<float> x(256), y(64, -1);
      std::iota(x.begin(), x.end(), 0.0f);
      REQUIRE(run_text(text(second), {1, 64, 0}, {order}, x.data(), y.data()) == "");
      bool all = true;
      for (std::size_t t = 0; t < 64; ++t) all &= y[t] == 4 * (63.0f - static_cast<float>(t)) + 64 * 6;
      right += all;
    }
    CHECK((right == 3) == wanted);
  }
}

TEST_CASE("shuffles take from the lanes that CUDA names") {
  const std::string text = R"(
struct P { int* y; };
extern "C" __global__ void kernel(P p) {
  const int t = threadIdx.x, v = 100 + t;
  int* y = p.y + t * 12;
  y[0] = __shfl_sync(0xffffffffu, v, 5);
  y[1] = __shfl_sync(0xffffffffu, v, 35);
  y[2] = __shfl_sync(0xffffffffu, v, 9, 8);
  y[3] = __shfl_up_sync(0xffffffffu, v, 3);
  y[4] = __shfl_up_sync(0xffffffffu, v, 3, 8);
  y[5] = __shfl_down_sync(0xffffffffu, v, 3);
  y[6] = __shfl_down_sync(0xffffffffu, v, 3, 8);
  y[7] = __shfl_xor_sync(0xffffffffu, v, 17);
  y[8] = __shfl_xor_sync(0xffffffffu, v, 12, 8);
  y[9] = (int)__ballot_sync(0xffffffffu, t % 3 == 0);
  y[10] = t < 16 ? __shfl_xor_sync(0x0000ffffu, v, 1) : __shfl_xor_sync(0xffff0000u, v, 2);
  y[11] = __any_sync(0xffffffffu, t == 7) * 4 + __all_sync(0xffffffffu, t < 32) * 2 + __all_sync(0xffffffffu, t < 31);
}
)";
  for (const Order order : kOrders) {
    std::vector<int> y(32 * 12);
    REQUIRE(run_text(text, {1, 32, 0}, {order}, y.data()) == "");
    unsigned thirds = 0;
    for (unsigned i = 0; i < 32; i += 3) thirds |= 1u << i;
    for (int t = 0; t < 32; ++t) {
      const int* at = &y[static_cast<std::size_t>(t) * 12];
      CHECK(at[0] == 105);
      CHECK(at[1] == 103);
      CHECK(at[2] == 100 + t / 8 * 8 + 1);
      CHECK(at[3] == 100 + (t < 3 ? t : t - 3));
      CHECK(at[4] == 100 + (t % 8 < 3 ? t : t - 3));
      CHECK(at[5] == 100 + (t > 28 ? t : t + 3));
      CHECK(at[6] == 100 + (t % 8 > 4 ? t : t + 3));
      CHECK(at[7] == 100 + (t ^ 17));
      CHECK(at[8] == 100 + ((t ^ 12) > t / 8 * 8 + 7 ? t : t ^ 12));
      CHECK(static_cast<unsigned>(at[9]) == thirds);
      CHECK(at[10] == 100 + (t ^ (t < 16 ? 1 : 2)));
      CHECK(at[11] == 6);
    }
  }
}

TEST_CASE("reductions of a warp, matches and counting barriers") {
  const std::string text = R"(
struct P { int* y; };
extern "C" __global__ void kernel(P p) {
  const int t = threadIdx.x;
  const unsigned half = t % 32 < 16 ? 0x0000ffffu : 0xffff0000u;
  int* y = p.y + t * 6;
  y[0] = __reduce_add_sync(half, t);
  y[1] = __reduce_max_sync(half, -t);
  y[2] = (int)__reduce_or_sync(0xffffffffu, 1u << (t % 4));
  y[3] = (int)__match_any_sync(0xffffffffu, t % 8);
  y[4] = __syncthreads_count(t % 5 == 0);
  y[5] = __syncthreads_or(t == 63) * 2 + __syncthreads_and(t < 63);
}
)";
  std::vector<int> y(64 * 6);
  REQUIRE(run_text(text, {1, 64, 0}, {}, y.data()) == "");
  for (int t = 0; t < 64; ++t) {
    const int* at = &y[static_cast<std::size_t>(t) * 6];
    const int first = t / 16 * 16;
    CHECK(at[0] == 16 * first + 120);
    CHECK(at[1] == -first);
    CHECK(at[2] == 15);
    CHECK(static_cast<unsigned>(at[3]) == 0x01010101u << (t % 8));
    CHECK(at[4] == 13);
    CHECK(at[5] == 2);
  }
}

TEST_CASE("named barriers order a producer and a consumer") {
  const auto text = [](const std::string& wait) {
    return R"(
struct P { int* y; };
extern "C" __global__ void kernel(P p) {
  __shared__ int box[32];
  const int t = threadIdx.x;
  if (t < 32) {
    box[t] = t * t;
    quern_barrier_arrive(1, 64);
  } else {
    )" + wait + R"(
    p.y[t - 32] = box[63 - t];
  }
}
)";
  };
  int right = 0;
  for (const Order order : kOrders) {
    std::vector<int> y(64, -1);
    REQUIRE(run_text(text("quern_barrier_sync(1, 64);"), {1, 64, 0}, {order}, y.data()) == "");
    for (int t = 0; t < 32; ++t) right += y[static_cast<std::size_t>(t)] == (31 - t) * (31 - t);
  }
  CHECK(right == 96);
  CHECK(says(error_of("if (t < 32) quern_barrier_arrive(1, 64);"), "it ends with 32 of 64 threads arrived at barrier 1"));
}

TEST_CASE("who does not come to a barrier is told") {
  CHECK(says(error_of("  if (t >= 32) return;\n  __syncthreads();"), "threads 32-63 have ended"));
  CHECK(says(error_of("  if (t >= 32) return;\n  __syncthreads();"), "threads 0-31 wait at line 5 (__syncthreads, barrier 0)\n    __syncthreads();"));
  CHECK(says(error_of("  for (int i = 0; i <= t / 32; ++i)\n    __syncthreads();"), "threads 0-31 have ended"));
  CHECK(says(error_of("  if (t < 32)\n    __syncthreads();\n  else\n    __syncthreads();"), "others wait at line 5, where not all threads pass"));
  CHECK(says(error_of("  quern_barrier_sync(1, 128);"), "waits for 128 threads, the block has 64"));
}

TEST_CASE("a lane that is missing from a shuffle is told") {
  CHECK(says(error_of("  if (t % 2 == 0)\n    p.y[t] = __shfl_sync(0xffffffffu, t, 0);"), "for the lanes 0xffffffff"));
  CHECK(says(error_of("  p.y[t] = __shfl_sync(0x0000ffffu, t, 0);"), "the lane is not in its own mask 0xffff"));
  CHECK(says(error_of("  if (t < 16)\n    p.y[t] = __shfl_sync(0x0000ffffu, t, 20);"), "takes from lane 20, which is not in the mask"));
  CHECK(says(error_of("  p.y[t] = __shfl_sync(0xffffffffu, t, 0);", 48), "wait at line 4"));
  CHECK(says(error_of("  if (t < 32)\n    __syncwarp();\n  if (t < 16)\n    p.y[t] = __ballot_sync(0xffffffffu, 1);\n  else\n    __syncthreads();"), "nobody can go on"));
}

TEST_CASE("accesses outside of shared memory, arrays and alignment are told") {
  const std::string dynamic = "  extern __shared__ __align__(128) int tile[];\n";
  for (const Order order : {Order::ascending, Order::descending}) {
    CHECK(error_of(dynamic + "  tile[t] = t; __syncthreads(); p.y[t] = tile[63 - t];", 64, 256, order) == "");
    const std::string past = error_of(dynamic + "  tile[t + 1] = t;", 64, 256, order);
    CHECK((says(past, "writes dynamic shared memory at byte 256 of 256") || says(past, "wrote beside its 256 bytes")));
    const std::string before = error_of(dynamic + "  tile[t - 1] = t;", 64, 256, order);
    CHECK((says(before, "writes dynamic shared memory at byte -4 of 256") || says(before, "wrote beside its 256 bytes")));
  }
  CHECK(says(error_of(dynamic + "  p.y[t] = tile[64 + t];", 64, 256), "reads dynamic shared memory at byte 256"));
  CHECK(says(error_of("  __shared__ float tile[64];\n  tile[t + 1] = 0;"), "index 64 is outside of 'float"));
  CHECK(says(error_of("  int own[4]; for (int i = 0; i < 4; ++i) own[i] = i;\n  p.y[t] = own[t / 16 + 1];"), "line 5"));
  CHECK(says(error_of("  p.y[t] = ((const int4*)(p.y + 1))->x;"), "used as"));
  CHECK(says(error_of("  *(volatile int*)nullptr = t;"), "where it may not"));
  CHECK(says(error_of("  volatile char all[136 * 1024]; for (int i = 136 * 1024; i-- > 0;) all[i] = 1;"), "the stack of the thread is full"));
  CHECK(says(error_of("  p.y[t] = 100 / t;"), "an integer is divided by 0"));
  CHECK(says(error_of("  __trap();"), "line 4: __trap"));
}

TEST_CASE("shared memory is poison before every block") {
  const std::string text = R"(
struct P { int* y; };
extern "C" __global__ void kernel(P p) {
  __shared__ int fixed[32];
  extern __shared__ int tile[];
  const int t = threadIdx.x;
  p.y[blockIdx.x * 64 + t] = tile[t];
  p.y[blockIdx.x * 64 + 32 + t] = fixed[t];
  tile[t] = 1;
  fixed[t] = 1;
}
)";
  std::vector<int> y(128);
  REQUIRE(run_text(text, {2, 32, 128}, {Order::ascending, 1, 0x5a}, y.data()) == "");
  for (const int v : y) CHECK(v == 0x5a5a5a5a);
}

TEST_CASE("a text that does not compile says so with its line") {
  std::vector<int> y(1);
  std::string message;
  try {
    run_text("struct P { int* y; };\nextern \"C\" __global__ void kernel(P p) {\n  p.y[0] = nothing;\n}\n", {1, 32, 0}, {}, y.data());
  } catch (const std::runtime_error& e) {
    message = e.what();
  }
  CHECK(says(message, "kernel.cu:3"));
}
