// merge_equal: temps with the same definition become one, and what nobody reads is dropped.
// Goes in: any program. Comes out: the same values with fewer equations. The idea: each body is written out with its
// indices numbered in order of appearance and the operands of commutative operators in an order that does not depend on
// names, so two definitions are equal up to renaming when their texts are.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "compiler/passes/passes.h"
#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

bool commutes(Op op) {
  switch (op) {
    case Op::add: case Op::mul: case Op::min: case Op::max: case Op::eq: case Op::ne: case Op::and_: case Op::or_:
    case Op::hypot: case Op::logaddexp: return true;
    default: return false;
  }
}

class Writer {
 public:
  explicit Writer(const Program& p) : p_(p), pool_(p.pool) {}

  std::string text(Expr e) {
    out_.clear();
    number_.clear();
    written_.clear();
    write(e);
    return out_;
  }
  /// Number of an index in the last text.
  std::optional<int> number_of(IndexId i) const {
    auto it = number_.find(i);
    return it == number_.end() ? std::nullopt : std::optional(it->second);
  }

 private:
  const Program& p_;
  const ExprPool& pool_;
  std::string out_;
  std::map<IndexId, int> number_;
  std::unordered_map<std::uint32_t, std::size_t> written_;  // shared parts are written once
  std::unordered_map<std::uint32_t, std::uint64_t> shape_;

  /// Structure without index names, to order commuting operands.
  std::uint64_t shape(Expr e) {
    if (auto it = shape_.find(e.id); it != shape_.end()) return it->second;
    const Node& n = pool_[e];
    std::uint64_t h = static_cast<std::uint64_t>(n.op) * 131 + static_cast<std::uint64_t>(n.type) * 7 + n.flags + 1;
    auto mix = [&](std::uint64_t v) { h = (h ^ v) * 0x9e3779b97f4a7c15ull; h ^= h >> 29; };
    if (n.op != Op::index) mix(static_cast<std::uint64_t>(n.payload));
    std::vector<std::uint64_t> parts;
    for (Expr a : n.args) parts.push_back(shape(a));
    if (commutes(n.op)) std::sort(parts.begin(), parts.end());
    for (std::uint64_t part : parts) mix(part);
    return shape_[e.id] = h;
  }
  void index(IndexId i) {
    auto [it, fresh] = number_.emplace(i, static_cast<int>(number_.size()));
    out_ += fmt::format("i{}", it->second);
    if (fresh) out_ += fmt::format(":{}:{}", p_.indices[i].begin.id, p_.indices[i].end.id);
  }
  void write(Expr e) {
    const Node& n = pool_[e];
    if (n.op == Op::index) return index(static_cast<IndexId>(n.payload));
    if (pool_.free_indices(e).empty() && !binds_axes(n.op) && n.args.empty()) {
      out_ += fmt::format("#{}", e.id);  // interned leaves are their own names
      return;
    }
    if (auto it = written_.find(e.id); it != written_.end()) {
      out_ += fmt::format("@{}", it->second);
      return;
    }
    out_ += fmt::format("{}.{}.{}.{}(", static_cast<int>(n.op), static_cast<int>(n.type), n.flags, n.payload);
    for (IndexId axis : n.axes) index(axis), out_ += ';';
    std::vector<Expr> args = n.args;
    if (commutes(n.op) && shape(args[1]) < shape(args[0])) std::swap(args[0], args[1]);
    for (Expr a : args) write(a), out_ += ',';
    out_ += ')';
    written_.emplace(e.id, written_.size());
  }
};

/// The index that subscript k of a `set` target is (up to the start of its range), if every one is.
std::optional<std::vector<IndexId>> plain_subscripts(const Program& p, const Equation& equation) {
  std::vector<IndexId> out;
  for (Expr s : equation.subscripts) {
    const Node& n = p.pool[s];
    const Expr core = n.op == Op::sub ? n.args[0] : s;
    if (p.pool[core].op != Op::index) return std::nullopt;
    const auto i = static_cast<IndexId>(p.pool[core].payload);
    std::int64_t begin = 1;
    const bool from_zero = p.pool.is_integer_constant(p.indices[i].begin, &begin) && begin == 0;
    if (n.op == Op::sub ? n.args[1] != p.indices[i].begin : !from_zero) return std::nullopt;
    if (std::find(out.begin(), out.end(), i) != out.end()) return std::nullopt;
    out.push_back(i);
  }
  return out;
}

/// A read of `from` at (s0, s1, ...) is a read of `to` at (s[order[0]], s[order[1]], ...).
struct Replacement {
  TensorId to = 0;
  std::vector<std::size_t> order;
};

struct Known {
  std::vector<TensorId> targets;
  std::vector<int> position;  // number (in the text) of the index of each axis
};

}  // namespace

bool merge_equal(Program& program) {
  ExprPool& pool = program.pool;
  bool changed = false;
  std::map<TensorId, Replacement> replaced;
  std::map<std::string, Known> known;
  Writer writer(program);
  auto redirect = [&](Expr e) {
    return pool.rewrite(e, [&](Expr at) -> Expr {
      const Node& n = pool[at];
      if (n.op != Op::read) return {};
      auto it = replaced.find(static_cast<TensorId>(n.payload));
      if (it == replaced.end()) return {};
      std::vector<Expr> subscripts;
      for (std::size_t k : it->second.order) subscripts.push_back(n.args[k]);
      return pool.read(it->second.to, n.type, std::move(subscripts), n.flags & kChecked);
    });
  };
  for (Equation& equation : program.equations) {
    if (!replaced.empty()) {
      equation.body = redirect(equation.body);
      for (Expr& s : equation.subscripts) s = redirect(s);
    }
    if (equation.op != AssignOp::set) continue;
    const auto plain = plain_subscripts(program, equation);
    if (!plain || plain->size() != pool.free_indices(equation.body).size()) continue;
    std::string key;
    for (TensorId t : equation.targets) key += fmt::format("{} ", static_cast<int>(program.tensors[t].type));
    key += writer.text(equation.body);
    Known self{equation.targets, {}};
    bool numbered = true;
    for (IndexId i : *plain) {
      const auto n = writer.number_of(i);
      numbered = numbered && n;
      self.position.push_back(n.value_or(-1));
    }
    if (!numbered) continue;
    auto [it, fresh] = known.emplace(key, self);
    if (fresh) continue;
    std::vector<std::size_t> order;
    for (int wanted : it->second.position)
      order.push_back(static_cast<std::size_t>(std::find(self.position.begin(), self.position.end(), wanted) - self.position.begin()));
    const bool all_temps = std::all_of(equation.targets.begin(), equation.targets.end(),
                                       [&](TensorId t) { return program.tensors[t].role == Role::temp; });
    if (all_temps) {
      for (std::size_t k = 0; k < equation.targets.size(); ++k) replaced[equation.targets[k]] = {it->second.targets[k], order};
      changed = true;
    } else if (equation.targets.size() == 1 && !is_pointwise(pool, equation.body)) {
      // An output with the definition of a temp copies it.
      std::vector<Expr> subscripts;
      for (std::size_t k : order) subscripts.push_back(equation.subscripts[k]);
      const TensorId from = it->second.targets[0];
      equation.body = pool.read(from, program.tensors[from].type, std::move(subscripts));
      changed = true;
    }
  }

  // From the last equation up: only what an output, or something alive, reads.
  std::set<TensorId> alive;
  std::vector<Equation> kept;
  auto keep_reads = [&](Expr e) {
    for_each_node(pool, e, [&](Expr at) {
      if (pool[at].op == Op::read) alive.insert(static_cast<TensorId>(pool[at].payload));
    });
  };
  for (auto it = program.equations.rbegin(); it != program.equations.rend(); ++it) {
    const bool wanted = std::any_of(it->targets.begin(), it->targets.end(), [&](TensorId t) {
      return program.tensors[t].role != Role::temp || alive.contains(t);
    });
    if (!wanted) {
      changed = true;
      continue;
    }
    keep_reads(it->body);
    for (Expr s : it->subscripts) keep_reads(s);
    kept.push_back(std::move(*it));
  }
  std::reverse(kept.begin(), kept.end());
  program.equations = std::move(kept);
  return changed;
}

}  // namespace quern::compiler
