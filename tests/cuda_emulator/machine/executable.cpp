// A program as an Executable: planned and printed as runtime/cuda does, run by the emulator on the caller's tensors.
#include <fmt/format.h>

#include "runtime/cuda/device_cuda.h"
#include "runtime/lowered.h"
#include "tests/cuda_emulator/machine/run.h"

namespace quern::emulator {
namespace {

class Emulated final : public runtime::Executable {
 public:
  Emulated(tile::Module tiles, cuda::CudaModule printed, const How& how)
      : tiles_(std::move(tiles)), printed_(std::move(printed)), binding_(tiles_.program), may_share_(runtime::sharing_of(tiles_, binding_)), how_(how) {
    if (!printed_.error.empty())
      throw Error(Code::internal, fmt::format("error: internal fault while generating CUDA text for kernel '{}': {}", tiles_.program.name, printed_.error));
  }

  void run(const runtime::Launch& launch) const override {
    std::vector<cpu::TensorArg> tensors(printed_.program.tensors.size());
    for (std::size_t slot = 0; slot < binding_.slots().size(); ++slot) {
      const TensorView& v = *launch.tensors[slot];
      const runtime::TensorSlot& s = binding_.slots()[slot];
      tensors[s.tensor] = {v.data(), v.strides().data()};
      if (s.result) tensors[*s.result] = tensors[s.tensor];
    }
    How how = how_;
    how.name_of_address = [&](const void* address) { return place(launch, address); };
    const Outcome outcome = run_emulated(printed_, {tensors.data(), launch.symbols, launch.scalars}, how);
    if (!outcome.error.empty()) throw Error(Code::internal, "error: " + outcome.error);
    if (outcome.status.state != 0) runtime::throw_data_error(tiles_.program, outcome.status);
  }

  bool may_share(std::size_t written, std::size_t read, std::string* why_not) const override {
    if (may_share_[written][read]) return true;
    if (why_not) *why_not = runtime::sharing_refused(binding_, read);
    return false;
  }

  std::string explain() const override { return printed_.text; }

 private:
  /// The tensor that an address is nearest to.
  std::string place(const runtime::Launch& launch, const void* address) const {
    std::string nearest = fmt::format("at {}, far from every tensor", address);
    std::int64_t smallest = std::int64_t{1} << 20;
    for (std::size_t slot = 0; slot < binding_.slots().size(); ++slot) {
      std::int64_t low = 0, high = 0;
      const TensorView& v = *launch.tensors[slot];
      if (!runtime::byte_range(v, &low, &high)) continue;
      const std::int64_t at = static_cast<const char*>(address) - static_cast<const char*>(v.data());
      const std::int64_t apart = at < low ? low - at : at >= high ? at - high + 1 : 0;
      if (apart > smallest) continue;
      smallest = apart;
      nearest = fmt::format("at byte {} from element [0, ...] of '{}', which has the bytes {} to {}", at, binding_.slots()[slot].name, low, high);
    }
    return nearest;
  }

  tile::Module tiles_;
  cuda::CudaModule printed_;
  runtime::Binding binding_;
  std::vector<std::vector<std::uint8_t>> may_share_;
  How how_;
};

}  // namespace

std::shared_ptr<const runtime::Executable> compile_emulated(const runtime::CompileRequest& request, const cuda::Target& target, const How& how,
                                                            const std::function<void(std::string& text)>& edit) {
  tile::Module tiles = runtime::gpu::plan(request, target);
  cuda::CudaModule printed = runtime::gpu::print(tiles, request, target);
  if (edit) edit(printed.text);
  return std::make_shared<const Emulated>(std::move(tiles), std::move(printed), how);
}

}  // namespace quern::emulator
