// Builds the call from a checked program: parameters by name, outputs in poisoned memory, in-place tensors as copies.
#include "tools/fuzz/device.h"

#include <cctype>
#include <exception>

#include <quern/quern.h>

#include "runtime/device.h"

namespace quern::fuzz {

namespace {

TensorView view_of(const TensorArgument& t, bool writable) {
  const auto type = static_cast<ElementType>(t.type);
  if (writable) return TensorView(static_cast<void*>(t.at()), type, Sizes(t.shape), Sizes(t.strides));
  return TensorView(static_cast<const void*>(t.at()), type, Sizes(t.shape), Sizes(t.strides));
}

/// The call of one signature as kernel.cpp makes it.
void call_compiled(const ir::Program& program, const Options& how, const JudgeOptions& options, unsigned char poison, std::span<const Argument> list) {
  const runtime::Binding binding(program);
  runtime::CallArguments call;
  binding.match(list, call);
  runtime::Bound bound;
  binding.bind(call, bound);
  binding.check_outputs(call, bound);
  auto fixed = std::make_shared<ir::Program>(program);
  for (ir::SymbolId id = 0; id < program.symbols.size(); ++id)
    if (program.symbols[id].compile_time) fixed->symbols[id].value = bound.symbols[id];
  runtime::CompileRequest request{std::move(fixed), &how, {}, nullptr};
  for (const TensorView* view : call.tensors) request.layouts.push_back(runtime::layout_of(*view));
  const auto executable = options.compile(request, poison);
  if (binding.has_facts()) binding.check_facts(call);
  executable->run({call.tensors.data(), bound.symbols.data(), bound.scalar_values.data(), bound.scalars.data(), &how});
}

}  // namespace

bool has_device(Device device) { return device == Device::cuda ? runtime::has_cuda() : device == Device::cpu && runtime::has_cpu(); }

std::string run_device(const std::string& text, const Case& which, const ir::Program& program, const CaseArguments& arguments,
                       const JudgeOptions& options, unsigned char poison, std::vector<TensorArgument>& written) {
  Options how;
  how.on(options.device).with_threads(options.threads).for_target(options.target);
  for (const std::string& pass : options.without) how.without(pass);
  for (const ir::Symbol& s : program.symbols)
    if (s.compile_time && s.value) how.set(s.name, *s.value);
  for (const auto& [name, value] : which.settings)
    if (const auto type = dtype_from_name(value)) how.set(name, static_cast<ElementType>(*type));

  written.clear();
  std::vector<TensorArgument> copies(arguments.inputs.size());
  std::vector<Argument> list;
  for (std::size_t i = 0; i < arguments.inputs.size(); ++i) {
    bool inout = false;
    for (const ir::Tensor& t : program.tensors) inout |= t.entry && *t.entry == program.parameters[i];
    if (inout) copies[i] = arguments.inputs[i].clone();
    Argument a(view_of(inout ? copies[i] : arguments.inputs[i], inout));
    a.name = arguments.inputs[i].name;
    list.push_back(a);
  }
  for (const ScalarArgument& s : arguments.scalars) {
    if (!s.given) continue;
    Argument a(s.value);
    a.name = s.name;
    list.push_back(a);
  }
  // Outputs in the order of Program::tensors, as the interpreter gives them.
  for (ir::TensorId id = 0; id < program.tensors.size(); ++id) {
    const ir::Tensor& t = program.tensors[id];
    if (t.role != ir::Role::output || t.entry) continue;
    written.push_back(make_output(program, id, which, arguments.symbols, poison));
  }
  std::size_t next = 0;
  for (ir::TensorId id = 0; id < program.tensors.size(); ++id) {
    const ir::Tensor& t = program.tensors[id];
    if (t.role != ir::Role::output || t.entry) continue;
    Argument a(view_of(written[next], true));
    a.name = written[next++].name;
    a.output = true;
    list.push_back(a);
  }
  try {
    if (options.compile) {
      call_compiled(program, how, options, poison, list);
    } else {
      const Kernel kernel(text, which.kernel, how);
      kernel.run(list);
    }
  } catch (const std::exception& e) {
    return e.what();
  }
  // In-place results stand where their tensor does.
  std::vector<TensorArgument> ordered;
  next = 0;
  for (ir::TensorId id = 0; id < program.tensors.size(); ++id) {
    const ir::Tensor& t = program.tensors[id];
    if (t.role != ir::Role::output) continue;
    if (!t.entry) {
      ordered.push_back(std::move(written[next++]));
      continue;
    }
    for (std::size_t i = 0; i < program.parameters.size(); ++i)
      if (program.parameters[i] == *t.entry) ordered.push_back(std::move(copies[i]));
  }
  written = std::move(ordered);
  return {};
}

}  // namespace quern::fuzz
