// What a library has no business changing: the state of the process, taken before and after a call, and what the call wrote.
#pragma once

#include <locale.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <cfenv>
#include <cstdio>
#include <string>
#include <vector>

namespace quern_test {

struct Snapshot {
  std::vector<std::string> environment;
  std::string locale, directory;
  unsigned mxcsr = 0;
  int rounding = 0;
  mode_t mask = 0;
  std::vector<void (*)(int)> handlers;
  sigset_t blocked;

  static Snapshot take() {
    Snapshot s;
    for (char** e = ::environ; *e; ++e) s.environment.emplace_back(*e);
    s.locale = setlocale(LC_ALL, nullptr);
    char path[4096];
    s.directory = getcwd(path, sizeof path) ? path : "";
#if defined(__x86_64__)
    s.mxcsr = _mm_getcsr() & ~0x3fu;  // without the sticky exception flags
#endif
    s.rounding = fegetround();
    s.mask = umask(0);
    umask(s.mask);
    for (int n = 1; n < 32; ++n) {
      struct sigaction a {};
      if (sigaction(n, nullptr, &a) == 0) s.handlers.push_back(a.sa_handler);
    }
    sigemptyset(&s.blocked);
    pthread_sigmask(SIG_SETMASK, nullptr, &s.blocked);
    return s;
  }
  bool operator==(const Snapshot& o) const {
    bool same = environment == o.environment && locale == o.locale && directory == o.directory && mxcsr == o.mxcsr && rounding == o.rounding &&
                mask == o.mask && handlers == o.handlers;
    for (int n = 1; n < 32; ++n) same = same && sigismember(&blocked, n) == sigismember(&o.blocked, n);
    return same;
  }
};

/// What is written to stdout and stderr while it lives.
class Captured {
 public:
  Captured() {
    file_ = tmpfile();
    for (int fd : {1, 2}) {
      saved_[fd - 1] = dup(fd);
      dup2(fileno(file_), fd);
    }
  }
  long finish() {
    for (int fd : {1, 2}) {
      if (saved_[fd - 1] < 0) continue;
      dup2(saved_[fd - 1], fd);
      close(saved_[fd - 1]);
      saved_[fd - 1] = -1;
    }
    struct stat s {};
    fstat(fileno(file_), &s);
    return static_cast<long>(s.st_size);
  }
  ~Captured() {
    finish();
    fclose(file_);
  }

 private:
  FILE* file_;
  int saved_[2];
};

}  // namespace quern_test
