// Pieces of C++ text.
#pragma once

#include <string>

namespace quern::cuda {

/// `text` itself if it can be an operand of anything (a name, number, call or bracketed expression), else in brackets.
std::string atom(const std::string& text);

}  // namespace quern::cuda
