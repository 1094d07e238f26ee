// Opens libquern_llvm.so. See code_generator.h.
#include "compiler/codegen/cpu/code_generator.h"

#include <dlfcn.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "compiler/build_id.h"

namespace quern::cpu {
namespace {

std::vector<std::string> places() {
  if (const char* named = std::getenv("QUERN_LLVM_LIBRARY"); named && *named) return {named};
  std::vector<std::string> list;
  Dl_info self;
  if (dladdr(reinterpret_cast<const void*>(&code_generator), &self) && self.dli_fname) {
    const std::string file = self.dli_fname;
    if (const std::size_t slash = file.rfind('/'); slash != std::string::npos) list.push_back(file.substr(0, slash + 1) + QUERN_LLVM_LIBRARY_NAME);
  }
  list.push_back(QUERN_LLVM_LIBRARY_NAME);
  return list;
}

const CodeGenerator* open(const std::string& place, std::string* tried) {
  // Never closed: threads of this process may be inside until it ends.
  void* library = dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    const char* why = dlerror();
    tried->append("\n  ").append(why ? why : place.c_str());
    return nullptr;
  }
  const auto get = reinterpret_cast<const CodeGenerator* (*)()>(dlsym(library, kCodeGeneratorSymbol));
  const CodeGenerator* generator = get ? get() : nullptr;
  if (generator && std::strcmp(generator->build, compiler::kBuildId) == 0) return generator;
  tried->append("\n  ").append(place).append(generator ? ": built from other sources than this library" : ": not a code generator of quern");
  dlclose(library);
  return nullptr;
}

}  // namespace

const CodeGenerator* code_generator(std::string* error) {
  static std::atomic<const CodeGenerator*> opened{nullptr};
  if (const CodeGenerator* generator = opened.load(std::memory_order_acquire)) return generator;
  std::string tried;
  for (const std::string& place : places())
    if (const CodeGenerator* generator = open(place, &tried)) {
      opened.store(generator, std::memory_order_release);
      return generator;
    }
  *error = "the CPU code generator, " QUERN_LLVM_LIBRARY_NAME ", could not be opened; looked for:" + tried;
  return nullptr;
}

}  // namespace quern::cpu
