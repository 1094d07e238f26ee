// CPU descriptions: the host by CPUID, and three named levels for comparison and tests. No LLVM: a process that only loads
// kernels made before must know what processor it is on.
#include "compiler/codegen/cpu/target.h"

#include <cstdint>
#include <cstdio>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace quern::cpu {

namespace {

void fill_level(Target& t) {
  t.name = t.avx512 ? "avx512" : t.avx2 ? "avx2" : "baseline";
  t.vector_bytes = t.avx512 ? 64 : t.avx2 ? 32 : 16;
  t.registers = t.avx512 ? 32 : 16;
}

#if defined(__x86_64__)
/// eax, ebx, ecx, edx of a leaf; zeros where the processor has no such leaf.
struct Leaf {
  unsigned a = 0, b = 0, c = 0, d = 0;
};
Leaf leaf(unsigned number, unsigned part = 0) {
  Leaf l;
  if (!__get_cpuid_count(number, part, &l.a, &l.b, &l.c, &l.d)) return {};
  return l;
}

/// Which register states the operating system saves.
std::uint64_t saved_states(const Leaf& one) {
  if (!(one.c >> 27 & 1)) return 0;
  std::uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

Target detect() {
  Target t;
  t.host = true;
  const Leaf zero = leaf(0), one = leaf(1), seven = leaf(7, 0), more = leaf(7, 1);
  const Leaf save = leaf(0xd, 1), key = leaf(0x19), wide = leaf(0x24), extended = leaf(0x80000001), amd = leaf(0x80000008), amd2 = leaf(0x80000021);
  const std::uint64_t states = saved_states(one);
  char text[400];
  const auto name = [](unsigned word, char* at) {
    for (int i = 0; i < 4; ++i) at[i] = static_cast<char>(word >> 8 * i);
  };
  char vendor[13] = {};
  name(zero.b, vendor), name(zero.d, vendor + 4), name(zero.c, vendor + 8);
  const unsigned family = (one.a >> 8 & 15) + ((one.a >> 8 & 15) == 15 ? one.a >> 20 & 255 : 0);
  const unsigned model = (one.a >> 4 & 15) | (one.a >> 16 & 15) << 4;
  std::snprintf(text, sizeof text, "%s-%u-%u-%u", vendor, family, model, one.a & 15);
  t.cpu = text;
  // All words that say what instructions there are, none that differs between the cores of one machine.
  std::snprintf(text, sizeof text, "1:%08x.%08x 7:%08x.%08x.%08x 7.1:%08x.%08x.%08x.%08x d:%08x 19:%08x 24:%08x x1:%08x.%08x x8:%08x x21:%08x os:%llx", one.c,
                one.d, seven.b, seven.c, seven.d, more.a, more.b, more.c, more.d, save.a, key.b, wide.b, extended.c, extended.d, amd.b, amd2.a,
                static_cast<unsigned long long>(states & 0xe7));
  t.features = text;
  const bool ymm = (states & 6) == 6, zmm = (states & 0xe6) == 0xe6;
  t.fma = ymm && (one.c >> 12 & 1);
  t.f16c = ymm && (one.c >> 29 & 1);
  t.avx2 = ymm && (seven.b >> 5 & 1) && t.fma && t.f16c;
  t.avx512 = t.avx2 && zmm && (seven.b >> 16 & 1) && (seven.b >> 30 & 1) && (seven.b >> 17 & 1) && (seven.b >> 31 & 1);
  t.avx512_bf16 = t.avx512 && (more.a >> 5 & 1);
  fill_level(t);
  return t;
}
#else
Target detect() {
  Target t;
  t.host = true;
  t.cpu = "other";
  fill_level(t);
  return t;
}
#endif

}  // namespace

const Target& host_target() {
  static const Target host = detect();
  return host;
}

Target target_named(const std::string& name) {
  Target t;
  if (name == "avx512") {
    t.cpu = "x86-64-v4";
    t.fma = t.f16c = t.avx2 = t.avx512 = true;
  } else if (name == "avx2") {
    t.cpu = "x86-64-v3";
    t.fma = t.f16c = t.avx2 = true;
  } else if (name == "baseline") {
    t.cpu = "x86-64-v2";
  } else {
    return host_target();
  }
  fill_level(t);
  return t;
}

bool runs_here(const Target& target) {
  const Target& host = host_target();
  if (target.host) return target.cpu == host.cpu && target.features == host.features;
  return (!target.avx512 || host.avx512) && (!target.avx2 || host.avx2) && (!target.avx512_bf16 || host.avx512_bf16);
}

}  // namespace quern::cpu
