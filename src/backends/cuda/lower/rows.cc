// SPDX-License-Identifier: Apache-2.0
// Ops that normalise rows: softmax, log_softmax, layer_norm.
#include <algorithm>
#include <cmath>

#include "backends/cuda/lower/lower.h"

namespace tfengine::cuda {
namespace {

constexpr int64_t kMostKept = 32;  // elements of a row that a thread keeps in registers

// How rows of n elements are spread over threads: `lanes` threads have vectors of `v` neighbours of `each` rows, `chunks`
// vectors of a row. Rows that are too long for registers are read again in every pass.
struct Spread {
  int v, lanes, each;
  int64_t vectors, chunks;

  bool kept() const { return chunks * v <= kMostKept; }
  int most_rows() const { return lanes >= 128 ? 1 : 128 / lanes; }  // groups of lanes in a block
  std::string Name() const { return fmt::format("rows{}{}", lanes, each > 1 ? fmt::format("x{}", each) : ""); }
};

// What can run, best guess first.
std::vector<Spread> SpreadsOf(int64_t n, int64_t rows, size_t element, int processors, bool parameters) {
  const int v = VectorWidth(n, element);
  const int64_t vectors = n / v;
  std::vector<std::pair<int64_t, Spread>> found;
  for (const int lanes : {8, 16, 32, 64, 96, 128, 192, 256, 384, 512})
    for (const int each : {1, 2, 4}) {
      const Spread s{v, lanes, each, vectors, (vectors + lanes - 1) / lanes};
      if (lanes > 8 && lanes / 2 >= vectors) continue;  // most would idle
      if (!s.kept() && lanes < 512) continue;
      // Several rows share what is read of scale and offset; groups within a warp need no shared memory.
      if (each > 1 && (!parameters || lanes > 32 || !s.kept() || rows < int64_t{each} * 8 * processors)) continue;
      const int64_t serial = s.chunks * v * 4 + 30 * (s.chunks * lanes - vectors) / vectors, barriers = lanes > 32 ? 120 + lanes / 8 : 0;
      found.emplace_back(serial + barriers + (each == (parameters && lanes <= 32 && rows >= 16 * processors ? 2 : 1) ? 0 : 40), s);
    }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<Spread> spreads;
  for (const auto& [cost, spread] : found)
    if (spreads.size() < 7) spreads.push_back(spread);
  return spreads;
}

Spread Wanted(const std::vector<Spread>& spreads, const std::string& tactic) {
  const auto found = std::find_if(spreads.begin(), spreads.end(), [&](const Spread& s) { return s.Name() == tactic; });
  return found == spreads.end() ? spreads[0] : *found;
}

int64_t RowsOf(const ConcreteNode& node) { return node.inputs[0].num_elements() / node.inputs[0].shape.back(); }

std::vector<Spread> SpreadsOf(const ConcreteNode& node, const std::vector<Elem>& elems, const Device& device) {
  size_t smallest = std::min(elems[0].size(), elems.back().size());
  const bool norm = node.op == Op::kLayerNorm;
  if (norm && node.has_input(3)) smallest = std::min(smallest, elems[3].size());
  return SpreadsOf(node.inputs[0].shape.back(), RowsOf(node), smallest, device.processors(), norm && (node.has_input(1) || node.has_input(2)));
}

// Reduces over the lanes of a row with shuffles, then through shared memory; every lane gets the result. Calls differ in
// `Call`, so that none waits until the memory of another has been read.
std::string ReduceCode(const Spread& s) {
  std::string code = fmt::format(
      "template <int Call, class F> __forceinline__ W across(W a, F f) {{\n#pragma unroll\n"
      "  for (int m = {}; m > 0; m /= 2) a = f(a, __shfl_xor_sync(0xffffffffu, a, m));\n", std::min(s.lanes, 32) / 2);
  if (s.lanes > 32)
    code += fmt::format("  __shared__ W parts[{0}];\n  if ((threadIdx.x & 31) == 0) parts[threadIdx.y * {1} + threadIdx.x / 32] = a;\n"
                        "  __syncthreads();\n  a = parts[threadIdx.y * {1}];\n#pragma unroll\n"
                        "  for (int w = 1; w < {1}; ++w) a = f(a, parts[threadIdx.y * {1} + w]);\n", s.lanes / 32 * s.most_rows(), s.lanes / 32);
  return code + "  return a;\n}\nstruct Add { __forceinline__ W operator()(W a, W b) const { return a + b; } };\n"
                "struct Max { __forceinline__ W operator()(W a, W b) const { return a != a || b != b ? a + b : (a < b ? b : a); } };\n";
}

// `statement` for every vector p of the thread, the j-th of them.
std::string EachVector(const Spread& s, const std::string& statement) {
  const std::string bound = s.vectors % s.lanes == 0 ? "" : fmt::format("if (p < {}) ", s.vectors);
  return fmt::format("{}  for (int j = 0; j < {}; ++j) {{\n    const int p = threadIdx.x + j * {};\n    {}{{\n{}    }}\n  }}\n", s.kept() ? "#pragma unroll\n" : "",
                     s.chunks, s.lanes, bound, statement);
}

std::string EachElement(const Spread& s, const std::string& statement) {
  return fmt::format("#pragma unroll\n      for (int e = 0; e < {}; ++e) {{ {} }}\n", s.v, statement);
}

// Adds `term` of every element of a row up in `sum`, over four sums: no long chain of additions.
std::string SumOf(const Spread& s, const std::string& sum, const std::string& again, const std::string& before, const std::string& term) {
  return fmt::format("  W {0}_parts[4] = {{}};\n", sum) + EachVector(s, again + EachElement(s, fmt::format("{}{}_parts[e & 3] += {};", before, sum, term))) +
         fmt::format("  W {0} = ({0}_parts[0] + {0}_parts[1]) + ({0}_parts[2] + {0}_parts[3]);\n", sum);
}

std::string LoadVector(const Elem& e, const Spread& s, const std::string& to, const std::string& from) {
  return fmt::format("      {2} = *(const vec<{0}, {1}>*)({3} + (i64)p * {1});\n", e.storage(), s.v, to, from);
}

// A kernel over rows of `operands` (pointers `in0`, `in1`, ...), whose elements' sum is taken. What is kept is read for all
// rows at once: rows overlap in their latency.
struct RowKernel {
  const Spread& s;
  int64_t n;
  std::vector<Elem> operands;
  Elem out;
  std::optional<Elem> converted;  // the result is written once more, as `out` rounds it: to `out2`
  std::string more;      // further parameters, each with a leading comma
  std::string first;     // statements in front of after_previous()
  std::string second;    // behind it
  std::string reduce;    // of the row: statements with EachVector over `Value`
  std::string finish;    // an expression of element e of vector j of the result
  std::string per_vector;  // statements in front of the elements of a result's vector

  std::string Value() const { return s.kept() ? "kept[j][e]" : Sum("[e]", "u"); }
  // Statements that read vector p if it is not kept.
  std::string Again() const {
    std::string code;
    for (size_t i = 0; i < operands.size() && !s.kept(); ++i)
      code += LoadVector(operands[i], s, fmt::format("const vec<{}, {}> u{}", operands[i].storage(), s.v, i), fmt::format("row{}", i));
    return code;
  }
  std::string Sum(const std::string& index, const std::string& prefix) const {
    std::string sum;
    for (size_t i = 0; i < operands.size(); ++i) sum += fmt::format("{}(W){}", i == 0 ? "" : " + ", operands[i].Load(fmt::format("{}{}.v{}", prefix, i, index)));
    return "(W)(" + sum + ")";
  }

  Generated Code(int64_t rows, int processors) const {
    Generated g;
    g.source = fmt::format("typedef {} W;\n", operands[0].wide()) + ReduceCode(s) + fmt::format("extern \"C\" __global__ void __launch_bounds__({}) k(", s.lanes * s.most_rows());
    for (size_t i = 0; i < operands.size(); ++i) g.source += fmt::format("{}const {}* in{}", i == 0 ? "" : ", ", operands[i].storage(), i) + (i == 0 ? more : "");
    g.source += fmt::format(", {}* out, {}i64 n, i64 groups) {{\n{}  after_previous();\n{}  const i64 first = ((i64)blockIdx.x * groups + threadIdx.y) * {};\n", out.storage(),
                            converted ? converted->storage() + "* out2, " : "", first, second, s.each);
    std::string loads, row = "  const bool real = first + r < n;\n";
    for (size_t i = 0; i < operands.size(); ++i) {
      const std::string pointer = fmt::format("  const {1}* row{0} = in{0} + (first + r < n ? first + r : 0) * {2};\n", i, operands[i].storage(), n);
      if (s.kept()) {
        g.source += fmt::format("  vec<{}, {}> u{}[{}][{}];\n", operands[i].storage(), s.v, i, s.each, s.chunks);
        loads += pointer + EachVector(s, LoadVector(operands[i], s, fmt::format("u{}[r][j]", i), fmt::format("row{}", i)));
      } else {
        row += pointer;
      }
    }
    const std::string each_row = fmt::format("#pragma unroll\n  for (int r = 0; r < {}; ++r) {{\n", s.each);
    if (s.kept()) {
      g.source += each_row + loads + "  }\n";
      std::string value;
      for (size_t i = 0; i < operands.size(); ++i) value += fmt::format("{}(W){}", i == 0 ? "" : " + ", operands[i].Load(fmt::format("u{}[r][j].v[e]", i)));
      row += fmt::format("  W kept[{}][{}];\n", s.chunks, s.v) + EachVector(s, EachElement(s, "kept[j][e] = " + value + ";"));
    }
    g.source += each_row + row + reduce;
    g.source += fmt::format("  {}* to = out + (first + r) * {};\n", out.storage(), n);
    std::string write = fmt::format("      if (real) *(vec<{0}, {1}>*)(to + (i64)p * {1}) = result;\n", out.storage(), s.v);
    if (converted) {
      write += fmt::format("      vec<{}, {}> result2;\n", converted->storage(), s.v) + EachElement(s, fmt::format("result2.v[e] = {};", converted->Store(out.Load("result.v[e]")))) +
               fmt::format("      if (real) *(vec<{0}, {1}>*)(out2 + (first + r) * {2} + (i64)p * {1}) = result2;\n", converted->storage(), s.v, n);
      g.outputs = 2;
    }
    g.source += EachVector(s, Again() + per_vector + fmt::format("      vec<{}, {}> result;\n", out.storage(), s.v) +
                                  EachElement(s, fmt::format("result.v[e] = {};", out.Store("(W)(" + finish + ")"))) + write);
    g.source += "  }\n}\n";
    // Few rows: on as many processors as there are; whole warps.
    int64_t groups = s.most_rows();
    while (groups * s.lanes > 32 && groups % 2 == 0 && groups * s.each * processors > rows) groups /= 2;
    g.waits = true;
    g.block[0] = static_cast<unsigned>(s.lanes);
    g.block[1] = static_cast<unsigned>(groups);
    g.grid[0] = static_cast<unsigned>((rows + groups * s.each - 1) / (groups * s.each));
    g.sizes = {rows, groups};
    return g;
  }
};

}  // namespace

std::vector<std::string> RowTactics(const ConcreteNode& node, const Device& device) {
  std::vector<std::string> names;
  const auto elems = ElemsOf(node);
  if (!elems || RowsOf(node) == 0) return names;
  for (const Spread& s : SpreadsOf(node, *elems, device)) names.push_back(s.Name());
  return names;
}

LowerResult LowerSoftmax(const LowerContext& c) {
  const auto elems = ElemsOf(c.node);
  if (!elems) return std::optional<Lowered>();
  const Elem& x = (*elems)[0];
  const Spread s = Wanted(SpreadsOf(c.node, *elems, c.device), c.tactic);
  RowKernel k{s, c.node.inputs[0].shape.back(), {x}, elems->back()};
  const bool log = c.node.op == Op::kLogSoftmax;
  const std::string value = k.Value();
  k.reduce = fmt::format("  W most = {};\n", Literal(-INFINITY, x.wide())) + EachVector(s, k.Again() + EachElement(s, "most = Max()(most, " + value + ");")) +
             "  most = across<0>(most, Max());\n";
  const bool powers = s.kept() && !log;  // kept in place of the scores
  k.reduce += SumOf(s, "sum", k.Again(), powers ? "kept[j][e] = exp(kept[j][e] - most); " : "", powers ? value : "exp(" + value + " - most)");
  k.reduce += log ? "  sum = log(across<1>(sum, Add()));\n" : "  sum = across<1>(sum, Add());\n";
  k.finish = log ? value + " - most - sum" : s.kept() ? "kept[j][e] / sum" : "exp(" + value + " - most) / sum";
  return Finish(c, k.Code(RowsOf(c.node), c.device.processors()), s.Name(), {0});
}

namespace {

LowerResult LowerNorm(const LowerContext& c, const std::optional<Elem>& converted) {
  const auto elems = ElemsOf(c.node);
  if (!elems) return std::optional<Lowered>();
  const Elem& x = (*elems)[0];
  const bool residual = c.node.has_input(3);
  const Spread s = Wanted(SpreadsOf(c.node, *elems, c.device), c.tactic);
  RowKernel k{s, c.node.inputs[0].shape.back(), {x}, elems->back(), converted};
  if (residual) k.operands.push_back((*elems)[3]);
  // Scale and offset are on their way while rows are summed up: constants even while the kernel in front still runs.
  const bool hoists = s.kept() && s.chunks * s.v <= 24;
  const std::string value = k.Value();
  std::string scaled = "(" + value + " - mean) * inverse";
  for (const int input : {1, 2}) {
    if (!c.node.has_input(static_cast<size_t>(input))) continue;
    const Elem& e = (*elems)[static_cast<size_t>(input)];
    const std::string pointer = input == 1 ? "gamma" : "beta", name = input == 1 ? "g" : "b", type = fmt::format("vec<{}, {}>", e.storage(), s.v);
    k.more += fmt::format(", const {}* {}", e.storage(), pointer);
    if (hoists) {
      std::string& place = c.node.inputs[static_cast<size_t>(input)].constant ? k.first : k.second;
      place += fmt::format("  {} {}[{}];\n", type, name, s.chunks) + EachVector(s, LoadVector(e, s, name + "[j]", pointer));
    } else {
      k.per_vector += LoadVector(e, s, "const " + type + " " + name, pointer);
    }
    scaled += fmt::format("{} (W){}", input == 1 ? " *" : " +", e.Load(name + (hoists ? "[j].v[e]" : ".v[e]")));
  }
  k.reduce = SumOf(s, "mean", k.Again(), "", value);
  k.reduce += fmt::format("  mean = across<0>(mean, Add()) * (W)(1.0 / {});\n", k.n);
  k.reduce += SumOf(s, "variance", k.Again(), "const W d = " + value + " - mean; ", "d * d");
  k.reduce += fmt::format("  const W inverse = rsqrt(across<1>(variance, Add()) * (W)(1.0 / {}) + {});\n", k.n, Literal(c.node.attrs.Float("epsilon"), x.wide()));
  k.finish = scaled;
  Generated g = k.Code(RowsOf(c.node), c.device.processors());
  g.inputs = PresentInputs(c.node).size();
  return Finish(c, g, s.Name(), PresentInputs(c.node));
}

}  // namespace

LowerResult LowerLayerNorm(const LowerContext& c) { return LowerNorm(c, std::nullopt); }

LowerResult LowerLayerNormConverted(const LowerContext& c, const ConcreteNode& convert) {
  const auto converted = OutElem(convert);
  return converted ? LowerNorm(c, converted) : LowerResult(std::optional<Lowered>());
}

}  // namespace tfengine::cuda
