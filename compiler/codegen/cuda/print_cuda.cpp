// A module as one translation unit: preludes, then one function per kernel.
#include <exception>

#include <fmt/format.h>

#include "compiler/codegen/cuda/compile_cuda.h"
#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/codegen/cuda/prelude_hopper.h"
#include "compiler/codegen/cuda/prelude_tensor.h"
#include "compiler/passes/alias.h"

namespace quern::cuda {

CudaModule print_cuda(const tile::Module& module, const CudaOptions& options) {
  CudaModule result;
  result.workspace = module.workspace;
  std::string doing = "collecting what may share storage";
  try {
    ModuleText shared{module, options, module.program, {}};
    const auto& tensors = module.program.tensors;
    for (ir::TensorId out = 0; out < tensors.size(); ++out) {
      if (tensors[out].role != ir::Role::output) continue;
      for (ir::TensorId in : module.program.parameters)
        if (tensors[out].entry == in || compiler::may_share_storage(module, in, out)) shared.may_share.insert({in, out});
    }
    std::string kernels;
    std::set<GroupProduct> products;
    bool roles = false, widens = false;
    for (const tile::Kernel& kernel : module.kernels) {
      doing = "printing kernel " + kernel.name;
      // What suits some calls better, for those.
      ir::Expr taken;
      for (const auto run : {&KernelPrinter::run_rows, &KernelPrinter::run_warps}) {
        if (kernel.groups > 0) break;
        KernelPrinter printer(shared, kernel);
        const std::string text = (printer.*run)();
        if (text.empty()) continue;
        taken = printer.fit();
        kernels += '\n';
        kernels += text;
        result.launches.push_back(std::move(printer.launch));
        break;
      }
      if (taken && shared.program.pool.is_true(taken)) continue;
      KernelPrinter printer(shared, kernel);
      kernels += '\n';
      kernels += printer.run(taken);
      products.merge(printer.group_products);
      roles |= printer.has_roles();
      widens |= printer.widens_operands;
      result.launches.push_back(std::move(printer.launch));
    }
    const bool selects = kernels.find("quern_top") != std::string::npos || kernels.find("quern_sort") != std::string::npos;
    result.text = prelude(kernels) + tensor_prelude() + block_prelude() + (selects ? select_prelude() : "") + std::string(roles ? hopper_prelude() : "") + group_products(products);
    const bool copies_bytes = kernels.find("quern_copy_16_bytes") != std::string::npos;
    if (copies_bytes) result.text += byte_copies_prelude();
    if (widens) result.text += widening_prelude();
    result.text += kernels;
    result.program = std::move(shared.program);
  } catch (const std::exception& fault) {
    result.error = fmt::format("{}: {}", doing, fault.what());
  }
  return result;
}

}  // namespace quern::cuda
