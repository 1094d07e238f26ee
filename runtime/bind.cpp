// Planning and running the steps that turn shapes into sizes. See bind.h.
#include "runtime/bind.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/evaluate.h"

namespace quern::runtime {
namespace {

using ir::Expr;
using ir::Op;

void factors_of(const ir::ExprPool& pool, Expr e, std::vector<Expr>& out) {
  if (pool[e].op == Op::mul) {
    factors_of(pool, pool[e].args[0], out);
    factors_of(pool, pool[e].args[1], out);
  } else {
    out.push_back(e);
  }
}

void symbols_of(const ir::ExprPool& pool, Expr e, std::vector<ir::SymbolId>& out) {
  if (pool[e].op == Op::symbol) out.push_back(static_cast<ir::SymbolId>(pool[e].payload));
  for (Expr arg : pool[e].args) symbols_of(pool, arg, out);
}

bool is_symbol(const ir::ExprPool& pool, Expr e) { return pool[e].op == Op::symbol; }

}  // namespace

Binding::Binding(const ir::Program& program) : program_(&program) {
  for (ir::TensorId id : program.parameters) {
    TensorSlot slot{program.tensors[id].name, id, {}, false};
    for (ir::TensorId other = 0; other < program.tensors.size(); ++other)
      if (program.tensors[other].entry == id) slot.result = other;
    if (program.tensors[id].nondecreasing && !program.annotations.trusted) ordered_.push_back(slots_.size());
    slots_.push_back(std::move(slot));
  }
  inputs_ = slots_.size();
  for (ir::TensorId id : program.outputs) slots_.push_back({program.tensors[id].name, id, {}, true});
  for (ir::ScalarId id : program.scalar_parameters) scalar_slots_.push_back({program.scalars[id].name, id});
  plan_steps();
}

void Binding::plan_steps() {
  const ir::ExprPool& pool = program_->pool;
  origin_.assign(program_->symbols.size(), -1);
  std::vector<bool> known(program_->symbols.size());
  for (std::size_t s = 0; s < known.size(); ++s) known[s] = program_->symbols[s].value.has_value();
  std::vector<Step> open;  // sizes that are not bare symbols
  for (std::size_t slot = 0; slot < inputs_; ++slot) {
    const ir::Tensor& t = tensor(slot);
    for (int axis = 0; axis < static_cast<int>(t.shape.size()); ++axis) {
      const Expr size = t.shape[static_cast<std::size_t>(axis)];
      Step step{Step::verify, slot, axis, 0, {}, size};
      if (!is_symbol(pool, size)) {
        open.push_back(std::move(step));
        continue;
      }
      step.symbol = static_cast<ir::SymbolId>(pool[size].payload);
      if (!known[step.symbol]) {
        step.kind = Step::bind;
        known[step.symbol] = true;
        origin_[step.symbol] = static_cast<int>(steps_.size());
      }
      steps_.push_back(std::move(step));
    }
  }
  for (bool progress = true; progress && !open.empty();) {
    progress = false;
    std::vector<Step> rest;
    for (Step& step : open) {
      std::vector<ir::SymbolId> symbols;
      symbols_of(pool, step.size, symbols);
      std::size_t unknown = 0;
      for (ir::SymbolId s : symbols)
        if (!known[s]) ++unknown, step.symbol = s;
      if (unknown == 0) {
        steps_.push_back(std::move(step));
        progress = true;
        continue;
      }
      std::vector<Expr> all;
      factors_of(pool, step.size, all);
      bool divides = unknown == 1;
      bool found = false;
      for (Expr f : all) {
        if (is_symbol(pool, f) && static_cast<ir::SymbolId>(pool[f].payload) == step.symbol) found = true;
        else step.factors.push_back(f);
      }
      divides = divides && found;
      if (!divides) {
        step.factors.clear();
        rest.push_back(std::move(step));
        continue;
      }
      step.kind = Step::divide;
      known[step.symbol] = true;
      origin_[step.symbol] = static_cast<int>(steps_.size());
      steps_.push_back(std::move(step));
      progress = true;
    }
    open = std::move(rest);
  }
  for (const Step& step : open)
    throw Error(Code::invalid_program,
                fmt::format("error: no argument gives the sizes in '{}' (axis {} of '{}'); set them when compiling",
                            text_of(*program_, step.size), step.axis, slots_[step.slot].name));
  for (std::size_t s = 0; s < known.size(); ++s)
    if (!known[s])
      throw Error(Code::invalid_program, fmt::format("error: no argument gives the value of '{}'; set it when compiling: set(\"{}\", ...)",
                                                     program_->symbols[s].name, program_->symbols[s].name));
}

std::string Binding::place(std::size_t slot, int axis) const {
  return fmt::format("axis {} of '{}'", axis, slots_[slot].name);
}

std::string Binding::origin_of(Expr size, const Bound& bound) const {
  std::vector<ir::SymbolId> symbols;
  symbols_of(program_->pool, size, symbols);
  std::string text;
  std::vector<ir::SymbolId> seen;
  for (ir::SymbolId s : symbols) {
    if (std::find(seen.begin(), seen.end(), s) != seen.end()) continue;
    seen.push_back(s);
    const ir::Symbol& symbol = program_->symbols[s];
    text += fmt::format("\n  note: {} = {}", symbol.name, symbol.value ? *symbol.value : bound.symbols[s]);
    if (symbol.value) text += ", fixed when compiling";
    else if (origin_[s] >= 0) text += fmt::format(", from {}", place(steps_[static_cast<std::size_t>(origin_[s])].slot, steps_[static_cast<std::size_t>(origin_[s])].axis));
  }
  return text;
}

void Binding::match(std::span<const Argument> arguments, CallArguments& call) const {
  call.tensors.resize(slots_.size());
  call.scalars.resize(scalar_slots_.size());
  std::size_t next_input = 0, next_output = inputs_;
  const std::vector<std::string>& order = program_->parameter_order;
  const auto give_tensor = [&](std::size_t slot, const Argument& a) {
    if (a.kind != Argument::Kind::tensor)
      throw Error(Code::invalid_argument, fmt::format("error: '{}' is a tensor, a number was given", slots_[slot].name));
    if (call.tensors[slot]) throw Error(Code::invalid_argument, fmt::format("error: '{}' is given twice", slots_[slot].name));
    call.tensors[slot] = &a.tensor;
  };
  const auto give_scalar = [&](std::size_t slot, const Argument& a) {
    if (a.kind == Argument::Kind::tensor && a.tensor.rank() != 0)
      throw Error(Code::invalid_argument, fmt::format("error: '{}' is a number, a tensor with {} axes was given", scalar_slots_[slot].name, a.tensor.rank()));
    if (a.kind == Argument::Kind::tensor && a.tensor.memory() != Memory::host)
      throw Error(Code::invalid_argument, fmt::format("error: '{}' is a number; its tensor must be in host memory", scalar_slots_[slot].name));
    if (call.scalars[slot]) throw Error(Code::invalid_argument, fmt::format("error: '{}' is given twice", scalar_slots_[slot].name));
    call.scalars[slot] = &a;
  };
  const auto find = [&](std::string_view name, bool output, const Argument& a) {
    for (std::size_t i = output ? inputs_ : 0; i < (output ? slots_.size() : inputs_); ++i)
      if (slots_[i].name == name) return give_tensor(i, a), true;
    if (!output)
      for (std::size_t i = 0; i < scalar_slots_.size(); ++i)
        if (scalar_slots_[i].name == name) return give_scalar(i, a), true;
    return false;
  };
  for (const Argument& a : arguments) {
    if (a.kind == Argument::Kind::stream) {
      call.stream = reinterpret_cast<void*>(static_cast<std::intptr_t>(a.integer));
      call.has_stream = true;
      continue;
    }
    if (a.output) {
      if (!a.name.empty()) {
        if (!find(a.name, true, a))
          throw Error(Code::invalid_argument, fmt::format("error: kernel '{}' has no output '{}'", program_->name, a.name));
      } else if (next_output < slots_.size()) {
        give_tensor(next_output++, a);
      } else {
        throw Error(Code::invalid_argument, fmt::format("error: kernel '{}' has {} outputs, more were given", program_->name, slots_.size() - inputs_));
      }
    } else if (!a.name.empty()) {
      if (!find(a.name, false, a) && !find(a.name, true, a))
        throw Error(Code::invalid_argument, fmt::format("error: kernel '{}' has no parameter '{}'; it has: {}", program_->name, a.name, fmt::join(order, ", ")));
    } else {
      if (next_input >= order.size())
        throw Error(Code::invalid_argument, fmt::format("error: kernel '{}' takes {} arguments ({}), more were given; wrap an output as out(...)",
                                                        program_->name, order.size(), fmt::join(order, ", ")));
      find(order[next_input++], false, a);
    }
  }
  for (std::size_t i = 0; i < inputs_; ++i)
    if (!call.tensors[i])
      throw Error(Code::invalid_argument, fmt::format("error: argument '{}' of kernel '{}' is missing", slots_[i].name, program_->name));
}

void Binding::start(Bound& bound) const {
  bound.symbols.resize(program_->symbols.size());
  for (std::size_t s = 0; s < program_->symbols.size(); ++s)
    if (program_->symbols[s].value) bound.symbols[s] = *program_->symbols[s].value;
}

void Binding::bind(const CallArguments& call, Bound& bound) const {
  start(bound);
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    const TensorView* view = call.tensors[slot];
    if (!view) continue;
    const ir::Tensor& t = tensor(slot);
    if (static_cast<DType>(view->type()) != t.type)
      throw Error(Code::type_mismatch, fmt::format("error: '{}' is declared {}, the argument holds {}", t.name, quern::name(t.type), quern::name(view->type())));
    if (view->rank() != static_cast<int>(t.shape.size())) {
      std::vector<std::string> sizes;
      for (Expr size : t.shape) sizes.push_back(text_of(*program_, size));
      throw Error(Code::shape_mismatch, fmt::format("error: '{}' is declared {}[{}] with {} axes, the argument has {}", t.name,
                                                    quern::name(t.type), fmt::join(sizes, ","), t.shape.size(), view->rank()));
    }
    if ((slot >= inputs_ || slots_[slot].result) && view->read_only())
      throw Error(Code::invalid_argument, fmt::format("error: '{}' is written by kernel '{}', the argument is read-only", t.name, program_->name));
  }
  Evaluation e{program_, bound.symbols.data()};
  for (const Step& step : steps_) {
    const std::int64_t extent = call.tensors[step.slot]->extent(step.axis);
    if (step.kind == Step::bind) {
      bound.symbols[step.symbol] = extent;
      continue;
    }
    if (step.kind == Step::divide) {
      std::int64_t known = 1;
      bool fits = true;
      for (Expr f : step.factors) {
        const auto value = evaluate_integer(e, f);
        fits = fits && value && !__builtin_mul_overflow(known, *value, &known);
      }
      if (!fits || known <= 0 || extent % known != 0)
        throw Error(fits ? Code::shape_mismatch : Code::overflow,
                    fmt::format("error: {} is {}, which is not a multiple of {} as '{}' asks; so '{}' has no value{}", place(step.slot, step.axis), extent,
                                fits ? fmt::to_string(known) : "a product beyond 64 bits", text_of(*program_, step.size), program_->symbols[step.symbol].name,
                                origin_of(step.factors.empty() ? step.size : step.factors[0], bound)));
      bound.symbols[step.symbol] = extent / known;
      continue;
    }
    e.overflow = false;
    const auto wanted = evaluate_integer(e, step.size);
    if (!wanted && e.overflow)
      throw Error(Code::overflow, fmt::format("error: the size '{}' of {} does not fit in 64 bits{}", text_of(*program_, step.size), place(step.slot, step.axis), origin_of(step.size, bound)));
    if (!wanted || *wanted != extent)
      throw Error(Code::shape_mismatch, fmt::format("error: {} is {}, but '{}' is {}{}", place(step.slot, step.axis), extent, text_of(*program_, step.size),
                                                    wanted ? fmt::to_string(*wanted) : "not a size", origin_of(step.size, bound)));
  }
  check_requirements(bound);
  bind_scalars(call, bound);
}

void Binding::bind_sizes(const std::int64_t* sizes, const CallArguments& call, Bound& bound) const {
  start(bound);
  for (std::size_t s = 0; s < program_->symbols.size(); ++s) {
    const ir::Symbol& symbol = program_->symbols[s];
    if (symbol.value) continue;
    if (!symbol.compile_time && sizes[s] < 0)
      throw Error(Code::shape_mismatch, fmt::format("error: the size '{}' is {}", symbol.name, sizes[s]));
    bound.symbols[s] = sizes[s];
  }
  check_requirements(bound);
  bind_scalars(call, bound);
}

void Binding::check_requirements(const Bound& bound) const {
  Evaluation e{program_, bound.symbols.data()};
  for (const ir::Requirement& r : program_->requirements) {
    e.overflow = false;
    const auto holds = evaluate_integer(e, r.condition);
    if (!holds && e.overflow)
      throw Error(Code::overflow, fmt::format("error: 'require {}' overflows 64 bits{}", text_of(*program_, r.condition), origin_of(r.condition, bound)));
    if (!holds || !*holds)
      throw Error(Code::shape_mismatch, fmt::format("error: kernel '{}' requires {}{}", program_->name, text_of(*program_, r.condition), origin_of(r.condition, bound)));
  }
}

void Binding::bind_scalars(const CallArguments& call, Bound& bound) const {
  bound.scalar_values.resize(program_->scalars.size());
  bound.scalars.resize(program_->scalars.size());
  for (std::size_t i = 0; i < scalar_slots_.size(); ++i) {
    const ir::Scalar& scalar = program_->scalars[scalar_slots_[i].scalar];
    const Argument* a = call.scalars[i];
    double real = 0;
    std::int64_t integer = 0;
    bool from_integer = false;
    if (!a) {
      if (!scalar.default_value)
        throw Error(Code::invalid_argument, fmt::format("error: argument '{}' of kernel '{}' is missing", scalar.name, program_->name));
      Evaluation e{program_, bound.symbols.data(), bound.scalar_values.data()};
      if (is_float(scalar.type)) {
        const auto value = evaluate_real(e, scalar.default_value);
        if (!value) throw Error(Code::internal, fmt::format("error: the default of '{}' has no value", scalar.name));
        real = *value;
      } else {
        const auto value = evaluate_integer(e, scalar.default_value);
        if (!value) throw Error(Code::overflow, fmt::format("error: the default '{}' of '{}' does not fit in 64 bits", text_of(*program_, scalar.default_value), scalar.name));
        integer = *value;
        from_integer = true;
      }
    } else if (a->kind == Argument::Kind::tensor) {
      const auto type = static_cast<DType>(a->tensor.type());
      if (!a->tensor.data()) throw Error(Code::invalid_argument, fmt::format("error: the data pointer of '{}' is null", scalar.name));
      from_integer = !is_float(type);
      if (from_integer) integer = load_as_i64(type, a->tensor.data());
      else real = load_as_f64(type, a->tensor.data());
    } else if (a->kind == Argument::Kind::real) {
      real = a->real;
    } else {
      integer = a->integer;
      from_integer = true;
    }
    if (is_float(scalar.type)) {
      const double value = from_integer ? static_cast<double>(integer) : real;
      const double kept = scalar.type == DType::f64 ? value : rounded_to(scalar.type, value);
      bound.scalar_values[scalar_slots_[i].scalar] = kept;
      if (scalar.type == DType::f64) {
        bound.scalars[scalar_slots_[i].scalar] = std::bit_cast<std::int64_t>(kept);
      } else {
        const float single = static_cast<float>(kept);
        std::memcpy(&bound.scalars[scalar_slots_[i].scalar], &single, sizeof single);
      }
      continue;
    }
    if (!from_integer)
      throw Error(Code::type_mismatch, fmt::format("error: '{}' is {}, a floating-point number was given", scalar.name, quern::name(scalar.type)));
    const std::int64_t kept = scalar.type == DType::boolean ? integer != 0 : wrapped_to(scalar.type, integer);
    if (scalar.type != DType::boolean && kept != integer)
      throw Error(Code::overflow, fmt::format("error: {} does not fit in '{}', which is {}", integer, scalar.name, quern::name(scalar.type)));
    bound.scalars[scalar_slots_[i].scalar] = kept;
    bound.scalar_values[scalar_slots_[i].scalar] = static_cast<double>(kept);
  }
}

Sizes Binding::shape_of(std::size_t slot, const Bound& bound) const {
  Evaluation e{program_, bound.symbols.data()};
  const ir::Tensor& t = tensor(slot);
  Sizes shape;
  for (std::size_t axis = 0; axis < t.shape.size(); ++axis) {
    e.overflow = false;
    const auto extent = evaluate_integer(e, t.shape[axis]);
    if (!extent)
      throw Error(Code::overflow, fmt::format("error: the size '{}' of axis {} of '{}' does not fit in 64 bits{}", text_of(*program_, t.shape[axis]), axis, t.name, origin_of(t.shape[axis], bound)));
    if (*extent < 0)
      throw Error(Code::shape_mismatch, fmt::format("error: the size '{}' of axis {} of '{}' would be {}{}", text_of(*program_, t.shape[axis]), axis, t.name, *extent, origin_of(t.shape[axis], bound)));
    shape.push_back(*extent);
  }
  return shape;
}

bool byte_range(const TensorView& view, std::int64_t* low, std::int64_t* high) {
  *low = *high = 0;
  const auto size = static_cast<std::int64_t>(size_of(view.type()));
  std::int64_t count = 1, first = 0, last = 0;
  for (std::int64_t extent : view.shape())
    if (extent == 0) return true;
  for (int axis = 0; axis < view.rank(); ++axis) {
    if (view.extent(axis) == 1) continue;  // strides of size-1 axes mean nothing
    std::int64_t reach = 0;
    if (__builtin_mul_overflow(count, view.extent(axis), &count)) return false;
    if (__builtin_mul_overflow(view.extent(axis) - 1, view.stride(axis), &reach)) return false;
    if (__builtin_add_overflow(reach < 0 ? first : last, reach, reach < 0 ? &first : &last)) return false;
  }
  if (__builtin_add_overflow(last, std::int64_t{1}, &last)) return false;
  return !__builtin_mul_overflow(first, size, low) && !__builtin_mul_overflow(last, size, high) && !__builtin_mul_overflow(count, size, &count);
}

void Binding::check_outputs(const CallArguments& call, const Bound& bound) const {
  for (std::size_t slot = 0; slot < slots_.size(); ++slot) {
    const TensorView* view = call.tensors[slot];
    if (!view) continue;
    if (slot >= inputs_) {
      const Sizes wanted = shape_of(slot, bound);
      for (int axis = 0; axis < view->rank(); ++axis)
        if (view->extent(axis) != wanted[axis]) {
          const Expr size = tensor(slot).shape[static_cast<std::size_t>(axis)];
          throw Error(Code::shape_mismatch, fmt::format("error: {} is {}, but '{}' is {}{}", place(slot, axis), view->extent(axis),
                                                        text_of(*program_, size), wanted[axis], origin_of(size, bound)));
        }
    }
    std::int64_t low = 0, high = 0;
    if (!byte_range(*view, &low, &high))
      throw Error(Code::overflow, fmt::format("error: '{}' of shape [{}] with strides [{}] reaches beyond 2^63 - 1 bytes", slots_[slot].name,
                                              fmt::join(view->shape().begin(), view->shape().end(), ","), fmt::join(view->strides().begin(), view->strides().end(), ",")));
  }
}

void Binding::check_facts(const CallArguments& call) const {
  for (std::size_t slot : ordered_) {
    const TensorView& v = *call.tensors[slot];
    if (v.memory() != Memory::host) continue;  // the device's to check
    const auto type = static_cast<DType>(v.type());
    const auto size = static_cast<std::int64_t>(size_of(v.type()));
    if (v.rank() == 0 || v.count() == 0) continue;
    // Along the last axis, for every row before it.
    const int last = v.rank() - 1;
    const std::int64_t rows = v.count() / v.extent(last);
    std::int64_t at[max_rank] = {};
    for (std::int64_t row = 0; row < rows; ++row) {
      const char* p = static_cast<const char*>(v.data());
      for (int axis = 0; axis < last; ++axis) p += at[axis] * v.stride(axis) * size;
      const auto step = v.stride(last) * size;
      for (std::int64_t i = 1; i < v.extent(last); ++i) {
        const bool falls = is_float(type) ? load_as_f64(type, p + i * step) < load_as_f64(type, p + (i - 1) * step)
                                          : load_as_i64(type, p + i * step) < load_as_i64(type, p + (i - 1) * step);
        if (falls)
          throw Error(Code::data, fmt::format("error: '{}' is declared nondecreasing, but {} at position {} follows {}", slots_[slot].name,
                                              load_as_f64(type, p + i * step), i, load_as_f64(type, p + (i - 1) * step)));
      }
      for (int axis = last - 1; axis >= 0; --axis) {
        if (++at[axis] < v.extent(axis)) break;
        at[axis] = 0;
      }
    }
  }
}

}  // namespace quern::runtime
