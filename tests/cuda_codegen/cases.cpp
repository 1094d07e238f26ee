#include "tests/cuda_codegen/cases.h"

#include <fmt/format.h>

#include "compiler/codegen/cuda/elementwise.h"

namespace quern::cuda::test {

namespace {

using ir::Op;
using ir::TypeRule;

std::vector<DType> computed_in(Op op) {
  const std::vector<DType> reals = {DType::f64, DType::f32};
  const std::vector<DType> integers = {DType::i64, DType::i32, DType::i16, DType::i8, DType::u8};
  auto both = reals;
  both.insert(both.end(), integers.begin(), integers.end());
  switch (ir::info(op).rule) {
    case TypeRule::Real:
    case TypeRule::Test: return reals;
    case TypeRule::Integer: return integers;
    case TypeRule::Logic: return {DType::boolean};
    case TypeRule::Same:
      if (op == Op::min || op == Op::max) both.push_back(DType::boolean);
      return both;
    default: both.push_back(DType::boolean); return both;  // Compare, Choose
  }
}

std::vector<Case> all() {
  std::vector<Case> out;
  const std::string names[] = {"a", "b", "c"};
  for (int k = static_cast<int>(Op::neg); k <= static_cast<int>(Op::where); ++k) {
    const Op op = static_cast<Op>(k);
    const ir::OperatorInfo& row = ir::info(op);
    for (DType type : computed_in(op)) {
      Case c;
      c.op = op;
      c.from = type;
      c.to = row.rule == TypeRule::Compare || row.rule == TypeRule::Logic || row.rule == TypeRule::Test ? DType::boolean : type;
      c.operands.assign(static_cast<std::size_t>(row.arity), type);
      if (op == Op::where) c.operands[0] = DType::boolean;
      c.name = "op_" + std::string(ir::name(op)) + "_" + std::string(name(type));
      c.value = apply_text(op, type, c.to, std::span(names, c.operands.size()));
      if (const SmallForm* small = small_form(op); small && type == DType::f32) {
        Case by_size = c;
        by_size.name = "small_" + c.name;
        by_size.value = fmt::format("(fabsf(a) > {} ? {} : {}(a))", literal_real(small->limit, DType::f32), c.value, small->name);
        out.push_back(by_size);
      }
      out.push_back(c);
      if (row.rule != TypeRule::Integer) continue;
      for (std::int64_t divisor : {1, 2, 8, 12, 128, -4}) {
        const std::string constant[] = {"a", literal_integer(divisor, type)};
        Case by = c;
        by.operands.resize(1);
        by.second = wrapped_to(type, divisor);
        by.name += divisor < 0 ? "_by_minus_4" : "_by_" + std::to_string(divisor);
        by.value = apply_text(op, type, type, constant);
        out.push_back(by);
      }
    }
  }
  for (int from = 0; from < kDTypeCount; ++from) {
    for (int to = 0; to < kDTypeCount; ++to) {
      Case c;
      c.is_cast = true;
      c.from = static_cast<DType>(from);
      c.to = static_cast<DType>(to);
      c.operands = {c.from};
      c.name = "cast_" + std::string(name(c.from)) + "_" + std::string(name(c.to));
      c.value = cast_text(c.from, c.to, "a");
      out.push_back(c);
    }
  }
  return out;
}

}  // namespace

const std::vector<Case>& cases() {
  static const std::vector<Case> list = all();
  return list;
}

std::string parameters(const Case& c) {
  const char* arrays[] = {"x", "y", "z"};
  std::string text;
  for (std::size_t k = 0; k < c.operands.size(); ++k) text += "const " + stored_type(c.operands[k]) + "* " + arrays[k] + ", ";
  return text + stored_type(c.to) + "* out";
}

std::string body(const Case& c) {
  const char* names[] = {"a", "b", "c"};
  const char* arrays[] = {"x[i]", "y[i]", "z[i]"};
  std::string text;
  for (std::size_t k = 0; k < c.operands.size(); ++k) {
    const DType type = c.operands[k];
    text += "  const " + value_type(type) + " " + names[k] + " = " + from_stored(type, arrays[k]) + ";\n";
  }
  return text + "  out[i] = " + to_stored(c.to, c.value) + ";\n";
}

}  // namespace quern::cuda::test
