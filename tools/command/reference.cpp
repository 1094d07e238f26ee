// Calls the interpreter.
#include "tools/command/reference.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "tools/command/preview.h"
#include "tools/command/work.h"

namespace quern::command {
namespace {

compiler::TensorView view_of(const npy::Array& array) {
  return {array.data.data(), array.shape, compiler::dense_strides(array.shape)};
}

compiler::Arguments for_interpreter(const ir::Program& program, const Arguments& arguments) {
  compiler::Arguments result;
  for (const npy::Array& array : arguments.tensors) result.tensors.push_back(view_of(array));
  for (std::size_t s = 0; s < program.symbols.size(); ++s) {
    if (!arguments.bindings.symbols[s]) {
      throw Failure(ExitCode::usage, fmt::format("the size '{}' is not known: --set {}=...", program.symbols[s].name,
                                                 program.symbols[s].name));
    }
    result.symbols.push_back(*arguments.bindings.symbols[s]);
  }
  result.scalars.resize(program.scalars.size());
  std::vector<bool> passed(program.scalars.size(), false);
  for (std::size_t s = 0; s < program.scalar_parameters.size(); ++s) {
    if (!arguments.scalars[s]) continue;
    const ir::ScalarId id = program.scalar_parameters[s];
    passed[id] = true;
    result.scalars[id] = {*arguments.scalars[s], static_cast<std::int64_t>(*arguments.scalars[s])};
  }
  compiler::fill_defaults(program, passed, result);
  return result;
}

void refuse_failures(const ir::Program& program, const compiler::Results& results) {
  if (!results.error.empty()) throw Failure(ExitCode::data, "interpreter: " + results.error);
  if (results.violation) throw Failure(ExitCode::data, compiler::describe(program, *results.violation));
}

/// Positions to check in an output of `total` elements.
std::optional<std::vector<std::int64_t>> sample(std::int64_t total, std::int64_t wanted, std::uint64_t seed) {
  if (total <= wanted) return std::nullopt;
  std::set<std::int64_t> positions{0, total - 1};
  std::uint64_t state = seed;
  while (static_cast<std::int64_t>(positions.size()) < wanted) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    positions.insert(static_cast<std::int64_t>((static_cast<unsigned __int128>(state) * static_cast<std::uint64_t>(total)) >> 64));
  }
  return std::vector<std::int64_t>(positions.begin(), positions.end());
}

}  // namespace

std::vector<ir::TensorId> outputs_of(const ir::Program& program) {
  std::vector<ir::TensorId> result;
  for (std::size_t t = 0; t < program.tensors.size(); ++t) {
    if (program.tensors[t].role == ir::Role::output) result.push_back(static_cast<ir::TensorId>(t));
  }
  return result;
}

Verdict verify_outputs(const ir::Program& program, const Arguments& arguments, const std::vector<NamedArray>& actual,
                       const ReferenceOptions& options) {
  Verdict verdict;
  for (const NamedArray& output : actual) verdict.total += output.array.size();
  // Each element costs at most its share of the whole; a sampled one may cost more (a scan needs what is before it).
  const double cost = std::max(1.0, count_work(program, arguments.bindings).operations) / std::max<double>(1, static_cast<double>(verdict.total));
  const auto wanted = static_cast<std::int64_t>(std::clamp(options.budget / cost, 64.0, 4e6));
  compiler::InterpretOptions interpret_options;
  for (const NamedArray& output : actual) {
    interpret_options.samples.push_back(sample(output.array.size(), std::max<std::int64_t>(64, wanted / static_cast<std::int64_t>(actual.size())), options.seed));
  }
  const compiler::Results results = compiler::interpret(program, for_interpreter(program, arguments), interpret_options);
  refuse_failures(program, results);
  std::vector<compiler::TensorView> views;
  for (const NamedArray& output : actual) views.push_back(view_of(output.array));
  verdict.report = compiler::verify(program, results, views);
  for (const compiler::OutputReport& output : verdict.report.outputs) verdict.checked += output.checked;
  return verdict;
}

std::string Verdict::message(const ir::Program& program) const {
  if (!report.ok) return report.message;
  std::string result = fmt::format("verified {} of {} elements against the interpreter", checked, total);
  for (const compiler::OutputReport& output : report.outputs) {
    result += fmt::format("\n  {}: largest error {:.3g}, {:.2g} of its bound", program.tensors[output.tensor].name,
                          output.max_error, output.max_ratio);
    if (output.undecided > 0) result += fmt::format(" ({} elements whose bound accepts anything)", output.undecided);
  }
  return result;
}

Json Verdict::json(const ir::Program& program) const {
  Json outputs = Json::array();
  for (const compiler::OutputReport& output : report.outputs) {
    outputs.push_back({{"name", program.tensors[output.tensor].name},
                       {"checked", output.checked},
                       {"wrong", output.wrong},
                       {"undecided", output.undecided},
                       {"max_error", output.max_error},
                       {"max_error_over_bound", output.max_ratio}});
  }
  return {{"ok", report.ok}, {"message", report.message}, {"checked", checked}, {"total", total}, {"outputs", std::move(outputs)}};
}

}  // namespace quern::command
