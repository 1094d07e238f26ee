// What a kernel becomes for a GPU, as text: for inspect and explain. Needs no GPU; PTX, resources and SASS need NVRTC.
#pragma once

#include <string>
#include <vector>

#include "compiler/ir/tile.h"
#include "tools/command/device_call.h"

namespace quern::command {

/// A checked program on its way to a GPU. Throws Failure where this build or machine lacks what is asked for.
class GpuText {
 public:
  GpuText(const ir::Program& program, const DeviceChoice& device, const std::vector<std::string>& off);

  const std::string& target() const { return target_; }  // "sm_90a"
  const tile::Module& tiles() const { return tiles_; }
  /// One of "cuda", "ptx", "resources", "sass".
  std::string text(const std::string& stage) const;

 private:
  ir::Program program_;
  tile::Module tiles_;
  std::string target_;
  std::vector<std::string> off_;
};

}  // namespace quern::command
