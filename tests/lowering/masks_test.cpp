// Where -inf as a score at the points outside may take the place of all tests, and where some reader would notice.
#include <string>
#include <vector>

#include "compiler/codegen/cuda/plan_cuda.h"
#include "compiler/ir/print_tile.h"
#include "dsl/check/check.h"
#include "dsl/syntax/parse.h"
#include "tests/catch.h"

using namespace quern;

namespace {

/// What stands behind "outside of blocks:" in the tile program for warp roles; a kernel without roles is not what is meant.
std::vector<std::string> masks_of(const std::string& body) {
  const std::string text = "kernel f<D: int = 64>(q: bf16[M,D], k: bf16[N,D], v: bf16[N,D], len: i32[M]) -> (o: bf16[M,D]) {\n" + body + "}\n";
  const dsl::Source source("masks.quern", text);
  dsl::Diagnostics diagnostics;
  const dsl::ast::File parsed = dsl::parse(source, diagnostics);
  auto program = dsl::check(*dsl::find_kernel(parsed, "f", diagnostics), &parsed, source, {}, diagnostics);
  INFO(dsl::render(diagnostics, source));
  REQUIRE(program);
  tile::Module module = cuda::plan_for_cuda(std::move(*program), {cuda::target_named("sm_90a").value(), {}});
  std::erase_if(module.kernels, [](const tile::Kernel& k) { return k.groups == 0; });  // the plan for few rows has masks of its own
  const std::string printed = tile::print_module(module);
  INFO(printed);
  CHECK(printed.find("groups ") != std::string::npos);
  std::vector<std::string> lines;
  const std::string title = "outside of blocks:\n";
  for (std::size_t at = 0; (at = printed.find(title, at)) != std::string::npos;) {
    at = printed.find('\n', at + title.size()) + 1;  // the nest's line
    const std::size_t end = printed.find('\n', at), begin = printed.find_first_not_of(' ', at);
    lines.push_back(printed.substr(begin, end - begin));
  }
  return lines;
}

}  // namespace

TEST_CASE("a mask holds all that says whether a point counts") {
  const auto masked = [](const std::string& scores, const std::string& domain) {
    const std::vector<std::string> masks = masks_of("o[m,e] = sum[n](softmax[n" + domain + "](" + scores + ") * v[n,e])");
    REQUIRE(masks.size() == 1);
    // tile[...] = where(what the points inside are, tile[...], -inf)
    const std::size_t equals = masks[0].find(" = where(");
    REQUIRE(equals != std::string::npos);
    const std::string tile = masks[0].substr(0, equals), rest = masks[0].substr(equals + 9), end = ", " + tile + ", -inf)";
    INFO(masks[0]);
    REQUIRE(rest.size() > end.size());
    CHECK(rest.substr(rest.size() - end.size()) == end);
    return rest.substr(0, rest.size() - end.size());
  };
  const std::string product = "sum[d](q[m,d] * k[n,d])", last = "n8 < min(N, min(m_block + 192, M) - 1 + 1)";
  CHECK(masked(product, "") == "n8 < N");
  CHECK(masked(product, " where n <= m") == last + " and n8 <= m10");
  CHECK(masked(product, " where n <= m and n > m - 100") == last + " and n8 <= m10 and n8 > m10 - 100");
  // Scores made of products, whose tile is masked rather than the products': tanh(-inf) would be a score.
  CHECK(masked("tanh(" + product + ")", " where n <= m") == last + " and n8 <= m10");
}

TEST_CASE("no mask where -inf would be noticed, or where memory says which points count") {
  const std::string s = "s[m,n] = sum[d](q[m,d] * k[n,d])\n";
  // As a weight, -inf is no zero.
  CHECK(masks_of(s + "o[m,e] = sum[n where n <= m](s[m,n] * v[n,e])").empty());
  // 1 - sigmoid(-inf) is 1.
  CHECK(masks_of(s + "o[m,e] = sum[n where n <= m]((1 - sigmoid(s[m,n])) * v[n,e])").empty());
  // The least score would be -inf.
  CHECK(masks_of(s + "low[m] = min[n where n <= m](s[m,n])\no[m,e] = sum[n](softmax[n where n <= m](s[m,n]) * v[n,e]) + low[m]").empty());
  // exp(x - -inf).
  CHECK(masks_of(s + "o[m,e] = sum[n where n <= m](exp(1 - s[m,n]) * v[n,e])").empty());
  CHECK(masks_of(s + "o[m,e] = sum[n](softmax[n where n < len[m]](s[m,n]) * v[n,e])").empty());
}
