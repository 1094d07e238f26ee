// See entry.h.
#include "runtime/disk/entry.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cstdint>
#include <cstring>

#include <fmt/format.h>

namespace quern::runtime::disk {
namespace {

/// Little-endian machines write and read it as it stands; another reads another `order` and takes the file for damaged.
struct Header {
  char magic[8] = {'q', 'u', 'e', 'r', 'n', '\r', '\n', '\x1a'};
  std::uint32_t format = 1;
  std::uint32_t order = 0x01020304;
  std::uint64_t key_bytes = 0, name_bytes = 0, payload_bytes = 0;
  std::uint64_t checksum[2] = {0, 0};  // of everything, these counted as zeros
};
static_assert(sizeof(Header) == 56);

XXH128_hash_t checksum_of(Header header, std::string_view rest) {
  header.checksum[0] = header.checksum[1] = 0;
  XXH3_state_t state;
  XXH3_128bits_reset(&state);
  XXH3_128bits_update(&state, &header, sizeof header);
  XXH3_128bits_update(&state, rest.data(), rest.size());
  return XXH3_128bits_digest(&state);
}

}  // namespace

std::string digest_of(std::string_view key) {
  const XXH128_hash_t hash = XXH3_128bits(key.data(), key.size());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

std::string pack(const Entry& entry) {
  Header header;
  header.key_bytes = entry.key.size();
  header.name_bytes = entry.name.size();
  header.payload_bytes = entry.payload.size();
  std::string file(sizeof header, '\0');
  file.reserve(sizeof header + entry.key.size() + entry.name.size() + entry.payload.size());
  file.append(entry.key).append(entry.name).append(entry.payload);
  const XXH128_hash_t sum = checksum_of(header, std::string_view(file).substr(sizeof header));
  header.checksum[0] = sum.low64;
  header.checksum[1] = sum.high64;
  std::memcpy(file.data(), &header, sizeof header);
  return file;
}

bool unpack(std::string_view file, Entry* entry, const char** fault) {
  const auto refuse = [&](const char* why) {
    *fault = why;
    return false;
  };
  Header header;
  if (file.size() < sizeof header) return refuse("shorter than a header");
  std::memcpy(&header, file.data(), sizeof header);
  const Header wanted;
  if (std::memcmp(header.magic, wanted.magic, sizeof header.magic) != 0 || header.order != wanted.order) return refuse("not an entry");
  if (header.format != wanted.format) return refuse("of another format");
  const std::string_view rest = file.substr(sizeof header);
  if (header.key_bytes > rest.size() || header.name_bytes > rest.size() - header.key_bytes ||
      header.payload_bytes != rest.size() - header.key_bytes - header.name_bytes)
    return refuse("of another length than it says");
  const XXH128_hash_t sum = checksum_of(header, rest);
  if (sum.low64 != header.checksum[0] || sum.high64 != header.checksum[1]) return refuse("damaged: its checksum is wrong");
  entry->key = rest.substr(0, header.key_bytes);
  entry->name = rest.substr(header.key_bytes, header.name_bytes);
  entry->payload = rest.substr(header.key_bytes + header.name_bytes);
  return true;
}

}  // namespace quern::runtime::disk
