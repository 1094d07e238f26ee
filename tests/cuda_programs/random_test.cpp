// Random programs as CUDA text on the emulator. QUERN_FUZZ_COUNT and QUERN_FUZZ_SEED choose another run.
#include "tests/catch.h"
#include "tests/cuda_programs/emulated_device.h"
#include "tests/from_environment.h"
#include "tests/fuzz/regressions.h"
#include "tools/fuzz/fuzz.h"

using namespace quern;

TEST_CASE("random programs agree on the emulator") {
  fuzz::FuzzOptions options;
  options.compile = test::emulated().compile;
  options.seed = static_cast<std::uint64_t>(test::from_environment("QUERN_FUZZ_SEED", 1));
  options.count = static_cast<int>(test::from_environment("QUERN_FUZZ_COUNT", 150));
  const fuzz::FuzzReport report = fuzz::run_fuzz(options);
  for (const fuzz::Failure& f : report.failures) {
    INFO("REPRO: QUERN_FUZZ_SEED=" << f.seed << " QUERN_FUZZ_COUNT=1 quern_test_cuda_programs 'random programs agree on the emulator'");
    INFO(fuzz::name(f.verdict.outcome) << ": " << f.verdict.message << "\n" << f.program);
    CHECK(false);
  }
  CHECK(report.agreed + report.refused + static_cast<int>(report.failures.size()) == report.coverage.programs());
  CHECK(report.undecided * 5 <= report.checked);
}

TEST_CASE("programs that once failed agree on the emulator") { test::regressions_agree(test::emulated()); }
