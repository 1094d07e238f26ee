// Where an index gets its range: from its bare uses. In: a name and the expressions in which it is free. Out: the uses,
// and the one size on which they agree. The one idea: only `t[.., i, ..]` sets a range; arithmetic on i never does, so
// a range can always be read off the text.
#include <algorithm>

#include "dsl/check/elaborate.h"

namespace quern::dsl {

// Walks expressions, through calls of `let` functions under the parameter's name.
struct UseCollector {
  Elaborator& el;
  std::vector<RangeUse>& out;
  int excused = 0;
  int depth = 0;
  int calls = 0;

  void visit(const ast::ExprPtr& e, const std::string& name) {
    if (e) visit(*e, name);
  }

  void visit(const ast::Expr& e, const std::string& name) {
    constexpr int kMaxDepth = 1200;
    if (depth > kMaxDepth || !el.spend(e.span)) return;
    ++depth;
    std::visit([&](const auto& node) { at(node, name, e.span); }, e.node);
    --depth;
  }

  void at(const ast::Invalid&, const std::string&, Span) {}
  void at(const ast::Number&, const std::string&, Span) {}
  void at(const ast::NameUse&, const std::string&, Span) {}
  void at(const ast::Unary& u, const std::string& name, Span) { visit(u.operand, name); }
  void at(const ast::Binary& b, const std::string& name, Span) { visit(b.left, name), visit(b.right, name); }
  void at(const ast::MatMul& b, const std::string& name, Span) { visit(b.left, name), visit(b.right, name); }
  void at(const ast::Transpose& t, const std::string& name, Span) { visit(t.operand, name); }
  void at(const ast::List& l, const std::string& name, Span) {
    for (const auto& x : l.elements) visit(x, name);
  }
  void at(const ast::Einsum& s, const std::string& name, Span) {
    for (const auto& x : s.operands) visit(x, name);
  }

  void at(const ast::Call& c, const std::string& name, Span) {
    const bool policy = c.callee.text == "pad" || c.callee.text == "clamp" || c.callee.text == "wrap";
    excused += policy;
    for (const auto& a : c.arguments) visit(a.value, name);
    excused -= policy;
    const Entry* entry = el.find(c.callee.text);
    const auto* function = entry ? std::get_if<FunctionName>(&entry->meaning) : nullptr;
    constexpr int kMaxCalls = 32;
    if (!function || calls >= kMaxCalls) return;
    const ast::Let& let = *function->let;
    ++calls;
    for (std::size_t i = 0; i < let.parameters.size() && i < c.arguments.size(); ++i) {
      const ast::Expr& argument = *c.arguments[i].value;
      const auto* use = std::get_if<ast::NameUse>(&argument.node);
      if (use && use->name == name && let.value) visit(*let.value, let.parameters[i].text);
    }
    --calls;
  }

  void at(const ast::Subscript& s, const std::string& name, Span span) {
    const auto* base = s.base ? std::get_if<ast::NameUse>(&s.base->node) : nullptr;
    const Entry* entry = base ? el.find(base->name) : nullptr;
    std::vector<ir::Expr> shape;
    if (entry) shape = el.shape(entry->meaning);
    if (!base) visit(s.base, name);
    for (std::size_t i = 0; i < s.items.size(); ++i) {
      const ast::SubscriptItem& item = s.items[i];
      const bool known = shape.size() == s.items.size();
      if (const auto* e = std::get_if<ast::ExprPtr>(&item.value)) {
        if (!*e) continue;
        const auto* use = std::get_if<ast::NameUse>(&(*e)->node);
        if (use && use->name == name) {
          if (known) add({shape[i], base->name, static_cast<int>(i), item.span, span, &s});
        } else {
          visit(**e, name);
        }
      } else if (const auto* pair = std::get_if<ast::Pair>(&item.value)) {
        if (!known) continue;
        for (bool first : {true, false}) {
          if ((first ? pair->first : pair->second).text != name) continue;
          RangeUse use{shape[i], base->name, static_cast<int>(i), item.span, span, &s};
          use.other = (first ? pair->second : pair->first).text;
          use.first = first;
          add(std::move(use));
        }
      } else if (const auto* slice = std::get_if<ast::Slice>(&item.value)) {
        visit(slice->begin, name), visit(slice->end, name), visit(slice->step, name);
      }
    }
  }

  void at(const ast::AxisForm& f, const std::string& name, Span span) {
    for (const ast::Axis& axis : f.axes) {
      const bool keeps = f.kind == ast::FormKind::map || f.kind == ast::FormKind::scan;
      if (axis.target && axis.target->text == name && axis.target_range) {
        RangeUse use{{}, f.head.text, 0, axis.span, span, nullptr};
        if (el.range(*axis.target_range, use.begin, use.end)) add(std::move(use));
        return;
      }
      if (axis.name.text == name && !keeps) return;  // a name of its own inside
      if (axis.name.text == name && axis.range) {
        RangeUse use{{}, f.head.text, 0, axis.span, span, nullptr};
        if (el.range(*axis.range, use.begin, use.end)) add(std::move(use));
      }
    }
    visit(f.domain, name);
    for (const auto& a : f.arguments) visit(a.value, name);
  }

  void add(RangeUse use) {
    use.excused = excused > 0;
    out.push_back(std::move(use));
  }
};

std::vector<RangeUse> Elaborator::bare_uses(const std::string& name, const std::vector<const ast::Expr*>& where) {
  std::vector<RangeUse> out;
  UseCollector collector{*this, out};
  for (const ast::Expr* e : where)
    if (e) collector.visit(*e, name);
  return out;
}

namespace {

/// k[b,h,d,n] with d and another bare subscript exchanged, where that gives d the size `wanted`.
std::string exchanged(Elaborator& el, const RangeUse& use, ir::Expr wanted) {
  if (!use.subscript) return {};
  const Entry* entry = el.find(use.name);
  if (!entry) return {};
  const auto shape = el.shape(entry->meaning);
  const auto& items = use.subscript->items;
  for (std::size_t b = 0; b < items.size() && b < shape.size(); ++b) {
    const auto* e = std::get_if<ast::ExprPtr>(&items[b].value);
    if (static_cast<int>(b) == use.axis || !e || !*e || !std::holds_alternative<ast::NameUse>((*e)->node)) continue;
    if (!el.sizes.equal(shape[b], wanted)) continue;
    std::string text = fmt::format("{}[", use.name);
    for (std::size_t i = 0; i < items.size(); ++i) {
      const std::size_t from = i == b ? static_cast<std::size_t>(use.axis) : static_cast<int>(i) == use.axis ? b : i;
      text += fmt::format("{}{}", i ? "," : "", el.source.slice(items[from].span));
    }
    return text += "]";
  }
  return {};
}

std::string where_from(Elaborator& el, const RangeUse& use) {
  if (use.declared)
    return fmt::format("the output '{}' gives it {}, axis {} of '{}'", use.name, el.sizes.text(use.size), use.axis,
                       use.name);
  return fmt::format("{} gives it {}, axis {} of '{}'", el.source.slice(use.read), el.sizes.text(use.size), use.axis,
                     use.name);
}

}  // namespace

bool Elaborator::range_from_uses(const ast::Name& name, const std::vector<RangeUse>& uses, ir::Expr& begin,
                                 ir::Expr& end) {
  begin = pool.integer(0);
  for (const RangeUse& use : uses)
    if (use.end) {
      begin = use.begin, end = use.end;
      return true;
    }
  const RangeUse* first = nullptr;
  // A declared output says how far its index runs; reads may then go less far than their tensor.
  for (const RangeUse& use : uses)
    if (use.declared && use.other.empty()) first = &use;
  const bool declared = first != nullptr;
  for (bool excused : {false, true})
    for (const RangeUse& use : uses) {
      if (!use.other.empty() || use.excused != excused || &use == first) continue;
      if (!first) {
        first = &use;
      } else if (!excused && !sizes.equal(first->size, use.size) &&
                 !(declared && proofs.at_most(first->size, use.size))) {
        const RangeUse* here = use.declared ? first : &use;
        const RangeUse* there = use.declared ? &use : first;
        const std::string better = exchanged(*this, *here, there->size);
        end = first->size;
        if (!better.empty() && !exchanged_.insert(here->read.begin).second)
          return false;  // the same mistake, told already
        std::string why = where_from(*this, *there);
        if (!better.empty()) why += fmt::format("; did you mean {}?", better);
        auto& d = diagnostics.report<Code::index_two_sizes>(here->item, name.text);
        d.label(fmt::format("here '{}' runs over {}, axis {} of '{}'", name.text, sizes.text(here->size), here->axis,
                            here->name))
            .note(why);
        if (better.empty())
          d.fix(fmt::format(
              "use another name for one of them, write the range where '{}' is bound, or 'require {} == {}'", name.text,
              sizes.text(there->size), sizes.text(here->size)));
        return false;
      }
    }
  if (first) {
    end = first->size;
    return true;
  }
  // Pairs: the axis divided by the other name's extent, or the two factors as the shape writes them.
  for (const RangeUse& use : uses) {
    ir::Expr other;
    if (const Binder* b = find_index(use.other)) other = program.indices[b->id].end;
    if (other)
      if (auto quotient = sizes.divided(use.size, other)) {
        end = *quotient;
        return true;
      }
    const ir::Node& n = pool[use.size];
    if (n.op == ir::Op::mul) {
      end = n.args[use.first ? 0 : 1];
      return true;
    }
  }
  return false;
}

}  // namespace quern::dsl
