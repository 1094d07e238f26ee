// One LLVM module for everything, so that the object needs no linker of ours: each function carries the processor that it is
// for as an attribute. See compile_object.h.
#include "compiler/codegen/cpu/compile_object.h"

#include <llvm/IR/IRBuilder.h>
#include <llvm/IR/Verifier.h>
#include <llvm/Support/raw_ostream.h>

#include <map>

#include "compiler/codegen/cpu/lower_kernel.h"
#include "compiler/codegen/cpu/machine.h"

namespace quern::cpu {

namespace {

using llvm::Constant;
using llvm::Value;

class Writer {
 public:
  explicit Writer(llvm::Module& out) : out_(out), context_(out.getContext()), ptr_(llvm::PointerType::getUnqual(context_)), i64_(llvm::Type::getInt64Ty(context_)) {}

  void part(const ObjectPart& p) {
    lower_plan(out_, *p.module, p.options, p.prefix + "_plan");
    own(p.prefix + "_plan", p.options.target);
    for (std::size_t k = 0; k < p.module->kernels.size(); ++k) {
      const std::string symbol = p.prefix + "_k" + std::to_string(k);
      lower_kernel(out_, *p.module, p.options, p.module->kernels[k], symbol);
      own(symbol, p.options.target);
    }
  }

  void kernel(const ObjectKernel& k) {
    std::vector<Constant*> entries;
    for (const TableEntry& e : k.table) entries.push_back(e.function.empty() ? bytes(e.bytes, k.symbol + "_data") : static_cast<Constant*>(out_.getFunction(e.function)));
    auto* list = llvm::ArrayType::get(ptr_, entries.size());
    auto* table = new llvm::GlobalVariable(out_, list, true, llvm::GlobalValue::InternalLinkage, llvm::ConstantArray::get(list, entries), k.symbol + "_table");
    auto* type = llvm::StructType::get(context_, {ptr_, i64_, ptr_, i64_, ptr_});
    auto* value = llvm::ConstantStruct::get(type, {bytes(k.image, k.symbol + "_image"), llvm::ConstantInt::get(i64_, k.image.size()), table,
                                                   llvm::ConstantInt::get(i64_, entries.size()), llvm::ConstantPointerNull::get(ptr_)});
    kernels_[k.symbol] = new llvm::GlobalVariable(out_, type, false, llvm::GlobalValue::InternalLinkage, value, k.symbol);
  }

  void function(const ObjectFunction& f) {
    std::vector<llvm::Type*> types;
    for (const ObjectParameter& p : f.parameters) types.push_back(type_of(p.type));
    auto* i32 = llvm::Type::getInt32Ty(context_);
    auto* made = llvm::Function::Create(llvm::FunctionType::get(i32, types, false), llvm::Function::ExternalLinkage, f.symbol, out_);
    made->setDoesNotThrow();
    llvm::IRBuilder<> b(llvm::BasicBlock::Create(context_, "", made));
    const auto array = [&](std::uint32_t n, llvm::Type* type) { return b.CreateAlloca(type, b.getInt32(n == 0 ? 1 : n)); };
    const auto put = [&](Value* at, llvm::Type* type, std::uint32_t i, Value* value) { b.CreateStore(value, b.CreateConstInBoundsGEP1_32(type, at, i)); };
    Value* sizes = array(f.sizes, i64_);
    Value* data = array(f.tensors, ptr_);
    Value* strides = array(f.tensors, ptr_);
    Value* scalars = array(f.scalars, ptr_);
    Value* call = llvm::ConstantPointerNull::get(ptr_);
    for (std::size_t i = 0; i < f.parameters.size(); ++i) {
      const ObjectParameter& p = f.parameters[i];
      Value* value = made->getArg(static_cast<unsigned>(i));
      switch (p.role) {
        case ObjectParameter::Role::size: put(sizes, i64_, p.position, value); break;
        case ObjectParameter::Role::data: put(data, ptr_, p.position, value); break;
        case ObjectParameter::Role::strides: put(strides, ptr_, p.position, value); break;
        case ObjectParameter::Role::value_pointer: put(scalars, ptr_, p.position, value); break;
        case ObjectParameter::Role::value: {
          Value* held = b.CreateAlloca(value->getType());
          b.CreateStore(value, held);
          put(scalars, ptr_, p.position, held);
          break;
        }
        case ObjectParameter::Role::call: call = value; break;
      }
    }
    auto* type = llvm::FunctionType::get(i32, {ptr_, i32, ptr_, ptr_, ptr_, ptr_, ptr_}, false);
    b.CreateRet(b.CreateCall(out_.getOrInsertFunction("quern_aot_call", type),
                             {kernels_.at(f.kernel), b.getInt32(static_cast<std::uint32_t>(f.device)), sizes, data, strides, scalars, call}));
  }

 private:
  /// Private to the object, for one processor.
  void own(const std::string& symbol, const Target& target) {
    llvm::Function* f = out_.getFunction(symbol);
    f->setLinkage(llvm::GlobalValue::InternalLinkage);
    f->addFnAttr("target-cpu", target.cpu);
    if (!target.features.empty()) f->addFnAttr("target-features", target.features);
  }
  llvm::Type* type_of(ObjectParameter::Type type) {
    switch (type) {
      case ObjectParameter::Type::i64: return i64_;
      case ObjectParameter::Type::i32: return llvm::Type::getInt32Ty(context_);
      case ObjectParameter::Type::f32: return llvm::Type::getFloatTy(context_);
      case ObjectParameter::Type::f64: return llvm::Type::getDoubleTy(context_);
      default: return ptr_;
    }
  }
  Constant* bytes(const std::string& text, const std::string& name) {
    auto* value = llvm::ConstantDataArray::getString(context_, text, false);
    auto* global = new llvm::GlobalVariable(out_, value->getType(), true, llvm::GlobalValue::InternalLinkage, value, name);
    global->setAlignment(llvm::Align(16));
    return global;
  }

  llvm::Module& out_;
  llvm::LLVMContext& context_;
  llvm::PointerType* ptr_;
  llvm::Type* i64_;
  std::map<std::string, llvm::GlobalVariable*> kernels_;
};

}  // namespace

CompiledObject compile_object(const ObjectRequest& request) {
  CompiledObject result;
  Target plain;
  plain.cpu = "x86-64";
  const auto machine = machine_for(plain, &result.error);
  if (!machine) return result;
  llvm::LLVMContext context;
  llvm::Module out("quern", context);
  describe_machine(out, *machine);
  out.setPICLevel(llvm::PICLevel::BigPIC);
  try {
    Writer writer(out);
    for (const ObjectPart& part : request.parts) writer.part(part);
    for (const ObjectKernel& kernel : request.kernels) writer.kernel(kernel);
    for (const ObjectFunction& function : request.functions) writer.function(function);
  } catch (const std::exception& fault) {
    result.error = std::string("code generation: ") + fault.what();
    return result;
  }
  std::string message;
  llvm::raw_string_ostream text(message);
  if (llvm::verifyModule(out, &text)) {
    result.error = "LLVM's verifier: " + message;
    return result;
  }
  result.object = emit(*machine, out, llvm::CodeGenFileType::ObjectFile, &result.error);
  if (!result.error.empty()) return result;
  if (const std::string missing = undefined_symbols(result.object); missing != "quern_aot_call" && !missing.empty())
    result.error = "the object refers to symbols outside itself: " + missing;
  return result;
}

}  // namespace quern::cpu
