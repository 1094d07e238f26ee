// What stands behind name= on the command line, and the data made from it.
#include <cmath>
#include <set>

#include "tests/catch.h"
#include "tools/command/exit_code.h"
#include "tools/command/fill.h"
#include "tools/command/spec.h"

using namespace quern;
using namespace quern::command;

namespace {

std::string error_of(std::string_view text) {
  try {
    parse_spec(text);
  } catch (const Failure& failure) {
    CHECK(failure.code == ExitCode::usage);
    return failure.what();
  }
  return "(no error)";
}

}  // namespace

TEST_CASE("specs are read") {
  const auto random = std::get<FillSpec>(parse_spec("random:[1,8,128,64]:7"));
  CHECK(random.filling == Filling::random);
  CHECK(*random.shape == npy::Shape{1, 8, 128, 64});
  CHECK(*random.seed == 7);
  CHECK(std::get<FillSpec>(parse_spec("zeros:[]")).shape->empty());
  CHECK(!std::get<FillSpec>(parse_spec("iota")).shape);
  CHECK(*std::get<FillSpec>(parse_spec("random:3")).seed == 3);
  CHECK(std::get<FileSpec>(parse_spec("a/b c.npy")).path == "a/b c.npy");
  CHECK(*std::get<NumberSpec>(parse_spec("-12")).integer == -12);
  CHECK(std::get<NumberSpec>(parse_spec("1e-5")).real == 1e-5);
  CHECK(!std::get<NumberSpec>(parse_spec("0.5")).integer);
  CHECK(std::isinf(std::get<NumberSpec>(parse_spec("-inf")).real));
  CHECK(std::get<NumberSpec>(parse_spec("true")).real == 1);
}

TEST_CASE("wrong specs are explained") {
  CHECK(error_of("random:[1,2") == "'random:[1,2': the shape is written in brackets, as in random:[2,3]");
  CHECK(error_of("random:[1,]") == "'random:[1,]': an extent is missing behind the last comma");
  CHECK(error_of("random:[1,-2]") == "'random:[1,-2]': '-2' is not an extent");
  CHECK(error_of("random:[9223372036854775808]") == "'random:[9223372036854775808]': '9223372036854775808' is not an extent");
  CHECK(error_of("random:[1]x") == "'random:[1]x': unexpected 'x' behind the shape");
  CHECK(error_of("zeros:[1]:3") == "'zeros:[1]:3': only random takes a seed");
  CHECK(error_of("randm:[1]") == "'randm:[1]' is not data (did you mean 'random'?); known are FILE.npy, random:[2,3], "
                                 "random:[2,3]:SEED, zeros:[2,3], iota:[2,3] and numbers");
  CHECK(error_of("") != "(no error)");
  CHECK(error_of("0x10") != "(no error)");
  CHECK(error_of("1.5f") != "(no error)");
}

TEST_CASE("random data is normal, repeatable and keeps declared facts") {
  const npy::Array a = filled(Filling::random, DType::f64, {20000}, {}, 1, "x");
  double sum = 0, squares = 0;
  for (std::int64_t i = 0; i < a.size(); ++i) {
    const double value = load_as_f64(DType::f64, a.at(i));
    sum += value;
    squares += value * value;
  }
  CHECK(std::fabs(sum / 20000) < 0.03);
  CHECK(std::fabs(squares / 20000 - 1) < 0.05);
  CHECK(a.data == filled(Filling::random, DType::f64, {20000}, {}, 1, "x").data);
  CHECK(a.data != filled(Filling::random, DType::f64, {20000}, {}, 2, "x").data);

  Facts facts;
  facts.range.emplace(5, 8);
  std::set<std::int64_t> seen;
  const npy::Array ids = filled(Filling::random, DType::i32, {200}, facts, 3, "ids");
  for (std::int64_t i = 0; i < ids.size(); ++i) seen.insert(load_as_i64(DType::i32, ids.at(i)));
  CHECK(seen == std::set<std::int64_t>{5, 6, 7});
  for (Filling filling : {Filling::zeros, Filling::iota}) {
    const npy::Array other = filled(filling, DType::i32, {10}, facts, 0, "ids");
    for (std::int64_t i = 0; i < other.size(); ++i) {
      const std::int64_t value = load_as_i64(DType::i32, other.at(i));
      CHECK((value >= 5 && value < 8));
    }
  }

  facts.nondecreasing = true;
  const npy::Array sorted = filled(Filling::random, DType::i64, {3, 50}, facts, 4, "doc");
  for (std::int64_t row = 0; row < 3; ++row) {
    for (std::int64_t i = 1; i < 50; ++i) {
      CHECK(load_as_i64(DType::i64, sorted.at(row * 50 + i - 1)) <= load_as_i64(DType::i64, sorted.at(row * 50 + i)));
    }
  }
  facts.range.emplace(3, 3);
  CHECK_THROWS_WITH(filled(Filling::random, DType::i32, {2}, facts, 0, "parameter 'ids'"),
                    "parameter 'ids' is declared in 3:3, which has no values, but has the shape [2]");
  CHECK(filled(Filling::random, DType::i32, {0}, facts, 0, "ids").size() == 0);
}
