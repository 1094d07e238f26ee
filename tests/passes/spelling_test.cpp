// The same computation, however it is spelled, comes to the same flat equations: up to names, the order of independent
// equations, and the guard that makes an empty softmax 0.
#include <algorithm>
#include <map>
#include <regex>

#include "compiler/passes/pipeline.h"
#include "dsl/ir/print_program.h"
#include "tests/catch.h"
#include "tests/passes/text.h"

using namespace quern;
using namespace quern::compiler;

namespace {

/// The output's definition with every temp written as its own definition, indices renamed in order of appearance, and
/// `where(.., value, 0.0)` around an output left out.
std::string unfolded(ir::Program program) {
  run_passes(program);
  for (ir::Index& index : program.indices) index.name = "i";
  for (ir::Equation& e : program.equations) {
    const ir::Node n = program.pool[e.body];
    if (n.op == ir::Op::where && program.tensors[e.targets[0]].role == ir::Role::output) e.body = n.args[1];
  }
  std::map<std::string, std::string> definitions;
  std::string out;
  std::istringstream lines(print_program(program));
  for (std::string line; std::getline(lines, line);) {
    const auto equals = line.find(" = ");
    if (line.starts_with("kernel") || equals == std::string::npos) continue;
    std::string target = line.substr(2, equals - 2), body = line.substr(equals + 3);
    for (const auto& [name, definition] : definitions)
      body = std::regex_replace(body, std::regex("\\b" + name + "\\["), definition + "[");
    const std::string name = target.substr(0, target.find('['));
    definitions[name] = "{" + target.substr(name.size()) + " " + body + "}";
    out = definitions[name];
  }
  return out;
}

std::string attention(const std::string& body) {
  return "kernel a<D = 32>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {\n" + body + "}\n";
}

}  // namespace

TEST_CASE("attention in four spellings comes to the same equations") {
  const std::string index = unfolded(test::kernel(attention(
      "s[m,n] = sum[d](q[m,d] * k[n,d]) / sqrt(D)\n"
      "o[m,e] = sum[n](softmax[n](s[m,n]) * v[n,e])\n")));
  const std::string einsum = unfolded(test::kernel(attention(
      "s = einsum(\"md,nd->mn\", q, k) / sqrt(D)\n"
      "o = einsum(\"mn,nd->md\", softmax(s, axis=-1), v)\n")));
  const std::string tiles = unfolded(test::kernel(attention(
      "scores = sum(q[:, None, :] * k[None, :, :], axis=-1) / sqrt(D)\n"
      "w = exp(scores - max(scores, axis=1, keepdims=true))\n"
      "o = sum(w[:, :, None] * v[None, :, :], axis=1) / sum(w, axis=1, keepdims=true)\n")));
  const std::string by_hand = unfolded(test::kernel(attention(
      "s[m,n] = sum[d](q[m,d] * k[n,d]) / sqrt(D)\n"
      "top[m] = max[n](s[m,n])\n"
      "w[m,n] = exp(s[m,n] - top[m])\n"
      "total[m] = sum[n](w[m,n])\n"
      "o[m,e] = sum[n](w[m,n] / total[m] * v[n,e])\n")));
  CHECK(index.find("exp") != std::string::npos);
  CHECK(einsum == index);
  CHECK(tiles == index);
  CHECK(by_hand == index);
}

TEST_CASE("another computation is told apart") {
  const std::string one = unfolded(test::kernel(attention("o[m,e] = sum[n](softmax[n](sum[d](q[m,d] * k[n,d])) * v[n,e])\n")));
  const std::string other = unfolded(test::kernel(attention("o[m,e] = sum[n](softmax[n](2 * sum[d](q[m,d] * k[n,d])) * v[n,e])\n")));
  CHECK(one != other);
}

TEST_CASE("softmax masked by a domain and by -inf sum over the same domain") {
  auto domains = [](const std::string& body) {
    ir::Program p = test::kernel(attention(body));
    run_passes(p);
    int masked = 0, free = 0;
    for (const ir::Equation& e : p.equations) {
      const ir::Node& n = p.pool[e.body];
      if (n.op == ir::Op::reduce && p.pool[n.args[0]].op != ir::Op::mul) (p.pool.is_true(n.args[1]) ? free : masked)++;
    }
    return std::pair(masked, free);
  };
  const auto by_domain = domains("s[m,n] = sum[d](q[m,d] * k[n,d])\no[m,e] = sum[n](softmax[n where n <= m](s[m,n]) * v[n,e])\n");
  const auto by_infinity = domains("s[m,n] = sum[d](q[m,d] * k[n,d])\no[m,e] = sum[n](softmax[n](where(n <= m, s[m,n], -inf)) * v[n,e])\n");
  CHECK(by_domain == by_infinity);
  CHECK(by_domain.first == 2);
}
