// See variants.h.
#include "tools/fuzz/variants.h"

#include <cstdlib>

#include "compiler/interpreter/interpret.h"
#include "tools/fuzz/arguments.h"
#include "tools/fuzz/front.h"

namespace quern::fuzz {

Case with_layout(const std::string& text, Case which, const std::string& layout) {
  const Checked checked = check_case(text, which);
  if (!checked.program) return which;
  for (const ir::TensorId id : checked.program->parameters) {
    std::string& kind = which.settings[checked.program->tensors[id].name];
    bool inout = false;
    for (const ir::Tensor& t : checked.program->tensors) inout |= t.entry && *t.entry == id;
    kind = (kind.empty() ? "normal" : kind) + '/' + (inout && layout == "broadcast" ? "offset" : layout);
  }
  return which;
}

std::optional<Case> with_sizes(const std::string& text, Case which, int more) {
  const Checked before = check_case(text, which);
  if (!before.program) return std::nullopt;
  bool changed = false;
  for (const ir::Symbol& symbol : before.program->symbols) {
    const auto found = which.settings.find(symbol.name);
    if (found == which.settings.end() || symbol.compile_time || symbol.type != DType::i64) continue;
    found->second = std::to_string(std::strtoll(found->second.c_str(), nullptr, 10) + more);
    changed = true;
  }
  if (!changed) return std::nullopt;
  try {
    const Checked after = check_case(text, which);
    if (!after.program) return std::nullopt;
    const CaseArguments arguments = make_arguments(*after.program, which, 1);
    for (const ir::Requirement& r : after.program->requirements)
      if (!compiler::evaluate_size(*after.program, r.condition, arguments.symbols)) return std::nullopt;
  } catch (const std::exception&) {
    return std::nullopt;
  }
  return which;
}

}  // namespace quern::fuzz
