// quern doctor: what this build can do on this machine. Out: versions, processor, peak, and whether a small program gives
// the right answer on each device; exit status 6 when one that was built in does not work.
#include <fmt/format.h>
#include <unistd.h>

#include <cmath>
#include <fstream>

#include <quern/quern.h>

#ifdef QUERN_LLVM
#include "compiler/codegen/cpu/code_generator.h"
#endif
#include "tools/command/device_call.h"
#include "tools/command/peak.h"

namespace quern::command {
namespace {

std::string processor_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("model name", 0) == 0 && line.find(": ") != std::string::npos) return line.substr(line.find(": ") + 2);
  }
  return "unknown";
}

/// Nothing when the device gives 1, 3, 6 for the running sum of 1, 2, 3; otherwise what went wrong.
std::string fault_of(Device device) {
  try {
    Kernel kernel("kernel probe(x: f32[N]) -> (y: f32[N]) { y[i] = cumsum[i](x[i]) }", {}, Options().on(device));
    const std::vector<float> x{1, 2, 3};
    const Tensor y = kernel(x);
    const std::vector<float> wanted{1, 3, 6};
    for (std::size_t i = 0; i < 3; ++i) {
      if (y.as<float>()[i] != wanted[i]) return fmt::format("gives {} where {} is right", y.as<float>()[i], wanted[i]);
    }
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

Json gpus_of(const CudaStatus& cuda) {
  Json list = Json::array();
  for (const Gpu& gpu : cuda.gpus)
    list.push_back({{"number", gpu.number}, {"name", gpu.name}, {"target", gpu.target}, {"multiprocessors", gpu.multiprocessors}, {"memory_bytes", gpu.memory_bytes}});
  return list;
}

ExitCode run(const Session& session) {
  const int threads = usable_threads();
  const Peak single = measure_peak(false, 1), all = measure_peak(false, threads);
  const auto memory = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGE_SIZE));
  std::string llvm = "none", target = "none", features;
  bool cpu = false;
#ifdef QUERN_LLVM
  const cpu::CodeGenerator* generator = cpu::code_generator(&llvm);
  if (generator) llvm = generator->version();
  target = cpu::host_target().name;
  cpu = true;
#endif
  const std::string interpreter_fault = fault_of(Device::interpreter);
  const std::string cpu_fault = cpu ? fault_of(Device::cpu) : "";
  const CudaStatus cuda = cuda_status();
  const std::string cuda_fault = cuda.gpus.empty() || cuda.nvrtc.empty() ? "" : fault_of(Device::cuda);
  const bool works = interpreter_fault.empty() && cpu_fault.empty() && cuda_fault.empty();

  if (session.json) {
    session.write_json({{"version", version()},
                        {"compiler", __VERSION__},
                        {"llvm", llvm},
                        {"target", target},
                        {"processor", processor_name()},
                        {"threads", threads},
                        {"memory_bytes", memory},
                        {"peak_gflops_one_thread", single.gflops},
                        {"peak_gflops_all_threads", all.gflops},
                        {"peak_instructions", single.instructions},
                        {"interpreter", interpreter_fault.empty()},
                        {"cpu_kernels", cpu && cpu_fault.empty()},
                        {"cuda",
                         {{"built", cuda.built},
                          {"driver", cuda.driver.empty() ? cuda.driver_problem : cuda.driver},
                          {"nvrtc", cuda.nvrtc.empty() ? cuda.nvrtc_problem : cuda.nvrtc},
                          {"gpus", gpus_of(cuda)},
                          {"works", !cuda.gpus.empty() && !cuda.nvrtc.empty() && cuda_fault.empty()}}},
                        {"faults", {interpreter_fault, cpu_fault, cuda_fault}}});
  } else {
    const auto line = [&](std::string_view what, const std::string& value) {
      session.terminal.data(fmt::format("{:<12} {}\n", what, value));
    };
    line("quern", fmt::format("{}, built by {}", version(), __VERSION__));
    line("processor", fmt::format("{}, {} thread{} usable, {:.1f} GB of memory", processor_name(), threads, threads == 1 ? "" : "s", memory * 1e-9));
    line("peak", fmt::format("{:.0f} GFLOP/s on one thread, {:.0f} on all ({})", single.gflops, all.gflops, single.instructions));
    line("interpreter", interpreter_fault.empty() ? "works" : "DOES NOT WORK: " + interpreter_fault);
    line("cpu kernels", !cpu ? "not in this build (QUERN_LLVM=OFF)"
                             : cpu_fault.empty() ? fmt::format("work; {}, for {}", llvm, target)
                                                 : "DO NOT WORK: " + cpu_fault);
    line("cuda driver", cuda.driver.empty() ? cuda.driver_problem : cuda.driver);
    line("nvrtc", cuda.nvrtc.empty() ? cuda.nvrtc_problem : cuda.nvrtc);
    for (const Gpu& gpu : cuda.gpus)
      line(fmt::format("gpu {}", gpu.number), fmt::format("{} ({}), {} multiprocessors, {:.1f} GB", gpu.name, gpu.target, gpu.multiprocessors, static_cast<double>(gpu.memory_bytes) * 1e-9));
    if (cuda.built)
      line("gpu kernels", cuda.gpus.empty()      ? cuda.nvrtc.empty() ? "neither compile nor run here" : "compile here (inspect --on cuda:sm_90a); there is no GPU to run them"
                          : cuda.nvrtc.empty()   ? "do not compile here: no NVRTC"
                          : cuda_fault.empty()   ? "work"
                                                 : "DO NOT WORK: " + cuda_fault);
  }
  return works ? ExitCode::ok : ExitCode::unavailable;
}

}  // namespace

void add_doctor(CLI::App& app, Session& session) {
  CLI::App* sub = app.add_subcommand("doctor", "what this build can do on this machine");
  sub->footer("quern doctor\n  quern doctor --json");
  sub->add_flag("--json", session.json, "one JSON value on stdout");
  sub->callback([&session] { session.action = [&session] { return run(session); }; });
}

}  // namespace quern::command
