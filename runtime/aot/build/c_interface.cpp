// Names that C and C++ accept, types of elements, one declaration. See c_interface.h.
#include "runtime/aot/build/c_interface.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <set>
#include <string_view>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/evaluate.h"

namespace quern::runtime::aot {
namespace {

using Type = cpu::ObjectParameter::Type;
using Role = cpu::ObjectParameter::Role;

/// Words of C and C++, and macros of their headers that look like names in a program.
bool is_taken(std::string_view name) {
  static const std::set<std::string_view> words{
      "alignas", "alignof", "and", "and_eq", "asm", "auto", "bitand", "bitor", "bool", "break", "case", "catch", "char", "char8_t", "char16_t", "char32_t",
      "class", "compl", "concept", "const", "consteval", "constexpr", "constinit", "const_cast", "continue", "co_await", "co_return", "co_yield", "decltype",
      "default", "delete", "do", "double", "dynamic_cast", "else", "enum", "explicit", "export", "extern", "false", "float", "for", "friend", "goto", "if",
      "inline", "int", "long", "mutable", "namespace", "new", "noexcept", "not", "not_eq", "nullptr", "operator", "or", "or_eq", "private", "protected",
      "public", "register", "reinterpret_cast", "requires", "restrict", "return", "short", "signed", "sizeof", "static", "static_assert", "static_cast",
      "struct", "switch", "template", "this", "thread_local", "throw", "true", "try", "typedef", "typeid", "typename", "typeof", "union", "unsigned", "using",
      "virtual", "void", "volatile", "wchar_t", "while", "xor", "xor_eq", "main", "errno", "assert", "stdin", "stdout", "stderr", "linux", "unix", "NULL",
      "EOF", "NAN", "INFINITY", "I", "complex", "signbit", "isnan", "isinf", "isfinite"};
  return words.contains(name) || name.starts_with("__") || (name.size() > 1 && name[0] == '_' && std::isupper(static_cast<unsigned char>(name[1])));
}

const char* c_type(DType type) {
  static constexpr std::array<const char*, kDTypeCount> names{"double",  "float",   "quern_f16", "quern_bf16", "quern_e4m3", "quern_e5m2",
                                                              "int64_t", "int32_t", "int16_t",   "int8_t",     "uint8_t",    "quern_bool"};
  return names[static_cast<std::size_t>(type)];
}

/// How a number travels.
Type type_of_scalar(DType type) {
  if (type == DType::f64) return Type::f64;
  if (is_float(type)) return Type::f32;
  return type == DType::i64 ? Type::i64 : Type::i32;
}
const char* c_type(Type type) {
  switch (type) {
    case Type::i64: return "int64_t";
    case Type::i32: return "int32_t";
    case Type::f32: return "float";
    case Type::f64: return "double";
    default: return "void*";
  }
}

struct Names {
  // What the bodies of functions call their own (c_source.cpp).
  std::set<std::string> used{"call", "quern_sizes", "quern_data", "quern_strides", "quern_scalars"};
  std::string take(std::string name) {
    while (is_taken(name) || !used.insert(name).second) name += '_';
    return name;
  }
};

std::string shape_text(const ir::Program& program, const ir::Tensor& tensor) {
  std::vector<std::string> sizes;
  for (const ir::Expr e : tensor.shape) sizes.push_back(text_of(program, e));
  return fmt::format("[{}]", fmt::join(sizes, ","));
}

}  // namespace

CFunction c_function(const ir::Program& program, const Binding& binding, const std::string& symbol, const std::string& kernel, std::int32_t device) {
  if (is_taken(symbol))
    throw Error(Code::invalid_argument, fmt::format("error: a C function cannot be called '{}'; give names of yours with --prefix my_", symbol));
  CFunction f;
  f.made.symbol = symbol;
  f.made.kernel = kernel;
  f.made.device = device;
  f.made.sizes = static_cast<std::uint32_t>(program.symbols.size());
  f.made.tensors = static_cast<std::uint32_t>(binding.slots().size());
  f.made.scalars = static_cast<std::uint32_t>(binding.scalars().size());
  Names names;
  names.used.insert({kernel, symbol});
  std::vector<std::string> list, sizes;
  const auto add = [&](Type type, Role role, std::size_t position, const std::string& name) {
    f.made.parameters.push_back({type, role, static_cast<std::uint32_t>(position)});
    f.names.push_back(name);
    return name;
  };
  for (std::size_t s = 0; s < program.symbols.size(); ++s) sizes.push_back("int64_t " + add(Type::i64, Role::size, s, names.take(program.symbols[s].name)));
  if (!sizes.empty()) list.push_back(fmt::format("{}", fmt::join(sizes, ", ")));
  const auto tensor = [&](std::size_t slot) {
    const TensorSlot& s = binding.slots()[slot];
    const ir::Tensor& t = program.tensors[s.tensor];
    const bool read_only = !s.output && !s.result;
    const std::string name = names.take(s.name);
    std::string text = fmt::format("{}{}* {}", read_only ? "const " : "", c_type(t.type), add(Type::pointer, Role::data, slot, name));
    if (!t.shape.empty()) text += fmt::format(", const int64_t* {} /* of {} */", add(Type::pointer, Role::strides, slot, names.take(name + "_strides")), shape_text(program, t));
    list.push_back(std::move(text));
  };
  // As the signature lists them: tensors and numbers, then outputs.
  for (const std::string& name : program.parameter_order) {
    for (std::size_t slot = 0; slot < binding.inputs(); ++slot)
      if (binding.slots()[slot].name == name) tensor(slot);
    for (std::size_t i = 0; i < binding.scalars().size(); ++i) {
      const ir::Scalar& scalar = program.scalars[binding.scalars()[i].scalar];
      if (scalar.name != name) continue;
      const Type type = type_of_scalar(scalar.type);
      const bool has_default = static_cast<bool>(scalar.default_value);
      const std::string own = add(has_default ? Type::pointer : type, has_default ? Role::value_pointer : Role::value, i, names.take(name));
      list.push_back(has_default ? fmt::format("const {}* {} /* NULL: its default */", c_type(type), own) : fmt::format("{} {}", c_type(type), own));
    }
  }
  for (std::size_t slot = binding.inputs(); slot < binding.slots().size(); ++slot) tensor(slot);
  list.push_back("const quern_call* " + add(Type::pointer, Role::call, 0, "call"));
  f.declaration = fmt::format("quern_status {}({});", symbol, fmt::join(list, ",\n    "));
  return f;
}

std::string harmless(std::string text) {
  std::replace(text.begin(), text.end(), '\\', '/');
  for (std::size_t at = 0; (at = text.find("*/", at)) != std::string::npos;) text.replace(at, 2, "* /");
  return text;
}

std::string c_header(const std::string& name, const std::string& file, const std::vector<HeaderEntry>& entries) {
  std::string guard = "QUERN_KERNELS_";
  for (const char c : name) guard += std::isalnum(static_cast<unsigned char>(c)) ? static_cast<char>(std::toupper(static_cast<unsigned char>(c))) : '_';
  std::string text = fmt::format("/* Kernels of {}, made by quern {}.{}.{}. <quern/aot.h> says how they are called. */\n#ifndef {}_H\n#define {}_H\n\n#include <quern/aot.h>\n\n"
                                 "#ifdef __cplusplus\nextern \"C\" {{\n#endif\n",
                                 harmless(file), QUERN_VERSION_MAJOR, QUERN_VERSION_MINOR, QUERN_VERSION_PATCH, guard, guard);
  for (const HeaderEntry& e : entries) text += fmt::format("\n/* {} */\n{}\n", harmless(e.comment), e.declaration);
  return text + "\n#ifdef __cplusplus\n}\n#endif\n\n#endif\n";
}

}  // namespace quern::runtime::aot
