// Runs the built command as a person would: arguments in, exit status and both streams out.
#pragma once

#include <string>
#include <vector>

struct Output {
  int status = -1;  // exit status, or -signal
  std::string out, err;
};

/// `input` becomes stdin. Environment: that of the test, with `environment` ("NAME=VALUE") added.
Output run_quern(const std::vector<std::string>& arguments, const std::string& input = "", const std::vector<std::string>& environment = {});

/// A folder that goes away with the object.
class Folder {
 public:
  Folder();
  ~Folder();
  std::string path(const std::string& name) const { return path_ + "/" + name; }
  /// Writes a file and returns its path.
  std::string file(const std::string& name, const std::string& content) const;

 private:
  std::string path_;
};

std::string content_of(const std::string& path);
