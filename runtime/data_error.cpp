// See data_error.h.
#include "runtime/data_error.h"

#include <algorithm>

#include <fmt/format.h>

#include "compiler/interpreter/violation.h"

namespace quern::runtime {

void throw_data_error(const ir::Program& program, const cpu::Status& status) {
  compiler::Violation v;
  v.tensor = status.tensor;
  v.axis = status.axis;
  v.value = status.value;
  v.extent = status.extent;
  if (status.source != cpu::kNoSource) {
    v.source = status.source;
    v.position.assign(status.position, status.position + std::min<std::int32_t>(status.rank, 8));
  }
  throw Error(Code::data, fmt::format("error: {}", compiler::describe(program, v)));
}

std::string sharing_refused(const Binding& binding, std::size_t read) {
  return fmt::format("elements of '{}' are read after others have been written in their place", binding.slots()[read].name);
}

}  // namespace quern::runtime
