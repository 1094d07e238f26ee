// C99 text; the layout of quern_aot_kernel is that of ../object.h. See c_source.h.
#include "runtime/aot/build/c_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace quern::runtime::aot {
namespace {

constexpr const char* kAgreement =
    "typedef struct quern_aot_kernel {\n"
    "  const char* image;\n  uint64_t image_bytes;\n  const void* const* table;\n  uint64_t table_count;\n  void* state;\n"
    "} quern_aot_kernel;\n"
    "QUERN_AOT_API quern_status quern_aot_call(quern_aot_kernel* kernel, int32_t device, const int64_t* sizes, void* const* data,\n"
    "    const int64_t* const* strides, const void* const* scalars, const quern_call* call);\n";

std::string array_of(const std::string& name, const std::string& bytes) {
  std::string text = fmt::format("\nstatic const unsigned char {}[{}] = {{", name, std::max<std::size_t>(1, bytes.size()));
  text.reserve(text.size() + bytes.size() * 4);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (i % 32 == 0) text += '\n';
    text += std::to_string(static_cast<unsigned char>(bytes[i]));
    text += ',';
  }
  return text + (bytes.empty() ? "0};\n" : "\n};\n");
}

std::string definition(const CFunction& f) {
  using Role = cpu::ObjectParameter::Role;
  std::vector<std::string> sizes(f.made.sizes), data(f.made.tensors), strides(f.made.tensors, "NULL"), scalars(f.made.scalars);
  for (std::size_t i = 0; i < f.names.size(); ++i) {
    const cpu::ObjectParameter& p = f.made.parameters[i];
    switch (p.role) {
      case Role::size: sizes[p.position] = f.names[i]; break;
      case Role::data: data[p.position] = "(void*)" + f.names[i]; break;
      case Role::strides: strides[p.position] = f.names[i]; break;
      case Role::value_pointer: scalars[p.position] = f.names[i]; break;
      case Role::value: scalars[p.position] = "&" + f.names[i]; break;
      case Role::call: break;
    }
  }
  const auto list = [](const char* type, const char* name, std::vector<std::string> values) {
    if (values.empty()) values = {"0"};  // C has no arrays without elements
    return fmt::format("  {} {}[{}] = {{{}}};\n", type, name, values.size(), fmt::join(values, ", "));
  };
  std::string head = f.declaration;
  head.pop_back();  // the semicolon
  return fmt::format("\n{} {{\n{}{}{}{}  return quern_aot_call(&{}, {}, quern_sizes, quern_data, quern_strides, quern_scalars, call);\n}}\n", head,
                     list("const int64_t", "quern_sizes", std::move(sizes)), list("void* const", "quern_data", std::move(data)),
                     list("const int64_t* const", "quern_strides", std::move(strides)), list("const void* const", "quern_scalars", std::move(scalars)), f.made.kernel, f.made.device);
}

}  // namespace

std::string c_source(const std::string& name, const std::string& file, const std::vector<cpu::ObjectKernel>& kernels, const std::vector<CFunction>& functions) {
  std::string text = fmt::format("/* Kernels of {}. Any C compiler makes the object; link it with libquern-aot. */\n#include <stddef.h>\n\n#include \"{}.h\"\n\n{}", harmless(file), name, kAgreement);
  for (const cpu::ObjectKernel& k : kernels) {
    text += array_of(k.symbol + "_image", k.image);
    std::vector<std::string> table;
    for (std::size_t i = 0; i < k.table.size(); ++i) {
      table.push_back(fmt::format("{}_data{}", k.symbol, i));
      text += array_of(table.back(), k.table[i].bytes);
    }
    if (table.empty()) table = {"NULL"};
    text += fmt::format("\nstatic const void* const {0}_table[{1}] = {{{2}}};\nstatic quern_aot_kernel {0} = {{(const char*){0}_image, {3}u, {0}_table, {4}u, NULL}};\n", k.symbol,
                        table.size(), fmt::join(table, ", "), k.image.size(), k.table.size());
  }
  for (const CFunction& f : functions) text += definition(f);
  return text;
}

}  // namespace quern::runtime::aot
