// The run of many random programs: what `quern fuzz` does. In: a first seed and a count. Out: failures, each with its
// program made small, and what the programs held.
// The one idea: programs run in worker processes, so that one that crashes or hangs is a failing seed and not the end.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "tools/fuzz/apart.h"
#include "tools/fuzz/coverage.h"

namespace quern::fuzz {

struct FuzzOptions {
  std::uint64_t seed = 1;
  int count = 100;
  Device device = Device::cpu;
  decltype(JudgeOptions::compile) compile;  // a device of the tests instead
  bool shrink = true;
  int seconds_per_program = 60;
  int most_failures = 20;      // stop after as many
  std::string mutant;          // a deliberate fault (compiler/mutants) in every program, in builds that have them
};

struct Failure {
  std::uint64_t seed = 0;
  Verdict verdict;
  std::string program;         // small, with its case line
  Device device = Device::cpu;
  std::string repro() const { return "REPRO: quern fuzz --seed " + std::to_string(seed) + (device == Device::cuda ? " --on cuda" : ""); }
};

struct FuzzReport {
  int agreed = 0, refused = 0;
  std::int64_t checked = 0, undecided = 0;
  double max_ratio = 0;
  std::vector<Failure> failures;
  Coverage coverage;
};

/// The program that a seed stands for, and how it is judged.
std::string program_of(std::uint64_t seed);
JudgeOptions judge_options_of(std::uint64_t seed, Device device, const std::string& mutant = {});

/// `progress` is called after each program with how many are done, and for each failure when it is small.
FuzzReport run_fuzz(const FuzzOptions& options, const std::function<void(int done, const Failure* failure)>& progress = {});

}  // namespace quern::fuzz
