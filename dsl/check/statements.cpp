// Statements in index form: definitions, scatters, top-k, views, lets and requirements.
// The one idea: the left side brings its indices into scope with the ranges that bare uses give, then the right side is
// checked and stored.
#include <algorithm>

#include "dsl/check/elaborate.h"

namespace quern::dsl {
namespace {

const ast::NameUse* as_name(const ast::SubscriptItem& item) {
  const auto* e = std::get_if<ast::ExprPtr>(&item.value);
  return e && *e ? std::get_if<ast::NameUse>(&(*e)->node) : nullptr;
}

const ast::AxisForm* as_topk(const ast::Expr& e) {
  const auto* f = std::get_if<ast::AxisForm>(&e.node);
  return f && f->kind == ast::FormKind::topk ? f : nullptr;
}

}  // namespace

void Elaborator::statement(const ast::Statement& s) {
  const auto facts = proofs.mark();
  std::visit(
      [&](const auto& node) {
        using T = std::decay_t<decltype(node)>;
        if constexpr (std::is_same_v<T, ast::Assign>) {
          if (!node.value || node.targets.empty()) return;
          const bool bare =
              std::any_of(node.targets.begin(), node.targets.end(), [](const auto& t) { return !t.bracketed; });
          left_text_ = std::string(source.slice(node.targets[0].span));
          if (bare && (node.op != ir::AssignOp::set || has_whole_tensors(*node.value)))
            whole_tensor_statement(node, s.span);
          else
            index_statement(node, s.span);
          left_text_.clear();
        } else if constexpr (std::is_same_v<T, ast::View>) {
          left_text_ = std::string(source.slice(node.target.span));
          view_statement(node, s.span);
          left_text_.clear();
        } else if constexpr (std::is_same_v<T, ast::Require>) {
          require_statement(node, s.span);
        } else {
          let_statement(node);
        }
      },
      s.node);
  pop_indices(0);
  proofs.restore(facts);
}

bool Elaborator::left_index(const ast::Name& name, const ast::Range* written, std::vector<RangeUse> uses, Left& left) {
  if (const Entry* entry = find(name.text);
      entry && !std::holds_alternative<FunctionName>(entry->meaning) && !entry->outside) {
    diagnostics.report<Code::index_hides>(name.span, name.text)
        .note("the other meaning", entry->span)
        .fix("use another name for the index");
    return false;
  }
  if (const Binder* twice = find_index(name.text)) {
    diagnostics.report<Code::index_twice>(name.span, name.text)
        .note("the first", twice->span)
        .fix("each axis of the left side has an index of its own");
    return false;
  }
  ir::Expr begin, end;
  bool sound = true;
  if (written) {
    if (!range(*written, begin, end)) return false;
  } else {
    sound = range_from_uses(name, uses, begin, end);
    if (!sound && !end) {
      diagnostics.report<Code::index_without_range>(name.span, name.text)
          .label("no read has it alone between commas")
          .fix(fmt::format("write its range: {} in 0:N", name.text));
      return false;
    }
  }
  left.indices.push_back(push_index(name.text, begin, end, Binder::free, name.span));
  if (!sound) broken_indices_.insert(left.indices.back());
  return true;
}

bool Elaborator::left_side(const ast::Target& target, const std::vector<const ast::Expr*>& bodies, Left& left) {
  std::vector<ir::Expr> declared;
  if (const auto* s = declared_shape(target.name.text)) declared = *s;
  const bool known = declared_shape(target.name.text) != nullptr;
  if (known && declared.size() != target.items.size()) {
    diagnostics.report<Code::wrong_rank>(target.span, target.name.text, declared.size(),
                                         declared.size() == 1 ? "is" : "es", target.items.size());
    return false;
  }
  bool sound = true;
  for (std::size_t i = 0; i < target.items.size(); ++i) {
    const ast::SubscriptItem& item = target.items[i];
    auto add = [&](const ast::Name& name, const std::string& other, bool first) {
      std::vector<RangeUse> uses = bare_uses(name.text, bodies);
      if (known) {
        RangeUse own{declared[i], target.name.text, static_cast<int>(i), item.span, target.span, nullptr};
        own.declared = true;
        own.other = other;
        own.first = first;
        uses.push_back(std::move(own));
      }
      sound = left_index(name, other.empty() && item.range ? &*item.range : nullptr, std::move(uses), left) && sound;
    };
    if (const auto* use = as_name(item)) {
      add({use->name, item.range ? std::get<ast::ExprPtr>(item.value)->span : item.span}, "", false);
    } else if (const auto* pair = std::get_if<ast::Pair>(&item.value)) {
      add(pair->first, pair->second.text, true);
      add(pair->second, pair->first.text, false);
    } else {
      diagnostics.report<Code::left_subscript>(item.span)
          .label("is not an index name")
          .fix("define every element: write index names here and put the arithmetic on the right");
      return false;
    }
  }
  if (!sound) return false;
  std::size_t next = 0;
  for (std::size_t i = 0; i < target.items.size(); ++i) {
    const ast::SubscriptItem& item = target.items[i];
    const auto* pair = std::get_if<ast::Pair>(&item.value);
    ir::Expr subscript, size = pool.integer(1);
    for (int k = 0; k < (pair ? 2 : 1); ++k) {
      const ir::Index index = program.indices[left.indices[next]];
      if (!sizes.normal(index.begin).is_zero()) {
        diagnostics.report<Code::left_begins_late>(item.span, index.name, sizes.text(index.begin))
            .fix(fmt::format("define all elements: run '{}' from 0 and shift the reads on the right", index.name));
        return false;
      }
      size = pool.mul(size, index.end);
      ++next;
    }
    if (pair)
      subscript = pair_index(*pair, known ? declared[i] : ir::Expr{}, item.span);
    else
      subscript = pool.index(left.indices[next - 1]);
    if (!subscript) return false;
    // A size that two uses disagree on is reported already.
    if (known && involves_broken(subscript)) size = declared[i];
    left.subscripts.push_back(subscript);
    left.shape.push_back(size);
  }
  return true;
}

void Elaborator::index_statement(const ast::Assign& assign, Span at) {
  if (assign.op != ir::AssignOp::set) return scatter_statement(assign, at);
  for (const ast::Target& target : assign.targets)
    if (!assignable(target.name)) return;
  if (const auto* form = as_topk(*assign.value)) return topk_statement(assign, *form, at);
  const ast::Target& target = assign.targets[0];
  if (assign.targets.size() > 1) {
    diagnostics.report<Code::several_targets>(assign.targets[1].span)
        .label("only topk gives two results")
        .fix("write one statement for each");
    for (const auto& t : assign.targets) give_up(t.name);
    return;
  }
  Left left;
  if (!left_side(target, {assign.value.get()}, left)) return give_up(target.name);
  const Typed body = expression(*assign.value);
  define(target.name, left.indices, left.subscripts, left.shape, body, at);
}

void Elaborator::topk_statement(const ast::Assign& assign, const ast::AxisForm& form, Span at) {
  auto fail = [&] {
    for (const auto& t : assign.targets) give_up(t.name);
  };
  if (assign.targets.size() > 2) {
    diagnostics.report<Code::several_targets>(assign.targets[2].span)
        .label("topk gives values and positions")
        .fix("write v[i,j], p[i,j] = topk[x -> j in 0:K](...)");
    return fail();
  }
  if (form.axes.size() != 1 || !form.axes[0].target || !form.axes[0].target_range || form.arguments.size() != 1 ||
      !form.arguments[0].value) {
    diagnostics.report<Code::topk_axes>(form.head.span).fix("write topk[x -> j in 0:K](p[i,x])");
    return fail();
  }
  if (assign.targets.size() == 2) {
    const auto& a = assign.targets[0];
    const auto& b = assign.targets[1];
    bool same = a.items.size() == b.items.size();
    for (std::size_t i = 0; same && i < a.items.size(); ++i) {
      const auto* x = as_name(a.items[i]);
      const auto* y = as_name(b.items[i]);
      same = x && y && x->name == y->name;
    }
    if (!same) {
      diagnostics.report<Code::targets_differ>(b.span)
          .label("other subscripts")
          .note("the first target", a.span)
          .fix("write the same index names on both");
      return fail();
    }
  }
  const ast::Target& target = assign.targets[0];
  const ast::Axis& axis = form.axes[0];
  Left left;
  if (!left_side(target, {assign.value.get()}, left)) return fail();
  const Binder* listed = find_index(axis.target->text);
  if (!listed) {
    diagnostics.report<Code::free_index>(axis.target->span, axis.target->text)
        .label("lists the results")
        .fix(fmt::format("put it on the left of '{}'", left_text_));
    return fail();
  }
  const ir::IndexId j = listed->id;
  std::vector<const ast::Expr*> bodies{form.domain.get(), form.arguments[0].value.get()};
  if (!bind_axis(axis, bodies, Binder::reduced)) return fail();
  const ir::IndexId x = binders_.back().id;
  const ir::Expr domain = form.domain ? condition(*form.domain, "a domain") : pool.boolean(true);
  Guard guard(*this, domain);
  const Typed body = expression(*form.arguments[0].value);
  if (!domain || !body) return fail();
  if (pool.depends_on(body.expr, j) || pool.depends_on(domain, j)) {
    diagnostics.report<Code::topk_uses_target>(form.arguments[0].value->span, axis.target->text)
        .fix(fmt::format("use '{}' inside, '{}' only lists the results", axis.name.text, axis.target->text));
    return fail();
  }
  define_topk(target.name, assign.targets.size() == 2 ? &assign.targets[1].name : nullptr, left.indices,
              left.subscripts, left.shape, topk(x, j, body, domain, form.head.span), at);
}

void Elaborator::scatter_statement(const ast::Assign& assign, Span at) {
  const ast::Target& target = assign.targets[0];
  const std::string op = assign.op == ir::AssignOp::add ? "+=" : assign.op == ir::AssignOp::max ? "max=" : "min=";
  if (assign.targets.size() > 1) {
    diagnostics.report<Code::several_targets>(assign.targets[1].span)
        .label("one target")
        .fix("write one statement for each");
    return;
  }
  const Entry* entry = find(target.name.text);
  const auto* t = entry ? std::get_if<TensorName>(&entry->meaning) : nullptr;
  if (!t || !new_values.contains(t->tensor)) {
    if (!entry) return report_unknown(target.name.text, target.name.span);
    if (t && program.tensors[t->tensor].entry) {
      diagnostics.report<Code::inout_assigned_twice>(target.name.span, target.name.text)
          .fix("give the first result a name of its own");
      return;
    }
    if (std::holds_alternative<BrokenName>(entry->meaning)) return;
    diagnostics.report<Code::scatter_needs_inout>(target.name.span, op, target.name.text)
        .note("declared here", entry->span)
        .fix(fmt::format("declare 'inout {}: ...' among the parameters", target.name.text));
    return give_up(target.name);
  }
  const ir::TensorId old = t->tensor, fresh = new_values.at(old);
  const std::vector<ir::Expr> extent = program.tensors[old].shape;
  if (extent.size() != target.items.size()) {
    diagnostics.report<Code::wrong_rank>(target.span, target.name.text, extent.size(), extent.size() == 1 ? "is" : "es",
                                         target.items.size());
    return give_up(target.name);
  }
  std::vector<const ast::Expr*> bodies;
  for (const auto& item : target.items)
    if (const auto* e = std::get_if<ast::ExprPtr>(&item.value); e && *e && !as_name(item)) bodies.push_back(e->get());
  bodies.push_back(assign.value.get());
  // Every name on the left that means nothing else is an index, in order of appearance.
  Left left;
  bool sound = true;
  auto add = [&](const ast::Name& name, const ast::SubscriptItem* item, std::size_t axis) {
    if (find_index(name.text) || (find(name.text) && !find(name.text)->outside) || name.text == "prev") return;
    std::vector<RangeUse> uses = bare_uses(name.text, bodies);
    for (std::size_t i = 0; i < target.items.size(); ++i)
      if (const auto* use = as_name(target.items[i]); use && use->name == name.text) {
        RangeUse own{extent[i], target.name.text, static_cast<int>(i), target.items[i].span, target.span, nullptr};
        own.declared = true;
        uses.push_back(std::move(own));
      } else if (const auto* pair = std::get_if<ast::Pair>(&target.items[i].value)) {
        if (pair->first.text != name.text && pair->second.text != name.text) continue;
        RangeUse own{extent[i], target.name.text, static_cast<int>(i), target.items[i].span, target.span, nullptr};
        own.declared = true;
        own.first = pair->first.text == name.text;
        own.other = own.first ? pair->second.text : pair->first.text;
        uses.push_back(std::move(own));
      }
    (void)axis;
    sound = left_index(name, item && item->range ? &*item->range : nullptr, std::move(uses), left) && sound;
  };
  auto names_in = [&](auto& self, const ast::Expr& e) -> void {
    if (!spend(e.span)) return;
    if (const auto* n = std::get_if<ast::NameUse>(&e.node)) {
      if (n->name != "inf" && n->name != "nan" && n->name != "pi" && n->name != "true" && n->name != "false")
        add({n->name, e.span}, nullptr, 0);
    } else if (const auto* u = std::get_if<ast::Unary>(&e.node)) {
      self(self, *u->operand);
    } else if (const auto* b = std::get_if<ast::Binary>(&e.node)) {
      self(self, *b->left), self(self, *b->right);
    } else if (const auto* c = std::get_if<ast::Call>(&e.node)) {
      for (const auto& a : c->arguments) self(self, *a.value);
    } else if (const auto* s = std::get_if<ast::Subscript>(&e.node)) {
      for (const auto& item : s->items) {
        if (const auto* x = std::get_if<ast::ExprPtr>(&item.value); x && *x) self(self, **x);
        if (const auto* p = std::get_if<ast::Pair>(&item.value)) add(p->first, nullptr, 0), add(p->second, nullptr, 0);
      }
    }
  };
  for (std::size_t i = 0; i < target.items.size(); ++i) {
    const auto& item = target.items[i];
    if (const auto* use = as_name(item)) {
      if (!find(use->name) || find(use->name)->outside) add({use->name, item.span}, &item, i);
    } else if (const auto* e = std::get_if<ast::ExprPtr>(&item.value); e && *e) {
      names_in(names_in, **e);
    } else if (const auto* pair = std::get_if<ast::Pair>(&item.value)) {
      add(pair->first, nullptr, i), add(pair->second, nullptr, i);
    } else {
      diagnostics.report<Code::slice_in_index_form>(item.span)
          .label("takes a whole axis")
          .fix("name the axis with an index");
      sound = false;
    }
  }
  if (!sound) return give_up(target.name);

  ir::Equation equation;
  equation.op = assign.op;
  equation.indices = left.indices;
  equation.span = {at.begin, at.end};
  Place place{target.name.text, target.span, {}};
  for (const auto& item : target.items) place.items.push_back(item.span);
  for (std::size_t i = 0; i < target.items.size(); ++i) {
    const auto& item = target.items[i];
    ir::Expr e;
    if (const auto* x = std::get_if<ast::ExprPtr>(&item.value))
      e = index_expression(**x);
    else
      e = pair_index(std::get<ast::Pair>(item.value), extent[i], item.span);
    if (!e) return give_up(target.name);
    equation.subscripts.push_back(e);
    if (involves_broken(e) || in_range(e, extent[i], false)) continue;
    if (in_range(e, extent[i], true)) {
      equation.checked = !trusted;
      continue;
    }
    report_out_of_range(e, extent[i], static_cast<int>(i), place, true);
    return give_up(target.name);
  }
  const Typed body = expression(*assign.value);
  equation.body = stored_as(body, program.tensors[old].type, target.name.text, at);
  if (!equation.body) return give_up(target.name);
  equation.targets = {fresh};
  program.equations.push_back(std::move(equation));
  new_values.erase(old);
  redefine(target.name.text, TensorName{fresh, true});
}

void Elaborator::view_statement(const ast::View& view, Span at) {
  const ast::Target& target = view.target;
  const auto* policy = view.value ? std::get_if<ast::Call>(&view.value->node) : nullptr;
  const bool names_a_read =
      view.value &&
      (std::holds_alternative<ast::Subscript>(view.value->node) ||
       (policy && (policy->callee.text == "pad" || policy->callee.text == "clamp" || policy->callee.text == "wrap")));
  if (!names_a_read) {
    diagnostics.report<Code::view_of_computation>(view.value ? view.value->span : at)
        .label("is computed")
        .fix("a view names a read; leave out 'view' to define a tensor");
    return give_up(target.name);
  }
  if (find(target.name.text) && !find(target.name.text)->outside) {
    declare(target.name, BrokenName{});
    return give_up(target.name);
  }
  Left left;
  if (!left_side(target, {view.value.get()}, left)) return give_up(target.name);
  for (const auto& item : target.items)
    if (!as_name(item)) {
      diagnostics.report<Code::left_subscript>(item.span)
          .label("is not an index name")
          .fix("give the view one index for each axis");
      return give_up(target.name);
    }
  const Typed value = expression(*view.value);
  if (!value) return give_up(target.name);
  declare(target.name, ViewName{left.indices, value});
}

void Elaborator::let_statement(const ast::Let& let) {
  if (let.function) {
    std::set<std::string> seen;
    for (const auto& p : let.parameters)
      if (!seen.insert(p.text).second) {
        diagnostics.report<Code::redefined>(p.span, p.text).fix("use another name");
        return give_up(let.name);
      }
    declare(let.name, FunctionName{&let});
    return;
  }
  const Typed value = let.value ? expression(*let.value) : Typed{};
  if (!value) return give_up(let.name);
  declare(let.name, ValueName{value});
}

void Elaborator::require_statement(const ast::Require& r, Span at) {
  if (!r.condition) return;
  const ir::Expr c = condition(*r.condition, "a requirement");
  if (!c) return;
  std::vector<ir::Expr> open{c};
  std::set<ir::Expr> seen;
  while (!open.empty()) {
    const ir::Expr e = open.back();
    open.pop_back();
    if (!seen.insert(e).second) continue;
    const ir::Node& n = pool[e];
    if (n.op == ir::Op::read || n.op == ir::Op::scalar || n.op == ir::Op::index ||
        (!ir::is_elementwise(n.op) && n.op != ir::Op::constant && n.op != ir::Op::symbol && n.op != ir::Op::cast)) {
      diagnostics.report<Code::requirement_on_data>(r.condition->span, sizes.text(e))
          .label("is not a size")
          .fix("require a condition on sizes and compile-time values");
      return;
    }
    open.insert(open.end(), n.args.begin(), n.args.end());
  }
  if (proofs.holds(c, false)) {
    auto& d = diagnostics.report<Code::requirement_fails>(r.condition->span, source.slice(r.condition->span));
    for (ir::Expr e : seen)
      if (pool[e].op == ir::Op::symbol)
        if (const ir::Symbol& s = program.symbols[pool[e].payload]; s.value)
          d.note(fmt::format("'{}' is {}", s.name, *s.value));
    return;
  }
  require(c, at);
  // Equal sizes become one.
  std::vector<ir::Expr> parts{c};
  for (std::size_t i = 0; i < parts.size() && parts.size() < 64; ++i) {
    const ir::Node n = pool[parts[i]];
    if (n.op == ir::Op::and_) parts.insert(parts.end(), n.args.begin(), n.args.end());
    if (n.op == ir::Op::eq && pool.type(n.args[0]) == DType::i64) sizes.unify(n.args[0], n.args[1]);
  }
}

}  // namespace quern::dsl
