// One kernel as the bytes of a file: a header, the whole key, the name of the kernel that it was first made for, and the payload
// that a device knows how to load. The one idea: nothing in a file is believed before its checksum, its lengths and its key,
// byte for byte, are right; so damage and collisions are misses.
#pragma once

#include <string>
#include <string_view>

namespace quern::runtime::disk {

struct Entry {
  std::string_view key, name, payload;
};

/// 128 bits in hexadecimal.
std::string digest_of(std::string_view key);
std::string pack(const Entry& entry);
/// Views into `file`. False, with what is wrong, when it is not exactly one whole entry of this format.
bool unpack(std::string_view file, Entry* entry, const char** fault);

/// Files beyond this are no entries.
inline constexpr std::size_t kMostEntryBytes = std::size_t{1} << 28;

}  // namespace quern::runtime::disk
