// How a test steers the emulated driver: found by dlsym in the same library.
#pragma once

#include <cstdint>

extern "C" {

struct EmulatedCounters {
  std::uint64_t inits, launches, allocations, frees, library_loads, library_unloads, synchronizations, live_bytes, live_allocations, maps;
};

EmulatedCounters emulated_counters();
/// The next `times` calls of `function` ("cuMemAllocAsync") return `result`.
void emulated_fail(const char* function, int result, int times);
/// From now on launches on `stream` are recorded instead of run; allocating and waiting fail, as in a capture.
void emulated_begin_capture(void* stream);
/// Ends the capture; returns how many launches it holds.
int emulated_end_capture();
/// Runs what was captured last.
void emulated_replay();
/// The words of the last launch, its grid, block and dynamic shared bytes. Returns how many words there are.
int emulated_last_launch(std::uint64_t* words, int most, unsigned* grid, unsigned* threads, unsigned* shared);
}
