// Random whole-tensor expressions, most of them wrong: the checker answers each with messages or with a program that
// verifies and prints to itself. Failures print their seed.
#include <random>

#include "tests/catch.h"
#include "tests/whole_tensor/translate.h"

using namespace quern::dsl::test;

namespace {

class Maker {
 public:
  explicit Maker(std::uint32_t seed) : random_(seed) {}

  std::string expression(int depth) {
    if (depth <= 0) return pick({"x", "y", "z", "ids", "b", "c", "s", "N", "2", "0.5", "t", "arange(N)", "inf"});
    const auto e = [&] { return expression(depth - 1 - below(2)); };
    switch (below(16)) {
      case 0: return text({e(), pick({" + ", " * ", " - ", " / "}), e()});
      case 1: return text({"(", e(), pick({" < ", " == ", " and ", " + "}), e(), ")"});
      case 2: return text({e(), " @ ", e()});
      case 3: return text({"(", e(), ").T"});
      case 4: return text({"(", e(), ")", subscripts(depth)});
      case 5: return text({pick({"x", "y", "c", "ids"}), subscripts(depth)});
      case 6: return text({pick({"sum", "max", "mean", "argmax", "var", "any", "count", "norm", "logsumexp"}), "(", e(), axis(), pick({"", ", keepdims=true"}), ")"});
      case 7: return text({pick({"softmax", "cumsum", "sort", "argsort", "cummax", "log_softmax"}), "(", e(), axis(), ")"});
      case 8: return text({pick({"exp", "abs", "f16", "i32", "relu", "sqrt", "twice", "soft"}), "(", e(), ")"});
      case 9: return text({pick({"outer", "maximum", "where", "take", "one_hot", "matmul"}), "(", e(), ", ", e(), pick({"", text({", ", e()}), axis()}), ")"});
      case 10: return text({pick({"concat", "stack"}), "([", e(), ", ", e(), "]", axis(), ")"});
      case 11: return text({pick({"triu", "tril", "diagonal", "trace", "transpose"}), "(", e(), pick({"", ", 1", ", -1"}), ")"});
      case 12: return text({"[", e(), ", ", e(), "]"});
      case 13: return text({"einsum(\"", pick({"ij,jk->ik", "ij->ji", "ii->", "ii->i", "i,j->ij", "ij,ij->i", "...i,...i->...", "ij->", "i,i->"}), "\", ", e(), pick({"", text({", ", e()})}), ")"});
      case 14: return pick({"zeros((N, N))", "ones(N)", "full([N, 1], 2)", "eye(N)", "arange(1, 5)", "arange(N, 0, -1)"});
      default: return text({"take_along_axis(", e(), ", ", e(), axis(), ")"});
    }
  }

 private:
  static std::string text(std::initializer_list<std::string_view> parts) {
    std::string out;
    for (std::string_view part : parts) out += part;
    return out;
  }
  std::uint32_t below(std::uint32_t n) { return random_() % n; }
  std::string pick(std::vector<std::string> words) { return words[below(static_cast<std::uint32_t>(words.size()))]; }
  std::string axis() { return pick({", axis=-1", ", axis=0", ", axis=1", ", dim=-2", "", ", axis=(0, 1)"}); }
  std::string subscripts(int depth) {
    std::string out;
    for (std::uint32_t n = 1 + below(3); n > 0; --n) {
      if (!out.empty()) out += ", ";
      out += pick({":", "None", "...", "0", "-1", "1:", ":-1", "::2", "::-1", "ids", "1:3", expression(depth - 2), "N - 1", "W:"});
    }
    return text({"[", out, "]"});
  }
  std::mt19937 random_;
};

}  // namespace

TEST_CASE("random whole-tensor expressions") {
  int accepted = 0;
  for (std::uint32_t seed = 0; seed < 6000; ++seed) {
    Maker maker(seed);
    std::string program =
        "let twice(a) = a + a\nlet soft(a) = a / sum(a, axis=-1, keepdims=true)\n"
        "kernel k<W>(x: f32[N,N], y: f32[N], z: f16[N,N], ids: i32[N] in 0:N, b: bool[N,N], c: f32[4,4], s: f32, inout t: f32[N,N]) {\n";
    for (int i = 0; i < 2; ++i) program += fmt::format("  r{} = {}\n", i, maker.expression(1 + seed % 3));
    program += fmt::format("  r2 = r0 {} r1\n  t += y\n}}\n", seed % 2 ? "+" : "*");
    INFO("REPRO: seed " << seed << "\n" << program);
    const Translated result = translate(program);
    CHECK(result.messages.empty() == !result.text.empty());
    CHECK(result.messages.find("internal") == std::string::npos);
    if (result.text.empty()) continue;
    ++accepted;
    INFO(result.text);
    CHECK(result.faults == std::vector<std::string>{});
    const Translated again = translate(result.text);
    CHECK(again.messages == "");
    CHECK(again.text == result.text);
  }
  CHECK(accepted > 400);
}
