// Whether the back ends give what the program means. In: a program text, one case of it. Out: a verdict with the first
// thing that is wrong. The one idea: one judge for examples and for random programs: interpreter against device within the
// interpreter's bound, two runs over different poison bit for bit, guard pages around every argument.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <quern/kernel.h>

#include "runtime/device.h"
#include "tools/fuzz/case.h"

namespace quern::fuzz {

enum class Outcome {
  agree,
  invalid,    // the program does not check, or does not print and check again as the same
  refused,    // the interpreter or the call refused it (sizes, memory)
  wrong,      // an element outside its bound
  unstable,   // two runs differ in bits, or an element was left unwritten
  fault,      // an error where there should be none
  crash,      // the process died (set by the driver)
  hang,
};
const char* name(Outcome outcome);

struct JudgeOptions {
  Device device = Device::cpu;           // interpreter: that alone, nothing is compared
  std::string target;                    // of the device, as Options::target
  std::uint64_t data_seed = 1;
  std::vector<std::string> without;      // passes switched off
  int threads = 2;
  /// A device of the tests instead of the library's: what it compiles is called as Kernel would call it. `poison` tells the
  /// two runs of a program apart.
  std::function<std::shared_ptr<const runtime::Executable>(const runtime::CompileRequest& request, unsigned char poison)> compile;
};

struct Verdict {
  Outcome outcome = Outcome::agree;
  std::string message;
  std::int64_t checked = 0, undecided = 0;  // output elements; those whose bound accepts anything
  double max_ratio = 0;                     // largest error in units of its bound
};

Verdict judge(const std::string& text, const Case& which, const JudgeOptions& options = {});

}  // namespace quern::fuzz
