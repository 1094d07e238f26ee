// Calls in index form: elementwise functions, casts, policies, where, clip, and `let` functions written in place.
// The one idea: a name that the program defines goes before one that the language brings.
#include <algorithm>
#include <array>

#include "dsl/check/elaborate.h"
#include "dsl/ir/operators.h"

namespace quern::dsl {
namespace {

constexpr int kMaxInlining = 64;

constexpr std::string_view kWholeTensorFunctions[] = {
    "maximum", "minimum", "outer",   "diagonal", "trace",           "arange",  "zeros",
    "ones",    "full",    "one_hot", "take",     "take_along_axis", "gather",  "triu",
    "tril",    "concat",  "stack",   "matmul",   "transpose",       "reshape", "topk"};

bool is_callable(ir::Op op) { return op != ir::Op::neg && ir::info(op).infix.empty(); }

std::vector<std::string_view> callable_names() {
  std::vector<std::string_view> out{"clip", "pow", "pad", "clamp", "wrap"};
#define QUERN_OP(name_, arity, rule, infix) \
  if (is_callable(ir::Op::name_)) out.push_back(ir::name(ir::Op::name_));
#include "dsl/ir/operators.def"
  for (int t = 0; t < kDTypeCount; ++t) out.push_back(name(static_cast<DType>(t)));
  return out;
}

}  // namespace

Typed Elaborator::call(const ast::Call& c, Span at) {
  const Typed none{{}, Strength::strong, at, {}};
  const std::string& callee = c.callee.text;
  std::optional<DType> type = dtype_from_name(callee);
  if (const Entry* entry = find(callee)) {
    if (const auto* f = std::get_if<FunctionName>(&entry->meaning)) return inlined(*f, c, at);
    if (const auto* t = std::get_if<TypeName>(&entry->meaning))
      type = t->type;
    else if (std::holds_alternative<BrokenName>(entry->meaning))
      return none;
    else {
      const bool tensor =
          std::holds_alternative<TensorName>(entry->meaning) || std::holds_alternative<ViewName>(entry->meaning);
      auto& d = diagnostics.report<Code::not_a_function>(c.callee.span, callee);
      if (tensor) d.fix(fmt::format("read it with brackets: {}[...]", callee));
      return none;
    }
  }
  for (const ast::Argument& a : c.arguments) {
    if (!a.keyword) continue;
    const bool reduction = a.keyword->text == "axis" || a.keyword->text == "keepdims";
    diagnostics.report<Code::unexpected_keyword>(a.keyword->span, callee, a.keyword->text)
        .fix(reduction ? "name the axis in brackets, as in sum[d](x[d])" : "write the arguments in order");
    return none;
  }
  auto arity = [&](std::size_t n) {
    if (c.arguments.size() == n) return true;
    diagnostics.report<Code::wrong_arity>(at, callee, n, n == 1 ? "" : "s", c.arguments.size());
    return false;
  };
  if (type) {
    if (!arity(1)) return none;
    const bool mode = index_mode_;
    index_mode_ = false;
    const Typed x = expression(*c.arguments[0].value);
    index_mode_ = mode;
    if (!x) return none;
    return {arith.cast(x.strength == Strength::literal_real && !is_float(*type) ? arith.resolved(x) : x, *type),
            Strength::strong, at, x.support};
  }
  if (callee == "pad" || callee == "clamp" || callee == "wrap") {
    const Policy policy = callee == "pad" ? Policy::pad : callee == "clamp" ? Policy::clamp : Policy::wrap;
    return arity(policy == Policy::pad ? 2 : 1) ? policy_call(policy, c, at) : none;
  }
  if (callee == "clip") {
    if (!arity(3)) return none;
    std::array<Typed, 3> x;
    for (int i = 0; i < 3; ++i) x[i] = expression(*c.arguments[i].value);
    if (!x[0] || !x[1] || !x[2]) return none;
    return arith.clip(x[0], x[1], x[2], at);
  }
  const auto op = ir::operator_from_name(callee);
  if (op && is_callable(*op)) return elementwise(*op, c, at);
  if (callee == "pow") return elementwise(ir::Op::pow, c, at);
  if (ir::reducer_from_name(callee) || ir::axis_map_from_name(callee)) {
    diagnostics.report<Code::axis_missing>(c.callee.span, callee).fix(fmt::format("name the axis: {}[i](...)", callee));
    return none;
  }
  if (std::find(std::begin(kWholeTensorFunctions), std::end(kWholeTensorFunctions), callee) !=
      std::end(kWholeTensorFunctions)) {
    diagnostics.report<Code::whole_tensor_here>(c.callee.span, fmt::format("'{}'", callee))
        .label("works on whole tensors")
        .fix("define a name with it in a statement of its own, then read that name with indices");
    return none;
  }
  std::vector<std::string_view> known = callable_names();
  for (const auto& n : name_order)
    if (std::holds_alternative<FunctionName>(names.at(n).meaning)) known.push_back(n);
  const std::string_view near = nearest(callee, known);
  auto& d = diagnostics.report<Code::unknown_function>(c.callee.span, callee);
  if (!near.empty())
    d.fix(fmt::format("did you mean '{}'?", near));
  else
    d.label("nothing here has this name");
  return none;
}

Typed Elaborator::elementwise(ir::Op op, const ast::Call& c, Span at) {
  const Typed none{{}, Strength::strong, at, {}};
  const auto arity = static_cast<std::size_t>(ir::info(op).arity);
  const bool folds = op == ir::Op::min || op == ir::Op::max;
  if (folds ? c.arguments.size() < 2 : c.arguments.size() != arity) {
    auto& d =
        diagnostics.report<Code::wrong_arity>(at, c.callee.text, arity, arity == 1 ? "" : "s", c.arguments.size());
    if (folds) d.fix(fmt::format("{0}(a, b) is elementwise; to reduce write {0}[i](...)", c.callee.text));
    return none;
  }
  if (op == ir::Op::where) {
    const ir::Expr chosen = condition(*c.arguments[0].value, "the condition of 'where'");
    Typed a, b;
    {
      Guard guard(*this, chosen, true);
      a = expression(*c.arguments[1].value);
    }
    {
      Guard guard(*this, chosen, false);
      b = expression(*c.arguments[2].value);
    }
    return chosen && a && b ? choose(chosen, a, b, at) : none;
  }
  std::vector<Typed> args;
  for (const ast::Argument& a : c.arguments) args.push_back(expression(*a.value));
  if (std::any_of(args.begin(), args.end(), [](const Typed& x) { return !x; })) return none;
  if (!folds) return arith.apply(op, args, at);
  Typed out = args[0];
  for (std::size_t i = 1; i < args.size(); ++i) out = arith.apply(op, {out, args[i]}, at);
  return out;
}

Typed Elaborator::inlined(const FunctionName& f, const ast::Call& c, Span at) {
  const Typed none{{}, Strength::strong, at, {}};
  const ast::Let& let = *f.let;
  if (!let.value) return none;
  for (const Frame& frame : frames_)
    if (frame.function == &let) {
      diagnostics.report<Code::recursive_function>(at, let.name.text)
          .label("calls itself")
          .fix("write a recurrence with scan[t](...)");
      return none;
    }
  if (frames_.size() >= kMaxInlining) {
    diagnostics.report<Code::too_much_work>(at, kMaxInlining);
    return none;
  }
  if (c.arguments.size() != let.parameters.size()) {
    diagnostics
        .report<Code::wrong_arity>(at, let.name.text, let.parameters.size(), let.parameters.size() == 1 ? "" : "s",
                                   c.arguments.size())
        .note("the function", let.name.span);
    return none;
  }
  Frame frame;
  frame.function = &let;
  bool all = true;
  for (std::size_t i = 0; i < c.arguments.size(); ++i) {
    const ast::Argument& a = c.arguments[i];
    if (a.keyword) {
      diagnostics.report<Code::unexpected_keyword>(a.keyword->span, let.name.text, a.keyword->text)
          .fix("write the arguments in order");
      return none;
    }
    Entry entry{BrokenName{}, a.value->span, false};
    // A tensor's name alone passes the tensor.
    const auto* use = std::get_if<ast::NameUse>(&a.value->node);
    const Entry* named = use && !find_index(use->name) ? find(use->name) : nullptr;
    if (named &&
        (std::holds_alternative<TensorName>(named->meaning) || std::holds_alternative<ViewName>(named->meaning)) &&
        !shape(named->meaning).empty()) {
      entry.meaning = named->meaning;
    } else {
      const Typed value = expression(*a.value);
      all = all && value;
      entry.meaning = ValueName{value};
    }
    frame.arguments.emplace(let.parameters[i].text, std::move(entry));
  }
  if (!all) return none;
  frame.first_binder = binders_.size();
  frames_.push_back(std::move(frame));
  Typed out = expression(*let.value);
  frames_.pop_back();
  out.span = at;
  return out;
}

Typed Elaborator::policy_call(Policy policy, const ast::Call& c, Span at) {
  const ast::Expr& inner = *c.arguments[0].value;
  const auto* s = std::get_if<ast::Subscript>(&inner.node);
  if (!s) {
    diagnostics.report<Code::policy_needs_read>(inner.span, c.callee.text)
        .fix(fmt::format("write {}(x[e]{})", c.callee.text, policy == Policy::pad ? ", value" : ""));
    return {{}, Strength::strong, at, {}};
  }
  Typed fill;
  if (policy == Policy::pad) {
    fill = expression(*c.arguments[1].value);
    if (!fill) return {{}, Strength::strong, at, {}};
  }
  return subscript(*s, inner.span, policy, fill);
}

}  // namespace quern::dsl
