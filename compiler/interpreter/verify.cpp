// The judge. Both ends of [value - error, value + error] are rounded to the output's type, which is what a correct
// implementation may have stored; an element is wrong when it lies outside.
#include "compiler/interpreter/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace quern::compiler {
namespace {

struct Verdict {
  bool right = true, undecided = false;
  double error = 0, ratio = 0;
};

Verdict judge_real(DType type, double value, double error, double got) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  Verdict v;
  if (error == inf) return v.undecided = true, v;
  if (std::isnan(value)) return v.right = std::isnan(got), v;
  const double low = rounded_to(type, value - error), high = rounded_to(type, value + error);
  v.right = got >= low && got <= high;  // false for NaN
  if (!std::isfinite(got) || !std::isfinite(value)) return v;
  v.error = std::fabs(got - rounded_to(type, value));
  const double allowed = got >= value ? high - value : value - low;
  const double off = std::fabs(got - value);
  v.ratio = off == 0 ? 0 : allowed > 0 ? off / allowed : inf;
  if (v.right) v.ratio = std::min(v.ratio, 1.0);
  return v;
}

Verdict judge_integer(std::int64_t value, double error, const std::vector<std::int64_t>* set, std::int64_t got) {
  Verdict v;
  if (set) return v.right = std::find(set->begin(), set->end(), got) != set->end(), v;
  if (error == std::numeric_limits<double>::infinity()) return v.undecided = true, v;
  v.error = std::fabs(static_cast<double>(got) - static_cast<double>(value));
  v.right = got == value || v.error <= error;
  v.ratio = v.error == 0 ? 0 : error > 0 ? v.error / error : std::numeric_limits<double>::infinity();
  return v;
}

}  // namespace

Report verify(const ir::Program& program, const Results& results, const std::vector<TensorView>& actual) {
  Report report;
  if (!results.error.empty()) {
    report.ok = false;
    report.message = results.error;
    return report;
  }
  if (actual.size() != results.outputs.size()) {
    report.ok = false;
    report.message = fmt::format("{} outputs to judge, {} were given", results.outputs.size(), actual.size());
    return report;
  }
  for (std::size_t k = 0; k < actual.size(); ++k) {
    const OutputValues& want = results.outputs[k];
    const TensorView& view = actual[k];
    OutputReport out;
    out.tensor = want.tensor;
    const bool real = is_float(want.type);
    const std::string& name = program.tensors[want.tensor].name;
    if (view.shape != want.shape || view.strides.size() != want.shape.size()) {
      out.wrong = 1;
      report.ok = false;
      if (report.message.empty())
        report.message = fmt::format("{} has shape [{}], expected [{}]", name, fmt::join(view.shape, ", "),
                                     fmt::join(want.shape, ", "));
      report.outputs.push_back(std::move(out));
      continue;
    }
    std::vector<std::int64_t> index(want.shape.size());
    for (std::size_t i = 0; i < want.count(); ++i) {
      std::int64_t rest = want.position(i), offset = 0;
      for (std::size_t d = index.size(); d-- > 0; rest /= want.shape[d]) {
        index[d] = rest % want.shape[d];
        offset += index[d] * view.strides[d];
      }
      const char* at = static_cast<const char*>(view.data) + offset * static_cast<std::int64_t>(size_of(want.type));
      const auto set = want.sets.find(i);
      const std::vector<std::int64_t>* members = set == want.sets.end() ? nullptr : &set->second;
      const double got = load_as_f64(want.type, at);
      const std::int64_t whole = real ? 0 : load_as_i64(want.type, at);
      const Verdict v = real ? judge_real(want.type, want.values[i], want.errors[i], got)
                             : judge_integer(want.integers[i], want.errors[i], members, whole);
      ++out.checked;
      out.undecided += v.undecided;
      out.max_error = std::max(out.max_error, v.error);
      out.max_ratio = std::max(out.max_ratio, v.ratio);
      if (v.right) continue;
      if (out.wrong++ > 0) continue;
      out.index = index;
      out.got = real ? fmt::format("{}", got) : fmt::format("{}", whole);
      out.expected = real                 ? fmt::format("{} +- {:.3g}", want.values[i], want.errors[i])
                     : members            ? fmt::format("one of {{{}}}", fmt::join(*members, ", "))
                     : want.errors[i] > 0 ? fmt::format("{} +- {}", want.integers[i], want.errors[i])
                                          : fmt::format("{}", want.integers[i]);
    }
    if (out.wrong > 0) {
      report.ok = false;
      if (report.message.empty())
        report.message = fmt::format("{}{}: expected {}, got {} ({} of {} elements are wrong)", name,
                                     out.index.empty() ? "" : fmt::format("[{}]", fmt::join(out.index, ", ")),
                                     out.expected, out.got, out.wrong, out.checked);
    }
    report.outputs.push_back(std::move(out));
  }
  return report;
}

}  // namespace quern::compiler
