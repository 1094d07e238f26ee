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

// Shared memory has 32-bit addresses: a window for the dynamic block, one for static arrays. Their last 18 bits, all that the
// descriptor of an operand keeps, differ too.
inline constexpr unsigned kDynamicWindow = 0x10000000u, kStaticWindow = 0x20000000u;

/// A copy of a box by a tensor map.
struct BoxCopy {
  unsigned to;
  const void* map;
  unsigned barrier;
  int rank;
  int at[5];
};

/// A product of the tensor cores by a warp group, as one warp issues it: d (64 x columns) = [d +] a (64 x 16) b (16 x columns).
struct GroupProduct {
  float* d[32];           // per lane, 4 for each 8 columns
  const unsigned* a[32];  // per lane, 4 registers; null: a lies in shared memory
  unsigned long long a_at, b_at;
  int columns, a_transposed, b_transposed, add, type, type_b;  // quern::DType
};

struct Machine {
  Dim3 thread, block, block_size, grid_size;  // of the thread that runs
  unsigned lane = 0;
  unsigned char* dynamic_shared = nullptr;
  unsigned long dynamic_bytes = 0;
  unsigned dynamic_address = 0;               // of the first byte, in its window
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
  /// mbarrier, by its shared address.
  void (*mbarrier_init)(Machine*, unsigned barrier, unsigned count, int line) = nullptr;
  void (*mbarrier_arrive)(Machine*, unsigned barrier, unsigned bytes, int line) = nullptr;  // announces bytes first
  void (*mbarrier_wait)(Machine*, unsigned barrier, unsigned parity, int line) = nullptr;
  /// Tensor copies, and products of the warp that runs.
  void (*box_issue)(Machine*, const BoxCopy&, int line) = nullptr;
  void (*product_issue)(Machine*, const GroupProduct&, int line) = nullptr;
  void (*product_commit)(Machine*) = nullptr;
  void (*product_wait)(Machine*, int groups_left, int line) = nullptr;
  /// Exact conversions (dsl/ir/dtype.h); `type` is quern::DType.
  double (*load)(int type, const void* at) = nullptr;
  void (*store)(int type, void* at, double value) = nullptr;
};

/// `bytes` of shared memory at a 32-bit address; null where there is none.
inline unsigned char* shared_at(const Machine& m, unsigned address, unsigned bytes) {
  if (address >= kStaticWindow) return address - kStaticWindow + bytes <= m.static_bytes ? m.static_shared + (address - kStaticWindow) : nullptr;
  if (address < m.dynamic_address || address - m.dynamic_address + bytes > m.dynamic_bytes) return nullptr;
  return m.dynamic_shared + (address - m.dynamic_address);
}

}  // namespace quern_emulated
