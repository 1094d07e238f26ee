// What random programs contain. In: program texts. Out: a table of operators, reducers, maps, policies, element types and
// forms with the number of programs that hold each.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>


namespace quern::fuzz {

class Coverage {
 public:
  /// Counts each feature of a program once.
  void add(std::string_view program);
  void merge(const Coverage& other);
  int programs() const { return programs_; }
  /// Rows "group  name  programs", groups together.
  std::string table() const;
  /// Features that every long run must hold and that fewer than `least` programs had.
  std::vector<std::string> gaps(int least) const;
  /// One line per feature, for a worker to hand over.
  std::string serialise() const;
  void restore(std::string_view lines);

 private:
  int programs_ = 0;
  std::map<std::string, int> counts_;  // "operator exp" -> programs
};

}  // namespace quern::fuzz
