// The wording. See violation.h.
#include "compiler/interpreter/violation.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace quern::compiler {

std::string describe(const ir::Program& program, const Violation& v) {
  const std::string& name = program.tensors[v.tensor].name;
  auto at = [](const std::vector<std::int64_t>& p) {
    return p.empty() ? std::string() : fmt::format("[{}]", fmt::join(p, ", "));
  };
  if (v.position.size() && !v.source)
    return fmt::format("'{}' is declared nondecreasing, but {}{} = {} is less than the element before it", name, name,
                       at(v.position), v.value);
  if (v.source)
    return fmt::format("{}{} = {} is outside axis {} of '{}', which has {} entries", program.tensors[*v.source].name,
                       at(v.position), v.value, v.axis, name, v.extent);
  return fmt::format("index {} is outside axis {} of '{}', which has {} entries", v.value, v.axis, name, v.extent);
}

}  // namespace quern::compiler
