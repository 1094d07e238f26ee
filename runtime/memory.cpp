// Aligned allocation, huge pages and the list of freed large blocks. See memory.h.
#include "runtime/memory.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdlib>
#include <mutex>

namespace quern::runtime {
namespace {

constexpr std::size_t kKeptBlocks = 8, kKeptBytes = std::size_t{512} << 20;

std::atomic<AllocationGate>& gate() {
  static std::atomic<AllocationGate> value{nullptr};
  return value;
}

std::size_t huge_size(std::size_t bytes) { return (bytes + kHugePage - 1) / kHugePage * kHugePage; }

/// Freed large blocks, most recent last. Never destroyed: tensors may be freed while the process exits.
struct Kept {
  struct Block {
    void* memory;
    std::size_t bytes;
  };
  std::mutex mutex;
  Block blocks[kKeptBlocks];
  std::size_t count = 0, bytes = 0;

  static Kept& of_process() {
    static Kept* kept = new Kept;
    return *kept;
  }
  void* take(std::size_t want) {
    std::lock_guard lock(mutex);
    std::size_t best = count;
    for (std::size_t i = 0; i < count; ++i)
      if (blocks[i].bytes == want) best = i;
    if (best == count) return nullptr;
    void* memory = blocks[best].memory;
    bytes -= blocks[best].bytes;
    for (std::size_t i = best + 1; i < count; ++i) blocks[i - 1] = blocks[i];
    --count;
    return memory;
  }
  void drop_oldest() {
    munmap(blocks[0].memory, blocks[0].bytes);
    bytes -= blocks[0].bytes;
    for (std::size_t i = 1; i < count; ++i) blocks[i - 1] = blocks[i];
    --count;
  }
  bool keep(void* memory, std::size_t size) {
    if (size > kKeptBytes / 2) return false;
    std::lock_guard lock(mutex);
    while (count > 0 && (count == kKeptBlocks || bytes + size > kKeptBytes)) drop_oldest();
    blocks[count++] = {memory, size};
    bytes += size;
    return true;
  }
  void drop_all() {
    std::lock_guard lock(mutex);
    while (count > 0) drop_oldest();
  }
};

void* map_huge(std::size_t size) {
  // Over-allocate by one huge page to place the block on a boundary, then give the ends back.
  void* raw = mmap(nullptr, size + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  const auto start = reinterpret_cast<std::uintptr_t>(raw);
  const std::uintptr_t at = (start + kHugePage - 1) / kHugePage * kHugePage;
  if (at > start) munmap(raw, at - start);
  const std::uintptr_t end = start + size + kHugePage;
  if (end > at + size) munmap(reinterpret_cast<void*>(at + size), end - (at + size));
#ifdef MADV_HUGEPAGE
  madvise(reinterpret_cast<void*>(at), size, MADV_HUGEPAGE);
#endif
  return reinterpret_cast<void*>(at);
}

}  // namespace

void* allocate(std::size_t bytes) noexcept {
  if (const AllocationGate allowed = gate().load(std::memory_order_relaxed); allowed && !allowed(bytes)) return nullptr;
  if (bytes > (std::size_t{1} << 56)) return nullptr;
  if (bytes < kHugeFrom) {
    const std::size_t size = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    return std::aligned_alloc(kAlignment, size ? size : kAlignment);
  }
  const std::size_t size = huge_size(bytes);
  if (void* memory = Kept::of_process().take(size)) return memory;
  void* memory = map_huge(size);
  if (!memory) {
    Kept::of_process().drop_all();
    memory = map_huge(size);
  }
  return memory;
}

void release(void* memory, std::size_t bytes) noexcept {
  if (!memory) return;
  if (bytes < kHugeFrom) {
    std::free(memory);
    return;
  }
  const std::size_t size = huge_size(bytes);
  if (!Kept::of_process().keep(memory, size)) munmap(memory, size);
}

void set_allocation_gate(AllocationGate allowed) noexcept { gate().store(allowed); }

}  // namespace quern::runtime
