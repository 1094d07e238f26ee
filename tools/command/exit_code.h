// What the command's exit status says. Documented in `quern --help`; scripts rely on the numbers.
#pragma once

#include <stdexcept>
#include <string>

namespace quern::command {

enum class ExitCode : int {
  ok = 0,
  program = 1,       // the program has errors (or `fmt --check` found a difference)
  usage = 2,         // the command line is wrong
  verification = 3,  // a result differs from the interpreter's by more than its bound
  data = 4,          // an argument does not fit: shape, type, file, a declared fact that does not hold
  internal = 5,      // a fault of quern itself
  unavailable = 6,   // not in this build or on this machine
};

/// Ends the subcommand with a message on stderr.
struct Failure : std::runtime_error {
  ExitCode code;
  Failure(ExitCode exit_code, const std::string& message) : std::runtime_error(message), code(exit_code) {}
};

}  // namespace quern::command
