// Writing to the two streams, with colours where wanted.
#include "tools/command/terminal.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "tools/command/exit_code.h"

namespace quern::command {
namespace {

bool wants_color(int descriptor, bool no_color) {
  if (no_color || isatty(descriptor) == 0) return false;
  const char* variable = std::getenv("NO_COLOR");
  if (variable != nullptr && *variable != '\0') return false;
  const char* kind = std::getenv("TERM");
  return kind != nullptr && std::string_view(kind) != "dumb";
}

std::string colored(std::string_view text) {
  struct Word {
    std::string_view text, code;
  };
  static constexpr Word kWords[] = {{"error:", "\x1b[1;31m"}, {"warning:", "\x1b[1;33m"}, {"note:", "\x1b[1;36m"},
                                    {"fix:", "\x1b[1;32m"}};
  std::string result;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const std::size_t first = line.find_first_not_of(' ');
    if (first != std::string_view::npos && line[first] == '^') {
      result += fmt::format("\x1b[32m{}\x1b[0m", line);
    } else {
      std::size_t at = std::string_view::npos;
      const Word* found = nullptr;
      for (const Word& word : kWords) {
        const std::size_t place = line.find(word.text);
        if (place < at && (place == 0 || line[place - 1] == ' ')) {
          at = place;
          found = &word;
        }
      }
      if (found != nullptr) {
        result += line.substr(0, at);
        result += fmt::format("{}{}\x1b[0m", found->code, found->text);
        line.remove_prefix(at + found->text.size());
      }
      result += line;
    }
    if (end != std::string_view::npos) result += '\n';
  }
  return result;
}

}  // namespace

Terminal Terminal::detect(bool no_color) {
  return {wants_color(STDOUT_FILENO, no_color), wants_color(STDERR_FILENO, no_color)};
}

void Terminal::data(std::string_view text) const {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw Failure(ExitCode::data, "cannot write to stdout");
  }
}

void Terminal::message(std::string_view text) const {
  const std::string shown = color_err ? colored(text) : std::string(text);
  std::fwrite(shown.data(), 1, shown.size(), stderr);
}

void Terminal::error(std::string_view text) const { message(fmt::format("quern: error: {}\n", text)); }

std::string Terminal::heading(std::string_view text) const {
  return color_out ? fmt::format("\x1b[1m{}\x1b[0m", text) : std::string(text);
}

}  // namespace quern::command
