// Kernels compiled by LLVM as a device. In: a program fixed to one signature. Out: loaded code, which cpu_code.h runs.
#include <fmt/format.h>

#include "runtime/cpu/cpu_image.h"
#include "runtime/cpu_code.h"
#include "runtime/images.h"
#include "runtime/lowered.h"

namespace quern::runtime {
namespace {

class Compiled final : public Executable {
 public:
  explicit Compiled(const CompileRequest& request);
  void run(const Launch& launch) const override { runner_->run(launch); }
  bool may_share(std::size_t written, std::size_t read, std::string* why_not) const override;
  std::string explain() const override;

 private:
  std::shared_ptr<const ir::Program> settled_;  // with the names of this kernel
  Options options_;
  std::vector<Layout> layouts_;
  Binding binding_;                             // of settled_: its slots are those of the call
  std::shared_ptr<const CpuImage> image_;
  ir::Program lowered_;                         // its tensors alone
  std::unique_ptr<const CpuCode> runner_;
};

Compiled::Compiled(const CompileRequest& request)
    : settled_(settled_program(request)), options_(*request.options), layouts_(request.layouts), binding_(*settled_) {
  const std::size_t slots = binding_.slots().size();
  image_ = std::static_pointer_cast<const CpuImage>(image_of(
      signature_of(Device::cpu, *settled_, request), settled_->name,
      {[&] { return compile_cpu_image(*settled_, request); },
       [&](std::string_view bytes, std::string* error) { return load_cpu_image(bytes, *settled_, slots, error); }},
      request.source));
  lowered_.name = settled_->name;
  lowered_.symbols = settled_->symbols;
  for (const ir::Tensor& t : settled_->tensors) {
    lowered_.tensors.emplace_back().name = t.name;
    lowered_.tensors.back().type = t.type;
  }
  // What the compiler added has no name of its own here.
  while (lowered_.tensors.size() < image_->tensors) lowered_.tensors.emplace_back().name = "an intermediate";
  std::vector<ir::TensorId> workspace;
  for (const WorkspaceTensor& w : image_->workspace) {
    lowered_.tensors[w.tensor].type = w.type;
    workspace.push_back(w.tensor);
  }
  std::vector<cpu::RunFunction> run;
  for (std::size_t k = 0; k < image_->code->kernels(); ++k) run.push_back(image_->code->run(k));
  runner_ = std::make_unique<const CpuCode>(lowered_, std::move(workspace), binding_, image_->code->plan(), std::move(run));
}

bool Compiled::may_share(std::size_t written, std::size_t read, std::string* why_not) const {
  if (image_->may_share[written][read]) return true;
  if (why_not) *why_not = sharing_refused(binding_, read);
  return false;
}

std::string Compiled::explain() const {
  const CompileRequest request{settled_, &options_, layouts_, nullptr};
  const tile::Module module = lower_for_cpu(*settled_, request);
  std::string text = fmt::format("kernel {} on the CPU: {} kernel{}, {} tensor{} of workspace\n", module.program.name, module.kernels.size(),
                                 module.kernels.size() == 1 ? "" : "s", module.workspace.size(), module.workspace.size() == 1 ? "" : "s");
  for (const tile::Kernel& k : module.kernels) {
    text += "  " + k.name + "\n";
    for (const std::string& why : k.why) text += "    " + why + "\n";
  }
  return text;
}

}  // namespace

std::shared_ptr<const Executable> compile_for_cpu(const CompileRequest& request) { return std::make_shared<const Compiled>(request); }

}  // namespace quern::runtime
