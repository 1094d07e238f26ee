// The public interface, driven by the command.
#include "tools/command/device_call.h"

#include <fmt/format.h>

#include <cstring>

#include "tools/command/peak.h"

namespace quern::command {
namespace {

TensorView view_of(npy::Array& array) {
  return TensorView(static_cast<void*>(array.data.data()), static_cast<ElementType>(array.type), Sizes(array.shape));
}

std::int64_t bytes_of(const Tensor& tensor) { return tensor.count() * static_cast<std::int64_t>(size_of(tensor.type())); }

}  // namespace

void fail_with(const Error& error) {
  ExitCode code = ExitCode::data;
  switch (error.code()) {
    case Code::invalid_program: code = ExitCode::program; break;
    case Code::unsupported: code = ExitCode::unavailable; break;
    case Code::internal:
    case Code::device_lost:
    case Code::not_prepared: code = ExitCode::internal; break;
    default: break;
  }
  // The terminal says "error" itself.
  throw Failure(code, error.message().starts_with("error: ") ? error.message().substr(7) : error.message());
}

DeviceChoice device_named(const std::string& name) {
  if (name.empty()) return {};
  if (name == "interpreter") return {Device::interpreter, ""};
  if (name == "cpu") return {Device::cpu, ""};
  if (name == "cuda") return {Device::cuda, ""};
  if (name.starts_with("cuda:")) return {Device::cuda, name.substr(5)};
  throw Failure(ExitCode::usage, fmt::format("--on {}: there are interpreter, cpu, cuda and cuda:sm_90a", name));
}

std::string_view name_of(Device device) { return device == Device::interpreter ? "interpreter" : device == Device::cuda ? "cuda" : "cpu"; }

DeviceCall::DeviceCall(const LoadedKernel& loaded, const Arguments& arguments, const DeviceChoice& device, int threads,
                       const std::vector<std::string>& disabled_passes)
    : loaded_(loaded), on_gpu_(device.device == Device::cuda), given_(arguments) {
  const ir::Program& program = loaded.program;
  Options options;
  options.on(device.device).with_threads(threads).for_target(device.target);
  options.disabled = disabled_passes;
  for (const Fixed& fixed : loaded.request.fixed) {
    if (fixed.is_type) {
      options.set(fixed.name, static_cast<ElementType>(fixed.value));
      continue;
    }
    // Run-time sizes stay run-time sizes: only names of the list in angle brackets are fixed.
    for (const ir::Symbol& symbol : program.symbols) {
      if (symbol.name == fixed.name && symbol.compile_time) options.set(fixed.name, fixed.value);
    }
  }
  try {
    for (const npy::Array& array : arguments.tensors) inputs_.push_back(placed(view_of(const_cast<npy::Array&>(array))));
  } catch (const Error& error) {
    fail_with(error);
  }
  for (std::size_t p = 0; p < program.parameters.size(); ++p) {
    launch_.push_back(arg(program.tensors[program.parameters[p]].name, inputs_[p]));
  }
  for (std::size_t s = 0; s < program.scalar_parameters.size(); ++s) {
    if (!arguments.scalars[s]) continue;
    const ir::Scalar& scalar = program.scalars[program.scalar_parameters[s]];
    const double value = *arguments.scalars[s];
    launch_.push_back(is_float(scalar.type) ? arg(scalar.name, value)
                      : scalar.type == DType::boolean ? arg(scalar.name, value != 0)
                                                      : arg(scalar.name, static_cast<std::int64_t>(value)));
  }
  const std::size_t inputs = launch_.size();
  try {
    const double start = now();
    kernel_ = std::make_unique<Kernel>(loaded.text, loaded.name, options);
    // Sizes are checked before any output is made; where one is wrong this says so.
    kernel_->prepare_for(launch_);
    compile_seconds_ = now() - start;
    for (ir::TensorId id : program.outputs) {
      const ir::Tensor& tensor = program.tensors[id];
      Sizes shape;
      for (ir::Expr extent : tensor.shape) {
        const auto value = evaluate_integer(program, extent, arguments.bindings);
        if (!value) throw Failure(ExitCode::internal, fmt::format("the shape of '{}' is not known after binding", tensor.name));
        shape.push_back(*value);
      }
      const auto type = static_cast<ElementType>(tensor.type);
      outputs_.push_back(on_gpu_ ? gpu_tensor(type, shape) : Tensor::zeros(type, shape));
      launch_.push_back(out(tensor.name, outputs_.back()));
    }
    if (launch_.size() > inputs) kernel_->prepare_for(launch_);
  } catch (const Error& error) {
    fail_with(error);
  }
  reset();
}

void DeviceCall::reset() {
  for (std::size_t p = 0; p < inputs_.size(); ++p) {
    if (!given_.tensors[p].data.empty()) copy_elements(view_of(const_cast<npy::Array&>(given_.tensors[p])), inputs_[p]);
  }
  // All ones is NaN in every float type and -1 in signed integers; a bool must stay 0 or 1.
  for (Tensor& output : outputs_) {
    if (output.count() == 0) continue;
    const bool host = output.view().memory() == Memory::host;
    const Tensor pattern = host ? output : Tensor(output.type(), output.shape());
    std::memset(pattern.data(), output.type() == boolean ? 1 : 0xff, static_cast<std::size_t>(bytes_of(output)));
    if (!host) copy_elements(pattern, output);
  }
}

Tensor DeviceCall::placed(const TensorView& host) const { return on_gpu_ ? to_gpu(host) : Tensor::copy_of(host); }

void DeviceCall::operator()() {
  queue();
  if (const Status status = kernel_->synchronize(); !status.ok()) fail_with(status.error());
}

void DeviceCall::queue() {
  const Status status = kernel_->try_launch(launch_);
  if (!status.ok()) fail_with(status.error());
}

std::vector<NamedArray> DeviceCall::outputs() const {
  const ir::Program& program = loaded_.program;
  std::vector<NamedArray> result;
  for (ir::TensorId id : outputs_of(program)) {
    const Tensor* tensor = nullptr;
    for (std::size_t i = 0; i < program.outputs.size(); ++i) {
      if (program.outputs[i] == id) tensor = &outputs_[i];
    }
    for (std::size_t p = 0; p < program.parameters.size(); ++p) {
      if (program.tensors[id].entry == program.parameters[p]) tensor = &inputs_[p];
    }
    if (tensor == nullptr) throw Failure(ExitCode::internal, fmt::format("output '{}' is in no list of the program", program.tensors[id].name));
    npy::Shape shape(tensor->shape().begin(), tensor->shape().end());
    NamedArray output{program.tensors[id].name, npy::Array::zeros(static_cast<DType>(tensor->type()), std::move(shape))};
    if (!output.array.data.empty()) copy_elements(*tensor, view_of(output.array));
    result.push_back(std::move(output));
  }
  return result;
}

std::string DeviceCall::explain() const {
  try {
    return kernel_->explain(launch_);
  } catch (const Error& error) {
    fail_with(error);
  }
}

}  // namespace quern::command
