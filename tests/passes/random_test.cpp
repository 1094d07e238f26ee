// Random valid programs keep their meaning after every pass, with infinities, NaN and awkward sizes in their data.
// QUERN_SEED sets the first program, QUERN_PROGRAMS how many.
#include <cmath>
#include <cstdlib>

#include "compiler/interpreter/interpret.h"
#include "compiler/interpreter/verify.h"
#include "compiler/passes/pipeline.h"
#include "dsl/ir/print_program.h"
#include "tests/catch.h"
#include "tools/fuzz/arguments.h"
#include "tools/fuzz/case.h"
#include "tools/fuzz/front.h"
#include "tools/fuzz/fuzz.h"

using namespace quern;
using namespace quern::compiler;

namespace {

int number_from(const char* name, int otherwise) {
  const char* given = std::getenv(name);
  return given ? std::atoi(given) : otherwise;
}

/// Values as a back end would have stored them. Where the changed program leaves the value open (an overflow, a product
/// that may be skipped), it says nothing: the wanted value stands in.
std::vector<std::vector<unsigned char>> stored(const Results& results, const Results& wanted) {
  std::vector<std::vector<unsigned char>> out;
  for (std::size_t n = 0; n < results.outputs.size(); ++n) {
    const OutputValues& o = results.outputs[n];
    auto& data = out.emplace_back(o.count() * size_of(o.type) + 8);
    for (std::size_t k = 0; k < o.count(); ++k) {
      void* at = data.data() + k * size_of(o.type);
      if (is_float(o.type)) store_from_f64(o.type, at, std::isinf(o.errors[k]) ? wanted.outputs[n].values[k] : o.values[k]);
      else store_from_i64(o.type, at, o.integers[k]);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("every pass keeps the meaning of random programs") {
  const int first = number_from("QUERN_SEED", 1), count = number_from("QUERN_PROGRAMS", 150);
  int compared = 0;
  for (int seed = first; seed < first + count; ++seed) {
    const std::string text = fuzz::program_of(static_cast<std::uint64_t>(seed));
    INFO("REPRO: QUERN_SEED=" << seed << " QUERN_PROGRAMS=1\n" << text);
    for (const fuzz::Case& c : fuzz::cases_of(text)) {
      const fuzz::Checked checked = fuzz::check_case(text, c);
      INFO(checked.diagnostics);
      REQUIRE(checked.program);
      const ir::Program& original = *checked.program;
      // Under @fast the values of the interpreter are midpoints of wide intervals: they move when a form is written out.
      if (original.annotations.fast) continue;
      const fuzz::CaseArguments data = fuzz::make_arguments(original, c, static_cast<std::uint64_t>(seed));
      const Arguments arguments = fuzz::interpreter_arguments(original, data);
      const Results wanted = interpret(original, arguments);
      if (!wanted.error.empty() || wanted.violation) continue;
      ++compared;
      PassOptions options;
      options.verify = true;
      std::vector<std::pair<std::string, ir::Program>> stages;
      options.after = [&](const Pass& pass, const ir::Program& now, bool changed, double) {
        if (changed) stages.emplace_back(std::string(pass.name), now);
      };
      stages.emplace_back("nothing", original);
      ir::Program last = original;
      run_passes(last, options);
      if (!stages.empty() && count > 1) stages.erase(stages.begin(), stages.end() - 1);  // all stages when asked for one program
      for (const auto& [name, program] : stages) {
        const Results got = interpret(program, arguments);
        INFO("after " << name << "\n" << print_program(program));
        REQUIRE(got.error == "");
        if (got.violation) FAIL(describe(program, *got.violation));
        const auto bytes = stored(got, wanted);
        std::vector<compiler::TensorView> views;
        for (std::size_t k = 0; k < got.outputs.size(); ++k) views.push_back({bytes[k].data(), got.outputs[k].shape, dense_strides(got.outputs[k].shape)});
        const Report report = verify(original, wanted, views);
        INFO(report.message);
        REQUIRE(report.ok);
      }
    }
  }
  CHECK(compared >= count / 3);
}
