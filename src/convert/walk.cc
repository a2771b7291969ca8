// SPDX-License-Identifier: Apache-2.0
#include "convert/walk.h"

#include <algorithm>
#include <array>

#include "base/errors.h"
#include "base/status_macros.h"
#include "backends/ref/ref.h"
#include "convert/converters.h"
#include "convert/macs.h"

namespace tfengine::convert {
namespace {

using tfgraph::TensorId;

constexpr std::string_view kControlFlowOps[] = {
    "Case", "Enter", "Exit", "For", "If", "LoopCond", "Merge", "NextIteration", "PartitionedCall", "RefEnter",
    "RefExit", "RefMerge", "RefNextIteration", "RefSwitch", "StatefulPartitionedCall", "StatelessCase", "StatelessIf",
    "StatelessWhile", "Switch", "SymbolicGradient", "While"};
constexpr std::string_view kBoundaryOps[] = {"NoOp", "Placeholder", "PlaceholderV2", "_Arg", "_Retval"};
// Their output shapes depend on values.
constexpr std::string_view kDataDependentOps[] = {
    "Bincount", "BooleanMask", "CombinedNonMaxSuppression", "DynamicPartition", "DynamicStitch", "NonMaxSuppression",
    "NonMaxSuppressionV2", "NonMaxSuppressionV3", "NonMaxSuppressionV4", "NonMaxSuppressionV5",
    "ParallelDynamicStitch", "RaggedTensorToTensor", "SparseToDense", "Unique", "UniqueV2", "UniqueWithCounts",
    "UniqueWithCountsV2", "Where"};
constexpr std::string_view kVariableReads[] = {"ReadVariableOp", "Variable", "VariableV2"};
constexpr std::string_view kRefVariables[] = {"Variable", "VariableV2"};

// Constants of constants are computed at once if they are small: other converters may have to know them.
constexpr int64_t kMaxFolded = 1 << 14;
constexpr double kMaxFoldedWork = 1e6;

template <size_t N>
bool IsOneOf(std::string_view op, const std::string_view (&list)[N]) {
  return std::find(std::begin(list), std::end(list), op) != std::end(list);
}

Verdict RejectType(DType dtype, const std::string& what) {
  switch (dtype) {
    case DType::kString: return Reject(Reason::kString, what + " is a string tensor");
    case DType::kResource: return Reject(Reason::kResource, what + " is a resource handle");
    default: return Reject(Reason::kDType, what + " has dtype " + DTypeName(dtype));
  }
}

}  // namespace

Status Walk::Run() {
  const int n = static_cast<int>(graph_.nodes.size());
  infos_.resize(n);
  results_.resize(n);
  used_.resize(n);
  is_arg_.assign(n, false);
  for (int i = 0; i < n; ++i) used_[i].assign(graph_.nodes[i].output_types.size(), false);
  for (int i = 0; i < n; ++i) TFE_RETURN_IF_ERROR(CheckNode(i));
  for (const tfgraph::Graph::Return& r : graph_.returns) {
    if (r.tensor.node < 0 || r.tensor.node >= n || r.tensor.port < 0 ||
        r.tensor.port >= static_cast<int>(used_[r.tensor.node].size())) {
      return Error(ErrorId::kGraphInvalid, "return \"{}\" refers to node {} port {}, which does not exist", r.name,
                   r.tensor.node, r.tensor.port);
    }
    used_[r.tensor.node][r.tensor.port] = true;
  }
  for (int a : graph_.args) {
    if (a < 0 || a >= n) return Error(ErrorId::kGraphInvalid, "argument refers to node {}, which does not exist", a);
    is_arg_[a] = true;
  }
  for (const tfgraph::Node& node : graph_.nodes) {
    for (TensorId t : node.inputs) used_[t.node][t.port] = true;
  }

  for (int i = 0; i < n; ++i) {
    const tfgraph::Node& node = graph_.nodes[i];
    infos_[i].resize(node.output_types.size());
    for (size_t p = 0; p < node.output_types.size(); ++p) {
      infos_[i][p].name = node.name;
      infos_[i][p].dtype = node.output_types[p];
    }
    NodeResult& result = results_[i];
    if (is_arg_[i]) {
      Argument(i);
      result.verdict = Reject(Reason::kGraphBoundary, "argument");
    } else {
      size_t first = network_.nodes().size();
      result.verdict = Lower(i);
      if (IsOneOf(node.op, kRefVariables) && result.verdict.ok()) {
        // Engines know its value; the node itself has to stay where its container is.
        result.verdict = Reject(Reason::kGraphBoundary, "variable");
        result.role = Role::kNative;
      } else if (result.verdict.ok()) {
        for (size_t k = first; k < network_.nodes().size(); ++k) {
          result.macs += NodeMacs(network_, network_.nodes()[k]);
        }
      } else {
        result.role = Role::kNative;
        Hole(i);
      }
    }
    for (const TensorInfo& info : infos_[i]) {
      result.outputs.push_back({info.dtype, info.known_rank, info.shape, info.is_constant});
    }
  }
  return OkStatus();
}

Status Walk::CheckNode(int index) const {
  const tfgraph::Node& node = graph_.nodes[index];
  for (size_t k = 0; k < node.inputs.size(); ++k) {
    TensorId t = node.inputs[k];
    if (t.node < 0 || t.node >= index || t.port < 0 ||
        t.port >= static_cast<int>(graph_.nodes[t.node].output_types.size())) {
      return Error(ErrorId::kGraphInvalid, "node \"{}\", input {}: refers to node {} port {}, which {}", node.name, k,
                   t.node, t.port, t.node >= index ? "comes later" : "does not exist");
    }
  }
  return OkStatus();
}

Dim Walk::UnknownDim(const std::string& base, int axis) {
  std::string name;
  for (char ch : base) {
    unsigned char u = static_cast<unsigned char>(ch);
    name += std::isalnum(u) ? static_cast<char>(std::tolower(u)) : '_';
  }
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name[0]))) name = "d" + name;
  // Names that differ in case or punctuation only must not share a symbol.
  std::string unique = name;
  for (int k = 2;; ++k) {
    auto [it, inserted] = symbol_owner_.emplace(unique, base);
    if (inserted || it->second == base) break;
    unique = name + "_v" + std::to_string(k);
  }
  return network_.dims().Symbol(unique + "_" + std::to_string(axis));
}

std::optional<Shape> Walk::AnnotatedShape(const tfgraph::Node& node) {
  const tfgraph::AttrValue* attr = node.attr(kDimsAttr);
  std::optional<std::string> text = attr ? attr->s() : std::nullopt;
  if (!text) return std::nullopt;
  Shape shape;
  for (size_t at = 0; !text->empty() && at <= text->size();) {
    size_t end = std::min(text->find(';', at), text->size());
    Result<Dim> dim = network_.dims().Parse(std::string_view(*text).substr(at, end - at));
    if (!dim.ok()) return std::nullopt;
    shape.push_back(*dim);
    at = end + 1;
  }
  return shape;
}

void Walk::Argument(int index) {
  const tfgraph::Node& node = graph_.nodes[index];
  for (size_t p = 0; p < infos_[index].size(); ++p) {
    TensorInfo& info = infos_[index][p];
    if (!Contains(kAnyType, info.dtype)) continue;
    if (std::optional<Shape> shape = AnnotatedShape(node)) {
      info.shape = std::move(*shape);
      info.known_rank = true;
    } else if (p < node.output_shapes.size() && node.output_shapes[p].known_rank) {
      const std::vector<int64_t>& sizes = node.output_shapes[p].dims;
      for (size_t axis = 0; axis < sizes.size(); ++axis) {
        Dim unknown = axis == 0 ? network_.dims().Symbol("batch") : Dim(0);
        if (sizes[axis] < 0 && axis > 0) unknown = UnknownDim(node.name, static_cast<int>(axis));
        info.shape.push_back(sizes[axis] >= 0 ? Dim(sizes[axis]) : unknown);
      }
      info.known_rank = true;
    }
    const bool is_value = node.frozen && node.frozen->dtype() == info.dtype && p == 0;
    if (is_value && !info.known_rank) {
      info.shape.assign(node.frozen->shape().begin(), node.frozen->shape().end());
      info.known_rank = true;
    }
    if (!info.known_rank) continue;
    info.is_input = true;
    ValueId input = Materialize(network_, info);
    if (!is_value) continue;
    frozen_inputs_[input] = {index, static_cast<int>(p)};
    info = ConstantInfo(node.frozen);
    info.name = node.name;
  }
}

void Walk::Hole(int index) {
  const tfgraph::Node& node = graph_.nodes[index];
  for (size_t p = 0; p < infos_[index].size(); ++p) {
    TensorInfo& info = infos_[index][p];
    info = TensorInfo{.name = node.name, .dtype = node.output_types[p]};
    if (!used_[index][p] || !Contains(kAnyType, info.dtype)) continue;
    if (p >= node.output_shapes.size() || !node.output_shapes[p].known_rank) continue;
    const std::vector<int64_t>& sizes = node.output_shapes[p].dims;
    for (size_t axis = 0; axis < sizes.size(); ++axis) {
      std::string base = p == 0 ? node.name : node.name + ":" + std::to_string(p);
      info.shape.push_back(sizes[axis] >= 0 ? Dim(sizes[axis]) : UnknownDim(base, static_cast<int>(axis)));
    }
    info.known_rank = info.is_input = true;
  }
}

Verdict Walk::Unsupported(const tfgraph::Node& node) const {
  std::string_view op = node.op;
  if (IsOneOf(op, kBoundaryOps)) return Reject(Reason::kGraphBoundary, "");
  if (IsOneOf(op, kControlFlowOps)) return Reject(Reason::kControlFlow, "");
  if (IsOneOf(op, kVariableReads)) {
    return Reject(Reason::kResource, "the variable may change, or has no value in the checkpoint");
  }
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    DType dtype = graph_.type_of(node.inputs[i]);
    if (!Contains(kAnyType, dtype) && dtype != DType::kVariant) return RejectType(dtype, fmt::format("input {}", i));
  }
  for (size_t p = 0; p < node.output_types.size(); ++p) {
    DType dtype = node.output_types[p];
    if (dtype == DType::kString || dtype == DType::kResource) return RejectType(dtype, fmt::format("output {}", p));
  }
  if (IsOneOf(op, kDataDependentOps)) return Reject(Reason::kDataDependent, "its output size depends on values");
  if (node.stateful) return Reject(Reason::kStateful, "");
  return Reject(Reason::kNoConverter, "");
}

Verdict Walk::CheckInputs(const tfgraph::Node& node, unsigned types) const {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const TensorInfo& info = infos_[node.inputs[i].node][node.inputs[i].port];
    const std::string what = fmt::format("input {} (\"{}\")", i, graph_.nodes[node.inputs[i].node].name);
    if (!Contains(kAnyType, info.dtype)) return RejectType(info.dtype, what);
    if (!Contains(types, info.dtype)) return RejectType(info.dtype, what);
    if (!info.known_rank) return Reject(Reason::kUnknownShape, what + " has unknown rank");
  }
  return {};
}

Verdict Walk::Lower(int index) {
  const tfgraph::Node& node = graph_.nodes[index];
  std::vector<TensorInfo>& outputs = infos_[index];
  if (exclusions_.ops.count(node.op)) return Reject(Reason::kExcluded, "op type " + node.op);
  if (exclusions_.nodes.count(node.name)) return Reject(Reason::kExcluded, "by name");
  if (node.frozen && IsOneOf(node.op, kVariableReads) && outputs.size() == 1) {
    if (!Contains(kAnyType, node.frozen->dtype())) return RejectType(node.frozen->dtype(), "the variable");
    outputs[0] = ConstantInfo(node.frozen);
    outputs[0].name = node.name;
    results_[index].role = Role::kConstant;
    return {};
  }
  const Row* row = FindConverter(node.op);
  if (!row) return Unsupported(node);
  for (size_t p = 0; p < outputs.size(); ++p) {
    if (!Contains(kAnyType, outputs[p].dtype)) return RejectType(outputs[p].dtype, fmt::format("output {}", p));
  }
  const int count = static_cast<int>(node.inputs.size());
  if (row->inputs >= 0 ? count != row->inputs : count < -row->inputs) {
    return Reject(Reason::kAttribute, fmt::format("expected {}{} inputs, got {}", row->inputs < 0 ? "at least " : "",
                                                  std::abs(row->inputs), count));
  }
  if (outputs.empty()) return Reject(Reason::kAttribute, "the node has no outputs");
  // A gather from a variable reads its handle, which is no tensor.
  bool reads_variable = row->convert == ConvertResourceGather;
  std::vector<TensorInfo*> inputs;
  bool constant = true;
  for (TensorId t : node.inputs) {
    inputs.push_back(&infos_[t.node][t.port]);
    constant &= inputs.back()->is_constant;
  }
  if (!reads_variable) {
    const bool arithmetic = row->types != kAnyType;
    Verdict verdict = CheckInputs(node, arithmetic && !constant ? row->types & ~kOtherFloats : row->types);
    if (!verdict.ok()) return verdict;
  }

  const size_t first = network_.nodes().size();
  Context context(node, inputs, &outputs, used_[index], &network_);
  Verdict verdict = row->convert(context);
  if (!verdict.ok()) return verdict;
  if (constant && !context.all_aliases()) Fold(index, first);
  bool all_content = true;
  bool all_constant = true;
  for (size_t p = 0; p < outputs.size(); ++p) {
    TensorInfo& out = outputs[p];
    bool known = out.value != kNoValue || out.constant || out.content;
    if (!known) {
      if (used_[index][p]) {
        return Reject(Reason::kAttribute, fmt::format("output {} is used and has no converter", p));
      }
      continue;
    }
    out.is_constant |= constant;
    all_content &= out.content.has_value() || out.uniform.has_value();
    all_constant &= out.is_constant;
  }
  results_[index].role = all_constant                ? Role::kConstant
                         : context.all_aliases()     ? Role::kAlias
                         : all_content               ? Role::kShape
                                                     : Role::kCompute;
  return {};
}

void Walk::Fold(int index, size_t first) {
  const std::vector<int64_t> no_symbols(network_.dims().num_symbols(), 1);
  std::map<ValueId, std::shared_ptr<Tensor>> computed;
  for (size_t k = first; k < network_.nodes().size(); ++k) {
    const Node& node = network_.nodes()[k];
    if (node.op == Op::kFakeQuant) return;  // says how weights are to be quantized
    if (NodeMacs(network_, node) > kMaxFoldedWork) return;
    Result<Attrs> attrs = ConcreteAttrs(node, network_.dims(), no_symbols);
    if (!attrs.ok()) return;
    std::vector<const Tensor*> inputs;
    for (ValueId v : node.inputs) {
      auto it = computed.find(v);
      const Tensor* tensor = v == kNoValue           ? nullptr
                             : it != computed.end() ? it->second.get()
                                                    : network_.value(v).constant.get();
      if (v != kNoValue && !tensor) return;
      inputs.push_back(tensor);
    }
    std::vector<Tensor*> outputs;
    for (ValueId v : node.outputs) {
      std::optional<int64_t> elements = StaticElements(network_.value(v).shape);
      if (!elements || *elements > kMaxFolded) return;
      std::vector<int64_t> shape;
      for (Dim d : network_.value(v).shape) shape.push_back(d.value);
      computed[v] = std::make_shared<Tensor>(network_.value(v).dtype, std::move(shape));
      outputs.push_back(computed[v].get());
    }
    // What fails now fails at run time as well, and is reported there.
    if (!ref::RunNode(node.op, *attrs, inputs, outputs).ok()) return;
  }
  for (TensorInfo& info : infos_[index]) {
    auto it = computed.find(info.value);
    if (it == computed.end()) continue;
    std::string name = std::move(info.name);
    info = ConstantInfo(it->second);
    info.name = std::move(name);
  }
}

ValueId Walk::ValueOf(TensorId t) {
  TensorInfo& info = infos_[t.node][t.port];
  bool known = info.value != kNoValue || info.constant || info.content || info.is_input;
  return known ? Materialize(network_, info) : kNoValue;
}

std::vector<TensorId> Walk::InputTensors() const {
  std::map<ValueId, TensorId> of_value = frozen_inputs_;
  for (size_t i = 0; i < infos_.size(); ++i) {
    for (size_t p = 0; p < infos_[i].size(); ++p) {
      const TensorInfo& info = infos_[i][p];
      // Aliases share the value; the tensor of the lowest node is the input itself.
      if (info.is_input && info.value != kNoValue) {
        of_value.emplace(info.value, TensorId{static_cast<int>(i), static_cast<int>(p)});
      }
    }
  }
  std::vector<TensorId> tensors;
  for (ValueId v : network_.inputs()) tensors.push_back(of_value.at(v));
  return tensors;
}

}  // namespace tfengine::convert
