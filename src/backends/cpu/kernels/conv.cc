// SPDX-License-Identifier: Apache-2.0
#include "backends/cpu/kernels/conv.h"

#include <algorithm>

#include "backends/cpu/kernels/conv_depthwise.h"
#include "backends/cpu/kernels/conv_direct.h"
#include "backends/cpu/kernels/conv_kernels.h"
#include "backends/cpu/kernels/conv_winograd.h"

namespace tfengine::cpu {

const std::vector<const ConvTactic*>& AllConvTactics() {
  static const DepthwiseConv depthwise_avx512("depthwise_avx512", ConvKernelsAvx512());
  static const DepthwiseConv depthwise_avx2("depthwise_avx2", ConvKernelsAvx2());
  static const DepthwiseConv depthwise_portable("depthwise_portable", ConvKernelsPortable());
  static const WinogradConv winograd4_avx512("winograd4_avx512", ConvKernelsAvx512(), 4);
  static const WinogradConv winograd4_avx2("winograd4_avx2", ConvKernelsAvx2(), 4);
  static const WinogradConv winograd4_portable("winograd4_portable", ConvKernelsPortable(), 4);
  static const WinogradConv winograd2_avx512("winograd2_avx512", ConvKernelsAvx512(), 2);
  static const WinogradConv winograd2_avx2("winograd2_avx2", ConvKernelsAvx2(), 2);
  static const WinogradConv winograd2_portable("winograd2_portable", ConvKernelsPortable(), 2);
  static const DirectConv direct_avx512("direct_avx512", ConvKernelsAvx512());
  static const DirectConv direct_avx2("direct_avx2", ConvKernelsAvx2());
  static const DirectConv direct_portable("direct_portable", ConvKernelsPortable());
  static const std::vector<const ConvTactic*> all = {
      &depthwise_avx512,  &direct_avx512,       &winograd4_avx512,    &winograd2_avx512,  &depthwise_avx2,  &direct_avx2,
      &winograd4_avx2,    &winograd2_avx2,      &depthwise_portable,  &direct_portable,   &winograd4_portable,
      &winograd2_portable};
  return all;
}

std::vector<const ConvTactic*> ConvTactics(const ConvShape& shape) {
  std::vector<const ConvTactic*> usable;
  for (const ConvTactic* tactic : AllConvTactics()) {
    if (HostCpu().Has(tactic->isa()) && tactic->Supports(shape)) usable.push_back(tactic);
  }
  std::stable_sort(usable.begin(), usable.end(), [&](const ConvTactic* a, const ConvTactic* b) {
    return a->EstimateWork(shape) < b->EstimateWork(shape);
  });
  return usable;
}

const ConvTactic* FindConvTactic(std::string_view name) {
  for (const ConvTactic* tactic : AllConvTactics()) {
    if (tactic->name() == name) return HostCpu().Has(tactic->isa()) ? tactic : nullptr;
  }
  return nullptr;
}

}  // namespace tfengine::cpu
