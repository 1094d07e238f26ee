// Workers take runs of seeds and report through a pipe: "B seed" before a program, "E seed outcome ..." after it.
#include "tools/fuzz/fuzz.h"

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

#include "compiler/passes/pipeline.h"
#include "tools/fuzz/generate.h"
#include "tools/fuzz/shrink.h"

namespace quern::fuzz {

std::string program_of(std::uint64_t seed) {
  GenerateOptions options;
  options.exact = seed % 8 == 7;
  options.large = seed % 32 == 3;
  return generate(seed, options);
}

JudgeOptions judge_options_of(std::uint64_t seed, Device device, const std::string& mutant) {
  JudgeOptions options;
  options.device = device;
  options.data_seed = seed;
  options.threads = seed % 3 == 0 ? 2 : 1;
  // One pass off, every pass off, else the whole pipeline.
  std::vector<std::string> names;
  for (const compiler::Pass& pass : compiler::passes())
    if (!pass.required && std::find(names.begin(), names.end(), pass.name) == names.end()) names.emplace_back(pass.name);
  if (seed % 8 == 5 && !names.empty()) options.without = {names[static_cast<std::size_t>(seed / 8 % names.size())]};
  if (seed % 16 == 9) options.without = names;
  if (!mutant.empty()) options.without.push_back("mutant:" + mutant);
  return options;
}

namespace {

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

Verdict judge_apart(const std::string& program, const JudgeOptions& options, int seconds) {
  Worker worker([&](const auto& say) { say(encode(judge_all(program, options))); });
  std::string line;
  if (!worker.line(line, seconds)) return died(worker, seconds);
  std::istringstream in(line);
  return decode(in);
}

FuzzReport run_fuzz(const FuzzOptions& options, const std::function<void(int, const Failure*)>& progress) {
  FuzzReport report;
  constexpr int kRun = 100;  // programs per process
  int done = 0;
  const auto record = [&](std::uint64_t seed, const Verdict& v) {
    ++done;
    const std::string program = program_of(seed);
    report.coverage.add(program);
    report.checked += v.checked;
    report.undecided += v.undecided;
    report.max_ratio = std::max(report.max_ratio, v.max_ratio);
    if (v.outcome == Outcome::agree) ++report.agreed;
    if (v.outcome == Outcome::refused) ++report.refused;
    if (v.outcome == Outcome::agree || v.outcome == Outcome::refused) {
      if (progress) progress(done, nullptr);
      return;
    }
    Failure f;
    f.seed = seed;
    f.device = options.device;
    f.verdict = v;
    f.program = program;
    if (options.shrink) {
      const JudgeOptions how = judge_options_of(seed, options.device, options.mutant);
      // An edit may break a program in a way of its own, which is another fault than a printed form that changes.
      const bool by_message = v.outcome == Outcome::invalid;
      const std::string kind = v.message.substr(0, v.message.find('\n'));
      const auto fails_alike = [&](const std::string& smaller) {
        const Verdict now = judge_apart(smaller, how, options.seconds_per_program);
        return now.outcome == v.outcome && (!by_message || now.message.compare(0, kind.size(), kind) == 0);
      };
      f.program = shrink(program, fails_alike, v.outcome == Outcome::hang ? 12 : options.device == Device::cuda ? 60 : 300);  // each starts a GPU anew
      if (f.program != program) f.verdict = judge_apart(f.program, how, options.seconds_per_program);
    }
    report.failures.push_back(std::move(f));
    if (progress) progress(done, &report.failures.back());
  };
  while (done < options.count && static_cast<int>(report.failures.size()) < options.most_failures) {
    const std::uint64_t first = options.seed + static_cast<std::uint64_t>(done);
    const int run = std::min(kRun, options.count - done);
    Worker worker([&](const auto& say) {
      for (int i = 0; i < run; ++i) {
        const std::uint64_t seed = first + static_cast<std::uint64_t>(i);
        say(fmt::format("B {}", seed));
        const Verdict v = judge_all(program_of(seed), judge_options_of(seed, options.device, options.mutant));
        say(fmt::format("E {} {}", seed, encode(v)));
        // A GPU that failed stays failed for the process; the next one goes on behind this program.
        if (v.message.find("cannot use it any more") != std::string::npos) return;
      }
    });
    std::uint64_t current = first;
    bool open = false;
    const int before = done;
    for (std::string line; done < options.count && static_cast<int>(report.failures.size()) < options.most_failures;) {
      if (!worker.line(line, options.seconds_per_program)) {
        if (open || worker.timed_out || done == before) record(current, died(worker, options.seconds_per_program));
        break;
      }
      std::istringstream in(line);
      std::string tag;
      in >> tag >> current;
      open = tag == "B";
      if (!open) record(current, decode(in));
    }
  }
  return report;
}

}  // namespace quern::fuzz
