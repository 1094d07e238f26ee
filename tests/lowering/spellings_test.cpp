// One kernel out of all spellings: the tile programs of attention written as index statements, as einsum, as broadcast
// tiles and with the softmax by hand are the same, names apart, up to the guard that makes an empty softmax 0.
#include <cctype>
#include <fstream>
#include <map>
#include <regex>
#include <sstream>
#include <string>

#include "compiler/compile.h"
#include "compiler/ir/print_tile.h"
#include "dsl/check/check.h"
#include "dsl/syntax/parse.h"
#include "tests/catch.h"

using namespace quern;

namespace {

tile::Module compiled(const std::string& file, const std::string& kernel) {
  std::ifstream in(std::string(QUERN_SOURCE_DIR "/examples/") + file);
  REQUIRE(in.good());
  std::stringstream text;
  text << in.rdbuf();
  const dsl::Source source(file, text.str());
  dsl::Diagnostics diagnostics;
  const dsl::ast::File parsed = dsl::parse(source, diagnostics);
  const dsl::ast::Kernel* found = dsl::find_kernel(parsed, kernel, diagnostics);
  REQUIRE(found);
  dsl::Bindings bindings;
  bindings.values["D"] = 64;
  auto program = dsl::check(*found, &parsed, source, bindings, diagnostics);
  INFO(dsl::render(diagnostics, source));
  REQUIRE(program);
  compiler::CompileOptions options;
  options.passes.verify = true;
  options.plan.target.vector_bytes = 64;
  options.plan.target.registers = 32;
  return compiler::compile(std::move(*program), options);
}

/// The printed module with names numbered in order of appearance and notes dropped.
std::string canonical(const std::string& printed) {
  std::string out;
  std::map<std::string, std::string> names;
  std::istringstream lines(printed);
  for (std::string line; std::getline(lines, line);) {
    line = line.substr(0, line.find("  #"));
    for (std::size_t i = 0; i < line.size();) {
      const bool starts = std::isalpha(static_cast<unsigned char>(line[i])) || line[i] == '_';
      const bool in_number = i > 0 && (std::isdigit(static_cast<unsigned char>(line[i - 1])) || line[i - 1] == '.');
      if (!starts || in_number) {
        out += line[i++];
        continue;
      }
      std::size_t end = i;
      while (end < line.size() && (std::isalnum(static_cast<unsigned char>(line[end])) || line[end] == '_')) ++end;
      const std::string word = line.substr(i, end - i);
      static const std::regex spelled("kernel|grid|in|step|lanes|tile|nest|for|if|else|from|where|and|or|not|sum|max|min|exp2?|abs|inf|true|false|bool|f32|i32|x[0-9]+");
      if (std::regex_match(word, spelled)) out += word;
      else out += names.emplace(word, std::string("n").append(std::to_string(names.size()))).first->second;
      i = end;
    }
    out += '\n';
  }
  return out;
}

/// where(0 < N, value, 0.0) around the stored result: what an empty softmax adds to the hand-written form.
std::string without_guard(std::string text) {
  const std::regex guard(R"((\n *\S+\[[^\n]*\] = )where\(0 < n\d+, ([^\n]*), 0\.0\)(\n))");
  return std::regex_replace(text, guard, "$1$2$3");
}

}  // namespace

TEST_CASE("attention in four spellings is one kernel") {
  const std::string index = canonical(tile::print_module(compiled("attention.quern", "attention")));
  CHECK(canonical(tile::print_module(compiled("attention.quern", "attention_einsum"))) == index);
  CHECK(without_guard(index) != index);
  CHECK(canonical(tile::print_module(compiled("attention.quern", "attention_tiles"))) == without_guard(index));
  CHECK(canonical(tile::print_module(compiled("attention.quern", "attention_by_hand"))) == without_guard(index));
}

TEST_CASE("attention is one kernel without workspace that walks the keys once") {
  for (const char* kernel : {"attention", "attention_by_hand", "attention_without_max", "multi_head", "causal"}) {
    const tile::Module module = compiled("attention.quern", kernel);
    CAPTURE(kernel);
    CHECK(module.kernels.size() == 1);
    CHECK(module.workspace.empty());
    int loops = 0;
    for (const tile::Statement& s : module.kernels[0].body) loops += std::holds_alternative<tile::For>(s.node);
    CHECK(loops == 1);
  }
}

TEST_CASE("a reduction of all pairs stores no matrix of pairs") {
  for (const char* kernel : {"nearest", "k_nearest"}) {
    const tile::Module module = compiled("memory.quern", kernel);
    CAPTURE(kernel);
    CHECK(module.kernels.size() == 1);
    CHECK(module.workspace.empty());
  }
}
