// No text crashes or hangs the parser: random bytes, random tokens, and examples with random damage. What it accepts
// round-trips. Every failure prints its seed.
#include <random>

#include "tests/catch.h"
#include "tests/syntax/read.h"

using namespace quern::dsl;
using test::Read;

namespace {

constexpr const char* kSample =
    "# attention\nlet soft(x) = x * sigmoid(x)\n@precise kernel attention<D, W: int = 4>(q: f16[B,H,M,D] in 0:N, inout k: f16[B,H,N,D],\n"
    "    scale: f32 = 1/sqrt(D)) -> (o: f16[B,H,M,D]) {\n  require M <= N\n  let off = N - M\n"
    "  s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)  # scores\n"
    "  view kk[b, n in 0:L*S, j] = k[t[b, n div S], n mod S, j]\n"
    "  o[b,(h,g),m,e] += sum[n](softmax[n where n <= m + off](s[b,h,m,n]) * v[b,h,n,e])\n"
    "  a, c = topk(x.T[:, None, ..., ::2] @ y, K, axis=-1); z = concat([[0], cumsum(x)])\n"
    "  v[t,j], i[t,j] = topk[x -> j in 0:K](p[t,x])\n  w = einsum(\"ij,jk->ik\", a, b) ** -2 if\n}\n";

const std::vector<std::string>& words() {
  static const std::vector<std::string> kWords = {
      "kernel", "let", "view", "require", "inout", "in", "where", "einsum", "sum", "softmax", "scan", "topk", "x", "y", "N", "f32", "prev",
      "None", "true", "inf", "and", "or", "not", "div", "mod", "max", "nondecreasing", "T", "axis", "(", ")", "[", "]", "{", "}", "<", ">",
      "=", "+=", "max=", "==", "!=", "<=", ">=", "->", "+", "-", "*", "/", "**", "@", ",", ";", ":", "...", ".", ".T", "^", "%", "!", "&&",
      "1", "2.5", "1e9", "0x", "\"ij->i\"", "\n", "\n", "\n  ", "#", "//", " "};
  return kWords;
}

void check_text(const std::string& text, std::uint32_t seed) {
  INFO("REPRO: seed " << seed << "\n" << text);
  Read read(text);
  CHECK(read.diagnostics.list().size() <= 20);
  CHECK(read.errors.size() < 64000);
  if (read.diagnostics.has_errors()) return;
  const std::string printed = print(read.file, &read.source);
  Read again(printed);
  INFO(printed << again.errors);
  REQUIRE_FALSE(again.diagnostics.has_errors());
  CHECK(ast::equal(read.file, again.file));
  CHECK(print(again.file, &again.source) == printed);
}

}  // namespace

TEST_CASE("random bytes") {
  for (std::uint32_t seed = 0; seed < 6000; ++seed) {
    std::mt19937 random(seed);
    std::string text(random() % 200, ' ');
    for (char& c : text) c = static_cast<char>(seed % 2 == 0 ? random() % 256 : 32 + random() % 95);
    check_text(text, seed);
  }
}

TEST_CASE("random tokens") {
  for (std::uint32_t seed = 0; seed < 8000; ++seed) {
    std::mt19937 random(seed);
    std::string text = seed % 3 == 0 ? "" : "kernel k(x: f32[N]) -> (y: f32[N]) {\n  y[i] = ";
    for (std::size_t n = random() % 60; n > 0; --n) text += words()[random() % words().size()] + (random() % 3 != 0 ? " " : "");
    if (seed % 3 == 2) text += "\n}\n";
    check_text(text, seed);
  }
}

TEST_CASE("damaged programs") {
  for (std::uint32_t seed = 0; seed < 6000; ++seed) {
    std::mt19937 random(seed);
    std::string text = kSample;
    for (std::size_t n = 1 + random() % 4; n > 0; --n) {
      if (text.empty()) break;
      const std::size_t at = random() % text.size();
      switch (random() % 4) {
        case 0: text.erase(at, 1 + random() % 5); break;
        case 1: text.insert(at, words()[random() % words().size()]); break;
        case 2: text[at] = static_cast<char>(random() % 256); break;
        default: text.resize(at + 1);
      }
    }
    check_text(text, seed);
  }
}

TEST_CASE("deep and long texts end at a limit") {
  const auto repeated = [](const std::string& unit, std::size_t count) {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += unit;
    return text;
  };
  for (const char* unit : {"(", "[", "-", "not ", "x[", "f(", "sum[n](", "2**", "x+", "x.T*", "x and ", "(x,", "x[1:", "sum[i where ", "einsum(\"i\",", "{", "<", "@", "kernel ", "let x=", "\"", "'", "1'", "..", "\n", "a\n", "a;", "x,", "a[x]="}) {
    for (const char* prefix : {"", "let y = ", "kernel k(x: f32[", "kernel k(x: f32[N]) {\n y = "}) {
      INFO(prefix << " then many of " << unit);
      Read read(prefix + repeated(unit, 50000));
      CHECK(read.errors.size() < 64000);
    }
  }
}
