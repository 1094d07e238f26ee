// The order of checking one kernel: signature, statements, what must be defined at the end.
#include "dsl/check/check.h"

#include <exception>

#include "dsl/check/elaborate.h"
#include "dsl/check/signature.h"

namespace quern::dsl {
namespace {

void check_complete(Elaborator& el, const ast::Kernel& kernel) {
  for (const ast::Output& out : kernel.outputs) {
    const Entry* entry = el.find(out.name.text);
    const auto* t = entry ? std::get_if<TensorName>(&entry->meaning) : nullptr;
    if (t && !t->defined)
      el.diagnostics.report<Code::output_undefined>(out.name.span, out.name.text)
          .label("no statement assigns it")
          .fix(fmt::format("write '{}[...] = ...'", out.name.text));
  }
  for (const ast::Parameter& p : kernel.parameters) {
    const Entry* entry = p.inout ? el.find(p.name.text) : nullptr;
    const auto* t = entry ? std::get_if<TensorName>(&entry->meaning) : nullptr;
    if (t && el.new_values.contains(t->tensor))
      el.diagnostics.report<Code::inout_unassigned>(p.name.span, p.name.text)
          .label("no statement assigns it")
          .fix("leave out 'inout', or assign it");
  }
}

}  // namespace

std::optional<ir::Program> check(const ast::Kernel& kernel, const ast::File* file, const Source& source,
                                 const Bindings& bindings, Diagnostics& diagnostics) {
  const std::size_t errors = diagnostics.error_count();
  ir::Program program;
  try {
    Elaborator el(program, source, diagnostics);
    if (file)
      for (const ast::Item& item : file->items)
        if (const auto* let = std::get_if<ast::Let>(&item.node)) {
          if (!let->function) {
            diagnostics.report<Code::let_outside>(let->name.span, let->name.text)
                .fix("put it inside the kernel, or give it parameters");
            continue;
          }
          if (el.declare(let->name, FunctionName{let})) el.names[let->name.text].outside = true;
        }
    if (check_signature(el, kernel, bindings)) {
      for (const ast::Statement& s : kernel.body) {
        el.statement(s);
        if (diagnostics.full()) break;
      }
      if (!diagnostics.full()) check_complete(el, kernel);
    }
  } catch (const std::exception& failure) {
    diagnostics.report<Code::internal>(kernel.name.span, failure.what())
        .fix("this is a fault of the compiler: please report it with the program");
  }
  if (diagnostics.error_count() > errors) return std::nullopt;
  return program;
}

const ast::Kernel* find_kernel(const ast::File& file, std::string_view name, Diagnostics& diagnostics) {
  const ast::Kernel* found = nullptr;
  std::vector<std::string_view> names;
  for (const ast::Item& item : file.items)
    if (const auto* kernel = std::get_if<ast::Kernel>(&item.node)) {
      names.push_back(kernel->name.text);
      if (name.empty() ? !found : kernel->name.text == name) {
        if (!found)
          found = kernel;
        else if (!name.empty()) {
          diagnostics.report<Code::redefined>(kernel->name.span, name)
              .note("the first definition", found->name.span)
              .fix("use another name");
          return nullptr;
        }
      }
    }
  std::string listed;
  for (auto n : names) listed += (listed.empty() ? "" : ", ") + std::string(n);
  if (name.empty() && names.size() > 1) {
    diagnostics.report<Code::which_kernel>(Span{}, names.size()).fix("name one of: " + listed);
    return nullptr;
  }
  if (!found) {
    auto& d = diagnostics.report<Code::no_kernel>(Span{}, name);
    if (!listed.empty())
      d.fix("name one of: " + listed);
    else
      d.fix("write 'kernel name(x: f32[N]) -> (y: f32[N]) { ... }'");
  }
  return found;
}

}  // namespace quern::dsl
