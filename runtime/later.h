// Work for threads of the library beside those of the pool: compiling while the caller goes on. As many threads as cores,
// 8 at most (a compile takes 100 to 300 MB), started when there is work; a forked child starts with none.
// A process that ends waits for what is under way and drops the rest. The one idea: handlers of exit() run last come first
// served, so the one that waits is registered again whenever a library may have registered one of its own.
#pragma once

#include <functional>

namespace quern::runtime {

/// Runs `work`, which does not throw, on some thread.
void later(std::function<void()> work);

/// Inside a foreign compiler, on any thread: while one exists exit() waits before anything is torn down.
class UnderWay {
 public:
  /// Throws Error(unsupported) when the process is ending already.
  UnderWay();
  ~UnderWay();
  UnderWay(const UnderWay&) = delete;
  UnderWay& operator=(const UnderWay&) = delete;

  /// To be called now and then in between: the library may have set up more. True when the process is ending.
  static bool renew();
};

}  // namespace quern::runtime
