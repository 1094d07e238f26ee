// Random whole-tensor statements: broadcasting with None, slices, transposes, axis= reductions and maps, products, einsum,
// constructors, gathers by tensors. An expression is grown for a shape that is known, so it always fits.
#include <algorithm>

#include "tools/fuzz/builder.h"

namespace quern::fuzz {

namespace {

std::int64_t count(const Shape& s) {
  std::int64_t n = 1;
  for (const Size& e : s) n *= e.value;
  return n;
}

Shape without(Shape s, std::size_t axis) {
  s.erase(s.begin() + static_cast<std::ptrdiff_t>(axis));
  return s;
}
Shape inserted(Shape s, std::size_t axis, Size e) {
  s.insert(s.begin() + static_cast<std::ptrdiff_t>(axis), std::move(e));
  return s;
}

/// "[:, None, :]" with None at `axis`.
std::string stretched(std::size_t rank, std::size_t axis) {
  std::string out = "[";
  for (std::size_t i = 0; i < rank; ++i) out += std::string(i ? ", " : "") + (i == axis ? "None" : ":");
  return out + ']';
}

std::string axis_number(Rng& rng, std::size_t axis, std::size_t rank) {
  return std::to_string(rng.chance(40) ? static_cast<int>(axis) - static_cast<int>(rank) : static_cast<int>(axis));
}

}  // namespace

std::string Builder::whole_boolean(const Shape& shape, int depth) {
  if (shape.empty()) return '(' + scalar_parameter() + rng.pick({" > ", " < "}) + "0.25)";
  if (depth <= 0 || rng.chance(25)) {
    TensorInfo& t = parameter(DType::boolean, shape);
    t.used = true;
    return t.name;
  }
  if (shape.size() == 2 && rng.chance(25)) return "(arange(" + shape[1].text + ") <= arange(" + shape[0].text + ")[:, None])";
  if (rng.chance(20)) return "(not " + whole_boolean(shape, 0) + ')';
  if (rng.chance(30)) return '(' + whole_boolean(shape, depth - 1) + rng.pick({" and ", " or "}) + whole_boolean(shape, 0) + ')';
  return '(' + whole(shape, depth - 1) + rng.pick({" > ", " < ", " >= ", " <= "}) + whole(shape, depth - 1) + ')';
}

std::string Builder::whole(const Shape& shape, int depth) {
  const std::size_t rank = shape.size();
  const auto leaf = [&]() -> std::string {
    if (rng.chance(40))
      for (TensorInfo& t : tensors)
        if (is_float(t.type) && t.shape == shape && rng.chance(60)) {
          t.used = true;
          return t.name;
        }
    if (rank == 0) return rng.chance(50) ? scalar_parameter() : rng.pick({"2.0", "-1.0", "1.0"});
    TensorInfo& t = parameter(float_type(), shape);
    t.used = true;
    return t.name;
  };
  if (depth <= 0 || count(shape) > 4000) return leaf();
  const auto sub = [&] { return whole(shape, depth - 1); };
  const int kind = rng.below(100);
  const std::size_t axis = rank ? static_cast<std::size_t>(rng.below(static_cast<std::int64_t>(rank))) : 0;
  const std::int64_t room = 8000 / std::max<std::int64_t>(1, count(shape));

  if (kind < 12) {
    if (options.exact) return rng.pick({"abs(", "-(", "maximum(1.0, ", "relu("}) + sub() + ')';
    return rng.pick({"exp(-abs(", "tanh((", "sigmoid((", "sqrt(abs(", "silu((", "gelu((", "log1p(abs(", "cos((", "erf((", "abs(("}) + sub() + "))";
  }
  if (kind < 26) {
    if (options.exact) return '(' + sub() + rng.pick({" + ", " - "}) + sub() + ')';
    return '(' + sub() + rng.pick({" + ", " - ", " * "}) + sub() + ')';
  }
  if (kind < 32) return std::string(rng.pick({"maximum(", "minimum("})) + sub() + ", " + sub() + ')';
  if (kind < 40 && rank >= 1) {  // broadcasting: an axis less, or one put in with None
    if (rng.chance(40)) return '(' + sub() + rng.pick({" * ", " + ", " - "}) + whole(Shape(shape.begin() + 1, shape.end()), depth - 1) + ')';
    if (rank >= 2) {
      TensorInfo& t = parameter(float_type(), without(shape, axis));
      t.used = true;
      return '(' + sub() + rng.pick({" * ", " + "}) + t.name + stretched(rank, axis) + ')';
    }
    return '(' + sub() + " * " + whole({}, depth - 1) + ')';
  }
  if (kind < 47) return "where(" + whole_boolean(shape, depth - 1) + ", " + sub() + ", " + rng.pick({"0.0", "-1.0"}) + ')';
  if (kind < 55 && room >= 1) {  // a reduction over an axis more
    const std::size_t at = static_cast<std::size_t>(rng.below(static_cast<std::int64_t>(rank) + 1));
    const std::string inner = whole(inserted(shape, at, some_size(room)), depth - 1);
    if (rank == 0 && rng.chance(50)) return std::string(options.exact ? rng.pick({"sum(", "max("}) : rng.pick({"sum(", "max(", "mean(", "norm("})) + inner + ')';
    return std::string(options.exact ? rng.pick({"sum(", "max(", "min("}) : rng.pick({"sum(", "max(", "min(", "mean(", "var(", "std(", "prod(", "logsumexp(", "norm("})) + inner +
           ", axis=" + axis_number(rng, at, rank + 1) + ')';
  }
  if (kind < 60 && rank >= 1) {  // keepdims
    const TensorInfo& t = parameter(float_type(), shape);
    const_cast<TensorInfo&>(t).used = true;
    return '(' + t.name + " - " + (options.exact ? "max(" : rng.pick({"mean(", "max(", "logsumexp("})) + t.name + ", axis=" + axis_number(rng, axis, rank) + ", keepdims=true))";
  }
  if (kind < 67 && rank >= 1 && !options.exact)
    return std::string(rng.pick({"softmax(", "log_softmax(", "cumsum(", "cumprod(", "cummax(", "cummin(", "sort("})) + sub() + ", axis=" + axis_number(rng, axis, rank) + ')';
  if (kind < 71 && rank == 2) return '(' + whole({shape[1], shape[0]}, depth - 1) + ").T";
  if (kind < 77 && rank == 2 && room >= 1) {
    const Size k = some_size(std::min<std::int64_t>(room, 40));
    return '(' + whole({shape[0], k}, std::min(depth - 1, 1)) + " @ " + whole({k, shape[1]}, options.exact ? 0 : std::min(depth - 1, 1)) + ')';
  }
  if (kind < 84 && room >= 1) {  // einsum: the letters of the result, and summed ones, dealt out to the operands
    std::vector<std::pair<char, Size>> letters;
    std::string out;
    for (std::size_t i = 0; i < rank; ++i) letters.emplace_back(static_cast<char>('a' + i), shape[i]), out += static_cast<char>('a' + i);
    std::int64_t left = room;
    for (int i = rng.between(0, 2); i > 0; --i) {
      const Size e = some_size(left);
      left /= std::max<std::int64_t>(1, e.value);
      letters.emplace_back(static_cast<char>('a' + letters.size()), e);
    }
    const int operands = options.exact ? 2 : rng.between(1, 3);
    std::vector<std::string> specs(static_cast<std::size_t>(operands));
    std::vector<Shape> shapes(specs.size());
    for (const auto& [letter, size] : letters) {
      const std::size_t home = static_cast<std::size_t>(rng.below(operands));
      for (std::size_t o = 0; o < specs.size(); ++o)
        if (o == home || rng.chance(40)) {
          const std::size_t at = static_cast<std::size_t>(rng.below(static_cast<std::int64_t>(specs[o].size()) + 1));
          specs[o].insert(at, 1, letter);
          shapes[o].insert(shapes[o].begin() + static_cast<std::ptrdiff_t>(at), size);
          if (specs[o].size() < 4 && size.value < 20 && rng.chance(4)) specs[o].push_back(letter), shapes[o].push_back(size);  // a diagonal
        }
    }
    std::string spec, arguments;
    for (std::size_t o = 0; o < specs.size(); ++o) {
      spec += (o ? "," : "") + specs[o];
      if (specs[o].empty()) arguments += ", " + scalar_parameter();
      else if (!options.exact && rng.chance(20) && count(shapes[o]) < 2000) arguments += ", " + whole(shapes[o], depth - 1);
      else {
        TensorInfo& t = parameter(float_type(), shapes[o]);
        t.used = true;
        arguments += ", " + t.name;
      }
    }
    return "einsum(\"" + spec + "->" + out + '"' + arguments + ')';
  }
  if (kind < 90 && rank >= 1) {  // a slice of something longer
    const std::int64_t c = rng.between(1, 3);
    const std::string ct = std::to_string(c);
    Shape longer = shape;
    std::string slice;
    switch (rng.below(4)) {
      case 0: longer[axis] = {shape[axis].text + '+' + ct, shape[axis].value + c}; slice = ct + ':'; break;
      case 1: longer[axis] = {shape[axis].text + '+' + ct, shape[axis].value + c}; slice = ":-" + ct; break;
      case 2: longer[axis] = {shape[axis].text + "+2", shape[axis].value + 2}; slice = "1:-1"; break;
      default: longer[axis] = {"2*" + shape[axis].text, 2 * shape[axis].value}; slice = "::2"; break;
    }
    TensorInfo& t = parameter(float_type(), longer);
    t.used = true;
    std::string text = t.name + '[';
    if (axis + 1 == rank && rng.chance(40)) text += "..., ";
    else
      for (std::size_t i = 0; i < axis; ++i) text += ":, ";
    return text + slice + ']';
  }
  if (kind < 94 && rank >= 1 && rank <= 3) {  // rows by number
    const Size rows = some_size(50);
    if (rows.value == 0) return leaf();
    TensorInfo& ids = parameter(rng.pick({DType::i32, DType::i64}), {shape[0]});
    ids.fact = rows;
    TensorInfo& t = parameter(float_type(), inserted(without(shape, 0), 0, rows));
    ids.used = t.used = true;
    return rng.chance(60) ? t.name + '[' + ids.name + ']' : "take(" + t.name + ", " + ids.name + ", axis=0)";
  }
  switch (rng.below(8)) {
    case 0:
      if (rank == 1) return "(0.5 * arange(" + shape[0].text + "))";
      break;
    case 1: {
      std::string s;
      for (const Size& e : shape) s += (s.empty() ? "" : ", ") + e.text;
      if (rank >= 1) return std::string(rng.pick({"zeros([", "ones(["})) + s + "])";
      break;
    }
    case 2:
      if (rank == 2) return std::string(rng.pick({"triu(", "tril("})) + sub() + ')';
      break;
    case 3:
      if (rank == 2) {
        TensorInfo& a = parameter(float_type(), {shape[0]});
        TensorInfo& b = parameter(float_type(), {shape[1]});
        a.used = b.used = true;
        return "outer(" + a.name + ", " + b.name + ')';
      }
      break;
    case 4:
      if (rank == 1) {
        TensorInfo& t = parameter(float_type(), {shape[0], shape[0]});
        t.used = true;
        return "diagonal(" + t.name + ')';
      }
      break;
    case 5:
      if (rank == 2 && shape[1].value > 0) {
        TensorInfo& ids = parameter(DType::i32, {shape[0]});
        ids.fact = shape[1];
        ids.used = true;
        return "one_hot(" + ids.name + ", " + shape[1].text + ')';
      }
      break;
    case 6:
      if (rank >= 1) {
        // A new axis of as many parts as a literal size has.
        std::vector<std::size_t> axes;
        for (std::size_t n = 0; n < shape.size(); ++n)
          if (shape[n].text == std::to_string(shape[n].value) && shape[n].value >= 1 && shape[n].value <= 4) axes.push_back(n);
        if (axes.empty()) break;
        const std::size_t axis = rng.pick(axes);
        const Shape part = without(shape, axis);
        std::string parts;
        for (std::int64_t n = 0; n < shape[axis].value; ++n) {
          if (n > 0 && rng.chance(40)) {
            parts += ", " + whole(part, depth - 1);
          } else {
            TensorInfo& a = parameter(float_type(), part);
            a.used = true;
            parts += (n ? ", " : "") + a.name;
          }
        }
        return "stack([" + parts + "], axis=" + std::to_string(axis) + ')';
      }
      break;
    default:
      if (rank == 0) {
        const Size n = some_size(20);
        TensorInfo& t = parameter(float_type(), {n, n});
        t.used = true;
        return "trace(" + t.name + ')';
      }
  }
  return leaf();
}

void Builder::whole_statement() {
  Shape shape;
  for (int rank = rng.pick({0, 1, 1, 2, 2, 2, 3}); rank > 0; --rank) shape.push_back(some_size(4000 / std::max<std::int64_t>(1, count(shape))));
  const int kind = rng.below(100);
  if (kind < 8 && !shape.empty()) {
    const Size k = literal_size(rng.between(1, 3));
    std::string x = whole(shape, 1);
    if (x.starts_with("one_hot(")) x.insert(0, "f32(") += ')';  // whole numbers, and the values are declared as floats
    Shape out = shape;
    out.back() = k;
    const std::string v = temporary(DType::f32, out).name;
    const std::string i = temporary(DType::i32, out).name;
    return say(v + ", " + i + " = topk(" + x + ", " + k.text + ", axis=-1)");
  }
  if (kind < 14 && !shape.empty()) {
    const std::string body = whole_boolean(shape, 2);
    return say(temporary(DType::boolean, shape).name + " = " + body);
  }
  if (kind < 20 && !shape.empty()) {
    const std::size_t axis = static_cast<std::size_t>(rng.below(static_cast<std::int64_t>(shape.size())));
    const std::string body = whole(shape, 1);
    const std::string at = axis_number(rng, axis, shape.size());
    if (rng.chance(70)) return say(temporary(DType::i32, without(shape, axis)).name + rng.pick({" = argmax(", " = argmin("}) + body + ", axis=" + at + ')');
    return say(temporary(DType::i32, shape).name + " = argsort(" + body + ", axis=" + at + ')');
  }
  if (kind < 26 && !shape.empty()) {
    // Two pieces behind one another.
    Shape second = shape;
    second[0] = some_size(20);
    const std::string a = whole(shape, 1), b = whole(second, 1);
    Shape out = shape;
    out[0] = shape[0].text == second[0].text ? Size{"2*" + shape[0].text, 2 * shape[0].value} : Size{shape[0].text + '+' + second[0].text, shape[0].value + second[0].value};
    return say(temporary(DType::f32, out).name + " = concat([" + a + ", " + b + "]" + (rng.chance(50) ? ", axis=0)" : ")"));
  }
  const std::string body = whole(shape, rng.between(1, 3));
  say(temporary(DType::f32, shape).name + " = " + body);
}

}  // namespace quern::fuzz
