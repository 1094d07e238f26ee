// c++ -c, c++ -shared, dlopen; and the one change made to a text before.
#include "tests/cuda_emulator/machine/compile.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "tests/cuda_emulator/machine/text.h"

extern char** environ;

namespace quern::emulator {

namespace {

class PrivateFolder {
 public:
  PrivateFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "quern_emulator.XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("no temporary folder for the emulator");
    path_ = name;
  }
  ~PrivateFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string at(const std::string& file) const { return (path_ / file).string(); }

 private:
  std::filesystem::path path_;
};

/// Runs a program with its messages in `log`. Returns whether it succeeded.
bool run(const std::vector<std::string>& words, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& w : words) arguments.push_back(const_cast<char*>(w.c_str()));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 1, log.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  posix_spawn_file_actions_adddup2(&files, 1, 2);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, arguments[0], &files, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  if (failed) throw std::runtime_error("cannot run " + words[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {}
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace

void* compile_and_open(const std::string& source) {
  const PrivateFolder folder;
  const std::string cpp = folder.at("kernel.cpp"), object = folder.at("kernel.o"), library = folder.at("kernel.so"), log = folder.at("log");
  std::ofstream(cpp) << source;
  const char* other = std::getenv("QUERN_EMULATOR_CXX");
  const std::string compiler = other && *other ? other : "c++";
  // Two steps, so that the runtime of the sanitizer is not linked: the shim has handlers of its own.
  const bool ok =
      run({compiler, "-std=c++20", "-Og", "-c", "-w", "-fPIC", "-fvisibility=hidden", "-ffp-contract=off", "-fno-strict-aliasing", "-fno-exceptions",
           "-fno-rtti", "-fwrapv", "-fno-threadsafe-statics", "-fsanitize=alignment,bounds", "-fno-sanitize-recover=all", "-DQUERN_EMULATED=1",
           "-include", QUERN_SOURCE_DIR "/tests/cuda_emulator/shim/cuda.h", "-o", object, cpp}, log) &&
      run({compiler, "-shared", "-Wl,-Bsymbolic", "-o", library, object}, log);
  if (!ok) {
    std::ifstream in(log);
    std::stringstream messages;
    messages << in.rdbuf();
    throw std::runtime_error("the text does not compile for the emulator:\n" + messages.str());
  }
  void* opened = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!opened) throw std::runtime_error(std::string("what was compiled does not load: ") + dlerror());
  return opened;
}

// extern __shared__ __align__(16) T name[];  becomes  T* const name = quern_emulated::DynamicShared();
std::string rewritten(const std::string& text, std::size_t* dynamic_alignment) {
  const auto blank = [](char c) { return c == ' ' || c == '\n' || c == '\t'; };
  const auto part_of_name = [](char c) { return c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
  std::string out;
  std::size_t from = 0;
  for (std::size_t at = 0; (at = text.find("extern", at)) != std::string::npos;) {
    const std::size_t start = at;
    at += 6;
    std::size_t keyword = at;
    while (keyword < text.size() && blank(text[keyword])) ++keyword;
    if (text.compare(keyword, 10, "__shared__") != 0) continue;
    const std::size_t end = text.find(';', keyword), bracket = text.find('[', keyword);
    if (end == std::string::npos || bracket > end) continue;
    std::string type = text.substr(keyword + 10, bracket - keyword - 10);
    for (std::size_t a; (a = type.find("__align__(")) != std::string::npos;) {
      const std::size_t close = type.find(')', a);
      *dynamic_alignment = std::max<std::size_t>(*dynamic_alignment, std::strtoul(type.c_str() + a + 10, nullptr, 10));
      type.erase(a, close - a + 1);
    }
    while (!type.empty() && blank(type.back())) type.pop_back();
    std::size_t name = type.size();
    while (name > 0 && part_of_name(type[name - 1])) --name;
    out.append(text, from, start - from);
    out += type.substr(0, name) + "* const " + type.substr(name) + " = quern_emulated::DynamicShared();";
    out.append(static_cast<std::size_t>(std::count(text.begin() + static_cast<std::ptrdiff_t>(start), text.begin() + static_cast<std::ptrdiff_t>(end), '\n')), '\n');
    at = from = end + 1;
  }
  return out + text.substr(from);
}

}  // namespace quern::emulator
