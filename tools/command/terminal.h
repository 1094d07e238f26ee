// Where text goes: data to stdout, messages to stderr, colours only where a person looks at them. The one idea: everything
// is written plain and coloured at the last step, so that what a pipe receives is the same text.
#pragma once

#include <string>
#include <string_view>

namespace quern::command {

struct Terminal {
  bool color_out = false;  // stdout is a terminal that wants colours
  bool color_err = false;

  /// Honours NO_COLOR, TERM=dumb and `no_color`.
  static Terminal detect(bool no_color);

  /// Writes to stdout; throws Failure when that is not possible (a full disk), so that no result is lost silently.
  void data(std::string_view text) const;
  /// Rendered diagnostics or a message, to stderr; "error:", "warning:", "note:", "fix:" and carets stand out.
  void message(std::string_view text) const;
  /// "quern: error: ..." to stderr.
  void error(std::string_view text) const;

  /// For headings in data output: bold on a terminal.
  std::string heading(std::string_view text) const;
};

}  // namespace quern::command
