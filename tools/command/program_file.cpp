// Files, kernels by name, diagnostics as JSON.
#include "tools/command/program_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>

namespace quern::command {
namespace {

constexpr std::size_t kMaxBytes = 64u << 20;  // far above what the parser accepts; keeps /dev/zero from filling memory

[[noreturn]] void fail(const std::string& path) {
  throw Failure(ExitCode::data, fmt::format("{}: {}", path, std::generic_category().message(errno)));
}

}  // namespace

std::string read_text(const std::string& path) {
  const auto close = [](std::FILE* f) {
    if (f != stdin) std::fclose(f);
  };
  const std::unique_ptr<std::FILE, decltype(close)> file(path == "-" ? stdin : std::fopen(path.c_str(), "rb"), close);
  if (!file) fail(path);
  std::string text;
  char buffer[65536];
  while (const std::size_t got = std::fread(buffer, 1, sizeof buffer, file.get())) {
    text.append(buffer, got);
    if (text.size() > kMaxBytes) throw Failure(ExitCode::data, fmt::format("{}: more than {} bytes", path, kMaxBytes));
  }
  if (std::ferror(file.get()) != 0) fail(path);
  return text;
}

void write_text(const std::string& path, const std::string& text) {
  const std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  const auto close = [](std::FILE* f) { std::fclose(f); };
  std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(temporary.c_str(), "wb"), close);
  if (!file) fail(temporary);
  const bool written = std::fwrite(text.data(), 1, text.size(), file.get()) == text.size();
  const bool closed = std::fclose(file.release()) == 0;
  std::error_code error;
  if (written && closed) {
    const auto permissions = std::filesystem::status(path, error).permissions();
    if (!error) std::filesystem::permissions(temporary, permissions, error);
    std::filesystem::rename(temporary, path, error);
    if (!error) return;
  } else {
    error = std::error_code(errno, std::generic_category());
  }
  std::error_code ignored;
  std::filesystem::remove(temporary, ignored);
  throw Failure(ExitCode::data, fmt::format("{}: {}", path, error.message()));
}

std::vector<std::string> kernel_names(const dsl::ast::File& file) {
  std::vector<std::string> names;
  for (const dsl::ast::Item& item : file.items) {
    if (const auto* kernel = std::get_if<dsl::ast::Kernel>(&item.node)) names.push_back(kernel->name.text);
  }
  return names;
}

const dsl::ast::Kernel& choose_kernel(const dsl::ast::File& file, const std::string& wanted, const std::string& path) {
  const std::vector<std::string> names = kernel_names(file);
  if (names.empty()) throw Failure(ExitCode::program, fmt::format("{} holds no kernel", path));
  if (wanted.empty() && names.size() > 1) {
    throw Failure(ExitCode::usage, fmt::format("{} holds {} kernels, name one behind the file: {}", path, names.size(),
                                               fmt::join(names, ", ")));
  }
  for (const dsl::ast::Item& item : file.items) {
    const auto* kernel = std::get_if<dsl::ast::Kernel>(&item.node);
    if (kernel != nullptr && (wanted.empty() || kernel->name.text == wanted)) return *kernel;
  }
  const std::vector<std::string_view> candidates(names.begin(), names.end());
  const std::string_view meant = dsl::nearest(wanted, candidates);
  throw Failure(ExitCode::usage, fmt::format("{} has no kernel '{}'; {}", path, wanted,
                                             meant.empty() ? fmt::format("it holds {}", fmt::join(names, ", "))
                                                           : fmt::format("did you mean '{}'?", meant)));
}

Json to_json(const dsl::Diagnostics& diagnostics, const dsl::Source& source) {
  Json result = Json::array();
  for (const dsl::Diagnostic& d : diagnostics.list()) {
    const dsl::Position begin = source.position(d.span.begin), end = source.position(d.span.end);
    Json notes = Json::array();
    for (const dsl::Note& note : d.notes) {
      Json entry{{"text", note.text}};
      if (!note.span.empty()) {
        entry["line"] = source.position(note.span.begin).line;
        entry["column"] = source.position(note.span.begin).column;
      }
      notes.push_back(std::move(entry));
    }
    result.push_back({{"severity", dsl::severity(d.code) == dsl::Severity::error ? "error" : "warning"},
                      {"code", dsl::name(d.code)},
                      {"message", d.message},
                      {"line", begin.line},
                      {"column", begin.column},
                      {"end_line", end.line},
                      {"end_column", end.column},
                      {"label", d.label_text},
                      {"notes", std::move(notes)},
                      {"fix", d.fix_text}});
  }
  return result;
}

}  // namespace quern::command
