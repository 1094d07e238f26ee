// One NVRTC program per module. See compile_nvrtc.h.
#include "runtime/cuda/compile_nvrtc.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>

#include <fmt/format.h>

#include <quern/error.h>

#include "runtime/cuda/nvrtc.h"
#include "runtime/later.h"

namespace quern::runtime::gpu {
namespace {

struct Meaning {
  const char *code, *text;
};
constexpr Meaning kMeanings[] = {
    {"C7504", "setmaxnreg was ignored: registers are not moved from the loading warps to the computing ones"},
    {"C7510", "wgmma was serialised: a function boundary lies inside the pipeline; the call must be inlined"},
    {"C7511", "wgmma was serialised: registers do not suffice"},
    {"C7512", "wgmma was serialised: registers do not suffice for the accumulators in flight"},
    {"C7517", "waits were inserted around wgmma"},
    {"C7519", "fences (arrive) were inserted before wgmma"},
    {"C7520", "wgmma was serialised"},
};

/// The integer that stands right before `unit` in `line`, or 0.
int number_before(const std::string& line, const char* unit) {
  const std::size_t at = line.find(unit);
  if (at == std::string::npos) return 0;
  std::size_t begin = at;
  while (begin > 0 && line[begin - 1] >= '0' && line[begin - 1] <= '9') --begin;
  return begin == at ? 0 : std::atoi(line.c_str() + begin);
}

/// The lines of the text that a log names ("kernel.cu(12): error"), with their numbers.
std::string named_lines(const std::string& text, const std::string& log) {
  std::vector<int> wanted;
  for (std::size_t at = 0; (at = log.find(".cu(", at)) != std::string::npos && wanted.size() < 5; at += 4)
    wanted.push_back(std::atoi(log.c_str() + at + 4));
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  std::istringstream lines(text);
  std::string line, result;
  for (int n = 1; std::getline(lines, line); ++n)
    if (std::binary_search(wanted.begin(), wanted.end(), n)) result += fmt::format("{:5} | {}\n", n, line);
  return result;
}

struct Destroy {
  const Nvrtc* n;
  void operator()(NvrtcProgram p) const { n->nvrtcDestroyProgram(&p); }
};

std::string fetch(NvrtcProgram program, int (*size_of)(NvrtcProgram, std::size_t*), int (*get)(NvrtcProgram, char*)) {
  std::size_t bytes = 0;
  if (size_of(program, &bytes) != 0 || bytes == 0) return {};
  std::string result(bytes, '\0');
  if (get(program, result.data()) != 0) return {};
  return result;
}

void drop_terminator(std::string& s) {
  while (!s.empty() && s.back() == '\0') s.pop_back();
}

constexpr int kNvrtcOutOfMemory = 1, kNvrtcCompilation = 6;

}  // namespace

void NvrtcFile::look() {
  std::error_code wrong;
  const std::filesystem::path file = std::filesystem::canonical(path, wrong);
  const std::uintmax_t size = wrong ? 0 : std::filesystem::file_size(file, wrong);
  bytes = wrong ? -1 : static_cast<std::int64_t>(size);
  name = wrong ? "" : file.filename().string();
}

void read_report(const std::string& log, CompiledText& into) {
  std::istringstream lines(log);
  KernelResources* kernel = nullptr;
  bool of_kernel = false;
  for (std::string line; std::getline(lines, line);) {
    if (const std::size_t at = line.find("Compiling entry function '"); at != std::string::npos) {
      const std::size_t begin = at + 26, end = line.find('\'', begin);
      into.kernels.push_back({});
      kernel = &into.kernels.back();
      kernel->entry = line.substr(begin, end == std::string::npos ? end : end - begin);
    } else if (const std::size_t named = line.find("Function properties for "); named != std::string::npos) {
      of_kernel = kernel && line.substr(named + 24) == kernel->entry;  // else of a function that kernels call
    } else if (kernel && of_kernel && line.find("bytes stack frame") != std::string::npos) {
      kernel->stack_bytes = number_before(line, " bytes stack frame");
      kernel->spill_store_bytes = number_before(line, " bytes spill stores");
      kernel->spill_load_bytes = number_before(line, " bytes spill loads");
    } else if (kernel && line.find(": Used ") != std::string::npos) {
      kernel->registers = number_before(line, " registers");
      kernel->static_shared_bytes = number_before(line, " bytes smem");
    }
    const std::size_t code = line.find("(C75");
    if (code != std::string::npos && code + 6 < line.size()) {
      Remark remark{line.substr(code + 1, 5), line, ""};
      for (const Meaning& m : kMeanings)
        if (remark.code == m.code) remark.meaning = m.text;
      into.remarks.push_back(std::move(remark));
    }
  }
}

CompiledText compile_nvrtc(const std::string& text, const quern::cuda::Target& target) {
  const UnderWay under_way;  // a process that ends waits for NVRTC
  const Nvrtc& n = nvrtc();
  UnderWay::renew();
  const auto start = std::chrono::steady_clock::now();
  std::string architecture = quern::cuda::name_of(target);
  if (!n.architectures.empty() && !std::binary_search(n.architectures.begin(), n.architectures.end(), target.sm)) {
    const int newest = n.architectures.back();
    if (target.sm < newest || target.accelerated)
      throw Error(Code::unsupported, fmt::format("error: NVRTC {}.{} ({}) does not know {}", n.major, n.minor, n.path, architecture));
    architecture = fmt::format("compute_{}", newest);  // the driver translates the rest of the way
  }
  const std::string arch = "-arch=" + architecture;
  const char* const options[] = {arch.c_str(), "-std=c++17", "-default-device", "--ptxas-options=-v"};
  NvrtcProgram raw = nullptr;
  if (const int result = n.nvrtcCreateProgram(&raw, text.c_str(), "kernel.cu", 0, nullptr, nullptr); result != 0)
    throw Error(result == kNvrtcOutOfMemory ? Code::out_of_memory : Code::internal, fmt::format("error: NVRTC: {}", n.nvrtcGetErrorString(result)));
  const std::unique_ptr<_nvrtcProgram, Destroy> program(raw, Destroy{&n});
  if (n.nvrtcSetFlowCallback) n.nvrtcSetFlowCallback(raw, [](void*, void*) { return UnderWay::renew(), 0; }, nullptr);
  const int result = n.nvrtcCompileProgram(raw, static_cast<int>(std::size(options)), options);
  CompiledText compiled;
  compiled.log = fetch(raw, n.nvrtcGetProgramLogSize, n.nvrtcGetProgramLog);
  drop_terminator(compiled.log);
  if (result != 0)
    throw Error(result == kNvrtcOutOfMemory ? Code::out_of_memory : Code::internal,
                fmt::format("error: internal fault: NVRTC {}.{} for {}: {}\n{}{}", n.major, n.minor, architecture, n.nvrtcGetErrorString(result),
                            compiled.log, result == kNvrtcCompilation ? named_lines(text, compiled.log) : ""));
  compiled.cubin = fetch(raw, n.nvrtcGetCUBINSize, n.nvrtcGetCUBIN);
  compiled.ptx = fetch(raw, n.nvrtcGetPTXSize, n.nvrtcGetPTX);
  drop_terminator(compiled.ptx);
  read_report(compiled.log, compiled);
  compiled.made_by = {n.path, "", -1, n.major, n.minor};
  compiled.made_by.look();
  compiled.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return compiled;
}

}  // namespace quern::runtime::gpu
