// What the scheduler and the code generator know about a CPU: vector width, registers, features. No LLVM here.
#pragma once

#include <string>

namespace quern::cpu {

struct Target {
  std::string cpu;          // LLVM's name: "x86-64-v3", ...; host: vendor, family, model and stepping
  std::string features;     // LLVM's feature string: "+avx2,+fma,..."; host: the words of CPUID that it follows from
  bool host = false;        // this processor: the code generator finds LLVM's names for it
  std::string name;         // short: "avx512", "avx2", "baseline"
  int vector_bytes = 16;    // of one register: 64, 32, 16
  int registers = 16;       // vector registers: 32 with AVX-512, else 16
  bool fma = false;
  bool f16c = false;
  bool avx2 = false;
  bool avx512 = false;      // F, BW, DQ, VL
  bool avx512_bf16 = false;

  int lanes(int element_bytes) const { return vector_bytes / element_bytes; }
};

/// The machine this runs on.
const Target& host_target();
/// A poorer machine: "avx512", "avx2", "baseline" (plain x86-64) or "host". Unknown names give the host.
Target target_named(const std::string& name);
/// Whether code for `target` runs here.
bool runs_here(const Target& target);

}  // namespace quern::cpu
