// See variants.h.
#include "tools/fuzz/variants.h"

#include <algorithm>
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

std::optional<Case> with_sizes(const std::string& text, Case which, int more, bool largest_alone) {
  const Checked before = check_case(text, which);
  if (!before.program) return std::nullopt;
  const auto value = [](const std::string& digits) { return std::strtoll(digits.c_str(), nullptr, 10); };
  std::vector<std::string*> sizes;
  for (const ir::Symbol& symbol : before.program->symbols) {
    const auto found = which.settings.find(symbol.name);
    if (found != which.settings.end() && !symbol.compile_time && symbol.type == DType::i64) sizes.push_back(&found->second);
  }
  if (sizes.empty()) return std::nullopt;
  if (largest_alone)
    sizes = {*std::max_element(sizes.begin(), sizes.end(), [&](const std::string* a, const std::string* b) { return value(*a) < value(*b); })};
  for (std::string* size : sizes) *size = std::to_string(value(*size) + more);
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
