// SPDX-License-Identifier: Apache-2.0
// Ops that normalise rows: softmax, log_softmax, layer_norm.
#include <algorithm>

#include "backends/cuda/lower/lower.h"

namespace tfengine::cuda {
namespace {

// How a row of n elements is spread over threads: each holds `chunks` vectors of `v` neighbours in registers (rows of
// more than kMostKept vectors are read again for every pass), `lanes` threads a row, `rows` rows a block.
struct Spread {
  int v, lanes, rows;
  int64_t chunks;
};

Spread SpreadOf(int64_t n, int64_t rows, size_t element) {
  Spread s;
  s.v = VectorWidth(n, element);
  const int64_t vectors = n / s.v;
  s.lanes = 32;
  // One vector a thread where rows are no more than a few waves of blocks: latency decides there.
  const int64_t each = rows >= 65536 ? 4 : 1;
  while (s.lanes < 512 && s.lanes * each < vectors) s.lanes *= 2;
  s.rows = s.lanes >= 128 ? 1 : 128 / s.lanes;
  s.chunks = (vectors + s.lanes - 1) / s.lanes;
  return s;
}

// Reduces over the lanes of a row with shuffles, then through shared memory; every lane gets the result.
std::string ReduceCode(const Spread& s) {
  std::string code =
      "template <class F> __forceinline__ W across(W a, F f) {\n#pragma unroll\n"
      "  for (int m = 16; m > 0; m /= 2) a = f(a, __shfl_xor_sync(0xffffffffu, a, m));\n";
  if (s.lanes > 32)
    code += fmt::format("  __shared__ W parts[{0}];\n  __syncthreads();\n  if ((threadIdx.x & 31) == 0) parts[(threadIdx.y * {1}) + threadIdx.x / 32] = a;\n"
                        "  __syncthreads();\n  a = parts[threadIdx.y * {1}];\n#pragma unroll\n"
                        "  for (int w = 1; w < {1}; ++w) a = f(a, parts[threadIdx.y * {1} + w]);\n", s.lanes / 32 * s.rows, s.lanes / 32);
  return code + "  return a;\n}\nstruct Add { __forceinline__ W operator()(W a, W b) const { return a + b; } };\n"
                "struct Max { __forceinline__ W operator()(W a, W b) const { return a != a || b != b ? a + b : (a < b ? b : a); } };\n";
}

constexpr int64_t kMostKept = 16;

// The kernel around `passes`, which is written with `EACH(statement)`: the statement runs for every element of the row
// with its value in w (of `loads`: the expression of an element at vector p, lane element e) and, in the last pass,
// assigns r.
struct RowKernel {
  Spread spread;
  int64_t n;
  std::string wide;
  std::string signature;  // parameters but for `i64 n`
  std::string load;       // statement that sets w from p (vector index) and e
};

std::string Each(const RowKernel& k, const std::string& statement, bool keep) {
  const Spread& s = k.spread;
  const int64_t vectors = k.n / s.v;
  std::string loop = fmt::format("{3}  for (int j = 0; j < {0}; ++j) {{\n    const int p = threadIdx.x + j * {1};\n    if (p < {2}) {{\n", s.chunks, s.lanes,
                                 vectors, keep ? "#pragma unroll\n" : "");
  return loop + statement + "    }\n  }\n";
}

}  // namespace

LowerResult LowerSoftmax(const LowerContext& c) {
  const auto elems = ElemsOf(c.node);
  if (!elems) return std::optional<Lowered>();
  const Elem &x = (*elems)[0], &y = elems->back();
  const int64_t n = c.node.inputs[0].shape.back(), rows = c.node.inputs[0].num_elements() / n;
  RowKernel k;
  k.spread = SpreadOf(n, rows, std::min(x.size(), y.size()));
  k.n = n;
  const Spread& s = k.spread;
  const bool keep = s.chunks <= kMostKept / (s.v > 4 ? 4 : 1), log = c.node.op == Op::kLogSoftmax;
  // Element e of vector p, from registers or again from memory.
  const std::string load = fmt::format("      const vec<{0}, {1}> u = *(const vec<{0}, {1}>*)(row + (i64)p * {1});\n", x.storage(), s.v);
  const std::string value = x.Load("u.v[e]");
  const std::string kept = keep ? "kept[j][e]" : value;
  const std::string again = keep ? "" : load;
  const std::string unroll = fmt::format("#pragma unroll\n      for (int e = 0; e < {}; ++e) {{ ", s.v);
  Generated g;
  g.source = fmt::format("typedef {} W;\n", x.wide()) + ReduceCode(s);
  g.source += fmt::format("extern \"C\" __global__ void k(const {0}* in, {1}* out, i64 n) {{\n"
                          "  const i64 at = (i64)blockIdx.x * {2} + threadIdx.y;\n  const bool real = at < n;\n"
                          "  const {0}* row = in + (real ? at : 0) * {3};\n  {1}* to = out + at * {3};\n",
                          x.storage(), y.storage(), s.rows, n);
  if (keep) g.source += fmt::format("  W kept[{}][{}];\n", s.chunks, s.v);
  g.source += fmt::format("  W most = {};\n", Literal(-INFINITY, x.wide()));
  g.source += Each(k, load + unroll + (keep ? "kept[j][e] = " + value + "; most = Max()(most, kept[j][e]); }\n" : "most = Max()(most, (W)" + value + "); }\n"), keep);
  g.source += "  most = across(most, Max());\n  W sum = 0;\n";
  const std::string term = keep && !log ? "kept[j][e] = exp(kept[j][e] - most); sum += kept[j][e]; }\n"
                                        : "sum += exp((W)" + kept + " - most); }\n";
  g.source += Each(k, again + unroll + term, keep);
  g.source += log ? "  sum = log(across(sum, Add()));\n" : "  sum = across(sum, Add());\n";
  const std::string result = log ? "(W)" + kept + " - most - sum" : keep ? "kept[j][e] / sum" : "exp((W)" + kept + " - most) / sum";
  g.source += Each(k, again + fmt::format("      vec<{0}, {1}> r;\n", y.storage(), s.v) + unroll + fmt::format("r.v[e] = {}; }}\n", y.Store("(W)(" + result + ")")) +
                          fmt::format("      if (real) *(vec<{0}, {1}>*)(to + (i64)p * {1}) = r;\n", y.storage(), s.v), keep);
  g.source += "}\n";
  g.block[0] = static_cast<unsigned>(s.lanes);
  g.block[1] = static_cast<unsigned>(s.rows);
  g.grid[0] = static_cast<unsigned>((rows + s.rows - 1) / s.rows);
  g.sizes = {rows};
  return Finish(c, g, "rows", {0});
}

LowerResult LowerLayerNorm(const LowerContext& c) {
  const auto elems = ElemsOf(c.node);
  if (!elems) return std::optional<Lowered>();
  const Elem &x = (*elems)[0], &y = elems->back();
  const bool gamma = c.node.has_input(1), beta = c.node.has_input(2), residual = c.node.has_input(3);
  const int64_t n = c.node.inputs[0].shape.back(), rows = c.node.inputs[0].num_elements() / n;
  RowKernel k;
  size_t smallest = std::min(x.size(), y.size());
  if (residual) smallest = std::min(smallest, (*elems)[3].size());
  k.spread = SpreadOf(n, rows, smallest);
  k.n = n;
  const Spread& s = k.spread;
  const bool keep = s.chunks <= kMostKept / (s.v > 4 ? 4 : 1);
  std::string signature = fmt::format("const {}* in", x.storage());
  auto vector = [&](const Elem& e, const char* name, const char* from) {
    return fmt::format("      const vec<{0}, {1}> {2} = *(const vec<{0}, {1}>*)({3} + (i64)p * {1});\n", e.storage(), s.v, name, from);
  };
  std::string load = vector(x, "u", "row"), value = x.Load("u.v[e]"), parameters, early, declared;
  // With one vector a thread, scale and offset are on their way while the row is summed up.
  const bool hoists = keep && s.chunks == 1;
  std::string scaled = "((W){} - mean) * inverse";
  for (auto [present, input, name] : {std::tuple{gamma, 1, "gamma"}, std::tuple{beta, 2, "beta"}}) {
    if (!present) continue;
    const Elem& e = (*elems)[static_cast<size_t>(input)];
    signature += fmt::format(", const {}* {}", e.storage(), name);
    const char* variable = input == 1 ? "g" : "b";
    if (hoists) {
      declared += fmt::format("  vec<{}, {}> {};\n", e.storage(), s.v, variable);
      early += fmt::format("      {2} = *(const vec<{0}, {1}>*)({3} + (i64)p * {1});\n", e.storage(), s.v, variable, name);
    } else {
      parameters += vector(e, variable, name);
    }
    scaled += fmt::format("{} (W){}", input == 1 ? " *" : " +", e.Load(input == 1 ? "g.v[e]" : "b.v[e]"));
  }
  if (residual) {
    signature += fmt::format(", const {}* residual", (*elems)[3].storage());
    load += vector((*elems)[3], "a", "other");
    value = fmt::format("((W){} + (W){})", value, (*elems)[3].Load("a.v[e]"));
  }
  const std::string kept = keep ? "kept[j][e]" : value, again = keep ? "" : load;
  const std::string unroll = fmt::format("#pragma unroll\n      for (int e = 0; e < {}; ++e) {{ ", s.v);
  Generated g;
  g.inputs = 1 + gamma + beta + residual;
  g.source = fmt::format("typedef {} W;\n", x.wide()) + ReduceCode(s);
  g.source += fmt::format("extern \"C\" __global__ void k({4}, {1}* out, i64 n) {{\n"
                          "  const i64 at = (i64)blockIdx.x * {2} + threadIdx.y;\n  const bool real = at < n;\n"
                          "  const {0}* row = in + (real ? at : 0) * {3};\n  {1}* to = out + at * {3};\n",
                          x.storage(), y.storage(), s.rows, n, signature);
  if (residual) g.source += fmt::format("  const {}* other = residual + (real ? at : 0) * {};\n", (*elems)[3].storage(), n);
  if (keep) g.source += fmt::format("  W kept[{}][{}];\n", s.chunks, s.v);
  g.source += "  W mean = 0;\n" + declared;
  g.source += Each(k, load + early + unroll + (keep ? "kept[j][e] = " + value + "; mean += kept[j][e]; }\n" : "mean += (W)" + value + "; }\n"), keep);
  g.source += fmt::format("  mean = across(mean, Add()) / (W){}.0;\n  W variance = 0;\n", n);
  g.source += Each(k, again + unroll + "const W d = (W)" + kept + " - mean; variance += d * d; }\n", keep);
  g.source += fmt::format("  const W inverse = W(1) / sqrt(across(variance, Add()) / (W){}.0 + {});\n", n, Literal(c.node.attrs.Float("epsilon"), x.wide()));
  std::string result = scaled;
  result.replace(result.find("{}"), 2, kept);
  g.source += Each(k, again + parameters + fmt::format("      vec<{0}, {1}> r;\n", y.storage(), s.v) + unroll + fmt::format("r.v[e] = {}; }}\n", y.Store("(W)(" + result + ")")) +
                          fmt::format("      if (real) *(vec<{0}, {1}>*)(to + (i64)p * {1}) = r;\n", y.storage(), s.v), keep);
  g.source += "}\n";
  g.block[0] = static_cast<unsigned>(s.lanes);
  g.block[1] = static_cast<unsigned>(s.rows);
  g.grid[0] = static_cast<unsigned>((rows + s.rows - 1) / s.rows);
  g.sizes = {rows};
  return Finish(c, g, "rows", PresentInputs(c.node));
}

}  // namespace tfengine::cuda
