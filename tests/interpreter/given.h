// A kernel as text and its arguments as numbers go in, the interpreter's results and the judge's verdict come out.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "compiler/interpreter/interpret.h"
#include "compiler/interpreter/verify.h"
#include "dsl/check/check.h"
#include "dsl/ir/print_program.h"
#include "dsl/ir/verify_program.h"
#include "dsl/syntax/parse.h"
#include "tests/catch.h"

namespace given {

using namespace quern;

inline const double inf = std::numeric_limits<double>::infinity();
inline const double NaN = std::numeric_limits<double>::quiet_NaN();

/// Dense storage of one tensor.
struct Array {
  std::vector<std::int64_t> shape;
  std::vector<double> values;

  std::vector<unsigned char> bytes(DType type) const {
    std::vector<unsigned char> out(values.size() * size_of(type) + 1);
    for (std::size_t i = 0; i < values.size(); ++i) store_from_f64(type, &out[i * size_of(type)], values[i]);
    return out;
  }
};
inline Array row(std::vector<double> values) {
  const auto n = static_cast<std::int64_t>(values.size());
  return {{n}, std::move(values)};
}

inline ir::Program checked(const std::string& text, const dsl::Bindings& fixed = {}) {
  const dsl::Source source("test.quern", text);
  dsl::Diagnostics diagnostics;
  const dsl::ast::File file = dsl::parse(source, diagnostics);
  std::optional<ir::Program> program;
  if (!diagnostics.has_errors())
    if (const auto* kernel = dsl::find_kernel(file, "", diagnostics))
      program = dsl::check(*kernel, &file, source, fixed, diagnostics);
  if (diagnostics.has_errors()) FAIL(render(diagnostics, source));
  REQUIRE(program);
  const auto faults = ir::verify_program(*program);
  for (const std::string& fault : faults) UNSCOPED_INFO(fault);
  CHECK(faults.empty());
  return std::move(*program);
}

struct Run {
  ir::Program program;
  compiler::Results results;

  const compiler::OutputValues& output(std::size_t k = 0) const { return results.outputs.at(k); }
  std::vector<double> values(std::size_t k = 0) const {
    const compiler::OutputValues& o = output(k);
    return is_float(o.type) ? o.values : std::vector<double>(o.integers.begin(), o.integers.end());
  }
  double bound(std::size_t i = 0, std::size_t k = 0) const { return output(k).errors.at(i); }

  /// The verdict on one array per output.
  compiler::Report judge(const std::vector<std::vector<double>>& stored) const {
    std::vector<std::vector<unsigned char>> bytes;
    std::vector<compiler::TensorView> views;
    for (std::size_t k = 0; k < stored.size(); ++k) bytes.push_back(Array{{}, stored[k]}.bytes(output(k).type));
    for (std::size_t k = 0; k < stored.size(); ++k)
      views.push_back({bytes[k].data(), output(k).shape, compiler::dense_strides(output(k).shape)});
    return compiler::verify(program, results, views);
  }
  bool accepts(std::vector<double> stored) const {
    const auto report = judge({std::move(stored)});
    UNSCOPED_INFO(report.message);
    return report.ok;
  }
};

/// Runs a program whose sizes are bare symbols of its parameters' shapes. `scalars`: by name.
inline Run run(ir::Program program, const std::vector<Array>& arrays, const std::map<std::string, double>& scalars = {},
               const compiler::InterpretOptions& options = {}) {
  compiler::Arguments arguments;
  arguments.symbols.assign(program.symbols.size(), 0);
  std::vector<std::vector<unsigned char>> bytes;
  REQUIRE(arrays.size() == program.parameters.size());
  for (std::size_t k = 0; k < arrays.size(); ++k) {
    const ir::Tensor& t = program.tensors[program.parameters[k]];
    bytes.push_back(arrays[k].bytes(t.type));
    for (std::size_t d = 0; d < t.shape.size(); ++d) {
      const ir::Node& n = program.pool[t.shape[d]];
      if (n.op == ir::Op::symbol) arguments.symbols[static_cast<std::size_t>(n.payload)] = arrays[k].shape.at(d);
    }
  }
  for (std::size_t k = 0; k < arrays.size(); ++k)
    arguments.tensors.push_back({bytes[k].data(), arrays[k].shape, compiler::dense_strides(arrays[k].shape)});
  std::vector<bool> passed;
  arguments.scalars.resize(program.scalars.size());
  for (std::size_t i = 0; i < program.scalars.size(); ++i) {
    const auto it = scalars.find(program.scalars[i].name);
    passed.push_back(it != scalars.end());
    if (it != scalars.end()) arguments.scalars[i] = {it->second, static_cast<std::int64_t>(it->second)};
  }
  compiler::fill_defaults(program, passed, arguments);
  compiler::Results results = compiler::interpret(program, arguments, options);
  CHECK(results.error.empty());
  return {std::move(program), std::move(results)};
}
inline Run run(const std::string& text, const std::vector<Array>& arrays,
               const std::map<std::string, double>& scalars = {}, const compiler::InterpretOptions& options = {}) {
  return run(checked(text), arrays, scalars, options);
}

/// Equal as numbers, NaN equals NaN.
inline bool same(const std::vector<double>& a, const std::vector<double>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!(a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i])))) return false;
  return true;
}
inline bool near(const std::vector<double>& a, const std::vector<double>& b, double tolerance = 1e-12) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!(a[i] == b[i] || (std::isnan(a[i]) && std::isnan(b[i])) ||
          std::fabs(a[i] - b[i]) <= tolerance * (1 + std::fabs(b[i]))))
      return false;
  return true;
}

}  // namespace given
