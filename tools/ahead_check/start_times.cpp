// start_times LIMIT WHAT PROGRAM...: how long the program takes, from before it is started to after it has ended, 101 times; and how
// much of the processor's time it takes, which other programs change less.
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

extern char** environ;

int main(int count, char** arguments) {
  if (count < 4) return 2;
  const double limit = std::atof(arguments[1]);
  std::vector<double> times, own;
  for (int i = 0; i < 101; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    pid_t child = 0;
    int status = -1;
    rusage used{};
    if (posix_spawn(&child, arguments[3], nullptr, nullptr, arguments + 3, environ) != 0 || wait4(child, &status, 0, &used) != child || status != 0) {
      std::printf("%s: failed\n", arguments[3]);
      return 1;
    }
    times.push_back(std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count());
    own.push_back(1e3 * static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + 1e-3 * static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec));
  }
  std::sort(times.begin(), times.end());
  std::sort(own.begin(), own.end());
  std::printf("%-75s %8.2f ms   (best %.2f; of the processor %.2f; asked: %g; %s)\n", arguments[2], times[50], times[0], own[50], limit, times[50] <= limit ? "met" : "MISSED");
}
