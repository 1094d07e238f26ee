// The device functions that generated text calls, in the order in which they need each other.
#include "compiler/codegen/cuda/prelude.h"

#include "compiler/codegen/cuda/elementwise.h"

namespace quern::cuda {

std::string prelude(std::string_view kernels) {
  std::string text(device::types());
  // The emulator of the tests has bodies of its own for single instructions.
  text += "#ifndef QUERN_EMULATED\n";
  text += device::instructions();
  text += "#endif\n";
  for (auto part : {device::conversions, device::integers, device::real_functions, device::threads}) text += part();
  if (kernels.find("atomic_") != std::string_view::npos) text += device::atomics();
  return text;
}

}  // namespace quern::cuda
