// What whole-tensor statements become (translations.txt) and what is said of wrong ones (errors.txt). Both files hold
// cases: "===", a text, "---", the answer. The printed translation checks to itself again. With QUERN_ACCEPT set in the
// environment the answers are written anew instead: read the difference before committing it.
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/catch.h"
#include "tests/whole_tensor/translate.h"

using namespace quern::dsl;
using test::translate;
using test::Translated;

namespace {

struct Case {
  std::string text, answer;
};

std::vector<Case> cases_of(const std::string& file) {
  std::ifstream in(QUERN_SOURCE_DIR "/tests/whole_tensor/" + file);
  REQUIRE(in.good());
  std::vector<Case> cases;
  std::string line;
  bool answer = false;
  while (std::getline(in, line)) {
    if (line == "===") {
      cases.emplace_back();
      answer = false;
    } else if (line == "---") {
      answer = true;
    } else {
      REQUIRE_FALSE(cases.empty());
      (answer ? cases.back().answer : cases.back().text) += line + "\n";
    }
  }
  return cases;
}

/// True when the answers were accepted instead of compared.
template <typename Answer>
bool accept(const std::string& file, const std::vector<Case>& cases, Answer answer) {
  if (std::getenv("QUERN_ACCEPT") == nullptr) return false;
  std::ofstream out(QUERN_SOURCE_DIR "/tests/whole_tensor/" + file);
  for (const Case& c : cases) out << "===\n" << c.text << "---\n" << answer(c.text);
  return true;
}

}  // namespace

TEST_CASE("translations") {
  const auto cases = cases_of("translations.txt");
  CHECK(cases.size() > 20);
  if (accept("translations.txt", cases, [](const std::string& text) { return translate(text).text; })) return;
  for (const Case& c : cases) {
    INFO(c.text);
    const Translated result = translate(c.text);
    CHECK(result.messages == "");
    CHECK(result.text == c.answer);
    CHECK(result.faults == std::vector<std::string>{});
    const Translated again = translate(result.text);
    CHECK(again.messages == "");
    CHECK(again.text == result.text);
  }
}

TEST_CASE("messages") {
  const auto cases = cases_of("errors.txt");
  CHECK(cases.size() > 20);
  if (accept("errors.txt", cases, [](const std::string& text) { return translate(text).messages; })) return;
  for (const Case& c : cases) {
    INFO(c.text);
    CHECK(translate(c.text).messages == c.answer);
  }
}

TEST_CASE("every row of whole-tensor messages has a case") {
  std::string all;
  for (const Case& c : cases_of("errors.txt")) all += c.answer;
  for (auto code = static_cast<std::size_t>(Code::broadcast_clash); code <= static_cast<std::size_t>(Code::einsum_size); ++code) {
    // The fixed words of the row stand in some answer.
    const std::string format(format_of(static_cast<Code>(code)));
    std::size_t begin = 0, longest = 0, at = 0;
    for (std::size_t i = 0; i <= format.size(); ++i) {
      if (i < format.size() && format[i] != '{' && format[i] != '}') continue;
      if (i - begin > longest) {
        longest = i - begin;
        at = begin;
      }
      begin = i + 1;
    }
    INFO(format);
    CHECK(all.find(format.substr(at, longest)) != std::string::npos);
  }
}

TEST_CASE("three spellings of attention are one program") {
  const std::string head = "(q: f16[B,H,M,D], k: f16[B,H,N,D], v: f16[B,H,N,E]) -> (o: f16[B,H,M,E]) {\n";
  const auto index = translate("kernel a<D, E>" + head +
                               "s[b,h,m,n] = sum[d](q[b,h,m,d] * k[b,h,n,d]) / sqrt(D)\n"
                               "o[b,h,m,e] = sum[n](softmax[n](s[b,h,m,n]) * v[b,h,n,e])\n}");
  const auto einsum = translate("kernel a<D, E>" + head +
                                "s = einsum(\"bhmd,bhnd->bhmn\", q, k) / sqrt(D)\n"
                                "o = einsum(\"bhmn,bhne->bhme\", softmax(s, axis=-1), v)\n}");
  const auto tiles = translate("kernel a<D, E>" + head +
                               "s = sum(q[:, :, :, None] * k[:, :, None], dim=-1) / sqrt(D)\n"
                               "o = sum(softmax(s, dim=-1)[..., None] * v[:, :, None], axis=3)\n}");
  CHECK(index.messages + einsum.messages + tiles.messages == "");
  CHECK(einsum.text == index.text);
  CHECK(tiles.text == index.text);
}
