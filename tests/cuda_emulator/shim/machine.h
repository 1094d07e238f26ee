// What generated text and the emulator share: the text calls the machine at every point where CUDA threads meet.
// Included by both sides, so it includes nothing.
#pragma once

namespace quern_emulated {

struct Dim3 {
  unsigned x = 1, y = 1, z = 1;
};

/// The lanes that met: one pointer per lane of the warp (null: not in the mask), to what that lane brought.
using Execute = void (*)(void* const* lanes, unsigned mask);

struct Barrier {
  int count = 0;  // threads whose predicate was not 0
  int threads = 0;
};

struct Machine {
  Dim3 thread, block, block_size, grid_size;  // of the thread that runs
  unsigned lane = 0;
  unsigned char* dynamic_shared = nullptr;
  unsigned long dynamic_bytes = 0, dynamic_alignment = 16;
  unsigned char* static_shared = nullptr;
  unsigned long static_bytes = 0;
  long long clock = 0;                        // counts meetings; what clock64 gives

  /// Waits for `threads` threads (0: the whole block) at barrier `id`.
  Barrier (*wait)(Machine*, const char* name, int id, int threads, int predicate, int line) = nullptr;
  /// Counts at barrier `id` and goes on.
  void (*arrive)(Machine*, int id, int threads, int line) = nullptr;
  /// Meets the lanes of `mask`; the last to come runs `execute` for all.
  void (*meet)(Machine*, const char* name, unsigned mask, void* mine, Execute execute, int line) = nullptr;
  unsigned (*lanes_alive)(Machine*) = nullptr;
  /// Lets other threads run.
  void (*yield)(Machine*, int line) = nullptr;
  /// Stops the launch with a message. Does not return.
  void (*fail)(Machine*, const char* what, int line) = nullptr;
  /// cp.async of the thread that runs.
  void (*copy_issue)(Machine*, void* to, const void* from, int bytes, int line) = nullptr;
  void (*copy_commit)(Machine*) = nullptr;
  void (*copy_wait)(Machine*, int groups_left) = nullptr;
  /// Exact conversions (dsl/ir/dtype.h); `type` is quern::DType.
  double (*load)(int type, const void* at) = nullptr;
  void (*store)(int type, void* at, double value) = nullptr;
};

}  // namespace quern_emulated
