// Accepted programs and the index IR that they become, in its printed form: types, guards, policies, rounding. Every
// printed program is checked again and prints the same.
#include "tests/catch.h"
#include "tests/check/checked.h"

using namespace quern;
using dsl::Bindings;
using dsl::test::Checked;

namespace {

/// The printed body; the program is well formed and comes back from its own text.
std::string body(const std::string& text, const Bindings& bindings = {}) {
  const Checked checked(text, bindings);
  if (!checked.program) return checked.errors;
  CHECK(ir::verify_program(*checked.program).empty());
  const std::string printed = ir::print_program(*checked.program);
  const Checked again(printed);
  INFO(printed << again.errors);
  REQUIRE(again.program.has_value());
  CHECK(ir::print_program(*again.program) == printed);
  return checked.body();
}

std::string statement(const std::string& signature, const std::string& s) {
  return body("kernel k" + signature + " {\n" + s + "\n}\n");
}

ir::Program program(const std::string& text, const Bindings& bindings = {}) {
  Checked checked(text, bindings);
  INFO(checked.errors);
  REQUIRE(checked.program.has_value());
  return std::move(*checked.program);
}

int allowed_casts(const ir::Program& p, DType type) {
  int count = 0;
  for (std::uint32_t i = 1; i < p.pool.size(); ++i) {
    const ir::Node& n = p.pool[ir::Expr{i}];
    count += n.op == ir::Op::cast && n.type == type && (n.flags & ir::kAllowed);
  }
  return count;
}

int checked_reads(const ir::Program& p) {
  int count = 0;
  for (std::uint32_t i = 1; i < p.pool.size(); ++i)
    count += p.pool[ir::Expr{i}].op == ir::Op::read && (p.pool[ir::Expr{i}].flags & ir::kChecked);
  return count;
}

}  // namespace

TEST_CASE("attention in index form") {
  CHECK(body("kernel attention<D, E>(q: f16[B,H,M,D], k: f16[B,H,N,D], v: f16[B,H,N,E]) -> (o: f16[B,H,M,E]) {\n"
             "  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)\n"
             "  o[b,h,m,e] = sum[n](softmax[n](s[b,h,m,n]) * v[b,h,n,e])\n}\n") ==
        "  s[b, h, m, n] = sum[d](q[b, h, m, d] * k[b, h, n, d]) / sqrt(f32(D))\n"
        "  o[b, h, m, e] = sum[n](softmax[n](s[b, h, m, n]) * v[b, h, n, e])\n");
}

TEST_CASE("a masked softmax guards the factors beside it") {
  // The other factor stands left of the mask, and its row is out of range outside it.
  CHECK(statement("(s: f32[N], v: f32[3]) -> (y: f32)", "y = sum[n](v[n + 0] * softmax[n where n < 3](s[n]))") ==
        "  y = sum[n in 0:N](where(n < 3, v[n] * softmax[n where n < 3](s[n]), 0.0))\n");
  // Through a named intermediate too.
  CHECK(statement("(s: f32[M,N], v: f32[N]) -> (y: f32[M])",
                  "w[m,n] = softmax[n where n <= m](s[m,n])\ny[m] = sum[n](w[m,n] * v[n])") ==
        "  w[m, n] = softmax[n where n <= m](s[m, n])\n  y[m] = sum[n](where(n <= m, w[m, n] * v[n], 0.0))\n");
  // And through differences and casts of masked weights.
  CHECK(statement("(s: f32[2,N], v: f32[N], c: f32) -> (y: f32)",
                  "p[i,n] = softmax[n where n > 2](s[i,n])\ny = sum[n]((p[0,n] - c * f32(p[1,n])) * v[n])")
            .find("where(n > 2, (p[0, n]") != std::string::npos);
}

TEST_CASE("promotion") {
  const std::string in =
      "(h: f16[N], b: bf16[N], x: f32[N], d: f64[N], i: i32[N], l: i64[N], c: i8[N], u: u8[N], t: bool[N])";
  auto type = [&](const std::string& e) {
    const ir::Program p =
        program("kernel k" + in + " -> (out: f64[N]) {\n z[n in 0:N] = " + e + "\n out[n] = f64(z[n])\n}\n");
    for (const ir::Tensor& tensor : p.tensors)
      if (tensor.name == "z") return std::string(name(tensor.type));
    return std::string("none");
  };
  CHECK(type("h[n] * b[n]") == "f32");
  CHECK(type("h[n]") == "f32");
  CHECK(type("x[n] + d[n]") == "f64");
  CHECK(type("d[n] * n + sqrt(N)") == "f64");
  CHECK(type("x[n] * n") == "f32");
  CHECK(type("i[n] / i[n]") == "f32");
  CHECK(type("i[n] + l[n]") == "i64");
  CHECK(type("c[n] + u[n]") == "i16");
  CHECK(type("c[n] + 1") == "i8");
  CHECK(type("c[n] + 1000") == "i32");
  CHECK(type("i[n] + n") == "i64");
  CHECK(type("i[n] * x[n]") == "f32");
  CHECK(type("t[n] + t[n]") == "i32");
  CHECK(type("t[n] and x[n] > 0") == "bool");
  CHECK(type("where(t[n], 1, 0) + n - n") == "i64");
  CHECK(type("1 / 3") == "f32");
  CHECK(type("7") == "i32");
  CHECK(type("n") == "i64");
  CHECK(type("2 ** n") == "f32");
  CHECK(type("i[n] ** 2") == "i32");
  CHECK(type("sum[m](c[m])") == "i32");
  CHECK(type("sum[m](i[m])") == "i64");
  CHECK(type("sum[m](h[m])") == "f32");
  CHECK(type("mean[m](i[m])") == "f32");
  CHECK(type("var[m](d[m])") == "f64");
  CHECK(type("argmax[m](x[m])") == "i32");
  CHECK(type("any[m](t[m])") == "bool");
  CHECK(type("cumsum[n](u[n])") == "i32");
  CHECK(type("scan[n](prev + i[n], init = 0)") == "i64");
  CHECK(type("scan[n](prev * 0.5 + i[n], init = 0)") == "f32");
}

TEST_CASE("literals and sizes stay exact next to f64") {
  CHECK(statement("(d: f64[N]) -> (y: f64[N])", "y[i] = d[i] / sqrt(N) + 1 / 3") ==
        "  y[i] = d[i] / sqrt(f64(N)) + 0.3333333333333333\n");
  CHECK(statement("(d: f32[N]) -> (y: f32[N])", "y[i] = d[i] / sqrt(N) + 1 / 3") ==
        "  y[i] = d[i] / sqrt(f32(N)) + 0.33333334\n");
}

TEST_CASE("computed factors of a contraction may round to the stored type") {
  const std::string body = "o[m] = sum[n](softmax[n](s[m,n]) * v[n])\n";
  CHECK(allowed_casts(program("kernel k(s: f32[M,N], v: f16[N]) -> (o: f32[M]) {\n" + body + "}\n"), DType::f16) == 1);
  CHECK(allowed_casts(program("kernel k(s: f32[M,N], v: f32[N]) -> (o: f32[M]) {\n" + body + "}\n"), DType::f16) == 0);
  CHECK(allowed_casts(program("@precise kernel k(s: f32[M,N], v: f16[N]) -> (o: f32[M]) {\n" + body + "}\n"),
                      DType::f16) == 0);
  // bf16 queries against fp8 keys: both are stored, nothing is rounded; a computed factor goes to the wider of them.
  CHECK(
      allowed_casts(program("kernel k(a: bf16[N], b: e4m3[N], c: f32[N]) -> (o: f32) {\n o = sum[n](a[n] * b[n])\n}\n"),
                    DType::bf16) == 0);
  CHECK(allowed_casts(
            program(
                "kernel k(a: bf16[N], b: e4m3[N], c: f32[N]) -> (o: f32) {\n o = sum[n](a[n] * b[n] * exp(c[n]))\n}\n"),
            DType::f32) == 0);
  CHECK(allowed_casts(
            program("kernel k(a: bf16[N], b: e4m3[N]) -> (o: f32) {\n o = sum[n](a[n] * b[n] * exp(b[n]))\n}\n"),
            DType::bf16) == 1);
  // f16 with bf16 multiply in f32.
  CHECK(
      allowed_casts(program("kernel k(a: bf16[N], b: f16[N]) -> (o: f32) {\n o = sum[n](a[n] * b[n] * exp(b[n]))\n}\n"),
                    DType::bf16) == 0);
  // Through a view; and what does not depend on the axis is no factor.
  CHECK(allowed_casts(program("kernel k(a: f16[N], s: f32) -> (o: f32) {\n view t[i in 0:N] = a[N - 1 - i]\n o = "
                              "sum[n](t[n] * exp(s))\n}\n"),
                      DType::f16) == 0);
  CHECK(allowed_casts(program("kernel k(a: f16[N], s: f32) -> (o: f32) {\n view t[i in 0:N] = a[N - 1 - i]\n o = "
                              "sum[n](t[n] * exp(s * n))\n}\n"),
                      DType::f16) == 1);
}

TEST_CASE("policies become expressions") {
  CHECK(statement("(x: f32[N]) -> (y: f32[N])", "y[i] = pad(x[i-1], 0)") ==
        "  y[i] = where(0 <= i - 1, x[i - 1], 0.0)\n");
  CHECK(statement("(x: f32[N]) -> (y: f32[N])", "y[i] = clamp(x[i+1])") == "  y[i] = x[min(max(i + 1, 0), N - 1)]\n");
  CHECK(statement("(x: f32[N]) -> (y: f32[N])", "y[i] = wrap(x[i+1])") == "  y[i] = x[(i + 1) mod N]\n");
  CHECK(statement("(x: f32[N]) -> (y: f32[M])", "require M > 0\ny[i] = x[i]").find("unknown name 'M'") !=
        std::string::npos);
  // Nothing is clamped that is in range already.
  CHECK(statement("(x: f32[N]) -> (y: f32[N])", "y[i] = clamp(x[i])") == "  y[i] = x[i]\n");
}

TEST_CASE("facts about data are tested where they are used") {
  const std::string text =
      "kernel k(table: f32[V,D], ids: i32[T] in 0:V) -> (y: f32[T,D]) { y[t,d] = table[ids[t], d] }\n";
  CHECK(checked_reads(program(text)) == 1);
  CHECK(checked_reads(program("@trusted " + text)) == 0);
  // A guard proves it, so nothing is tested.
  CHECK(checked_reads(program("kernel k(table: f32[V], ids: i32[T]) -> (y: f32[T]) {\n"
                              "  y[t] = where(ids[t] >= 0 and ids[t] < V, table[ids[t]], 0)\n}\n")) == 0);
  const ir::Program scatter =
      program("kernel k(ids: i32[T] in 0:V, g: f32[T], inout w: f32[V]) { w[ids[t]] += g[t] }\n");
  REQUIRE(scatter.equations.size() == 1);
  CHECK(scatter.equations[0].checked);
  CHECK(scatter.equations[0].op == ir::AssignOp::add);
  CHECK(scatter.tensors[scatter.equations[0].targets[0]].entry == scatter.parameters[2]);
  // Data of type i64 may wrap in arithmetic, so what a guard on a sum says of its parts is tested.
  CHECK(checked_reads(program("kernel k(x: f32[V], i: i64[T]) -> (y: f32[T]) {\n"
                              "  y[t] = where(i[t] - 5 >= 0 and i[t] < V, x[i[t]], 0)\n}\n")) == 1);
  CHECK_FALSE(
      Checked("kernel k(x: f32[V], i: i32[T]) -> (y: f32[T]) { y[t] = where(i[t] < V, x[i[t]], 0) }\n").program);
}

TEST_CASE("inout") {
  const ir::Program p = program("kernel k(inout x: f32[N]) -> (s: f32) {\n  x[i] = 2 * x[i]\n  s = sum[i](x[i])\n}\n");
  REQUIRE(p.equations.size() == 2);
  const ir::TensorId old = p.parameters[0], fresh = p.equations[0].targets[0];
  CHECK(p.tensors[old].role == ir::Role::input);
  CHECK(p.tensors[fresh].role == ir::Role::output);
  CHECK(p.tensors[fresh].entry == old);
  auto reads = [&](ir::Expr root, ir::TensorId t) {
    std::vector<ir::Expr> open{root};
    while (!open.empty()) {
      const ir::Expr e = open.back();
      open.pop_back();
      if (p.pool[e].op == ir::Op::read && p.pool[e].payload == t) return true;
      open.insert(open.end(), p.pool[e].args.begin(), p.pool[e].args.end());
    }
    return false;
  };
  CHECK(reads(p.equations[0].body, old));
  CHECK_FALSE(reads(p.equations[0].body, fresh));
  CHECK(reads(p.equations[1].body, fresh));
}

TEST_CASE("pairs") {
  CHECK(statement("(q: f16[B,J*G,D], k: f16[B,J,D]) -> (s: f32[B,J*G])",
                  "s[b,(j,g)] = sum[d](q[b,(j,g),d] * k[b,j,d])") ==
        "  s[b, (j, g)] = sum[d](q[b, (j, g), d] * k[b, j, d])\n");
}

TEST_CASE("requirements") {
  // Equal sizes become one; what a call must satisfy is kept.
  CHECK(statement("(x: f32[M], y: f32[N]) -> (z: f32[N])", "require M == N\nz[i] = x[i] + y[i]")
            .find("require M == N\n") == 2);
  CHECK(statement("(x: f32[N]) -> (y: f32[N-2])", "y[i] = x[i+2]") == "  require 0 <= N - 2\n  y[i] = x[i + 2]\n");
  CHECK(statement("(x: f32[N]) -> (y: f32)", "y = x[0]") == "  require 0 < N\n  y = x[0]\n");
  CHECK(statement("(x: i32[N]) -> (y: i32)", "y = max[i](x[i])") == "  require 0 < N\n  y = max[i](x[i])\n");
}

TEST_CASE("functions and lets are written in place") {
  CHECK(body("let twice(v) = v + v\nkernel k(x: f32[N]) -> (y: f32[N]) {\n  let off = N - 1\n  let silu(v) = v * "
             "sigmoid(v)\n"
             "  let at(t, i) = t[off - i]\n  y[i] = silu(twice(at(x, i)))\n}\n") ==
        "  y[i] = (x[N - 1 - i] + x[N - 1 - i]) * sigmoid(x[N - 1 - i] + x[N - 1 - i])\n");
}

TEST_CASE("compile-time values") {
  const std::string text =
      "kernel k<T: type, W: int = 4, on: bool = true>(x: T[N]) -> (y: T[N]) { y[i] = where(on, x[i], W) }\n";
  const ir::Program p = program(text, {{{"W", 7}, {"on", 0}}, {{"T", DType::bf16}}});
  CHECK(p.tensors[0].type == DType::bf16);
  REQUIRE(p.symbols.size() == 3);
  CHECK(p.symbols[0].value == 7);
  CHECK(p.symbols[1].value == 0);
  CHECK(p.symbols[1].type == DType::boolean);
  CHECK_FALSE(p.symbols[2].value);
  CHECK(program(text).symbols[0].value == 4);
}
