// Parsing once, checking per assignment of compile-time names. See front.h.
#include "runtime/front.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "dsl/check/check.h"
#include "dsl/syntax/lexer.h"
#include "dsl/syntax/parse.h"
#include "dsl/syntax/print.h"

namespace quern::runtime {

struct Front::State {
  // Where the string stands in the host program is added by the Error.
  State(std::string text, std::string file) : source(std::move(file), std::move(text)) {}
  dsl::Source source;
  dsl::ast::File file;
  const dsl::ast::Kernel* kernel = nullptr;
  std::string name, canonical;
};

namespace {

std::string type_text(const dsl::ast::Type& type) {
  std::string text = type.element.text;
  if (!type.has_shape) return text;
  std::vector<std::string> sizes;
  for (const dsl::ast::ExprPtr& size : type.shape) sizes.push_back(dsl::print(*size));
  return fmt::format("{}[{}]", text, fmt::join(sizes, ","));
}

[[noreturn]] void fail(const dsl::Diagnostics& diagnostics, const dsl::Source& source) {
  std::string text = dsl::render(diagnostics, source);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  throw Error(Code::invalid_program, std::move(text));
}

}  // namespace

Front::Front(std::string text, std::string file, std::string_view kernel)
    : state_(std::make_unique<State>(std::move(text), std::move(file))) {
  dsl::Diagnostics diagnostics;
  state_->file = dsl::parse(state_->source, diagnostics);
  if (diagnostics.has_errors()) fail(diagnostics, state_->source);
  std::vector<std::string> names;
  for (const dsl::ast::Item& item : state_->file.items)
    if (const auto* k = std::get_if<dsl::ast::Kernel>(&item.node)) {
      names.push_back(k->name.text);
      if (!state_->kernel && (kernel.empty() || kernel == k->name.text)) state_->kernel = k;
    }
  if (names.empty()) throw Error(Code::invalid_argument, "error: the text has no kernel");
  if (!state_->kernel)
    throw Error(Code::invalid_argument, fmt::format("error: the text has no kernel '{}'; it has: {}", kernel, fmt::join(names, ", ")));
  if (kernel.empty() && names.size() > 1)
    throw Error(Code::invalid_argument, fmt::format("error: the text has {} kernels ({}); name the one to take", names.size(), fmt::join(names, ", ")));
  state_->name = state_->kernel->name.text;
  dsl::Diagnostics unused;
  for (const dsl::Token& token : dsl::tokenize(state_->source, unused).list) {
    state_->canonical += token.starts_line ? '\n' : ' ';
    state_->canonical += state_->source.slice(token.span);
  }
}

Front::~Front() = default;

const std::string& Front::kernel_name() const { return state_->name; }
const std::string& Front::canonical() const { return state_->canonical; }

std::vector<std::string> Front::open_types() const {
  std::vector<std::string> names;
  for (const dsl::ast::CompileTime& ct : state_->kernel->compile_time)
    if (ct.kind == dsl::ast::CompileTimeKind::type && !ct.default_value) names.push_back(ct.name.text);
  return names;
}

std::vector<CompileTimeName> Front::compile_time() const {
  std::vector<CompileTimeName> names;
  for (const dsl::ast::CompileTime& ct : state_->kernel->compile_time)
    names.push_back({ct.name.text, ct.kind == dsl::ast::CompileTimeKind::type, ct.default_value != nullptr});
  return names;
}

std::vector<Parameter> Front::parameters() const {
  std::vector<Parameter> list;
  for (const dsl::ast::Parameter& p : state_->kernel->parameters) {
    const auto role = p.inout ? Parameter::Role::inout : p.type.has_shape ? Parameter::Role::input : Parameter::Role::scalar;
    list.push_back({p.name.text, role, type_text(p.type), p.default_value != nullptr});
  }
  for (const dsl::ast::Output& o : state_->kernel->outputs) list.push_back({o.name.text, Parameter::Role::output, type_text(o.type), false});
  return list;
}

std::vector<std::string> Front::written_types() const {
  std::vector<std::string> list;
  for (const dsl::ast::Parameter& p : state_->kernel->parameters)
    if (p.inout || p.type.has_shape) list.push_back(p.type.element.text);
  for (const dsl::ast::Output& o : state_->kernel->outputs) list.push_back(o.type.element.text);
  return list;
}

std::shared_ptr<const ir::Program> Front::check(std::span<const Setting> settings) const {
  dsl::Bindings bindings;
  for (const Setting& s : settings) {
    if (s.is_type) bindings.types[s.name] = static_cast<DType>(s.value);
    else bindings.values[s.name] = s.value;
  }
  dsl::Diagnostics diagnostics;
  std::optional<ir::Program> program = dsl::check(*state_->kernel, &state_->file, state_->source, bindings, diagnostics);
  if (diagnostics.has_errors() || !program) fail(diagnostics, state_->source);
  return std::make_shared<const ir::Program>(std::move(*program));
}

}  // namespace quern::runtime
