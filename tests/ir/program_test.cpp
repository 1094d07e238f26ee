// The printer and the verifier on programs built by hand: the printed text is exact, each broken rule has its message.
#include <limits>

#include "dsl/ir/print_program.h"
#include "dsl/ir/verify_program.h"
#include "tests/catch.h"

using namespace quern;
using namespace quern::ir;

namespace {

/// o[m,e] = sum[n](softmax[n](s[m,n]) * v[n,e]) with s[m,n] = sum[d](q[m,d] * k[n,d]) / sqrt(D), f16 values.
struct Attention {
  Program p;
  TensorId q, k, v, s, o;
  IndexId m, n, d, m2, n2, e;
  Attention() {
    ExprPool& x = p.pool;
    p.name = "attention";
    p.symbols = {{"D", DType::i64, true, std::nullopt},
                 {"M", DType::i64, false, std::nullopt},
                 {"N", DType::i64, false, std::nullopt}};
    const Expr D = x.symbol(0), M = x.symbol(1), N = x.symbol(2), zero = x.integer(0);
    auto tensor = [&](const char* name, DType type, std::vector<Expr> shape, Role role) {
      Tensor t;
      t.name = name, t.type = type, t.shape = std::move(shape), t.role = role;
      return p.add_tensor(t);
    };
    q = tensor("q", DType::f16, {M, D}, Role::input);
    k = tensor("k", DType::f16, {N, D}, Role::input);
    v = tensor("v", DType::f16, {N, D}, Role::input);
    s = tensor("s", DType::f32, {M, N}, Role::temp);
    o = tensor("o", DType::f16, {M, D}, Role::output);
    p.parameters = {q, k, v};
    p.parameter_order = {"q", "k", "v"};
    p.outputs = {o};
    m = p.add_index("m", zero, M), n = p.add_index("n", zero, N), d = p.add_index("d", zero, D);
    m2 = p.add_index("m", zero, M), n2 = p.add_index("n", zero, N), e = p.add_index("e", zero, D);
    auto f32 = [&](Expr a) { return x.cast(a, DType::f32); };
    const Expr qk = x.mul(f32(x.read(q, DType::f16, {x.index(m), x.index(d)})),
                          f32(x.read(k, DType::f16, {x.index(n), x.index(d)})));
    const Expr scores = x.div(x.reduce(Reducer::sum, {d}, qk, {}, DType::f32), x.apply(Op::sqrt, {f32(D)}));
    p.equations.push_back({{s}, {m, n}, {x.index(m), x.index(n)}, scores, AssignOp::set, false, {}});
    const Expr w = x.map(AxisMap::softmax, n2, x.read(s, DType::f32, {x.index(m2), x.index(n2)}),
                         x.apply(Op::le, {x.index(n2), x.sub(x.add(x.index(m2), N), M)}), DType::f32);
    const Expr rounded = f32(x.cast(w, DType::f16, kAllowed));
    const Expr wv = x.mul(rounded, f32(x.read(v, DType::f16, {x.index(n2), x.index(e)})));
    p.equations.push_back({{o},
                           {m2, e},
                           {x.index(m2), x.index(e)},
                           x.reduce(Reducer::sum, {n2}, wv, {}, DType::f32),
                           AssignOp::set,
                           false,
                           {}});
  }
};

bool mentions(const std::vector<std::string>& messages, std::string_view text) {
  for (const std::string& m : messages)
    if (m.find(text) != std::string::npos) return true;
  return false;
}

}  // namespace

TEST_CASE("a program prints in index form") {
  const Attention a;
  CHECK(print_program(a.p) ==
        "kernel attention<D>(q: f16[M, D], k: f16[N, D], v: f16[N, D]) -> (o: f16[M, D]) {\n"
        "  s[m, n] = sum[d](q[m, d] * k[n, d]) / sqrt(f32(D))\n"
        "  o[m, e] = sum[n](softmax[n where n <= m + N - M](s[m, n]) * v[n, e])\n"
        "}\n");
  CHECK(verify_program(a.p).empty());
}

TEST_CASE("precedence, literals and ranges") {
  Attention a;
  ExprPool& x = a.p.pool;
  const Expr i = x.index(a.m), j = x.index(a.n), one = x.integer(1);
  auto text = [&](Expr e) { return print_expr(a.p, e); };
  CHECK(text(x.sub(i, x.sub(j, one))) == "m - (n - 1)");
  CHECK(text(x.mul(x.add(i, one), j)) == "(m + 1) * n");
  CHECK(text(x.apply(Op::floordiv, {i, x.mul(j, j)})) == "m div (n * n)");
  const Expr f = x.cast(i, DType::f32), g = x.cast(j, DType::f32);
  CHECK(text(x.apply(Op::neg, {x.apply(Op::pow, {f, g})})) == "-f32(m)**f32(n)");
  CHECK(text(x.apply(Op::pow, {x.apply(Op::neg, {f}), g})) == "(-f32(m))**f32(n)");
  CHECK(text(x.apply(Op::pow, {x.apply(Op::pow, {f, g}), g})) == "(f32(m)**f32(n))**f32(n)");
  CHECK(text(x.apply(Op::not_, {x.less(i, j)})) == "not (m < n)");
  CHECK(text(x.both(x.less(i, j), x.apply(Op::or_, {x.less(j, i), x.less(i, one)}))) == "m < n and (n < m or m < 1)");
  CHECK(text(x.mul(f, x.real(-0.1))) == "f32(m) * -0.1");
  CHECK(text(x.max(f, x.real(std::numeric_limits<double>::infinity()))) == "max(f32(m), inf)");
  CHECK(text(x.add(x.cast(i, DType::f64), x.real(0.1, DType::f64))) == "f64(m) + 0.1");
  CHECK(text(x.real(0.1, DType::f64)) == "f64(0.1)");
  CHECK(text(x.real(3)) == "3.0");
  CHECK(text(x.add(x.cast(i, DType::i32), x.integer(7, DType::i32))) == "i32(m) + 7");
  CHECK(text(x.reduce(Reducer::sum, {a.m}, f, {}, DType::f32)) == "sum[m in 0:M](f32(m))");
  CHECK(text(x.cast(x.cast(f, DType::f16, kAllowed), DType::f32)) == "f32(~f16(f32(m)))");
}

TEST_CASE("the verifier names what is broken") {
  {
    Attention a;
    a.p.equations[0].indices = {a.m};
    const auto messages = verify_program(a.p);
    CHECK(mentions(messages, "index 'n' of the target is not bound"));
    CHECK(mentions(messages, "index 'n' is free in the body"));
  }
  {
    Attention a;
    std::swap(a.p.equations[0], a.p.equations[1]);
    CHECK(mentions(verify_program(a.p), "'s' is read before it is defined"));
  }
  {
    Attention a;
    a.p.equations.push_back(a.p.equations[1]);
    CHECK(mentions(verify_program(a.p), "'o' is assigned twice"));
  }
  {
    Attention a;
    a.p.equations.pop_back();
    CHECK(mentions(verify_program(a.p), "output 'o' is not defined"));
  }
  {
    Attention a;
    a.p.equations[0].body = a.p.pool.read(a.q, DType::f16, {a.p.pool.index(a.m)});
    CHECK(mentions(verify_program(a.p), "read of 'q' has 1 subscripts, the tensor 2 axes"));
  }
  {
    Attention a;
    a.p.equations[0].body = a.p.pool.intern({Op::exp, DType::f32, 0, 0, {a.p.pool.index(a.m)}, {}});
    CHECK(mentions(verify_program(a.p), "exp of i64: the operand must be a float"));
  }
  {
    Attention a;
    a.p.equations[0].body =
        a.p.pool.intern({Op::add, DType::f32, 0, 0, {a.p.pool.real(1), a.p.pool.real(1, DType::f64)}, {}});
    CHECK(mentions(verify_program(a.p), "operands of add have types f32 and f64"));
  }
  {
    Attention a;
    a.p.equations[0].body = a.p.pool.previous(DType::f32);
    CHECK(mentions(verify_program(a.p), "prev outside the body of a scan"));
  }
  {
    Attention a;
    a.p.equations[0].targets = {a.q};
    CHECK(mentions(verify_program(a.p), "'q' is an input and is assigned"));
  }
  {
    Attention a;
    a.p.equations[0].op = AssignOp::add;
    CHECK(mentions(verify_program(a.p), "scatter into 's', which has no entry values"));
  }
}
