// Products of warp groups: d (64 x N, f32) += a b, all steps of the summed index of one block in one inline statement. A
// statement a step would have the compiler carry every sum through each of them, which took a third of its time.
#include "compiler/codegen/cuda/prelude_hopper.h"

#include <fmt/format.h>

namespace quern::cuda {
namespace {

/// How an operand lies, as part of a name.
std::string place(const GroupOperand& o) { return o.in_registers ? "own" : o.transposed ? "transposed" : fmt::format("{}rows", o.rows); }

/// 16-byte units from the start of an operand tile to step `step` (prelude_hopper.cpp); two bytes an element or one, a step has 32 bytes.
std::int64_t units(const GroupOperand& o, int step) { return o.transposed ? step * 128 : step / 4 * (o.rows * 8) + step % 4 * 2; }

std::string product(const GroupProduct& p) {
  const int n = p.columns / 2, factors = p.left.in_registers ? 4 * p.steps : 1;
  std::string d, sums;
  for (int i = 0; i < n; ++i) {
    d += fmt::format("{}%{}", i ? ", " : "", i);
    sums += fmt::format("{}\"+f\"(d[{}][{}])", i ? ", " : "", i / 4, i % 4);
  }
  std::string given = p.left.in_registers ? "" : "\"l\"(a)";
  for (int i = 0; p.left.in_registers && i < factors; ++i) given += fmt::format("{}\"r\"(a[{}][{}])", i ? ", " : "", i / 4, i % 4);
  const bool bytes = p.left_type[0] == 'e';
  std::string steps = p.left.in_registers ? "" : fmt::format("mov.b64 {{al, ah}}, %{};\\n", n);
  std::string emulated;
  for (int step = 0; step < p.steps; ++step) {
    std::string left;
    if (p.left.in_registers) left = fmt::format("{{%{}, %{}, %{}, %{}}}", n + 4 * step, n + 4 * step + 1, n + 4 * step + 2, n + 4 * step + 3);
    else left = "a";
    steps += "\"\n               \" ";
    // The upper half of a's name is the same in all steps; 32 bits for both would take more moves than they save.
    if (!p.left.in_registers) steps += fmt::format("add.s32 w, al, {}; mov.b64 a, {{w, ah}}; ", units(p.left, step));
    steps += fmt::format("add.s64 b, %{}, {};", n + factors, units(p.right, step));
    steps += fmt::format("\\n wgmma.mma_async.sync.aligned.m64n{}k{}.f32.{}.{} {{{}}}, {}, b, {}, 1, 1", p.columns, bytes ? 32 : 16, p.left_type, p.right_type, d, left, step == 0 ? "p" : "q");
    if (!bytes) steps += fmt::format("{}, {}", p.left.in_registers ? "" : fmt::format(", {}", int{p.left.transposed}), int{p.right.transposed});
    steps += ";\\n";
    std::string forms;
    if (!bytes) forms = p.left.in_registers ? fmt::format("<{}>", int{p.right.transposed}) : fmt::format("<{}, {}>", int{p.left.transposed}, int{p.right.transposed});
    emulated += fmt::format("  quern_wgmma_{}{}(d, {}, b + {}, {});\n", bytes ? p.left_type + "_" + p.right_type : p.left_type, forms,
                            p.left.in_registers ? fmt::format("a[{}]", step) : fmt::format("a + {}", units(p.left, step)), units(p.right, step), step == 0 ? "add" : "1");
  }
  return fmt::format(R"({form}__device__ __forceinline__ void {name}(float (&d)[{tiles}][4], {a}, unsigned long long b, int add) {{
#ifdef QUERN_EMULATED
{emulated}#else
  asm volatile("{{.reg .pred p, q; .reg .b32 w, al, ah; .reg .b64 a, b;\n setp.ne.b32 p, %{last}, 0; setp.eq.b32 q, 0, 0;\n {steps}}}"
               : {sums}
               : {given}, "l"(b), "r"(add));
#endif
}}
)",
                     fmt::arg("name", p.name()), fmt::arg("tiles", p.columns / 8),
                     fmt::arg("a", p.left.in_registers ? "const unsigned (&a)[S][4]" : "unsigned long long a"), fmt::arg("form", p.left.in_registers ? "template <int S> " : ""), fmt::arg("emulated", emulated),
                     fmt::arg("last", n + factors + 1), fmt::arg("steps", steps), fmt::arg("sums", sums), fmt::arg("given", given));
}

}  // namespace

std::string GroupProduct::name() const {
  return fmt::format("quern_products_{}_{}_{}x{}_{}_{}", left_type, right_type, columns, steps, place(left), place(right));
}

std::string group_products(const std::set<GroupProduct>& products) {
  std::string text;
  for (const GroupProduct& p : products) text += product(p);
  return text;
}

}  // namespace quern::cuda
