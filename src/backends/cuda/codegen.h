// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "backends/compile_backend.h"
#include "backends/cuda/device.h"

// Pieces of CUDA C++ that lowerings put together. Everything about types and shapes is a constant in the source, except
// the outermost size: a kernel serves every batch size.
namespace tfengine::cuda {

// Types and helpers that every kernel starts with: f16, bf16, vec<T, V>, conversions, loads and stores.
const std::string& Prelude();

// An element type as generated code sees it. Reals of typed nodes are f32 when loaded.
struct Elem {
  DType dtype = DType::kFloat32;
  Quant quant;
  int lo = 0, hi = 255;

  std::string storage() const;  // "f16", "unsigned char", ...
  std::string wide() const;     // "float", "double", "long long" or "unsigned long long"
  size_t size() const { return DTypeSize(dtype); }
  // Code of a conversion between the two.
  std::string Load(const std::string& v) const;
  std::string Store(const std::string& w) const;
};
// How an operand is read; how the node's result is written. nullopt: a type that kernels do not know.
std::optional<Elem> ElemOf(const Operand& o);
std::optional<Elem> OutElem(const ConcreteNode& node);
// Every present input, absent ones as f32, then the result; nullopt if one is unknown.
std::optional<std::vector<Elem>> ElemsOf(const ConcreteNode& node);

// Statements or expressions in x (and y for binary) of type `wide`; nullopt for a kind that is not known for the type.
// `element`: the type that results are stored in.
std::optional<std::string> UnaryExpression(UnaryKind kind, const std::string& wide, double alpha, double beta);
std::optional<std::string> BinaryExpression(BinaryKind kind, const std::string& wide, const Elem& element);
// The activation of a node's act, alpha and beta attributes as an expression in x; "" for none.
std::optional<std::string> ActivationExpression(const Attrs& attrs, const std::string& wide);
// An expression whose result is kept in 16 bits: with functions that are exact to f32's last bits replaced by short ones.
std::string For16Bits(std::string expression);
// A number as a literal of float or double.
std::string Literal(double v, const std::string& wide);

inline int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t RoundUp(int64_t n, int64_t to) { return CeilDiv(n, to) * to; }

// Bytes of shared memory of a multiprocessor. A block may have all but 1 KiB, which is taken from every block.
inline int64_t SharedMemory(int architecture) {
  switch (architecture) {
    case 80: case 87: return 164 << 10;
    case 90: case 100: case 103: case 110: return 228 << 10;
    case 75: return 64 << 10;
    default: return 100 << 10;
  }
}

// The index type of a kernel over n elements.
inline const char* IndexType(int64_t n) { return n < (int64_t{1} << 31) ? "unsigned" : "unsigned long long"; }

// Several affine walks over one shape: offset_k = base_k + sum(coordinate_d * strides_k[d]). Axes that all walks cross
// alike are merged.
struct Walk {
  std::vector<int64_t> dims;                  // outermost first; sizes of 1 are dropped
  std::vector<std::vector<int64_t>> strides;  // per walk and axis
  std::vector<int64_t> base;

  int64_t count() const;
  void Simplify();
  // Code that declares `<prefix><k>` for every walk from index variable `i`, which it uses up.
  std::string Code(const std::string& index_type, const std::string& prefix) const;
};
std::vector<int64_t> RowMajor(const std::vector<int64_t>& shape);
// Strides with which `shape` is read when broadcast to `target`.
std::vector<int64_t> BroadcastStrides(const std::vector<int64_t>& shape, const std::vector<int64_t>& target);

// One thread per element or vector. `body` sees inputs x0, x1 ... and sets the result y.
struct Pointwise {
  std::vector<Elem> in;
  std::vector<std::vector<int64_t>> shapes;  // of the inputs
  Elem out;
  std::vector<int64_t> shape;
  std::string body;    // statements that assign y
  bool error = false;  // body may call fail(error, code)
};
Generated PointwiseCode(const Pointwise& p);

// Where a tensor core product's row for column `n` of the result lies: a thread of a quad holds columns 2q and 2q + 1 of every
// 8; so stored, those are `run` neighbours.
int64_t RowOfColumn(int64_t n, int64_t run);
// The column whose row that is.
int64_t ColumnOfRow(int64_t row, int64_t run);

// pack4(a, b, c, d): four ints clamped to u8 codes, pack2(a, b): two floats as E4M3 (8.9 and later); the first in the low byte.
extern const char kPackCodes[], kPackE4m3[];

// Copies elements of `size` bytes; walk 0 reads, walk 1 writes.
Generated CopyCode(Walk walk, size_t size);

}  // namespace tfengine::cuda
