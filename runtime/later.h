// Work for threads of the library beside those of the pool: compiling while the caller goes on. As many threads as cores,
// 8 at most (a compile takes 100 to 300 MB), started when there is work; a forked child starts with none.
// A process that ends waits for what is under way and drops the rest. It must wait before the handlers of libraries run, which
// tear down what a compile is using. The one idea: exit() ends the thread-local objects of its thread before it calls any
// handler, so one of the main thread's waits. Where another thread calls exit() a handler waits, registered again whenever a
// library may have registered one of its own, because they run last come first served.
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

  /// To be called now and then in between: the library may have set up more.
  static void renew();
};

}  // namespace quern::runtime
