// Workers take runs of items and report through a pipe: "B item" before one, "E item outcome ..." after it.
#include "tools/fuzz/apart.h"

#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <sstream>

#include <fmt/format.h>

namespace quern::fuzz {

namespace {

std::string escaped(const std::string& s) {
  std::string out;
  for (const char c : s) out += c == '\n' ? std::string("\\n") : c == '\\' ? std::string("\\\\") : std::string(1, c);
  return out;
}
std::string unescaped(const std::string& s) {
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i)
    if (s[i] == '\\' && i + 1 < s.size()) out += s[++i] == 'n' ? '\n' : '\\';
    else out += s[i];
  return out;
}

/// A child process that writes lines.
class Worker {
 public:
  explicit Worker(const std::function<void(const std::function<void(const std::string&)>&)>& work) {
    int ends[2];
    if (pipe(ends) != 0) return;
    pid_ = fork();
    if (pid_ == 0) {
      close(ends[0]);
      // A crash is the parent's to report, not that of handlers it has installed.
      for (const int signal_number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) std::signal(signal_number, SIG_DFL);
      rlimit none{0, 0};
      setrlimit(RLIMIT_CORE, &none);
      work([&](const std::string& line) {
        const std::string text = line + '\n';
        for (std::size_t at = 0; at < text.size();) {
          const ssize_t n = write(ends[1], text.data() + at, text.size() - at);
          if (n <= 0) _exit(3);
          at += static_cast<std::size_t>(n);
        }
      });
      _exit(0);
    }
    close(ends[1]);
    from_ = ends[0];
  }
  ~Worker() {
    if (from_ >= 0) close(from_);
    if (pid_ > 0) finish();
  }
  /// False at the end of the stream, or after `seconds` of silence (then `timed_out`).
  bool line(std::string& out, int seconds) {
    for (;;) {
      const auto end = buffer_.find('\n');
      if (end != std::string::npos) {
        out = buffer_.substr(0, end);
        buffer_.erase(0, end + 1);
        return true;
      }
      pollfd p{from_, POLLIN, 0};
      const int ready = poll(&p, 1, seconds * 1000);
      if (ready == 0) {
        timed_out = true;
        kill(pid_, SIGKILL);
        return false;
      }
      char bytes[4096];
      const ssize_t n = ready > 0 ? read(from_, bytes, sizeof bytes) : -1;
      if (n <= 0) return false;
      buffer_.append(bytes, static_cast<std::size_t>(n));
    }
  }
  /// How the child ended.
  std::string finish() {
    if (pid_ <= 0) return "no process";
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    if (WIFSIGNALED(status)) return fmt::format("signal {}", WTERMSIG(status));
    return WEXITSTATUS(status) == 0 ? "" : fmt::format("exit status {}", WEXITSTATUS(status));
  }
  bool timed_out = false;

 private:
  pid_t pid_ = -1;
  int from_ = -1;
  std::string buffer_;
};

std::string encode(const Verdict& v) {
  return fmt::format("{} {} {} {:.6g} {}", static_cast<int>(v.outcome), v.checked, v.undecided, v.max_ratio, escaped(v.message));
}
Verdict decode(std::istringstream& in) {
  Verdict v;
  int outcome = 0;
  std::string ratio;
  in >> outcome >> v.checked >> v.undecided >> ratio;
  v.max_ratio = std::strtod(ratio.c_str(), nullptr);
  v.outcome = static_cast<Outcome>(outcome);
  std::string rest;
  std::getline(in, rest);
  v.message = unescaped(rest.empty() ? rest : rest.substr(1));
  return v;
}

Verdict died(Worker& worker, int seconds) {
  Verdict v;
  v.outcome = worker.timed_out ? Outcome::hang : Outcome::crash;
  const std::string how = worker.finish();
  v.message = v.outcome == Outcome::hang ? fmt::format("no answer in {} s", seconds) : how.empty() ? "the process ended early" : how;
  return v;
}

}  // namespace

Verdict judge_all(const std::string& program, const JudgeOptions& options) {
  Verdict all;
  const std::vector<Case> cases = cases_of(program);
  for (const Case& c : cases) {
    const Verdict v = judge(program, c, options);
    all.checked += v.checked;
    all.undecided += v.undecided;
    all.max_ratio = std::max(all.max_ratio, v.max_ratio);
    if (v.outcome != Outcome::agree) {
      all.outcome = v.outcome;
      all.message = v.message;
      break;
    }
  }
  return all;
}

Verdict judge_apart(const std::string& program, const JudgeOptions& options, int seconds) {
  Worker worker([&](const auto& say) { say(encode(judge_all(program, options))); });
  std::string line;
  if (!worker.line(line, seconds)) return died(worker, seconds);
  std::istringstream in(line);
  return decode(in);
}

void judge_each(int count, int seconds, const std::function<Verdict(int)>& judge, const std::function<bool(int, const Verdict&)>& record) {
  constexpr int kRun = 100;
  bool more = true;
  for (int done = 0; more && done < count;) {
    const int first = done, last = std::min(count, done + kRun);
    Worker worker([&](const auto& say) {
      for (int item = first; item < last; ++item) {
        say(fmt::format("B {}", item));
        const Verdict v = judge(item);
        say(fmt::format("E {} {}", item, encode(v)));
        // A GPU that failed stays failed for the process.
        if (v.message.find("cannot use it any more") != std::string::npos) return;
      }
    });
    int current = first;
    bool open = false;
    for (std::string line; more && done < last;) {
      if (!worker.line(line, seconds)) {
        if (open || worker.timed_out || done == first) {
          ++done;
          more = record(current, died(worker, seconds));
        }
        break;
      }
      std::istringstream in(line);
      std::string tag;
      in >> tag >> current;
      open = tag == "B";
      if (open) continue;
      ++done;
      more = record(current, decode(in));
    }
  }
}

}  // namespace quern::fuzz
