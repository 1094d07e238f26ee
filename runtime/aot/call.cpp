// The C side: what objects call, with every exception turned into a status and a message that stays with the thread.
#include <mutex>
#include <new>
#include <string>

#include "runtime/aot/loaded.h"
#include "runtime/aot/object.h"

namespace {

using quern::Code;
using quern::runtime::aot::Loaded;

std::string& message_of_thread() {
  thread_local std::string message;
  return message;
}

quern_status failed(Code code, const char* message) {
  try {
    message_of_thread() = message;
  } catch (...) {
    message_of_thread().clear();
  }
  return static_cast<quern_status>(code);
}

/// Made at the first call and never freed: calls of other threads may be under way while the process ends.
Loaded& loaded(quern_aot_kernel& kernel) {
  if (void* state = __atomic_load_n(&kernel.state, __ATOMIC_ACQUIRE)) return *static_cast<Loaded*>(state);
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (void* state = __atomic_load_n(&kernel.state, __ATOMIC_ACQUIRE)) return *static_cast<Loaded*>(state);
  auto* made = new Loaded(kernel);
  __atomic_store_n(&kernel.state, made, __ATOMIC_RELEASE);
  return *made;
}

}  // namespace

quern_status quern_aot_call(quern_aot_kernel* kernel, int32_t device, const int64_t* sizes, void* const* data,
                            const int64_t* const* strides, const void* const* scalars, const quern_call* call) {
  try {
    loaded(*kernel).run({sizes, data, strides, scalars, call ? *call : quern_call{}}, device == QUERN_AOT_ON_CUDA);
    return QUERN_OK;
  } catch (const quern::Error& e) {
    return failed(e.code(), e.message().c_str());
  } catch (const std::bad_alloc&) {
    return failed(Code::out_of_memory, "error: out of memory");
  } catch (const std::exception& e) {
    return failed(Code::internal, e.what());
  } catch (...) {
    return failed(Code::internal, "error: internal fault");
  }
}

const char* quern_aot_message(void) { return message_of_thread().c_str(); }
const char* quern_aot_status_name(quern_status status) { return quern::name(static_cast<Code>(status)); }
