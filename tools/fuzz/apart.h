// Judging in processes of their own. The one idea: a program that crashes, hangs or loses the GPU is a verdict and not the
// end of the run; the next process goes on behind it.
#pragma once

#include <functional>

#include "tools/fuzz/judge.h"

namespace quern::fuzz {

/// Every case of a program text; the first that does not agree decides.
Verdict judge_all(const std::string& program, const JudgeOptions& options);

/// The same in a process of its own.
Verdict judge_apart(const std::string& program, const JudgeOptions& options, int seconds);

/// judge(0) ... judge(count - 1) in processes that take a hundred each. `record` is called in order and returns whether to
/// go on; `seconds`: for one of them.
void judge_each(int count, int seconds, const std::function<Verdict(int)>& judge, const std::function<bool(int, const Verdict&)>& record);

}  // namespace quern::fuzz
