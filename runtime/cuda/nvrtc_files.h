// Where NVRTC may be, and which file a search would open, without opening any: so a cached kernel can tell whether the compiler
// that made it is still the one that is here.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace quern::runtime::gpu {

/// In the order in which they are looked for.
inline constexpr const char* kNvrtcNames[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so"};

/// Behind the loader's path: CUDA_HOME, CUDA_PATH, /usr/local/cuda, wheels below CONDA_PREFIX, VIRTUAL_ENV and PYTHONPATH.
std::vector<std::filesystem::path> nvrtc_folders();

/// The files of which `nvrtc()` would open one: one as a rule, several where the loader's cache lists the name more than once, none
/// where there is no NVRTC. Looks at names alone (LD_LIBRARY_PATH, /etc/ld.so.cache, the system's folders, nvrtc_folders()).
std::vector<std::string> nvrtc_files();

std::string environment_text(const char* name);

}  // namespace quern::runtime::gpu
