// The examples as test material: their texts and cases.
#pragma once

#include <string>
#include <vector>

#include "tools/fuzz/case.h"

namespace quern::test {

struct ExampleFile {
  std::string name;  // "loops"
  std::string text;
  std::vector<fuzz::Case> cases;
};

/// Every file of examples/, by name.
const std::vector<ExampleFile>& examples();
const ExampleFile& example(const std::string& name);

/// The case with `suffix` ("/reversed") added to the kind of every tensor of its kernel.
fuzz::Case with_layout(const std::string& text, fuzz::Case which, const std::string& layout);

}  // namespace quern::test
