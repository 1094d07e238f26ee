// Processes on one cache: storms, kills, frozen, and what a process that only loads never touches.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <random>
#include <sstream>

#ifdef QUERN_LLVM
#include "runtime/cpu/cpu_image.h"
#endif
#include "runtime/device.h"
#include "runtime/disk/entry.h"
#include "runtime/front.h"
#include "runtime/lowered.h"
#include "tests/cache/place.h"
#include "tests/catch.h"
#include "tests/command/process.h"

using namespace quern;
using namespace quern_test;

namespace {

std::string program(int k) { return "kernel storm(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] * " + std::to_string(k + 2) + " + 1 }"; }

double seconds_now() {
  struct timespec t {};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Children of one test run `body` at the same moment; how many did not return 0.
template <class F>
int together(int processes, const F& body) {
  int gate[2];
  REQUIRE(pipe(gate) == 0);
  std::vector<pid_t> children;
  for (int p = 0; p < processes; ++p) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      close(gate[1]);
      char c;
      [[maybe_unused]] const ssize_t n = read(gate[0], &c, 1);  // until the parent closes
      int result = 1;
      try {
        result = body(p);
      } catch (...) {
      }
      _exit(result);
    }
    children.push_back(child);
  }
  close(gate[0]);
  close(gate[1]);
  int failed = 0;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    failed += !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  }
  return failed;
}

/// Every kernel in every round by a new Kernel that memory knows nothing of; 0 when all results were right.
int storm(const std::string& folder, int kernels, int rounds) {
  set_cache({CacheMode::on, folder, 0, false});
  const std::vector<float> x{1, 2, 3};
  for (int round = 0; round < rounds; ++round)
    for (int k = 0; k < kernels; ++k) {
      clear_cache();
      const Tensor y = Kernel(program(k))(x);
      for (int i = 0; i < 3; ++i)
        if (y.get({i}) != x[static_cast<std::size_t>(i)] * static_cast<float>(k + 2) + 1) return 1;
    }
  return counters().loads > 0 || rounds == 1 ? 0 : 2;
}

void run_storm(int processes, int kernels, int rounds) {
  const Place place;
  CHECK(together(processes, [&](int) { return storm(place.folder(), kernels, rounds); }) == 0);
  disk::Store store = place.store();
  CHECK(store.list().size() == static_cast<std::size_t>(kernels));
  for (const disk::Listed& e : store.list(true)) CHECK(e.fault.empty());
}

/// Writers killed at any moment; readers find whole entries or none.
void run_kills(int kills) {
  const Place place;
  std::mt19937 random(42);
  const std::string payload(60000, 'p');
  std::size_t hits = 0, wrong = 0;
  for (int i = 0; i < kills; ++i) {
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      disk::Store store = place.store();
      for (int n = 0;; ++n) store.write("key " + std::to_string(n % 7), "k", payload + std::to_string(n % 7));
    }
    usleep(random() % 3000);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    disk::Store store = place.store();
    for (int n = 0; n < 7; ++n) {
      const disk::Found found = store.read("key " + std::to_string(n));
      hits += found.how == disk::Found::How::hit;
      wrong += found.how == disk::Found::How::hit ? found.payload != payload + std::to_string(n) : found.how != disk::Found::How::none;
    }
  }
  CHECK(wrong == 0);
  CHECK(hits > static_cast<std::size_t>(kills));
  disk::Store store = place.store();
  for (const disk::Listed& e : store.list(true)) CHECK(e.fault.empty());
  CHECK(store.write("after", "k", payload));
  CHECK(store.read("after").payload == payload);
}

/// This test program again, as a new process that runs one kernel; what it wrote down.
struct Child {
  int status = -1;
  std::uint64_t compiles = 0, loads = 0;
  double done = 0;          // when the first result was there
  std::string error, maps;
};

Child run_child(const Place& place, const std::string& text, const std::string& mode = "on") {
  const std::string out = place / "child.txt";
  std::error_code ignored;
  std::filesystem::remove(out, ignored);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    setenv("QUERN_CACHE", mode.c_str(), 1);
    setenv("QUERN_CACHE_DIR", place.folder().c_str(), 1);
    setenv("QUERN_CHILD_TEXT", text.c_str(), 1);
    setenv("QUERN_CHILD_OUT", out.c_str(), 1);
    const int null = open("/dev/null", O_WRONLY);
    dup2(null, 1);
    execl("/proc/self/exe", "child", "[.child]", static_cast<char*>(nullptr));
    _exit(127);
  }
  Child result;
  int status = 0;
  waitpid(child, &status, 0);
  result.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  std::ifstream file(out);
  std::string done;
  std::getline(file, done);
  std::istringstream(done) >> result.done >> result.compiles >> result.loads;
  std::getline(file, result.error);
  std::stringstream rest;
  rest << file.rdbuf();
  result.maps = rest.str();
  return result;
}

const std::string kAttention =
    "kernel attention<D: int>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {\n"
    "  s[m,n] = sum[d](q[m,d] * k[n,d]) / sqrt(D)\n  o[m,d] = sum[n](softmax[n](s[m,n]) * v[n,d])\n}";

}  // namespace

TEST_CASE("one kernel in a new process", "[.child]") {
  const char *text = getenv("QUERN_CHILD_TEXT"), *out = getenv("QUERN_CHILD_OUT");
  if (!text || !out) return;
  std::string error;
  double done = 0;
  try {
    const Kernel kernel(text);
    std::vector<Tensor> tensors;
    for (const Parameter& p : kernel.parameters())
      if (p.role == Parameter::Role::input) tensors.push_back(p.type.find(',') == std::string::npos ? Tensor::zeros(f32, {8}) : Tensor::zeros(f32, {8, 64}));
    std::vector<Argument> arguments(tensors.begin(), tensors.end());
    kernel.run(arguments);
    done = seconds_now();
  } catch (const Error& e) {
    error = e.message().substr(0, e.message().find('\n'));
  }
  std::ifstream maps("/proc/self/maps");
  std::ofstream file(out);
  file.precision(17);
  file << done << ' ' << counters().compiles << ' ' << counters().loads << '\n' << error << '\n' << maps.rdbuf();
}

TEST_CASE("a process whose kernel is cached never loads LLVM") {
  if (!runtime::has_cpu()) return;
  const Place place;
  const Child first = run_child(place, kAttention);
  CHECK(first.error == "");
  CHECK(first.compiles == 1);
  CHECK(first.maps.find("libquern_llvm") != std::string::npos);
  CHECK(first.maps.find("libLLVM") != std::string::npos);
  const Child second = run_child(place, kAttention);
  CHECK(second.error == "");
  CHECK(second.compiles == 0);
  CHECK(second.loads == 1);
  REQUIRE(second.maps.find("libstdc++") != std::string::npos);
  CHECK(second.maps.find("LLVM") == std::string::npos);
  CHECK(second.maps.find("llvm") == std::string::npos);
  // Another spelling, in another process.
  const std::string renamed = "kernel attention<D: int>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) { z[i,j] = sum[c](q[i,c] * k[j,c]) / sqrt(D); o[a,b] = sum[j](softmax[j](z[a,j]) * v[j,b]) }";
  CHECK(run_child(place, renamed).loads == 1);
}

TEST_CASE("frozen never compiles and names the key; read-only stores nothing") {
  if (!runtime::has_cpu()) return;
  const Place place;
  const Child missing = run_child(place, program(1), "frozen");
  CHECK(missing.compiles == 0);
  CHECK(missing.error.find("is not in the cache, which is frozen: no entry ") != std::string::npos);
  CHECK(missing.maps.find("LLVM") == std::string::npos);
  CHECK(run_child(place, program(1), "read-only").compiles == 1);
  CHECK(place.store().list().empty());
  CHECK(run_child(place, program(1), "off").compiles == 1);
  CHECK(place.store().list().empty());
  CHECK(run_child(place, program(1)).compiles == 1);
  REQUIRE(place.store().list().size() == 1);
  // The key that frozen named is the file that is there now.
  CHECK(missing.error.find(place.store().list()[0].digest) != std::string::npos);
  CHECK(run_child(place, program(1), "frozen").loads == 1);
  CHECK(run_child(place, program(1), "read-only").loads == 1);
}

TEST_CASE("processes share one cache") {
  if (runtime::has_cpu()) run_storm(6, 4, 5);
}
TEST_CASE("32 processes, 8 kernels, 50 rounds", "[.][long]") {
  if (runtime::has_cpu()) run_storm(32, 8, 50);
}
TEST_CASE("64 processes, 8 kernels, 200 rounds", "[.][release]") {
  if (runtime::has_cpu()) run_storm(64, 8, 200);
}
TEST_CASE("writers are killed") { run_kills(60); }
TEST_CASE("2,000 writers are killed", "[.][long]") { run_kills(2000); }
TEST_CASE("10,000 writers are killed", "[.][release]") { run_kills(10000); }

TEST_CASE("whole but wrong images are compiled again") {
  if (!runtime::has_cpu()) return;
  const Place place;
  const std::vector<float> x{1, 2, 3};
  {
    const WithCache cache(place.folder());
    Kernel{program(1)}(x);
  }
  disk::Store store = place.store();
  REQUIRE(store.list().size() == 1);
  const std::string key = store.list()[0].key;
  const std::string payload = store.read(key).payload;
  // A right checksum over bytes that no device made: lengths, section headers, symbols of the object. What loads is right.
  std::vector<std::string> wrong{"", "x", payload.substr(0, payload.size() / 2), payload + "x", std::string(payload.size(), '\0'), std::string(payload.size(), '\xff')};
  for (std::size_t at = 0; at < 8 + 64; ++at) {
    wrong.push_back(payload);
    wrong.back()[at] = static_cast<char>(wrong.back()[at] ^ 0xff);
  }
  std::size_t right = 0, compiled = 0;
  for (const std::string& bytes : wrong) {
    REQUIRE(store.write(key, "k", bytes));
    const WithCache cache(place.folder());
    const Kernel kernel(program(1));
    right += Tensor(kernel(x)).get({2}) == 10;
    compiled += kernel.counters().compiles;
  }
  CHECK(right == wrong.size());
  CHECK(compiled >= 30);  // the others are fields of the header that nothing reads
}

TEST_CASE("the command: path, list, verify, prune, clear, warm") {
  if (!runtime::has_cpu()) return;
  const Place place;
  const std::vector<std::string> environment{"QUERN_CACHE=on", "QUERN_CACHE_DIR=" + place.folder()};
  const auto quern = [&](std::vector<std::string> words) { return run_quern(words, "", environment); };
  std::ofstream(place / "two.quern") << "kernel a(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] + 1 }\nkernel b<D: int>(x: f32[N,D]) -> (y: f32[N]) { y[n] = sum[d](x[n,d]) }\n";
  CHECK(quern({"cache", "path"}).out == place.folder() + "\n");
  CHECK(quern({"cache", "list"}).out.find("0 entries") != std::string::npos);
  const Output open = quern({"cache", "warm", place / "two.quern"});
  CHECK(open.status == 0);
  CHECK(open.out.find("a: compiled") != std::string::npos);
  CHECK(open.out.find("b: left out") != std::string::npos);
  const Output warm = quern({"cache", "warm", place / "two.quern", "--set", "D=8"});
  CHECK(warm.out == "a: was there\nb: compiled\n");
  const Output list = quern({"cache", "list"});
  CHECK(list.out.find("2 entries") != std::string::npos);
  CHECK(list.out.find(" b\n") != std::string::npos);
  CHECK(quern({"cache", "list", "--json"}).out.find("\"kernel\": \"a\"") != std::string::npos);
  CHECK(quern({"cache", "path", "--json"}).out == "{\n  \"directory\": \"" + place.folder() + "\"\n}\n");
  CHECK(quern({"cache", "verify", "--json"}).out == "{\n  \"entries\": 2,\n  \"damaged\": []\n}\n");
  CHECK(quern({"cache", "warm", place / "two.quern", "--json"}).out.find("\"state\": \"left out\",\n      \"why\": \"") != std::string::npos);
  CHECK(quern({"cache", "verify"}).status == 0);
  CHECK(quern({"explain", place / "two.quern", "b", "--set", "D=8", "--key"}).out.find("hit: ") != std::string::npos);
  CHECK(quern({"explain", place / "two.quern", "b", "--set", "D=9", "--key"}).out.find("miss: ") != std::string::npos);
  const disk::Listed one = place.store().list()[0];
  std::ofstream(place.folder() + "/" + one.digest.substr(0, 2) + "/" + one.digest) << "nonsense";
  const Output verify = quern({"cache", "verify"});
  CHECK(verify.status == 3);
  CHECK(verify.out.find("1 damaged") != std::string::npos);
  const Output verify_json = quern({"cache", "verify", "--json"});
  CHECK(verify_json.status == 3);
  CHECK(verify_json.out.find("\"key\": \"" + one.digest + "\"") != std::string::npos);
  CHECK(quern({"cache", "prune", "--size", "10MB"}).out == "0 entries removed\n");
  CHECK(quern({"cache", "prune", "--size", "many"}).status == 2);
  CHECK(quern({"cache", "prune", "--size", "1"}).out == "2 entries removed\n");
  CHECK(quern({"cache", "clear", "--json"}).out == "{\n  \"removed\": 0\n}\n");
  CHECK(run_quern({"cache", "list"}, "", {"QUERN_CACHE=on", "QUERN_CACHE_DIR=" + place.folder(), "QUERN_CACHE_SIZE=huge"}).err.find("QUERN_CACHE_SIZE='huge' is no number of bytes") != std::string::npos);
  CHECK(run_quern({"cache", "list"}, "", {"QUERN_CACHE=off"}).status == 6);
  chmod(place.folder().c_str(), 0777);
  const Output open_to_all = quern({"run", place / "two.quern", "a", "x=random:[4]"});
  CHECK(open_to_all.status == 0);
  CHECK(open_to_all.err.find("warning: ") != std::string::npos);
  CHECK(open_to_all.err.find("may be written by others") != std::string::npos);
}

TEST_CASE("time of loading and of starting", "[.][speed]") {
  if (!runtime::has_cpu()) return;
  const Place place;
  run_child(place, kAttention);
  std::vector<double> starts, loads;
  for (int i = 0; i < 41; ++i) {
    const double begin = seconds_now();
    const Child child = run_child(place, kAttention);
    REQUIRE(child.loads == 1);
    starts.push_back(child.done - begin);
  }
  const WithCache cache(place.folder());
  const Tensor q = Tensor::zeros(f32, {8, 64});
  disk::Store store = place.store();
  const std::string key = store.list().at(0).key;
  for (int i = 0; i < 201; ++i) {
    const double begin = seconds_now();
    if (store.read(key).payload.empty()) FAIL("no entry");
    loads.push_back(seconds_now() - begin);
  }
  // The whole way of an entry: read and checked, its code put into memory.
  std::vector<double> entries;
#ifdef QUERN_LLVM
  const runtime::Front front(kAttention, "text", "");
  const Options options = Options().set("D", 64);
  runtime::CompileRequest request;
  request.options = &options;
  request.program = front.check(options.settings);
  const auto settled = runtime::settled_program(request);
  const std::size_t slots = runtime::Binding(*settled).slots().size();
  for (int i = 0; i < 201; ++i) {
    std::string error;
    const double begin = seconds_now();
    const auto image = runtime::load_cpu_image(store.read(key).payload, *settled, slots, &error);
    entries.push_back(seconds_now() - begin);
    REQUIRE(image);
  }
#endif
  std::vector<double> kernels;
  for (int i = 0; i < 41; ++i) {
    clear_cache();
    const double begin = seconds_now();
    const Kernel kernel(kAttention);
    kernel(q, q, q);
    kernels.push_back(seconds_now() - begin);
  }
  for (std::vector<double>* v : {&starts, &loads, &entries, &kernels}) std::sort(v->begin(), v->end());
  const auto median = [](const std::vector<double>& v) { return v[v.size() / 2]; };
  std::printf("process start to first result: %.2f ms (best %.2f); reading an entry: %.1f us (best %.1f); with its code in memory: %.1f us (best %.1f); "
              "text to result with the entry on disk: %.2f ms (best %.2f)\n",
              median(starts) * 1e3, starts[0] * 1e3, median(loads) * 1e6, loads[0] * 1e6, entries.empty() ? 0 : median(entries) * 1e6, entries.empty() ? 0 : entries[0] * 1e6,
              median(kernels) * 1e3, kernels[0] * 1e3);
}
