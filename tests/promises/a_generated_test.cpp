// A7: generated text does not drift unnoticed. generated.txt holds one line a kernel: digests of its tile program and of its
// CUDA text. QUERN_ACCEPT=1 writes what is new; what changed is seen with `quern inspect FILE KERNEL --emit=tile` (or
// `--on cuda:sm_90a`) of the command built before and after.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <fmt/format.h>

#include "compiler/compile.h"
#include "compiler/ir/print_tile.h"
#include "tests/catch.h"
#include "tools/fuzz/front.h"
#ifdef QUERN_CUDA
#include "compiler/codegen/cuda/plan_cuda.h"
#endif

using namespace quern;

namespace {

std::string digest(const std::string& text) {
  std::uint64_t all = 0xcbf29ce484222325ull;
  for (const char c : text) all = (all ^ static_cast<unsigned char>(c)) * 0x100000001b3ull;
  return fmt::format("{:016x}", all);
}

std::string contents(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// One line for each kernel of a file: of its first case, and of the first that fixes other compile-time sizes or types.
void add_lines(const std::filesystem::path& path, std::map<std::string, std::string>& lines) {
  const std::string text = contents(path);
  const std::string file = std::filesystem::relative(path, QUERN_SOURCE_DIR).string();
  for (const fuzz::Case& which : fuzz::cases_of(text)) {
    if (which.settings.count("without")) continue;
    const fuzz::Checked checked = fuzz::check_case(text, which);
    INFO(file << ", kernel " << which.kernel << "\n" << checked.diagnostics);
    REQUIRE(checked.program);
    std::string fixed;
    for (const ir::Symbol& s : checked.program->symbols)
      if (s.compile_time && s.value) fixed += fmt::format(" {}={}", s.name, *s.value);
    for (const auto& [name, value] : which.settings)
      if (dtype_from_name(value)) fixed += fmt::format(" {}={}", name, value);
    const std::string name = fmt::format("{} {}{}", file, which.kernel, fixed);
    if (lines.count(name)) continue;
    compiler::CompileOptions options;
    options.plan.target.vector_bytes = 64;
    options.plan.target.registers = 32;
    std::string line = "tile=" + digest(tile::print_module(compiler::compile(*checked.program, options)));
#ifdef QUERN_CUDA
    cuda::CudaOptions gpu;
    gpu.layouts.assign(checked.program->tensors.size(), cpu::TensorLayout{true, {}});
    line += " cuda=" + digest(cuda::print_cuda(cuda::plan_for_cuda(*checked.program, gpu), gpu).text);
#endif
    lines[name] = line;
  }
}

}  // namespace

TEST_CASE("A7: generated text is what was accepted") {
#ifndef QUERN_CUDA
  return;  // half of each line would be missing
#endif
  std::map<std::string, std::string> lines;
  for (const char* folder : {"examples", "tests/cuda_programs/plans", "tests/fuzz/regressions"})
    for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(QUERN_SOURCE_DIR) / folder))
      if (entry.path().extension() == ".quern") add_lines(entry.path(), lines);
  CHECK(lines.size() >= 150);

  const std::string golden = std::string(QUERN_SOURCE_DIR) + "/tests/promises/generated.txt";
  if (std::getenv("QUERN_ACCEPT")) {
    std::ofstream out(golden);
    for (const auto& [name, line] : lines) out << name << ": " << line << "\n";
  }
  std::map<std::string, std::string> accepted;
  std::istringstream in(contents(golden));
  for (std::string line; std::getline(in, line);) {
    const std::size_t at = line.rfind(": ");
    REQUIRE(at != std::string::npos);
    accepted[line.substr(0, at)] = line.substr(at + 2);
  }
  for (const auto& [name, line] : lines) {
    INFO(name << " generates other text than was accepted (QUERN_ACCEPT=1 accepts)");
    CHECK(accepted[name] == line);
  }
  for (const auto& [name, line] : accepted) {
    INFO(name << " is not there any more (QUERN_ACCEPT=1 removes it)");
    CHECK(lines.count(name) == 1);
  }
}
