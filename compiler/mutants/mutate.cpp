// One row per mistake: a function over statements, or over the expressions in them.
#include "compiler/mutants/mutate.h"

#ifdef QUERN_MUTANTS

#include <functional>

namespace quern::compiler {

namespace {

using ir::Expr;
using ir::Node;
using ir::Op;
using tile::Module;

struct Change {
  Module& module;
  bool made = false;
  ir::ExprPool& pool() { return module.program.pool; }
  void set(Expr& place, Expr value) {
    if (place == value) return;
    place = value;
    made = true;
  }
};

void each_statement(tile::Block& block, const std::function<void(tile::Statement&)>& f) {
  for (tile::Statement& s : block) {
    f(s);
    if (auto* loop = std::get_if<tile::For>(&s.node)) each_statement(loop->body, f);
    if (auto* test = std::get_if<tile::If>(&s.node)) {
      each_statement(test->then_block, f);
      each_statement(test->else_block, f);
    }
  }
}
void each_statement(Module& module, const std::function<void(tile::Statement&)>& f) {
  for (tile::Kernel& k : module.kernels) each_statement(k.body, f);
}
void each_nest(Module& module, const std::function<void(tile::Nest&)>& f) {
  each_statement(module, [&](tile::Statement& s) {
    if (auto* nest = std::get_if<tile::Nest>(&s.node)) f(*nest);
  });
}
void each_update(Module& module, const std::function<void(tile::Update&)>& f) {
  each_nest(module, [&](tile::Nest& n) {
    for (tile::Update& u : n.updates) f(u);
  });
}

/// Every expression that computes values or subscripts is rewritten bottom-up by `rule` (nothing: leave it).
void rewrite(Change& c, const std::function<Expr(Expr)>& rule, bool bodies = true, bool domains = true) {
  each_update(c.module, [&](tile::Update& u) {
    if (bodies) {
      c.set(u.body, c.pool().rewrite(u.body, rule));
      if (u.result) c.set(u.result, c.pool().rewrite(u.result, rule));
    }
    if (domains && u.domain) c.set(u.domain, c.pool().rewrite(u.domain, rule));
  });
}

/// Replaces an operator by another wherever it computes in a float type (or anywhere).
void swap_operator(Change& c, Op from, Op to, bool floats_only) {
  rewrite(c, [&](Expr e) -> Expr {
    const Node n = c.pool()[e];
    if (n.op != from || (floats_only && !is_float(n.type))) return {};
    return c.pool().apply(to, n.args);
  });
}

struct Mutant {
  std::string_view name;
  void (*apply)(Change&);
};

constexpr Mutant kMutants[] = {
    {"drop_domain", [](Change& c) { each_update(c.module, [&](tile::Update& u) { if (u.domain && !c.pool().is_true(u.domain)) u.domain = {}, c.made = true; }); }},
    {"drop_start", [](Change& c) { each_update(c.module, [&](tile::Update& u) { if (u.start) u.start = {}, c.made = true; }); }},
    {"short_dim", [](Change& c) { each_nest(c.module, [&](tile::Nest& n) { for (tile::Dim& d : n.dims) if (d.lanes) c.set(d.end, c.pool().sub(d.end, c.pool().integer(1))); }); }},
    {"short_outer_dim", [](Change& c) { each_nest(c.module, [&](tile::Nest& n) { if (n.dims.size() > 1) c.set(n.dims[0].end, c.pool().sub(n.dims[0].end, c.pool().integer(1))); }); }},
    {"late_dim", [](Change& c) { each_nest(c.module, [&](tile::Nest& n) { if (!n.dims.empty()) c.set(n.dims.back().begin, c.pool().add(n.dims.back().begin, c.pool().integer(1))); }); }},
    {"short_grid", [](Change& c) { for (tile::Kernel& k : c.module.kernels) for (tile::GridDim& g : k.grid) c.set(g.end, c.pool().sub(g.end, c.pool().integer(1))); }},
    {"long_step", [](Change& c) { for (tile::Kernel& k : c.module.kernels) for (tile::GridDim& g : k.grid) g.step += 1, c.made = true; }},
    {"short_loop", [](Change& c) { each_statement(c.module, [&](tile::Statement& s) { if (auto* f = std::get_if<tile::For>(&s.node)) c.set(f->end, c.pool().sub(f->end, c.pool().integer(1))); }); }},
    {"skip_first_tile", [](Change& c) { each_statement(c.module, [&](tile::Statement& s) { if (auto* f = std::get_if<tile::For>(&s.node)) c.set(f->begin, c.pool().add(f->begin, c.pool().integer(f->step))); }); }},
    {"max_is_min", [](Change& c) { each_update(c.module, [&](tile::Update& u) { if (u.kind == tile::UpdateKind::reduce && u.reducer == ir::Reducer::max) u.reducer = ir::Reducer::min, c.made = true; }); }},
    {"sum_is_max", [](Change& c) { each_update(c.module, [&](tile::Update& u) { if (u.kind == tile::UpdateKind::reduce && u.reducer == ir::Reducer::sum) u.reducer = ir::Reducer::max, c.made = true; }); }},
    {"any_is_all", [](Change& c) { each_update(c.module, [&](tile::Update& u) { if (u.reducer == ir::Reducer::any) u.reducer = ir::Reducer::all, c.made = true; }); }},
    {"last_tie", [](Change& c) { each_update(c.module, [&](tile::Update& u) {
       if (u.reducer != ir::Reducer::argmax && u.reducer != ir::Reducer::argmin) return;
       if (!u.position || !u.has_position_target) return;
       c.set(u.position, c.pool().sub(c.pool().integer(0), u.position)); }); }},
    {"position_off_by_one", [](Change& c) { each_update(c.module, [&](tile::Update& u) { if (u.position) c.set(u.position, c.pool().add(u.position, c.pool().integer(1))); }); }},
    {"wrong_scale", [](Change& c) { rewrite(c, [&](Expr e) -> Expr { double v; if (!c.pool().is_real_constant(e, &v) || v == 0 || v != v || v - v != 0) return {}; return c.pool().real(v * 1.0625, c.pool().type(e)); }, true, false); }},
    {"no_correction", [](Change& c) { rewrite(c, [&](Expr e) -> Expr { const Node n = c.pool()[e]; if (n.op != Op::exp && n.op != Op::exp2) return {}; return c.pool().real(1, n.type); }, true, false); }},
    {"sub_is_add", [](Change& c) { swap_operator(c, Op::sub, Op::add, true); }},
    {"mul_is_add", [](Change& c) { swap_operator(c, Op::mul, Op::add, true); }},
    {"div_is_mul", [](Change& c) { swap_operator(c, Op::div, Op::mul, true); }},
    {"le_is_lt", [](Change& c) { swap_operator(c, Op::le, Op::lt, false); }},
    {"lt_is_le", [](Change& c) { swap_operator(c, Op::lt, Op::le, false); }},
    {"and_is_or", [](Change& c) { swap_operator(c, Op::and_, Op::or_, false); }},
    {"max_op_is_min", [](Change& c) { swap_operator(c, Op::max, Op::min, true); }},
    {"floordiv_is_mod", [](Change& c) { swap_operator(c, Op::floordiv, Op::mod, false); }},
    {"negated_where", [](Change& c) { rewrite(c, [&](Expr e) -> Expr { const Node n = c.pool()[e]; if (n.op != Op::where) return {}; return c.pool().apply(Op::where, {n.args[0], n.args[2], n.args[1]}); }, true, false); }},
    {"drop_rounding", [](Change& c) { rewrite(c, [&](Expr e) -> Expr { const Node n = c.pool()[e]; if (n.op != Op::cast || !is_small_float(n.type) || (n.flags & ir::kAllowed)) return {}; return c.pool().mul(c.pool().cast(n.args[0], DType::f32), c.pool().real(1.5)); }); }},
    {"neighbour_read", [](Change& c) { rewrite(c, [&](Expr e) -> Expr {
       const Node n = c.pool()[e];
       if (n.op != Op::read || n.args.empty() || c.module.program.tensors[static_cast<std::size_t>(n.payload)].role == ir::Role::scratch) return {};
       Node m = n;
       const Expr last = c.module.program.tensors[static_cast<std::size_t>(n.payload)].shape.back();
       m.args.back() = c.pool().apply(Op::mod, {c.pool().add(m.args.back(), c.pool().integer(1)), last});
       return c.pool().intern(m); }, true, false); }},
    {"narrow_index", [](Change& c) { rewrite(c, [&](Expr e) -> Expr {
       const Node n = c.pool()[e];
       if (n.op != Op::read || n.args.empty() || c.module.program.tensors[static_cast<std::size_t>(n.payload)].role == ir::Role::scratch) return {};
       Node m = n;
       for (Expr& a : m.args) a = c.pool().apply(Op::mod, {a, c.pool().integer(16)});  // as if an index had 4 bits
       return c.pool().intern(m); }, true, false); }},
    {"swapped_store", [](Change& c) { each_update(c.module, [&](tile::Update& u) { if (u.subscripts.size() > 1 && u.kind == tile::UpdateKind::store) std::swap(u.subscripts[0], u.subscripts[1]), c.made = true; }); }},
    {"lost_update", [](Change& c) { each_nest(c.module, [&](tile::Nest& n) { if (n.updates.size() > 1) n.updates.pop_back(), c.made = true; }); }},
    {"scatter_overwrites", [](Change& c) { each_update(c.module, [&](tile::Update& u) { if (u.kind == tile::UpdateKind::scatter && u.reducer == ir::Reducer::sum) u.reducer = ir::Reducer::max, c.made = true; }); }},
    {"scan_forgets", [](Change& c) { each_update(c.module, [&](tile::Update& u) { if (u.kind == tile::UpdateKind::scan && c.pool()[u.body].op != Op::previous) u.kind = tile::UpdateKind::store, u.over.clear(), c.made = true; }); }},
    {"short_select", [](Change& c) { each_statement(c.module, [&](tile::Statement& s) { if (auto* x = std::get_if<tile::Select>(&s.node)) c.set(x->extent, c.pool().max(c.pool().sub(x->extent, c.pool().integer(1)), c.pool().integer(0))); }); }},
    {"select_other_end", [](Change& c) { each_statement(c.module, [&](tile::Statement& s) { if (auto* x = std::get_if<tile::Select>(&s.node)) x->sort = !x->sort, c.made = true; }); }},
    {"lost_kernel", [](Change& c) { if (c.module.kernels.size() > 1) c.module.kernels.pop_back(), c.made = true; }},
    {"always_then", [](Change& c) { each_statement(c.module, [&](tile::Statement& s) { if (auto* x = std::get_if<tile::If>(&s.node)) c.set(x->condition, c.pool().boolean(true)); }); }},
};

}  // namespace

std::vector<std::string_view> mutants() {
  std::vector<std::string_view> out;
  for (const Mutant& m : kMutants) out.push_back(m.name);
  return out;
}

bool mutate(tile::Module& module, std::string_view name) {
  Change change{module};
  for (const Mutant& m : kMutants)
    if (m.name == name) m.apply(change);
  return change.made;
}

}  // namespace quern::compiler

#else

namespace quern::compiler {

std::vector<std::string_view> mutants() { return {}; }
bool mutate(tile::Module&, std::string_view) { return false; }

}  // namespace quern::compiler

#endif
