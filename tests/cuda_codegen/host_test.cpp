// What the printed texts mean, compiled for the host: every operator on every type, every cast, atomics, literals.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tests/catch.h"
#include "tests/cuda_codegen/host/functions.h"
#include "tests/cuda_codegen/judge.h"

using namespace quern;
using namespace quern::cuda::test;

TEST_CASE("texts mean what the interpreter means") {
  REQUIRE(host_function_count == cases().size());
  for (std::size_t k = 0; k < host_function_count; ++k) {
    const Case& c = cases()[k];
    REQUIRE(host_functions[k].name == c.name);
    const Inputs in = inputs_of(c);
    std::vector<std::uint8_t> out(static_cast<std::size_t>(in.count) * size_of(c.to));
    host_functions[k].run(in.stored[0].data(), in.stored[1].data(), in.stored[2].data(), out.data(), in.count);
    const Verdict v = judge(c, in, out);
    INFO(v.wrong << " of " << in.count << ": " << v.first);
    CHECK(v.wrong == 0);
    if (std::getenv("QUERN_PRINT_ULP")) std::printf("%-24s %8.3f\n", c.name.c_str(), v.worst);
  }
}

TEST_CASE("constants are read back bit for bit") {
  REQUIRE(host_literal_count > 0);
  for (std::size_t k = 0; k < host_literal_count; ++k) {
    INFO(k);
    CHECK(host_literals[k].got == host_literals[k].wanted);
  }
}

TEST_CASE("an atomic update changes its element and nothing beside it") {
  REQUIRE(host_atomic_count == 3 * static_cast<std::size_t>(kDTypeCount));
  for (std::size_t k = 0; k < host_atomic_count; ++k) {
    const DType type = static_cast<DType>(k / 3);
    const std::size_t size = size_of(type);
    std::vector<double> values = {0, 1, 3};
    if (type == DType::boolean) values = {0, 1};
    if (is_float(type) || is_integer(type)) values.push_back(120);
    if (is_float(type)) values.insert(values.end(), {-2.5, NAN, INFINITY});
    if (is_integer(type) && type != DType::u8) values.push_back(-128);
    for (std::size_t place = 0; place < 16 / size; ++place) {
      for (double old : values) {
        for (double more : values) {
          alignas(16) std::uint8_t memory[24], before[24];
          std::memset(memory, 0xA5, sizeof memory);
          std::uint64_t operand = 0, want = 0;
          store_from_f64(type, memory + place * size, old);
          store_from_f64(type, &operand, more);
          std::memcpy(before, memory, sizeof memory);
          const double a = load_as_f64(type, memory + place * size), b = load_as_f64(type, &operand);
          const bool nan = std::isnan(a) || std::isnan(b);
          const double result = k % 3 == 0 ? a + b : nan ? NAN : k % 3 == 1 ? std::fmax(a, b) : std::fmin(a, b);
          if (is_float(type)) store_from_f64(type, &want, result);
          else store_from_i64(type, &want, static_cast<std::int64_t>(result));
          host_atomics[k].run(memory + place * size, &operand);
          INFO(host_atomics[k].name << " at " << place << ": " << a << " with " << b << " gave " << load_as_f64(type, memory + place * size));
          if (is_float(type) && std::isnan(load_as_f64(type, &want))) CHECK(std::isnan(load_as_f64(type, memory + place * size)));
          else CHECK(std::memcmp(memory + place * size, &want, size) == 0);
          std::memcpy(memory + place * size, before + place * size, size);
          CHECK(std::memcmp(memory, before, sizeof memory) == 0);
        }
      }
    }
  }
}
