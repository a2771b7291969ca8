// SPDX-License-Identifier: Apache-2.0
#include "compiler/specialize.h"

#include <algorithm>
#include <atomic>
#include <functional>
#include <map>
#include <optional>

#include "backends/ref/ref.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "compiler/buffer_plan.h"
#include "compiler/views.h"

namespace tfengine {
namespace {

Result<std::vector<int64_t>> EvalShape(const Network& network, const Shape& shape, const std::vector<int64_t>& symbols) {
  std::vector<int64_t> dims;
  dims.reserve(shape.size());
  for (Dim d : shape) {
    TFE_ASSIGN_OR_RETURN(int64_t v, network.dims().Eval(d, symbols));
    if (v < 0) return Error(ErrorId::kShapeUnsupported, "size {} is {} at these input shapes", network.dims().ToString(d), v);
    dims.push_back(v);
  }
  return dims;
}

// Everything that is decided while the steps of one Executable are made.
class Specializer {
 public:
  Specializer(const Network& network, const CompileBackend& backend, const std::vector<int64_t>& symbols,
              const TacticMap& tactics, WeightStore& weights, int threads, bool views)
      : network_(network), backend_(backend), symbols_(symbols), tactics_(tactics), weights_(weights), threads_(threads),
        views_(views && backend.views()) {}

  Result<std::shared_ptr<const Executable>> Run() {
    const size_t n = network_.values().size();
    constants_.resize(n);
    home_of_.assign(n, {});
    last_use_.assign(n, -1);
    exe_ = std::make_shared<Executable>();
    exe_->threads = threads_;
    for (size_t v = 0; v < n; ++v) constants_[v] = network_.value(static_cast<int>(v)).constant;
    for (size_t i = 0; i < network_.inputs().size(); ++i) {
      const ValueId v = network_.inputs()[i];
      TFE_ASSIGN_OR_RETURN(Executable::Port port, MakePort(v));
      exe_->inputs.push_back(port);
      home_of_[v].storage = AddStorage({BufferRef::Kind::kInput, static_cast<int>(i), 0}, port.bytes);
    }
    FindAliasesAndUses();
    joined_.assign(network_.nodes().size(), false);
    if (views_) TFE_RETURN_IF_ERROR(PlanPlaces());
    if (!backend_.on_host()) LowerAhead();
    for (size_t i = 0; i < network_.nodes().size(); ++i) {
      if (joined_[i]) continue;
      TFE_ASSIGN_OR_RETURN(const bool joint, LowerJointAt(static_cast<int>(i)));
      if (joint) continue;
      TFE_ASSIGN_OR_RETURN(const int chained, LowerChainAt(static_cast<int>(i)));
      if (chained > 0) {
        i += static_cast<size_t>(chained) - 1;
        continue;
      }
      Status status = LowerNode(static_cast<int>(i));
      if (!status.ok()) return status.WithContext(network_.nodes()[i].name);
    }
    TFE_RETURN_IF_ERROR(BindOutputs());
    PlanArena();
    return std::shared_ptr<const Executable>(exe_);
  }

  // Whether Run failed because a kernel does not heed the pitches that were planned.
  bool views_failed() const { return views_failed_; }

 private:
  // A piece of memory that one or more values live in.
  struct Storage {
    BufferRef ref;
    int64_t bytes = 0;
    int first = 0;  // step that writes it first
    int last = 0;   // last step that touches it
    int whole = -1;  // the storage that it is a piece of, at ref.offset
  };
  // Where a value lies.
  struct Home {
    int storage = -1;
    int64_t offset = 0;  // bytes
  };

  // The nodes that one step computes.
  enum class Kind { kNode, kChain, kJoint, kConverted };
  using Unit = std::pair<Kind, std::vector<int>>;

  Result<Executable::Port> MakePort(ValueId v) const {
    Executable::Port port;
    port.dtype = network_.value(v).dtype;
    TFE_ASSIGN_OR_RETURN(port.shape, EvalShape(network_, network_.value(v).shape, symbols_));
    TFE_ASSIGN_OR_RETURN(port.bytes, Bytes(port.dtype, port.shape));
    return port;
  }
  static Result<size_t> Bytes(DType dtype, const std::vector<int64_t>& shape) {
    int64_t bytes = static_cast<int64_t>(DTypeSize(dtype));
    for (int64_t d : shape)
      if (__builtin_mul_overflow(bytes, d, &bytes)) return Error(ErrorId::kShapeUnsupported, "a tensor would need more than 2^63 bytes");
    return static_cast<size_t>(bytes);
  }
  int AddStorage(BufferRef ref, size_t bytes) {
    storages_.push_back({ref, static_cast<int64_t>(bytes), 0, 0, -1});
    return static_cast<int>(storages_.size()) - 1;
  }

  // alias_root_[v]: the value whose memory v shares because only reshapes lie between. last_use_ is kept per root, as
  // node index; outputs are used "after the end".
  void FindAliasesAndUses() {
    const auto& nodes = network_.nodes();
    alias_root_.resize(network_.values().size());
    for (size_t v = 0; v < alias_root_.size(); ++v) alias_root_[v] = static_cast<int>(v);
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (nodes[i].op == Op::kReshape) alias_root_[nodes[i].outputs[0]] = alias_root_[nodes[i].inputs[0]];
      for (ValueId in : nodes[i].inputs)
        if (in != kNoValue) last_use_[alias_root_[in]] = static_cast<int>(i);
      if (nodes[i].op == Op::kConvert) conversions_.emplace(alias_root_[nodes[i].inputs[0]], static_cast<int>(i));
    }
    is_output_.assign(network_.values().size(), false);
    for (ValueId out : network_.outputs()) is_output_[alias_root_[out]] = true;
  }

  int ConstantStorage(ValueId v) {
    exe_->constants.push_back(constants_[v]);
    return AddStorage({BufferRef::Kind::kConstant, static_cast<int>(exe_->constants.size()) - 1, 0},
                      constants_[v]->num_bytes());
  }
  const Home& HomeOf(ValueId v) {
    if (home_of_[v].storage < 0 && constants_[v]) home_of_[v].storage = ConstantStorage(v);
    return home_of_[v];
  }

  // Decides which values live inside others, and lets last_use_ and is_output_ of a root speak for all that share its memory.
  Status PlanPlaces() {
    const auto& nodes = network_.nodes();
    if (std::none_of(nodes.begin(), nodes.end(), [](const Node& n) { return n.op == Op::kConcat || n.op == Op::kSlice; })) return OkStatus();
    std::vector<std::vector<int64_t>> shapes;
    for (const Value& v : network_.values()) {
      TFE_ASSIGN_OR_RETURN(std::vector<int64_t> shape, EvalShape(network_, v.shape, symbols_));
      shapes.push_back(std::move(shape));
    }
    auto begin = [&](int node) {
      std::vector<int64_t> values;
      for (Dim d : network_.nodes()[node].attrs.Dims("begin")) {
        const auto value = network_.dims().Eval(d, symbols_);
        values.push_back(value.ok() ? *value : -1);
      }
      return values;
    };
    auto accepts = [&](int node, const ViewPlan& plan) { return AcceptsPitches(node, plan); };
    views_plan_ = PlanViews({network_, shapes, alias_root_, is_output_, begin, accepts});
    memory_root_ = alias_root_;
    for (size_t v = 0; v < memory_root_.size(); ++v) {
      int root = alias_root_[v];
      while (views_plan_.places[root].in != kNoValue) root = alias_root_[views_plan_.places[root].in];
      memory_root_[v] = root;
      last_use_[root] = std::max(last_use_[root], last_use_[alias_root_[v]]);
      if (is_output_[alias_root_[v]]) is_output_[root] = true;
    }
    return OkStatus();
  }

  int64_t PitchIn(const ViewPlan& plan, ValueId v) const {
    return v == kNoValue || constants_[v] || plan.pitches.empty() ? 0 : plan.pitches[alias_root_[v]];
  }

  Result<ConcreteNode> Concrete(const Node& node, const ViewPlan& plan) const {
    TFE_ASSIGN_OR_RETURN(ConcreteNode concrete, MakeConcrete(network_, node, symbols_, constants_));
    for (size_t k = 0; k < node.inputs.size(); ++k) concrete.inputs[k].pitch = PitchIn(plan, node.inputs[k]);
    for (size_t k = 0; k < node.outputs.size(); ++k) concrete.outputs[k].pitch = PitchIn(plan, node.outputs[k]);
    return concrete;
  }

  static bool HasPitch(const ConcreteNode& node) {
    auto apart = [](const Operand& o) { return o.pitch > 0; };
    return std::any_of(node.inputs.begin(), node.inputs.end(), apart) || std::any_of(node.outputs.begin(), node.outputs.end(), apart);
  }

  // Whether the kernel that runs a node heeds the plan's pitches.
  bool AcceptsPitches(int index, const ViewPlan& plan) {
    for (int begin = std::max(0, index - kLongestChain + 1); begin <= index; ++begin) {
      const ChosenWay chosen = ChosenChain(begin);
      if (chosen.length == 0 || begin + chosen.length <= index) continue;
      auto chain = LowerNodes(begin, chosen, plan);
      if (!chain.ok()) return false;
      if (*chain) return (*chain)->views;
    }
    auto concrete = Concrete(network_.nodes()[index], plan);
    if (!concrete.ok()) return false;
    const auto lowered = LowerAlone(index, *concrete);
    return lowered.ok() && (*lowered)->views;
  }

  // Lowers on several threads what the steps will need, as compiling a kernel takes long. What turns out otherwise (a chain
  // that has no kernel) is lowered when its turn comes; so is what fails here, and reports it.
  void LowerAhead() {
    struct Job {
      Unit unit;
      std::function<Result<std::optional<Lowered>>()> lower;
      std::optional<Lowered> lowered;
    };
    std::vector<Job> jobs;
    std::vector<bool> taken(network_.nodes().size(), false);
    for (int i = 0; i < static_cast<int>(network_.nodes().size()); ++i) {
      if (taken[i]) continue;
      if (const std::vector<int> members = JointMembers(i, taken); !members.empty()) {
        jobs.push_back({{Kind::kJoint, members}, [this, members] { return LowerMembers(members); }, std::nullopt});
        for (int m : members) taken[m] = true;
        continue;
      }
      if (const ChosenWay chain = ChosenChain(i); chain.length > 0) {
        jobs.push_back({ChainAt(i, chain.length), [this, i, chain] { return LowerNodes(i, chain, views_plan_); }, std::nullopt});
        i += chain.length - 1;
        continue;
      }
      const Node& node = network_.nodes()[i];
      auto concrete = Concrete(node, views_plan_);
      if (!concrete.ok()) break;
      if (IsConstant(node)) {
        if (!Fold(node, *concrete).ok()) break;
      } else if (const int convert = ConversionOf(i); convert >= 0) {
        jobs.push_back({{Kind::kConverted, {i, convert}}, [this, i, convert] { return LowerConverted(i, convert); }, std::nullopt});
        taken[convert] = true;
      } else if (IsView(node)) {
        continue;
      } else if (node.op != Op::kConcat || !MarkPlaced(node, &*concrete)) {
        jobs.push_back({{Kind::kNode, {i}}, [this, i, concrete = *concrete] { return LowerAlone(i, concrete); }, std::nullopt});
      }
    }
    std::atomic<bool> failed{false};
    backend_.LowerEach(jobs.size(), [&](size_t k) {
      if (failed) return;
      auto lowered = jobs[k].lower();
      if (!lowered.ok()) {
        failed = true;
        return;
      }
      jobs[k].lowered = *std::move(lowered);
    });
    for (Job& job : jobs)
      if (job.lowered) ahead_[std::move(job.unit)] = *std::move(job.lowered);
  }

  // What LowerAhead made of `unit`, or what `lower()` makes of it.
  template <typename F>
  Result<std::optional<Lowered>> Take(const Unit& unit, F&& lower) {
    const auto found = ahead_.find(unit);
    if (found == ahead_.end()) return lower();
    std::optional<Lowered> lowered = std::move(found->second);
    ahead_.erase(found);
    return lowered;
  }

  bool IsConstant(const Node& node) const {
    return std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) { return v == kNoValue || constants_[v]; });
  }
  // Whether the result is the input's memory, or a piece of it.
  bool IsView(const Node& node) const {
    if (node.op == Op::kReshape) return !constants_[node.inputs[0]];
    if (node.op != Op::kSlice || views_plan_.places.empty()) return false;
    const ViewPlan::Place& place = views_plan_.places[node.outputs[0]];
    return place.in != kNoValue && place.input < 0;
  }

  // Where packed forms are kept, by the addresses of the constants: those that are folded here live no longer than this, and at
  // other shapes others may lie there.
  WeightStore& WeightsOf(const std::vector<int>& nodes) const {
    for (int i : nodes)
      for (ValueId v : network_.nodes()[i].inputs)
        if (v != kNoValue && constants_[v] != network_.value(v).constant) return folded_weights_;
    return weights_;
  }

  Result<std::optional<Lowered>> LowerAlone(int index, const ConcreteNode& concrete) const {
    TFE_ASSIGN_OR_RETURN(Lowered lowered, backend_.Lower(concrete, TacticOf(network_.nodes()[index]), WeightsOf({index}), threads_));
    return std::optional<Lowered>(std::move(lowered));
  }

  Status LowerNode(int index) {
    const Node& node = network_.nodes()[index];
    const ValueId out0 = node.outputs[0];
    if (constants_[out0]) return OkStatus();  // folded ahead
    if (node.op == Op::kReshape && !constants_[node.inputs[0]]) {
      // Evaluated only to refuse sizes that make no sense at these shapes.
      TFE_ASSIGN_OR_RETURN(std::vector<int64_t> from, EvalShape(network_, network_.value(node.inputs[0]).shape, symbols_));
      TFE_ASSIGN_OR_RETURN(std::vector<int64_t> to, EvalShape(network_, network_.value(out0).shape, symbols_));
      int64_t a = 1, b = 1;
      for (int64_t d : from) a *= d;
      for (int64_t d : to) b *= d;
      if (a != b) return Error(ErrorId::kShapeUnsupported, "cannot reshape {} to {}", ShapeToString(from), ShapeToString(to));
      home_of_[out0] = HomeOf(node.inputs[0]);
      return OkStatus();
    }
    TFE_ASSIGN_OR_RETURN(ConcreteNode concrete, Concrete(node, views_plan_));
    if (IsConstant(node)) return Fold(node, concrete);
    if (IsView(node)) {
      home_of_[out0] = HomeOf(node.inputs[0]);
      home_of_[out0].offset += views_plan_.places[out0].offset * static_cast<int64_t>(DTypeSize(concrete.outputs[0].dtype));
      return OkStatus();
    }
    if (node.op == Op::kConcat && MarkPlaced(node, &concrete)) {
      home_of_[out0] = HomeFor(out0);
      return OkStatus();
    }

    if (const int convert = ConversionOf(index); convert >= 0) {
      TFE_ASSIGN_OR_RETURN(const bool both, LowerWithConversion(index, convert, concrete));
      if (both) return OkStatus();
    }
    TFE_ASSIGN_OR_RETURN(std::optional<Lowered> lowered, Take({Kind::kNode, {index}}, [&] { return LowerAlone(index, concrete); }));
    TFE_RETURN_IF_ERROR(CheckViews(HasPitch(concrete), *lowered));
    TFE_RETURN_IF_ERROR(AddStep(node, index, node.inputs, concrete, *lowered));
    exe_->steps.back().nodes = {index};
    return OkStatus();
  }

  // The conversion that the kernel of a layer_norm can do too: its result is a residual and what an 8-bit product reads. -1: none.
  int ConversionOf(int index) {
    const Node& node = network_.nodes()[index];
    const auto found = node.op == Op::kLayerNorm ? conversions_.find(node.outputs[0]) : conversions_.end();
    return found == conversions_.end() || ChosenChain(found->second).length > 0 ? -1 : found->second;
  }

  Result<std::optional<Lowered>> LowerConverted(int index, int convert) const {
    const Node& node = network_.nodes()[index];
    TFE_ASSIGN_OR_RETURN(const ConcreteNode norm, Concrete(node, views_plan_));
    TFE_ASSIGN_OR_RETURN(const ConcreteNode conversion, Concrete(network_.nodes()[convert], views_plan_));
    if (HasPitch(norm) || HasPitch(conversion)) return std::optional<Lowered>();
    return backend_.LowerConverted(norm, conversion, TacticOf(node), WeightsOf({index}));
  }

  // Adds a step for both nodes if there is such a kernel.
  Result<bool> LowerWithConversion(int index, int convert, const ConcreteNode& concrete) {
    TFE_ASSIGN_OR_RETURN(const std::optional<Lowered> lowered, Take({Kind::kConverted, {index, convert}}, [&] { return LowerConverted(index, convert); }));
    if (!lowered) return false;
    TFE_ASSIGN_OR_RETURN(const ConcreteNode conversion, Concrete(network_.nodes()[convert], views_plan_));
    Node both = network_.nodes()[index];
    ConcreteNode concrete_both = concrete;
    both.outputs.push_back(network_.nodes()[convert].outputs[0]);
    concrete_both.outputs.push_back(conversion.outputs[0]);
    joined_[convert] = true;
    TFE_RETURN_IF_ERROR(AddStep(both, index, both.inputs, concrete_both, *lowered));
    exe_->steps.back().nodes = {index, convert};
    return true;
  }

  std::string TacticOf(const Node& node) const {
    auto tactic = tactics_.find(network_.value(node.outputs[0]).name);
    return tactic == tactics_.end() ? "" : tactic->second;
  }

  // Marks the inputs of a concat that were written to their places; true if none is left to copy.
  bool MarkPlaced(const Node& node, ConcreteNode* concrete) const {
    if (views_plan_.places.empty()) return false;
    bool all = true;
    for (size_t k = 0; k < node.inputs.size(); ++k) {
      const ViewPlan::Place& place = views_plan_.places[alias_root_[node.inputs[k]]];
      const bool placed = place.in == node.outputs[0] && place.input == static_cast<int>(k) && !constants_[node.inputs[k]];
      concrete->inputs[k].placed = placed;
      all = all && placed;
    }
    return all;
  }

  // How many nodes run as one kernel, and how; 0: none.
  struct ChosenWay {
    int length = 0;
    std::string tactic;
  };

  // The chain that was chosen to start at `index`.
  ChosenWay ChosenChain(int index) {
    auto chosen = tactics_.find(network_.value(network_.nodes()[index].outputs[0]).name + kChainSuffix);
    if (chosen == tactics_.end()) return {};
    // The choice comes from a file: it must be possible in this network.
    const std::string& text = chosen->second;
    if (text.empty() || (text.size() > 1 && text[1] != ':')) return {};
    const int length = text[0] - '0';
    if (uses_.empty()) uses_ = network_.UseCounts();
    if (length < 2 || ChainLength(network_, uses_, index) < length) return {};
    return {length, text.size() > 1 ? text.substr(2) : ""};
  }

  static Unit ChainAt(int index, int length) {
    Unit unit{Kind::kChain, {}};
    for (int i = index; i < index + length; ++i) unit.second.push_back(i);
    return unit;
  }

  // One kernel for the nodes from `index` on.
  Result<std::optional<Lowered>> LowerNodes(int index, const ChosenWay& way, const ViewPlan& plan) const {
    std::vector<ConcreteNode> nodes;
    std::vector<std::string> tactics;
    for (int k = 0; k < way.length; ++k) {
      const Node& node = network_.nodes()[index + k];
      TFE_ASSIGN_OR_RETURN(ConcreteNode concrete, Concrete(node, plan));
      nodes.push_back(std::move(concrete));
      tactics.push_back(TacticOf(node));
    }
    return backend_.LowerChain(nodes, tactics, way.tactic, WeightsOf(ChainAt(index, way.length).second), threads_);
  }

  // Lowers a chain that starts at `index` if one was chosen; returns its length, or 0.
  Result<int> LowerChainAt(int index) {
    const ChosenWay chosen = ChosenChain(index);
    if (chosen.length == 0) return 0;
    TFE_ASSIGN_OR_RETURN(std::optional<Lowered> lowered, Take(ChainAt(index, chosen.length), [&] { return LowerNodes(index, chosen, views_plan_); }));
    if (!lowered) return 0;
    const int last = index + chosen.length - 1;
    std::vector<ValueId> inputs;
    for (int i = index; i <= last; ++i) inputs.insert(inputs.end(), network_.nodes()[i].inputs.begin(), network_.nodes()[i].inputs.end());
    bool apart = false;
    for (ValueId v : inputs) apart = apart || PitchIn(views_plan_, v) > 0;
    TFE_ASSIGN_OR_RETURN(const ConcreteNode concrete, Concrete(network_.nodes()[last], views_plan_));
    TFE_RETURN_IF_ERROR(CheckViews(apart || HasPitch(concrete), *lowered));
    TFE_RETURN_IF_ERROR(AddStep(network_.nodes()[last], last, inputs, concrete, *lowered));
    exe_->steps.back().nodes = ChainAt(index, chosen.length).second;
    return chosen.length;
  }

  // The plan asked the kernels; a node that turned out to have other operands may say something else.
  Status CheckViews(bool apart, const Lowered& lowered) {
    views_failed_ = apart && !lowered.views;
    return views_failed_ ? Error(ErrorId::kInternalError, "no kernel for rows that lie apart") : OkStatus();
  }

  // Where a result that is made now is written; the storage of what it lies in appears with its first part.
  Home HomeFor(ValueId v) {
    if (views_plan_.places.empty()) return {};
    const ViewPlan::Place& place = views_plan_.places[v];
    if (place.in == kNoValue) return home_of_[v];
    Home home = HomeFor(place.in);
    if (home.storage < 0) {
      const auto bytes = Bytes(network_.value(place.in).dtype, *EvalShape(network_, network_.value(place.in).shape, symbols_));
      home.storage = AddStorage({BufferRef::Kind::kArena, 0, 0}, *bytes);
      storages_[home.storage].first = static_cast<int>(exe_->steps.size());
      home_of_[place.in] = home;
    }
    home.offset += place.offset * static_cast<int64_t>(DTypeSize(network_.value(v).dtype));
    return home;
  }

  std::string JointTacticOf(const Node& node) const {
    const auto chosen = tactics_.find(network_.value(node.outputs[0]).name + kJointSuffix);
    return chosen == tactics_.end() ? "" : chosen->second;
  }

  // The matmuls that can run together with `index`, itself first, unless they were found to be faster alone. `taken`: not these.
  std::vector<int> JointMembers(int index, const std::vector<bool>& taken) const {
    const Node& node = network_.nodes()[index];
    if (node.op != Op::kMatMul || JointTacticOf(node) == kSeparately) return {};
    std::vector<int> members;
    for (int i : JointProducts(network_, index))
      if (!is_output_[alias_root_[network_.nodes()[i].outputs[0]]] && !taken[i]) members.push_back(i);
    if (members.size() < 2 || members[0] != index) return {};
    return members;
  }

  Result<std::optional<Lowered>> LowerMembers(const std::vector<int>& members) const {
    std::vector<ConcreteNode> nodes;
    for (int i : members) {
      TFE_ASSIGN_OR_RETURN(ConcreteNode concrete, MakeConcrete(network_, network_.nodes()[i], symbols_, constants_));
      nodes.push_back(std::move(concrete));
    }
    if (nodes[0].outputs[0].num_elements() == 0 || nodes[0].inputs[0].constant) return std::optional<Lowered>();
    return backend_.LowerJoint(nodes, JointTacticOf(network_.nodes()[members[0]]), WeightsOf(members));
  }

  // Adds a step for the matmuls that run together with `index`, if there are any.
  Result<bool> LowerJointAt(int index) {
    const std::vector<int> members = JointMembers(index, joined_);
    if (members.empty()) return false;
    TFE_ASSIGN_OR_RETURN(std::optional<Lowered> lowered, Take({Kind::kJoint, members}, [&] { return LowerMembers(members); }));
    if (!lowered) return false;
    const Node& node = network_.nodes()[index];
    const int step_index = static_cast<int>(exe_->steps.size());
    const Value& first = network_.value(node.outputs[0]);
    TFE_ASSIGN_OR_RETURN(const std::vector<int64_t> shape, EvalShape(network_, first.shape, symbols_));
    TFE_ASSIGN_OR_RETURN(const size_t bytes, Bytes(first.dtype, shape));
    const int whole = AddStorage({BufferRef::Kind::kArena, 0, 0}, bytes * members.size());
    storages_[whole].first = storages_[whole].last = step_index;
    Step step = MakeStep(node, *lowered, node.inputs);
    step.values.clear();
    for (size_t k = 0; k < members.size(); ++k) {
      joined_[members[k]] = true;
      const int piece = AddStorage({BufferRef::Kind::kArena, 0, static_cast<int64_t>(k * bytes)}, bytes);
      storages_[piece].whole = whole;
      const ValueId v = network_.nodes()[members[k]].outputs[0];
      home_of_[v] = {piece, 0};
      step.values.push_back(v);
      step_out_.push_back({step_index, {piece, 0}});
      step.out.push_back({});
    }
    step.nodes = members;
    exe_->steps.push_back(std::move(step));
    return true;
  }

  // The step without its outputs; its inputs are recorded as read by the next step.
  Step MakeStep(const Node& node, const Lowered& lowered, const std::vector<ValueId>& inputs) {
    Step step;
    step.name = node.name;
    step.op = OpName(node.op);
    step.tactic = lowered.tactic;
    step.kernel = lowered.kernel;
    step.values = node.outputs;
    const int step_index = static_cast<int>(exe_->steps.size());
    for (int i : lowered.in) {
      const Home home = HomeOf(inputs[i]);
      storages_[home.storage].last = step_index;
      step_in_.push_back({step_index, home});
      step.in.push_back({});
    }
    exe_->scratch_bytes = std::max(exe_->scratch_bytes, step.kernel->scratch_bytes(threads_));
    return step;
  }

  // A step that reads `lowered.in` of `inputs` and writes the outputs of `node`.
  Status AddStep(const Node& node, int index, const std::vector<ValueId>& inputs, const ConcreteNode& concrete, const Lowered& lowered) {
    Step step = MakeStep(node, lowered, inputs);
    const int step_index = static_cast<int>(exe_->steps.size());
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      const ValueId v = node.outputs[k];
      TFE_ASSIGN_OR_RETURN(size_t bytes, Bytes(concrete.outputs[k].dtype, concrete.outputs[k].shape));
      Home home = HomeFor(v);
      if (home.storage < 0 && k == 0) home.storage = InPlaceStorage(node, lowered.in_place, index, bytes);
      if (home.storage < 0) {
        home.storage = AddStorage({BufferRef::Kind::kArena, 0, 0}, bytes);
        storages_[home.storage].first = step_index;
      }
      storages_[home.storage].last = step_index;
      home_of_[v] = home;
      step_out_.push_back({step_index, home});
      step.out.push_back({});
    }
    exe_->steps.push_back(std::move(step));
    return OkStatus();
  }

  Status Fold(const Node& node, const ConcreteNode& concrete) {
    std::vector<const Tensor*> inputs;
    std::vector<Quant> quants;
    for (const Operand& o : concrete.inputs) {
      inputs.push_back(o.constant.get());
      quants.push_back(o.quant);
    }
    std::vector<std::shared_ptr<Tensor>> results;
    std::vector<Tensor*> outputs;
    for (const Operand& o : concrete.outputs) {
      results.push_back(std::make_shared<Tensor>(o.dtype, o.shape));
      outputs.push_back(results.back().get());
    }
    TFE_RETURN_IF_ERROR(ref::RunNode(concrete.op, concrete.attrs, inputs, outputs, quants));
    for (size_t k = 0; k < results.size(); ++k) constants_[node.outputs[k]] = results[k];
    return OkStatus();
  }

  // The storage of the operand that the step may overwrite: it must be arena memory whose content nobody needs later.
  int InPlaceStorage(const Node& node, int operand, int node_index, size_t bytes) {
    if (operand < 0) return -1;
    const ValueId v = node.inputs[operand];
    const int s = HomeOf(v).storage;
    const ValueId root = memory_root_.empty() ? alias_root_[v] : memory_root_[v];
    if (storages_[s].ref.kind != BufferRef::Kind::kArena || storages_[s].bytes != static_cast<int64_t>(bytes)) return -1;
    if (last_use_[root] != node_index || is_output_[root]) return -1;
    // The same memory may be read through another operand too (x * x): kernels allow that only elementwise, so refuse.
    int reads = 0;
    for (ValueId in : node.inputs) reads += in != kNoValue && !constants_[in] && HomeOf(in).storage == s;
    return reads == 1 ? s : -1;
  }

  Status BindOutputs() {
    std::vector<bool> taken(storages_.size(), false);
    for (size_t i = 0; i < network_.outputs().size(); ++i) {
      const ValueId v = network_.outputs()[i];
      TFE_ASSIGN_OR_RETURN(Executable::Port port, MakePort(v));
      exe_->outputs.push_back(port);
      const BufferRef target{BufferRef::Kind::kOutput, static_cast<int>(i), 0};
      const Home home = HomeOf(v);
      const int s = home.storage;
      taken.resize(storages_.size(), false);
      if (storages_[s].ref.kind == BufferRef::Kind::kArena && storages_[s].whole < 0 && !taken[s]) {
        storages_[s].ref = target;
        taken[s] = true;
        continue;
      }
      const int step_index = static_cast<int>(exe_->steps.size());
      storages_[s].last = std::max(storages_[s].last, step_index);
      const int copy = AddStorage(target, port.bytes);
      step_in_.push_back({step_index, home});
      step_out_.push_back({step_index, {copy, 0}});
      Step step;
      step.name = network_.value(v).name;
      step.op = "copy";
      step.tactic = "memcpy";
      step.kernel = backend_.Copy(port.bytes);
      step.in.resize(1);
      step.out.resize(1);
      exe_->steps.push_back(std::move(step));
    }
    return OkStatus();
  }

  void PlanArena() {
    std::vector<BufferUse> uses;
    std::vector<int> ids;
    for (const Storage& piece : storages_)
      if (piece.whole >= 0) storages_[piece.whole].last = std::max(storages_[piece.whole].last, piece.last);
    for (size_t s = 0; s < storages_.size(); ++s) {
      if (storages_[s].ref.kind != BufferRef::Kind::kArena || storages_[s].whole >= 0) continue;
      uses.push_back({storages_[s].bytes, storages_[s].first, storages_[s].last});
      ids.push_back(static_cast<int>(s));
    }
    int64_t total = 0;
    const auto offsets = PlanBuffers(uses, &total);
    for (size_t i = 0; i < ids.size(); ++i) storages_[ids[i]].ref.offset = offsets[i];
    for (Storage& piece : storages_)
      if (piece.whole >= 0) piece.ref.offset += storages_[piece.whole].ref.offset;
    // A little room behind the activations: vector kernels may load, never store, a register past the end.
    exe_->arena_bytes = static_cast<size_t>(total) + 64;
    Fill(step_in_, &Step::in);
    Fill(step_out_, &Step::out);
  }

  struct StepOperand {
    int step;
    Home home;
  };
  void Fill(const std::vector<StepOperand>& operands, std::vector<BufferRef> Step::*member) {
    size_t k = 0;
    int step = -1;
    for (const StepOperand& o : operands) {
      k = o.step == step ? k + 1 : 0;
      step = o.step;
      BufferRef& ref = (exe_->steps[o.step].*member)[k];
      ref = storages_[o.home.storage].ref;
      ref.offset += o.home.offset;
    }
  }

  const Network& network_;
  const CompileBackend& backend_;
  const std::vector<int64_t>& symbols_;
  const TacticMap& tactics_;
  WeightStore& weights_;
  mutable WeightStore folded_weights_;
  const int threads_;
  const bool views_;
  bool views_failed_ = false;
  std::shared_ptr<Executable> exe_;
  std::vector<std::shared_ptr<const Tensor>> constants_;
  ViewPlan views_plan_;  // empty: no views
  std::vector<Home> home_of_;
  std::vector<int> alias_root_, last_use_;
  std::vector<int> memory_root_;  // of roots, the one whose memory they share; empty: their own
  std::vector<bool> is_output_;
  std::vector<bool> joined_;  // nodes that a step of an earlier node computes
  std::map<ValueId, int> conversions_;  // of a root, the first node that converts it
  std::map<Unit, std::optional<Lowered>> ahead_;
  std::vector<int> uses_;
  std::vector<Storage> storages_;
  std::vector<StepOperand> step_in_, step_out_;
};

bool IsPointwise(Op op) {
  return op == Op::kUnary || op == Op::kBinary || op == Op::kSelect || op == Op::kCast || op == Op::kConvert || op == Op::kBatchNorm || op == Op::kFakeQuant;
}

}  // namespace

std::string ChainRecord(int length, const std::string& tactic) { return std::to_string(length) + (tactic.empty() ? "" : ":" + tactic); }

int ChainLength(const Network& network, const std::vector<int>& uses, int index) {
  constexpr int kLongestOfOthers = 3;
  const auto& nodes = network.nodes();
  bool pointwise = true;
  int length = 1;
  for (; length < kLongestChain && index + length < static_cast<int>(nodes.size()); ++length) {
    const Node& before = nodes[index + length - 1];
    const Node& next = nodes[index + length];
    if (before.outputs.size() != 1 || uses[before.outputs[0]] != 1 || next.inputs.empty() || next.inputs[0] != before.outputs[0]) break;
    pointwise = pointwise && IsPointwise(before.op) && IsPointwise(next.op);
    if (!pointwise && length >= kLongestOfOthers) break;
  }
  return length;
}

std::vector<int> JointProducts(const Network& network, int index) {
  const Node& first = network.nodes()[index];
  auto constant = [&](const Node& node, size_t i) { return node.inputs.size() > i && node.inputs[i] != kNoValue && network.value(node.inputs[i]).constant; };
  auto absent = [&](const Node& node, size_t i) { return node.inputs.size() <= i || node.inputs[i] == kNoValue; };
  std::vector<int> found;
  for (int i = index; i < static_cast<int>(network.nodes().size()); ++i) {
    const Node& node = network.nodes()[i];
    if (node.op != Op::kMatMul || node.inputs[0] != first.inputs[0] || !(node.attrs == first.attrs) || !constant(node, 1) || !absent(node, 3)) continue;
    auto alike = [&](size_t k) { return absent(node, k) ? absent(first, k) : constant(node, k) && constant(first, k); };
    if (!alike(2) || !alike(4)) continue;
    if (network.value(node.inputs[1]).constant->shape() != network.value(first.inputs[1]).constant->shape()) continue;
    found.push_back(i);
  }
  return found;
}

Result<ConcreteNode> MakeConcrete(const Network& network, const Node& node, const std::vector<int64_t>& symbols,
                                  const std::vector<std::shared_ptr<const Tensor>>& constants) {
  ConcreteNode c;
  c.op = node.op;
  for (const auto& [key, attr] : node.attrs.items()) {
    const Shape* dims = std::get_if<Shape>(&attr);
    if (dims == nullptr) {
      c.attrs.Set(key, attr);
      continue;
    }
    Shape evaluated;
    for (Dim d : *dims) {
      TFE_ASSIGN_OR_RETURN(int64_t v, network.dims().Eval(d, symbols));
      evaluated.push_back(Dim(v));
    }
    c.attrs.Set(key, evaluated);
  }
  auto operand = [&](ValueId v) -> Result<Operand> {
    Operand o;
    if (v == kNoValue) return o;
    o.present = true;
    o.dtype = network.value(v).dtype;
    o.quant = network.value(v).quant;
    o.constant = constants.empty() ? network.value(v).constant : constants[v];
    TFE_ASSIGN_OR_RETURN(o.shape, EvalShape(network, network.value(v).shape, symbols));
    return o;
  };
  for (ValueId v : node.inputs) {
    TFE_ASSIGN_OR_RETURN(Operand o, operand(v));
    c.inputs.push_back(std::move(o));
  }
  for (ValueId v : node.outputs) {
    TFE_ASSIGN_OR_RETURN(Operand o, operand(v));
    c.outputs.push_back(std::move(o));
  }
  return c;
}

Result<std::shared_ptr<const Executable>> Specialize(const Network& network, const CompileBackend& backend,
                                                     const std::vector<int64_t>& symbols, const TacticMap& tactics,
                                                     WeightStore& weights, int threads, bool views) {
  Specializer specializer(network, backend, symbols, tactics, weights, threads, views);
  auto result = specializer.Run();
  if (result.ok() || !specializer.views_failed()) return result;
  return Specializer(network, backend, symbols, tactics, weights, threads, false).Run();
}

}  // namespace tfengine
