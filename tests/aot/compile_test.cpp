// `quern compile`: files, the same bytes every time, sizes, and what is said of wrong command lines.
#include <cstdlib>
#include <filesystem>

#include "tests/catch.h"
#include "tests/command/process.h"

namespace {

const std::string kAttention = std::string(QUERN_SOURCE_DIR) + "/examples/attention.quern";

/// Exit status, and a part of the message.
void fails(const std::vector<std::string>& arguments, int status, const std::string& message) {
  const Output result = run_quern(arguments);
  INFO(result.err);
  CHECK(result.status == status);
  CHECK(result.err.find(message) != std::string::npos);
  CHECK(result.out.empty());
}

}  // namespace

TEST_CASE("same inputs, same bytes; attention for two levels stays below 200 KB") {
  const Folder folder;
  std::string objects[2], headers[2];
  for (const int i : {0, 1}) {
    const std::string out = folder.path(std::to_string(i));
    // Another place of the file, other addresses, other variables of the environment.
    const std::string file = folder.file("at" + std::to_string(i) + ".quern", content_of(kAttention));
    const Output result = run_quern({"compile", file, "attention", "--target", i ? "x86-64-v4,x86-64-v3" : "x86-64-v3,x86-64-v4", "--set", "D=64,128", "-o", out, "--name", "attention"}, "",
                                    {"QUERN_NOTHING=" + std::string(static_cast<std::size_t>(i * 1000), 'x')});
    INFO(result.err);
    REQUIRE(result.status == 0);
    CHECK(result.out == out + "/attention.h\n" + out + "/attention.o\n");
    objects[i] = content_of(out + "/attention.o");
    headers[i] = content_of(out + "/attention.h");
  }
  CHECK(objects[0] == objects[1]);
  CHECK(headers[0].substr(headers[0].find('\n')) == headers[1].substr(headers[1].find('\n')));  // the first line names the file
  CHECK(objects[0].size() <= 200 * 1024);
  CHECK(objects[0].find(std::string(QUERN_SOURCE_DIR)) == std::string::npos);
}

TEST_CASE("wrong command lines of compile") {
  const Folder folder;
  fails({"compile", kAttention, "attention", "-o", folder.path("o")}, 2, "--target is required");
  fails({"compile", kAttention, "attention", "--target", "x86-64-v9"}, 2, "no target 'x86-64-v9'; there are x86-64-v2,");
  fails({"compile", kAttention, "attention", "--target", "x86-64-v3"}, 2, "compile-time name 'D' of kernel 'attention' has no value; say for example --set D=64,128");
  fails({"compile", kAttention, "attention", "--target", "x86-64-v3", "--set", "D=64", "--set", "E=4"}, 2, "no kernel that is compiled has the name 'E'");
  fails({"compile", kAttention, "attention", "--target", "x86-64-v3", "--set", "D=f16"}, 2, "'D' of kernel 'attention' is a number or a flag, not an element type");
  fails({"compile", kAttention, "attention", "--target", "x86-64-v3", "--set", "D=6x4"}, 2, "'6x4' is no integer, flag or element type");
  fails({"compile", kAttention, "atention", "--target", "x86-64-v3"}, 2, "did you mean 'attention'?");
  fails({"compile", kAttention, "attention", "--target", "x86-64-v3", "--set", "D=64", "--layouts", "wide"}, 2, "'wide' is none of dense, rows, any");
  fails({"compile", kAttention, "attention", "attention", "--target", "x86-64-v3", "--set", "D=64"}, 2, "two kernels would be the C function 'attention'");
  fails({"compile", folder.path("nowhere.quern"), "--target", "x86-64-v3"}, 4, "No such file");
  fails({"compile", folder.file("wrong.quern", "kernel f(x: f32[N]) -> (o: f32[N]) { o[n] = y[n] }"), "--target", "x86-64-v3"}, 1, "y");
  const std::string taken = folder.file("taken.quern", "kernel register(int: f32[N], call: f32[N]) -> (o: f32[N]) { o[n] = int[n] + call[n] }");
  fails({"compile", taken, "--target", "x86-64-v3", "-o", folder.path("o")}, 2, "a C function cannot be called 'register'; give names of yours with --prefix my_");
  CHECK(!std::filesystem::exists(folder.path("o")));
  CHECK(run_quern({"compile", taken, "--target", "x86-64-v3", "-o", folder.path("o"), "--prefix", "my_"}).status == 0);
  const std::string header = content_of(folder.path("o/taken.h"));
  CHECK(header.find("quern_status my_register(int64_t N,\n    const float* int_, const int64_t* int__strides /* of [N] */,\n    const float* call_,") != std::string::npos);
}

TEST_CASE("a run-time size may be fixed") {
  const Folder folder;
  const Output result = run_quern({"compile", kAttention, "attention", "--target", "x86-64-v3", "--set", "D=64", "--set", "M=1,128", "-o", folder.path("o"), "--json"});
  INFO(result.err);
  REQUIRE(result.status == 0);
  CHECK(result.out.find("\"attention\"") != std::string::npos);
  CHECK(content_of(folder.path("o/attention.h")).find("Compiled for D = 64, M = 1; D = 64, M = 128.") != std::string::npos);
}

TEST_CASE("a kernel as a .cu program of its own") {
  const Folder folder;
  const std::vector<std::string> words{"compile", kAttention, "attention", "--export-cu", "--target", "sm_80", "--set", "M=70", "--set", "N=90", "--set", "D=32", "-o", folder.path("o")};
  const Output made = run_quern(words);
  if (made.status == 6) return;  // this build has no CUDA
  INFO(made.err);
  REQUIRE(made.status == 0);
  CHECK(made.out == folder.path("o/attention.cu") + "\n");
  const std::string text = content_of(folder.path("o/attention.cu"));
  for (const char* part : {"namespace quern_kernels {", "__global__", "static const Expected expected_t3[]", "int main()", "cudaEventElapsedTime", "nvcc -gencode arch=compute_80,code=sm_80"}) {
    INFO(part);
    CHECK(text.find(part) != std::string::npos);
  }
  // Exported twice it is the same; other sizes are another program.
  REQUIRE(run_quern(words).status == 0);
  CHECK(content_of(folder.path("o/attention.cu")) == text);
  fails({"compile", kAttention, "attention", "--export-cu", "--target", "sm_80", "--set", "D=32", "-o", folder.path("o")}, 2, "a program of its own has fixed sizes: --set M=...");
  fails({"compile", kAttention, "attention", "--export-cu", "--target", "sm_80,sm_90a", "--set", "D=32"}, 2, "--export-cu takes one target");
  fails({"compile", kAttention, "attention", "--export-cu", "--target", "x86-64-v3", "--set", "D=32"}, 2, "--export-cu takes one target");
  // tests/aot_source compiles and runs such programs without nvcc.
  const char* home = std::getenv("CUDA_HOME");
  const std::string nvcc = std::string(home ? home : "/usr/local/cuda") + "/bin/nvcc";
  if (!std::filesystem::exists(nvcc)) {
    WARN("skipped: no nvcc, so the .cu programs were not compiled by it");
    return;
  }
  struct Taken {
    const char *file, *architecture;
    std::vector<std::string> words;
    const char* part;  // of the text: what makes it that kernel
  };
  const std::vector<Taken> all{
      {"examples/attention.quern", "80", {"attention", "--target", "sm_80", "--set", "M=70", "--set", "N=90", "--set", "D=32"}, "__global__"},
      {"tools/ahead_check/kernels.quern", "90a", {"causal", "--target", "sm_90a", "--set", "H=2", "--set", "T=500", "--set", "D=128"}, "encode_map(&made.maps[2]"},
      {"tools/ahead_check/kernels.quern", "90a", {"rows", "--target", "sm_90a", "--set", "M=64", "--set", "N=1000"}, "__global__"},
      {"tests/cuda_programs/plans/roles.quern", "90a", {"product", "--target", "sm_90a", "--set", "T=bf16", "--set", "M=512", "--set", "N=512", "--set", "K=512"}, "wgmma"},
  };
  for (const Taken& taken : all) {
    std::vector<std::string> arguments{"compile", std::string(QUERN_SOURCE_DIR "/") + taken.file, taken.words[0], "--export-cu", "-o", folder.path("o")};
    arguments.insert(arguments.end(), taken.words.begin() + 1, taken.words.end());
    const Output exported = run_quern(arguments);
    INFO(taken.words[0] << exported.err);
    REQUIRE(exported.status == 0);
    const std::string file = folder.path("o/" + taken.words[0] + ".cu"), architecture = taken.architecture;
    CHECK(content_of(file).find(taken.part) != std::string::npos);
    const std::string command = "'" + nvcc + "' -gencode arch=compute_" + architecture + ",code=sm_" + architecture + " -Werror all-warnings -o '" + folder.path("o/program") + "' '" + file + "' > '" +
                                folder.path("log") + "' 2>&1";
    const int status = std::system(command.c_str());
    INFO(content_of(folder.path("log")));
    CHECK(status == 0);
  }
}
