// One random statement in index form of each kind: definitions, scans, top-k, scatters, in-place updates, views, lets.
#include <algorithm>

#include "tools/fuzz/builder.h"

namespace quern::fuzz {

namespace {

std::vector<IndexInfo*> shuffled(Rng& rng, std::vector<IndexInfo*> v) {
  for (std::size_t i = v.size(); i > 1; --i) std::swap(v[i - 1], v[static_cast<std::size_t>(rng.below(static_cast<std::int64_t>(i)))]);
  return v;
}

Shape extents(const std::vector<IndexInfo*>& indices) {
  Shape s;
  for (const IndexInfo* i : indices) s.push_back(i->extent);
  return s;
}

}  // namespace

void Builder::index_statement() {
  Scope scope = new_scope(rng.pick({0, 1, 1, 2, 2, 2, 3, 3}));
  const std::string body = real(scope, rng.between(1, 4));
  const std::vector<IndexInfo*> left = rng.chance(70) ? scope.indices : shuffled(rng, scope.indices);
  // A sole prev-free body may still be an integer literal; a real result is what the target is declared as.
  const TensorInfo& t = temporary(DType::f32, extents(left));
  say(target_text(t.name, left, false) + " = " + body);
}

void Builder::boolean_statement() {
  Scope scope = new_scope(rng.between(1, 3));
  const std::string body = boolean(scope, 2);
  const TensorInfo& t = temporary(DType::boolean, extents(scope.indices));
  say(target_text(t.name, scope.indices, false) + " = " + body);
}

void Builder::integer_statement() {
  Scope scope = new_scope(rng.between(1, 2));
  const DType type = integer_type();
  const std::string body = integer(scope, 3, type);
  const TensorInfo& t = temporary(type, extents(scope.indices));
  say(target_text(t.name, scope.indices, false) + " = " + std::string(name(type)) + '(' + body + ')');
}

void Builder::scan_statement() {
  Scope scope = new_scope(rng.between(1, 3));
  IndexInfo* time = rng.pick(scope.indices);
  Scope inner = scope;
  inner.mapped.push_back(time);  // bound by the scan: no map may bind it again inside
  std::string body;
  const auto part = [&] { return real(inner, 1); };
  // What `prev` can leave: a polynomial under sum and mean, a term under max and min, over an axis of the reduction's own.
  const auto over = [&](const char* reducer, const auto& text) {
    IndexInfo* axis = new_index(literal_size(rng.between(0, 5)));
    Scope within = with(inner, axis);
    const std::string body = text(within);
    const std::string domain = rng.chance(25) ? " where " + mask(within, 0) : "";
    return std::string(reducer) + '[' + axis_text(*axis) + domain + "](" + body + ')';
  };
  const auto squashed = [&](Scope& s) { return "tanh(" + real(s, 1) + ')'; };
  switch (rng.below(options.exact ? 3 : 13)) {
    case 8: body = "0.125 * " + over(rng.pick({"sum", "mean"}), [&](Scope& s) { return "prev * " + squashed(s) + rng.pick({" + ", " - "}) + real(s, 1); }); break;
    case 9: body = over("mean", [&](Scope& s) { return "(0.25 * prev - " + squashed(s) + ") ** 2 * 0.125"; }); break;
    case 10: body = "0.5 * " + over(rng.pick({"max", "min"}), [&](Scope& s) { return rng.pick({"prev + ", "prev - "}) + squashed(s); }); break;
    case 11: body = rng.chance(50) ? over("max", [&](Scope& s) { return "max(prev * 0.5, " + real(s, 1) + ')'; })
                                   : over("min", [&](Scope& s) { return "min(" + real(s, 1) + ", prev * 0.5)"; }); break;
    case 12: body = "tanh(prev) * 0.5 + 0.125 * " + over("sum", [&](Scope& s) { return '(' + squashed(s) + " - prev) * " + squashed(s); }); break;
    case 0: body = "prev + " + part(); break;
    case 1: body = "max(prev, " + part() + ')'; break;
    case 2: body = "where(" + boolean(inner, 0) + ", prev, " + part() + ')'; break;
    case 3: body = part() + " * 0.5 * prev + " + part(); break;
    case 4: body = "sigmoid(" + part() + ") * prev + " + part(); break;
    case 5: body = "tanh(prev + " + part() + ')'; break;
    case 6: body = "min(prev * 0.5, " + part() + ')'; break;
    default: body = "where(" + boolean(inner, 0) + ", " + part() + ", 0.75 * prev + " + part() + ')'; break;
  }
  const std::string init = rng.pick({"0", "0.0", "1.0", "-2.0"});
  const std::string axis = axis_text(*time);
  const TensorInfo& t = temporary(DType::f32, extents(scope.indices));
  say(target_text(t.name, scope.indices, false) + " = scan[" + axis + "](" + body + ", init = " + init + ')');
}

void Builder::topk_statement() {
  Scope scope = new_scope(rng.between(0, 2));
  IndexInfo* from = new_index(some_size(60));
  IndexInfo* to = new_index(rng.chance(60) ? literal_size(rng.pick({1, 2, 3, 5})) : some_size(20));
  Scope inner = with(scope, from);
  const bool whole_numbers = rng.chance(15);
  const std::string body = whole_numbers ? integer(inner, 1, DType::i32) : real(inner, 1);
  const std::string domain = rng.chance(20) ? " where " + mask(inner, 0) : "";
  std::vector<IndexInfo*> left = scope.indices;
  left.push_back(to);
  const std::string axis = axis_text(*from);
  const TensorInfo& values = temporary(whole_numbers ? DType::i32 : DType::f32, extents(left));
  const TensorInfo& positions = temporary(DType::i32, extents(left));
  to->bare = true;  // its range stands in the topk
  say(target_text(values.name, left, false) + ", " + target_text(positions.name, left, true) + " = topk[" + axis + " -> " + to->name + " in 0:" +
      to->extent.text + domain + "](" + body + ')');
}

void Builder::scatter_statement() {
  Scope scope = new_scope(rng.between(1, 2));
  IndexInfo* along = scope.indices[0];
  const Size rows = some_size(40);
  TensorInfo& ids = parameter(rng.pick({DType::i32, DType::i64}), {along->extent});
  ids.fact = rows;
  ids.used = true;
  along->bare = true;
  if (rng.chance(60)) fill(ids, "repeated");
  if (rows.value == 0 && along->extent.value > 0) {  // no value lies in 0:0
    index_statement();
    ids.fact.reset();
    return;
  }
  const bool real_valued = rng.chance(80);
  const DType type = real_valued ? rng.pick({DType::f32, DType::f32, DType::f64, DType::f16, DType::bf16}) : rng.pick({DType::i32, DType::i64});
  const std::string body = real_valued ? real(scope, 1) : integer(scope, 1, type);
  Shape shape{rows};
  std::string subscripts = ids.name + '[' + along->name + ']';
  for (std::size_t i = 1; i < scope.indices.size(); ++i) {
    shape.push_back(scope.indices[i]->extent);
    subscripts += ", " + (scope.indices[i]->bare ? scope.indices[i]->name : scope.indices[i]->name + " in 0:" + scope.indices[i]->extent.text);
  }
  TensorInfo& target = parameter(type, shape);
  target.inout = target.used = true;
  say(target.name + '[' + subscripts + "] " + rng.pick({"+=", "+=", "+=", "max=", "min="}) + ' ' + body);
}

void Builder::inout_statement() {
  Scope scope = new_scope(rng.between(1, 3));
  TensorInfo& t = parameter(options.exact ? DType::f32 : rng.pick({DType::f32, DType::f32, DType::f64, DType::f16, DType::bf16}), extents(scope.indices));
  t.inout = t.used = true;
  for (IndexInfo* i : scope.indices) i->bare = true;
  std::string own = t.name + '[';
  for (std::size_t i = 0; i < scope.indices.size(); ++i) own += (i ? "," : "") + scope.indices[i]->name;
  own += ']';
  // Element by element, or through a reduction over an axis of its own, which has to be staged.
  std::string body;
  if (rng.chance(50)) {
    body = '(' + real(scope, 2) + " + " + own + ')';
  } else {
    IndexInfo* k = new_index(scope.indices.back()->extent);
    const std::string at = own.substr(0, own.size() - 1 - scope.indices.back()->name.size()) + k->name + ']';
    body = own + " - " + rng.pick({"sum[", "max["}) + k->name + "](" + at + ')';
    if (rng.chance(40)) body = "(" + body + ") * " + real(scope, 1);
  }
  say(target_text(t.name, scope.indices, true) + " = " + body);
}

void Builder::view_statement() {
  Scope scope = new_scope(rng.between(1, 3));
  const DType type = options.exact ? DType::f32 : float_type();
  std::vector<IndexInfo*> order = shuffled(rng, scope.indices);
  Shape shape;
  std::vector<std::string> subscripts;
  for (IndexInfo* i : order) {
    const int kind = rng.below(5);
    shape.push_back(kind == 0 ? Size{"2*" + i->extent.text, 2 * i->extent.value} : kind == 1 ? Size{i->extent.text + "+2", i->extent.value + 2} : i->extent);
    subscripts.push_back(kind == 0 ? "2*" + i->name : kind == 1 ? i->name + " + 1" : kind == 2 ? i->extent.text + " - 1 - " + i->name : i->name);
    if (kind > 2) i->bare = true;
  }
  TensorInfo& source = parameter(type, shape);
  source.used = true;
  std::vector<std::string> left;
  for (const IndexInfo* i : scope.indices) left.push_back(axis_text(*i));
  const std::string view = fresh("v");
  say("view " + view + '[' + list(left) + "] = " + source.name + '[' + list(subscripts) + ']');
  // Something that reads it.
  Scope fresh_scope;
  std::vector<std::string> at;
  for (const IndexInfo* i : scope.indices) {
    IndexInfo* j = new_index(i->extent);
    j->bare = true;
    fresh_scope = with(fresh_scope, j);
    at.push_back(j->name);
  }
  const std::string value = view + '[' + list(at) + ']';
  std::vector<IndexInfo*> target = fresh_scope.indices;
  std::string body = value;
  if (target.size() > 1 && rng.chance(50)) {
    IndexInfo* gone = target.back();
    target.pop_back();
    body = std::string(options.exact ? "sum[" : rng.pick({"sum[", "max[", "mean["})) + gone->name + "](" + value + " * " + real(fresh_scope, 1) + ')';
  } else {
    body = '(' + value + " + " + real(fresh_scope, 1) + ')';
  }
  const TensorInfo& t = temporary(DType::f32, extents(target));
  say(target_text(t.name, target, false) + " = " + body);
}

void Builder::let_statement() {
  const std::string f = fresh("f");
  const std::string body = options.exact ? rng.pick({"z + 1", "2 * z", "max(z, 0)"})
                                         : rng.pick({"z * sigmoid(z)", "max(z, 0.1 * z)", "1 / (1 + z * z)", "tanh(z) + 0.5 * z", "where(z > 0, z, exp(z) - 1)"});
  say("let " + f + "(z) = " + body);
  add_function(f);
}

}  // namespace quern::fuzz
