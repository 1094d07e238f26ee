// Every kernel of examples/ with every case: the interpreter runs it, and the CPU gives the interpreter's values within
// its bound, the same bits twice, over poisoned outputs, with guard pages around every argument.
#include <fstream>
#include <iterator>
#include <set>

#include <fmt/format.h>

#include "dsl/syntax/parse.h"
#include "tests/catch.h"
#include "tests/programs/programs.h"
#include "tools/fuzz/device.h"
#include "tools/fuzz/judge.h"
#include "tools/fuzz/variants.h"

using namespace quern;

namespace {

void agree(const test::ExampleFile& file, const fuzz::Case& which, const fuzz::JudgeOptions& options = {}) {
  const fuzz::Verdict verdict = fuzz::judge(file.text, which, options);
  INFO(file.name << ".quern, kernel " << which.kernel << ", case " << which.text());
  INFO(fuzz::name(verdict.outcome) << ": " << verdict.message);
  CHECK(verdict.outcome == fuzz::Outcome::agree);
}

void run_file(const std::string& name, bool slow) {
  const test::ExampleFile& file = test::example(name);
  REQUIRE(!file.cases.empty());
  for (const fuzz::Case& which : file.cases)
    if (which.slow == slow) agree(file, which);
}

/// The first case of each kernel.
std::vector<std::pair<const test::ExampleFile*, fuzz::Case>> first_cases() {
  std::vector<std::pair<const test::ExampleFile*, fuzz::Case>> out;
  for (const test::ExampleFile& file : test::examples()) {
    std::string last;
    for (const fuzz::Case& which : file.cases) {
      if (which.kernel != last) out.emplace_back(&file, which);
      last = which.kernel;
    }
  }
  return out;
}

}  // namespace

TEST_CASE("every kernel of the examples has a case") {
  for (const test::ExampleFile& file : test::examples()) {
    const dsl::Source source(file.name, file.text);
    dsl::Diagnostics diagnostics;
    std::set<std::string> kernels, with_cases;
    for (const dsl::ast::Item& item : dsl::parse(source, diagnostics).items)
      if (const auto* kernel = std::get_if<dsl::ast::Kernel>(&item.node)) kernels.insert(kernel->name.text);
    for (const fuzz::Case& c : file.cases) with_cases.insert(c.kernel);
    INFO(file.name);
    CHECK(kernels == with_cases);
  }
}

TEST_CASE("loops agree") { run_file("loops", false); }
TEST_CASE("einsum agrees") { run_file("einsum", false); }
TEST_CASE("memory agrees") { run_file("memory", false); }
TEST_CASE("broadcasting agrees") { run_file("broadcasting", false); }
TEST_CASE("indexing agrees") { run_file("indexing", false); }
TEST_CASE("attention agrees") { run_file("attention", false); }
TEST_CASE("scores agree") { run_file("scores", false); }
TEST_CASE("serving agrees") { run_file("serving", false); }
TEST_CASE("networks agree") { run_file("networks", false); }
TEST_CASE("large cases agree", "[.slow]") {
  for (const test::ExampleFile& file : test::examples())
    for (const fuzz::Case& which : file.cases)
      if (which.slow) agree(file, which);
}

TEST_CASE("plans for many tasks agree") {
  // The sizes lie on both sides of where reductions are cut; tests/cuda_programs runs the same cases as CUDA text.
  for (const char* name : {"reductions", "columns", "scans", "top", "sorts"}) {
    std::ifstream in(fmt::format("{}/tests/cuda_programs/plans/{}.quern", QUERN_SOURCE_DIR, name));
    const std::string text{std::istreambuf_iterator<char>(in), {}};
    REQUIRE(!fuzz::cases_of(text).empty());
    for (const fuzz::Case& which : fuzz::cases_of(text)) agree({name, text, {}}, which);
  }
}

TEST_CASE("strided, reversed, transposed, offset, padded and repeated inputs are read in place") {
  for (const char* layout : {"transposed", "reversed", "strided", "offset", "padded", "broadcast"})
    for (const auto& [file, which] : first_cases()) agree(*file, fuzz::with_layout(file->text, which, layout));
}

TEST_CASE("whole numbers give the exact bits") {
  const test::ExampleFile file = test::example("einsum");
  for (fuzz::Case which : file.cases) {
    if (which.kernel == "head_scores") continue;  // divides by a root
    for (const char* name : {"a", "b", "c", "x", "y"}) which.settings[name] = "integers";
    which.settings["exact"].assign(1, '1');
    agree(file, which);
  }
  for (const char* kernel : {"embedding", "embedding_index", "embedding_gradient", "scatter_largest", "diagonals", "batched_diagonal", "largest_k", "mask_future"})
    for (fuzz::Case which : test::example("indexing").cases) {
      if (which.kernel != kernel) continue;
      for (const char* name : {"table", "g", "dw", "x", "s", "best"}) which.settings[name] = "integers";
      which.settings["exact"].assign(1, '1');
      agree(test::example("indexing"), which);
    }
}
