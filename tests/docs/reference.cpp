// Every block marked `quern` in the pages of the project is a file of the language: it is read, checked, and formatted twice.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "dsl/check/check.h"
#include "dsl/ir/verify_program.h"
#include "dsl/syntax/parse.h"
#include "dsl/syntax/print.h"
#include "tests/catch.h"

using namespace quern::dsl;

namespace {

struct Block {
  std::string place, text;
};

void collect(const std::filesystem::path& page, std::vector<Block>& blocks) {
  std::ifstream in(page);
  std::string line;
  bool inside = false;
  for (int number = 1; std::getline(in, line); ++number) {
    if (!inside && line == "```quern") {
      inside = true;
      blocks.push_back({page.filename().string() + ":" + std::to_string(number + 1), {}});
    } else if (inside && line.rfind("```", 0) == 0) {
      inside = false;
    } else if (inside) {
      blocks.back().text.append(line).append("\n");
    }
  }
}

}  // namespace

TEST_CASE("blocks of the reference check") {
  std::vector<Block> blocks;
  for (const char* page : {"dsl/README.md", "README.md"}) collect(std::filesystem::path(QUERN_SOURCE_DIR) / page, blocks);
  CHECK(blocks.size() >= 10);
  for (const Block& block : blocks) {
    const Source source(block.place, block.text);
    Diagnostics reading;
    const ast::File file = parse(source, reading);
    INFO(block.text << render(reading, source));
    REQUIRE_FALSE(reading.has_errors());
    const std::string formatted = print(file, &source);
    const Source again("formatted", formatted);
    Diagnostics nothing;
    CHECK(print(parse(again, nothing), &again) == formatted);
    for (const ast::Item& item : file.items) {
      const auto* kernel = std::get_if<ast::Kernel>(&item.node);
      if (kernel == nullptr) continue;
      Diagnostics diagnostics;
      const auto program = check(*kernel, &file, source, {}, diagnostics);
      INFO(render(diagnostics, source));
      REQUIRE(program.has_value());
      CHECK(quern::ir::verify_program(*program) == std::vector<std::string>{});
    }
  }
}
