// Writes C++ for the host that holds the prelude without its PTX and every case of cases.h. Run by the build.
#include <bit>
#include <cstdio>
#include <cstring>
#include <string>

#include "compiler/codegen/cuda/elementwise.h"
#include "compiler/codegen/cuda/prelude.h"
#include "tests/cuda_codegen/cases.h"

using namespace quern;
using namespace quern::cuda;
using namespace quern::cuda::test;

namespace {

std::string literals() {
  std::string text;
  auto row = [&](DType type, const std::string& literal, auto stored) {
    std::uint64_t bits = 0;
    std::memcpy(&bits, &stored, sizeof stored);
    text += "    {" + std::to_string(bits) + "ull, bits_of<" + stored_type(type) + ">(" + literal + ")},\n";
  };
  for (double v : {0.0, -0.0, 1.0, -2.5, 0.1, 1e30, -1e-42, 3.4028234663852886e38, 1.0 / 3, 448.0, 1e-310, 123456789.125, 4096.0, 4095.9990234375}) {
    row(DType::f64, literal_real(v, DType::f64), v);
    row(DType::f32, literal_real(v, DType::f32), static_cast<float>(v));
  }
  for (std::int64_t v : {INT64_MIN, INT64_MIN + 1, INT64_MAX, std::int64_t{INT32_MIN}, std::int64_t{INT32_MAX}, std::int64_t{-1}, std::int64_t{0}, std::int64_t{200}, std::int64_t{-32768}}) {
    row(DType::i64, literal_integer(v, DType::i64), v);
    row(DType::i32, literal_integer(v, DType::i32), static_cast<std::int32_t>(v));
    row(DType::i16, literal_integer(v, DType::i16), static_cast<std::int16_t>(v));
    row(DType::i8, literal_integer(v, DType::i8), static_cast<std::int8_t>(v));
    row(DType::u8, literal_integer(v, DType::u8), static_cast<std::uint8_t>(v));
    row(DType::boolean, literal_integer(v, DType::boolean), static_cast<std::uint8_t>(v != 0));
  }
  return text;
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 2) return 1;
  std::string text = "#include \"tests/cuda_codegen/host/shims.h\"\n#include \"compiler/codegen/cpu/abi.h\"\n"
                     "#include \"tests/cuda_codegen/host/functions.h\"\n#include <cstring>\n\nnamespace {\n\n";
  for (auto part : {device::types, device::conversions, device::integers, device::real_functions, device::threads, device::atomics}) text += part();
  for (const char* field : {"state", "tensor", "axis", "source", "value", "extent", "position", "rank"})
    text += std::string("static_assert(offsetof(quern_status, ") + field + ") == offsetof(quern::cpu::Status, " + field + "));\n";
  text += "static_assert(sizeof(quern_status) == sizeof(quern::cpu::Status));\n\n"
          "template <class Stored, class T> std::uint64_t bits_of(T value) {\n  const Stored stored = value;\n  std::uint64_t bits = 0;\n  std::memcpy(&bits, &stored, sizeof stored);\n  return bits;\n}\n\n";
  std::string rows, atomics;
  for (const Case& c : cases()) {
    const char* arrays[] = {"x", "y", "z"};
    std::string casts;
    for (std::size_t k = 0; k < c.operands.size(); ++k) casts += std::string(", (const ") + stored_type(c.operands[k]) + "*)" + arrays[k];
    text += "void " + c.name + "_at(std::int64_t i, " + parameters(c) + ") {\n" + body(c) + "}\n";
    text += "void " + c.name + "([[maybe_unused]] const void* x, [[maybe_unused]] const void* y, [[maybe_unused]] const void* z, void* out, std::int64_t n) {\n"
            "  for (std::int64_t i = 0; i < n; ++i) " + c.name + "_at(i" + casts + ", (" + stored_type(c.to) + "*)out);\n}\n";
    rows += "    {\"" + c.name + "\", " + c.name + "},\n";
  }
  for (int k = 0; k < kDTypeCount; ++k) {
    const DType type = static_cast<DType>(k);
    const std::string stored = stored_type(type);
    for (ir::Reducer r : {ir::Reducer::sum, ir::Reducer::max, ir::Reducer::min}) {
      const std::string label = std::string(ir::name(r)) + "_" + std::string(name(type));
      text += "void update_" + label + "(void* at, const void* v) {\n  " + atomic_text(r, type, "(" + stored + "*)at", from_stored(type, "*(const " + stored + "*)v")) + ";\n}\n";
      atomics += "    {\"" + label + "\", update_" + label + "},\n";
    }
  }
  text += "\n}  // namespace\n\nnamespace quern::cuda::test {\n\n";
  text += "const HostFunction host_functions[] = {\n" + rows + "};\nconst std::size_t host_function_count = sizeof host_functions / sizeof *host_functions;\n";
  text += "const HostAtomic host_atomics[] = {\n" + atomics + "};\nconst std::size_t host_atomic_count = sizeof host_atomics / sizeof *host_atomics;\n";
  text += "const HostLiteral host_literals[] = {\n" + literals() + "};\nconst std::size_t host_literal_count = sizeof host_literals / sizeof *host_literals;\n";
  text += "\n}  // namespace quern::cuda::test\n";
  std::FILE* file = std::fopen(arguments[1], "w");
  if (!file) return 1;
  const bool whole = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  return std::fclose(file) == 0 && whole ? 0 : 1;
}
