// Choices that were measured (`quern tune`): which passes a kernel does better without, on this device. They are kept apart from code,
// in "tuned" below the cache folder, under what the program and the device are and nothing of who compiles: code comes and goes with
// compilers, and a choice is never measured again behind the user's back, so results stay what they were.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include <quern/kernel.h>

#include "runtime/device.h"
#include "runtime/disk/process_store.h"

namespace quern::runtime {

struct Choice {
  std::vector<std::string> off;       // passes that may be switched off; empty: it is best as it is
  double seconds = 0, as_it_is = 0;   // of a call, with the choice and without
  std::string measured;               // when and with which sizes, for people
};

/// Passes that a choice may switch off on a device.
std::vector<std::string> passes_to_choose(Device device);

/// What was chosen for such a request, where it does not itself say which passes are off. A choice that this library does not
/// understand is none.
std::optional<Choice> choice_for(Device device, const CompileRequest& request, const disk::ProcessStore& process = disk::process_store());
/// False: not kept. A choice of nothing is removed.
bool keep_choice(Device device, const CompileRequest& request, const Choice& choice, const disk::ProcessStore& process);

/// `request` as it is compiled: with the options of a choice, put into `options`, if there is one.
CompileRequest as_chosen(Device device, const CompileRequest& request, Options& options);

}  // namespace quern::runtime
