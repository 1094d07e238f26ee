// What a compiled kernel depends on, field by field, and no more: equal signatures mean equal code. The key of the caches.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "dsl/ir/program.h"
#include "runtime/device.h"

namespace quern::runtime {

struct SignatureField {
  std::string name, value;
};

struct Signature {
  std::vector<SignatureField> fields;

  /// Lengths before contents: no two lists of fields give one text.
  std::string bytes() const;
};

/// Nothing when `bytes` is no signature.
std::vector<SignatureField> read_signature(std::string_view bytes);

/// `settled`: what compiler::settle made of the request's program.
Signature signature_of(Device device, const ir::Program& settled, const CompileRequest& request);

}  // namespace quern::runtime
