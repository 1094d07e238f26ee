// Makes the arguments of a call.
#include "tools/command/arguments.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "dsl/ir/print_program.h"
#include "dsl/text/diagnostic.h"
#include "tools/command/exit_code.h"
#include "tools/command/fill.h"
#include "tools/command/preview.h"

namespace quern::command {
namespace {

[[noreturn]] void usage(const std::string& message) { throw Failure(ExitCode::usage, message); }
[[noreturn]] void bad_data(const std::string& message) { throw Failure(ExitCode::data, message); }

void collect_sizes(const dsl::ast::Expr& e, std::set<std::string>& names) {
  if (const auto* use = std::get_if<dsl::ast::NameUse>(&e.node)) {
    names.insert(use->name);
  } else if (const auto* binary = std::get_if<dsl::ast::Binary>(&e.node)) {
    collect_sizes(*binary->left, names);
    collect_sizes(*binary->right, names);
  } else if (const auto* unary = std::get_if<dsl::ast::Unary>(&e.node)) {
    collect_sizes(*unary->operand, names);
  }
}

/// What each name of a signature is.
struct Signature {
  std::map<std::string, dsl::ast::CompileTimeKind> settings;  // compile-time names and run-time sizes
  std::map<std::string, std::string> parameters;              // name: element type as written
};

Signature signature_of(const dsl::ast::Kernel& kernel) {
  Signature result;
  for (const dsl::ast::Parameter& parameter : kernel.parameters) {
    result.parameters[parameter.name.text] = parameter.type.element.text;
    std::set<std::string> sizes;
    for (const dsl::ast::ExprPtr& extent : parameter.type.shape) collect_sizes(*extent, sizes);
    for (const std::string& size : sizes) result.settings.emplace(size, dsl::ast::CompileTimeKind::integer);
  }
  for (const dsl::ast::CompileTime& ct : kernel.compile_time) result.settings[ct.name.text] = ct.kind;
  return result;
}

Fixed fixed_of(const Setting& setting, dsl::ast::CompileTimeKind kind) {
  Fixed fixed{setting.name, kind == dsl::ast::CompileTimeKind::type, false, 0};
  switch (kind) {
    case dsl::ast::CompileTimeKind::type: {
      const auto type = dtype_from_name(setting.value);
      if (!type) usage(fmt::format("--set {}={}: '{}' is not an element type (f64 f32 f16 bf16 e4m3 e5m2 i64 i32 i16 i8 u8 bool)",
                                   setting.name, setting.value, setting.value));
      fixed.value = static_cast<std::int64_t>(*type);
      return fixed;
    }
    case dsl::ast::CompileTimeKind::boolean:
      if (setting.value != "true" && setting.value != "false" && setting.value != "0" && setting.value != "1") {
        usage(fmt::format("--set {}={}: a flag is true or false", setting.name, setting.value));
      }
      fixed.value = setting.value == "true" || setting.value == "1";
      return fixed;
    case dsl::ast::CompileTimeKind::integer: break;
  }
  const auto value = parse_integer(setting.value);
  if (!value) usage(fmt::format("--set {}={}: '{}' is not an integer", setting.name, setting.value, setting.value));
  fixed.value = *value;
  return fixed;
}

std::string nearest_name(const std::string& name, const Signature& signature) {
  std::vector<std::string_view> known;
  for (const auto& [parameter, type] : signature.parameters) known.push_back(parameter);
  for (const auto& [setting, kind] : signature.settings) known.push_back(setting);
  const std::string_view meant = dsl::nearest(name, known);
  return meant.empty() ? fmt::format("; it has {}", fmt::join(known, ", ")) : fmt::format("; did you mean '{}'?", meant);
}

/// Binds what the extents of one tensor tell: a bare symbol, or the one unknown of a product. True if something was new.
bool bind_shape(const ir::Program& program, const ir::Tensor& tensor, const npy::Shape& shape, Bindings& at) {
  if (shape.size() != tensor.shape.size()) return false;  // the library says so with all names
  bool changed = false;
  for (std::size_t a = 0; a < shape.size(); ++a) {
    std::int64_t known = 1;
    std::optional<ir::SymbolId> unknown;
    std::vector<ir::Expr> factors{tensor.shape[a]};
    bool solvable = true;
    while (!factors.empty()) {
      const ir::Node& node = program.pool[factors.back()];
      const ir::Expr factor = factors.back();
      factors.pop_back();
      if (node.op == ir::Op::mul) {
        factors.insert(factors.end(), node.args.begin(), node.args.end());
      } else if (const auto value = evaluate_integer(program, factor, at)) {
        solvable = solvable && !__builtin_mul_overflow(known, *value, &known);
      } else if (node.op == ir::Op::symbol && !unknown) {
        unknown = static_cast<ir::SymbolId>(node.payload);
      } else {
        solvable = false;
      }
    }
    if (solvable && unknown && known > 0 && shape[a] % known == 0) {
      at.symbols[*unknown] = shape[a] / known;
      changed = true;
    }
  }
  return changed;
}

Facts facts_of(const ir::Program& program, const ir::Tensor& tensor, const Bindings& at) {
  Facts facts;
  facts.nondecreasing = tensor.nondecreasing;
  const auto begin = evaluate_integer(program, tensor.fact_begin, at), end = evaluate_integer(program, tensor.fact_end, at);
  if (begin && end) facts.range.emplace(*begin, *end);
  return facts;
}

npy::Shape shape_of(const ir::Program& program, const ir::Tensor& tensor, const Bindings& at) {
  npy::Shape shape;
  for (ir::Expr extent : tensor.shape) {
    const auto value = evaluate_integer(program, extent, at);
    if (!value) {
      usage(fmt::format("the size '{}' of '{}' is not known: give it (--set {}=...) or the shape ({}=random:[...])",
                        ir::print_expr(program, extent), tensor.name, fmt::join(unbound_sizes(program, at), "=... --set "),
                        tensor.name));
    }
    if (*value < 0) {
      bad_data(fmt::format("the size '{}' of '{}' would be {}", ir::print_expr(program, extent), tensor.name, *value));
    }
    shape.push_back(*value);
  }
  return shape;
}

}  // namespace

Request read_request(const dsl::ast::Kernel& kernel, const std::vector<std::string>& assignments,
                     const std::vector<std::string>& settings) {
  const Signature signature = signature_of(kernel);
  Request request;
  const auto set = [&](const Setting& setting, bool by_option) {
    const auto found = signature.settings.find(setting.name);
    if (found == signature.settings.end()) {
      if (by_option && signature.parameters.count(setting.name) != 0) {
        usage(fmt::format("--set {}: '{}' is a parameter; write {}={} without --set", setting.name, setting.name, setting.name,
                          setting.value));
      }
      usage(fmt::format("kernel '{}' has no '{}'{}", kernel.name.text, setting.name, nearest_name(setting.name, signature)));
    }
    Fixed fixed = fixed_of(setting, found->second);
    for (const dsl::ast::CompileTime& ct : kernel.compile_time) fixed.compile_time |= ct.name.text == setting.name;
    for (const Fixed& other : request.fixed) {
      if (other.name == fixed.name) usage(fmt::format("'{}' is given twice", fixed.name));
    }
    request.fixed.push_back(fixed);
  };
  for (const std::string& text : settings) set(parse_setting(text, "a setting"), true);
  for (const std::string& text : assignments) {
    const Setting setting = parse_setting(text, "data");
    if (signature.parameters.count(setting.name) == 0) {
      set(setting, false);  // a size may be given without --set
    } else if (!request.specs.emplace(setting.name, parse_spec(setting.value)).second) {
      usage(fmt::format("'{}' is given twice", setting.name));
    }
  }
  for (const dsl::ast::CompileTime& ct : kernel.compile_time) {
    if (ct.kind != dsl::ast::CompileTimeKind::type || ct.default_value) continue;
    if (std::any_of(request.fixed.begin(), request.fixed.end(), [&](const Fixed& f) { return f.name == ct.name.text; })) continue;
    std::optional<DType> type;
    for (const auto& [name, spec] : request.specs) {
      const auto* file = std::get_if<FileSpec>(&spec);
      if (file != nullptr && signature.parameters.at(name) == ct.name.text && !type) type = npy::read(file->path).type;
    }
    request.fixed.push_back({ct.name.text, true, true, static_cast<std::int64_t>(type.value_or(DType::f32))});
  }
  return request;
}

std::vector<std::string> unbound_sizes(const ir::Program& program, const Bindings& bindings) {
  std::vector<std::string> names;
  for (std::size_t s = 0; s < program.symbols.size(); ++s) {
    if (!bindings.symbols[s]) names.push_back(program.symbols[s].name);
  }
  return names;
}

Bindings bindings_of(const ir::Program& program, const Request& request) {
  Bindings at(program);
  for (const Fixed& fixed : request.fixed) {
    for (std::size_t s = 0; s < program.symbols.size(); ++s) {
      if (program.symbols[s].name == fixed.name && !fixed.is_type) at.symbols[s] = fixed.value;
    }
  }
  return at;
}

Arguments make_arguments(const ir::Program& program, const Request& request, const ArgumentsOptions& options) {
  Arguments result{{}, {}, bindings_of(program, request)};
  Bindings& at = result.bindings;
  result.tensors.resize(program.parameters.size());
  std::vector<bool> loaded(program.parameters.size(), false);

  const auto spec_of = [&](const std::string& name) -> const Spec* {
    const auto found = request.specs.find(name);
    return found == request.specs.end() ? nullptr : &found->second;
  };
  // Files first, then every shape that is written out; both bind sizes.
  for (std::size_t p = 0; p < program.parameters.size(); ++p) {
    const ir::Tensor& tensor = program.tensors[program.parameters[p]];
    const Spec* spec = spec_of(tensor.name);
    if (spec == nullptr && !options.fill_missing) {
      usage(fmt::format("parameter '{}' is not given: {}={}.npy or {}=random:[...]", tensor.name, tensor.name, tensor.name,
                        tensor.name));
    }
    if (spec == nullptr) continue;
    if (const auto* file = std::get_if<FileSpec>(spec)) {
      try {
        result.tensors[p] = npy::converted(npy::read(file->path), tensor.type);
      } catch (const npy::Error& error) {
        bad_data(fmt::format("parameter '{}': {}{}", tensor.name,
                             std::string_view(error.what()).substr(0, file->path.size()) == file->path ? "" : file->path + " ",
                             error.what()));
      }
      loaded[p] = true;
    } else if (const auto* number = std::get_if<NumberSpec>(spec)) {
      if (!tensor.shape.empty()) {
        usage(fmt::format("parameter '{}' is a tensor, {}={} is a number; write {}=random:[...] or a .npy file", tensor.name,
                          tensor.name, number->text, tensor.name));
      }
    }
  }
  bool changed = true;
  while (std::exchange(changed, false)) {
    for (std::size_t p = 0; p < program.parameters.size(); ++p) {
      const ir::Tensor& tensor = program.tensors[program.parameters[p]];
      const Spec* spec = spec_of(tensor.name);
      const auto* fill = spec == nullptr ? nullptr : std::get_if<FillSpec>(spec);
      if (loaded[p]) changed = bind_shape(program, tensor, result.tensors[p].shape, at) || changed;
      if (fill != nullptr && fill->shape) changed = bind_shape(program, tensor, *fill->shape, at) || changed;
    }
  }

  for (std::size_t p = 0; p < program.parameters.size(); ++p) {
    if (loaded[p]) continue;
    const ir::Tensor& tensor = program.tensors[program.parameters[p]];
    const Spec* spec = spec_of(tensor.name);
    const std::uint64_t seed = options.seed * 1000003 + p;
    const FillSpec standard{Filling::random, {}, {}};
    if (spec != nullptr && std::holds_alternative<NumberSpec>(*spec)) {
      result.tensors[p] = npy::Array::zeros(tensor.type, {});
      store_from_f64(tensor.type, result.tensors[p].at(0), std::get<NumberSpec>(*spec).real);
      continue;
    }
    const FillSpec& fill = spec == nullptr ? standard : std::get<FillSpec>(*spec);
    const npy::Shape shape = fill.shape ? *fill.shape : shape_of(program, tensor, at);
    result.tensors[p] = filled(fill.filling, tensor.type, shape, facts_of(program, tensor, at), fill.seed.value_or(seed),
                               fmt::format("parameter '{}'", tensor.name));
  }

  result.scalars.resize(program.scalar_parameters.size());
  for (std::size_t s = 0; s < program.scalar_parameters.size(); ++s) {
    const ir::Scalar& scalar = program.scalars[program.scalar_parameters[s]];
    const Spec* spec = spec_of(scalar.name);
    if (spec == nullptr) {
      if (!scalar.default_value) {
        if (!options.fill_missing) usage(fmt::format("parameter '{}' is not given: {}=NUMBER", scalar.name, scalar.name));
        result.scalars[s] = 1;
      }
      continue;
    }
    const auto* number = std::get_if<NumberSpec>(spec);
    if (number == nullptr) usage(fmt::format("parameter '{}' is one number: {}=NUMBER", scalar.name, scalar.name));
    if (!is_float(scalar.type) && !number->integer) {
      usage(fmt::format("parameter '{}' is {}, {} is no integer", scalar.name, name(scalar.type), number->text));
    }
    result.scalars[s] = number->real;
  }
  for (std::size_t s = 0; s < program.scalar_parameters.size(); ++s) {
    const ir::ScalarId id = program.scalar_parameters[s];
    at.scalars[id] = result.scalars[s] ? result.scalars[s] : evaluate_real(program, program.scalars[id].default_value, at);
  }
  for (std::size_t p = 0; p < program.parameters.size(); ++p) at.tensors[program.parameters[p]] = &result.tensors[p];
  return result;
}

}  // namespace quern::command
