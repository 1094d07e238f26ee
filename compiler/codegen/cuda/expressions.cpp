// Scalar expressions of a kernel as text: every node becomes one named value in the innermost scope that needs it, reads
// become loads, and what a guard protects is evaluated behind it.
#include <cmath>
#include <stdexcept>

#include <fmt/format.h>

#include "compiler/codegen/cpu/abi.h"
#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;

bool KernelPrinter::touches_memory(Expr e) const {
  bool found = false;
  if (!e) return false;
  compiler::for_each_node(pool_, e, [&](Expr at) {
    const auto t = static_cast<TensorId>(pool_[at].payload);
    found |= pool_[at].op == Op::read && !in_registers(t) && !is_filled(t) && !(in_fragment_ && is_constant_of_task(at));
  });
  return found;
}

std::string KernelPrinter::define(Expr e, const std::string& text) {
  const std::string name = fresh("v");
  line(fmt::format("const {} {} = {};", value_type(pool_.type(e)), name, text));
  scopes_.back().names[e.id] = name;
  return name;
}

std::string KernelPrinter::value(Expr e) {
  for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
    if (auto it = scope->names.find(e.id); it != scope->names.end()) return it->second;
  const Node n = pool_[e];
  switch (n.op) {
    case Op::constant: {
      double real = 0;
      std::int64_t integer = 0;
      if (pool_.is_real_constant(e, &real)) return literal_real(real, n.type);
      pool_.is_integer_constant(e, &integer);
      return literal_integer(integer, n.type);
    }
    case Op::index: {
      auto it = indices_.find(static_cast<IndexId>(n.payload));
      if (it == indices_.end()) throw std::logic_error("index '" + program_.indices[static_cast<IndexId>(n.payload)].name + "' is used outside of its loop");
      return it->second;
    }
    case Op::symbol: {
      const Symbol& s = program_.symbols[static_cast<SymbolId>(n.payload)];
      if (s.value) return literal_integer(*s.value, n.type);
      const std::string w = word({Word::symbol, static_cast<std::uint32_t>(n.payload), 0});
      return n.type == DType::boolean ? "(" + w + " != 0)" : w;
    }
    case Op::scalar: {
      const std::string w = word({Word::scalar, static_cast<std::uint32_t>(n.payload), 0});
      switch (n.type) {
        case DType::f64: return "__longlong_as_double(" + w + ")";
        case DType::f32: case DType::f16: case DType::bf16: case DType::e4m3: case DType::e5m2: return "__int_as_float((int)" + w + ")";
        case DType::boolean: return "(" + w + " != 0)";
        default: return "((" + value_type(n.type) + ")" + w + ")";
      }
    }
    case Op::accumulator: return accumulator_[n.payload];
    case Op::previous: return previous_;
    case Op::read: return read(e);
    case Op::cast: {
      const DType from = pool_.type(n.args[0]);
      if (auto it = column_bases_.find(e.id); it != column_bases_.end()) {
        return define(e, it->second);
      }
      return define(e, cast_text(from, n.type, value(n.args[0])));
    }
    default: break;
  }
  if (!is_elementwise(n.op)) throw std::logic_error(fmt::format("operator '{}' reached the code generator", name(n.op)));
  if (n.op == Op::where && (touches_memory(n.args[1]) || touches_memory(n.args[2]))) return guarded_choice(e);
  if (auto it = column_limits_.find(e.id); it != column_limits_.end()) {
    const char* op = n.op == Op::lt ? "<" : n.op == Op::le ? "<=" : n.op == Op::gt ? ">" : ">=";
    return define(e, fmt::format("d{} {} {}", *column_in(e), op, it->second));
  }
  if (const std::string folded = folded_exponent(e); !folded.empty()) return define(e, folded);
  if (const auto scaled = scaled_sum(e)) return define(e, fmt::format("{} * {}", value(scaled->first), literal_real(scaled->second, DType::f32)));
  std::vector<std::string> args;
  for (Expr a : n.args) args.push_back(value(a));
  if (small_arguments_.contains(e)) return define(e, fmt::format("{}({})", small_form(n.op)->name, args[0]));
  return define(e, apply_text(n.op, pool_.type(n.args.back()), n.type, args));
}

/// A sum of at least 16 products, multiplied and divided by constants: the bound of the sum's error has room for one rounding
/// of the constants together, and for a reciprocal.
std::optional<std::pair<Expr, double>> KernelPrinter::scaled_sum(Expr e) const {
  if (!in_fragment_ || program_.annotations.precise || pool_[e].type != DType::f32) return std::nullopt;
  double factor = 1;
  bool scaled = false;
  while (true) {
    const Node& n = pool_[e];
    double by = 0;
    if (n.op == Op::read && long_sums_.contains(static_cast<TensorId>(n.payload))) break;
    if (n.op == Op::div && pool_.is_real_constant(n.args[1], &by)) factor /= by, e = n.args[0];
    else if (n.op == Op::mul && pool_.is_real_constant(n.args[1], &by)) factor *= by, e = n.args[0];
    else if (n.op == Op::mul && pool_.is_real_constant(n.args[0], &by)) factor *= by, e = n.args[1];
    else return std::nullopt;
    scaled = true;
  }
  // Neither the constants nor the results may leave the range in which roundings are relative.
  if (!scaled || !(std::abs(factor) > 1e-6 && std::abs(factor) < 1e6)) return std::nullopt;
  return std::pair{e, factor};
}

/// exp2((score - from) * by) in kernels with roles, where the score is a sum of products or was rounded on its way from one. Elsewhere
/// the largest score has a weight of exactly 1.
std::optional<KernelPrinter::ScaledDifference> KernelPrinter::scaled_difference(Expr e) const {
  if (!in_fragment_ || !schedule_ || program_.annotations.precise || pool_[e].op != Op::exp2 || pool_[e].type != DType::f32) return std::nullopt;
  const Node& product = pool_[pool_[e].args[0]];
  if (product.op != Op::mul) return std::nullopt;
  for (std::size_t side = 0; side < 2; ++side) {
    const Node& difference = pool_[product.args[1 - side]];
    if (!pool_.is_real_constant(product.args[side]) || difference.op != Op::sub) continue;
    const Node& score = pool_[difference.args[0]];
    if (score.op == Op::read && scores_.contains(static_cast<TensorId>(score.payload)))
      return ScaledDifference{difference.args[0], difference.args[1], product.args[side]};
  }
  return std::nullopt;
}

/// On fragments weights below 2^-126 of a row's largest become 0, and the exponent of a scaled difference is one fused
/// multiply-add: constants may be folded into exponents.
std::string KernelPrinter::folded_exponent(Expr e) {
  if (!in_fragment_ || program_.annotations.precise || pool_[e].op != Op::exp2 || pool_[e].type != DType::f32) return "";
  if (const auto d = scaled_difference(e))
    return fmt::format("ex2_flushed(fmaf({}, {}, -{}))", value(d->score), value(d->by), value(pool_.mul(d->from, d->by)));
  return fmt::format("ex2_flushed({})", value(pool_[e].args[0]));
}

/// where(c, a, b) whose branches read memory: only the branch that is taken is evaluated.
std::string KernelPrinter::guarded_choice(Expr e) {
  const Node n = pool_[e];
  const std::string condition = value(n.args[0]);
  const std::string name = fresh("v");
  line(fmt::format("{} {};", value_type(n.type), name));
  for (int side = 1; side <= 2; ++side) {
    open(side == 1 ? "if (" + condition + ")" : "else");
    scopes_.emplace_back();
    const std::string v = value(n.args[static_cast<std::size_t>(side)]);
    line(fmt::format("{} = {};", name, v));
    scopes_.pop_back();
    close();
  }
  scopes_.back().names[e.id] = name;
  return name;
}

/// An index difference that is known to be small: the local count of a nest's dim.
std::string KernelPrinter::local_int(Expr e) {
  const Node n = pool_[e];
  if (n.op == Op::sub && pool_[n.args[0]].op == Op::index) {
    const auto index = static_cast<IndexId>(pool_[n.args[0]].payload);
    if (auto it = local_begin_.find(index); it != local_begin_.end() && it->second == n.args[1]) return fmt::format("d{}", index);
  }
  std::int64_t k = 0;
  if (pool_.is_integer_constant(e, &k)) return std::to_string(k);
  if (n.op == Op::index) {
    const auto index = static_cast<IndexId>(n.payload);
    auto it = local_begin_.find(index);
    std::int64_t begin = 0;
    if (it != local_begin_.end() && pool_.is_integer_constant(it->second, &begin) && begin == 0) return fmt::format("d{}", index);
  }
  return "";
}

std::string KernelPrinter::offset_text(TensorId tensor, const std::vector<Expr>& subscripts) {
  if (schedule_ && arranged_->elements.contains(tensor))
    return fmt::format("quern_swizzled({}, {}, {})", ring_of(tensor).rows, local_int(subscripts[0]), local_int(subscripts[1]));
  const auto tile = tiles_.find(tensor);
  std::string out;
  for (std::size_t axis = 0; axis < subscripts.size(); ++axis) {
    std::int64_t k = 0;
    if (pool_.is_integer_constant(subscripts[axis], &k) && k == 0) continue;
    std::string s;
    if (tile != tiles_.end()) {
      s = local_int(subscripts[axis]);
      if (s.empty()) s = value(subscripts[axis]);
    } else {
      s = value(subscripts[axis]);
    }
    const std::string by = tile != tiles_.end() ? tile->second.strides[axis] : stride(tensor, axis);
    if (by == "0") continue;
    const std::string term = by == "1" ? s : fmt::format("{} * {}", s, by);
    out += out.empty() ? term : " + " + term;
  }
  return out.empty() ? "0" : out;
}

/// Tests the subscripts of a checked access and reports those that are out of range: whether all are good, and the offset.
KernelPrinter::CheckedAccess KernelPrinter::checked_access(TensorId tensor, const std::vector<Expr>& subscripts) {
  std::string all, offset;
  for (std::size_t axis = 0; axis < subscripts.size(); ++axis) {
    const std::string s = value(subscripts[axis]);
    offset += fmt::format("{}{} * {}", axis ? " + " : "", s, stride(tensor, axis));
    if (pool_[subscripts[axis]].op == Op::index) continue;
    const std::string extent = value(program_.tensors[tensor].shape[axis]);
    const std::string ok = fresh("ok");
    line(fmt::format("const bool {} = {} >= 0 && {} < {};", ok, s, s, extent));
    // The tensor whose element was the subscript.
    Expr origin = subscripts[axis];
    while (pool_[origin].op == Op::cast) origin = pool_[origin].args[0];
    const Node source = pool_[origin];
    const bool has_source = source.op == Op::read && source.args.size() <= 8;
    open(fmt::format("if (!{})", ok));
    scopes_.emplace_back();
    std::string positions;
    int rank = 0;
    if (has_source)
      for (Expr p : source.args) positions += (rank++ ? ", " : "") + value(p);
    line(fmt::format("quern_report({}, {}u, {}, {}, {}, {}u, {}{}{});", word({Word::status, 0, 0}), tensor, axis, s, extent,
                     has_source ? static_cast<std::uint32_t>(source.payload) : cpu::kNoSource, rank, rank ? ", " : "", positions));
    scopes_.pop_back();
    close();
    all += (all.empty() ? "" : " && ") + ok;
  }
  return {all.empty() ? "true" : all, offset.empty() ? "0" : offset};
}

std::string KernelPrinter::read(Expr e) {
  const Node n = pool_[e];
  const auto tensor = static_cast<TensorId>(n.payload);
  const Tensor& t = program_.tensors[tensor];
  if (in_registers(tensor)) return define(e, register_element(tensor));
  if (auto it = pairs_.find(e.id); it != pairs_.end()) return define(e, from_stored(t.type, fmt::format("(unsigned short)({} >> (e * 16))", it->second)));
  if (auto it = vector_reads_.find(e.id); it != vector_reads_.end()) return define(e, t.type == DType::bf16 ? it->second + ".bf16(e)" : from_stored(t.type, it->second + ".at[e]"));
  if (!(n.flags & kChecked)) {
    const std::string offset = offset_text(tensor, n.args);
    return define(e, from_stored(t.type, fmt::format("{}[{}]", tensor_pointer(tensor), offset)));
  }
  const CheckedAccess access = checked_access(tensor, n.args);
  const std::string name = fresh("v");
  line(fmt::format("{} {} = 0;", value_type(n.type), name));
  line(fmt::format("if ({}) {} = {};", access.good, name, from_stored(t.type, fmt::format("{}[{}]", tensor_pointer(tensor), access.offset))));
  scopes_.back().names[e.id] = name;
  return name;
}

void KernelPrinter::store(TensorId tensor, const std::vector<Expr>& subscripts, const std::string& text, DType from) {
  const DType type = program_.tensors[tensor].type;
  if (in_registers(tensor)) {
    line(fmt::format("{} = {};", register_element(tensor), cast_text(from, type, text)));
    return;
  }
  const std::string offset = offset_text(tensor, subscripts);
  line(fmt::format("{}[{}] = {};", tensor_pointer(tensor), offset, stored_text(type, from, text)));
}

/// A value of type `from` as an element of memory; one rounding does.
std::string KernelPrinter::stored_text(DType type, DType from, const std::string& text) const {
  if (from == DType::f32 && is_small_float(type)) return to_stored(type, text);
  return to_stored(type, cast_text(from, type, text));
}

}  // namespace quern::cuda
