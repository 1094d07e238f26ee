// Random expressions in index form: reads with every kind of subscript, operators, reductions, maps, masks.
#include <algorithm>

#include "tools/fuzz/builder.h"

namespace quern::fuzz {

namespace {
constexpr std::int64_t kMaxCost = 12000;
}

Scope Builder::with(const Scope& scope, IndexInfo* index) {
  Scope s = scope;
  s.indices.push_back(index);
  s.cost *= std::max<std::int64_t>(1, index->extent.value);
  return s;
}

Scope Builder::new_scope(int rank) {
  Scope s;
  for (int i = 0; i < rank; ++i) s = with(s, new_index(some_size(kMaxCost / 4 / std::max<std::int64_t>(1, s.cost))));
  return s;
}

std::string Builder::axis_text(const IndexInfo& index) {
  return index.bare && !rng.chance(10) ? index.name : index.name + " in 0:" + index.extent.text;
}

std::string Builder::target_text(const std::string& name, const std::vector<IndexInfo*>& left, bool declared) {
  if (left.empty()) return name;
  std::vector<std::string> parts;
  for (const IndexInfo* i : left) parts.push_back(declared ? i->name : axis_text(*i));
  return name + '[' + list(parts) + ']';
}

std::string Builder::position(Scope& scope, int depth) {
  const int kind = rng.below(100);
  if (scope.indices.empty() || kind < 8) return std::to_string(rng.below(5));
  const std::string& i = rng.pick(scope.indices)->name;
  if (depth <= 0 || kind < 30) return i;
  if (kind < 50) return '(' + position(scope, depth - 1) + rng.pick({" + ", " - "}) + position(scope, depth - 1) + ')';
  if (kind < 58) return '(' + std::to_string(rng.between(2, 3)) + " * " + position(scope, depth - 1) + ')';
  if (kind < 66) return '(' + position(scope, depth - 1) + rng.pick({" div ", " mod "}) + std::to_string(rng.between(2, 5)) + ')';
  if (kind < 72) return "clip(" + position(scope, depth - 1) + ", 0, " + std::to_string(rng.between(1, 9)) + ')';
  if (kind < 82) return '(' + i + rng.pick({" - ", " + "}) + rng.pick(scope.indices)->extent.text + ')';
  if (kind < 92) return read(scope, rng.pick({DType::i32, DType::i64}));
  return '(' + i + " - " + std::to_string(rng.between(1, 4)) + ')';
}

std::string Builder::read(Scope& scope, DType type) {
  const bool real = is_float(type);
  const auto matches = [&](const TensorInfo& t) { return real ? is_float(t.type) : t.type == type; };
  // An existing tensor, each axis by a bare index of its size, or by a policy.
  if (rng.chance(55)) {
    std::vector<TensorInfo*> fitting;
    for (TensorInfo& t : tensors)
      if (matches(t) && !t.shape.empty()) fitting.push_back(&t);
    if (!fitting.empty()) {
      TensorInfo& t = *rng.pick(fitting);
      std::vector<std::string> subscripts;
      std::vector<IndexInfo*> bare;
      bool covered = true, any = !scope.indices.empty();
      std::vector<std::size_t> open;
      for (const Size& axis : t.shape) {
        std::vector<IndexInfo*> same;
        for (IndexInfo* i : scope.indices)
          if (i->extent == axis) same.push_back(i);
        if (same.empty()) {
          covered = false;
          open.push_back(subscripts.size());
          subscripts.push_back("0");
          continue;
        }
        bare.push_back(rng.pick(same));
        subscripts.push_back(bare.back()->name);
        if (rng.chance(6)) {  // reversed is in range too, and gives no range
          subscripts.back() = axis.text + " - 1 - " + subscripts.back();
          bare.pop_back();
        }
      }
      const bool filled = std::all_of(t.shape.begin(), t.shape.end(), [](const Size& s) { return s.value > 0; });
      if (covered || rng.chance(45)) {
        t.used = true;
        for (IndexInfo* i : bare) i->bare = true;
        // Never a bare index where the size is another: that would say how far it runs.
        for (const std::size_t n : open)
          if (any) subscripts[n] = '(' + position(scope, 1) + " + " + std::to_string(rng.below(3)) + ')';
        const std::string text = t.name + '[' + list(subscripts) + ']';
        if (covered) return text;
        const int policy = rng.below(filled ? 3 : 1);
        if (policy == 1) return "clamp(" + text + ')';
        if (policy == 2) return "wrap(" + text + ')';
        return "pad(" + text + ", " + (real ? rng.pick({"0.0", "-1.0", "2.0"}) : t.type == DType::boolean ? rng.pick({"false", "true"}) : rng.pick({"0", "1"})) + ')';
      }
    }
  }
  if (scope.indices.empty()) {
    if (real) return scalar_parameter();
    if (type == DType::boolean) return rng.pick({"true", "false"});
    return std::to_string(rng.between(0, 3));
  }
  // A new parameter over some of the indices.
  const DType element = real ? float_type() : type;
  std::vector<IndexInfo*> chosen;
  for (IndexInfo* i : scope.indices)
    if (rng.chance(70)) chosen.push_back(i);
  if (chosen.empty()) chosen.push_back(rng.pick(scope.indices));
  if (chosen.size() > 4) chosen.resize(4);
  if (rng.chance(40)) std::swap(chosen[0], chosen[static_cast<std::size_t>(rng.below(static_cast<std::int64_t>(chosen.size())))]);
  Shape shape;
  std::vector<std::string> subscripts;
  std::vector<IndexInfo*> bare;
  std::string guard;
  for (std::size_t n = 0; n < chosen.size(); ++n) {
    IndexInfo* i = chosen[n];
    const Size& e = i->extent;
    const int kind = rng.below(100);
    const std::int64_t c = rng.between(1, 3);
    const std::string ct = std::to_string(c);
    if (kind < 74) {
      shape.push_back(e);
      subscripts.push_back(i->name);
      bare.push_back(i);
    } else if (kind < 79) {
      shape.push_back({e.text + '+' + ct, e.value + c});
      subscripts.push_back(i->name + " + " + std::to_string(rng.between(0, static_cast<int>(c))));
    } else if (kind < 82) {
      shape.push_back({"2*" + e.text, 2 * e.value});
      subscripts.push_back("2*" + i->name + (rng.chance(50) ? " + 1" : ""));
    } else if (kind < 85 && n + 1 < chosen.size()) {
      const IndexInfo* j = chosen[n + 1];
      if (j->extent.value * e.value > 400) { --n; continue; }
      shape.push_back({e.text + '*' + j->extent.text, e.value * j->extent.value});
      subscripts.push_back('(' + i->name + ',' + j->name + ')');
      ++n;
    } else if (kind < 88 && n + 1 < chosen.size()) {
      const IndexInfo* j = chosen[++n];
      shape.push_back({e.text + '+' + j->extent.text, e.value + j->extent.value});
      subscripts.push_back(i->name + " + " + j->name);
    } else if (kind < 91) {
      shape.push_back(e);
      subscripts.push_back(e.text + " - 1 - " + i->name);
    } else if (kind < 94) {
      shape.push_back(e);
      subscripts.push_back(i->name + " div 2");
    } else if (kind < 97) {
      const Size table = some_size(60);
      if (table.value < 1) { --n; continue; }
      TensorInfo& ids = parameter(rng.pick({DType::i32, DType::i64, DType::u8, DType::i16}), {e});
      ids.fact = table;
      ids.used = true;
      shape.push_back(table);
      subscripts.push_back(ids.name + '[' + i->name + ']');
      bare.push_back(i);
    } else if (real) {
      // Guarded by a condition on the index.
      shape.push_back(e);
      const bool back = rng.chance(50);
      subscripts.push_back(i->name + (back ? " - " : " + ") + ct);
      guard += (guard.empty() ? "" : " and ") + (back ? i->name + " >= " + ct : i->name + " + " + ct + " < " + e.text);
    } else {
      shape.push_back(e);
      subscripts.push_back(i->name);
      bare.push_back(i);
    }
  }
  std::int64_t elements = 1;
  for (const Size& s : shape) elements *= s.value;
  if (elements > 40000) return real ? "0.5" : type == DType::boolean ? "true" : "1";
  for (IndexInfo* i : bare) i->bare = true;
  TensorInfo& t = parameter(element, shape);
  t.used = true;
  const std::string text = t.name + '[' + list(subscripts) + ']';
  return guard.empty() ? text : "where(" + guard + ", " + text + rng.pick({", 0.0)", ", 1.0)"});
}

std::string Builder::mask(Scope& scope, int depth) {
  if (scope.indices.empty()) return boolean(scope, 0);
  const std::string& i = rng.pick(scope.indices)->name;
  const std::string& j = scope.indices.back()->name;
  const int kind = rng.below(100);
  if (kind < 30) return j + rng.pick({" <= ", " < ", " >= ", " != "}) + i;
  if (kind < 45) return j + " <= " + i + " + " + rng.pick(scope.indices)->extent.text + " - " + scope.indices.back()->extent.text;
  if (kind < 60) return j + " <= " + i + " and " + j + " > " + i + " - " + std::to_string(rng.between(0, 6));
  if (kind < 72) return j + " < " + integer(scope, 0, DType::i32);
  if (kind < 84) return read(scope, DType::boolean);
  return boolean(scope, depth);
}

std::string Builder::reduction(Scope& scope, int depth, const char* reducer, int body, DType type) {
  std::vector<IndexInfo*> axes;
  Scope inner = scope;
  inner.previous = false;
  const int count = rng.chance(20) ? 2 : 1;
  for (int i = 0; i < count; ++i) {
    const std::string name{reducer};
    if (i > 0 && (name == "argmax" || name == "argmin")) break;
    Size extent = some_size(kMaxCost / std::max<std::int64_t>(1, inner.cost));
    if (body == 1 && (name == "max" || name == "min")) extent = literal_size(rng.between(1, 6));
    axes.push_back(new_index(extent));
    inner = with(inner, axes.back());
  }
  std::string text = body == 0 ? real(inner, depth - 1) : body == 1 ? integer(inner, depth - 1, type) : boolean(inner, depth - 1);
  std::string domain;
  if (body != 1 && rng.chance(22)) domain = " where " + mask(inner, 0);
  std::vector<std::string> parts;
  for (const IndexInfo* a : axes) parts.push_back(axis_text(*a));
  return std::string(reducer) + '[' + list(parts) + domain + "](" + text + ')';
}

std::string Builder::real(Scope& scope, int depth) {
  const int kind = rng.below(100);
  if (depth <= 0 || kind < 14) {
    const int leaf = rng.below(100);
    if (scope.previous && leaf < 20) return "prev";
    if (leaf < 74) return read(scope, DType::f32);
    if (leaf < 84) return options.exact ? rng.pick({"2.0", "-1.0", "3.0", "1.0"}) : rng.pick({"0.5", "2.0", "-1.25", "1e-3", "3.0", "pi", "1.0"});
    if (leaf < 90 && !scope.indices.empty() && !options.exact)
      return '(' + rng.pick(scope.indices)->name + rng.pick({" * 0.25)", " - 1.5)", " / 3)"});
    if (leaf < 95) return scalar_parameter();
    if (options.exact) return "1.0";
    return "f32(" + read(scope, rng.pick({DType::i32, DType::i8, DType::u8, DType::boolean, DType::i64, DType::i16})) + ')';
  }
  const auto sub = [&] { return real(scope, depth - 1); };
  if (kind < 36) {
    if (options.exact) return '(' + sub() + rng.pick({" + ", " - "}) + sub() + ')';
    switch (rng.below(10)) {
      case 0: case 1: case 2: return '(' + sub() + " + " + sub() + ')';
      case 3: case 4: return '(' + sub() + " - " + sub() + ')';
      case 5: case 6: case 7: return '(' + sub() + " * " + sub() + ')';
      case 8: return '(' + sub() + " / (1.0 + abs(" + sub() + ")))";
      default: return rng.chance(30) ? '(' + sub() + " / " + sub() + ')' : '(' + sub() + " ** 2)";
    }
  }
  if (kind < 56) {
    if (options.exact) return rng.pick({"abs(", "-(", "relu(", "sign(", "floor(", "round("}) + sub() + ')';
    switch (rng.below(42)) {
      case 0: return "-(" + sub() + ')';
      case 1: return "abs(" + sub() + ')';
      case 2: return "sign(" + sub() + ')';
      case 3: return "relu(" + sub() + ')';
      case 4: return "floor(" + sub() + ')';
      case 5: return "ceil(" + sub() + ')';
      case 6: return "round(" + sub() + ')';
      case 7: return "trunc(" + sub() + ')';
      case 8: return "exp(" + sub() + ')';
      case 9: return "exp2(" + sub() + ')';
      case 10: return "expm1(" + sub() + ')';
      case 11: return rng.chance(20) ? "log(" + sub() + ')' : "log(0.1 + abs(" + sub() + "))";
      case 12: return "log2(0.5 + abs(" + sub() + "))";
      case 13: return "log1p(abs(" + sub() + "))";
      case 14: return rng.chance(20) ? "sqrt(" + sub() + ')' : "sqrt(abs(" + sub() + "))";
      case 15: return "rsqrt(0.25 + abs(" + sub() + "))";
      case 16: return "cbrt(" + sub() + ')';
      case 17: return "sin(" + sub() + ')';
      case 18: return "cos(" + sub() + ')';
      case 19: return "tan(" + sub() + ')';
      case 20: return "asin(tanh(" + sub() + "))";
      case 21: return "acos(clip(" + sub() + ", -1, 1))";
      case 22: return "atan(" + sub() + ')';
      case 23: return "sinh(tanh(" + sub() + "))";
      case 24: return "cosh(clip(" + sub() + ", -4.0, 4.0))";
      case 25: return "tanh(" + sub() + ')';
      case 26: return "erf(" + sub() + ')';
      case 27: return "sigmoid(" + sub() + ')';
      case 28: return "gelu(" + sub() + ')';
      case 29: return "silu(" + sub() + ')';
      case 30: return "softplus(" + sub() + ')';
      case 31: return "atan2(" + sub() + ", " + sub() + ')';
      case 32: return "hypot(" + sub() + ", " + sub() + ')';
      case 33: return "logaddexp(" + sub() + ", " + sub() + ')';
      case 34: return "fma(" + sub() + ", " + sub() + ", " + sub() + ')';
      case 35: return "(abs(" + sub() + ") ** 0.5)";
      case 36: return "clip(" + sub() + ", -0.75, 1.5)";
      case 37: return "max(" + sub() + ", " + sub() + ')';
      case 38: return "min(" + sub() + ", " + sub() + ')';
      case 39: return "pow(0.5 + abs(" + sub() + "), " + rng.pick({"1.5", "-1.0", "2", "0.3"}) + ')';
      case 40: return std::string(rng.pick({"f16(", "bf16(", "e4m3(", "e5m2(", "f32(", "f64("})) + sub() + ')';
      default: return functions().empty() ? sub() : rng.pick(functions()) + '(' + sub() + ')';
    }
  }
  if (kind < 66) {
    Scope guarded = scope;
    return "where(" + boolean(guarded, depth - 1) + ", " + sub() + ", " + sub() + ')';
  }
  if (kind < 84 && scope.cost * 4 < kMaxCost) {
    if (options.exact) return reduction(scope, std::min(depth, 1), rng.pick({"sum", "sum", "max", "min"}), 0, DType::f32);
    return reduction(scope, depth, rng.pick({"sum", "sum", "sum", "max", "min", "mean", "var", "std", "norm", "logsumexp", "prod"}), 0, DType::f32);
  }
  if (kind < 93 && !scope.indices.empty() && !scope.previous && !options.exact) {
    // An axis map over an index that is free here: its body sees a range of its own.
    std::vector<IndexInfo*> open;
    for (IndexInfo* i : scope.indices)
      if (std::find(scope.mapped.begin(), scope.mapped.end(), i) == scope.mapped.end()) open.push_back(i);
    if (open.empty()) return sub();
    IndexInfo* over = rng.pick(open);
    const std::string map = rng.pick({"softmax", "softmax", "log_softmax", "cumsum", "cumprod", "cummax", "cummin", "sort", "softmax"});
    if (scope.cost * std::max<std::int64_t>(1, over->extent.value) > kMaxCost * 4) return sub();
    Scope inner = scope;
    inner.mapped.push_back(over);
    const bool before = over->bare;
    over->bare = false;
    const std::string body = real(inner, std::min(depth - 1, 1));
    const std::string domain = rng.chance(35) && map != "sort" ? " where " + mask(inner, 0) : "";
    const std::string axis = over->bare ? over->name : over->name + " in 0:" + over->extent.text;
    over->bare |= before;
    return map + '[' + axis + domain + "](" + body + ')';
  }
  if (kind < 96 && !options.exact) return "f32(" + integer(scope, depth - 1, rng.pick({DType::i32, DType::i64, DType::i32})) + ')';
  return '(' + sub() + " * " + read(scope, DType::f32) + ')';
}

std::string Builder::boolean(Scope& scope, int depth) {
  const int kind = rng.below(100);
  if (kind < 22 && scope.indices.size() >= 2) return rng.pick(scope.indices)->name + rng.pick({" <= ", " < ", " == ", " != ", " > ", " >= "}) + rng.pick(scope.indices)->name;
  if (kind < 34 && !scope.indices.empty()) return rng.pick(scope.indices)->name + rng.pick({" mod 2 == 0", " > 1", " < 3", " mod 3 != 1"});
  if (depth <= 0) return kind < 60 ? read(scope, DType::boolean) : '(' + read(scope, DType::f32) + rng.pick({" > ", " < ", " >= ", " <= "}) + rng.pick({"0.0", "0.5", "-1.0"}) + ')';
  const auto sub = [&] { return boolean(scope, depth - 1); };
  if (kind < 50) return '(' + real(scope, depth - 1) + rng.pick({" > ", " < ", " >= ", " <= "}) + real(scope, depth - 1) + ')';
  if (kind < 56) return '(' + integer(scope, depth - 1, DType::i32) + rng.pick({" == ", " != ", " < "}) + integer(scope, depth - 1, DType::i32) + ')';
  if (kind < 64) return '(' + sub() + " and " + sub() + ')';
  if (kind < 72) return '(' + sub() + " or " + sub() + ')';
  if (kind < 78) return "(not (" + sub() + "))";
  if (kind < 84) return std::string(rng.pick({"isnan(", "isinf(", "isfinite("})) + read(scope, DType::f32) + ')';
  if (kind < 92 && scope.cost * 4 < kMaxCost) return reduction(scope, depth, rng.pick({"any", "all"}), 2, DType::boolean);
  return read(scope, DType::boolean);
}

std::string Builder::integer(Scope& scope, int depth, DType type) {
  const std::string cast{name(type)};
  const int kind = rng.below(100);
  if (depth <= 0 || kind < 20) {
    if (kind < 8 || scope.indices.empty()) return cast + '(' + std::to_string(rng.between(0, 5)) + ')';
    if (kind < 14) return cast + '(' + rng.pick(scope.indices)->name + ')';
    return read(scope, type);
  }
  const auto sub = [&] { return integer(scope, depth - 1, type); };
  if (kind < 50) return '(' + sub() + rng.pick({" + ", " - ", " * "}) + sub() + ')';
  if (kind < 58) return '(' + sub() + rng.pick({" div ", " mod "}) + (rng.chance(50) || scope.indices.empty() ? cast + '(' + std::to_string(rng.between(1, 5)) + ')' : read(scope, type)) + ')';
  if (kind < 64) return std::string(rng.pick({"max(", "min("})) + sub() + ", " + sub() + ')';
  if (kind < 68) return std::string(rng.pick({"abs(", "-("})) + sub() + ')';
  if (kind < 74) return "where(" + boolean(scope, depth - 1) + ", " + sub() + ", " + sub() + ')';
  if (scope.cost * 4 < kMaxCost) {
    if (kind < 80) return cast + '(' + reduction(scope, depth, rng.pick({"sum", "sum", "max", "min"}), 1, type) + ')';
    if (kind < 85) return cast + '(' + reduction(scope, depth, rng.pick({"argmax", "argmin"}), 0, type) + ')';
    if (kind < 89) return cast + '(' + reduction(scope, depth, "count", 2, type) + ')';
    if (kind < 91) return cast + '(' + reduction(scope, depth, "prod", 1, type) + ')';
  }
  if (kind < 94) return cast + '(' + rng.pick({"round(", "floor(", "trunc("}) + real(scope, depth - 1) + "))";
  if (kind < 97 && !scope.indices.empty() && !scope.previous) {
    IndexInfo* over = rng.pick(scope.indices);
    if (std::find(scope.mapped.begin(), scope.mapped.end(), over) != scope.mapped.end()) return read(scope, type);
    const bool before = over->bare;
    over->bare = false;
    const std::string body = read(scope, DType::f32);
    const std::string axis = over->bare ? over->name : over->name + " in 0:" + over->extent.text;
    over->bare |= before;
    return cast + "(argsort[" + axis + "](" + body + "))";
  }
  return read(scope, type);
}

}  // namespace quern::fuzz
