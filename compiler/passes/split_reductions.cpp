// Which reductions are split, into how many parts, and the two equations (four with a position) that come of one.
// The order in which parts are merged is fixed, so results are the same in every run.
#include "compiler/passes/split_reductions.h"

#include <algorithm>
#include <optional>

#include "compiler/passes/walk.h"

namespace quern::compiler {

using namespace ir;

namespace {

bool has_position(Reducer r) { return r == Reducer::argmax || r == Reducer::argmin; }

constexpr std::int64_t kFewResults = 16;  // on a CPU

struct Splitter {
  Program& program;
  const PlanInput& input;
  ExprPool& pool;
  std::set<TensorId> apart{};
  std::vector<Equation> out{};

  Expr whole(std::int64_t n) { return pool.integer(n); }
  Expr quotient_up(Expr a, Expr b) { return pool.apply(Op::floordiv, {pool.sub(pool.add(a, b), whole(1)), b}); }

  std::vector<Expr> reads_of(Expr e) const {
    std::vector<Expr> found;
    if (e) for_each_node(pool, e, [&](Expr at) { if (pool[at].op == Op::read) found.push_back(at); });
    return found;
  }

  /// Whether reductions to many results read `t`, themselves or through others: they stream together in one pass.
  bool feeds_many(TensorId t) const {
    return std::any_of(program.equations.begin(), program.equations.end(), [&](const Equation& eq) {
      const auto read = reads_of(eq.body);
      if (std::none_of(read.begin(), read.end(), [&](Expr e) { return static_cast<TensorId>(pool[e].payload) == t; })) return false;
      std::int64_t kept = 1;
      const bool few = pool.is_integer_constant(points(program, eq.indices), &kept) && kept <= kFewResults;
      const Op root = pool[eq.body].op;
      if (!few && (root == Op::reduce || root == Op::scan || root == Op::topk_value)) return true;
      return std::any_of(eq.targets.begin(), eq.targets.end(), [&](TensorId own) { return feeds_many(own); });
    });
  }

  /// How many elements a part reduces, at least and so that there are about `parts` of them; none: stays whole.
  struct Amount {
    std::int64_t least = 4096;
    std::int64_t parts = 2048;  // times kept points
  };
  std::optional<Amount> amount_of(const Equation& eq, const std::vector<IndexId>& axes) {
    const Node root = pool[eq.body];
    bool varies = false, columns = false, rows = false;
    for (Expr part : {root.args[0], root.args[1]})
      for (Expr e : reads_of(part)) {
        if (!pool.depends_on_any(e, axes)) continue;
        varies = true;
        const Node& n = pool[e];
        const auto tensor = static_cast<TensorId>(n.payload);
        auto adjacent = [&](IndexId i) { return step_along(program, input, tensor, n.args, i) == Step::adjacent; };
        rows |= std::any_of(axes.begin(), axes.end(), adjacent);
        columns |= std::any_of(eq.indices.begin(), eq.indices.end(), adjacent);
        // An intermediate that only exists piece by piece goes into the kernel that reduces it.
        if (program.tensors[tensor].role == Role::temp && n.args.size() > 1) return std::nullopt;
      }
    if (!varies) return std::nullopt;
    Stage stage;
    stage.form = Form::reduce;
    stage.free = eq.indices;
    stage.axes = axes;
    stage.body = root.args[0];
    if (has_reuse(program, stage)) return std::nullopt;

    std::int64_t kept = 1, reduced = 1;
    const bool kept_known = pool.is_integer_constant(points(program, eq.indices), &kept);
    const bool reduced_known = pool.is_integer_constant(points(program, axes), &reduced);
    if (!input.gpu) {
      // More results than this are tasks enough. Parts follow the sizes alone: any number of threads gives the same bits.
      if (!kept_known || kept > kFewResults || feeds_many(eq.targets[0])) return std::nullopt;
      // Lanes are for what lies side by side. A domain that reads data has no test of its own for the end of a part.
      if (!(rows || columns) || !reads_of(root.args[1]).empty()) return std::nullopt;
      if (reduced_known && reduced * std::max<std::int64_t>(kept, 1) < 131072) return std::nullopt;
      return Amount{32768, 256};
    }
    if (columns && !rows) {
      if (kept_known && kept > 65536) return std::nullopt;
      if (reduced_known && (reduced < 512 || (kept_known && reduced * std::max<std::int64_t>(kept, 1) < 65536))) return std::nullopt;
      return Amount{512, 131072};
    }
    if (!kept_known || kept > 64) return std::nullopt;
    if (reduced_known && reduced < 16384) return std::nullopt;
    return Amount{};
  }

  struct Part {
    IndexId axis, within, number;
    Expr length;  // of a part
    Expr at;      // axis, from `number` and `within`
  };

  bool split(const Equation& eq) {
    if (eq.op != AssignOp::set || pool[eq.body].op != Op::reduce) return false;
    const Node root = pool[eq.body];
    const auto reducer = static_cast<Reducer>(root.payload);
    if (is_composite(reducer)) return false;
    std::vector<IndexId> axes = root.axes;
    const auto amount = amount_of(eq, axes);
    if (!amount) return false;
    std::vector<IndexId> uncut;
    Expr inside = whole(1);  // points of what is not cut
    if (!input.gpu && axes.size() > 1) {
      // A CPU wants a few hundred parts: the outermost axis that has as many values is cut, the others stay.
      const auto cut = std::find_if(axes.begin(), axes.end(), [&](IndexId a) {
        std::int64_t n = 0;
        return !pool.is_integer_constant(compiler::extent(program, a), &n) || n >= 64;
      });
      if (cut == axes.end()) return false;
      const IndexId chosen = *cut;
      uncut = axes;
      std::erase(uncut, chosen);
      inside = points(program, uncut);
      axes = {chosen};
    }

    // From the axis whose neighbours lie side by side outwards, each takes what fits into a part.
    std::reverse(axes.begin(), axes.end());
    std::stable_partition(axes.begin(), axes.end(), [&](IndexId a) {
      for (Expr e : reads_of(root.args[0])) {
        const Node& n = pool[e];
        if (step_along(program, input, static_cast<TensorId>(n.payload), n.args, a) == Step::adjacent) return true;
      }
      return false;
    });
    const Expr kept = points(program, eq.indices), reduced = points(program, axes);
    constexpr std::int64_t kUnit = 256;  // parts begin at whole vectors
    Expr budget = quotient_up(pool.mul(reduced, pool.max(kept, whole(1))), whole(amount->parts));
    budget = pool.mul(quotient_up(pool.max(budget, whole(amount->least)), whole(kUnit)), whole(kUnit));
    if (!uncut.empty()) budget = pool.max(quotient_up(compiler::extent(program, axes[0]), whole(amount->parts)), quotient_up(whole(amount->least), pool.max(inside, whole(1))));
    std::vector<Part> parts;
    for (IndexId a : axes) {
      const Expr extent = compiler::extent(program, a);
      const Expr length = axes.size() == 1 ? budget : pool.max(whole(1), quotient_up(extent, pool.max(whole(1), quotient_up(extent, budget))));
      budget = pool.max(whole(1), pool.apply(Op::floordiv, {budget, length}));
      const Expr count = quotient_up(extent, length);
      const std::string name = program.indices[a].name;
      Part p{a, 0, 0, length, {}};
      p.within = program.add_index(name, whole(0), length);
      p.number = program.add_index(name + "_part", whole(0), count);
      p.at = pool.add(pool.index(p.within), pool.add(pool.mul(pool.index(p.number), length), program.indices[a].begin));
      parts.push_back(p);
    }

    std::vector<IndexId> free = eq.indices, numbers, within;
    Renaming at;
    Expr domain = root.args[1];
    for (const Part& p : parts) {
      numbers.push_back(p.number);
      within.push_back(p.within);
      at[p.axis] = p.at;
    }
    free.insert(free.end(), numbers.begin(), numbers.end());
    std::reverse(within.begin(), within.end());
    if (!uncut.empty()) {
      const IndexId cut = within[0];
      within = root.axes;
      std::replace(within.begin(), within.end(), axes[0], cut);
    }
    domain = pool.substitute(domain, at);
    for (const Part& p : parts) domain = both(pool, pool.less(p.at, program.indices[p.axis].end), domain);
    const Expr body = pool.substitute(root.args[0], at);
    const std::string name = program.tensors[eq.targets[0]].name;
    const DType type = is_small_float(root.type) ? DType::f32 : root.type;
    auto define = [&](Temp& t, Expr value) {
      t.equation.body = pool.substitute(value, t.renaming);
      t.equation.span = eq.span;
      out.push_back(t.equation);
    };
    Temp part = add_temp(program, name + "_part", type, free);
    Equation last = eq;
    if (!has_position(reducer)) {
      define(part, pool.reduce(reducer, within, body, domain, type));
      apart.insert(part.tensor);
      last.body = pool.reduce(reducer, numbers, part.read, pool.boolean(true), type);
      out.push_back(std::move(last));
      return true;
    }
    // The best position of each part, the value there, the part with the best value, its position.
    const Part& p = parts[0];
    const Expr nothing = pool.integer(-1, DType::i32), none = pool.integer(0, DType::i32);
    define(part, pool.reduce(reducer, within, body, domain, DType::i32));
    Renaming there;
    there[p.within] = pool.cast(part.read, DType::i64);
    const Expr lowest = identity_of(pool, reducer == Reducer::argmax ? Reducer::max : Reducer::min, pool.type(body));
    const Expr found = pool.apply(Op::ge, {part.read, none});
    Temp value = add_temp(program, name + "_value", pool.type(body), free);
    define(value, pool.where(found, pool.substitute(body, there), lowest));
    Temp best = add_temp(program, name + "_best", DType::i32, eq.indices);
    define(best, pool.reduce(reducer, numbers, value.read, found, DType::i32));
    Renaming chosen;
    chosen[p.number] = pool.cast(best.read, DType::i64);
    const Expr position = pool.add(pool.add(program.indices[p.axis].begin, pool.mul(chosen[p.number], p.length)),
                                   pool.cast(pool.substitute(part.read, chosen), DType::i64));
    last.body = pool.where(pool.apply(Op::ge, {best.read, none}), pool.cast(position, DType::i32), nothing);
    apart.insert(value.tensor);
    out.push_back(std::move(last));
    return true;
  }

  /// The k best of each part, then the k best of those. Parts are in order, so ties still go to the lowest position.
  bool split_top(const Equation& eq) {
    if (eq.op != AssignOp::set || pool[eq.body].op != Op::topk_value) return false;
    const Node root = pool[eq.body];
    const IndexId axis = root.axes[0], rank = root.axes[1];
    std::vector<IndexId> rows = eq.indices;
    std::erase(rows, rank);
    std::int64_t kept = 1, reduced = 0, k = 0;
    if (!pool.is_integer_constant(points(program, rows), &kept) || kept > 64) return false;
    if (pool.is_integer_constant(extent(program, axis), &reduced) && reduced < 65536) return false;
    if (!pool.is_integer_constant(extent(program, rank), &k) || k < 1 || k > 32) return false;
    for (Expr part : {root.args[0], root.args[1]})
      for (Expr e : reads_of(part))
        if (program.tensors[static_cast<TensorId>(pool[e].payload)].role == Role::temp && pool[e].args.size() > 1) return false;

    const Expr begin = program.indices[axis].begin;
    const Expr length = pool.max(whole(8192), quotient_up(extent(program, axis), whole(1024)));
    const Expr count = quotient_up(extent(program, axis), length);
    const std::string name = program.indices[axis].name, target = program.tensors[eq.targets[0]].name;
    const IndexId within = program.add_index(name, whole(0), length), number = program.add_index(name + "_part", whole(0), count);
    const IndexId candidate = program.add_index(name + "_best", whole(0), pool.mul(count, whole(k)));
    const auto among = [&](Expr value, Expr domain, IndexId x, IndexId j) {
      Node n = root;
      n.args = {value, domain};
      n.axes = {x, j};
      return pool.intern(std::move(n));
    };
    std::vector<IndexId> free = rows;
    free.push_back(number);
    free.push_back(rank);
    Temp values = add_temp(program, target + "_part", root.type, free), places = add_temp(program, target + "_place", DType::i32, free);
    Renaming at = values.renaming;
    const Expr x = pool.add(pool.index(within), pool.add(pool.mul(at.at(number), length), begin));
    at[axis] = x;
    Equation part = values.equation;
    part.targets.push_back(places.tensor);
    part.span = eq.span;
    part.body = among(pool.substitute(root.args[0], at), both(pool, pool.less(x, program.indices[axis].end), pool.substitute(root.args[1], at)), within,
                      values.indices.back());
    out.push_back(std::move(part));

    const auto chosen = [&](Expr e, Expr q) {  // at candidate number q
      return pool.substitute(e, {{number, pool.apply(Op::floordiv, {q, whole(k)})}, {rank, pool.apply(Op::mod, {q, whole(k)})}});
    };
    const Expr none = pool.integer(0, DType::i32), q = pool.index(candidate);
    Equation last = eq;
    last.body = among(chosen(values.read, q), pool.apply(Op::ge, {chosen(places.read, q), none}), candidate, rank);
    apart.insert(values.tensor);
    if (eq.targets.size() < 2) {
      out.push_back(std::move(last));
      return true;
    }
    Temp best = add_temp(program, target + "_best", DType::i32, eq.indices);
    last.targets = {eq.targets[0], best.tensor};
    Equation position = eq;
    position.targets = {eq.targets[1]};
    const Expr w = pool.cast(best.read, DType::i64);
    const Expr found = pool.add(pool.add(begin, pool.mul(pool.apply(Op::floordiv, {w, whole(k)}), length)), pool.cast(chosen(places.read, w), DType::i64));
    position.body = pool.where(pool.apply(Op::ge, {best.read, none}), pool.cast(found, DType::i32), pool.integer(-1, DType::i32));
    out.push_back(std::move(last));
    out.push_back(std::move(position));
    return true;
  }

  std::set<TensorId> run() {
    for (const Equation& eq : program.equations)
      if (!split(eq) && !(input.gpu && split_top(eq))) out.push_back(eq);
    program.equations = std::move(out);
    return std::move(apart);
  }
};

}  // namespace

std::set<TensorId> split_reductions(Program& program, const PlanInput& input) { return Splitter{program, input, program.pool}.run(); }

}  // namespace quern::compiler
