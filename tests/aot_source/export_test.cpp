// `quern compile --export-cu`: the program is compiled by the C++ compiler, its kernels by the emulated driver, and run. It finds its
// own results right; with other inputs, or with a kernel that is wrong, it says so. No nvcc and no GPU are needed for it.
#include <cstdlib>
#include <fstream>
#include <regex>

#include "tests/catch.h"
#include "tests/command/process.h"

namespace {

struct Run {
  int status = -1;
  std::string out;
};

int shell(const std::string& command) {
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/// The text between the marks of the kernels' namespace.
std::string kernels_of(const std::string& cu) {
  const std::string open = "namespace quern_kernels {\n", close = "}  // namespace quern_kernels";
  const std::size_t begin = cu.find(open) + open.size(), end = cu.find(close);
  REQUIRE(end != std::string::npos);
  return cu.substr(begin, end - begin);
}

/// The .cu as C++: kernels apart, launches by name.
std::string host_of(const std::string& cu) {
  const std::string kernels = kernels_of(cu);
  std::string structures = "struct alignas(64) quern_map { unsigned long long at[16]; };\n";
  const std::regex structure("struct \\w+_words \\{ (quern_map maps\\[\\d+\\]; )?long long at\\[\\d+\\]; \\};");
  for (std::sregex_iterator i(kernels.begin(), kernels.end(), structure), none; i != none; ++i) structures += i->str() + "\n";
  std::string host = cu;
  host.replace(host.find(kernels), kernels.size(), structures);
  host = std::regex_replace(host, std::regex("quern_kernels::(\\w+)<<<(.*), (\\d+), (\\d+)>>>\\(words\\)"), "emulated::launch(\"$1\", $2, $3, $4, &words)");
  host = std::regex_replace(host, std::regex("cudaFuncSetAttribute\\(quern_kernels::(\\w+),"), "cudaFuncSetAttribute(\"$1\",");
  return "#include \"tests/aot_source/runtime_on_driver.h\"\n" + host;
}

Run compiled_and_run(const Folder& folder, const std::string& kernels, const std::string& host) {
  const std::string source = folder.file("host.cpp", host), text = folder.file("kernels.txt", kernels);
  const std::string log = folder.path("log"), program = folder.path("program");
  if (shell("c++ -std=c++17 -Wall -Wextra -Wno-unused-function -Wno-unknown-pragmas -Werror -I'" QUERN_SOURCE_DIR "' -o '" + program + "' '" + source + "' -ldl > '" + log + "' 2>&1") != 0)
    return {-2, content_of(log)};
  Run run;
  run.status = shell("EMULATED_CUDA='" QUERN_EMULATED_CUDA "' EMULATED_TEXT='" + text + "' '" + program + "' > '" + log + "' 2>&1");
  run.out = content_of(log);
  return run;
}

std::string exported(const Folder& folder, const std::string& file, std::vector<std::string> words) {
  words.insert(words.begin(), {"compile", file, words[0], "--export-cu", "-o", folder.path("o")});
  words.erase(words.begin() + 6);
  const Output made = run_quern(words);
  INFO(made.err);
  REQUIRE(made.status == 0);
  return content_of(made.out.substr(0, made.out.size() - 1));
}

}  // namespace

TEST_CASE("exported programs compile, run and find their results right") {
  const std::string examples = QUERN_SOURCE_DIR "/examples/", plans = QUERN_SOURCE_DIR "/tests/cuda_programs/plans/";
  const std::vector<std::pair<std::string, std::vector<std::string>>> all{
      {examples + "attention.quern", {"attention", "--target", "sm_80", "--set", "M=70", "--set", "N=90", "--set", "D=32"}},
      {examples + "attention.quern", {"causal", "--target", "sm_90a", "--set", "T=bf16", "--set", "B=1", "--set", "H=2", "--set", "M=65", "--set", "N=70", "--set", "D=64"}},
      // Warp roles: tensor maps, a counter of tasks.
      {QUERN_SOURCE_DIR "/tools/ahead_check/kernels.quern", {"causal", "--target", "sm_90a", "--set", "H=2", "--set", "T=200", "--set", "D=128"}},
      {plans + "roles.quern", {"product", "--target", "sm_90a", "--set", "T=bf16", "--set", "M=200", "--set", "N=136", "--set", "K=72"}},
      {QUERN_SOURCE_DIR "/tests/aot/kernels.quern", {"segments", "--target", "sm_80", "--set", "N=100"}},
      {QUERN_SOURCE_DIR "/tests/aot/kernels.quern", {"total", "--target", "sm_80", "--set", "N=70000"}},
  };
  for (const auto& [file, words] : all) {
    const Folder folder;
    const std::string cu = exported(folder, file, words);
    INFO(words[0]);
    const Run run = compiled_and_run(folder, kernels_of(cu), host_of(cu));
    INFO(run.out);
    CHECK(run.status == 0);
    CHECK(std::regex_search(run.out, std::regex("(\\d+) of \\1 elements right")));
    CHECK(run.out.find("not in [") == std::string::npos);
  }
}

TEST_CASE("an exported program notices a kernel that is wrong, data that is other, a kernel that is missing") {
  const Folder folder;
  const std::string cu = exported(folder, QUERN_SOURCE_DIR "/examples/attention.quern", {"attention", "--target", "sm_80", "--set", "M=70", "--set", "N=90", "--set", "D=32"});
  const std::string kernels = kernels_of(cu), host = host_of(cu);
  const auto wrong = [&](const std::string& k, const std::string& h, int status, const std::string& words) {
    const Run run = compiled_and_run(folder, k, h);
    INFO(run.out);
    CHECK(run.status == status);
    CHECK(run.out.find(words) != std::string::npos);
  };
  const std::string other = std::regex_replace(host, std::regex("table_t0\\[hash\\(i, \\d+u\\)"), "table_t0[hash(i, 12345u)");
  REQUIRE(other != host);
  wrong(kernels, other, 1, ", not in [");
  wrong(std::regex_replace(kernels, std::regex("quern_k0\\("), "quern_gone("), host, 2, "the emulated driver refused");
  // The last key is left out.
  const std::string short_of_one = std::regex_replace(kernels, std::regex("\\b90ll\\b"), "89ll");
  REQUIRE(short_of_one != kernels);
  wrong(short_of_one, host, 1, ", not in [");
}
