// Reads the case lines of a program text; a case belongs to the next line that opens a kernel.
#include "tools/fuzz/case.h"

#include <sstream>

namespace quern::fuzz {

std::string Case::text() const {
  std::string out = slow ? "slow" : "";
  for (const auto& [name, value] : settings) {
    if (!out.empty()) out += ' ';
    out += name + "=" + value;
  }
  return out;
}

std::vector<Case> cases_of(std::string_view program) {
  std::vector<Case> out, pending;
  std::istringstream lines{std::string(program)};
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with("#:")) {
      std::istringstream words(line.substr(2));
      Case current;
      for (std::string word; words >> word;) {
        if (word == "|") {
          pending.push_back(std::move(current));
          current = {};
        } else if (word == "slow") {
          current.slow = true;
        } else if (const auto at = word.find('='); at != std::string::npos) {
          current.settings[word.substr(0, at)] = word.substr(at + 1);
        }
      }
      pending.push_back(std::move(current));
      continue;
    }
    const auto at = line.find("kernel ");
    if (at == std::string::npos || line.find_first_of("#/") < at || (at != 0 && line[0] != '@')) continue;
    const auto begin = at + 7;
    const auto end = line.find_first_of("<( {", begin);
    for (Case& c : pending) {
      c.kernel = line.substr(begin, end == std::string::npos ? end : end - begin);
      out.push_back(std::move(c));
    }
    pending.clear();
  }
  return out;
}

}  // namespace quern::fuzz
