// Parameter words, grids and memory of each launch.
#include "tests/cuda_emulator/machine/run.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include <fmt/format.h>

#include "compiler/codegen/cuda/tensor_map.h"
#include "runtime/evaluate.h"
#include "tests/cuda_emulator/machine/tensor_copies.h"

namespace quern::emulator {

namespace {

/// Device memory: begins on a multiple of 256 bytes, ends as close to a page without access as that allows.
class DeviceMemory {
 public:
  DeviceMemory(std::string name, std::size_t bytes, unsigned char poison) : name_(std::move(name)), bytes_(bytes) {
    const std::size_t inside = std::max<std::size_t>((bytes + kPage - 1) / kPage * kPage, kPage);
    mapped_ = inside + 2 * kPage;
    base_ = static_cast<char*>(mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (base_ == MAP_FAILED || mprotect(base_ + kPage, inside, PROT_READ | PROT_WRITE) != 0) throw std::runtime_error("no memory for " + name_);
    data_ = base_ + kPage + (inside - bytes) / 256 * 256;
    std::memset(base_ + kPage, poison, inside);
  }
  ~DeviceMemory() {
    if (base_) munmap(base_, mapped_);
  }
  DeviceMemory(DeviceMemory&& o) noexcept : name_(std::move(o.name_)), bytes_(o.bytes_), mapped_(o.mapped_), base_(std::exchange(o.base_, nullptr)), data_(o.data_) {}
  DeviceMemory& operator=(DeviceMemory&&) = delete;

  char* data() const { return data_; }
  bool guards(const void* address) const { return address >= base_ && address < base_ + mapped_; }
  std::string place(const void* address) const {
    return fmt::format("byte {} of {}, which has {}", static_cast<const char*>(address) - data_, name_, bytes_);
  }

 private:
  static constexpr std::size_t kPage = 4096;
  std::string name_;
  std::size_t bytes_, mapped_ = 0;
  char *base_ = nullptr, *data_ = nullptr;
};

/// Values of the size expressions of one call.
class Sizes {
 public:
  Sizes(const ir::Program& program, const std::int64_t* symbols) : evaluation_{&program, symbols} {}
  std::int64_t of(ir::Expr e, const char* what) {
    const auto value = runtime::evaluate_integer(evaluation_, e);
    if (!value) throw std::runtime_error(fmt::format("{} of a launch does not evaluate", what));
    return *value;
  }

 private:
  runtime::Evaluation evaluation_;
};

}  // namespace

Outcome run_emulated(const cuda::CudaModule& module, const Call& call, const How& how) {
  std::vector<std::string> entries;
  for (const cuda::KernelLaunch& l : module.launches) entries.push_back(l.entry);
  const auto text = Text::load(module.text, entries);
  const ir::Program& program = module.program;
  Sizes sizes(program, call.symbols);

  std::vector<DeviceMemory> memory;
  memory.reserve(module.workspace.size() + 2 * module.launches.size() + 1);
  std::vector<cpu::TensorArg> tensors(call.tensors, call.tensors + program.tensors.size());
  std::vector<std::vector<std::int64_t>> dense(program.tensors.size());
  for (const ir::TensorId id : module.workspace) {
    const ir::Tensor& t = program.tensors[id];
    std::int64_t elements = 1;
    dense[id].resize(t.shape.size());
    for (std::size_t axis = t.shape.size(); axis-- > 0;) {
      dense[id][axis] = elements;
      elements *= sizes.of(t.shape[axis], "a shape");
    }
    memory.emplace_back("workspace tensor " + t.name, static_cast<std::size_t>(elements) * size_of(t.type), how.poison);
    tensors[id] = {memory.back().data(), dense[id].data()};
  }
  memory.emplace_back("the status", sizeof(cpu::Status), 0);
  auto* const status = reinterpret_cast<cpu::Status*>(memory.back().data());
  std::memset(status, 0, sizeof *status);

  How this_way = how;
  this_way.name_of_address = [&](const void* address) {
    for (const DeviceMemory& m : memory)
      if (m.guards(address)) return m.place(address);
    if (how.name_of_address) return how.name_of_address(address);
    return fmt::format("at {}, which belongs to no tensor", address);
  };

  for (std::size_t i = 0; i < module.launches.size(); ++i) {
    const cuda::KernelLaunch& launch = module.launches[i];
    const std::int64_t tasks = sizes.of(launch.tasks, "the number of tasks");
    if (tasks <= 0) continue;
    const std::int64_t most = launch.blocks_per_multiprocessor > 0 ? std::int64_t{launch.blocks_per_multiprocessor} * how.multiprocessors : 0x7fffffff;
    Grid grid{std::min(tasks, most), launch.threads, static_cast<std::size_t>(sizes.of(launch.shared_bytes, "shared memory"))};
    const std::int64_t slab = sizes.of(launch.slab_bytes, "the slab");
    memory.emplace_back("the slabs", static_cast<std::size_t>(slab * grid.blocks), how.poison);
    char* const slabs = memory.back().data();
    const std::int64_t zeroed = launch.zeroed_bytes ? sizes.of(launch.zeroed_bytes, "memory to clear") : 0;
    memory.emplace_back("the cleared memory", static_cast<std::size_t>(zeroed), 0);
    std::int64_t counter = 0;
    if (launch.words.size() > 500) return {fmt::format("{}: {} parameter words", launch.entry, launch.words.size()), {}};
    // The maps, then the words.
    std::vector<std::int64_t> words(launch.maps.size() * cuda::kMapBytes / 8);
    std::int64_t mapped = 0;
    for (std::size_t k = 0; k < launch.maps.size(); ++k) {
      const cuda::TensorMap& map = launch.maps[k];
      if (std::string wrong = cuda::fault_of(map); !wrong.empty()) return {launch.entry + ": " + wrong, {}};
      const auto extent = [&](int axis) { return sizes.of(program.tensors[map.tensor].shape[static_cast<std::size_t>(axis)], "a shape"); };
      const auto stride = [&](int axis) { return tensors[map.tensor].strides[axis]; };
      cuda::MapNumbers numbers;
      if (!cuda::map_numbers(map, reinterpret_cast<std::uint64_t>(tensors[map.tensor].data), extent, stride, numbers)) continue;
      encode_map(numbers, &words[k * cuda::kMapBytes / 8]);
      mapped |= std::int64_t{1} << k;
    }
    for (const cuda::Word& w : launch.words) {
      switch (w.kind) {
        case cuda::Word::data: words.push_back(reinterpret_cast<std::int64_t>(tensors[w.id].data)); break;
        case cuda::Word::stride: words.push_back(tensors[w.id].strides[w.axis]); break;
        case cuda::Word::symbol: words.push_back(call.symbols[w.id]); break;
        case cuda::Word::scalar: words.push_back(call.scalars[w.id]); break;
        case cuda::Word::status: words.push_back(reinterpret_cast<std::int64_t>(status)); break;
        case cuda::Word::slab: words.push_back(reinterpret_cast<std::int64_t>(slabs)); break;
        case cuda::Word::counter: words.push_back(reinterpret_cast<std::int64_t>(&counter)); break;
        case cuda::Word::zeroed: words.push_back(reinterpret_cast<std::int64_t>(memory.back().data())); break;
        case cuda::Word::tasks: words.push_back(tasks); break;
        case cuda::Word::mapped: words.push_back(mapped); break;
      }
    }
    const std::size_t bytes = cuda::parameter_bytes(launch.maps.size(), std::max<std::size_t>(launch.words.size(), launch.maps.empty()));
    words.resize(bytes / 8);
    if (text->parameter_bytes(i) != bytes)
      return {fmt::format("{}: takes {} bytes of parameters, the launch lists {} maps and {} words", launch.entry, text->parameter_bytes(i), launch.maps.size(),
                          launch.words.size()), {}};
    const std::string error = text->launch(i, grid, words.data(), this_way);
    if (error.empty() && counter != 0) return {fmt::format("{}: leaves {} in its counter", launch.entry, counter), {}};
    if (!error.empty()) return {launch.entry + ": " + error, {}};
  }
  return {{}, *status};
}

}  // namespace quern::emulator
