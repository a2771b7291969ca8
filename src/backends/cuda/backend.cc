// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/backend.h"

#include <algorithm>
#include <limits>
#include <random>

#include "backends/cuda/lower/lower.h"
#include "backends/ref/element.h"
#include "base/errors.h"
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

// Small random reals, the same block again and again; zeros for everything else, which are valid indices.
Result<DeviceBuffer> SampleData(const Device& device, const Operand& o) {
  const size_t bytes = static_cast<size_t>(o.num_elements()) * DTypeSize(o.dtype);
  constexpr size_t kBlock = size_t{1} << 18;
  std::vector<char> block(std::min(bytes, kBlock), 0);
  std::minstd_rand random(1);
  auto number = [&] { return static_cast<float>(random() % 2001) * 1e-3f - 1.0f; };
  for (size_t i = 0; i < block.size() && o.quant.quantized(); ++i) block[i] = static_cast<char>(random() >> 8);
  for (size_t i = 0; i < block.size() / DTypeSize(o.dtype) && !o.quant.quantized(); ++i) {
    if (o.dtype == DType::kFloat32) reinterpret_cast<float*>(block.data())[i] = number();
    if (o.dtype == DType::kFloat16) reinterpret_cast<uint16_t*>(block.data())[i] = ref::FloatToHalf(number());
    if (o.dtype == DType::kBfloat16) reinterpret_cast<uint16_t*>(block.data())[i] = ref::FloatToBfloat16(number());
  }
  TFE_ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Allocate(device, bytes));
  const DriverApi& api = device.driver();
  char* to = static_cast<char*>(buffer.data());
  if (!block.empty()) TFE_RETURN_IF_ERROR(device.Check(api.MemcpyHtoD(DevicePointer(to), block.data(), block.size()), "copying to the device"));
  for (size_t done = block.size(); done > 0 && done < bytes; done += std::min(done, bytes - done))
    TFE_RETURN_IF_ERROR(device.Check(api.MemcpyDtoDAsync(DevicePointer(to + done), DevicePointer(to), std::min(done, bytes - done), nullptr), "copying"));
  TFE_RETURN_IF_ERROR(device.Check(api.StreamSynchronize(nullptr), "copying"));
  return buffer;
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

Result<std::optional<Lowered>> CudaBackend::LowerChain(const std::vector<ConcreteNode>& nodes, const std::vector<std::string>&, WeightStore& weights, int) const {
  const Device::Scope scope(device_);
  const std::string no_wish;
  return LowerChainOf({nodes.back(), no_wish, weights, device_, options_}, nodes);
}

std::vector<std::string> CudaBackend::JointTactics(const std::vector<ConcreteNode>& nodes) const { return JointMatMulTactics(nodes, device_); }

Result<std::optional<Lowered>> CudaBackend::LowerJoint(const std::vector<ConcreteNode>& nodes, const std::string& tactic, WeightStore& weights) const {
  const Device::Scope scope(device_);
  return LowerJointMatMul({nodes[0], tactic, weights, device_, options_}, nodes);
}

std::shared_ptr<const Kernel> CudaBackend::Copy(size_t bytes) const { return std::make_shared<DeviceCopy>(bytes); }

std::optional<double> CudaBackend::Measure(const Lowered& lowered, const ConcreteNode& node, bool cold) const {
  constexpr double kFailed = std::numeric_limits<double>::infinity();
  const auto& kernel = static_cast<const DeviceKernel&>(*lowered.kernel);
  const Device::Scope scope(device_);
  const DriverApi& api = device_.driver();
  std::vector<DeviceBuffer> buffers;
  std::vector<const void*> in;
  std::vector<void*> out;
  for (int i : lowered.in) {
    const Operand& o = node.inputs[static_cast<size_t>(i)];
    auto buffer = o.constant ? DeviceBuffer::Upload(device_, o.constant->data(), o.constant->num_bytes()) : SampleData(device_, o);
    if (!buffer.ok()) return kFailed;
    in.push_back(buffer->data());
    buffers.push_back(std::move(*buffer));
  }
  for (const Operand& o : node.outputs) {
    auto buffer = DeviceBuffer::Allocate(device_, static_cast<size_t>(o.num_elements()) * DTypeSize(o.dtype));
    if (!buffer.ok()) return kFailed;
    out.push_back(buffer->data());
    buffers.push_back(std::move(*buffer));
  }
  auto scratch = DeviceBuffer::Allocate(device_, kernel.scratch_bytes(1) + 512);
  if (!scratch.ok()) return kFailed;
  CUstream stream = nullptr;
  CUevent start = nullptr, stop = nullptr;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  double best = kFailed;
  // Stream launches would hide the differences of short kernels; a graph of several runs shows them. Cold weights: so many
  // copies, read in turns, that the L2 cache has lost one when its turn comes.
  constexpr size_t kBeyondCaches = size_t{96} << 20, kMostCopies = 64;
  size_t repeats = 10, copies = 0;
  // Large results: they put everything else out of the caches by themselves.
  size_t written = 0;
  for (const DeviceBuffer& buffer : buffers) written += buffer.bytes();
  const DeviceBuffer* weights = cold && written < kBeyondCaches / 4 ? kernel.weights() : nullptr;
  if (written > kBeyondCaches) repeats = 4;
  if (weights != nullptr && weights->bytes() > 0) copies = std::min((kBeyondCaches + weights->bytes() - 1) / weights->bytes(), kMostCopies);
  repeats = std::max(repeats, copies);
  const size_t pitch = weights == nullptr ? 0 : (weights->bytes() + 255) / 256 * 256;
  auto copied = DeviceBuffer::Allocate(device_, copies * pitch);
  if (!copied.ok()) copies = 0;
  for (size_t i = 0; i < copies; ++i)
    if (api.MemcpyDtoDAsync(DevicePointer(copied->data()) + i * pitch, DevicePointer(weights->data()), weights->bytes(), nullptr) != 0) return kFailed;
  if (api.StreamSynchronize(nullptr) != 0) return kFailed;
  Launch launch{device_};
  launch.scratch = scratch->data();
  launch.error = reinterpret_cast<int*>(static_cast<char*>(scratch->data()) + (kernel.scratch_bytes(1) + 255) / 256 * 256);
  bool ok = api.StreamCreate(&stream, CU_STREAM_NON_BLOCKING) == 0 && api.EventCreate(&start, CU_EVENT_DEFAULT) == 0 && api.EventCreate(&stop, CU_EVENT_DEFAULT) == 0;
  launch.stream = stream;
  ok = ok && kernel.Enqueue(in.data(), out.data(), launch).ok() && api.StreamSynchronize(stream) == 0;
  if (ok && api.StreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) == 0) {
    for (size_t i = 0; ok && i < repeats; ++i) {
      if (copies > 0) launch.weights = static_cast<const char*>(copied->data()) + i % copies * pitch;
      ok = kernel.Enqueue(in.data(), out.data(), launch).ok();
    }
    ok = api.StreamEndCapture(stream, &graph) == 0 && ok && api.GraphInstantiate(&exec, graph, 0) == 0;
    for (int round = 0; ok && round < 6; ++round) {
      float ms = 0;
      ok = api.EventRecord(start, stream) == 0 && api.GraphLaunch(exec, stream) == 0 && api.EventRecord(stop, stream) == 0 &&
           api.EventSynchronize(stop) == 0 && api.EventElapsedTime(&ms, start, stop) == 0;
      if (ok && round > 0) best = std::min(best, static_cast<double>(ms) / static_cast<double>(repeats));
    }
    if (!ok) best = kFailed;
  }
  if (exec) api.GraphExecDestroy(exec);
  if (graph) api.GraphDestroy(graph);
  if (start) api.EventDestroy(start);
  if (stop) api.EventDestroy(stop);
  if (stream) api.StreamDestroy(stream);
  return best;
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
