// See tuned.h.
#include "runtime/tuned.h"

#include <algorithm>
#include <sstream>

#include <fmt/format.h>

#include "compiler/passes/pipeline.h"
#include "runtime/lowered.h"
#include "runtime/signature.h"

namespace quern::runtime {
namespace {

constexpr const char* kFormat = "quern choice 1";

/// The request as it would be without choices, less the fields that change with the compiler alone.
std::string key_of(Device device, const CompileRequest& request) {
  Signature signature = signature_of(device, *settled_program(request), request);
  std::erase_if(signature.fields, [](const SignatureField& f) { return f.name == "library" || f.name == "code generator" || f.name == "abi" || f.name == "passes off"; });
  signature.fields.insert(signature.fields.begin(), {"kind", kFormat});
  return signature.bytes();
}

std::string text_of(const Choice& choice) {
  std::string text = fmt::format("{}\n{:.9g} {:.9g}\n{}\n", kFormat, choice.seconds, choice.as_it_is, choice.measured);
  for (const std::string& pass : choice.off) text += pass + "\n";
  return text;
}

std::optional<Choice> read(const std::string& text, Device device) {
  std::istringstream lines(text);
  std::string line;
  if (!std::getline(lines, line) || line != kFormat || !std::getline(lines, line)) return std::nullopt;
  Choice choice;
  if (!(std::istringstream(line) >> choice.seconds >> choice.as_it_is) || !std::getline(lines, choice.measured)) return std::nullopt;
  const std::vector<std::string> known = passes_to_choose(device);
  while (std::getline(lines, line)) {
    if (std::find(known.begin(), known.end(), line) == known.end()) return std::nullopt;
    choice.off.push_back(line);
  }
  return choice.off.empty() ? std::nullopt : std::optional(std::move(choice));
}

}  // namespace

std::vector<std::string> passes_to_choose(Device device) {
  std::vector<std::string> names;
  for (const compiler::Pass& pass : compiler::passes())
    if (!pass.required && std::find(names.begin(), names.end(), pass.name) == names.end()) names.emplace_back(pass.name);
  if (device == Device::cuda) names.emplace_back("warp_roles");
  return names;
}

std::optional<Choice> choice_for(Device device, const CompileRequest& request, const disk::ProcessStore& process) {
  if (!request.options->disabled.empty() || device == Device::interpreter || !process.choices || !process.choices->is_there()) return std::nullopt;
  const disk::Found found = process.choices->read(key_of(device, request));
  return found.how == disk::Found::How::hit ? read(found.payload, device) : std::nullopt;
}

bool keep_choice(Device device, const CompileRequest& request, const Choice& choice, const disk::ProcessStore& process) {
  if (!process.choices) return false;
  const std::string key = key_of(device, request);
  if (!choice.off.empty()) return process.choices->write(key, request.program->name, text_of(choice));
  process.choices->forget(key);
  return !process.choices->read_only();
}

CompileRequest as_chosen(Device device, const CompileRequest& request, Options& options) {
  const std::optional<Choice> choice = choice_for(device, request);
  if (!choice) return request;
  options = *request.options;
  options.disabled = choice->off;
  CompileRequest chosen = request;
  chosen.options = &options;
  return chosen;
}

}  // namespace quern::runtime
