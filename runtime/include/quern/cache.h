// Compiled kernels on disk: what was compiled once is loaded by every later process. On by default, in a folder that belongs
// to the user alone (QUERN_CACHE_DIR, else XDG_CACHE_HOME/quern, else ~/.cache/quern); any trouble with it is a compile, never
// an error. QUERN_CACHE=off, read-only or frozen sets the mode, QUERN_CACHE_SIZE the bound in bytes.
#pragma once

#include <cstdint>
#include <string>

#include <quern/export.h>

namespace quern {
inline namespace v0 {

enum class CacheMode {
  on,
  read_only,  // loads and never writes
  frozen,     // loads and never compiles: Error(not_prepared) names the key that is missing
  off,
};

struct CacheOptions {
  CacheMode mode = CacheMode::on;
  std::string directory;        // absolute; "": as above
  std::uint64_t most_bytes = 0; // kernels not used for longest go beyond it; 0: QUERN_CACHE_SIZE, else 1 GiB
  bool shared = false;          // accepts a directory of another user, or one that others may write. A kernel is code: whoever
                                // can write there can run code as this user.
};

struct CacheStatus {
  CacheMode mode = CacheMode::on;
  std::string directory;        // "": there is none
  std::string warning;          // the first thing that kept it from being used; "" while all is well
  std::uint64_t most_bytes = 0;
};

/// For the whole process, instead of what the environment says; kernels already loaded stay. Not while other threads compile.
QUERN_API void set_cache(const CacheOptions& options);
QUERN_API CacheStatus cache_status();

}  // namespace v0
}  // namespace quern
