// Calls in whole-tensor statements: one table of functions with their parameters under NumPy's and PyTorch's names;
// elementwise functions, casts, reductions and axis maps as functions, `let` functions.
#include "dsl/check/whole_tensor_call.h"

#include <algorithm>

#include "dsl/ir/operators.h"
#include "dsl/syntax/words.h"

namespace quern::dsl {

using ir::Expr;
using ir::Op;

namespace {

constexpr std::size_t kMaxCalls = 64;

struct Spelling {
  std::string_view name, meaning;
};
// Elementwise functions and reducers under other names.
constexpr Spelling kSpellings[] = {
    {"maximum", "max"},     {"minimum", "min"},     {"absolute", "abs"},   {"arcsin", "asin"}, {"arccos", "acos"},
    {"arctan", "atan"},     {"arctan2", "atan2"},   {"power", "pow"},      {"amax", "max"},    {"amin", "min"},
    {"concatenate", "concat"}, {"cat", "concat"},   {"unsqueeze", "expand_dims"}, {"cumulative_sum", "cumsum"},
    {"dot", "matmul"},
};

std::string_view meaning_of(std::string_view name) {
  for (const Spelling& s : kSpellings) {
    if (s.name == name) return s.meaning;
  }
  return name;
}

}  // namespace

// Parameters in order, each "name|other name", optional with '?'.
const WholeTensors::Function WholeTensors::kFunctions[] = {
    {"arange", "start, stop?, step?", &WholeTensors::arange},
    {"zeros", "shape, dtype?", &WholeTensors::zeros},
    {"ones", "shape, dtype?", &WholeTensors::ones},
    {"full", "shape|size, fill_value|value, dtype?", &WholeTensors::full},
    {"eye", "N|n, M|m?", &WholeTensors::eye},
    {"one_hot", "ids|input|tensor, K|num_classes|depth", &WholeTensors::one_hot},
    {"outer", "a|input, b|vec2", &WholeTensors::outer},
    {"diagonal", "x|a|input, offset?, axis1|dim1?, axis2|dim2?", &WholeTensors::diagonal},
    {"trace", "x|a|input, offset?", &WholeTensors::trace},
    {"triu", "x|m|input, k|diagonal?", &WholeTensors::triu},
    {"tril", "x|m|input, k|diagonal?", &WholeTensors::tril},
    {"take", "x|a|input, ids|indices|index, axis|dim?", &WholeTensors::take},
    {"take_along_axis", "x|arr|a|input, ids|indices, axis|dim?", &WholeTensors::take_along_axis},
    {"gather", "x|input, axis|dim, ids|index|indices", &WholeTensors::gather},
    {"concat", "parts|tensors|arrays, axis|dim?", &WholeTensors::concat},
    {"stack", "parts|tensors|arrays, axis|dim?", &WholeTensors::stack},
    {"transpose", "x|a|input, axes|dim0?, dim1?", &WholeTensors::transpose},
    {"permute", "x|input, axes|dims", &WholeTensors::permute},
    {"swapaxes", "x|a|input, axis1|dim0, axis2|dim1", &WholeTensors::swapaxes},
    {"expand_dims", "x|a|input, axis|dim", &WholeTensors::expand_dims},
    {"squeeze", "x|a|input, axis|dim", &WholeTensors::squeeze},
    {"flip", "x|m|input, axis|dim|dims", &WholeTensors::flip},
    {"matmul", "a|input, b|other", &WholeTensors::matmul_call},
    {"topk", "x|input, K|k, axis|dim?", nullptr},
};

const WholeTensors::Function* WholeTensors::function(std::string_view name) {
  name = meaning_of(name);
  for (const Function& f : kFunctions) {
    if (f.name == name) return &f;
  }
  return nullptr;
}

bool is_whole_tensor_function(std::string_view name) {
  return WholeTensors::function(name) != nullptr || name == "maximum" || name == "minimum";
}

WholeTensors::Arguments WholeTensors::arguments(const ast::Call& c, std::string_view signature, Span at) {
  struct Parameter {
    std::string_view names;
    bool optional;
  };
  std::vector<Parameter> parameters;
  for (std::string_view rest = signature; !rest.empty();) {
    const std::size_t comma = rest.find(", ");
    std::string_view one = rest.substr(0, comma);
    rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 2);
    const bool optional = one.back() == '?';
    if (optional) one.remove_suffix(1);
    parameters.push_back({one, optional});
  }
  const auto has_name = [](std::string_view names, std::string_view wanted) {
    while (!names.empty()) {
      const std::size_t bar = names.find('|');
      if (names.substr(0, bar) == wanted) return true;
      names = bar == std::string_view::npos ? std::string_view{} : names.substr(bar + 1);
    }
    return false;
  };
  Arguments result;
  result.callee = c.callee.text;
  result.span = at;
  result.values.resize(parameters.size());
  std::size_t next = 0;
  for (const ast::Argument& argument : c.arguments) {
    std::size_t place = parameters.size();
    if (!argument.keyword) {
      place = next++;
      if (place >= parameters.size()) {
        el_.diagnostics.report<Code::wrong_arity>(at, c.callee.text, parameters.size(), parameters.size() == 1 ? "" : "s", c.arguments.size())
            .note(fmt::format("{}({})", c.callee.text, signature));
        return result;
      }
    } else {
      for (std::size_t i = 0; i < parameters.size(); ++i) {
        if (has_name(parameters[i].names, argument.keyword->text)) place = i;
      }
      if (place == parameters.size()) {
        el_.diagnostics.report<Code::unexpected_keyword>(argument.keyword->span, c.callee.text, argument.keyword->text)
            .note(fmt::format("{}({})", c.callee.text, signature));
        return result;
      }
    }
    if (result.values[place] != nullptr) {
      el_.diagnostics.report<Code::argument_twice>(argument.value->span, c.callee.text, parameters[place].names);
      return result;
    }
    result.values[place] = argument.value.get();
  }
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    if (result.values[i] != nullptr || parameters[i].optional) continue;
    el_.diagnostics.report<Code::argument_missing>(at, c.callee.text, parameters[i].names.substr(0, parameters[i].names.find('|')))
        .note(fmt::format("{}({})", c.callee.text, signature));
    return result;
  }
  result.ok = true;
  return result;
}

bool WholeTensors::topk_arguments(const ast::Call& call, Span at, const ast::Expr*& x, const ast::Expr*& count, const ast::Expr*& axis) {
  const Arguments a = arguments(call, function("topk")->signature, at);
  if (!a.ok) return false;
  x = a.values[0];
  count = a.values[1];
  axis = a.values[2];
  return true;
}

Whole WholeTensors::call(const ast::Call& c, Span at) {
  const std::string& callee = c.callee.text;
  std::optional<DType> type = dtype_from_name(callee);
  if (const Entry* entry = el_.find(callee)) {
    if (const auto* f = std::get_if<FunctionName>(&entry->meaning)) return inlined(*f->let, c, at);
    const auto* t = std::get_if<TypeName>(&entry->meaning);
    if (t == nullptr) {
      if (!std::holds_alternative<BrokenName>(entry->meaning)) el_.diagnostics.report<Code::not_a_function>(c.callee.span, callee);
      return none(at);
    }
    type = t->type;
  }
  if (type) {
    const Arguments a = arguments(c, "x", at);
    Whole x = a.ok ? expression(*a.values[0]) : none(at);
    if (!x) return none(at);
    const Typed value = x.value.strength == Strength::literal_real && !is_float(*type) ? el_.arith.resolved(x.value) : x.value;
    x.value = Typed{el_.arith.cast(value, *type), Strength::strong, at, {}};
    return x;
  }
  if (callee == "pad" || callee == "wrap" || (callee == "clamp" && c.arguments.size() == 1)) {
    return policy_call(callee == "pad" ? Policy::pad : callee == "clamp" ? Policy::clamp : Policy::wrap, c, at);
  }
  if (callee == "topk") {
    el_.diagnostics.report<Code::topk_inside>(at).label("gives values and positions").fix("write it alone: v, p = topk(x, K, axis=-1)");
    return none(at);
  }
  if (const Function* f = function(callee)) {
    const Arguments a = arguments(c, f->signature, at);
    return a.ok ? (this->*f->make)(a, at) : none(at);
  }
  const std::string_view meaning = meaning_of(callee);
  const FormWord* form = form_word(meaning);
  const bool named = std::any_of(c.arguments.begin(), c.arguments.end(), [](const ast::Argument& a) { return a.keyword.has_value(); });
  const bool pairwise = (meaning == "max" || meaning == "min") && !named && (c.arguments.size() > 1 || callee == "maximum" || callee == "minimum");
  if (form != nullptr && !pairwise) {
    if (form->kind == ast::FormKind::scan) {
      el_.diagnostics.report<Code::scan_of_whole>(at).fix("write it in index form: h[t] = scan[t](a[t] * prev + x[t], init=0)");
      return none(at);
    }
    const bool reduces = form->kind == ast::FormKind::reduce;
    const Arguments a = arguments(c, reduces ? "x|a|input, axis|dim?, keepdims|keepdim?" : "x|a|input, axis|dim?", at);
    if (!a.ok) return none(at);
    return reduces ? reduction(form->reducer, a, at) : mapped(form->map, a, at);
  }

  const std::optional<Op> found = meaning == "pow" ? Op::pow : ir::operator_from_name(meaning);
  const Op op = found.value_or(Op::neg);
  const bool callable = op == Op::pow || (op != Op::neg && ir::info(op).infix.empty());
  const bool clip = callee == "clip" || callee == "clamp";
  if (!callable && !clip) {
    report_unknown_function(c.callee);
    return none(at);
  }
  std::vector<Whole> values;
  for (const ast::Argument& a : c.arguments) {
    if (!a.keyword) continue;
    el_.diagnostics.report<Code::unexpected_keyword>(a.keyword->span, callee, a.keyword->text).fix("write the arguments in order");
    return none(at);
  }
  values.reserve(c.arguments.size());
  for (const ast::Argument& a : c.arguments) {
    if (op == Op::where && !values.empty()) guard_ = {&values.front(), values.size() == 1};
    values.push_back(expression(*a.value));
  }
  const bool folds = op == Op::max || op == Op::min;
  const std::size_t arity = clip ? 3 : static_cast<std::size_t>(ir::info(op).arity);
  if (folds ? values.size() < 2 : values.size() != arity) {
    el_.diagnostics.report<Code::wrong_arity>(at, callee, arity, arity == 1 ? "" : "s", values.size());
    return none(at);
  }
  if (clip) {
    Whole result = none(at);
    if (broadcast(values, result.axes, at)) result.value = el_.arith.clip(values[0].value, values[1].value, values[2].value, at);
    return result;
  }
  if (!folds) return elementwise(op, std::move(values), at);
  Whole result = std::move(values[0]);
  for (std::size_t i = 1; i < values.size(); ++i) {
    std::vector<Whole> both;
    both.push_back(std::move(result));
    both.push_back(std::move(values[i]));
    result = elementwise(op, std::move(both), at);
  }
  return result;
}

void WholeTensors::report_unknown_function(const ast::Name& name) {
  std::vector<std::string_view> known{"clip", "clamp", "wrap", "pad"};
  for (const Function& f : kFunctions) known.push_back(f.name);
  for (const Spelling& s : kSpellings) known.push_back(s.name);
  for (std::string_view word : form_words()) known.push_back(word);
#define QUERN_OP(op, arity, rule, spelling) \
  if (std::string_view(spelling).empty() && Op::op != Op::neg) known.push_back(ir::name(Op::op));
#include "dsl/ir/operators.def"
  for (const std::string& own : el_.name_order) {
    if (const Entry* entry = el_.find(own); entry != nullptr && std::holds_alternative<FunctionName>(entry->meaning)) known.push_back(own);
  }
  const std::string_view near = nearest(name.text, known);
  auto& d = el_.diagnostics.report<Code::unknown_function>(name.span, name.text);
  if (near.empty()) d.label("nothing here has this name");
  else d.fix(fmt::format("did you mean '{}'?", near));
}

Whole WholeTensors::inlined(const ast::Let& let, const ast::Call& c, Span at) {
  if (!let.value) return none(at);
  if (std::find(calls_.begin(), calls_.end(), &let) != calls_.end()) {
    el_.diagnostics.report<Code::recursive_function>(at, let.name.text).label("calls itself").fix("write a recurrence with scan[t](...)");
    return none(at);
  }
  if (calls_.size() >= kMaxCalls) {
    el_.diagnostics.report<Code::too_much_work>(at, kMaxCalls);
    return none(at);
  }
  if (c.arguments.size() != let.parameters.size()) {
    el_.diagnostics.report<Code::wrong_arity>(at, let.name.text, let.parameters.size(), let.parameters.size() == 1 ? "" : "s", c.arguments.size())
        .note("the function", let.name.span);
    return none(at);
  }
  std::map<std::string, Whole> frame;
  bool all = true;
  for (std::size_t i = 0; i < c.arguments.size(); ++i) {
    if (c.arguments[i].keyword) {
      el_.diagnostics.report<Code::unexpected_keyword>(c.arguments[i].keyword->span, let.name.text, c.arguments[i].keyword->text)
          .fix("write the arguments in order");
      return none(at);
    }
    Whole value = expression(*c.arguments[i].value);
    all = all && value;
    frame.insert_or_assign(let.parameters[i].text, std::move(value));
  }
  if (!all) return none(at);
  frames_.push_back(std::move(frame));
  calls_.push_back(&let);
  Whole result = expression(*let.value);
  calls_.pop_back();
  frames_.pop_back();
  return result;
}

Whole WholeTensors::policy_call(Policy policy, const ast::Call& c, Span at) {
  const Arguments a = arguments(c, policy == Policy::pad ? "read, value" : "read", at);
  if (!a.ok) return none(at);
  const auto* s = std::get_if<ast::Subscript>(&a.values[0]->node);
  if (s == nullptr) {
    el_.diagnostics.report<Code::policy_needs_read>(a.values[0]->span, c.callee.text)
        .fix(fmt::format("write {}(x[e]{})", c.callee.text, policy == Policy::pad ? ", value" : ""));
    return none(at);
  }
  Typed fill;
  if (policy == Policy::pad) {
    const Whole value = expression(*a.values[1]);
    if (!value) return none(at);
    if (value.rank() != 0) {
      el_.diagnostics.report<Code::rank_needed>(a.values[1]->span, "the value of 'pad'", "rank 0", value.rank());
      return none(at);
    }
    fill = value.value;
  }
  return subscript(*s, a.values[0]->span, {}, policy, fill);
}

bool WholeTensors::needs_rank(const Whole& x, std::size_t least, std::string_view what, Span at) {
  if (x.rank() >= least) return true;
  el_.diagnostics.report<Code::rank_needed>(at, what, fmt::format("rank {} or more", least), x.rank())
      .label(fmt::format("shape {}", shape_text(x.axes)));
  return false;
}

std::optional<std::int64_t> WholeTensors::constant(const ast::Expr& e, std::string_view what) {
  const Expr value = el_.index_expression(e);
  if (!value) return std::nullopt;
  if (const auto known = el_.sizes.normal(value, Reading::values).as_constant()) return known;
  el_.diagnostics.report<Code::constant_needed>(e.span, what).label("is not known when the kernel is compiled").fix("write a number, or a name from <...>");
  return std::nullopt;
}

std::optional<std::size_t> WholeTensors::axis_of(const ast::Expr& e, std::size_t rank, std::string_view what) {
  const auto value = constant(e, fmt::format("the axis of '{}'", what));
  if (!value) return std::nullopt;
  const auto count = static_cast<std::int64_t>(rank);
  if (*value >= -count && *value < count) return static_cast<std::size_t>(*value < 0 ? *value + count : *value);
  el_.diagnostics.report<Code::axis_out_of_range>(e.span, *value, rank, rank == 1 ? "is" : "es")
      .fix(rank == 0 ? "a single value has no axis" : fmt::format("axes are 0 to {}, or -1 to -{} from the end", rank - 1, rank));
  return std::nullopt;
}

std::vector<const ast::Expr*> WholeTensors::elements(const ast::Expr& e) const {
  std::vector<const ast::Expr*> result;
  if (const auto* list = std::get_if<ast::List>(&e.node)) {
    for (const ast::ExprPtr& element : list->elements) result.push_back(element.get());
  } else {
    result.push_back(&e);
  }
  return result;
}

std::vector<std::size_t> WholeTensors::axes_of(const ast::Expr& e, std::size_t rank, std::string_view what, bool& ok) {
  std::vector<std::size_t> result;
  for (const ast::Expr* element : elements(e)) {
    const auto axis = axis_of(*element, rank, what);
    if (!axis) {
      ok = false;
      return result;
    }
    if (std::find(result.begin(), result.end(), *axis) != result.end()) {
      el_.diagnostics.report<Code::axis_twice>(element->span, *axis).fix("name each axis once");
      ok = false;
      return result;
    }
    result.push_back(*axis);
  }
  return result;
}

Whole WholeTensors::reduction(ir::Reducer reducer, const Arguments& a, Span at) {
  Whole x = expression(*a.values[0]);
  if (!x) return none(at);
  bool keep = false;
  if (a.values[2] != nullptr) {
    const Typed flag = el_.expression(*a.values[2]);
    std::int64_t value = 0;
    if (!flag) return none(at);
    const Expr known = flag.expr;
    if (!pool_.is_integer_constant(known, &value) || el_.arith.type(flag) != DType::boolean) {
      el_.diagnostics.report<Code::constant_needed>(a.values[2]->span, "'keepdims'").fix("write true or false");
      return none(at);
    }
    keep = value != 0;
  }
  std::vector<std::size_t> axes;
  if (a.values[1] != nullptr) {
    bool ok = true;
    axes = axes_of(*a.values[1], x.rank(), a.callee, ok);
    if (!ok) return none(at);
  } else if (x.rank() == 1) {
    axes.push_back(0);
  } else {
    el_.diagnostics.report<Code::reduction_axis>(at, a.callee).label(fmt::format("shape {}", shape_text(x.axes)))
        .fix(x.rank() == 0 ? "a single value needs no reduction" : fmt::format("name it: {}(..., axis=-1), or axis=(0, 1) for several", a.callee));
    return none(at);
  }
  std::vector<ir::IndexId> bound;
  Whole result = none(at);
  for (std::size_t i = 0; i < x.rank(); ++i) {
    if (std::find(axes.begin(), axes.end(), i) == axes.end()) {
      result.axes.push_back(x.axes[i]);
      continue;
    }
    bound.push_back(indexed(x.axes[i]).index);
    if (keep) result.axes.push_back(stretched_axis());
  }
  result.value = el_.reduce(reducer, std::move(bound), x.value, pool_.boolean(true), at);
  return result;
}

Whole WholeTensors::mapped(ir::AxisMap map, const Arguments& a, Span at) {
  Whole x = expression(*a.values[0]);
  if (!x) return none(at);
  std::optional<std::size_t> axis;
  if (a.values[1] != nullptr) {
    axis = axis_of(*a.values[1], x.rank(), a.callee);
    if (!axis) return none(at);
  } else if (x.rank() == 1) {
    axis = 0;
  } else {
    el_.diagnostics.report<Code::reduction_axis>(at, a.callee).label(fmt::format("shape {}", shape_text(x.axes)))
        .fix(fmt::format("name it: {}(..., axis=-1)", a.callee));
    return none(at);
  }
  x.axes[*axis] = indexed(x.axes[*axis]);
  x.value = el_.axis_map(map, x.axes[*axis].index, x.value, pool_.boolean(true), at);
  return x;
}

std::optional<std::vector<Expr>> WholeTensors::shape_argument(const ast::Expr& e) {
  std::vector<Expr> shape;
  for (const ast::Expr* element : elements(e)) {
    const Expr size = el_.size_expression(*element);
    if (!size) return std::nullopt;
    shape.push_back(size);
  }
  return shape;
}

std::optional<DType> WholeTensors::type_argument(const ast::Expr& e) {
  if (const auto* use = std::get_if<ast::NameUse>(&e.node)) {
    const Entry* entry = el_.find(use->name);
    if (const auto* type = entry != nullptr ? std::get_if<TypeName>(&entry->meaning) : nullptr) return type->type;
    if (const auto type = dtype_from_name(use->name)) return type;
  }
  el_.diagnostics.report<Code::type_needed>(e.span).fix("write one of f64 f32 f16 bf16 e4m3 e5m2 i64 i32 i16 i8 u8 bool");
  return std::nullopt;
}

}  // namespace quern::dsl
