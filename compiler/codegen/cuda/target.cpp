// The GPUs that code is generated for.
#include "compiler/codegen/cuda/target.h"

namespace quern::cuda {

std::optional<Target> target_named(std::string_view name) {
  if (name == "sm_80") return Target{80, false, 163 * 1024, 108};
  if (name == "sm_86") return Target{86, false, 99 * 1024, 82};
  if (name == "sm_89") return Target{89, false, 99 * 1024, 128};
  if (name == "sm_90") return Target{90, false, 227 * 1024, 132};
  if (name == "sm_90a") return Target{90, true, 227 * 1024, 132};
  return std::nullopt;
}

std::string name_of(const Target& target) { return "sm_" + std::to_string(target.sm) + (target.accelerated ? "a" : ""); }

}  // namespace quern::cuda
