// Sizes from shapes: bare symbols, products, verification, conditions, defaults, overflow at the boundaries.
#include <limits>

#include "runtime/bind.h"
#include "tests/catch.h"

using namespace quern;
using runtime::Binding;
using runtime::Bound;
using runtime::CallArguments;

namespace {

/// kernel f<D>(q: f32[J*G, M, D], k: f32[J, N-M+1], ids: i32[T] nondecreasing, scale: f32 = 1/sqrt(D), w: i32) -> (o: f32[M*N])
/// with M <= N required.
struct Example {
  ir::Program p;
  ir::Expr sym(const char* name, bool compile_time = false) {
    for (ir::SymbolId i = 0; i < p.symbols.size(); ++i)
      if (p.symbols[i].name == name) return p.pool.symbol(i);
    p.symbols.push_back({name, DType::i64, compile_time, {}});
    return p.pool.symbol(static_cast<ir::SymbolId>(p.symbols.size() - 1));
  }
  ir::TensorId tensor(const char* name, DType type, std::vector<ir::Expr> shape, ir::Role role) {
    ir::Tensor t;
    t.name = name;
    t.type = type;
    t.shape = std::move(shape);
    t.role = role;
    return p.add_tensor(t);
  }
  Example() {
    p.name = std::string("f");
    auto D = sym("D", true), J = sym("J"), G = sym("G"), M = sym("M"), N = sym("N"), T = sym("T");
    auto& x = p.pool;
    p.parameters = {tensor("q", DType::f32, {x.mul(J, G), M, D}, ir::Role::input),
                    tensor("k", DType::f32, {J, N}, ir::Role::input),
                    tensor("ids", DType::i32, {T}, ir::Role::input),
                    tensor("b", DType::f32, {x.add(x.sub(N, M), x.integer(1))}, ir::Role::input)};
    p.tensors[p.parameters[2]].nondecreasing = true;
    p.outputs = {tensor("o", DType::f32, {x.mul(M, N)}, ir::Role::output)};
    p.scalars = {{"scale", DType::f32, x.div(x.real(1), x.apply(ir::Op::sqrt, {x.cast(D, DType::f32)}))}, {"w", DType::i32, {}}};
    p.scalar_parameters = {0, 1};
    p.parameter_order = {"q", "k", "ids", "b", "scale", "w"};
    p.requirements.push_back({x.apply(ir::Op::le, {M, N}), {}});
  }
};

struct Call {
  CallArguments args;
  Bound bound;
};

void run(const Binding& binding, const std::vector<Argument>& list, Call& call) {
  binding.match(list, call.args);
  binding.bind(call.args, call.bound);
  binding.check_outputs(call.args, call.bound);
}

TensorView f(Sizes shape) { return TensorView(static_cast<float*>(nullptr), shape); }
TensorView i(Sizes shape) { return TensorView(static_cast<std::int32_t*>(nullptr), shape); }

Error failure(const Binding& binding, std::vector<Argument> list) {
  try {
    Call call;
    run(binding, list, call);
  } catch (const Error& e) {
    return e;
  }
  return Error(Code::ok, "");
}

bool has(const Error& e, const char* text) {
  INFO(e.message());
  const bool found = e.message().find(text) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("symbols bind, products divide, defaults evaluate") {
  Example x;
  const Binding binding(x.p);
  const std::vector<Argument> list{f({6, 5, 16}), f({2, 9}), i({3}), f({5}), arg("w", -7)};
  Call call;
  run(binding, list, call);
  CHECK(call.bound.symbols[0] == 16);  // D
  CHECK(call.bound.symbols[1] == 2);   // J
  CHECK(call.bound.symbols[2] == 3);   // G
  CHECK(call.bound.symbols[3] == 5);   // M
  CHECK(call.bound.symbols[4] == 9);   // N
  CHECK(call.bound.scalar_values[0] == 0.25);
  CHECK(call.bound.scalars[1] == -7);
  CHECK(binding.shape_of(4, call.bound) == Sizes{45});
}

TEST_CASE("mismatches name the parameter, the sizes and where they come from") {
  Example x;
  const Binding binding(x.p);
  const Argument w = arg("w", 1);
  auto e = failure(binding, {f({7, 5, 16}), f({2, 9}), i({3}), f({5}), w});
  CHECK(e.code() == Code::shape_mismatch);
  has(e, "axis 0 of 'q' is 7");
  has(e, "not a multiple of 2");
  has(e, "'J*G'");
  e = failure(binding, {f({6, 5, 16}), f({2, 9}), i({3}), f({6}), w});
  has(e, "axis 0 of 'b' is 6, but 'N - M + 1' is 5");
  has(e, "N = 9, from axis 1 of 'k'");
  e = failure(binding, {f({6, 10, 16}), f({2, 9}), i({3}), f({0}), w});
  has(e, "requires M <= N");
  e = failure(binding, {f({6, 5}), f({2, 9}), i({3}), f({5}), w});
  has(e, "'q' is declared f32[J*G,M,D] with 3 axes, the argument has 2");
  e = failure(binding, {f({6, 5, 16}), f({2, 9}), f({3}), f({5}), w});
  CHECK(e.code() == Code::type_mismatch);
  has(e, "'ids' is declared i32, the argument holds f32");
  e = failure(binding, {f({6, 5, 16}), f({2, 9}), i({3}), f({5}), w, out(f({44}))});
  has(e, "axis 0 of 'o' is 44, but 'M*N' is 45");
  CHECK(failure(binding, {f({6, 5, 16}), f({2, 9}), i({3}), f({5}), w, out(f({45}))}).code() == Code::ok);
}

TEST_CASE("misuse of arguments") {
  Example x;
  const Binding binding(x.p);
  const std::vector<Argument> good{f({6, 5, 16}), f({2, 9}), i({3}), f({5}), arg("w", 1)};
  auto with = [&](Argument a) { auto list = good; list.push_back(a); return list; };
  has(failure(binding, {good[0], good[1], good[2], good[3]}), "'w' of kernel 'f' is missing");
  has(failure(binding, {good[0], good[1]}), "'ids' of kernel 'f' is missing");
  has(failure(binding, with(arg("nope", 1))), "no parameter 'nope'; it has: q, k, ids, b, scale, w");
  has(failure(binding, with(arg("w", 2))), "'w' is given twice");
  has(failure(binding, with(out("nope", f({45})))), "no output 'nope'");
  has(failure(binding, {1.0}), "'q' is a tensor, a number was given");
  has(failure(binding, with(arg("scale", f({2})))), "'scale' is a number");
  has(failure(binding, with(arg("scale", f({})))), "the data pointer of 'scale' is null");
  has(failure(binding, {good[0], good[1], good[2], good[3], arg("w", 1.5)}), "'w' is i32, a floating-point number was given");
  has(failure(binding, {good[0], good[1], good[2], good[3], arg("w", std::int64_t{1} << 40)}), "1099511627776 does not fit in 'w'");
  has(failure(binding, {good[0], good[1], good[2], good[3], 0.5, 1, 2}), "takes 6 arguments");
  has(failure(binding, with(out(TensorView(static_cast<const float*>(nullptr), {45})))), "read-only");
}

TEST_CASE("sizes at the boundaries of 64 bits") {
  Example x;
  const Binding binding(x.p);
  const std::int64_t values[] = {1, 2, 1023, 1024, 65535, 65536, (std::int64_t{1} << 31) - 1, std::int64_t{1} << 31, (std::int64_t{1} << 32) + 1,
                                 std::int64_t{1} << 61, std::int64_t{1} << 62, std::numeric_limits<std::int64_t>::max()};
  int refused = 0, fine = 0;
  for (std::int64_t m : values)
    for (std::int64_t n : values) {
      if (m > n) continue;
      // Only the view of the shape is bound: strides 0 keep the reach of the inputs small.
      const std::vector<Argument> list{TensorView(static_cast<float*>(nullptr), {1, m, 1}, {0, 0, 0}), TensorView(static_cast<float*>(nullptr), {1, n}, {0, 0}),
                                       i({0}), TensorView(static_cast<float*>(nullptr), {n - m + 1}, {0}), arg("w", 1)};
      const Error e = [&] {
        try {
          Call call;
          run(binding, list, call);
          (void)binding.shape_of(4, call.bound);
        } catch (const Error& caught) {
          return caught;
        }
        return Error(Code::ok, "");
      }();
      std::int64_t product = 0, bytes = 0;
      const bool output_fits = !__builtin_mul_overflow(m, n, &product);
      const bool inputs_fit = !__builtin_mul_overflow(n, std::int64_t{4}, &bytes);
      if (output_fits && inputs_fit) {
        ++fine;
        CHECK(e.code() == Code::ok);
      } else {
        ++refused;
        CHECK(e.code() == Code::overflow);
        INFO(e.message());
        // The number of the argument that does not fit: its own size.
        const bool numbers = e.message().find(std::to_string(n)) != std::string::npos || e.message().find(std::to_string(n - m + 1)) != std::string::npos ||
                             e.message().find(std::to_string(m)) != std::string::npos;
        CHECK(numbers);
      }
    }
  CHECK(fine > 20);
  CHECK(refused > 20);
}

TEST_CASE("nondecreasing is checked on the data") {
  Example x;
  const Binding binding(x.p);
  std::vector<std::int32_t> ids{1, 1, 4, 4, 9};
  const std::vector<Argument> list{f({6, 5, 16}), f({2, 9}), TensorView(ids), f({5}), arg("w", 1)};
  Call call;
  run(binding, list, call);
  CHECK(binding.has_facts());
  CHECK_NOTHROW(binding.check_facts(call.args));
  ids[3] = 2;
  try {
    binding.check_facts(call.args);
    FAIL("no error");
  } catch (const Error& e) {
    CHECK(e.code() == Code::data);
    has(e, "'ids' is declared nondecreasing, but 2 at position 3 follows 4");
  }
}
