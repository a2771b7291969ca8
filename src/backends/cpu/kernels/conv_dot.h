// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>
#include <vector>

#include "backends/cpu/kernels/conv.h"
#include "backends/cpu/kernels/dot.h"

namespace tfengine::cpu {

// The operands of one run of a convolution in reduced precision. Padding is the real 0.
struct DotConvArgs {
  const void* x = nullptr;  // kInt8: u8 codes; else bf16 or f32
  int32_t zero = 0;         // kInt8: the code of 0 in x
  const void* packed = nullptr;
  OutputStage stage;
  const void* residual = nullptr;  // stage.residual, like y; may be y if the formats have one size
  void* y = nullptr;               // stage.out; may not overlap anything else
  void* scratch = nullptr;
};

// One way to compute a convolution in reduced precision. As ConvTactic (conv.h), but for the operands' types.
class DotConvTactic {
 public:
  virtual ~DotConvTactic() = default;
  DotConvTactic(const DotConvTactic&) = delete;
  DotConvTactic& operator=(const DotConvTactic&) = delete;

  const char* name() const { return name_; }  // "direct_int8_avx512vnni"
  DotType type() const { return type_; }
  CpuIsa isa() const { return isa_; }  // the least; Usable() may ask for more

  virtual bool Usable() const = 0;  // by this CPU
  virtual bool Supports(const ConvShape& shape) const = 0;
  virtual double EstimateWork(const ConvShape& shape) const = 0;
  virtual int64_t PackedBytes(const ConvShape& shape) const = 0;
  // steps: [out_c] for kInt8, else null.
  virtual void Pack(const ConvShape& shape, const float* hwio, const float* steps, void* packed) const = 0;
  virtual int64_t ScratchBytes(const ConvShape& shape, int threads) const = 0;
  virtual void Run(const ConvShape& shape, const DotConvArgs& args, Gang& gang) const = 0;

 protected:
  DotConvTactic(const char* name, DotType type, CpuIsa isa) : name_(name), type_(type), isa_(isa) {}

 private:
  const char* name_;
  DotType type_;
  CpuIsa isa_;
};

// Every tactic that this CPU can run for the shape, the likely fastest first; empty if there is none.
std::vector<const DotConvTactic*> DotConvTactics(const ConvShape& shape, DotType type);

// The tactic of that name if this CPU can run it, else null.
const DotConvTactic* FindDotConvTactic(std::string_view name);

}  // namespace tfengine::cpu
