// Work for threads of the library beside those of the pool: compiling while the caller goes on. As many threads as cores,
// 8 at most (a compile takes 100 to 300 MB), started when there is work. A process that ends waits for the compiles under
// way and drops the rest; a forked child starts with none.
#pragma once

#include <functional>

namespace quern::runtime {

/// Runs `work`, which does not throw, on some thread.
void later(std::function<void()> work);

}  // namespace quern::runtime
