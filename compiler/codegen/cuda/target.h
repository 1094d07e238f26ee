// What a GPU offers, as far as planning and code generation care.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace quern::cuda {

struct Target {
  int sm = 90;                       // compute capability x 10
  bool accelerated = true;           // sm_90a: instructions of this very architecture (wgmma, setmaxnreg)
  int shared_bytes = 227 * 1024;     // of one block at most, dynamic
  int multiprocessors = 132;

  friend bool operator==(const Target&, const Target&) = default;
};

/// "sm_80", "sm_86", "sm_89", "sm_90", "sm_90a"; nullopt for anything else.
std::optional<Target> target_named(std::string_view name);
/// "sm_90a"
std::string name_of(const Target& target);

}  // namespace quern::cuda
