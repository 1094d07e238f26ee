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

}  // namespace quern::test
