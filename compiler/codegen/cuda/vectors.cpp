// 16-byte accesses of flat nests: a thread takes a few consecutive points of the fastest dim at once. What they read side by
// side comes in one load, what they write side by side goes out in one store; alignment and the end are tested at run time.
#include <algorithm>
#include <functional>

#include <fmt/format.h>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/passes/walk.h"

namespace quern::cuda {

using namespace ir;
using tile::Nest;
using tile::Update;
using tile::UpdateKind;

/// The axis whose neighbours are neighbours in memory, where that is known.
std::optional<std::size_t> KernelPrinter::unit_axis(TensorId tensor) const {
  const Tensor& t = program_.tensors[tensor];
  const auto& layouts = shared_.options.layouts;
  if (t.shape.empty()) return std::nullopt;
  if (tiles_.contains(tensor) || t.role == Role::temp) return t.shape.size() - 1;
  if (tensor >= layouts.size()) return std::nullopt;
  if (layouts[tensor].dense) return t.shape.size() - 1;
  const auto& strides = layouts[tensor].strides;
  const auto one = std::find(strides.begin(), strides.end(), cpu::StrideClass::one);
  if (one == strides.end()) return std::nullopt;
  return static_cast<std::size_t>(one - strides.begin());
}

/// Elements at neighbouring values of `index` are neighbours in memory.
bool KernelPrinter::lies_along(TensorId tensor, const std::vector<Expr>& subscripts, IndexId index) const {
  if (in_registers(tensor) || subscripts.empty()) return false;
  const auto unit = unit_axis(tensor);
  if (!unit) return false;
  for (std::size_t k = 0; k < subscripts.size(); ++k)
    if (pool_.depends_on(subscripts[k], index) && (k != *unit || !steps_with(pool_, subscripts[k], index))) return false;
  return pool_.depends_on(subscripts[*unit], index);
}

/// No guard is needed: tiles have room for every point, and a bare index over an axis' own range stays inside it.
bool KernelPrinter::is_always_inside(TensorId tensor, const std::vector<Expr>& subscripts) const {
  if (tiles_.contains(tensor)) return true;
  for (std::size_t k = 0; k < subscripts.size(); ++k) {
    const Node& n = pool_[subscripts[k]];
    std::int64_t begin = 0;
    if (n.op != Op::index) return false;
    const Index& index = program_.indices[static_cast<IndexId>(n.payload)];
    if (!pool_.is_integer_constant(index.begin, &begin) || begin != 0 || index.end != program_.tensors[tensor].shape[k]) return false;
  }
  return true;
}

/// Points a thread takes at once along `dim`; 1 where nothing lies along it or it is short.
int KernelPrinter::vector_of(const Nest& nest, std::size_t dim) const {
  const IndexId index = nest.dims[dim].index;
  std::size_t narrowest = 0;
  auto see = [&](TensorId tensor, const std::vector<Expr>& subscripts) {
    if (!lies_along(tensor, subscripts, index)) return;
    const std::size_t bytes = size_of(program_.tensors[tensor].type);
    narrowest = narrowest == 0 ? bytes : std::min(narrowest, bytes);
  };
  bool wide = false;
  for (const Update& u : nest.updates) {
    for (Expr e : {u.body, u.domain})
      if (e) compiler::for_each_node(pool_, e, [&](Expr at) {
        if (pool_[at].op == Op::read) see(static_cast<TensorId>(pool_[at].payload), pool_[at].args);
      });
    if (u.kind == UpdateKind::store) see(u.target, u.subscripts);
    wide |= u.checked;
  }
  if (narrowest == 0 || wide) return 1;
  const int vector = static_cast<int>(std::min<std::size_t>(8, 16 / narrowest));
  const auto bound = extent_bound(nest.dims[dim]);
  return bound && *bound < 2 * vector ? 1 : vector;
}

/// Loads, before the points of a vector, what all of them will read.
void KernelPrinter::load_vectors(const Nest& nest, IndexId index, int vector) {
  scopes_.emplace_back();
  std::set<std::uint32_t> seen;
  auto load = [&](Expr e) {
    const Node n = pool_[e];
    const auto tensor = static_cast<TensorId>(n.payload);
    if (!seen.insert(e.id).second || !lies_along(tensor, n.args, index)) return;
    const std::string name = fresh("w");
    if (n.flags & kChecked) {
      // The same test for all points of the vector, where only a bare index moves.
      for (Expr s : n.args) if (pool_.depends_on(s, index) && pool_[s].op != Op::index) return;
      const CheckedAccess access = checked_access(tensor, n.args);
      line(fmt::format("quern_vector<{}, {}> {};", stored_type(program_.tensors[tensor].type), vector, name));
      line(fmt::format("quern_load({}, {} + ({}), {} ? valid : 0);", name, tensor_pointer(tensor), access.offset, access.good));
      vector_reads_[e.id] = name;
      return;
    }
    const std::string address = fmt::format("{} + ({})", tensor_pointer(tensor), offset_text(tensor, n.args));
    line(fmt::format("quern_vector<{}, {}> {};", stored_type(program_.tensors[tensor].type), vector, name));
    line(fmt::format("quern_load({}, {}, valid);", name, address));
    vector_reads_[e.id] = name;
  };
  std::function<void(Expr, bool)> visit = [&](Expr e, bool guarded) {
    const Node n = pool_[e];
    if (n.op == Op::read) {
      // A subscript that is itself read stays with its point.
      if (!guarded || is_always_inside(static_cast<TensorId>(n.payload), n.args)) load(e);
      return;
    }
    for (std::size_t k = 0; k < n.args.size(); ++k) visit(n.args[k], guarded || (n.op == Op::where && k > 0));
  };
  std::set<TensorId> written;
  for (const Update& u : nest.updates) {
    // What an earlier update stores at the point is taken from there.
    auto safe = [&](Expr root) {
      bool ok = true;
      compiler::for_each_node(pool_, root, [&](Expr at) { ok &= pool_[at].op != Op::read || !written.contains(static_cast<TensorId>(pool_[at].payload)); });
      return ok;
    };
    if (u.domain && safe(u.domain)) visit(u.domain, false);
    if (u.body && safe(u.body)) visit(u.body, static_cast<bool>(u.domain));
    if (u.has_value_target) written.insert(u.target);
    if (u.has_position_target) written.insert(u.position_target);
  }
  scopes_.pop_back();
}

/// Arrays for the stores of whole vectors.
void KernelPrinter::prepare_stores(const Nest& nest, IndexId index, int vector) {
  scopes_.emplace_back();
  for (std::size_t i = 0; i < nest.updates.size(); ++i) {
    const Update& u = nest.updates[i];
    if (u.kind != UpdateKind::store || u.domain || !lies_along(u.target, u.subscripts, index)) continue;
    VectorStore s;
    s.array = fresh("w");
    s.address = fmt::format("{} + ({})", tensor_pointer(u.target), offset_text(u.target, u.subscripts));
    line(fmt::format("quern_vector<{}, {}> {};", stored_type(program_.tensors[u.target].type), vector, s.array));
    vector_stores_[i] = std::move(s);
  }
  scopes_.pop_back();
}

/// One point of a store update.
void KernelPrinter::store_point(const Update& u) {
  // Storing rounds: a cast to the stored type needs no rounding of its own.
  Expr body = u.body;
  const DType type = program_.tensors[u.target].type;
  const Node& n = pool_[body];
  if (n.op == Op::cast && n.type == type && is_small_float(type) && pool_.type(n.args[0]) == DType::f32) body = n.args[0];
  const std::string x = value(body);
  const auto it = vector_stores_.find(update_);
  if (it == vector_stores_.end()) return store(u.target, u.subscripts, x, pool_.type(body));
  line(fmt::format("{}.at[e] = {};", it->second.array, stored_text(type, pool_.type(body), x)));
  vector_reads_[pool_.read(u.target, type, u.subscripts).id] = it->second.array;
}

void KernelPrinter::store_vectors() {
  for (const auto& [update, s] : vector_stores_) line(fmt::format("quern_store({}, {}, valid);", s.address, s.array));
}

}  // namespace quern::cuda
