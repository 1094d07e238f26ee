// Resolving words, loading, and launching. See module.h.
#include "runtime/cuda/module.h"

#include <algorithm>

#include <fmt/format.h>

#include "compiler/codegen/cuda/tensor_map.h"
#include "runtime/cuda/tensor_maps.h"
#include "runtime/evaluate.h"
#include "runtime/small_array.h"

namespace quern::runtime::gpu {
namespace {

constexpr std::size_t kAlign = 256;
constexpr std::size_t kMostWords = 500, kMostParameterBytes = 4096;
constexpr int kSharedWithoutAsking = 48 * 1024;

std::size_t aligned(std::size_t bytes) { return (bytes + kAlign - 1) / kAlign * kAlign; }

}  // namespace

struct Module::Amounts {
  explicit Amounts(std::size_t launches, std::size_t workspace) : tasks(launches), grid(launches), shared(launches), offsets(workspace), zeroed(launches), zeroed_bytes(launches) {}
  SmallArray<std::int64_t, 16> tasks;
  SmallArray<unsigned, 16> grid, shared;
  SmallArray<std::size_t, 16> offsets;  // of workspace tensors in the block
  std::size_t slab = 0, bytes = 0;      // where slabs begin; the whole block
  SmallArray<std::size_t, 16> zeroed, zeroed_bytes;  // per launch
};

struct Module::Place {
  explicit Place(const std::vector<quern::cuda::KernelLaunch>& launches) : maps(launches) {}

  Gpu* gpu = nullptr;
  Library library = nullptr;
  std::vector<Function> functions;   // per launch
  std::vector<int> most_shared;      // dynamic shared bytes that the kernel was allowed at loading
  DevicePointer status = 0;
  TensorMaps maps;
  std::mutex mutex;                  // blocks, spare status words; held while launches use a block
  std::vector<Block> blocks;
  std::vector<DevicePointer> spare;
  bool captured = false;             // a graph refers to the code and to blocks: they are never freed

  void free_all();
};

Module::Module(const Binding& binding, quern::cuda::CudaModule printed, CompiledText compiled, const quern::cuda::Target& target)
    : printed_(std::move(printed)), program_(printed_.program), compiled_(std::move(compiled)), target_(target) {
  using quern::cuda::Word;
  std::vector<Step> data(program_.tensors.size(), Step{Step::constant, 0, 0, 0});
  std::vector<bool> has_place(program_.tensors.size());
  const auto set = [&](ir::TensorId id, Step::Kind kind, std::size_t index) {
    data[id] = {kind, static_cast<std::uint32_t>(index), 0, 0};
    has_place[id] = true;
  };
  for (std::size_t slot = 0; slot < binding.slots().size(); ++slot) {
    const TensorSlot& s = binding.slots()[slot];
    set(s.tensor, Step::slot_data, slot);
    if (s.result) set(*s.result, Step::slot_data, slot);
  }
  for (std::size_t i = 0; i < printed_.workspace.size(); ++i) set(printed_.workspace[i], Step::work_data, i);
  const auto fault = [&](const std::string& text) { throw Error(Code::internal, fmt::format("error: internal fault in {}: {}", what(), text)); };

  needs_memory_ = !printed_.workspace.empty();
  for (const quern::cuda::KernelLaunch& launch : printed_.launches) {
    if (launch.words.size() > kMostWords) fault(fmt::format("launch {} takes {} parameter words", launch.entry, launch.words.size()));
    if (quern::cuda::parameter_bytes(launch.maps.size(), launch.words.size()) > kMostParameterBytes)
      fault(fmt::format("launch {} takes {} tensor maps and {} parameter words", launch.entry, launch.maps.size(), launch.words.size()));
    std::vector<Step>& mapped = mapped_.emplace_back();
    for (const quern::cuda::TensorMap& map : launch.maps) {
      if (const std::string wrong = quern::cuda::fault_of(map); !wrong.empty()) fault(fmt::format("launch {}: {}", launch.entry, wrong));
      if (map.tensor >= data.size() || !has_place[map.tensor]) fault(fmt::format("launch {} maps tensor {}, which has no storage", launch.entry, map.tensor));
      mapped.push_back(data[map.tensor]);
    }
    needs_memory_ |= static_cast<bool>(launch.slab_bytes) || static_cast<bool>(launch.zeroed_bytes);
    std::vector<Step> steps;
    for (const Word& word : launch.words) {
      Step step{Step::constant, word.id, word.axis, 0};
      switch (word.kind) {
        case Word::data:
        case Word::stride:
          if (word.id >= data.size() || !has_place[word.id]) fault(fmt::format("launch {} reads tensor {}, which has no storage", launch.entry, word.id));
          step = data[word.id];
          step.axis = word.axis;
          if (word.kind == Word::stride) step.kind = step.kind == Step::slot_data ? Step::slot_stride : Step::work_stride;
          break;
        case Word::symbol:
          if (const auto& value = program_.symbols[word.id].value) step.value = *value;
          else step.kind = Step::symbol;
          break;
        case Word::scalar: step.kind = Step::scalar; break;
        case Word::status:
          step.kind = Step::status;
          checks_ = true;
          break;
        case Word::slab: step.kind = Step::slab; break;
        case Word::tasks: step.kind = Step::tasks; break;
        case Word::mapped: step.kind = Step::mapped; break;
        case Word::zeroed: step.kind = Step::zeroed; break;
        case Word::counter:
          step.kind = Step::counter;
          needs_memory_ = counts_ = true;
          break;
      }
      steps.push_back(step);
    }
    steps_.push_back(std::move(steps));
  }
}

std::string Module::what() const { return fmt::format("kernel '{}'", program_.name); }

void Module::Place::free_all() {
  if (captured) return;
  try {
    const Current current(*gpu);
    const Driver& d = gpu->driver();
    d.cuCtxSynchronize();  // launches may still run
    for (const Block& block : blocks) d.cuMemFree(block.memory);
    for (const DevicePointer p : spare) d.cuMemFree(p);
    if (status) d.cuMemFree(status);
    d.cuLibraryUnload(library);
  } catch (const Error&) {
    // The GPU is lost or the process is ending: nothing is left to free.
  }
}

Module::~Module() {
  for (auto& place : places_)
    if (Place* p = place.load()) {
      p->free_all();
      delete p;
    }
}

void Module::require_fits(const Gpu& gpu) const {
  const int have = gpu.target().sm, made = target_.sm;
  const bool fits = compiled_.cubin.empty() ? have >= made : target_.accelerated ? have == made : have / 10 == made / 10 && have >= made;
  if (!fits)
    throw Error(Code::unsupported, fmt::format("error: {} was compiled for {}; GPU {} ({}) is {}", what(), quern::cuda::name_of(target_), gpu.ordinal(),
                                               gpu.name(), quern::cuda::name_of(gpu.target())));
}

Module::Place& Module::place_on(Gpu& gpu, bool may_load) {
  std::atomic<Place*>& where = places_[static_cast<std::size_t>(gpu.ordinal())];
  if (Place* place = where.load(std::memory_order_acquire)) return *place;
  if (!may_load) throw Error(Code::not_prepared, fmt::format("error: {} is not loaded on GPU {}; call prepare with such arguments first", what(), gpu.ordinal()));
  std::lock_guard lock(mutex_);
  if (Place* place = where.load(std::memory_order_acquire)) return *place;
  require_fits(gpu);
  const Current current(gpu);
  const Driver& d = gpu.driver();
  auto place = std::make_unique<Place>(printed_.launches);
  place->gpu = &gpu;
  const std::string loading = "loading " + what();
  // With lazy loading a driver may look at the code as late as at cuKernelGetFunction.
  const auto taken = [&](Result result) {
    if (is_refusal(result))
      throw Refused(fmt::format("error: GPU {} ({}, driver of CUDA {}) refuses the machine code of {}, which was made for {}: {}", gpu.ordinal(), gpu.name(),
                                version_text(d.version), what(), quern::cuda::name_of(target_), text_of(d, result)));
    gpu.require(result, loading);
  };
  taken(d.cuLibraryLoadData(&place->library, compiled_.image().c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0));
  try {
    for (const quern::cuda::KernelLaunch& launch : printed_.launches) {
      Kernel kernel = nullptr;
      Function function = nullptr;
      taken(d.cuLibraryGetKernel(&kernel, place->library, launch.entry.c_str()));
      int most = kSharedWithoutAsking;
      std::int64_t constant = 0;
      const bool may_need_more = launch.shared_bytes && !(program_.pool.is_integer_constant(launch.shared_bytes, &constant) && constant <= most);
      if (may_need_more) {
        int fixed = 0;
        gpu.require(d.cuKernelGetAttribute(&fixed, kStaticShared, kernel, gpu.id()), loading);
        most = gpu.target().shared_bytes - fixed;
        gpu.require(d.cuKernelSetAttribute(kMaxDynamicShared, most, kernel, gpu.id()), loading);
      }
      // Now rather than at the first launch, which may be inside a capture.
      taken(d.cuKernelGetFunction(&function, kernel));
      place->functions.push_back(function);
      place->most_shared.push_back(most);
    }
    if (checks_) {
      gpu.require(d.cuMemAlloc(&place->status, sizeof(cpu::Status)), "the status word of " + what());
      gpu.require(d.cuMemsetD8Async(place->status, 0, sizeof(cpu::Status), nullptr), "the status word of " + what());
      gpu.require(d.cuStreamSynchronize(nullptr), "the status word of " + what());
    }
  } catch (...) {
    place->free_all();
    throw;
  }
  where.store(place.get(), std::memory_order_release);
  return *place.release();
}

std::int64_t Module::evaluate(ir::Expr e, const ModuleCall& call, const char* name) const {
  Evaluation evaluation{&program_, call.symbols};
  const auto value = evaluate_integer(evaluation, e);
  if (!value || *value < 0)
    throw Error(evaluation.overflow ? Code::overflow : Code::internal,
                evaluation.overflow ? fmt::format("error: {}: {} ({}) does not fit in 64 bits", what(), name, runtime::text_of(program_, e))
                                    : fmt::format("error: internal fault in {}: {} ({}) is not a size", what(), name, runtime::text_of(program_, e)));
  return *value;
}

void Module::measure(Gpu& gpu, const ModuleCall& call, Amounts& amounts) const {
  constexpr std::int64_t kMostBytes = std::int64_t{1} << 56;
  const auto too_large = [&] { throw Error(Code::overflow, fmt::format("error: {} would need more than 2^56 bytes of workspace", what())); };
  const auto grow = [&](std::int64_t bytes) {
    if (bytes > kMostBytes || static_cast<std::int64_t>(amounts.bytes) + bytes > kMostBytes) too_large();
    const std::size_t at = amounts.bytes;
    amounts.bytes += aligned(static_cast<std::size_t>(bytes));
    return at;
  };
  if (counts_) grow(static_cast<std::int64_t>(printed_.launches.size() * sizeof(std::int64_t)));  // counters come first
  for (std::size_t i = 0; i < printed_.workspace.size(); ++i) {
    const ir::Tensor& t = program_.tensors[printed_.workspace[i]];
    auto bytes = static_cast<std::int64_t>(size_of(t.type));
    for (const ir::Expr extent : t.shape)
      if (__builtin_mul_overflow(bytes, evaluate(extent, call, "a workspace size"), &bytes)) too_large();
    amounts.offsets[i] = grow(bytes);
  }
  std::int64_t slab = 0;
  for (std::size_t k = 0; k < printed_.launches.size(); ++k) {
    const quern::cuda::KernelLaunch& launch = printed_.launches[k];
    const std::int64_t tasks = amounts.tasks[k] = evaluate(launch.tasks, call, "the number of tasks");
    std::int64_t grid = std::min<std::int64_t>(tasks, 0x7fffffff);
    if (launch.blocks_per_multiprocessor > 0)
      grid = std::min<std::int64_t>(grid, std::int64_t{launch.blocks_per_multiprocessor} * gpu.target().multiprocessors);
    amounts.grid[k] = static_cast<unsigned>(grid);
    const std::int64_t shared = launch.shared_bytes ? evaluate(launch.shared_bytes, call, "shared memory") : 0;
    if (shared > 0x7fffffff) too_large();
    amounts.shared[k] = static_cast<unsigned>(shared);
    amounts.zeroed_bytes[k] = 0;
    if (launch.zeroed_bytes && tasks > 0) {
      const std::int64_t bytes = evaluate(launch.zeroed_bytes, call, "memory to clear");
      amounts.zeroed[k] = grow(bytes);
      amounts.zeroed_bytes[k] = static_cast<std::size_t>(bytes);
    }
    if (!launch.slab_bytes || tasks == 0) continue;
    std::int64_t each = evaluate(launch.slab_bytes, call, "the slab"), all = 0;
    if (each > kMostBytes || __builtin_mul_overflow(static_cast<std::int64_t>(aligned(static_cast<std::size_t>(each))), grid, &all)) too_large();
    slab = std::max(slab, all);
  }
  amounts.slab = grow(slab);
}

Module::Block& Module::block_for(Place& place, const ModuleCall& call, std::size_t bytes) {
  Gpu& gpu = *place.gpu;
  const std::uint64_t capture = capture_of(gpu, call.stream);
  Block *own = nullptr, *free = nullptr;
  for (Block& block : place.blocks) {
    if (block.stream != call.stream) continue;
    if (capture != 0 && block.capture == capture && block.bytes >= bytes) return block;
    if (block.capture == 0) own = free = &block;
  }
  if (capture != 0) {
    // Nothing can be allocated now. What `prepare` set aside becomes the graph's.
    if (!free || free->bytes < bytes)
      throw Error(Code::not_prepared, fmt::format("error: {} needs {} bytes of workspace, and its stream is captured into a graph; call prepare with such "
                                                  "arguments and this stream before the capture", what(), bytes));
    free->capture = capture;
    place.captured = true;
    return *free;
  }
  if (own && own->bytes >= bytes) return *own;
  const Driver& d = gpu.driver();
  const std::string workspace = fmt::format("the workspace of {} ({} bytes)", what(), bytes);
  if (!own) own = &place.blocks.emplace_back(Block{call.stream, 0, 0, 0});
  if (own->memory) {
    const DevicePointer old = std::exchange(own->memory, 0);
    own->bytes = 0;
    gpu.require(gpu.has_pools() ? d.cuMemFreeAsync(old, call.stream) : d.cuMemFree(old), workspace);
  }
  gpu.require(gpu.has_pools() ? d.cuMemAllocAsync(&own->memory, bytes, call.stream) : d.cuMemAlloc(&own->memory, bytes), workspace);
  // Launches leave counters as they found them.
  if (counts_) gpu.require(d.cuMemsetD8Async(own->memory, 0, printed_.launches.size() * sizeof(std::int64_t), call.stream), workspace);
  own->bytes = bytes;
  return *own;
}

void Module::prepare(Gpu& gpu, const ModuleCall& call) {
  if (printed_.launches.empty()) return;
  Place& place = place_on(gpu, true);
  if (!needs_memory_) return;
  Amounts amounts(printed_.launches.size(), printed_.workspace.size());
  measure(gpu, call, amounts);
  if (amounts.bytes == 0) return;
  const Current current(gpu);
  std::lock_guard lock(place.mutex);
  block_for(place, call, amounts.bytes);
}

std::uint64_t Module::write_maps(Place& place, std::size_t launch, const ModuleCall& call, DevicePointer memory, const Amounts& amounts, unsigned char* to) const {
  std::uint64_t made = 0;
  for (std::size_t k = 0; k < mapped_[launch].size(); ++k, to += quern::cuda::kMapBytes) {
    const quern::cuda::TensorMap& map = printed_.launches[launch].maps[k];
    const Step& source = mapped_[launch][k];
    quern::cuda::MapNumbers numbers;
    bool can = false;
    if (source.kind == Step::slot_data) {
      const TensorView& view = *call.tensors[source.index];
      can = quern::cuda::map_numbers(
          map, reinterpret_cast<std::uint64_t>(view.data()), [&](int axis) { return view.extent(axis); }, [&](int axis) { return view.stride(axis); }, numbers);
    } else {
      const ir::Tensor& t = program_.tensors[map.tensor];
      const auto extent = [&](int axis) { return evaluate(t.shape[static_cast<std::size_t>(axis)], call, "a workspace size"); };
      can = quern::cuda::map_numbers(map, memory + amounts.offsets[source.index], extent, [&](int axis) { return dense_stride(t, axis, call); }, numbers);
    }
    if (can && place.maps.write(place.gpu->driver(), launch, k, numbers, to)) made |= std::uint64_t{1} << k;
    else std::fill_n(to, quern::cuda::kMapBytes, static_cast<unsigned char>(0));
  }
  return made;
}

std::int64_t Module::dense_stride(const ir::Tensor& tensor, int axis, const ModuleCall& call) const {
  std::int64_t stride = 1;
  for (std::size_t a = tensor.shape.size(); --a > static_cast<std::size_t>(axis);) stride *= evaluate(tensor.shape[a], call, "a workspace size");
  return stride;
}

void Module::launch(Gpu& gpu, const ModuleCall& call, DevicePointer status) {
  if (printed_.launches.empty()) return;
  Place& place = place_on(gpu, call.may_allocate);
  gpu.require_alive();
  Amounts amounts(printed_.launches.size(), printed_.workspace.size());
  measure(gpu, call, amounts);
  const Current current(gpu);
  // Held to the end: launches of two threads on one stream must not mix while they share a block.
  std::unique_lock<std::mutex> lock;
  DevicePointer memory = 0;
  if (amounts.bytes > 0) {
    lock = std::unique_lock(place.mutex);
    memory = block_for(place, call, amounts.bytes).memory;
  }
  if (status == 0) status = place.status;

  // The maps, then the words.
  alignas(quern::cuda::kMapAlignment) unsigned char block[kMostParameterBytes];
  void* parameters[] = {block};
  for (std::size_t k = 0; k < steps_.size(); ++k) {
    if (amounts.tasks[k] == 0) continue;
    const std::uint64_t made = write_maps(place, k, call, memory, amounts, block);
    auto* word = reinterpret_cast<std::uint64_t*>(block + mapped_[k].size() * quern::cuda::kMapBytes);
    for (const Step& step : steps_[k]) {
      switch (step.kind) {
        case Step::slot_data: *word++ = reinterpret_cast<std::uint64_t>(call.tensors[step.index]->data()); break;
        case Step::slot_stride: *word++ = static_cast<std::uint64_t>(call.tensors[step.index]->stride(step.axis)); break;
        case Step::work_data: *word++ = memory + amounts.offsets[step.index]; break;
        case Step::work_stride: {
          const ir::Tensor& t = program_.tensors[printed_.workspace[step.index]];
          *word++ = static_cast<std::uint64_t>(dense_stride(t, step.axis, call));
          break;
        }
        case Step::symbol: *word++ = static_cast<std::uint64_t>(call.symbols[step.index]); break;
        case Step::constant: *word++ = static_cast<std::uint64_t>(step.value); break;
        case Step::scalar: *word++ = static_cast<std::uint64_t>(call.scalars[step.index]); break;
        case Step::status: *word++ = status; break;
        case Step::slab: *word++ = memory + amounts.slab; break;
        case Step::tasks: *word++ = static_cast<std::uint64_t>(amounts.tasks[k]); break;
        case Step::zeroed: *word++ = memory + amounts.zeroed[k]; break;
        case Step::counter: *word++ = memory + k * sizeof(std::int64_t); break;
        case Step::mapped: *word++ = made; break;
      }
    }
    if (amounts.shared[k] > static_cast<unsigned>(place.most_shared[k]))
      throw Error(Code::internal, fmt::format("error: internal fault in {}: launch {} wants {} bytes of shared memory; a block has {}", what(),
                                              printed_.launches[k].entry, amounts.shared[k], place.most_shared[k]));
    if (amounts.zeroed_bytes[k] > 0)
      gpu.require(gpu.driver().cuMemsetD8Async(memory + amounts.zeroed[k], 0, amounts.zeroed_bytes[k], call.stream), what());
    const Result result = gpu.driver().cuLaunchKernel(place.functions[k], amounts.grid[k], 1, 1, static_cast<unsigned>(printed_.launches[k].threads), 1, 1,
                                                      amounts.shared[k], call.stream, parameters, nullptr);
    if (result != kSuccess) gpu.fail(result, fmt::format("{} (launch {}, {} blocks of {} threads, {} bytes of shared memory)", what(), printed_.launches[k].entry,
                                                         amounts.grid[k], printed_.launches[k].threads, amounts.shared[k]));
  }
}

DevicePointer Module::take_status(Gpu& gpu) {
  if (!checks_) return 0;
  Place& place = place_on(gpu, true);
  {
    std::lock_guard lock(place.mutex);
    if (!place.spare.empty()) {
      const DevicePointer status = place.spare.back();
      place.spare.pop_back();
      return status;
    }
  }
  const Current current(gpu);
  DevicePointer status = 0;
  gpu.require(gpu.driver().cuMemAlloc(&status, sizeof(cpu::Status)), "the status word of " + what());
  const Result zeroed = gpu.driver().cuMemsetD8Async(status, 0, sizeof(cpu::Status), nullptr);
  const Result done = zeroed == kSuccess ? gpu.driver().cuStreamSynchronize(nullptr) : zeroed;
  if (done != kSuccess) {
    gpu.driver().cuMemFree(status);
    gpu.fail(done, "the status word of " + what());
  }
  return status;
}

void Module::keep_status(Gpu& gpu, DevicePointer status) {
  if (status == 0) return;
  Place& place = place_on(gpu, false);
  std::lock_guard lock(place.mutex);
  place.spare.push_back(status);
}

cpu::Status Module::run_and_wait(Gpu& gpu, const ModuleCall& call) {
  struct Status {
    Module& module;
    Gpu& gpu;
    DevicePointer word;
    ~Status() {
      try {
        module.keep_status(gpu, word);
      } catch (...) {
        // Lost with the GPU.
      }
    }
  } status{*this, gpu, call.may_allocate ? take_status(gpu) : 0};
  launch(gpu, call, status.word);
  return read_status(gpu, status.word, call.stream);
}

cpu::Status Module::read_status(Gpu& gpu, DevicePointer status, Stream stream) {
  cpu::Status found{};
  const Current current(gpu);
  const Driver& d = gpu.driver();
  if (checks_ && status == 0 && is_loaded(gpu.ordinal())) status = place_on(gpu, false).status;
  if (status != 0) gpu.require(d.cuMemcpyDtoHAsync(&found, status, sizeof found, stream), what());
  gpu.require(d.cuStreamSynchronize(stream), what());
  if (found.state != 0) {
    gpu.require(d.cuMemsetD8Async(status, 0, sizeof found, stream), what());
    gpu.require(d.cuStreamSynchronize(stream), what());
  }
  return found;
}

}  // namespace quern::runtime::gpu
