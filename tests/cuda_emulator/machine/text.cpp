// A launch: shared memory against a guard page, poison before every block, canaries behind.
#include "tests/cuda_emulator/machine/text.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <random>

#include <fmt/format.h>

#include "tests/cuda_emulator/machine/compile.h"
#include "tests/cuda_emulator/machine/fault.h"

namespace quern::emulator {

namespace {

constexpr unsigned char kCanary = 0xa7;

/// Dynamic shared memory: ends at (or, at_end false, begins behind) a page without access; the alignment leaves a gap at
/// the other end, watched by canaries.
class DynamicShared {
 public:
  DynamicShared(std::size_t bytes, std::size_t alignment, bool at_end) : bytes_(bytes) {
    const std::size_t inside = std::max<std::size_t>((bytes + kPage - 1) / kPage * kPage, kPage);
    mapped_ = inside + 2 * kPage;
    base_ = static_cast<unsigned char*>(mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + kPage, inside, PROT_READ | PROT_WRITE) != 0) throw std::runtime_error("no memory for shared memory");
    begin_ = base_ + kPage;
    end_ = begin_ + inside;
    data_ = at_end ? begin_ + (inside - bytes) / alignment * alignment : begin_;
  }
  ~DynamicShared() { munmap(base_, mapped_); }
  DynamicShared(const DynamicShared&) = delete;
  DynamicShared& operator=(const DynamicShared&) = delete;

  unsigned char* data() const { return data_; }
  void fill(unsigned char poison) {
    std::memset(begin_, kCanary, static_cast<std::size_t>(data_ - begin_));
    std::memset(data_, poison, bytes_);
    std::memset(data_ + bytes_, kCanary, static_cast<std::size_t>(end_ - data_) - bytes_);
  }
  bool intact() const {
    const auto whole = [](unsigned char c) { return c == kCanary; };
    return std::all_of(begin_, data_, whole) && std::all_of(data_ + bytes_, end_, whole);
  }
  /// Whether the address lies in a page next to the block.
  bool guards(const void* address) const {
    const auto* a = static_cast<const unsigned char*>(address);
    return a >= base_ && a < base_ + mapped_;
  }

 private:
  static constexpr std::size_t kPage = 4096;
  std::size_t bytes_, mapped_ = 0;
  unsigned char *base_, *begin_, *end_, *data_;
};

std::mutex& one_launch() {
  static std::mutex mutex;
  return mutex;
}

}  // namespace

Text::~Text() {
  if (library_) dlclose(library_);
}

std::shared_ptr<const Text> Text::load(const std::string& text, const std::vector<std::string>& entries) {
  static std::mutex mutex;
  static std::map<std::pair<std::string, std::vector<std::string>>, std::shared_ptr<const Text>> loaded;
  const std::lock_guard lock(mutex);
  std::shared_ptr<const Text>& known = loaded[{text, entries}];
  if (!known) known.reset(new Text(text, entries));
  return known;
}

Text::Text(const std::string& text, const std::vector<std::string>& entries) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines_.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  std::string source = rewritten(text, &dynamic_alignment_);
  source = "namespace {\n#line 1 \"kernel.cu\"\n" + source + "\n}  // namespace\n";
  for (const std::string& e : entries)
    source += fmt::format("extern \"C\" __attribute__((visibility(\"default\"))) void quern_run_{0}(const void* p) {{ quern_emulated::call({0}, p); }}\n"
                          "extern \"C\" __attribute__((visibility(\"default\"))) const unsigned long quern_bytes_{0} = quern_emulated::parameter_bytes({0});\n", e);
  library_ = compile_and_open(source);
  const auto find = [&](const std::string& name) {
    void* at = dlsym(library_, name.c_str());
    if (!at) throw std::runtime_error("no symbol " + name + " in what was compiled");
    return at;
  };
  machine_ = static_cast<quern_emulated::Machine**>(find("quern_machine"));
  if (*static_cast<int*>(find("quern_namespace_scope")))
    throw std::runtime_error("extern __shared__ stands at namespace scope; the emulator wants it in the kernel");
  static_shared_ = static_cast<unsigned char*>(reinterpret_cast<void* (*)()>(find("quern_static_shared"))());
  static_bytes_ = reinterpret_cast<unsigned long (*)()>(find("quern_static_bytes"))();
  // What the kernel itself declares; of other arrays than of bytes all that the text has.
  const auto static_of = [&](const std::string& e) -> std::size_t {
    static const std::string kKernel = "__global__", kShared = "__shared__", kExtern = "extern ", kBytes = "unsigned char ";
    const std::size_t begin = text.find(" " + e + "("), end = std::min(text.find(kKernel, begin), text.size());
    std::size_t bytes = 0;
    for (std::size_t at = begin; (at = text.find(kShared, at)) < end; at += kShared.size()) {
      if (at >= kExtern.size() && text.compare(at - kExtern.size(), kExtern.size(), kExtern) == 0) continue;
      const std::size_t stop = text.find(';', at), type = text.find(kBytes, at), size = text.find('[', at);
      if (type > stop || size > stop) return static_bytes_;
      bytes += (std::stoul(text.substr(size + 1)) + 15) / 16 * 16;
    }
    return std::min<std::size_t>(bytes, static_bytes_);
  };
  for (const std::string& e : entries)
    entries_.push_back({e, reinterpret_cast<void (*)(const void*)>(find("quern_run_" + e)), *static_cast<const unsigned long*>(find("quern_bytes_" + e)),
                        static_of(e)});
}

std::string Text::launch(std::size_t entry, const Grid& grid, const void* parameter, const How& how) const {
  if (grid.blocks < 0 || grid.blocks > 0x7fffffff) return fmt::format("{} blocks: a grid has 1 to 2^31 - 1", grid.blocks);
  if (grid.threads < 1 || grid.threads > 1024) return fmt::format("{} threads: a block has 1 to 1024", grid.threads);
  if (const std::size_t bytes = grid.shared_bytes + entries_[entry].static_bytes; bytes > 227 * 1024)
    return fmt::format("{} bytes of shared memory: a block has {} at most", bytes, 227 * 1024);
  const std::lock_guard lock(one_launch());
  DynamicShared shared(grid.shared_bytes, dynamic_alignment_, how.order != Order::descending);
  Block block(grid.threads, how.order, how.seed, lines_);
  block.grid_size = {static_cast<unsigned>(grid.blocks), 1, 1};
  block.dynamic_shared = shared.data();
  block.dynamic_bytes = grid.shared_bytes;
  // At an odd multiple of the alignment, as it may on a device; behind the static arrays, which begin at 0.
  const std::size_t twice = 2 * dynamic_alignment_;
  block.dynamic_address = quern_emulated::kDynamicWindow + static_cast<unsigned>((static_bytes_ + dynamic_alignment_ - 1) / twice * twice + dynamic_alignment_);
  block.static_shared = static_shared_;
  block.static_bytes = static_bytes_;
  *machine_ = &block;
  struct alignas(64) Line { char bytes[64]; };
  std::vector<Line> aligned_parameter((parameter_bytes(entry) + 63) / 64);
  std::memcpy(aligned_parameter.data(), parameter, parameter_bytes(entry));

  std::string error;
  sigjmp_buf back;
  const FaultGuard guard(back, [&](FaultGuard::Kind kind, const void* address) {
    const char* what = kind == FaultGuard::Kind::write ? "writes" : "reads";
    std::string where;
    if (kind == FaultGuard::Kind::division) where = "an integer is divided by 0, or the lowest one by -1";
    else if (block.stacks().overflowed(address)) where = "the stack of the thread is full";
    else if (shared.guards(address))
      where = fmt::format("{} dynamic shared memory at byte {} of {}", what, static_cast<const unsigned char*>(address) - shared.data(), grid.shared_bytes);
    else if (how.name_of_address) where = fmt::format("{} {}", what, how.name_of_address(address));
    else where = fmt::format("{} at {} where it may not (outside of a tensor, or misaligned)", what, address);
    block.blame(where, 0);
    error = block.fault();
  });
  if (sigsetjmp(back, 1) != 0) {
    block.has_landed();
    return error;
  }

  std::mt19937_64 random(how.seed);
  std::vector<std::uint32_t> shuffled;
  if (how.order == Order::random) {
    shuffled.resize(static_cast<std::size_t>(grid.blocks));
    std::iota(shuffled.begin(), shuffled.end(), 0u);
    std::shuffle(shuffled.begin(), shuffled.end(), random);
  }
  for (std::int64_t i = 0; i < grid.blocks; ++i) {
    const std::int64_t b = how.order == Order::random       ? shuffled[static_cast<std::size_t>(i)]
                           : how.order == Order::descending ? grid.blocks - 1 - i
                                                            : i;
    shared.fill(how.poison);
    std::memset(static_shared_, how.poison, static_bytes_);
    error = block.run(static_cast<std::uint32_t>(b), entries_[entry].run, aligned_parameter.data());
    if (error.empty() && !shared.intact()) error = fmt::format("block {}: wrote beside its {} bytes of dynamic shared memory", b, grid.shared_bytes);
    if (!error.empty()) return error;
  }
  return {};
}

}  // namespace quern::emulator
