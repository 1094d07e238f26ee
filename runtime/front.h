// Text to checked programs. In: the string, which kernel of it, settings. Out: checked programs, or an Error that holds
// every diagnostic. The one idea: the text is parsed once; each assignment of compile-time names is checked anew.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <quern/kernel.h>

#include "dsl/ir/program.h"

namespace quern::runtime {

struct CompileTimeName {
  std::string name;
  bool is_type = false;
  bool has_default = false;
};

class Front {
 public:
  /// `file` names the text in messages. Throws Error(invalid_program), or Error(invalid_argument) when there is no such kernel.
  Front(std::string text, std::string file, std::string_view kernel);
  ~Front();
  Front(const Front&) = delete;
  Front& operator=(const Front&) = delete;

  const std::string& kernel_name() const;
  /// Names of `T: type` that have no default.
  std::vector<std::string> open_types() const;
  /// The names in `<...>`, in order.
  std::vector<CompileTimeName> compile_time() const;
  /// Element type as written of each tensor parameter, in order of the signature without scalars, then of the outputs.
  std::vector<std::string> written_types() const;
  std::vector<Parameter> parameters() const;
  /// The text without comments and layout: equal for equal programs.
  const std::string& canonical() const;

  /// Throws Error(invalid_program).
  std::shared_ptr<const ir::Program> check(std::span<const Setting> settings) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quern::runtime
