// What a wrong call gets: a status, a message with names and numbers, and nothing written.
#include <limits>
#include <vector>

#include "kernels.h"
#include "tests/catch.h"

namespace {

void refused(quern_status status, quern_status wanted, const std::string& message) {
  CHECK(std::string(quern_aot_status_name(status)) == quern_aot_status_name(wanted));
  CHECK(std::string(quern_aot_message()) == message);
}

constexpr std::int64_t kHuge = std::int64_t{1} << 40;

}  // namespace

TEST_CASE("refused calls") {
  std::vector<float> q(4 * 16, 1), k(3 * 16, 1), o(4 * 16, 7);
  const std::vector<float> before = o;
  const auto attention = [&](std::int64_t d, std::int64_t m, std::int64_t n, const float* qp, const std::int64_t* qs, float* op, const std::int64_t* os, const char* target = nullptr) {
    quern_call call{};
    call.target = target;
    return a_attention(d, m, n, qp, qs, k.data(), nullptr, k.data(), nullptr, nullptr, op, os, &call);
  };
  SECTION("a value it was not compiled for") {
    refused(attention(32, 4, 3, q.data(), nullptr, o.data(), nullptr), QUERN_NOT_PREPARED, "error: kernel 'attention' was not compiled for D = 32; it was for: D = 16; D = 64");
  }
  SECTION("a negative size") { refused(attention(16, -4, 3, q.data(), nullptr, o.data(), nullptr), QUERN_SHAPE_MISMATCH, "error: the size 'M' is -4"); }
  SECTION("null pointers") {
    refused(attention(16, 4, 3, nullptr, nullptr, o.data(), nullptr), QUERN_INVALID_ARGUMENT, "error: the data pointer of 'q' is null");
    refused(attention(16, 4, 3, q.data(), nullptr, nullptr, nullptr), QUERN_INVALID_ARGUMENT, "error: the data pointer of 'o' is null");
  }
  SECTION("an output over itself") {
    const std::int64_t strides[2] = {0, 1};
    refused(attention(16, 4, 3, q.data(), nullptr, o.data(), strides), QUERN_OVERLAP,
            "error: the strides of 'o' make two of its elements share memory; an output needs memory of its own for each");
  }
  SECTION("an output over an input") {
    refused(attention(16, 3, 3, q.data(), nullptr, q.data() + 16, nullptr), QUERN_OVERLAP, "error: 'o' shares memory with 'q' without being the same view; copy one of them");
    refused(attention(16, 3, 3, q.data(), nullptr, k.data(), nullptr), QUERN_OVERLAP,
            "error: 'o' is the same memory as 'k', which is not safe: elements of 'k' are read after others have been written in their place");
  }
  SECTION("beyond 64 bits") {
    refused(attention(16, kHuge << 18, 3, q.data(), nullptr, o.data(), nullptr), QUERN_OVERFLOW,
            "error: 'q' of shape [288230376151711744,16] with strides [16,1] reaches beyond 2^63 - 1 bytes");
    const std::int64_t strides[2] = {std::numeric_limits<std::int64_t>::max() / 2, 1};
    CHECK(attention(16, 4, 3, q.data(), strides, o.data(), nullptr) == QUERN_OVERFLOW);
  }
  SECTION("targets") {
    refused(attention(16, 4, 3, q.data(), nullptr, o.data(), nullptr, "haswell"), QUERN_INVALID_ARGUMENT,
            "error: no target 'haswell'; there are x86-64-v2, x86-64-v3 and x86-64-v4");
  }
  CHECK(o == before);
}

TEST_CASE("conditions and data") {
  const std::vector<float> x{1, 2};
  std::vector<float> o(9);
  refused(a_band(3, 0, 2, x.data(), nullptr, o.data(), nullptr, nullptr), QUERN_SHAPE_MISMATCH,
          "error: kernel 'band' requires W <= N\n  note: W = 3, fixed when compiling\n  note: N = 2, from axis 0 of 'x'");
  const std::int32_t ids[] = {1, 7};
  const float table[] = {1, 2, 3, 4};
  refused(a_gather(2, 2, 2, table, nullptr, ids, nullptr, o.data(), nullptr, nullptr), QUERN_DATA, "error: ids[1] = 7 is outside axis 0 of 'x', which has 2 entries");
  const std::int32_t doc[] = {0, 2, 1};
  const float values[] = {1, 2, 3};
  refused(a_segments(3, doc, nullptr, values, nullptr, o.data(), nullptr, nullptr), QUERN_DATA, "error: 'doc' is declared nondecreasing, but 1 at position 2 follows 2");
}

TEST_CASE("a message stays until the next failure and belongs to its thread") {
  float sum = 0;
  const float x[] = {1};
  CHECK(a_total(-1, x, nullptr, &sum, nullptr) == QUERN_SHAPE_MISMATCH);
  CHECK(a_total(1, x, nullptr, &sum, nullptr) == QUERN_OK);
  CHECK(std::string(quern_aot_message()) == "error: the size 'N' is -1");
}
