#include "tests/command/process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

std::string content_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

Output run_quern(const std::vector<std::string>& arguments, const std::string& input, const std::vector<std::string>& environment) {
  const Folder folder;
  const std::string in = folder.file("in", input), out = folder.path("out"), err = folder.path("err");
  std::vector<std::string> words{QUERN_BINARY};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const pid_t child = fork();
  if (child < 0) throw std::runtime_error("fork failed");
  if (child == 0) {
    const int streams[] = {open(in.c_str(), O_RDONLY), open(out.c_str(), O_CREAT | O_WRONLY, 0600),
                           open(err.c_str(), O_CREAT | O_WRONLY, 0600)};
    for (int i = 0; i < 3; ++i) dup2(streams[i], i);
    for (const std::string& variable : environment) {
      const std::size_t equals = variable.find('=');
      setenv(variable.substr(0, equals).c_str(), variable.substr(equals + 1).c_str(), 1);
    }
    std::vector<char*> pointers;
    for (std::string& word : words) pointers.push_back(word.data());
    pointers.push_back(nullptr);
    execv(QUERN_BINARY, pointers.data());
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status), content_of(out), content_of(err)};
}

Folder::Folder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "quern_command_XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = pattern;
}

Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string Folder::file(const std::string& name, const std::string& content) const {
  std::ofstream(path(name), std::ios::binary) << content;
  return path(name);
}
