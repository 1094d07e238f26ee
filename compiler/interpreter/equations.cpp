// Named tensors on demand: an element of an equation's target is computed when first read and remembered. A scatter
// first finds, once, which points land on which element. Also here: set-up, facts about data, and the run.
#include <fmt/format.h>

#include <algorithm>
#include <new>

#include "compiler/interpreter/elementwise.h"
#include "compiler/interpreter/machine.h"

namespace quern::interpreter {

template <class R>
void Memo<R>::reserve(std::uint64_t keys, std::int64_t row_length, std::size_t bytes) {
  row_ = static_cast<std::uint64_t>(std::max<std::int64_t>(row_length, 1));
  const std::uint64_t each = sizeof(std::uint64_t) + row_ * sizeof(Value<R>);
  slots_ = std::max<std::uint64_t>(1, std::min<std::uint64_t>(keys, bytes / each));
  tags_.reset(static_cast<std::uint64_t*>(std::calloc(slots_, sizeof(std::uint64_t))));
  values_.reset(static_cast<Value<R>*>(std::calloc(slots_ * row_, sizeof(Value<R>))));
  if (!tags_ || !values_) throw std::bad_alloc();
}

template <class R>
Machine<R>::Machine(ir::Program& program, Code code, const Arguments& arguments, const InterpretOptions& options)
    : p_(program), code_(std::move(code)), arguments_(arguments), options_(options) {
  if (p_.annotations.fast) laxity_ = 8;
}

template <class R>
void Machine<R>::set_up() {
  index_.assign(static_cast<std::size_t>(code_.levels) + 1, 0);
  version_.assign(static_cast<std::size_t>(code_.levels) + 1, 1);
  remembered_.resize(code_.items.size());
  previous_.resize(code_.forms.size());
  rows_.resize(code_.rows);
  tensors_.resize(p_.tensors.size());
  buckets_.resize(code_.equations.size());
  views_.assign(p_.tensors.size(), nullptr);
  for (std::size_t k = 0; k < p_.parameters.size(); ++k) views_[p_.parameters[k]] = &arguments_.tensors[k];
  narrowed_.resize(p_.tensors.size());
  for (const EquationCode& eq : code_.equations) {
    const TensorId t = eq.equation.targets[0];
    const DType type = p_.tensors[t].type, from = p_.pool.type(eq.equation.body);
    if (is_float(type) && is_float(from) && unit_roundoff(type) > unit_roundoff(from)) narrowed_[t] = from;
  }
  for (const auto& shape : code_.shapes)
    if (shape.size() > 16) error_ = "tensors of more than 16 axes are not interpreted";
  for (const EquationCode& eq : code_.equations)
    if (eq.indices.size() > 32) error_ = "equations of more than 32 indices are not interpreted";
  // Tables share the memory evenly; those that need less leave the rest to the others.
  struct Table {
    Memo<R>* memo;
    std::uint64_t keys;
    std::int64_t row;
    std::size_t bytes() const {
      return static_cast<std::size_t>(std::min<double>(
          1e18, static_cast<double>(keys) * (8.0 + static_cast<double>(std::max<std::int64_t>(row, 1)) * sizeof(V))));
    }
  };
  std::vector<Table> tables;
  std::vector<bool> read(p_.tensors.size(), false);
  for (const Read& r : code_.reads) read[r.tensor] = true;
  for (TensorId t = 0; t < p_.tensors.size(); ++t) {
    if (code_.definition[t] < 0 || !read[t]) continue;
    std::uint64_t count = 1;
    for (std::int64_t extent : code_.shapes[t]) count *= static_cast<std::uint64_t>(extent);
    tables.push_back({&tensors_[t], count, 1});
  }
  for (const Form& f : code_.forms) {
    if (!f.remembered ||
        std::any_of(tables.begin(), tables.end(), [&](const Table& t) { return t.memo == &rows_[f.row_id]; }))
      continue;
    std::uint64_t keys = 1;
    bool many = false;
    for (const KeyPart& k : f.key)
      many |= __builtin_mul_overflow(keys, static_cast<std::uint64_t>(std::max<std::int64_t>(k.extent, 1)), &keys);
    if (many) keys = std::uint64_t{1} << 62;
    tables.push_back({&rows_[f.row_id], keys, f.row_length});
    if (static_cast<double>(f.row_length) * sizeof(V) > static_cast<double>(options_.memory_limit))
      error_ = fmt::format("a row of {} values needs more than the memory limit of {} MiB", f.row_length,
                           options_.memory_limit >> 20);
  }
  std::sort(tables.begin(), tables.end(), [](const Table& a, const Table& b) { return a.bytes() < b.bytes(); });
  std::size_t left = options_.memory_limit;
  if (error_.empty())
    for (std::size_t i = 0; i < tables.size(); ++i) {
      const std::size_t share = std::min(tables[i].bytes(), left / (tables.size() - i));
      tables[i].memo->reserve(tables[i].keys, tables[i].row, share);
      left -= std::min(left, share);
    }
}

/// Puts the indices of `eq` where `subscripts` says; levels that do not move keep what was remembered for them.
template <class R>
Value<R> Machine<R>::define(const EquationCode& eq, TensorId tensor, const std::int64_t* subscripts) {
  const std::size_t n = eq.indices.size();
  std::int64_t values[32];
  for (std::size_t i = 0; i < n; ++i) values[i] = eq.indices[i].begin;
  for (std::size_t k = 0; k < eq.target.size(); ++k) {
    const TargetAxis& axis = eq.target[k];
    std::int64_t rest = subscripts[k] - axis.base;
    for (const Digit& d : axis.digits) rest -= d.factor * (d.factor < 0 ? d.begin + d.extent - 1 : d.begin);
    for (const Digit& d : axis.digits) {
      const std::int64_t size = d.factor < 0 ? -d.factor : d.factor;
      const std::int64_t count = size == 0 ? 0 : rest / size;
      rest -= count * size;
      values[d.level - eq.first_level] = d.factor < 0 ? d.begin + d.extent - 1 - count : d.begin + count;
    }
  }
  bool moved = false;
  for (std::size_t i = 0; i < n; ++i) {
    const int level = eq.indices[i].level;
    moved =
        moved || index_[static_cast<std::size_t>(level)] != values[i] || version_[static_cast<std::size_t>(level)] == 1;
    if (moved) step(level, values[i]);
  }
  const std::size_t which = eq.equation.targets.size() > 1 && eq.equation.targets[1] == tensor ? 1 : 0;
  const V out = eval(eq.roots[which]);
  // An element of a named tensor has the tensor's type.
  const DType type = p_.tensors[tensor].type, from = p_.pool.type(eq.equation.body);
  if (which == 1 || type == from) return out;
  if (is_float(type) && is_float(from)) return out;  // rounded when it is read or judged
  Item item;
  item.type = type;
  item.from = from;
  if (is_float(type)) return float_of(item, out);
  if (is_float(from)) return integer_of(item, out);
  return out.e == 0 ? V::integer(wrapped_to(type, out.i)) : out;
}

template <class R>
Value<R> Machine<R>::tensor_at(TensorId tensor, const std::int64_t* subscripts, std::int64_t position) {
  const int k = code_.definition[tensor];
  if (k < 0) return is_float(p_.tensors[tensor].type) ? V::real(0, kInf) : V::integer(0, kInf);
  const EquationCode& eq = code_.equations[static_cast<std::size_t>(k)];
  auto compute = [&] {
    return eq.equation.op == ir::AssignOp::set ? define(eq, tensor, subscripts)
                                               : scattered(static_cast<std::size_t>(k), tensor, subscripts, position);
  };
  Memo<R>& memo = tensors_[tensor];
  if (!memo.ready()) return compute();
  bool known = false;
  V* slot = memo.find(static_cast<std::uint64_t>(position), known);
  if (known) return *slot;
  const V value = compute();
  *slot = value;
  memo.mark(static_cast<std::uint64_t>(position));
  return value;
}

template <class R>
void Machine<R>::place(const EquationCode& eq, std::int64_t point) {
  for (std::size_t i = eq.indices.size(); i-- > 0;) {
    const std::int64_t extent = eq.indices[i].end - eq.indices[i].begin;
    index_[static_cast<std::size_t>(eq.indices[i].level)] = eq.indices[i].begin + point % extent;
    point /= extent;
  }
  for (const Axis& a : eq.indices) step(a.level, index_[static_cast<std::size_t>(a.level)]);
}

/// Sorts the points of a scatter by the element they land on, in order of iteration.
template <class R>
bool Machine<R>::fill_buckets(std::size_t k) {
  Bucket& bucket = buckets_[k];
  if (bucket.ready) return true;
  bucket.ready = true;
  const EquationCode& eq = code_.equations[k];
  const std::vector<std::int64_t>& shape = code_.shapes[eq.equation.targets[0]];
  std::int64_t count = 1, elements = 1;
  for (const Axis& a : eq.indices) count *= a.end - a.begin;
  for (std::int64_t extent : shape) elements *= extent;
  if (static_cast<double>(count + elements) * 16 > static_cast<double>(options_.memory_limit)) {
    error_ = fmt::format("the scatter into '{}' has {} points, more than fit the memory limit",
                         p_.tensors[eq.equation.targets[0]].name, count);
    bucket.unknown = true;
    return false;
  }
  std::vector<std::int64_t> lands(static_cast<std::size_t>(count), -1);
  bucket.starts.assign(static_cast<std::size_t>(elements) + 1, 0);
  for (std::int64_t point = 0; point < count; ++point) {
    place(eq, point);
    std::int64_t position = 0;
    bool inside = true;
    for (std::size_t d = 0; d < shape.size(); ++d) {
      const Subscript& s = eq.subscripts[d];
      const V v = s.affine ? V::integer(affine(s.form)) : eval(s.item);
      if (v.e != 0) bucket.unknown = true;
      if (v.i < 0 || v.i >= shape[d]) {
        if (inside && !violation_) {
          Read r;
          r.tensor = eq.equation.targets[0];
          r.checked = eq.equation.checked;
          r.subscripts = eq.subscripts;
          report(r, d, v.i);
        }
        inside = false;
      }
      position = position * shape[d] + v.i;
    }
    if (!inside) continue;
    lands[static_cast<std::size_t>(point)] = position;
    ++bucket.starts[static_cast<std::size_t>(position) + 1];
  }
  for (std::size_t i = 1; i < bucket.starts.size(); ++i) bucket.starts[i] += bucket.starts[i - 1];
  bucket.points.resize(static_cast<std::size_t>(bucket.starts.back()));
  std::vector<std::int64_t> next(bucket.starts.begin(), bucket.starts.end() - 1);
  for (std::int64_t point = 0; point < count; ++point)
    if (const std::int64_t position = lands[static_cast<std::size_t>(point)]; position >= 0)
      bucket.points[static_cast<std::size_t>(next[static_cast<std::size_t>(position)]++)] = point;
  return true;
}

template <class R>
Value<R> Machine<R>::scattered(std::size_t k, TensorId tensor, const std::int64_t* subscripts, std::int64_t position) {
  const EquationCode& eq = code_.equations[k];
  const DType type = p_.tensors[tensor].type;
  fill_buckets(k);
  const Bucket& bucket = buckets_[k];
  const bool real = is_float(type);
  V entry = fetch(*p_.tensors[tensor].entry, subscripts);
  if (bucket.unknown) return entry.e = kInf, entry;
  const DType from = p_.pool.type(eq.equation.body);
  const Precision& p = precision(is_small_float(type) ? DType::f32 : type);
  Total<R> total;
  if (real) total.add(entry);
  Item cast;
  cast.type = is_small_float(type) ? DType::f32 : type;
  cast.from = from;
  for (std::int64_t i = bucket.starts[static_cast<std::size_t>(position)];
       i < bucket.starts[static_cast<std::size_t>(position) + 1]; ++i) {
    place(eq, bucket.points[static_cast<std::size_t>(i)]);
    V v = eval(eq.roots[0]);
    if (real && !is_float(from)) v = float_of(cast, v);
    if (!real && is_float(from)) v = integer_of(cast, v);
    switch (eq.equation.op) {
      case ir::AssignOp::add:
        if (real)
          total.add(v);
        else
          entry = V::integer(
              static_cast<std::int64_t>(static_cast<std::uint64_t>(entry.i) + static_cast<std::uint64_t>(v.i)),
              entry.e < 0 || v.e < 0 ? kInf : entry.e + v.e);
        break;
      default: {
        const Op op = eq.equation.op == ir::AssignOp::max ? Op::max : Op::min;
        if (real) {
          entry = apply_float<R>(op, p, false, entry, v, v);
        } else {
          Item item;
          item.op = op;
          item.type = item.from = type;
          entry = whole(item, entry, v, v);
        }
        break;
      }
    }
  }
  if (real && eq.equation.op == ir::AssignOp::add) entry = total.finish(p);
  if (!real && eq.equation.op == ir::AssignOp::add) entry.i = wrapped_to(type, entry.i);
  return is_small_float(type) ? rounded<R>(type, entry, p) : entry;
}

template <class R>
void Machine<R>::check_facts() {
  for (TensorId t : p_.parameters) {
    const ir::Tensor& tensor = p_.tensors[t];
    const std::vector<std::int64_t>& shape = code_.shapes[t];
    if (!tensor.nondecreasing || shape.empty() || p_.annotations.trusted) continue;
    std::int64_t count = 1;
    for (std::int64_t extent : shape) count *= extent;
    std::vector<std::int64_t> at(shape.size(), 0);
    for (std::int64_t i = 0; i < count && !violation_; ++i) {
      std::int64_t rest = i;
      for (std::size_t d = shape.size(); d-- > 0; rest /= shape[d]) at[d] = rest % shape[d];
      if (at.back() == 0) continue;
      std::vector<std::int64_t> before = at;
      --before.back();
      const V a = fetch(t, before.data()), b = fetch(t, at.data());
      const bool falls = is_float(tensor.type) ? !(b.v >= a.v) : b.i < a.i;
      if (!falls) continue;
      Violation v;
      v.tensor = t;
      v.axis = static_cast<int>(shape.size()) - 1;
      v.value = is_float(tensor.type) ? static_cast<std::int64_t>(b.v) : b.i;
      v.extent = shape.back();
      v.position = at;
      violation_ = std::move(v);
    }
  }
}

template <class R>
Results Machine<R>::run() {
  Results results;
  std::vector<TensorId> outputs;
  for (TensorId t = 0; t < p_.tensors.size(); ++t)
    if (p_.tensors[t].role == ir::Role::output) outputs.push_back(t);
  std::vector<std::int64_t> counts;
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    std::int64_t count = 1;
    for (std::int64_t extent : code_.shapes[outputs[k]]) count *= extent;
    if (k < options_.samples.size() && options_.samples[k])
      count = static_cast<std::int64_t>(options_.samples[k]->size());
    counts.push_back(count);
    if (static_cast<double>(count) * 16 > static_cast<double>(options_.memory_limit)) {
      results.error =
          fmt::format("output '{}' has {} elements to evaluate; a memory limit of {} MiB allows {}: ask for a sample",
                      p_.tensors[outputs[k]].name, count, options_.memory_limit >> 20, options_.memory_limit / 16);
      return results;
    }
  }
  set_up();
  if (!error_.empty()) return results.error = error_, results;
  check_facts();
  for (std::size_t k = 0; k < outputs.size(); ++k) {
    const TensorId t = outputs[k];
    const ir::Tensor& tensor = p_.tensors[t];
    compiler::OutputValues out;
    out.tensor = t;
    out.type = tensor.type;
    out.shape = code_.shapes[t];
    const bool real = is_float(tensor.type);
    if (k < options_.samples.size()) out.positions = options_.samples[k];
    const auto count = static_cast<std::size_t>(counts[k]);
    out.errors.reserve(count);
    if (real)
      out.values.reserve(count);
    else
      out.integers.reserve(count);
    std::vector<std::int64_t> at(out.shape.size(), 0);
    for (std::size_t i = 0; i < count; ++i) {
      std::int64_t rest = out.position(i);
      for (std::size_t d = out.shape.size(); d-- > 0; rest /= out.shape[d]) at[d] = rest % out.shape[d];
      const V v = tensor_at(t, at.data(), out.position(i));
      if (!error_.empty()) return results.error = error_, results;
      if (real) {
        const auto value = static_cast<double>(v.v);
        double e = v.e;
        if (std::isfinite(value)) e += std::fabs(static_cast<double>(v.v - static_cast<R>(value)));
        out.values.push_back(value);
        out.errors.push_back(e);
      } else {
        out.integers.push_back(v.i);
        out.errors.push_back(v.e < 0 ? 0 : v.e);
        if (v.e < 0) out.sets[i] = sets_[static_cast<std::size_t>(-v.e) - 1];
      }
    }
    results.outputs.push_back(std::move(out));
  }
  results.violation = violation_;
  return results;
}

#define QUERN_INSTANTIATE(R)                                                                   \
  template class Memo<R>;                                                                      \
  template Machine<R>::Machine(ir::Program&, Code, const Arguments&, const InterpretOptions&); \
  template Value<R> Machine<R>::tensor_at(TensorId, const std::int64_t*, std::int64_t);        \
  template Results Machine<R>::run();
QUERN_INSTANTIATE(double)
QUERN_INSTANTIATE(long double)
#undef QUERN_INSTANTIATE

}  // namespace quern::interpreter
