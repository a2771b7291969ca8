// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/backend.h"

#include <algorithm>
#include <atomic>
#include <thread>

#include "backends/cuda/lower/lower.h"
#include "base/errors.h"
#include "base/gang.h"
#include "base/status_macros.h"

namespace tfengine {
namespace cuda {
namespace {

struct Row {
  Op op;
  LowerResult (*lower)(const LowerContext&);
};

constexpr Row kRows[] = {
    {Op::kConv2d, LowerConv2d}, {Op::kConv2dTranspose, LowerConv2dTranspose}, {Op::kMatMul, LowerMatMul},
    {Op::kAttention, LowerAttention}, {Op::kBatchNorm, LowerPointwise}, {Op::kLayerNorm, LowerLayerNorm},
    {Op::kSoftmax, LowerSoftmax}, {Op::kLogSoftmax, LowerSoftmax}, {Op::kPool, LowerPool}, {Op::kReduce, LowerReduce},
    {Op::kArgReduce, LowerArgReduce}, {Op::kTopK, LowerTopK}, {Op::kCumulative, LowerCumulative}, {Op::kUnary, LowerPointwise},
    {Op::kBinary, LowerPointwise}, {Op::kSelect, LowerPointwise}, {Op::kConvert, LowerPointwise}, {Op::kFakeQuant, LowerPointwise},
    {Op::kCast, LowerPointwise}, {Op::kTranspose, LowerAffine}, {Op::kBroadcast, LowerAffine}, {Op::kSlice, LowerAffine},
    {Op::kTile, LowerAffine}, {Op::kDepthToSpace, LowerAffine}, {Op::kSpaceToDepth, LowerAffine}, {Op::kConcat, LowerConcat},
    {Op::kPad, LowerPad}, {Op::kGather, LowerGather}, {Op::kGatherNd, LowerGatherNd}, {Op::kOneHot, LowerOneHot},
    {Op::kResize, LowerResize},
};

bool HasTypedKernel(Op op) {
  return op != Op::kConv2dTranspose && std::any_of(std::begin(kRows), std::end(kRows), [&](const Row& row) { return row.op == op; });
}

class Absent : public CompileBackend {
 public:
  explicit Absent(std::string device) : device_(std::move(device)) {}
  std::string Fingerprint() const override { return device_ + " (absent)"; }
  DType half() const override { return DType::kFloat16; }
  bool int8() const override { return true; }
  bool fp8() const override { return true; }
  bool RunsTyped(const Network&, const Node& node) const override { return HasTypedKernel(node.op); }
  std::vector<std::string> Tactics(const ConcreteNode&) const override { return {"default"}; }
  Result<Lowered> Lower(const ConcreteNode&, const std::string&, WeightStore&, int) const override {
    return Error(ErrorId::kDeviceUnavailable, "device \"{}\" is not in this machine", device_);
  }

 private:
  const std::string device_;
};

// A result without elements.
class EmptyKernel : public DeviceKernel {
 public:
  Status Enqueue(const void* const*, void* const*, const Launch&) const override { return OkStatus(); }
};

class DeviceCopy : public DeviceKernel {
 public:
  explicit DeviceCopy(size_t bytes) : bytes_(bytes) {}
  Status Enqueue(const void* const* in, void* const* out, const Launch& launch) const override {
    if (bytes_ == 0) return OkStatus();
    return launch.device.Check(launch.device.driver().MemcpyDtoDAsync(DevicePointer(out[0]), DevicePointer(in[0]), bytes_, launch.stream), "copying");
  }

 private:
  size_t bytes_;
};

std::string DescribeOperands(const ConcreteNode& node) {
  std::string text;
  for (const auto* list : {&node.inputs, &node.outputs}) {
    text += list == &node.outputs ? " -> " : "";
    for (const Operand& o : *list)
      if (o.present) text += fmt::format("{}{}{} ", DTypeName(o.dtype), o.quant.quantized() ? " (quantized)" : "", ShapeToString(o.shape));
  }
  return text;
}

}  // namespace

std::string CudaBackend::Fingerprint() const { return device_.fingerprint() + (options_.tf32 ? " tf32" : ""); }

bool CudaBackend::RunsTyped(const Network&, const Node& node) const { return HasTypedKernel(node.op); }

std::vector<std::string> CudaBackend::Tactics(const ConcreteNode& node) const {
  std::vector<std::string> names;
  if (node.op == Op::kConv2d) names = Conv2dTactics(node, device_, options_);
  if (node.op == Op::kMatMul) names = MatMulTactics(node, device_, options_);
  if (node.op == Op::kAttention) names = AttentionTactics(node, device_);
  if (node.op == Op::kSoftmax || node.op == Op::kLogSoftmax || node.op == Op::kLayerNorm) names = RowTactics(node, device_);
  if (names.empty()) names.push_back("default");
  return names;
}

Result<Lowered> CudaBackend::Lower(const ConcreteNode& node, const std::string& tactic, WeightStore& weights, int) const {
  if (std::all_of(node.outputs.begin(), node.outputs.end(), [](const Operand& o) { return o.num_elements() == 0; }))
    return MakeLowered(std::make_shared<EmptyKernel>(), "empty", {});
  const Device::Scope scope(device_);
  for (const Row& row : kRows) {
    if (row.op != node.op) continue;
    TFE_ASSIGN_OR_RETURN(std::optional<Lowered> lowered, row.lower({node, tactic, weights, device_, options_}));
    if (lowered) return *std::move(lowered);
  }
  return Error(ErrorId::kDeviceUnsupported, "not supported on cuda: {} ({}); use the device \"cpu\"", OpName(node.op), DescribeOperands(node));
}

Result<std::optional<Lowered>> CudaBackend::LowerChain(const std::vector<ConcreteNode>& nodes, const std::vector<std::string>&, const std::string& wish, WeightStore& weights, int) const {
  const Device::Scope scope(device_);
  return LowerChainOf({nodes.back(), wish, weights, device_, options_}, nodes);
}

std::vector<std::string> CudaBackend::ChainTactics(const std::vector<ConcreteNode>& nodes) const {
  for (const auto tactics : {BottleneckTactics, MatMulNormTactics, ConvPairTactics})
    if (std::vector<std::string> names = tactics(nodes, device_); !names.empty()) return names;
  return {};
}

std::vector<std::string> CudaBackend::JointTactics(const std::vector<ConcreteNode>& nodes) const { return JointMatMulTactics(nodes, device_); }

Result<std::optional<Lowered>> CudaBackend::LowerJoint(const std::vector<ConcreteNode>& nodes, const std::string& tactic, WeightStore& weights) const {
  const Device::Scope scope(device_);
  return LowerJointMatMul({nodes[0], tactic, weights, device_, options_}, nodes);
}

Result<std::optional<Lowered>> CudaBackend::LowerConverted(const ConcreteNode& norm, const ConcreteNode& convert, const std::string& tactic, WeightStore& weights) const {
  if (norm.outputs[0].num_elements() == 0) return std::optional<Lowered>();
  const Device::Scope scope(device_);
  return LowerLayerNormConverted({norm, tactic, weights, device_, options_}, convert);
}

void CudaBackend::LowerEach(size_t count, FunctionRef<void(size_t)> job) const {
  constexpr size_t kMostThreads = 16;  // NVRTC takes some 100 MB in each
  const size_t workers = std::min({count, static_cast<size_t>(AvailableCpus()), kMostThreads});
  std::atomic<size_t> next{0};
  const std::shared_ptr<const DeviceMemory> memory = MemoryScope::OfThread();
  auto work = [&] {
    const MemoryScope scope(memory);
    for (size_t i; (i = next++) < count;) job(i);
  };
  std::vector<std::thread> threads;
  for (size_t t = 1; t < workers; ++t) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
}

std::shared_ptr<const Kernel> CudaBackend::Copy(size_t bytes) const { return std::make_shared<DeviceCopy>(bytes); }

std::optional<double> CudaBackend::Measure(const Lowered& lowered, const ConcreteNode& node, bool cold, double best_so_far) const {
  return stopwatch_.Measure(lowered, node, cold, best_so_far);
}

std::optional<int> DeviceIndex(const std::string& device) {
  if (device == "cuda") return 0;
  if (device.rfind("cuda:", 0) != 0 || device.size() < 6 || device.size() > 8) return std::nullopt;
  const std::string digits = device.substr(5);
  if (!std::all_of(digits.begin(), digits.end(), [](char c) { return c >= '0' && c <= '9'; })) return std::nullopt;
  return std::stoi(digits);
}

}  // namespace cuda

Result<std::shared_ptr<const CompileBackend>> OpenBackend(const std::string& device, const BackendOptions& options) {
  if (const CompileBackend* host = FindBackend(device))
    return std::shared_ptr<const CompileBackend>(std::shared_ptr<const CompileBackend>(), host);  // never destroyed
  const auto index = cuda::DeviceIndex(device);
  if (!index) return Error(ErrorId::kBadFlag, "device \"{}\": expected cpu, cuda or cuda:<index>", device);
  TFE_ASSIGN_OR_RETURN(cuda::Device* gpu, cuda::Device::Get(*index));
  return std::shared_ptr<const CompileBackend>(std::make_shared<cuda::CudaBackend>(*gpu, options));
}

std::shared_ptr<const CompileBackend> AbsentBackend(const std::string& device) { return std::make_shared<cuda::Absent>(device); }

}  // namespace tfengine
