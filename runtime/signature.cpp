// See signature.h.
#include "runtime/signature.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <quern/kernel.h>

#include "compiler/build_id.h"
#include "compiler/passes/canonical_form.h"

namespace quern::runtime {
namespace {

std::string layout_text(const Layout& layout) {
  if (layout.dense) return "dense";
  return layout.unit_axis < 0 ? "any strides" : fmt::format("axis {} has stride 1", layout.unit_axis);
}

}  // namespace

std::string Signature::bytes() const {
  std::string text = "quern signature 1\n";
  for (const SignatureField& f : fields) text += fmt::format("{} {} {}:{}\n", f.name.size(), f.value.size(), f.name, f.value);
  return text;
}

std::vector<SignatureField> read_signature(std::string_view text) {
  constexpr std::string_view head = "quern signature 1\n";
  std::vector<SignatureField> fields;
  if (!text.starts_with(head)) return {};
  text.remove_prefix(head.size());
  const auto number = [&](std::size_t* n) {
    const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), *n);
    if (fault != std::errc() || end == text.data() + text.size() || *end != ' ') return false;
    text.remove_prefix(static_cast<std::size_t>(end - text.data()) + 1);
    return true;
  };
  while (!text.empty()) {
    std::size_t name = 0, value = 0;
    if (!number(&name) || !number(&value) || name >= text.size() || value >= text.size() - name - 1) return {};
    fields.push_back({std::string(text.substr(0, name)), std::string(text.substr(name + 1, value))});
    text.remove_prefix(name + value + 2);
  }
  return fields;
}

Signature signature_of(Device device, const ir::Program& settled, const CompileRequest& request) {
  Signature signature;
  const auto add = [&](std::string name, std::string value) { signature.fields.push_back({std::move(name), std::move(value)}); };
  add("library", fmt::format("{} {}", version(), compiler::kBuildId));
  for (SignatureField& field : device_fields(device, *request.options)) signature.fields.push_back(std::move(field));
  std::vector<std::string> off = request.options->disabled;
  std::sort(off.begin(), off.end());
  off.erase(std::unique(off.begin(), off.end()), off.end());
  add("passes off", off.empty() ? "none" : fmt::format("{}", fmt::join(off, " ")));
  std::vector<std::string> layouts;
  for (const Layout& layout : request.layouts) layouts.push_back(layout_text(layout));
  add("strides", fmt::format("{}", fmt::join(layouts, ", ")));
  // Of every kernel: said so that a change of it is a change of keys.
  add("alignment", "of one element");
  add("aliasing", "outputs are storage of their own, or an input's where that was proved");
  add("index width", "64 bits");
  add("program", compiler::signature_text(settled));
  return signature;
}

}  // namespace quern::runtime
