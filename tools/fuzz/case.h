// A case: what to call a kernel with. In: the lines `#: N=8 W=3 T=f16 x=wide/reversed | N=1 W=1` above a kernel in a
// program text. Out: the settings of each case by name.
// The one idea: a case is text beside the program, so a failing random program and its data are one file.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace quern::fuzz {

struct Case {
  std::string kernel;
  std::map<std::string, std::string> settings;  // sizes, compile-time values, types, scalars, kinds of data; `without` a pass
  bool slow = false;

  std::string text() const;  // as it stands after `#:`
};

/// Every case of every kernel of a file, in order.
std::vector<Case> cases_of(std::string_view program);

}  // namespace quern::fuzz
