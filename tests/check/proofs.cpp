// Normal forms of sizes, and what the range prover can and must not prove.
#include "dsl/check/proofs.h"

#include "tests/catch.h"

using namespace quern;
using dsl::Proofs;
using dsl::Reading;
using dsl::Sizes;
using ir::Expr;
using ir::Op;

namespace {

struct Fixture {
  ir::Program program;
  Sizes sizes{program};
  Proofs proofs{program, sizes};
  ir::ExprPool& pool = program.pool;

  Expr symbol(const char* name) {
    program.symbols.push_back({name, DType::i64, false, {}});
    return pool.symbol(static_cast<ir::SymbolId>(program.symbols.size() - 1));
  }
  Expr number(std::int64_t v) { return pool.integer(v); }
  Expr index(const char* name, Expr begin, Expr end) {
    const ir::IndexId id = program.add_index(name, begin, end);
    proofs.assume_index(id);
    return pool.index(id);
  }
  Expr floordiv(Expr a, Expr b) { return pool.apply(Op::floordiv, {a, b}); }
  Expr mod(Expr a, Expr b) { return pool.apply(Op::mod, {a, b}); }
  bool inside(Expr e, Expr size) { return proofs.at_most(number(0), e) && proofs.less(e, size); }
};

}  // namespace

TEST_CASE("normal forms") {
  Fixture f;
  auto& p = f.pool;
  const Expr n = f.symbol("N"), w = f.symbol("W"), j = f.symbol("J"), g = f.symbol("G");
  CHECK(f.sizes.equal(p.sub(n, w), p.add(p.sub(p.sub(n, f.number(1)), w), f.number(1))));
  CHECK(f.sizes.equal(p.mul(p.add(n, w), p.sub(n, w)), p.sub(p.mul(n, n), p.mul(w, w))));
  CHECK(f.sizes.equal(p.mul(j, g), p.mul(g, j)));
  CHECK_FALSE(f.sizes.equal(n, w));
  CHECK(f.sizes.equal(f.floordiv(p.add(p.mul(n, f.number(4)), f.number(3)), f.number(4)), n));
  CHECK(f.sizes.equal(f.mod(p.add(p.mul(n, f.number(4)), f.number(3)), f.number(4)), f.number(3)));
  CHECK(f.sizes.equal(p.add(p.mul(f.floordiv(n, f.number(8)), f.number(8)), f.mod(n, f.number(8))), n));
  // J*G div G is J only where G is not 0.
  CHECK_FALSE(f.sizes.equal(f.floordiv(p.mul(j, g), g), j));
  REQUIRE(f.sizes.divided(p.mul(j, g), g));
  CHECK(*f.sizes.divided(p.mul(j, g), g) == j);
  CHECK_FALSE(f.sizes.divided(n, g));
  CHECK(f.sizes.text(p.sub(n, p.add(w, f.number(1)))) == "N - (W + 1)");
}

TEST_CASE("overflow proves nothing") {
  Fixture f;
  auto& p = f.pool;
  Expr big = f.symbol("N");
  for (int i = 0; i < 3; ++i) big = p.mul(big, f.number(std::int64_t{1} << 40));
  CHECK(f.sizes.normal(big).overflow());
  CHECK_FALSE(f.proofs.at_most(f.number(0), big));
}

TEST_CASE("unified symbols") {
  Fixture f;
  auto& p = f.pool;
  const Expr m = f.symbol("M"), n = f.symbol("N"), k = f.symbol("K");
  REQUIRE(f.sizes.unify(p.mul(m, f.number(2)), n));
  CHECK(f.sizes.equal(p.add(m, m), n));
  REQUIRE(f.sizes.unify(k, p.add(n, f.number(1))));
  CHECK(f.sizes.equal(k, p.add(p.mul(f.number(2), m), f.number(1))));
}

TEST_CASE("ranges") {
  Fixture f;
  auto& p = f.pool;
  const Expr n = f.symbol("N"), w = f.symbol("W"), l = f.symbol("L"), s = f.symbol("S"), d = f.symbol("D");
  const Expr t = f.index("t", f.number(0), p.add(p.sub(n, w), f.number(1)));
  const Expr v = f.index("v", f.number(0), w);
  CHECK(f.inside(p.add(t, v), n));
  CHECK_FALSE(f.inside(p.add(p.add(t, v), f.number(1)), n));
  CHECK_FALSE(f.inside(p.sub(t, v), n));
  // Pages: n div S and n mod S for n in 0:L*S.
  const Expr i = f.index("i", f.number(0), p.mul(l, s));
  CHECK(f.inside(f.floordiv(i, s), l));
  CHECK(f.inside(f.mod(i, s), s));
  CHECK_FALSE(f.inside(f.floordiv(i, s), p.sub(l, f.number(1))));
  CHECK_FALSE(f.inside(f.floordiv(p.add(i, f.number(1)), s), l));
  // Halves.
  const Expr h = f.index("h", f.number(0), d);
  CHECK(f.inside(p.add(h, d), p.mul(f.number(2), d)));
  CHECK_FALSE(f.inside(p.add(p.add(h, d), f.number(1)), p.mul(f.number(2), d)));
  // clip stays inside when there is an entry.
  const Expr c = p.min(p.max(p.sub(h, f.number(7)), f.number(0)), p.sub(d, f.number(1)));
  CHECK(f.inside(c, d));
  CHECK_FALSE(f.inside(c, p.sub(d, f.number(1))));
}

TEST_CASE("pairs and pooling") {
  Fixture f;
  auto& p = f.pool;
  const Expr j = f.symbol("J"), g = f.symbol("G"), h = f.symbol("H"), w = f.symbol("W");
  const Expr a = f.index("a", f.number(0), j), b = f.index("b", f.number(0), g);
  CHECK(f.inside(p.add(p.mul(a, g), b), p.mul(j, g)));
  CHECK_FALSE(f.inside(p.add(p.mul(a, j), b), p.mul(j, g)));
  const Expr i = f.index("i", f.number(0), f.floordiv(h, w)), u = f.index("u", f.number(0), w);
  CHECK(f.inside(p.add(p.mul(w, i), u), h));
  CHECK_FALSE(f.inside(p.add(p.add(p.mul(w, i), u), f.number(1)), h));
}

TEST_CASE("guards") {
  Fixture f;
  auto& p = f.pool;
  const Expr n = f.symbol("N");
  const Expr m = f.index("m", f.number(0), n), k = f.index("k", f.number(0), n);
  const Expr e = p.sub(m, k);
  CHECK_FALSE(f.inside(e, n));
  const auto mark = f.proofs.mark();
  f.proofs.assume(p.apply(Op::le, {k, m}));
  CHECK(f.inside(e, n));
  f.proofs.restore(mark);
  CHECK_FALSE(f.inside(e, n));
  f.proofs.assume(p.apply(Op::lt, {m, k}), false);
  CHECK(f.inside(e, n));
  f.proofs.restore(mark);
  f.proofs.assume(p.apply(Op::or_, {p.apply(Op::le, {k, m}), p.apply(Op::eq, {m, k})}));
  CHECK_FALSE(f.inside(e, n));
  // A flag that is known to be off leaves the other side.
  f.program.symbols.push_back({"on", DType::boolean, true, 0});
  const Expr on = p.symbol(static_cast<ir::SymbolId>(f.program.symbols.size() - 1), DType::boolean);
  f.proofs.restore(mark);
  f.proofs.assume(p.apply(Op::or_, {on, p.apply(Op::le, {k, m})}));
  CHECK(f.inside(e, n));
  CHECK(f.proofs.holds(p.apply(Op::le, {k, p.add(m, f.number(1))})));
  CHECK(f.proofs.holds(p.apply(Op::lt, {m, k}), false));
}

TEST_CASE("fixed values are used, but do not make sizes equal") {
  Fixture f;
  auto& p = f.pool;
  const Expr m = f.symbol("M"), n = f.symbol("N");
  f.program.symbols[0].value = 512;
  f.program.symbols[1].value = 512;
  CHECK_FALSE(f.sizes.equal(m, n));
  CHECK(f.sizes.equal(m, f.number(512)));
  CHECK(f.proofs.less(m, p.add(n, f.number(1))));
}
