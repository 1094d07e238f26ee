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

/// The reads of a nest that lie along `index`, in order, where each point of a vector may make them.
std::vector<Expr> KernelPrinter::reads_along(const Nest& nest, IndexId index) const {
  std::vector<Expr> found;
  std::set<std::uint32_t> seen;
  std::function<void(Expr, bool)> visit = [&](Expr e, bool guarded) {
    const Node& n = pool_[e];
    if (n.op == Op::read) {
      // A subscript that is itself read stays with its point.
      const auto tensor = static_cast<TensorId>(n.payload);
      if (!(guarded && !is_always_inside(tensor, n.args)) && lies_along(tensor, n.args, index) && seen.insert(e.id).second) found.push_back(e);
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
  return found;
}

/// Loads, before the points of a vector, what all of them will read and nothing holds yet.
void KernelPrinter::load_vectors(const Nest& nest, IndexId index, int vector) {
  scopes_.emplace_back();
  for (Expr e : reads_along(nest, index)) {
    if (vector_reads_.contains(e.id)) continue;
    const Node n = pool_[e];
    const auto tensor = static_cast<TensorId>(n.payload);
    const std::string name = fresh("w");
    if (n.flags & kChecked) {
      // The same test for all points of the vector, where only a bare index moves.
      if (std::any_of(n.args.begin(), n.args.end(), [&](Expr s) { return pool_.depends_on(s, index) && pool_[s].op != Op::index; })) continue;
      const CheckedAccess access = checked_access(tensor, n.args);
      line(fmt::format("quern_vector<{}, {}> {};", stored_type(program_.tensors[tensor].type), vector, name));
      line(fmt::format("quern_load({}, {} + ({}), {} ? valid : 0);", name, tensor_pointer(tensor), access.offset, access.good));
      vector_reads_[e.id] = name;
      continue;
    }
    const std::string address = fmt::format("{} + ({})", tensor_pointer(tensor), offset_text(tensor, n.args));
    line(fmt::format("quern_vector<{}, {}> {};", stored_type(program_.tensors[tensor].type), vector, name));
    line(fmt::format("quern_load({}, {}, valid);", name, address));
    vector_reads_[e.id] = name;
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
    // Small floats are rounded in pairs, unless the nest reads them again.
    const DType type = program_.tensors[u.target].type;
    const bool again = std::any_of(nest.updates.begin(), nest.updates.end(), [&](const Update& other) {
      bool found = false;
      for (Expr e : {other.body, other.domain})
        if (e) compiler::for_each_node(pool_, e, [&](Expr at) { found |= pool_[at].op == Op::read && static_cast<TensorId>(pool_[at].payload) == u.target; });
      return found;
    });
    if (!again && vector % 2 == 0 && (type == DType::bf16 || type == DType::f16) && (pool_.type(u.body) == type || pool_.type(u.body) == DType::f32)) {
      s.packed = fmt::format("quern_pack_{}", name(type));
      line(fmt::format("float {}[{}];", s.array, vector));
    } else {
      line(fmt::format("quern_vector<{}, {}> {};", stored_type(type), vector, s.array));
    }
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
  if (!it->second.packed.empty()) return line(fmt::format("{}[e] = {};", it->second.array, x));
  line(fmt::format("{}.at[e] = {};", it->second.array, stored_text(type, pool_.type(body), x)));
  vector_reads_[pool_.read(u.target, type, u.subscripts).id] = it->second.array;
}

/// The points of the vector that begins at the index' value at hand; its length is `valid` in the text.
void KernelPrinter::vector_points(const Nest& nest, IndexId index, int vector, const std::string& extent, Ends ends, std::vector<Accumulation>& sums,
                                  const std::string& stores_where) {
  if (ends == Ends::none) line(fmt::format("constexpr int valid = {};", vector));
  else line(fmt::format("const int valid = (int)min((long long)({} - d{}), {}ll);", extent, index, vector));
  const auto before = vector_reads_;
  load_vectors(nest, index, vector);
  prepare_stores(nest, index, vector);
  line(fmt::format("const auto first_d = d{}; const auto first_x = x{};", index, index));
  const auto reads = vector_reads_;
  const Touched touched = touched_by(nest);
  for (const Update& u : nest.updates)
    for (Expr e : {u.body, u.domain}) hoist_tiles(e, {index}, touched.written);
  for (const Accumulation& s : sums) if (!s.kept.empty()) line(fmt::format("{} {}[{}];", value_type(s.type), s.seen, vector));
  const std::vector<Scope> outside = scopes_;
  const auto points = [&](bool tested) {
    line("#pragma unroll");
    open(fmt::format("for (int e = 0; e < {}; ++e)", vector));
    for (Scope& s : scopes_) std::erase_if(s.names, [&](const auto& entry) { return pool_.depends_on(Expr{entry.first}, index); });
    scopes_.emplace_back();
    line(fmt::format("const auto d{} = first_d + e; const auto x{} = first_x + e;", index, index));
    if (tested) open("if (e < valid)");
    vector_reads_ = reads;
    at_point(nest, sums);
    if (tested) close();
    scopes_ = outside;
    close();
  };
  if (ends == Ends::either) {
    open(fmt::format("if (valid >= {})", vector));
    points(false);
    close();
    open("else");
    points(true);
    close();
  } else {
    points(ends == Ends::tested);
  }
  for (const Accumulation& s : sums) {
    if (s.kept.empty()) continue;
    const Update& u = nest.updates[s.update];
    line(fmt::format("quern_{}_vector({}, {}, {}, {}, (int){});", name(u.reducer), s.value, s.position, s.kept, s.seen, value(u.position)));
  }
  if (!vector_stores_.empty() && !stores_where.empty()) open(fmt::format("if ({})", stores_where));
  store_vectors();
  if (!vector_stores_.empty() && !stores_where.empty()) close();
  vector_reads_ = before;
  vector_stores_.clear();
}

void KernelPrinter::store_vectors() {
  for (const auto& [update, s] : vector_stores_)
    line(fmt::format("quern_store({}, {}, valid);", s.address, s.packed.empty() ? s.array : fmt::format("{}({})", s.packed, s.array)));
}

}  // namespace quern::cuda
