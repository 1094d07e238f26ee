// The flat form: what flatten and expand_composites make of nested programs.
#include "compiler/passes/passes.h"
#include "compiler/passes/pipeline.h"
#include "dsl/ir/print_program.h"
#include "dsl/ir/verify_program.h"
#include "tests/catch.h"
#include "tests/passes/build.h"
#include <cstdio>
using namespace quern;
using namespace quern::ir;
using quern::test::Builder;

TEST_CASE("attention flattens") {
  Builder b("attention");
  const Expr M = b.size("M"), N = b.size("N"), D = b.size("D", true);
  const auto q = b.input("q", {M, D}), k = b.input("k", {N, D}), v = b.input("v", {N, D});
  const auto o = b.output("o", {M, D}), s = b.temp("s", {M, N});
  const auto m = b.index("m", M), n = b.index("n", N), d = b.index("d", D);
  b.set(s, {m, n}, b.call(Op::div, {b.sum({d}, b.call(Op::mul, {b.get(q, {m, d}), b.get(k, {n, d})})),
                                    b.call(Op::sqrt, {b.pool.cast(D, DType::f32)})}));
  const auto m2 = b.index("m", M), n2 = b.index("n", N), e2 = b.index("e", D);
  b.set(o, {m2, e2}, b.sum({n2}, b.call(Op::mul, {b.map(AxisMap::softmax, n2, b.get(s, {m2, n2}), b.call(Op::le, {b.at(n2), b.at(m2)})), b.get(v, {n2, e2})})));
  REQUIRE(verify_program(b.p).empty());
  puts(print_program(b.p).c_str());
  quern::compiler::PassOptions options;
  options.verify = true;
  options.after = [](auto& pass, auto& p, bool, double) { printf("%s\n%s\n", pass.name.data(), print_program(p).c_str()); };
  compiler::run_passes(b.p, options);
}
