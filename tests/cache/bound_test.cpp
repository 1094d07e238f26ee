// The bound under a storm: writers and readers of one folder that holds far less than they write. An entry that goes breaks no
// reader, what is read is right, and the folder never grows far beyond its bound.
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include <random>

#include "tests/cache/place.h"
#include "tests/catch.h"

using namespace quern_test;

namespace {

constexpr std::uint64_t kBound = 1 << 20;
constexpr int kKeys = 400;

double seconds_now() {
  struct timespec t {};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

disk::Store bounded(const Place& place) {
  disk::StoreOptions options;
  options.folder = place.folder();
  options.most_bytes = kBound;
  return disk::Store(std::move(options));
}

/// What the key holds: 1 to 40 KB that follow from it.
std::string payload_of(int key) {
  std::mt19937 random(static_cast<unsigned>(key));
  std::string bytes(1000 + random() % 40000, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

struct Seen {
  std::uint64_t stored = 0, hits = 0, misses = 0, wrong = 0;
};

/// A child that writes, or reads, random keys until the time is over; what it saw comes back through a pipe.
int start(const Place& place, bool writes, unsigned seed, double until, std::vector<pid_t>& children) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    Seen seen;
    disk::Store store = bounded(place);
    std::mt19937 random(seed);
    while (seconds_now() < until) {
      const int key = static_cast<int>(random() % kKeys);
      const std::string payload = payload_of(key);
      if (writes) {
        seen.stored += store.write("key " + std::to_string(key), "k", payload);
        continue;
      }
      const disk::Found found = store.read("key " + std::to_string(key));
      if (found.how == disk::Found::How::hit) ++(found.payload == payload ? seen.hits : seen.wrong);
      else if (found.how == disk::Found::How::none) ++seen.misses;
      else ++seen.wrong;
    }
    const bool said = write(ends[1], &seen, sizeof seen) == static_cast<ssize_t>(sizeof seen);
    _exit(said ? 0 : 1);
  }
  close(ends[1]);
  children.push_back(child);
  return ends[0];
}

std::uint64_t bytes_in(const std::string& folder) {
  std::uint64_t total = 0;
  std::error_code gone;  // entries go while they are counted
  for (auto i = std::filesystem::recursive_directory_iterator(folder, gone); !gone && i != std::filesystem::recursive_directory_iterator(); i.increment(gone)) {
    std::error_code ignored;
    const auto size = i->file_size(ignored);
    if (!ignored) total += size;
  }
  return total;
}

void storm(int writers, int readers, double seconds) {
  const Place place;
  const double until = seconds_now() + seconds;
  std::vector<pid_t> children;
  std::vector<int> pipes;
  for (int i = 0; i < writers + readers; ++i) pipes.push_back(start(place, i < writers, static_cast<unsigned>(i), until, children));
  std::uint64_t largest = 0;
  while (seconds_now() < until) {
    largest = std::max(largest, bytes_in(place.folder()));
    usleep(2000);
  }
  Seen all;
  for (std::size_t i = 0; i < children.size(); ++i) {
    Seen seen;
    CHECK(read(pipes[i], &seen, sizeof seen) == static_cast<ssize_t>(sizeof seen));
    close(pipes[i]);
    int status = -1;
    waitpid(children[i], &status, 0);
    CHECK(status == 0);
    all.stored += seen.stored;
    all.hits += seen.hits;
    all.misses += seen.misses;
    all.wrong += seen.wrong;
  }
  INFO(all.stored << " stored, " << all.hits << " hits, " << all.misses << " misses, at most " << largest << " bytes");
  CHECK(all.wrong == 0);
  CHECK(all.stored > 400);   // 20 MB at least: the bound was met again and again
  CHECK(all.hits > 0);
  CHECK(all.misses > 0);     // something went
  // A sixteenth of the bound for each writer, and the entries that are being written.
  CHECK(largest <= kBound + static_cast<std::uint64_t>(writers) * (kBound / 16 + 2 * 41000));
  CHECK(largest > kBound / 2);
  disk::Store store = bounded(place);
  for (const disk::Listed& e : store.list(true)) CHECK(e.fault.empty());
}

}  // namespace

TEST_CASE("writers and readers on a folder of 1 MiB") { storm(4, 4, 2); }
TEST_CASE("8 writers and 8 readers on a folder of 1 MiB, 10 minutes", "[.][release]") { storm(8, 8, 600); }

TEST_CASE("kernels whose entries are pruned while they are used give right results") {
  const Place place;
  quern::clear_cache();
  quern::set_cache({quern::CacheMode::on, place.folder(), 20000, false});  // room for three or four
  const std::vector<float> x{1, 2, 3};
  for (int round = 0; round < 3; ++round)
    for (int k = 0; k < 8; ++k) {
      quern::clear_cache();
      const quern::Tensor y = quern::Kernel("kernel f(x: f32[N]) -> (y: f32[N]) { y[n] = x[n] * " + std::to_string(k + 2) + " + 1 }")(x);
      CHECK(y.get({2}) == static_cast<float>(3 * (k + 2) + 1));
    }
  quern::clear_cache();
  quern::set_cache({quern::CacheMode::off, "", 0, false});
  CHECK(bytes_in(place.folder()) <= 40000);
}
