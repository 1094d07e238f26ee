// A kernel's key for people: every field, and whether an entry of the cache has it; where none has, what the nearest one is of.
#pragma once

#include <string>

#include "runtime/device.h"

namespace quern::runtime {

std::string explain_key(Device device, const CompileRequest& request);

}  // namespace quern::runtime
