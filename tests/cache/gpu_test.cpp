// Kernels of a GPU in the cache, on the emulated driver: a hit takes machine code and launches from the entry, so that neither a
// plan nor NVRTC is needed; entries of another NVRTC are made anew; damaged descriptions, and code that the driver refuses, are
// compiled again.
#ifdef QUERN_EMULATED_CUDA  // builds with CUDA

#include <filesystem>
#include <fstream>

#include "runtime/cuda/gpu_image.h"
#include "runtime/front.h"
#include "runtime/lowered.h"
#include "runtime/signature.h"
#include "tests/cache/place.h"
#include "tests/catch.h"
#include "tests/command/process.h"

using namespace quern;
using namespace quern_test;

namespace {

const std::string kAttention =
    "kernel attention<D: int>(q: f32[M,D], k: f32[N,D], v: f32[N,D]) -> (o: f32[M,D]) {\n"
    "  s[m,n] = sum[d](q[m,d] * k[n,d]) / sqrt(D)\n  o[m,d] = sum[n](softmax[n](s[m,n]) * v[n,d])\n}";
// Other names, another spelling.
const std::string kRenamed =
    "kernel other<C: int>(a: f32[X,C], b: f32[Y,C], c: f32[Y,C]) -> (r: f32[X,C]) {\n"
    "  z[i,j] = sum[e](a[i,e] * b[j,e]) / sqrt(C); r[i,e] = sum[j](softmax[j](z[i,j]) * c[j,e])\n}";
const std::string kGather = "kernel pick(x: f32[N], idx: i64[K] in 0:N) -> (y: f32[K]) { y[k] = x[idx[k]] }";
const std::string kGatherRenamed = "kernel take(values: f32[A], places: i64[B] in 0:A) -> (picked: f32[B]) { picked[b] = values[places[b]] }";
const std::vector<std::string> kTensors{"q=random:[40,64]", "k=random:[50,64]", "v=random:[50,64]"}, kTensorsRenamed{"a=random:[40,64]", "b=random:[50,64]", "c=random:[50,64]"};

/// One process that runs `text` on the emulated GPU with the cache in `place`, NVRTC where `nvrtc` says.
Output run(const Place& place, const std::string& text, std::vector<std::string> tensors, const std::string& nvrtc, const std::string& mode = "on",
           std::vector<std::string> environment = {}) {
  std::vector<std::string> words{"run", "-", "--on", "cuda", "--verify"};
  words.insert(words.end(), tensors.begin(), tensors.end());
  for (const std::string& variable : {"QUERN_LIBCUDA=" + std::string(QUERN_EMULATED_CUDA), "QUERN_NVRTC=" + nvrtc, "QUERN_CACHE=" + mode, "QUERN_CACHE_DIR=" + place.folder()})
    environment.push_back(variable);
  return run_quern(words, text, environment);
}
const std::string kNone = "/nowhere/libnvrtc.so", kHere = QUERN_EMULATED_CUDA;

std::string explained(const Place& place, const std::string& nvrtc, const std::string& minor = "0") {
  return run_quern({"explain", "-", "--set", "D=64", "--on", "cuda", "--key"}, kAttention,
                   {"QUERN_LIBCUDA=" + std::string(QUERN_EMULATED_CUDA), "QUERN_NVRTC=" + nvrtc, "QUERN_EMULATED_NVRTC_MINOR=" + minor, "QUERN_CACHE=on",
                    "QUERN_CACHE_DIR=" + place.folder()}).out;
}

runtime::CompileRequest request_of(const runtime::Front& front, const Options& options) {
  runtime::CompileRequest request;
  request.options = &options;
  request.program = front.check(options.settings);
  request.layouts.assign(runtime::Binding(*request.program).slots().size(), {true, -1});
  return request;
}
std::string key(const std::string& text, const Options& options) {
  const runtime::Front front(text, "text", "");
  const runtime::CompileRequest request = request_of(front, options);
  return runtime::signature_of(Device::cuda, *runtime::settled_program(request), request).bytes();
}

}  // namespace

TEST_CASE("a cached GPU kernel runs where there is no NVRTC") {
  const Place place;
  const Output without = run(place, kAttention, kTensors, kNone);
  CHECK(without.status == 6);  // nothing is there yet: NVRTC is missed
  CHECK(without.err.find("NVRTC") != std::string::npos);
  const Output first = run(place, kAttention, kTensors, kHere);
  INFO(first.err);
  REQUIRE(first.status == 0);
  CHECK(first.err.find("verified 2560 of 2560") != std::string::npos);
  REQUIRE(place.store().list().size() == 1);
  for (const char* mode : {"on", "frozen", "read-only"}) {
    INFO(mode);
    const Output again = run(place, kAttention, kTensors, kNone, mode);
    CHECK(again.status == 0);
    CHECK(again.out == first.out);
    CHECK(again.err.find("verified 2560 of 2560") != std::string::npos);
    const Output renamed = run(place, kRenamed, kTensorsRenamed, kNone, mode);
    CHECK(renamed.status == 0);
    CHECK(renamed.err.find("verified 2560 of 2560") != std::string::npos);
  }
  CHECK(place.store().list().size() == 1);
  const std::string why = explained(place, kNone);
  CHECK(why.find("hit: ") != std::string::npos);
  CHECK(why.find("by NVRTC 13.0 (" + kHere + ")") != std::string::npos);
  CHECK(run(place, kAttention, kTensors, kNone, "off").status == 6);
}

TEST_CASE("names in messages are those of the kernel at hand, not of the one that was stored") {
  const Place place;
  REQUIRE(run(place, kGather, {"x=iota:[3]", "idx=zeros:[2]"}, kHere).status == 0);
  std::string header = "{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }";
  header.resize(117, ' ');
  const std::int64_t indices[2] = {2, 7};
  std::ofstream(place / "idx.npy", std::ios::binary) << std::string("\x93NUMPY\x01\x00\x76\x00", 10) << header << '\n'
                                                     << std::string(reinterpret_cast<const char*>(indices), sizeof indices);
  const Output wrong = run(place, kGatherRenamed, {"values=iota:[3]", "places=" + (place / "idx.npy")}, kNone);
  INFO(wrong.err);
  CHECK(wrong.status == 4);
  CHECK(wrong.err.find("places[1] = 7 is outside axis 0 of 'values', which has 3 entries") != std::string::npos);
}

TEST_CASE("another version of NVRTC makes an entry anew; the same version in another file does not") {
  const Place place;
  REQUIRE(run(place, kAttention, kTensors, kHere).status == 0);
  const std::string moved = place / "libnvrtc.so";
  std::filesystem::copy_file(QUERN_EMULATED_CUDA, moved);
  CHECK(explained(place, moved).find("hit: ") != std::string::npos);
  const std::string other = explained(place, moved, "1");
  CHECK(other.find("miss: the entry is left aside: NVRTC 13.0 made it, NVRTC 13.1 (" + moved + ") is here") != std::string::npos);
  // Frozen takes what is there.
  CHECK(run(place, kAttention, kTensors, moved, "frozen", {"QUERN_EMULATED_NVRTC_MINOR=1"}).status == 0);
  CHECK(explained(place, kHere).find("by NVRTC 13.0") != std::string::npos);
  CHECK(run(place, kAttention, kTensors, moved, "on", {"QUERN_EMULATED_NVRTC_MINOR=1"}).status == 0);
  CHECK(explained(place, kNone).find("by NVRTC 13.1 (" + moved + ")") != std::string::npos);
  CHECK(place.store().list().size() == 1);
}

TEST_CASE("an NVRTC that would be found first is noticed by its file, and not opened while it is the one that made the entry") {
  const Place place;
  for (const char* folder : {"old", "new", "copy"}) {
    std::filesystem::create_directory(place / folder);
    std::filesystem::copy_file(QUERN_EMULATED_CUDA, place / folder + "/libnvrtc.so.13");
  }
  std::ofstream(place / "new/libnvrtc.so.13", std::ios::app) << "longer";
  const auto by_loader = [&](const std::string& folders) { return "LD_LIBRARY_PATH=" + folders; };
  const std::string old = place / "old", newer = place / "new";
  REQUIRE(run(place, kAttention, kTensors, "", "on", {by_loader(old)}).status == 0);
  const auto key_with = [&](const std::string& folders) {
    return run_quern({"explain", "-", "--set", "D=64", "--on", "cuda", "--key"}, kAttention,
                     {"QUERN_LIBCUDA=" + kHere, "QUERN_NVRTC=", "QUERN_EMULATED_NVRTC_MINOR=1", "QUERN_CACHE=on", "QUERN_CACHE_DIR=" + place.folder(), by_loader(folders)}).out;
  };
  // Opened, each would say that it is 13.1.
  for (const std::string& folders : {old, old + ":" + newer, "/nowhere::" + old, place / "copy"}) {
    INFO(folders);
    CHECK(key_with(folders).find("hit: ") != std::string::npos);
  }
  CHECK(key_with(newer + ":" + old).find("miss: the entry is left aside: NVRTC 13.0 made it, NVRTC 13.1 (" + newer + "/libnvrtc.so.13) is here") != std::string::npos);
  CHECK(run(place, kAttention, kTensors, "", "on", {by_loader(newer), "QUERN_EMULATED_NVRTC_MINOR=1"}).status == 0);
  CHECK(key_with(newer).find("by NVRTC 13.1 (" + newer + "/libnvrtc.so.13)") != std::string::npos);
  CHECK(place.store().list().size() == 1);
}

TEST_CASE("machine code that the driver refuses is compiled again, and its entry replaced") {
  const Place place;
  REQUIRE(run(place, kAttention, kTensors, kHere).status == 0);
  disk::Store store = place.store();
  const std::string stored_key = store.list().at(0).key, payload = store.read(stored_key).payload;
  const runtime::Front front(kAttention, "text", "");
  const Options options = Options().on(Device::cuda).set("D", 64);
  const auto settled = runtime::settled_program(request_of(front, options));
  const runtime::Binding binding(*settled);
  std::string error;
  const auto stored = [&](const auto& change) {
    runtime::gpu::GpuImage image = *runtime::gpu::unpack(payload, binding, &error);
    change(image.compiled.cubin);
    return runtime::gpu::pack(image);
  };
  const auto foreign = stored([](std::string& cubin) { cubin = "// made elsewhere\n" + cubin; });
  const std::vector<std::pair<std::string, std::vector<std::string>>> refused{
      {foreign, {"QUERN_EMULATED_REFUSES=209:made elsewhere"}},  // of another GPU
      {foreign, {"QUERN_EMULATED_REFUSES=200:made elsewhere"}},  // not an image
      {foreign, {"QUERN_EMULATED_REFUSES=222:made elsewhere"}},  // PTX newer than the driver
      {stored([](std::string& cubin) { cubin.resize(cubin.size() / 2); }), {}},
      {stored([](std::string& cubin) { cubin = "nothing"; }), {}},  // loads, and has no such kernel
      {stored([](std::string& cubin) { cubin.replace(cubin.find("__global__"), 10, "__glob!l__"); }), {}},
  };
  for (std::size_t i = 0; i < refused.size(); ++i) {
    INFO(i);
    REQUIRE(store.write(stored_key, "attention", refused[i].first));
    // Frozen, and without NVRTC: an error that says what stood there.
    const Output frozen = run(place, kAttention, kTensors, kHere, "frozen", refused[i].second);
    CHECK(frozen.status != 0);
    CHECK(frozen.err.find("refuses the machine code of kernel 'attention', which was made for sm_90a: ") != std::string::npos);
    CHECK(frozen.err.find("it stands in the cache, which is frozen") != std::string::npos);
    const Output read_only = run(place, kAttention, kTensors, kHere, "read-only", refused[i].second);
    CHECK(read_only.status == 0);
    CHECK(store.read(stored_key).payload == refused[i].first);
    const Output on = run(place, kAttention, kTensors, kHere, "on", refused[i].second);
    INFO(on.err);
    CHECK(on.status == 0);
    CHECK(on.err.find("verified 2560 of 2560") != std::string::npos);
    CHECK(runtime::gpu::unpack(store.read(stored_key).payload, binding, &error)->compiled.cubin == runtime::gpu::unpack(payload, binding, &error)->compiled.cubin);
    CHECK(run(place, kAttention, kTensors, kNone, "frozen", refused[i].second).status == 0);
  }
  // Nothing to compile it with: the entry is gone all the same.
  REQUIRE(store.write(stored_key, "attention", foreign));
  const Output none = run(place, kAttention, kTensors, kNone, "on", refused[0].second);
  CHECK(none.status == 6);
  CHECK(none.err.find("compiling it again failed: error: NVRTC, which QUERN_NVRTC names, cannot be used") != std::string::npos);
  CHECK(store.list().empty());
}

TEST_CASE("machine code that the driver refuses as soon as it is made is an error, and not kept") {
  const Place place;
  for (int process = 0; process < 2; ++process) {
    const Output o = run(place, kAttention, kTensors, kHere, "on", {"QUERN_EMULATED_REFUSES=222:extern"});
    INFO(o.err);
    CHECK(o.status == 6);
    CHECK(o.err.find("driver of CUDA 13.0) refuses the machine code of kernel 'attention'") != std::string::npos);
    CHECK(o.err.find("NVRTC 13.0 (" + kHere + ") made it: install a newer driver, or name an NVRTC no newer than the driver by QUERN_NVRTC") != std::string::npos);
    CHECK(place.store().list().empty());
  }
  CHECK(run(place, kAttention, kTensors, kHere).status == 0);
}

TEST_CASE("what a GPU's code depends on is in the key, and asking for it opens neither driver nor NVRTC") {
  const auto on = [](const char* target) { return Options().on(Device::cuda).for_target(target).set("D", 64); };
  const std::string base = key(kAttention, on("sm_90a"));
  CHECK(key(kAttention, on("sm_90a")) == base);
  for (const char* target : {"sm_80", "sm_86", "sm_89", "sm_90"}) CHECK(key(kAttention, on(target)) != base);
  CHECK(key(kAttention, Options(on("sm_90a")).set("D", 128)) != base);
  CHECK(key(kAttention, on("sm_90a").without("warp_roles")) != base);
  for (const char* field : {"architecture", "shared memory", "multiprocessors", "library", "passes off", "strides"}) CHECK(base.find(field) != std::string::npos);
  CHECK(key(kRenamed, Options().on(Device::cuda).for_target("sm_90a").set("C", 64)) == base);
}

TEST_CASE("a description that was changed is refused or harmless to read, wherever it was changed") {
  const Place place;
  REQUIRE(run(place, kAttention, kTensors, kHere).status == 0);
  disk::Store store = place.store();
  const std::string payload = store.read(store.list().at(0).key).payload;
  const runtime::Front front(kAttention, "text", "");
  const Options options = Options().on(Device::cuda).set("D", 64);
  const auto settled = runtime::settled_program(request_of(front, options));
  const runtime::Binding binding(*settled);
  std::string error;
  REQUIRE(runtime::gpu::unpack(payload, binding, &error));
  // The machine code in the middle is long and only copied: few of its bytes are tried.
  REQUIRE(payload.size() > 20000);
  const std::size_t description = payload.size() - 6000;
  std::size_t refused = 0, tried = 0;
  for (std::size_t size = 0; size < payload.size(); size += size < 200 || size >= description ? 1 : 997)
    if (runtime::gpu::unpack(std::string_view(payload).substr(0, size), binding, &error)) FAIL("taken with " << size << " bytes");
  for (std::size_t at = 0; at < payload.size(); at += at < 200 || at >= description ? 1 : 997)
    for (const int change : {0x01, 0x80, 0xff}) {
      std::string bytes = payload;
      bytes[at] = static_cast<char>(bytes[at] ^ change);
      ++tried;
      refused += runtime::gpu::unpack(bytes, binding, &error) == nullptr;
    }
  CHECK(refused > tried / 20);
  // For another kernel it is nothing.
  const runtime::Front gather(kGather, "text", "");
  const Options plain;
  const auto other_program = runtime::settled_program(request_of(gather, plain));
  const runtime::Binding other(*other_program);
  CHECK_FALSE(runtime::gpu::unpack(payload, other, &error));
  // Whole for the store, wrong for the device: compiled again.
  const std::string stored_key = store.list().at(0).key;
  for (const std::string& bytes : {std::string(), payload.substr(0, payload.size() - 1), payload + "x", std::string(payload.size(), '\xff')}) {
    REQUIRE(store.write(stored_key, "attention", bytes));
    CHECK(run(place, kAttention, kTensors, kHere).status == 0);
    CHECK(store.read(stored_key).payload.size() == payload.size());
  }
}

#endif
