// Loading: an ELF object in, mapped functions out, through ORC's JITLink layer. The only file that touches ORC. Objects
// use the same symbol names, so each stands in a JITDylib of its own; dylibs are used again after unloading.
#include <llvm/ExecutionEngine/Orc/Core.h>
#include <llvm/ExecutionEngine/Orc/ObjectLinkingLayer.h>
#if __has_include(<llvm/ExecutionEngine/Orc/SelfExecutorProcessControl.h>)
#include <llvm/ExecutionEngine/Orc/SelfExecutorProcessControl.h>
#else
#include <llvm/ExecutionEngine/Orc/ExecutorProcessControl.h>
#endif
#include <llvm/Support/MemoryBuffer.h>

#include <mutex>

#include "compiler/codegen/cpu/compile_cpu.h"

namespace quern::cpu {

namespace orc = llvm::orc;

struct CpuSession::State {
  std::unique_ptr<orc::ExecutionSession> session;
  std::unique_ptr<orc::ObjectLinkingLayer> layer;
  std::mutex mutex;
  std::vector<orc::JITDylib*> free;
  std::size_t made = 0;
  std::string error;

  State() {
    auto control = orc::SelfExecutorProcessControl::Create();
    if (!control) {
      error = llvm::toString(control.takeError());
      return;
    }
    session = std::make_unique<orc::ExecutionSession>(std::move(*control));
    session->setErrorReporter([](llvm::Error e) { llvm::consumeError(std::move(e)); });
    layer = std::make_unique<orc::ObjectLinkingLayer>(*session);
  }
  ~State() {
    if (session) llvm::consumeError(session->endSession());
  }
  orc::JITDylib* take() {
    const std::lock_guard lock(mutex);
    if (!free.empty()) {
      orc::JITDylib* dylib = free.back();
      free.pop_back();
      return dylib;
    }
    return &session->createBareJITDylib("quern" + std::to_string(made++));
  }
  void give(orc::JITDylib* dylib) {
    const std::lock_guard lock(mutex);
    free.push_back(dylib);
  }
};

struct LoadedCpu::Code {
  std::shared_ptr<CpuSession::State> state;
  orc::JITDylib* dylib = nullptr;
  orc::ResourceTrackerSP tracker;
  PlanFunction plan = nullptr;
  std::vector<RunFunction> run;
  ~Code() {
    if (!tracker) return;
    llvm::consumeError(tracker->remove());
    tracker = nullptr;
    state->give(dylib);
  }
};

LoadedCpu::LoadedCpu(std::unique_ptr<Code> code) : code_(std::move(code)) {}
LoadedCpu::LoadedCpu(LoadedCpu&&) noexcept = default;
LoadedCpu& LoadedCpu::operator=(LoadedCpu&&) noexcept = default;
LoadedCpu::~LoadedCpu() = default;
PlanFunction LoadedCpu::plan() const { return code_->plan; }
RunFunction LoadedCpu::run(std::size_t kernel) const { return code_->run[kernel]; }
std::size_t LoadedCpu::kernels() const { return code_->run.size(); }

CpuSession::CpuSession() : state_(std::make_shared<State>()) {}
CpuSession::~CpuSession() = default;

std::unique_ptr<LoadedCpu> CpuSession::load(const std::string& object, const std::string& plan_symbol,
                                            const std::vector<std::string>& run_symbols, std::string* error) {
  if (!state_->session) {
    *error = state_->error;
    return nullptr;
  }
  auto code = std::make_unique<LoadedCpu::Code>();
  code->state = state_;
  code->dylib = state_->take();
  code->tracker = code->dylib->createResourceTracker();
  auto buffer = llvm::MemoryBuffer::getMemBufferCopy(object, "quern-object");
  if (llvm::Error e = state_->layer->add(code->tracker, std::move(buffer))) {
    *error = llvm::toString(std::move(e));
    return nullptr;
  }
  auto find = [&](const std::string& symbol) -> std::uint64_t {
    auto found = state_->session->lookup({code->dylib}, state_->session->intern(symbol));
    if (!found) {
      *error = llvm::toString(found.takeError());
      return 0;
    }
    return found->getAddress().getValue();
  };
  code->plan = reinterpret_cast<PlanFunction>(find(plan_symbol));
  if (!code->plan) return nullptr;
  for (const std::string& symbol : run_symbols) {
    code->run.push_back(reinterpret_cast<RunFunction>(find(symbol)));
    if (!code->run.back()) return nullptr;
  }
  return std::unique_ptr<LoadedCpu>(new LoadedCpu(std::move(code)));
}

}  // namespace quern::cpu
