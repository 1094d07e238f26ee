// The check of literals against the real front end: what that accepts is never refused, on every program of this repository,
// random ones, and all of them damaged; and the mistakes that it promises to find are found.
#include <quern/literal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include <fmt/format.h>

#include <quern/quern.h>

#include "dsl/syntax/parse.h"
#include "tests/catch.h"
#include "tools/command/loaded_kernel.h"
#include "tools/fuzz/generate.h"

using namespace quern::literals;
namespace fs = std::filesystem;

namespace {

std::string read(const fs::path& path) {
  std::stringstream text;
  text << std::ifstream(path, std::ios::binary).rdbuf();
  return text.str();
}

/// Whether every kernel of the text checks, open element types taken as f32.
bool accepted(const std::string& text, bool* parses = nullptr) {
  const quern::dsl::Source source("text", text);
  quern::dsl::Diagnostics diagnostics;
  const quern::dsl::ast::File file = quern::dsl::parse(source, diagnostics);
  if (parses) *parses = !diagnostics.has_errors();
  if (diagnostics.has_errors()) return false;
  try {
    quern::command::check_all_kernels(file, source, {}, diagnostics);
  } catch (const std::exception&) {
    return false;
  }
  return !diagnostics.has_errors();
}

const std::vector<std::string>& programs() {
  static const std::vector<std::string> all = [] {
    std::vector<std::string> list;
    for (const char* folder : {"/examples", "/tests"})
      for (const auto& entry : fs::recursive_directory_iterator(std::string(QUERN_SOURCE_DIR) + folder))
        if (entry.path().extension() == ".quern") list.push_back(read(entry.path()));
    // Expected errors: === text --- message.
    for (const char* file : {"/tests/check/errors.txt", "/tests/syntax/errors.txt", "/tests/whole_tensor/errors.txt", "/tests/whole_tensor/translations.txt"}) {
      std::istringstream lines(read(std::string(QUERN_SOURCE_DIR) + file));
      std::string text;
      bool inside = false;
      for (std::string line; std::getline(lines, line);) {
        if (line == "===") { text.clear(); inside = true; continue; }
        if (line == "---" && inside) { list.push_back(text); inside = false; }
        if (inside) text += line + "\n";
      }
    }
    // One kernel each too: files go beyond what a literal is looked at.
    const std::size_t files = list.size();
    for (std::size_t i = 0; i < files; ++i)
      for (std::size_t at = list[i].find("\nkernel "); at != std::string::npos;) {
        const std::size_t next = list[i].find("\nkernel ", at + 1);
        list.push_back(list[i].substr(at + 1, next == std::string::npos ? next : next - at));
        at = next;
      }
    for (std::uint64_t seed = 1; seed <= 400; ++seed) list.push_back(quern::fuzz::generate(seed));
    return list;
  }();
  return all;
}

std::string refusal(const std::string& text) {
  const quern::literal::Mistake mistake = quern::literal::find_mistake(text);
  return mistake.what ? fmt::format("{}, at: {}", mistake.what, text.substr(mistake.at, 40)) : std::string();
}

}  // namespace

TEST_CASE("what a Kernel accepts is not refused") {
  int count = 0;
  for (const std::string& text : programs()) {
    if (!accepted(text)) continue;
    ++count;
    INFO(text);
    CHECK(refusal(text) == "");
  }
  CHECK(count > 600);
}

TEST_CASE("nor when a program was changed a little and still is one") {
  const char* given = std::getenv("QUERN_LITERAL_SEED");
  const unsigned long seed = given ? std::strtoul(given, nullptr, 10) : 1;
  std::mt19937 generator(static_cast<unsigned>(seed));
  const auto below = [&](std::size_t n) { return n == 0 ? 0 : generator() % n; };
  const char* snippets[] = {"[", "]", "(", ")", ",", "=", "+", "-", "*", "n", "m", "x", " where ", "sum[n](x[n])", ":", "1", "\n", ";", "None", "...", ".T", "**", "not ", "let z = 1\n", "axis=0", "in 0:N"};
  int still = 0, broken = 0, found = 0;
  for (int round = 0; round < 12; ++round)
    for (const std::string& program : programs()) {
      if (program.size() > 1500 || program.empty()) continue;
      std::string text = program;
      for (std::size_t changes = 1 + below(2); changes-- > 0;) {
        const std::size_t at = below(text.size());
        switch (below(4)) {
          case 0: text.erase(at, 1 + below(4)); break;
          case 1: text.insert(at, snippets[below(std::size(snippets))]); break;
          case 2: std::swap(text[at], text[below(text.size())]); break;
          default: text[at] = "abdkmnqvxDMN019_[](),=+*"[below(24)]; break;
        }
        if (text.empty()) text.assign(1, ' ');
      }
      if (!accepted(text)) {
        ++broken;
        found += !refusal(text).empty();
        continue;
      }
      ++still;
      INFO("REPRO: QUERN_LITERAL_SEED=" << seed << "\n" << text);
      CHECK(refusal(text) == "");
    }
  WARN(still << " changed programs were still right; of " << broken << " wrong ones " << found << " were refused");
  CHECK(still > 300);
  CHECK(found * 2 > broken);
}

TEST_CASE("the mistakes that are promised") {
  const auto in_kernel = [](const std::string& statements) {
    return refusal(fmt::format("kernel f<D>(x: f32[M,N], y: f32[N], s: f32) -> (o: f32[M]) {{\n{}\n}}", statements));
  };
  const auto begins = [](const std::string& text, const std::string& start) {
    INFO(text);
    CHECK(text.rfind(start, 0) == 0);
  };
  CHECK(in_kernel("o[m] = sum[n](x[m,n] * y[n]) * s") == "");
  begins(in_kernel("o[m] = sum[n](x[m,k])"), "an index that is neither on the left side nor bound by a reduction, at: k]");
  begins(in_kernel("o[m] = x[m,n]"), "an index that is neither on the left side nor bound by a reduction, at: n]");
  begins(in_kernel("o[m] = sum[n](x[m,n]) + y[n]"), "an index that is neither on the left side nor bound by a reduction, at: n]");
  begins(in_kernel("o[m] = sum[n](x[m,n]) * t"), "a name that nothing defines, at: t");
  begins(in_kernel("o[m] = sum[n](x[m,n,n])"), "more subscripts than the tensor has axes, at: x[m,n,n]");
  begins(in_kernel("o[m] = sum[n](x[n])"), "fewer indices than the tensor has axes, at: x[n]");
  begins(in_kernel("o[m] = s[m]"), "more subscripts than the tensor has axes, at: s[m]");
  begins(in_kernel("o[m,n] = x[m,n]"), "the target has another number of axes, at: o[m,n]");
  begins(in_kernel("t[m] = sum[n](x[m,n])\no[m] = t[m,m]"), "more subscripts than the tensor has axes, at: t[m,m]");
  begins(in_kernel("o[m] = sum[n](x[m,n]"), "',' or ')' is missing");
  begins(in_kernel("o[m] = sum[n]x[m,n])"), "'(' and what the reduction acts on are missing, at: x[m,n])");
  begins(in_kernel("o[m] = sum[n](x[m,n]) +"), "an expression is missing");
  begins(in_kernel("o[m] = 1 < 2 < 3"), "a comparison of a comparison, at: < 3");
  begins(in_kernel("o[m] = x[m,0] $ 2"), "a character that no program has, at: $ 2");
  begins(in_kernel("o = einsum(\"mn,n->m\", x)"), "einsum's subscripts are of another number of operands, at: einsum");
  begins(in_kernel("o[m] = einsum(\"mn->m, x)"), "a string that is not closed");
  begins(in_kernel("o[m] x[m,0]"), "'=' is missing, at: x[m,0]");
  begins(refusal("kernel f(x: f32[N]) -> (o: f32[N]) { o[n] = x[n]"), "'}' is missing");
  begins(refusal("kernal f(x: f32[N])"), "'kernel', 'let' or '@' is missing, at: kernal");
}

TEST_CASE("a literal makes a kernel") {
  constexpr auto program = R"(
    kernel f(x: f32[M,N]) -> (s: f32[M]) {
      s[m] = sum[n](x[m,n])
    })"_quern;
  const quern::Kernel kernel(program, quern::Options().on(quern::Device::interpreter));
  const std::vector<float> x{1, 2, 3, 4};
  const quern::Tensor s = kernel(quern::TensorView(x.data(), {2, 2}));
  CHECK(s.view().get({1}) == 7);
}
