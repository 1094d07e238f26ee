// NVRTC whose machine code is the text itself, and whose report knows the kernels by name. A text with "#error" does not
// compile; the emulator's compiler finds the rest when the code is loaded.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/cuda_runtime/driver/entries.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

struct _nvrtcProgram {
  std::string text, log;
};

namespace {
int give(const std::string& from, char* to) {
  std::memcpy(to, from.c_str(), from.size() + 1);
  return 0;
}
}  // namespace

EXPORT int nvrtcVersion(int* major, int* minor) {
  *major = 13;
  const char* named = std::getenv("QUERN_EMULATED_NVRTC_MINOR");  // for tests of another version
  *minor = named ? std::atoi(named) : 0;
  return 0;
}
EXPORT const char* nvrtcGetErrorString(int) { return "emulated failure"; }
EXPORT int nvrtcGetNumSupportedArchs(int* count) {
  *count = 2;
  return 0;
}
EXPORT int nvrtcGetSupportedArchs(int* list) {
  list[0] = 80;
  list[1] = 90;
  return 0;
}
EXPORT int nvrtcCreateProgram(_nvrtcProgram** program, const char* text, const char*, int, const char* const*, const char* const*) {
  *program = new _nvrtcProgram{text, ""};
  return 0;
}
EXPORT int nvrtcCompileProgram(_nvrtcProgram* p, int, const char* const*) {
  if (const std::size_t at = p->text.find("#error"); at != std::string::npos) {
    p->log = "kernel.cu(1): error: #error";
    return 6;
  }
  for (const std::string& name : quern_test::entries_of(p->text))
    p->log += "ptxas info    : Compiling entry function '" + name + "' for 'sm_90a'\nptxas info    : Used 32 registers, used 1 barriers\n";
  return 0;
}
EXPORT int nvrtcDestroyProgram(_nvrtcProgram** p) {
  delete *p;
  *p = nullptr;
  return 0;
}
EXPORT int nvrtcGetProgramLogSize(_nvrtcProgram* p, std::size_t* bytes) { return *bytes = p->log.size() + 1, 0; }
EXPORT int nvrtcGetProgramLog(_nvrtcProgram* p, char* to) { return give(p->log, to); }
EXPORT int nvrtcGetCUBINSize(_nvrtcProgram* p, std::size_t* bytes) { return *bytes = p->text.size() + 1, 0; }
EXPORT int nvrtcGetCUBIN(_nvrtcProgram* p, char* to) { return give(p->text, to); }
EXPORT int nvrtcGetPTXSize(_nvrtcProgram* p, std::size_t* bytes) { return *bytes = p->text.size() + 1, 0; }
EXPORT int nvrtcGetPTX(_nvrtcProgram* p, char* to) { return give(p->text, to); }
