// Random valid programs keep their meaning after every pass, with infinities, NaN and awkward sizes in their data.
// QUERN_SEED sets the first program, QUERN_PROGRAMS how many.
#include <fmt/format.h>

#include <cmath>

#include "compiler/interpreter/interpret.h"
#include "compiler/interpreter/verify.h"
#include "compiler/passes/pipeline.h"
#include "dsl/ir/print_program.h"
#include "tests/catch.h"
#include "tests/from_environment.h"
#include "tools/fuzz/arguments.h"
#include "tools/fuzz/case.h"
#include "tools/fuzz/front.h"
#include "tools/fuzz/fuzz.h"
#include "tools/fuzz/random.h"

using namespace quern;
using namespace quern::compiler;

namespace {

/// How often the wanted value stood in for one that the changed program leaves open (an overflow, a product that may be
/// skipped) while the original does not.
struct Tally {
  std::int64_t values = 0, stood_in = 0;
};

/// Values as a back end would have stored them.
std::vector<std::vector<unsigned char>> stored(const Results& results, const Results& wanted, Tally& tally) {
  std::vector<std::vector<unsigned char>> out;
  for (std::size_t n = 0; n < results.outputs.size(); ++n) {
    const OutputValues& o = results.outputs[n];
    const OutputValues& w = wanted.outputs[n];
    auto& data = out.emplace_back(o.count() * size_of(o.type) + 8);
    for (std::size_t k = 0; k < o.count(); ++k) {
      void* at = data.data() + k * size_of(o.type);
      ++tally.values;
      if (!is_float(o.type)) {
        store_from_i64(o.type, at, o.integers[k]);
        continue;
      }
      const bool fits = std::isnan(w.values[k]) ? std::isnan(o.values[k]) : std::fabs(o.values[k] - w.values[k]) <= w.errors[k] || o.values[k] == w.values[k];
      const bool stand_in = std::isinf(o.errors[k]) && !fits && !std::isinf(w.errors[k]);
      tally.stood_in += stand_in;
      store_from_f64(o.type, at, stand_in ? w.values[k] : o.values[k]);
    }
  }
  return out;
}

}  // namespace

TEST_CASE("every pass keeps the meaning of random programs") {
  const int first = static_cast<int>(test::from_environment("QUERN_SEED", 1)), count = static_cast<int>(test::from_environment("QUERN_PROGRAMS", 150));
  int compared = 0;
  Tally tally;
  for (int seed = first; seed < first + count; ++seed) {
    const std::string text = fuzz::program_of(static_cast<std::uint64_t>(seed));
    INFO("REPRO: QUERN_SEED=" << seed << " QUERN_PROGRAMS=1\n" << text);
    for (const fuzz::Case& c : fuzz::cases_of(text)) {
      const fuzz::Checked checked = fuzz::check_case(text, c);
      INFO(checked.diagnostics);
      REQUIRE(checked.program);
      // @fast says nothing to a pass, and to the interpreter only how wide its bounds are: without it they are narrow.
      ir::Program original = *checked.program;
      original.annotations.fast = false;
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
        const auto bytes = stored(got, wanted, tally);
        std::vector<compiler::TensorView> views;
        for (std::size_t k = 0; k < got.outputs.size(); ++k) views.push_back({bytes[k].data(), got.outputs[k].shape, dense_strides(got.outputs[k].shape)});
        const Report report = verify(original, wanted, views);
        INFO(report.message);
        REQUIRE(report.ok);
      }
    }
  }
  CHECK(compared >= count / 3);
  UNSCOPED_INFO(tally.stood_in << " of " << tally.values << " values are left open by the passes alone");
  if (count >= 100) CHECK(tally.stood_in * 5000 <= tally.values + 50000);
}

namespace {

/// A random step of a recurrence out of `prev`, data and numbers.
std::string random_step(fuzz::Rng& rng, int depth) {
  if (depth == 0 || rng.chance(15)) return rng.pick<std::string>({"prev", "prev", "prev", "x[t,k]", "w[k]", "0.5", "-2.0", "where(k < 0, w[k], 0.0)"});
  const std::string a = random_step(rng, depth - 1), b = random_step(rng, depth - 1);
  switch (rng.below(9)) {
    case 0: case 1: return fmt::format("({} + {})", a, b);
    case 2: return fmt::format("({} - {})", a, b);
    case 3: case 4: return fmt::format("({} * {})", a, b);
    case 5: return fmt::format("({} / {})", a, rng.pick<std::string>({"(1 + x[t,k] * x[t,k])", "4.0", "prev"}));
    case 6: return fmt::format("where(k < 2, {}, {})", a, b);
    case 7: return fmt::format("(-{}) ** {}", a, rng.between(1, 3));
    default: return fmt::format("{}({}{})", rng.pick<std::string>({"max", "min", "pow"}), a, rng.chance(50) ? ", 0.5" : ", " + b);
  }
}

}  // namespace

TEST_CASE("prev leaves every reduction in which the checker lets it stand") {
  const int first = static_cast<int>(test::from_environment("QUERN_SEED", 1));
  int accepted = 0, refused = 0;
  for (int seed = first; seed < first + 1500; ++seed) {
    fuzz::Rng rng(static_cast<std::uint64_t>(seed));
    const std::string reducer = rng.pick<std::string>({"sum", "sum", "mean", "max", "min"});
    const std::string domain = rng.chance(30) ? " where x[t,k] > 0" : "";
    const std::string text = fmt::format(
        "#: T=4 K=3 x=normal w=normal\nkernel fuzz(x: f32[T,K], w: f32[K]) -> (y: f32[T]) {{\n  y[t] = scan[t]({}[k{}]({}) * 0.125, init=0.5)\n}}\n",
        reducer, domain, random_step(rng, 3));
    INFO("REPRO: QUERN_SEED=" << seed << "\n" << text);
    const fuzz::Case c = fuzz::cases_of(text).front();
    const fuzz::Checked checked = fuzz::check_case(text, c);
    if (!checked.program) {
      ++refused;
      continue;
    }
    ++accepted;
    const fuzz::CaseArguments data = fuzz::make_arguments(*checked.program, c, static_cast<std::uint64_t>(seed));
    const Arguments arguments = fuzz::interpreter_arguments(*checked.program, data);
    const Results wanted = interpret(*checked.program, arguments);
    ir::Program last = *checked.program;
    run_passes(last);
    const Results got = interpret(last, arguments);
    REQUIRE(got.error == "");
    // Written out, a polynomial rounds elsewhere: near is enough to tell that it is the same one.
    for (std::size_t k = 0; k < got.outputs[0].count(); ++k) {
      const double want = wanted.outputs[0].values[k], value = got.outputs[0].values[k];
      if (std::fabs(want) < 1e6 && std::isfinite(wanted.outputs[0].errors[k])) CHECK(std::fabs(value - want) <= 1e-3 * (1 + std::fabs(want)) + wanted.outputs[0].errors[k]);
    }
  }
  CHECK(accepted > 200);
  CHECK(refused > 200);
}
