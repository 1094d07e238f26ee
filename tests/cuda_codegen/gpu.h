// A GPU for tests: the driver opened by name, one module at a time. Errors throw std::runtime_error with the call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace quern::cuda::test {

/// False where there is no GPU; then `why` says so.
bool have_gpu(std::string* why);
/// "sm_90a" for compute capability 9.0, else "sm_80", ...
std::string gpu_arch();

/// Memory of the GPU, freed at the end.
class DeviceArray {
 public:
  explicit DeviceArray(std::size_t bytes);
  explicit DeviceArray(const std::vector<std::uint8_t>& from);
  ~DeviceArray();
  DeviceArray(const DeviceArray&) = delete;
  DeviceArray& operator=(const DeviceArray&) = delete;
  std::uint64_t address() const { return address_; }
  std::vector<std::uint8_t> read() const;

 private:
  std::uint64_t address_ = 0;
  std::size_t bytes_ = 0;
};

class DeviceModule {
 public:
  explicit DeviceModule(const std::string& cubin);
  ~DeviceModule();
  DeviceModule(const DeviceModule&) = delete;
  DeviceModule& operator=(const DeviceModule&) = delete;
  /// Launches and waits. All parameters are 8 bytes.
  void launch(const std::string& kernel, unsigned blocks, unsigned threads, const std::vector<std::uint64_t>& parameters) const;

 private:
  void* module_ = nullptr;
};

}  // namespace quern::cuda::test
