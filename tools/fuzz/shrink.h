// Makes a failing program smaller. In: its text and a test that says whether a text still fails. Out: the smallest found.
// The one idea: every step is one edit of the syntax tree or of the case line, kept if the result still fails; an edit that
// makes the program invalid simply does not fail the way it should.
#pragma once

#include <functional>
#include <string>

namespace quern::fuzz {

/// `fails` is asked at most `budget` times.
std::string shrink(const std::string& program, const std::function<bool(const std::string&)>& fails, int budget = 400);

}  // namespace quern::fuzz
