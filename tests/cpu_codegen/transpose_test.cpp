// Copies whose lanes run across the rows: squares turned in registers, with tails on either side, both ways.
#include <cmath>

#include "tests/catch.h"
#include "tests/cpu_codegen/fixture.h"

using namespace quern;
using namespace quern::cpu;
using namespace quern::cpu::test;

TEST_CASE("transposed loads and stores") {
  for (const char* target : {"host", "avx2", "baseline"}) {
    for (DType type : {DType::f32, DType::f16, DType::f64, DType::i8}) {
      for (bool fixed : {true, false}) {
        for (int rows : {3, 16, 37}) {
          for (int columns : {5, 16, 40}) {
            for (bool read_across : {true, false}) {
              Bench t;
              t.options.target = target_named(target);
              const std::size_t size = size_of(type), count = static_cast<std::size_t>(rows * columns);
              std::vector<char> x(count * size), y((count + 64) * size, 77);
              for (std::size_t k = 0; k < count; ++k) store_from_i64(type, x.data() + k * size, static_cast<std::int64_t>(k * 37 % 101));
              Expr R = fixed ? t.n(rows) : t.symbol("R", rows), C = fixed ? t.n(columns) : t.symbol("C", columns);
              // Lanes run over r; r is the slow axis of x or of y.
              TensorId X = t.tensor(type, read_across ? std::vector{R, C} : std::vector{C, R}, Role::input, x.data());
              TensorId Y = t.tensor(type, read_across ? std::vector{C, R} : std::vector{R, C}, Role::output, y.data());
              IndexId r = t.index(t.n(0), R), c = t.index(t.n(0), C);
              const std::vector<Expr> rc = {t.ix(r), t.ix(c)}, cr = {t.ix(c), t.ix(r)};
              Nest nest;
              nest.dims = {{c, t.n(0), C, t.options.target.lanes(4), false}, {r, t.n(0), R, 1, true}};
              nest.updates = {store(Y, read_across ? cr : rc, t.read(X, read_across ? rc : cr))};
              t.add(nest);
              t.run();
              for (int i = 0; i < rows; ++i) {
                for (int j = 0; j < columns; ++j) {
                  const std::size_t across = static_cast<std::size_t>(i * columns + j), down = static_cast<std::size_t>(j * rows + i);
                  const char* from = x.data() + (read_across ? across : down) * size;
                  const char* to = y.data() + (read_across ? down : across) * size;
                  REQUIRE(std::memcmp(from, to, size) == 0);
                }
              }
              for (std::size_t k = count * size; k < y.size(); ++k) REQUIRE(y[k] == 77);
            }
          }
        }
      }
    }
  }
}

TEST_CASE("positions of the best: ties, infinities, NaN, streaming over blocks") {
  const float inf = INFINITY, nan = NAN;
  const std::vector<std::vector<float>> rows = {
      {-inf, -inf, -inf, -inf, -inf}, {1, 3, 3, 2, 3}, {nan, 1, nan, 2, 0}, {inf, inf, 1, nan, inf}, {2, 1, 1, 1, 5}, {inf, inf, inf, inf, inf}};
  for (const char* target : {"host", "avx2", "baseline"}) {
    for (bool lanes : {false, true}) {
      for (int block : {0, 2}) {
        for (bool most : {true, false}) {
          Bench t;
          t.options.target = target_named(target);
          std::vector<float> x;
          for (const auto& row : rows) x.insert(x.end(), row.begin(), row.end());
          std::vector<std::int32_t> at(rows.size(), 55);
          std::vector<float> best(rows.size(), 55);
          const std::int64_t R = static_cast<std::int64_t>(rows.size());
          TensorId X = t.tensor(DType::f32, {t.n(R), t.n(5)}, Role::input, x.data());
          TensorId P = t.tensor(DType::i32, {t.n(R)}, Role::output, at.data()), B = t.tensor(DType::f32, {t.n(R)}, Role::output, best.data());
          IndexId i = t.index(t.n(0), t.n(R)), j = t.index(t.n(0), t.n(5)), outer = t.index(t.n(0), t.n(5));
          Update u = reduce(most ? Reducer::argmax : Reducer::argmin, B, {t.ix(i)}, {j}, t.read(X, {t.ix(i), t.ix(j)}));
          u.position = t.ix(j);
          u.has_position_target = true;
          u.position_target = P;
          Nest nest;
          if (!block) {
            nest.dims = {{i, t.n(0), t.n(R), 1, !lanes}, {j, t.n(0), t.n(5), 1, lanes}};
            nest.updates = {u};
            t.add(nest);
          } else {
            Nest first;
            first.dims = {{i, t.n(0), t.n(R), 1, true}};
            first.updates = {store(B, {t.ix(i)}, t.r(most ? -inf : inf)), store(P, {t.ix(i)}, t.pool().integer(-1, DType::i32))};
            t.add(first);
            u.start = t.read(B, {t.ix(i)});
            u.start_position = t.read(P, {t.ix(i)});
            nest.dims = {{i, t.n(0), t.n(R), 1, !lanes}, {j, t.ix(outer), t.pool().min(t.pool().add(t.ix(outer), t.n(block)), t.n(5)), 1, lanes}};
            nest.updates = {u};
            tile::For loop{outer, t.n(0), t.n(5), block, {}, {}, {}};
            loop.body.push_back({nest});
            t.kernel().body.push_back({loop});
          }
          t.run();
          for (std::size_t r = 0; r < rows.size(); ++r) {
            int want = 0;
            for (int k = 1; k < 5; ++k) {
              const float a = rows[r][static_cast<std::size_t>(want)], b = rows[r][static_cast<std::size_t>(k)];
              if (!std::isnan(a) && (std::isnan(b) || (most ? b > a : b < a))) want = k;
            }
            INFO(target << " lanes " << lanes << " block " << block << " row " << r << " most " << most);
            REQUIRE(at[r] == want);
            const float value = rows[r][static_cast<std::size_t>(want)];
            REQUIRE((std::isnan(value) ? std::isnan(best[r]) : best[r] == value));
          }
        }
      }
    }
  }
}
