// The same steps as the CUDA device, stopped on the way. See gpu_text.h.
#include "tools/command/gpu_text.h"

#include <fmt/format.h>

#ifdef QUERN_CUDA
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "runtime/cuda/compile_nvrtc.h"
#include "runtime/cuda/device_cuda.h"
#endif

namespace quern::command {

#ifdef QUERN_CUDA
namespace {

runtime::CompileRequest request_of(const ir::Program& program, const Options& options) {
  runtime::CompileRequest request;
  request.program = std::make_shared<const ir::Program>(program);
  request.options = &options;
  request.layouts.assign(runtime::Binding(program).slots().size(), {true, -1});
  return request;
}

Options options_of(const std::string& target, const std::vector<std::string>& off) {
  Options options;
  options.on(Device::cuda).for_target(target);
  options.disabled = off;
  return options;
}

/// A program of the CUDA toolkit: on the path, or below CUDA_HOME or /usr/local/cuda. "" when there is none.
std::string toolkit_program(const std::string& name) {
  namespace fs = std::filesystem;
  std::vector<fs::path> folders;
  const auto variable = [](const char* v) { return std::string(std::getenv(v) ? std::getenv(v) : ""); };
  const std::string path = variable("PATH");
  for (std::size_t at = 0; at < path.size();) {
    const std::size_t end = std::min(path.find(':', at), path.size());
    folders.emplace_back(path.substr(at, end - at));
    at = end + 1;
  }
  if (const std::string home = variable("CUDA_HOME"); !home.empty()) folders.push_back(fs::path(home) / "bin");
  folders.emplace_back("/usr/local/cuda/bin");
  for (const fs::path& folder : folders)
    if (access((folder / name).c_str(), X_OK) == 0) return (folder / name).string();
  return "";
}

std::string disassemble(const std::string& cubin) {
  std::string program = toolkit_program("nvdisasm"), arguments = " -c ";
  if (program.empty()) {
    program = toolkit_program("cuobjdump");
    arguments = " -sass ";
  }
  if (program.empty()) throw Failure(ExitCode::unavailable, "--emit=sass: neither nvdisasm nor cuobjdump was found (CUDA toolkit: cuda-nvdisasm); --emit=ptx needs neither");
  char path[] = "/tmp/quern-XXXXXX";
  const int file = mkstemp(path);
  if (file < 0) throw Failure(ExitCode::data, "--emit=sass: no temporary file");
  close(file);
  std::ofstream(path, std::ios::binary) << cubin;
  std::string text;
  if (FILE* pipe = popen(("'" + program + "'" + arguments + path).c_str(), "r")) {
    char buffer[4096];
    for (std::size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
    pclose(pipe);
  }
  unlink(path);
  if (text.empty()) throw Failure(ExitCode::unavailable, fmt::format("--emit=sass: {} gave nothing", program));
  return text;
}

std::string resources_text(const quern::cuda::CudaModule& printed, const runtime::gpu::CompiledText& compiled) {
  std::string text = fmt::format("{:<16} {:>7} {:>9} {:>7} {:>7} {:>7} {:>7}\n", "kernel", "threads", "registers", "spilled", "stack", "shared", "words");
  for (const quern::cuda::KernelLaunch& launch : printed.launches)
    for (const runtime::gpu::KernelResources& r : compiled.kernels)
      if (r.entry == launch.entry)
        text += fmt::format("{:<16} {:>7} {:>9} {:>7} {:>7} {:>7} {:>7}\n", r.entry, launch.threads, r.registers, r.spill_store_bytes + r.spill_load_bytes, r.stack_bytes,
                            r.static_shared_bytes, launch.words.size());
  for (const runtime::gpu::Remark& remark : compiled.remarks) text += fmt::format("{}: {}\n", remark.code, remark.meaning.empty() ? remark.text : remark.meaning);
  text += fmt::format("compiled in {:.0f} ms: {} bytes of cubin, {} bytes of PTX\n", compiled.seconds * 1e3, compiled.cubin.size(), compiled.ptx.size());
  return text;
}

}  // namespace

GpuText::GpuText(const ir::Program& program, const DeviceChoice& device, const std::vector<std::string>& off) : program_(program), target_(device.target), off_(off) {
  try {
    const Options options = options_of(target_, off_);
    const quern::cuda::Target target = runtime::gpu::target_of(options);
    tiles_ = runtime::gpu::plan(request_of(program_, options), target);
    target_ = quern::cuda::name_of(target);
  } catch (const Error& error) {
    fail_with(error);
  }
}

std::string GpuText::text(const std::string& stage) const {
  try {
    const Options options = options_of(target_, off_);
    const quern::cuda::Target target = runtime::gpu::target_of(options);
    const quern::cuda::CudaModule printed = runtime::gpu::print(tiles_, request_of(program_, options), target);
    if (!printed.error.empty()) throw Failure(ExitCode::internal, printed.error);
    if (stage == "cuda") return printed.text;
    const runtime::gpu::CompiledText compiled = runtime::gpu::compile_nvrtc(printed.text, target);
    if (stage == "ptx") return compiled.ptx;
    if (stage == "sass") return disassemble(compiled.cubin);
    return resources_text(printed, compiled);
  } catch (const Error& error) {
    fail_with(error);
  }
}

#else

GpuText::GpuText(const ir::Program&, const DeviceChoice&, const std::vector<std::string>&) {
  throw Failure(ExitCode::unavailable, "this build has no CUDA device (QUERN_CUDA=OFF)");
}
std::string GpuText::text(const std::string&) const { return ""; }

#endif

}  // namespace quern::command
