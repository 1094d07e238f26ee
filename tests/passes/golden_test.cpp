// What each pass makes of golden/programs.quern, in golden/<pass>/<kernel>.txt. QUERN_ACCEPT=1 writes what is new.
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "compiler/passes/pipeline.h"
#include "dsl/ir/print_program.h"
#include "dsl/ir/verify_program.h"
#include "tests/catch.h"
#include "tests/passes/text.h"

using namespace quern;
using namespace quern::compiler;

namespace {
const std::string kGolden = std::string(QUERN_SOURCE_DIR) + "/tests/passes/golden/";
}

TEST_CASE("golden programs before and after each pass") {
  const bool accept = std::getenv("QUERN_ACCEPT") != nullptr;
  std::map<std::string, std::string> made;  // path -> text
  test::for_each_kernel("programs.quern", test::contents(kGolden + "programs.quern"), {}, [&](const ir::Program& original) {
    ir::Program program = original;
    std::string before = print_program(program);
    PassOptions options;
    options.verify = true;
    options.after = [&](const Pass& pass, const ir::Program& now, bool changed, double) {
      const std::string after = print_program(now);
      if (changed && after != before)
        made[std::string(pass.name) + "/" + program.name + ".txt"] += "before\n" + before + "after\n" + after + "\n";
      before = after;
    };
    run_passes(program, options);
  });
  std::set<std::string> shown;
  for (const auto& [path, text] : made) {
    shown.insert(path.substr(0, path.find('/')));
    const std::string full = kGolden + path;
    if (accept && test::contents(full) != text) {
      std::filesystem::create_directories(std::filesystem::path(full).parent_path());
      std::ofstream(full) << text;
    }
    INFO(path << " (QUERN_ACCEPT=1 accepts)\n" << text);
    CHECK(test::contents(full) == text);
  }
  for (const Pass& pass : passes()) {
    INFO("no golden program shows " << pass.name);
    CHECK(shown.contains(std::string(pass.name)));
  }
  // Nothing stale.
  for (const auto& entry : std::filesystem::recursive_directory_iterator(kGolden)) {
    if (entry.path().extension() != ".txt") continue;
    const std::string path = std::filesystem::relative(entry.path(), kGolden).string();
    if (accept && !made.contains(path)) std::filesystem::remove(entry.path());
    INFO(path << " is not made any more (QUERN_ACCEPT=1 removes it)");
    CHECK((accept || made.contains(path)));
  }
}
