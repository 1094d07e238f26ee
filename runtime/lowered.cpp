// See lowered.h.
#include "runtime/lowered.h"

#include <algorithm>

#include "compiler/compile.h"
#include "compiler/passes/alias.h"

namespace quern::runtime {

std::vector<cpu::TensorLayout> layouts_of(const Binding& binding, const CompileRequest& request) {
  const auto& tensors = binding.program().tensors;
  std::vector<cpu::TensorLayout> layouts(tensors.size());
  for (std::size_t slot = 0; slot < binding.slots().size(); ++slot) {
    const TensorSlot& s = binding.slots()[slot];
    const Layout& layout = request.layouts[slot];
    cpu::TensorLayout known;
    known.dense = layout.dense;
    known.strides.assign(tensors[s.tensor].shape.size(), cpu::StrideClass::any);
    if (layout.unit_axis >= 0) known.strides[static_cast<std::size_t>(layout.unit_axis)] = cpu::StrideClass::one;
    if (s.result) layouts[*s.result] = known;
    layouts[s.tensor] = known;
  }
  return layouts;
}

std::shared_ptr<const ir::Program> settled_program(const CompileRequest& request) {
  compiler::PassOptions passes;
  passes.off.insert(request.options->disabled.begin(), request.options->disabled.end());
  return std::make_shared<const ir::Program>(compiler::settle(*request.program, passes));
}

std::vector<std::vector<std::uint8_t>> sharing_of(const tile::Module& module, const Binding& binding) {
  const std::size_t slots = binding.slots().size();
  std::vector<std::vector<std::uint8_t>> may_share(slots, std::vector<std::uint8_t>(slots));
  for (std::size_t w = 0; w < slots; ++w) {
    const TensorSlot& s = binding.slots()[w];
    if (!s.output && !s.result) continue;
    const ir::TensorId written = s.result ? *s.result : s.tensor;
    for (std::size_t r = 0; r < binding.inputs(); ++r) may_share[w][r] = compiler::may_share_storage(module, binding.slots()[r].tensor, written);
  }
  return may_share;
}

ir::Program described(const ir::Program& program, const std::vector<ir::TensorId>& workspace) {
  ir::Program p = program;
  p.equations.clear();
  p.indices.clear();
  for (ir::TensorId id = 0; id < p.tensors.size(); ++id) {
    ir::Tensor& t = p.tensors[id];
    const bool stored = t.role == ir::Role::input || t.role == ir::Role::output || std::find(workspace.begin(), workspace.end(), id) != workspace.end();
    if (!stored) t.shape.clear();
  }
  return p;
}

}  // namespace quern::runtime
