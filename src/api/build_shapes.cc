// SPDX-License-Identifier: Apache-2.0
#include "api/build_shapes.h"

#include <optional>

#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine {
namespace {

using tfgraph::PartialShape;

bool Fits(const PartialShape& spec, const std::vector<int64_t>& shape) {
  if (!spec.known_rank) return true;
  if (spec.dims.size() != shape.size()) return false;
  for (size_t i = 0; i < shape.size(); ++i)
    if (spec.dims[i] >= 0 && spec.dims[i] != shape[i]) return false;
  return true;
}

// Values for the symbols that the argument shapes determine; the others are nullopt.
using Symbols = std::vector<std::optional<int64_t>>;

Symbols BindSymbols(const SignaturePlan& plan, const ShapeMap& set) {
  const DimTable& dims = plan.conversion.network.dims();
  Symbols symbols(dims.num_symbols());
  for (bool named : {true, false})  // what the set says comes first, then size 1 for the rest
    for (size_t i = 0; i < plan.source.args.size(); ++i) {
      const auto& binding = plan.source.args[i];
      if (binding.kind != tfgraph::ArgBinding::Kind::kInput) continue;
      auto given = set.find(binding.key);
      if ((given != set.end()) != named) continue;
      const auto& output = plan.conversion.nodes[plan.source.graph.args[i]].outputs.at(0);
      if (!output.known_rank || (named && output.shape.size() != given->second.size())) continue;
      for (size_t d = 0; d < output.shape.size(); ++d) {
        int symbol = dims.SymbolIndex(output.shape[d]);
        if (symbol >= 0 && !symbols[symbol]) symbols[symbol] = named ? given->second[d] : 1;
      }
    }
  return symbols;
}

std::optional<std::vector<int64_t>> Evaluate(const DimTable& dims, const Shape& shape,
                                             const Symbols& symbols) {
  std::vector<int64_t> values;
  for (const auto& symbol : symbols) values.push_back(symbol.value_or(1));
  std::vector<int64_t> sizes;
  for (const Dim& dim : shape) {
    for (int s = 0; s < dims.num_symbols(); ++s)
      if (!symbols[s] && dims.DependsOn(dim, s)) return std::nullopt;
    Result<int64_t> size = dims.Eval(dim, values);
    if (!size.ok() || *size < 0) return std::nullopt;
    sizes.push_back(*size);
  }
  return sizes;
}

bool NamesAnInput(const SignaturePlan& plan, const ShapeMap& set) {
  for (const auto& [name, shape] : set)
    if (plan.def->inputs.count(name)) return true;
  return false;
}

}  // namespace

Status CheckBuildShapes(const std::vector<SignaturePlan*>& plans,
                        const std::vector<ShapeMap>& sets) {
  for (const ShapeMap& set : sets)
    for (const auto& [name, shape] : set) {
      std::string inputs;
      bool known = false, fits = false;
      PartialShape expected;
      for (const SignaturePlan* plan : plans)
        for (const auto& [key, info] : plan->def->inputs) {
          inputs += (inputs.empty() ? "" : ", ") + key;
          if (key != name) continue;
          known = true;
          fits |= Fits(info.shape, shape);
          expected = info.shape;
        }
      if (!known)
        return Error(ErrorId::kBadFlag, "build shapes: no input \"{}\"; expected one of {}", name,
                     inputs);
      if (!fits)
        return Error(ErrorId::kBadFlag, "build shapes: input \"{}\": expected {}, got {}", name,
                     ShapeToString(expected.dims), ShapeToString(shape));
    }
  return OkStatus();
}

std::vector<std::vector<std::vector<int64_t>>> ShapesForSegment(const SignaturePlan& plan,
                                                                const partition::Segment& segment,
                                                                const std::vector<ShapeMap>& sets) {
  const tfgraph::Graph& graph = plan.source.graph;
  std::vector<std::vector<std::vector<int64_t>>> result;
  for (const ShapeMap& set : sets) {
    if (!NamesAnInput(plan, set)) continue;
    Symbols symbols = BindSymbols(plan, set);
    std::vector<std::vector<int64_t>> shapes;
    bool complete = true;
    for (tfgraph::TensorId input : segment.inputs) {
      if (graph.type_of(input) == DType::kResource) continue;
      const auto& output = plan.conversion.nodes[input.node].outputs.at(input.port);
      auto sizes = output.known_rank
                       ? Evaluate(plan.conversion.network.dims(), output.shape, symbols)
                       : std::nullopt;
      complete &= sizes.has_value();
      shapes.push_back(sizes.value_or(std::vector<int64_t>()));
    }
    if (complete) result.push_back(std::move(shapes));
  }
  return result;
}

}  // namespace tfengine
