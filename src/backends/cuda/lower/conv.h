// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "backends/cuda/gemm.h"
#include "backends/cuda/lower/lower.h"
#include "backends/cuda/tile_product.h"

namespace tfengine::cuda {

// Convolution by plain loops; any type but quantized.
LowerResult LowerConvDirect(const LowerContext& c);

// Depthwise convolutions with the filter in registers, a rectangle of results a thread; its tactics.
LowerResult LowerDepthwise(const LowerContext& c);
std::vector<std::string> DepthwiseTactics(const ConcreteNode& node);

// What ends a convolution's kernel: bias, residual, activation, store of the sums a[e] of v neighbours in channels `ch` to the
// vector number `at` of the result. The pointers for it are parameters: bias, residual, out, n.
std::string OutputCode(const ConcreteNode& node, const std::vector<Elem>& elems, int v, bool bias, bool residual, const std::string& act);
std::string OutputParameters(const std::vector<Elem>& elems, bool bias, bool residual);
// A constant filter of a 16-bit product, as that type keeps it, in f32.
Result<std::shared_ptr<const DeviceBuffer>> RoundedFilter(const LowerContext& c, const Tensor& filter, DType type);

// The first layer of an image network: conv2d alone, or with the conversion in front of it and the max pooling behind it.
// nullopt: not that, or not for this device.
LowerResult LowerFirstLayer(const LowerContext& c, const ConcreteNode* convert, const ConcreteNode* pool);
LowerResult LowerFirstLayerChain(const LowerContext& c, const std::vector<ConcreteNode>& nodes);
bool IsFirstLayer(const ConcreteNode& conv, const Device& device);

// [1x1 convolution,] depthwise convolution [, 1x1 convolution] of 16 bits as one kernel; `c.node`: the last. nullopt: as above.
LowerResult LowerBottleneck(const LowerContext& c, const std::vector<ConcreteNode>& nodes);

// `v` as f16 or bf16 keep it.
float RoundTo(DType type, float v);
// A product with the epilogue of conv2d and matmul nodes. `weights_key` empty: b is input 1 of the node; else `weights` makes
// its k * n floats. nullopt: cuBLASLt has no algorithm for it.
LowerResult LowerProduct(const LowerContext& c, Gemm gemm, const std::string& weights_key, FunctionRef<void(float*)> weights, int rank);

// A product on the kernels of TileProduct and TmaProduct: `p` has the sizes; type, bias, residual, activation come from the node.
// nullopt: not for this kernel. Weights as in LowerProduct.
LowerResult LowerTile(const LowerContext& c, TileProduct p, const std::string& weights_key, FunctionRef<void(float*)> weights);
// Its tactics; empty if the node is not for this kernel.
std::vector<std::string> TileTactics(const ConcreteNode& node, TileProduct p, const Device& device);
inline bool IsTileTactic(const std::string& tactic) { return tactic.rfind("tile", 0) == 0 || tactic.rfind("wg", 0) == 0 || tactic.rfind("tma", 0) == 0 || tactic.rfind("piece", 0) == 0; }
// The same with layer_norm behind the product: `c.node`. Inputs are numbered `product`'s first.
LowerResult LowerTileNorm(const LowerContext& c, const ConcreteNode& product, TileProduct p, const std::string& weights_key, FunctionRef<void(float*)> weights);
std::vector<std::string> TileNormTactics(const ConcreteNode& product, const ConcreteNode& norm, TileProduct p, const Device& device);
// Two nodes, the second of which multiplies the first's result. `c.node`: the last; `weights(i, to)`: of the i-th.
LowerResult LowerTilePair(const LowerContext& c, const std::vector<ConcreteNode>& nodes, TileProduct first, TileProduct then, const std::array<std::string, 2>& weights_keys,
                          FunctionRef<void(size_t, float*)> weights);
std::vector<std::string> TilePairTactics(const std::vector<ConcreteNode>& nodes, TileProduct first, TileProduct then, const Device& device);
// An activation that no library has in its products.
bool IsOwnActivation(const ConcreteNode& node);

// Writes n floats as elements of f32, f16 or bf16.
void StoreAs(DType type, const float* from, int64_t n, void* to);

}  // namespace tfengine::cuda
