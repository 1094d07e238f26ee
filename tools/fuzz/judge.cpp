// Check, print and check again, interpret, run twice, compare.
#include "tools/fuzz/judge.h"

#include <algorithm>
#include <cstring>
#include <exception>

#include <fmt/format.h>

#include "compiler/interpreter/interpret.h"
#include "compiler/interpreter/verify.h"
#include "dsl/ir/print_program.h"
#include "tools/fuzz/arguments.h"
#include "tools/fuzz/device.h"
#include "tools/fuzz/front.h"

namespace quern::fuzz {

const char* name(Outcome outcome) {
  switch (outcome) {
    case Outcome::agree: return "agree";
    case Outcome::invalid: return "invalid";
    case Outcome::refused: return "refused";
    case Outcome::wrong: return "wrong";
    case Outcome::unstable: return "unstable";
    case Outcome::fault: return "fault";
    case Outcome::crash: return "crash";
    case Outcome::hang: return "hang";
  }
  return "?";
}

namespace {

/// The printed program means the same: it checks, and prints the same again.
std::string round_trip(const ir::Program& program, const Case& which) {
  const std::string printed = ir::print_program(program);
  Case again = which;
  const Checked checked = check_case(printed, again);
  if (!checked.program) return "the printed program does not check:\n" + printed + checked.diagnostics;
  const std::string second = ir::print_program(*checked.program);
  if (second != printed) return "printing and checking changes the program:\n" + printed + "became\n" + second;
  return {};
}

bool scatters_floats(const ir::Program& program) {
  for (const ir::Equation& e : program.equations)
    if (e.op == ir::AssignOp::add && is_float(program.tensors[e.targets[0]].type)) return true;
  return false;
}

}  // namespace

Verdict judge(const std::string& text, const Case& which, const JudgeOptions& asked) {
  Verdict verdict;
  JudgeOptions options = asked;
  if (const auto off = which.settings.find("without"); off != which.settings.end()) options.without.push_back(off->second);
  const auto fail = [&](Outcome outcome, std::string message) {
    verdict.outcome = outcome;
    verdict.message = std::move(message);
    return verdict;
  };
  try {
    const Checked checked = check_case(text, which);
    if (!checked.program) return fail(Outcome::invalid, checked.diagnostics);
    const ir::Program& program = *checked.program;
    if (const std::string change = round_trip(program, which); !change.empty()) return fail(Outcome::invalid, change);

    const CaseArguments arguments = make_arguments(program, which, options.data_seed);
    for (const ir::Requirement& r : program.requirements)
      if (!compiler::evaluate_size(program, r.condition, arguments.symbols)) return fail(Outcome::refused, "a requirement on sizes does not hold");
    compiler::Results expected = compiler::interpret(program, interpreter_arguments(program, arguments));
    if (!expected.error.empty()) return fail(Outcome::refused, expected.error);
    if (expected.violation) return fail(Outcome::fault, "interpreter: " + compiler::describe(program, *expected.violation));
    if (which.settings.count("exact"))
      for (compiler::OutputValues& o : expected.outputs) {
        std::fill(o.errors.begin(), o.errors.end(), 0.0);
        o.sets.clear();
      }
    if (!options.compile && !has_device(options.device)) return verdict;

    const bool same_bits = program.annotations.deterministic || !scatters_floats(program);
    std::vector<TensorArgument> first, second;
    const std::string error = run_device(text, which, program, arguments, options, 0xff, first);
    if (!error.empty()) return fail(Outcome::fault, error);
    std::vector<compiler::TensorView> views;
    for (const TensorArgument& t : first) views.push_back(t.view());
    const compiler::Report report = compiler::verify(program, expected, views);
    for (const compiler::OutputReport& o : report.outputs) {
      verdict.checked += o.checked;
      verdict.undecided += o.undecided;
      verdict.max_ratio = std::max(verdict.max_ratio, o.max_ratio);
    }
    if (!report.ok) return fail(Outcome::wrong, report.message);
    const std::string again = run_device(text, which, program, arguments, options, 0x5a, second);
    if (!again.empty()) return fail(Outcome::fault, "second run: " + again);
    for (std::size_t i = 0; i < first.size(); ++i) {
      const std::size_t bytes = first[i].bytes.size(), element = size_of(first[i].type);
      const std::vector<bool> covered = first[i].covered();
      for (std::size_t at = 0; at < bytes; ++at)
        if (const std::byte now = second[i].bytes.data()[at]; !covered[at] && (first[i].bytes.data()[at] != std::byte{0xff} || (now != std::byte{0xff} && now != std::byte{0x5a})))
          return fail(Outcome::wrong, fmt::format("{}: byte {} between its elements was written", first[i].name, at));
        else if (same_bits && covered[at] && first[i].bytes.data()[at] != now)
          return fail(Outcome::unstable, fmt::format("{}: element {} differs between two runs over different poison", first[i].name, at / element));
    }
    return verdict;
  } catch (const std::exception& e) {
    return fail(Outcome::fault, e.what());
  }
}

}  // namespace quern::fuzz
