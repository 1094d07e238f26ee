// See cpu_image.h.
#include "runtime/cpu/cpu_image.h"

#include <fmt/format.h>

#include "compiler/codegen/cpu/code_generator.h"
#include "compiler/compile.h"
#include "runtime/byte_stream.h"
#include "runtime/cpu/target_option.h"
#include "runtime/later.h"
#include "runtime/lowered.h"

namespace quern::runtime {
namespace {
constexpr std::size_t kMostKernels = 1 << 20, kMostTensors = 1 << 24, kTypes = 12;
}

tile::Module lower_for_cpu(const ir::Program& settled, const CompileRequest& request) {
  compiler::CompileOptions options;
  options.passes.off.insert(request.options->disabled.begin(), request.options->disabled.end());
  options.plan.target = target_of(*request.options);
  options.plan.layouts = layouts_of(Binding(settled), request);
  return compiler::lower(settled, options);
}

std::string compile_cpu_image(const ir::Program& settled, const CompileRequest& request) {
  const tile::Module module = lower_for_cpu(settled, request);
  const Binding binding(module.program);
  cpu::CpuOptions options;
  options.target = target_of(*request.options);
  options.layouts = layouts_of(binding, request);
  std::string error;
  const UnderWay under_way;  // a process that ends waits for LLVM
  const cpu::CodeGenerator* generator = cpu::code_generator(&error);
  if (!generator) throw Error(Code::unsupported, fmt::format("error: kernel '{}' cannot be compiled: {}", module.program.name, error));
  const cpu::CompiledCpu compiled = generator->compile(module, options);
  if (!compiled.error.empty()) throw Error(Code::internal, fmt::format("error: internal fault while generating code for kernel '{}': {}", module.program.name, compiled.error));

  ByteWriter out;
  out.text(compiled.object);
  out.text(compiled.plan_symbol);
  out.number(static_cast<std::int64_t>(compiled.run_symbols.size()));
  for (const std::string& symbol : compiled.run_symbols) out.text(symbol);
  out.number(static_cast<std::int64_t>(module.program.tensors.size()));
  out.number(static_cast<std::int64_t>(module.workspace.size()));
  for (const ir::TensorId t : module.workspace) {
    out.number(t);
    out.number(static_cast<std::int64_t>(module.program.tensors[t].type));
  }
  for (const std::vector<std::uint8_t>& row : sharing_of(module, binding)) out.text({reinterpret_cast<const char*>(row.data()), row.size()});
  return out.take();
}

std::shared_ptr<const CpuImage> load_cpu_image(std::string_view bytes, const ir::Program& settled, std::size_t slots, std::string* error) {
  ByteReader in(bytes);
  auto image = std::make_shared<CpuImage>();
  const std::string_view object = in.text();
  const std::string plan(in.text());
  std::vector<std::string> run(in.count(kMostKernels));
  for (std::string& symbol : run) symbol = in.text();
  image->tensors = in.count(kMostTensors);
  image->workspace.resize(in.count(image->tensors + 1));
  for (WorkspaceTensor& w : image->workspace) {
    w.tensor = static_cast<std::uint32_t>(in.count(image->tensors));
    w.type = static_cast<DType>(in.count(kTypes));
  }
  for (std::size_t s = 0; s < slots; ++s) {
    const std::string_view row = in.text();
    if (row.size() != slots) break;
    image->may_share.emplace_back(row.begin(), row.end());
  }
  if (!in.complete() || image->may_share.size() != slots || image->tensors < settled.tensors.size()) {
    *error = "it is not the image of such a kernel";
    return nullptr;
  }
  image->code = cpu::load_object(object, plan, run, error);
  return image->code ? image : nullptr;
}

}  // namespace quern::runtime
