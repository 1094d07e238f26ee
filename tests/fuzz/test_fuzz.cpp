// Random programs agree with the interpreter, hold everything the language has, and notice every deliberate fault.
// QUERN_FUZZ_COUNT and QUERN_FUZZ_SEED choose another run; each failure prints how to repeat it.
#include <set>

#include "compiler/mutants/mutate.h"
#include "dsl/syntax/parse.h"
#include "dsl/syntax/print.h"
#include "tests/catch.h"
#include "tests/from_environment.h"
#include "tests/fuzz/regressions.h"
#include "tools/fuzz/device.h"
#include "tools/fuzz/fuzz.h"
#include "tools/fuzz/shrink.h"

using namespace quern;

TEST_CASE("random programs agree") {
  fuzz::FuzzOptions options;
  options.seed = static_cast<std::uint64_t>(test::from_environment("QUERN_FUZZ_SEED", 1));
  options.count = static_cast<int>(test::from_environment("QUERN_FUZZ_COUNT", 5000));
  const fuzz::FuzzReport report = fuzz::run_fuzz(options);
  for (const fuzz::Failure& f : report.failures) {
    INFO(f.repro() << "\n" << fuzz::name(f.verdict.outcome) << ": " << f.verdict.message << "\n" << f.program);
    CHECK(false);
  }
  CHECK(report.agreed + report.refused + static_cast<int>(report.failures.size()) == report.coverage.programs());
  CHECK(report.refused * 50 <= report.coverage.programs());
  // An answer that any value would satisfy shows nothing.
  if (fuzz::has_device(Device::cpu)) CHECK(report.undecided * 5 <= report.checked);
}

TEST_CASE("20,000 random programs hold everything the language has") {
  fuzz::Coverage coverage;
  for (std::uint64_t seed = 1; seed <= 20000; ++seed) coverage.add(fuzz::program_of(seed));
  for (const std::string& gap : coverage.gaps(20)) FAIL_CHECK(gap);
}

TEST_CASE("a seed gives one program, and its text is canonical after one print") {
  std::set<std::string> different;
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    const std::string text = fuzz::program_of(seed);
    CHECK(fuzz::program_of(seed) == text);
    different.insert(text);
    const dsl::Source source("fuzz", text);
    dsl::Diagnostics diagnostics;
    const dsl::ast::File file = dsl::parse(source, diagnostics);
    INFO(text);
    REQUIRE(!diagnostics.has_errors());
    const std::string printed = dsl::print(file, &source);
    const dsl::Source again("again", printed);
    const dsl::ast::File second = dsl::parse(again, diagnostics);
    CHECK(dsl::ast::equal(file, second));
    CHECK(dsl::print(second, &again) == printed);
  }
  CHECK(different.size() > 290);
}

TEST_CASE("programs that once failed") { test::regressions_agree({}); }

TEST_CASE("shrinking keeps the fault and drops the rest") {
  const std::string program =
      "#: M=7 N=5 x=wide/reversed y=normal\n"
      "@tf32 kernel fuzz(x: f16[M,N], y: f32[N]) -> (a: f32[M], b: f32[N]) {\n"
      "  a[m] = sum[n where n > 1](exp(x[m,n]) * tan(y[n]))\n"
      "  b[n] = y[n] + 1\n"
      "}\n";
  const std::string small = fuzz::shrink(program, [](const std::string& text) { return text.find("tan(") != std::string::npos; });
  CHECK(small.find("tan(") != std::string::npos);
  CHECK(small.find("exp(") == std::string::npos);
  CHECK(small.find("b[n]") == std::string::npos);
  CHECK(small.find("@tf32") == std::string::npos);
  CHECK(small.size() < program.size() * 2 / 3);
}

TEST_CASE("a worker that dies is a verdict") {
  const fuzz::Verdict verdict = fuzz::judge_apart("#: N=3\nkernel fuzz(x: f32[N]) -> (y: f32[N]) {\n  y[n] = z[n]\n}\n", {}, 60);
  CHECK(verdict.outcome == fuzz::Outcome::invalid);
  CHECK(verdict.message.find("'z'") != std::string::npos);
}

TEST_CASE("every deliberate fault is noticed") {
  if (!fuzz::has_device(Device::cpu)) return;
  const auto mutants = compiler::mutants();
  REQUIRE(mutants.size() >= 30);
  for (const std::string_view mutant : mutants) {
    fuzz::FuzzOptions options;
    options.mutant = std::string(mutant);
    options.shrink = false;
    options.seconds_per_program = 20;
    options.most_failures = 1;
    bool noticed = false;
    for (options.seed = 1; options.seed < 4000 && !noticed;) {
      options.count = 200;
      const fuzz::FuzzReport report = fuzz::run_fuzz(options);
      options.seed += 200;
      if (report.failures.empty()) continue;
      // The fault must be what was noticed.
      const std::uint64_t seed = report.failures.front().seed;
      options.seed = seed + 1;
      noticed = fuzz::judge_apart(fuzz::program_of(seed), fuzz::judge_options_of(seed, Device::cpu), 60).outcome == fuzz::Outcome::agree;
    }
    INFO(mutant);
    CHECK(noticed);
  }
}
