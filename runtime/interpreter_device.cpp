// The interpreter as a device: the meaning itself, in f64, rounded once to the type of each output. Slow, needs no LLVM,
// and reads every input before it writes an output, so sharing storage is always safe.
#include <fmt/format.h>

#include "compiler/interpreter/interpret.h"
#include "dsl/ir/print_program.h"
#include "runtime/device.h"
#include "runtime/float_mode.h"

namespace quern::runtime {
namespace {

namespace qc = quern::compiler;

/// Stores the values of one output through its strides.
void write(const qc::OutputValues& from, const TensorView& to) {
  const auto type = static_cast<DType>(to.type());
  const auto size = static_cast<std::int64_t>(size_of(type));
  std::int64_t at[max_rank] = {};
  std::int64_t offset = 0;
  for (std::size_t i = 0; i < from.count(); ++i) {
    void* place = static_cast<char*>(to.data()) + offset * size;
    if (is_float(type)) store_from_f64(type, place, from.values[i]);
    else store_from_i64(type, place, from.integers[i]);
    for (int axis = to.rank() - 1; axis >= 0; --axis) {
      offset += to.stride(axis);
      if (++at[axis] < to.extent(axis)) break;
      offset -= to.stride(axis) * to.extent(axis);
      at[axis] = 0;
    }
  }
}

class Interpreted final : public Executable {
 public:
  explicit Interpreted(const CompileRequest& request) : program_(request.program), binding_(*program_) {}

  void run(const Launch& launch) const override {
    qc::Arguments arguments;
    const std::size_t inputs = binding_.inputs();
    for (std::size_t slot = 0; slot < inputs; ++slot) {
      const TensorView& v = *launch.tensors[slot];
      arguments.tensors.push_back({v.data(), {v.shape().begin(), v.shape().end()}, {v.strides().begin(), v.strides().end()}});
    }
    for (std::size_t i = 0; i < program_->scalars.size(); ++i)
      arguments.scalars.push_back({launch.scalar_values[i], is_float(program_->scalars[i].type) ? 0 : launch.scalars[i]});
    arguments.symbols.assign(launch.symbols, launch.symbols + program_->symbols.size());
    const FloatMode mode;  // the caller may flush denormals or round another way
    const qc::Results results = qc::interpret(*program_, arguments);
    if (!results.error.empty()) throw Error(Code::unsupported, "error: " + results.error);
    if (results.violation) throw Error(Code::data, "error: " + qc::describe(*program_, *results.violation));
    for (const qc::OutputValues& values : results.outputs)
      for (std::size_t slot = 0; slot < binding_.slots().size(); ++slot) {
        const TensorSlot& s = binding_.slots()[slot];
        if ((s.output && s.tensor == values.tensor) || s.result == values.tensor) write(values, *launch.tensors[slot]);
      }
  }

  bool may_share(std::size_t, std::size_t, std::string*) const override { return true; }
  std::string explain() const override { return "interpreted in f64, equation by equation\n" + ir::print_program(*program_); }

 private:
  std::shared_ptr<const ir::Program> program_;
  Binding binding_;
};

}  // namespace

std::shared_ptr<const Executable> compile_for_interpreter(const CompileRequest& request) {
  return std::make_shared<const Interpreted>(request);
}

}  // namespace quern::runtime
