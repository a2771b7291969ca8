// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/lower/lower.h"

#include <algorithm>

#include "backends/cuda/lower/conv.h"
#include "backends/ref/element.h"

namespace tfengine::cuda {

LowerResult LowerChainOf(const LowerContext& c, const std::vector<ConcreteNode>& nodes) {
  for (const auto lower : {LowerPointwiseChain, LowerFirstLayerChain, LowerBottleneck, LowerMatMulNorm, LowerConvPair}) {
    TFE_ASSIGN_OR_RETURN(auto lowered, lower(c, nodes));
    if (lowered) return std::optional<Lowered>(*std::move(lowered));
  }
  return std::optional<Lowered>();
}

LowerResult Finish(const LowerContext& c, const Generated& code, std::string tactic, std::vector<int> in, int in_place) {
  TFE_ASSIGN_OR_RETURN(auto kernel, MakeKernel(c.device, c.options.kernel_cache, code));
  return std::optional<Lowered>(MakeLowered(std::move(kernel), std::move(tactic), std::move(in), in_place));
}

Lowered MakeLowered(std::shared_ptr<const Kernel> kernel, std::string tactic, std::vector<int> in, int in_place) {
  Lowered lowered;
  lowered.kernel = std::move(kernel);
  lowered.in = std::move(in);
  lowered.in_place = in_place;
  lowered.tactic = std::move(tactic);
  return lowered;
}

Result<std::shared_ptr<const DeviceBuffer>> DeviceWeights(const LowerContext& c, const std::string& key, size_t bytes,
                                                          FunctionRef<void(void*)> fill) {
  auto object = c.weights.GetObject(key, bytes, [&]() -> Result<std::shared_ptr<const void>> {
    const AlignedBuffer host(bytes);
    if (host.data() == nullptr) return Error(ErrorId::kOutOfMemory, "cannot allocate {} bytes of packed weights", bytes);
    fill(host.data());
    TFE_ASSIGN_OR_RETURN(DeviceBuffer buffer, DeviceBuffer::Upload(c.device, host.data(), bytes));
    return std::shared_ptr<const void>(std::make_shared<const DeviceBuffer>(std::move(buffer)));
  });
  if (!object.ok()) return object.status();
  return std::static_pointer_cast<const DeviceBuffer>(*object);
}

std::vector<std::string> BothTactics(const std::vector<std::string>& library, const std::vector<std::string>& own, bool own_first) {
  std::vector<std::string> names;
  for (size_t i = 0; i < std::max(library.size(), own.size()); ++i)
    for (const auto* list : {own_first ? &own : &library, own_first ? &library : &own})
      if (i < list->size()) names.push_back((*list)[i]);
  return names;
}

std::vector<int> PresentInputs(const ConcreteNode& node) {
  std::vector<int> in;
  for (size_t i = 0; i < node.inputs.size(); ++i)
    if (node.inputs[i].present) in.push_back(static_cast<int>(i));
  return in;
}

int InPlaceOperand(const ConcreteNode& node) {
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    const Operand& o = node.inputs[i];
    if (o.present && DTypeSize(o.dtype) == DTypeSize(node.outputs[0].dtype) && o.shape == node.outputs[0].shape && !o.constant)
      return static_cast<int>(i);
  }
  return -1;
}

float RoundTo(DType type, float v) {
  if (type == DType::kFloat16) return ref::HalfToFloat(ref::FloatToHalf(v));
  return type == DType::kBfloat16 ? ref::Bfloat16ToFloat(ref::FloatToBfloat16(v)) : v;
}

void StoreAs(DType type, const float* from, int64_t n, void* to) {
  for (int64_t i = 0; i < n; ++i) {
    if (type == DType::kFloat16) {
      static_cast<uint16_t*>(to)[i] = ref::FloatToHalf(from[i]);
    } else if (type == DType::kBfloat16) {
      static_cast<uint16_t*>(to)[i] = ref::FloatToBfloat16(from[i]);
    } else {
      static_cast<float*>(to)[i] = from[i];
    }
  }
}

}  // namespace tfengine::cuda
