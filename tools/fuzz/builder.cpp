// Names, sizes and tensors of a growing program, and its final text: signature, facts, settings of the case.
#include "tools/fuzz/builder.h"

#include <algorithm>
#include <set>

namespace quern::fuzz {

std::string Builder::fresh(const char* stem) { return stem + std::to_string(counters_[stem]++); }

Size Builder::symbol() {
  if (!symbols_.empty() && rng.chance(symbols_.size() >= 4 ? 90 : 55)) return rng.pick(symbols_).size;
  static const char* const kNames[] = {"M", "N", "K", "L", "H", "G", "J", "S", "P", "Q", "R", "U", "V", "W", "B", "C", "D", "E", "F"};
  if (symbols_.size() >= std::size(kNames)) return rng.pick(symbols_).size;
  std::int64_t value = 0;
  const int kind = rng.below(100);
  if (kind < 3) value = 0;
  else if (kind < 13) value = 1;
  else if (kind < 50) value = rng.pick({2, 3, 4, 5, 6, 7, 8});
  else if (kind < 85) value = rng.pick({9, 11, 13, 15, 16, 17, 19, 20});
  else value = rng.pick({23, 31, 32, 33, 37, 40});
  if (options.large && rng.chance(40)) value = rng.pick({64, 65, 97, 127, 128, 129, 191, 200});
  symbols_.push_back({{kNames[symbols_.size()], value}, rng.chance(15)});
  return symbols_.back().size;
}

Size Builder::some_size(std::int64_t room) {
  for (int attempt = 0; attempt < 4; ++attempt) {
    const Size s = rng.chance(12) ? literal_size(rng.pick({1, 2, 3, 4, 5, 8})) : symbol();
    if (s.value <= room) return s;
  }
  return literal_size(std::clamp<std::int64_t>(room, 1, 2));
}

IndexInfo* Builder::new_index(Size extent) {
  indices.push_back({fresh("i"), std::move(extent), false});
  return &indices.back();
}

DType Builder::float_type() {
  if (options.exact) return rng.pick({DType::f32, DType::f32, DType::f64, DType::f16, DType::bf16});
  return rng.pick({DType::f32, DType::f32, DType::f32, DType::f32, DType::f16, DType::bf16, DType::f16, DType::f64, DType::e4m3, DType::e5m2});
}
DType Builder::integer_type() { return rng.pick({DType::i64, DType::i32, DType::i32, DType::i16, DType::i8, DType::u8}); }

TensorInfo& Builder::parameter(DType type, Shape shape) {
  TensorInfo t;
  t.name = fresh("x");
  t.type = type;
  t.shape = std::move(shape);
  t.parameter = true;
  tensors.push_back(std::move(t));
  return tensors.back();
}

TensorInfo& Builder::temporary(DType type, Shape shape) {
  TensorInfo t;
  t.name = fresh("t");
  t.type = type;
  t.shape = std::move(shape);
  tensors.push_back(std::move(t));
  return tensors.back();
}

std::string Builder::scalar_parameter() {
  if (!scalars_.empty() && rng.chance(60)) return rng.pick(scalars_);
  const std::string name = fresh("a");
  scalars_.push_back(name);
  scalar_values_[name] = options.exact ? rng.pick({"2", "-1", "3"}) : rng.pick({"0.5", "-1.25", "3", "0.1"});
  return name;
}

namespace {

std::string type_text(DType type, const Shape& shape) {
  std::string out{name(type)};
  if (shape.empty()) return out;
  out += '[';
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i ? "," : "") + shape[i].text;
  return out + ']';
}

/// A type that a value of `type` may be stored as without a cast.
DType stored_type(Rng& rng, DType type, bool exact) {
  if (type == DType::boolean || is_integer(type)) return type;
  if (exact) return rng.pick({DType::f32, DType::f64});
  return rng.pick({DType::f32, DType::f32, DType::f32, DType::f16, DType::bf16, DType::f64, DType::e4m3, DType::e5m2});
}

}  // namespace

std::string Builder::list(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& p : parts) out += (out.empty() ? "" : ", ") + p;
  return out;
}

std::string Builder::finish() {
  // Outputs: every result that nothing reads, and some that something does.
  std::vector<TensorInfo*> outputs;
  bool any_inout = false;
  for (TensorInfo& t : tensors) {
    any_inout |= t.inout;
    if (!t.parameter && (!t.used || rng.chance(20))) outputs.push_back(&t);
  }
  if (outputs.empty() && !any_inout)
    for (TensorInfo& t : tensors)
      if (!t.parameter) outputs = {&t};

  // A size is bound by a parameter that has it as an axis, else it is a compile-time name.
  std::set<std::string> bound;
  for (const TensorInfo& t : tensors)
    if (t.parameter)
      for (const Size& s : t.shape) bound.insert(s.text);
  std::string body;
  for (const std::string& s : statements) body += "  " + s + "\n";
  const auto occurs = [&](const std::string& name, const std::string& text) {
    for (std::size_t at = text.find(name); at != std::string::npos; at = text.find(name, at + 1)) {
      const auto word = [](char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; };
      if ((at == 0 || !word(text[at - 1])) && (at + name.size() >= text.size() || !word(text[at + name.size()]))) return true;
    }
    return false;
  };

  std::vector<std::string> parameters, results;
  std::map<std::string, std::string> settings = kinds;
  for (const TensorInfo& t : tensors) {
    if (!t.parameter) continue;
    std::string p = (t.inout ? "inout " : "") + t.name + ": " + type_text(t.type, t.shape);
    if (t.fact) p += " in 0:" + t.fact->text;
    if (t.nondecreasing) p += " nondecreasing";
    parameters.push_back(std::move(p));
    if (!settings.count(t.name)) {
      std::string kind;
      if (t.fact || t.nondecreasing) kind = "normal";
      else if (options.exact) kind = "integers";
      else if (is_float(t.type)) {
        const int k = rng.below(100);
        kind = k < 62 ? "normal" : k < 68 ? "wide" : k < 74 ? "large" : k < 80 ? "constant" : k < 85 ? "integers" : k < 88 ? "zeros"
             : k < 92 ? "special" : k < 95 ? "subnormal" : k < 98 ? "cancelling" : "positive";
      } else kind = rng.chance(85) ? "normal" : "any";
      settings[t.name] = !t.shape.empty() ? kind : is_float(t.type) ? "0.75" : "1";  // of rank 0: a number, not a tensor
    }
    if (!t.shape.empty() && rng.chance(35))
      settings[t.name] += rng.pick({"/transposed", "/reversed", "/strided", "/offset", "/padded", t.inout ? "/offset" : "/broadcast"});
  }
  for (const std::string& s : scalars_) {
    parameters.push_back(s + ": f32" + (rng.chance(30) ? " = " + scalar_values_[s] : ""));
    settings[s] = scalar_values_[s];
  }
  for (TensorInfo* t : outputs) results.push_back(t->name + ": " + type_text(stored_type(rng, t->type, options.exact), t->shape));

  const std::string signature = list(parameters) + " -> " + list(results);
  std::vector<std::string> compile_time = type_parameters;
  for (const Symbol& s : symbols_) {
    if (!occurs(s.size.text, signature) && !occurs(s.size.text, body)) continue;
    if (!bound.count(s.size.text) || s.compile_time) compile_time.push_back(s.size.text);
    settings[s.size.text] = std::to_string(s.size.value);
  }

  std::string out = "#:";
  if (options.exact) settings["exact"] = "1";
  for (const auto& [name, value] : settings) out += ' ' + name + '=' + value;
  out += '\n';
  for (const std::string& a : annotations) out += '@' + a + ' ';
  out += "kernel fuzz";
  if (!compile_time.empty()) out += '<' + list(compile_time) + '>';
  out += '(' + list(parameters) + ')';
  if (!results.empty()) out += " -> (" + list(results) + ')';
  return out + " {\n" + body + "}\n";
}

std::string generate(std::uint64_t seed, GenerateOptions options) {
  Builder b(seed, options);
  if (!options.exact) {
    if (b.rng.chance(8)) b.annotations.push_back("precise");
    else if (b.rng.chance(4)) b.annotations.push_back("fast");
    if (b.rng.chance(4)) b.annotations.push_back("tf32");
    if (b.rng.chance(4)) b.annotations.push_back("deterministic");
    if (b.rng.chance(2)) b.annotations.push_back("trusted");
  }
  if (b.rng.chance(15)) b.let_statement();
  const int count = b.rng.between(1, 4);
  for (int i = 0; i < count; ++i) {
    const int kind = b.rng.below(100);
    if (kind < 34) b.index_statement();
    else if (kind < 50) b.pattern_statement();
    else if (kind < 70) b.whole_statement();
    else if (kind < 75) b.boolean_statement();
    else if (kind < 80) b.integer_statement();
    else if (kind < 85) b.scan_statement();
    else if (kind < 89) b.topk_statement();
    else if (kind < 93) b.scatter_statement();
    else if (kind < 96) b.inout_statement();
    else b.view_statement();
  }
  return b.finish();
}

}  // namespace quern::fuzz
