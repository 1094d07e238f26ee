// CPU descriptions: the host as LLVM detects it, and three named levels for comparison and tests.
#include "compiler/codegen/cpu/target.h"

#include <llvm/ADT/StringMap.h>
#include <llvm/TargetParser/Host.h>

#include <algorithm>
#include <vector>

namespace quern::cpu {

namespace {

void fill_level(Target& t) {
  t.name = t.avx512 ? "avx512" : t.avx2 ? "avx2" : "baseline";
  t.vector_bytes = t.avx512 ? 64 : t.avx2 ? 32 : 16;
  t.registers = t.avx512 ? 32 : 16;
}

}  // namespace

Target host_target() {
  Target t;
  t.cpu = llvm::sys::getHostCPUName().str();
#if LLVM_VERSION_MAJOR >= 19
  const llvm::StringMap<bool> found = llvm::sys::getHostCPUFeatures();
#endif
  std::vector<std::string> list;
  for (const auto& entry : found) list.push_back((entry.second ? "+" : "-") + entry.first().str());
  std::sort(list.begin(), list.end());
  for (const std::string& f : list) t.features += (t.features.empty() ? "" : ",") + f;
  auto has = [&](const char* name) { return found.lookup(name); };
  t.fma = has("fma");
  t.f16c = has("f16c");
  t.avx2 = has("avx2") && t.fma && t.f16c;
  t.avx512 = t.avx2 && has("avx512f") && has("avx512bw") && has("avx512dq") && has("avx512vl");
  t.avx512_bf16 = t.avx512 && has("avx512bf16");
  fill_level(t);
  return t;
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
  const Target host = host_target();
  if (target.cpu == host.cpu && target.features == host.features) return true;
  return (!target.avx512 || host.avx512) && (!target.avx2 || host.avx2) && (!target.avx512_bf16 || host.avx512_bf16);
}

}  // namespace quern::cpu
