// Whole entries or none: round trips, damage, collisions, the bound, and what the command's list and prune are made of.
#include <fcntl.h>
#include <sys/time.h>

#include <fstream>
#include <random>

#include "runtime/disk/entry.h"
#include "tests/cache/place.h"
#include "tests/catch.h"

using namespace quern_test;
using How = disk::Found::How;

namespace {

std::string bytes_of(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>(random());
  return bytes;
}

std::string file_of(const Place& place, const std::string& key) {
  const std::string digest = disk::digest_of(key);
  return place.folder() + "/" + digest.substr(0, 2) + "/" + digest;
}

void put(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  file << bytes;
  file.close();
  chmod(path.c_str(), 0600);
}

/// Every truncation and every flipped byte of one entry. In memory each; through the file system every `step`-th.
void damage(const std::string& key, const std::string& payload, std::size_t step, unsigned char mask) {
  const Place place;
  disk::Store store = place.store();
  const std::string whole = disk::pack({key, "k", payload});
  disk::Entry entry;
  const char* fault = nullptr;
  REQUIRE(disk::unpack(whole, &entry, &fault));
  REQUIRE(entry.payload == payload);
  std::size_t accepted = 0, hits = 0;
  REQUIRE(store.write(key, "k", payload));
  for (std::size_t at = 0; at < whole.size(); ++at) {
    accepted += disk::unpack(std::string_view(whole).substr(0, at), &entry, &fault);
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ mask);
    accepted += disk::unpack(flipped, &entry, &fault);
    if (at % step != 0) continue;
    put(file_of(place, key), whole.substr(0, at));
    hits += store.read(key).how == How::hit;
    put(file_of(place, key), flipped);
    hits += store.read(key).how == How::hit;
    hits += store.read(key).how != How::none;  // what was damaged is gone
  }
  accepted += disk::unpack(whole + "x", &entry, &fault);
  CHECK(accepted == 0);
  CHECK(hits == 0);
  REQUIRE(store.write(key, "k", payload));
  CHECK(store.read(key).payload == payload);
}

}  // namespace

TEST_CASE("what is stored is read again, by any store of the folder") {
  const Place place;
  disk::Store store = place.store();
  CHECK(store.read("key").how == How::none);
  const std::string payload = bytes_of(100000, 1);
  REQUIRE(store.write("key", "kernel", payload));
  const disk::Found found = place.store().read("key");
  CHECK(found.how == How::hit);
  CHECK(found.payload == payload);
  CHECK(found.name == "kernel");
  CHECK(store.read("kez").how == How::none);
  CHECK(store.warning().empty());
  struct stat s {};
  REQUIRE(stat(place.folder().c_str(), &s) == 0);
  CHECK((s.st_mode & 0777) == 0700);
  REQUIRE(stat(file_of(place, "key").c_str(), &s) == 0);
  CHECK((s.st_mode & 0777) == 0600);
}

TEST_CASE("every truncation and every flipped byte is a miss") {
  for (unsigned i = 0; i < 5; ++i) damage("key " + std::to_string(i), bytes_of(300 * i, i), 97, static_cast<unsigned char>(1u << i));
}

TEST_CASE("every truncation and every flipped byte of five large entries: 200,000", "[.][long]") {
  for (unsigned i = 0; i < 5; ++i) damage("key " + std::to_string(i) + bytes_of(900, i), bytes_of(19200, i), 1, static_cast<unsigned char>(0x80u >> i));
}

TEST_CASE("a digest that another key has gives no wrong kernel") {
  const Place place;
  disk::StoreOptions options;
  options.folder = place.folder();
  options.digest_digits = 2;
  disk::Store store(options);
  std::size_t hits = 0, wrong = 0;
  for (int i = 0; i < 1000; ++i) REQUIRE(store.write("key " + std::to_string(i), "k", "payload " + std::to_string(i)));
  for (int i = 0; i < 1000; ++i) {
    const disk::Found found = store.read("key " + std::to_string(i));
    hits += found.how == How::hit;
    wrong += found.how == How::hit && found.payload != "payload " + std::to_string(i);
  }
  CHECK(wrong == 0);
  CHECK(hits > 200);   // 256 slots
  CHECK(hits <= 256);
}

TEST_CASE("the bound holds, and what was used lately stays") {
  const Place place;
  disk::StoreOptions options;
  options.folder = place.folder();
  options.most_bytes = 64 << 10;
  disk::Store store(options);
  for (int i = 0; i < 200; ++i) {
    REQUIRE(store.write("key " + std::to_string(i), "k", bytes_of(2000, static_cast<unsigned>(i))));
    std::uint64_t total = 0;
    for (const disk::Listed& e : store.list()) total += e.bytes;
    REQUIRE(total <= options.most_bytes + options.most_bytes / 16 + 4096);
  }
  CHECK(store.read("key 199").how == How::hit);
  CHECK(store.read("key 0").how == How::none);
  CHECK_FALSE(store.write("large", "k", bytes_of(100 << 10, 7)));  // alone beyond the bound
  CHECK(store.read("key 199").how == How::hit);
}

TEST_CASE("list, verify, prune and clear agree") {
  const Place place;
  disk::Store store = place.store();
  for (int i = 0; i < 10; ++i) REQUIRE(store.write("key " + std::to_string(i), "kernel " + std::to_string(i), bytes_of(1000, static_cast<unsigned>(i))));
  CHECK(store.list().size() == 10);
  // Two are old, one is damaged, one stands at a place that is not its own, one was never finished.
  for (const char* old : {"key 3", "key 5"}) {
    const struct timeval times[2] = {{1000, 0}, {1000, 0}};
    REQUIRE(utimes(file_of(place, old).c_str(), times) == 0);
  }
  put(file_of(place, "key 7"), "nonsense");
  std::filesystem::rename(file_of(place, "key 8"), file_of(place, "key 8").substr(0, place.folder().size() + 4) + std::string(32, 'a').replace(0, 2, file_of(place, "key 8").substr(place.folder().size() + 1, 2)));
  const std::string unfinished = place.folder() + "/" + disk::digest_of("key 1").substr(0, 2) + "/.123-0000000000000000";
  put(unfinished, "half");
  const struct timeval times[2] = {{1000, 0}, {1000, 0}};
  REQUIRE(utimes(unfinished.c_str(), times) == 0);

  CHECK(store.list().size() == 8);
  std::size_t faults = 0;
  for (const disk::Listed& e : store.list(true)) faults += !e.fault.empty();
  CHECK(faults == 2);
  CHECK(store.list().back().used == 1000);
  std::uint64_t total = 0;
  for (const disk::Listed& e : store.list(true)) total += e.bytes;
  CHECK(store.prune(total) == 0);
  CHECK_FALSE(std::filesystem::exists(unfinished));
  CHECK(store.prune(total - 1100) == 2);
  CHECK(store.read("key 3").how == How::none);
  CHECK(store.read("key 5").how == How::none);
  CHECK(store.read("key 4").how == How::hit);
  CHECK(store.clear() == 8);
  CHECK(store.list(true).empty());
  CHECK(store.clear() == 0);
}

TEST_CASE("a read-only store writes, touches and removes nothing") {
  const Place place;
  REQUIRE(place.store().write("key", "k", "payload"));
  disk::StoreOptions options;
  options.folder = place.folder();
  options.read_only = true;
  disk::Store store(options);
  CHECK(store.read("key").how == How::hit);
  CHECK_FALSE(store.write("other", "k", "payload"));
  CHECK(store.clear() == 0);
  put(file_of(place, "key"), "nonsense");
  CHECK(store.read("key").how == How::damaged);
  CHECK(std::filesystem::exists(file_of(place, "key")));
}
