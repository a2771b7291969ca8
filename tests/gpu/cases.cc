// SPDX-License-Identifier: Apache-2.0
#include "cases.h"

#include <cstdio>

#include <fmt/format.h>

namespace tfengine::gpu {
namespace {

double ToleranceOf(const std::string& type) { return type == "f16" ? 2e-3 : type == "bf16" ? 1.6e-2 : type == "f64" ? 1e-12 : 4e-6; }

class Cases {
 public:
  void Add(const std::string& inputs, const std::string& node, double tolerance, bool sums = false, const std::string& error = "") {
    std::string text = "network {\n" + inputs + "  " + node + "\n  return ";
    text += node.substr(0, node.find_first_of(":= ,")) + "\n}\n";
    all.push_back({text, tolerance, sums, error});
  }
  // Several nodes, the last of which makes the result %y.
  void AddNodes(const std::string& inputs, const std::string& nodes, double tolerance, double step, double ulp = 0) {
    all.push_back({"network {\n" + inputs + nodes + "  return %y\n}\n", tolerance, true, "", step, ulp});
  }
  static std::string In(const std::string& name, const std::string& type) { return fmt::format("  input %{}: {}\n", name, type); }
  // `lines`: nodes; `results`: values without the %.
  void AddNetwork(const std::string& inputs, const std::string& lines, const std::string& results, double tolerance, bool sums) {
    all.push_back({"network {\n" + inputs + lines + "  return " + results + "\n}\n", tolerance, sums, ""});
  }
  std::vector<Case> all;
};

// Neighbouring pointwise nodes.
void PointwiseChainCases(Cases& c) {
  for (const char* type : {"f32", "f16", "bf16"}) {
    const std::string t = type, out = t == "f32" ? "" : t == "f16" ? ", out=19" : ", out=14";
    for (const char* shape : {"[6,40]", "[3,5,7]", "[2,4,4,24]"}) {
      const std::string s = shape, last = s.substr(s.rfind(',') + 1);
      const std::string x = Cases::In("x", type + s);
      c.AddNetwork(x + Cases::In("z", "f32[" + last), fmt::format("  %a = binary(%x, %z) {{kind=\"mul\"{0}}}\n  %b = unary(%a) {{kind=\"gelu_erf\"{0}}}\n  %y = binary(%b, %x) {{kind=\"add\", act=\"relu\"{0}}}\n", out),
                   "%y", ToleranceOf(type) * 8, true);
      c.AddNetwork(x, fmt::format("  %a = unary(%x) {{kind=\"sigmoid\"{0}}}\n  %y = binary(%a, %x) {{kind=\"mul\"{0}}}\n", out), "%y", ToleranceOf(type) * 8, true);
      c.AddNetwork(x + Cases::In("z", std::string("f32") + s), "  %a = binary(%x, %x) {kind=\"less\"}\n  %b = cast(%a) {dtype=3}\n  %y = unary(%b) {kind=\"neg\"}\n", "%y", 0, false);
      c.AddNetwork(x, fmt::format("  %a = convert(%x) {{out=1}}\n  %b = unary(%a) {{kind=\"square\"}}\n  %y = convert(%b) {{out=19}}\n"), "%y", 2e-3, true);
    }
  }
  for (const char* type : {"f32", "f16"}) {
    const std::string t = type, out = t == "f32" ? "" : ", out=19";
    std::string lines = "  %a0 = binary(%x, %z) {kind=\"mul\"" + out + "}\n";
    for (int k = 1; k < 7; ++k)
      lines += fmt::format("  %a{} = {} {{kind=\"{}\"{}}}\n", k, k % 2 == 0 ? fmt::format("binary(%a{}, %x)", k - 1) : fmt::format("unary(%a{})", k - 1), k % 2 == 0 ? "add" : k % 4 == 1 ? "tanh" : "sigmoid", out);
    c.AddNetwork(Cases::In("x", t + "[3,5,24]") + Cases::In("z", "f32[24]"), lines + "  %y = unary(%a6) {kind=\"square\"" + out + "}\n", "%y", ToleranceOf(type) * 8, true);
  }
  c.AddNetwork(Cases::In("cond", "bool[4,9]") + Cases::In("a", "i32[4,9]") + Cases::In("nz", "i32[9]"),
               "  %b = binary(%a, %nz) {kind=\"div\"}\n  %c = cast(%b) {dtype=1}\n  %y = unary(%c) {kind=\"exp\"}\n", "%y", 1e-5, true);
}

// First layers of image networks: [conversion,] convolution of few channels [, max pooling].
void FirstLayerCases(Cases& c) {
  struct Layer { const char *image, *filter, *conv, *pool; };
  const Layer layers[] = {
      {"[2,64,64,3]", "[7,7,3,64]", "strides=[2,2], pads=[3,3,3,3], act=\"relu\"", "ksize=[3,3], strides=[2,2], pads=[1,1,1,1]"},
      {"[1,224,224,3]", "[7,7,3,64]", "strides=[2,2], pads=[3,3,3,3], act=\"relu\"", "ksize=[3,3], strides=[2,2], pads=[1,1,1,1]"},
      {"[3,37,51,3]", "[3,3,3,32]", "strides=[2,2], pads=[0,1,0,1], act=\"relu6\"", ""},
      {"[2,28,28,1]", "[5,5,1,32]", "pads=[2,2,2,2], act=\"relu\"", "ksize=[2,2], strides=[2,2]"},
      {"[2,19,23,4]", "[3,5,4,24]", "pads=[1,1,2,2]", "ksize=[3,2], strides=[1,2], pads=[1,1,0,1]"},
      {"[1,33,40,2]", "[4,4,2,128]", "strides=[3,1], act=\"silu\"", ""},
      {"[2,30,30,3]", "[3,3,3,40]", "pads=[1,1,1,1], act=\"silu\"", "ksize=[2,2], strides=[2,2]"},
  };
  for (const char* type : {"f16", "bf16"})
    for (const Layer& l : layers)
      for (const bool bias : {true, false}) {
        const int out = std::string(type) == "f16" ? 19 : 14;
        const std::string filter = l.filter, filters = filter.substr(filter.rfind(',') + 1);
        std::string inputs = Cases::In("x", std::string("f32") + l.image) + Cases::In("w", "f32" + filter);
        if (bias) inputs += Cases::In("wb", fmt::format("f32[{}", filters));
        std::string lines = fmt::format("  %h = convert(%x) {{out={}}}\n  %y = conv2d(%h, %w, {}, _) {{{}, out={}}}\n", out, bias ? "%wb" : "_", l.conv, out);
        std::string result = "%y";
        if (*l.pool != 0) {
          lines += fmt::format("  %z = pool(%y) {{kind=\"max\", {}}}\n", l.pool);
          result = "%z";
        }
        c.AddNetwork(inputs, lines, result, ToleranceOf(type) * 4, true);
      }
  // The same in codes, and from an image that is codes already. Reals show a value of the image whose code is a tie in f32 alone.
  int turn = 0;
  for (const Layer& l : layers)
    for (const char* out : {", out=4, out_scale=0.03, out_zero=30, out_lo=2, out_hi=251", ", out=4, out_scale=0.026, out_zero=0", ", out=19", ", out=1"}) {
      const std::string filter = l.filter, filters = filter.substr(filter.rfind(',') + 1), o = out;
      const bool codes = o.find("out=4") != std::string::npos, bias = turn % 3 != 0;
      const char* image = turn++ % 2 == 0 ? "out=4, out_scale=0.024, out_zero=125" : "out=4, out_scale=0.012, out_zero=3, out_lo=1";
      const std::string steps = Cases::In("w", "f32" + filter) + Cases::In("wsteps", fmt::format("f32[{}", filters)) + (bias ? Cases::In("wb", fmt::format("f32[{}", filters)) : "");
      std::string lines = fmt::format("  %q = convert(%x) {{{}}}\n  %c = conv2d(%q, %w, {}, _, %wsteps) {{{}{}}}\n", image, bias ? "%wb" : "_", l.conv, out);
      if (*l.pool != 0) lines += fmt::format("  %p = pool(%c) {{kind=\"max\", {}}}\n", l.pool);
      lines += fmt::format("  %y = convert(%{}) {{out=1}}\n", *l.pool != 0 ? "p" : "c");
      c.AddNodes(Cases::In("x", std::string("f32") + l.image) + steps, lines, codes ? 1e-6 : 1e-3, codes ? (o.find("0.03,") != std::string::npos ? 0.03 : 0.026) : 0.01);
    }
  // Rows that no vector divides; a filter whose sums would not be exact; f16 layers that end in f32.
  const std::string w = Cases::In("w", "f32[3,3,3,16]") + Cases::In("wsteps", "f32[16]"), q = "  %q = convert(%x) {out=4, out_scale=0.024, out_zero=128}\n", y = "  %y = convert(%c) {out=1}\n";
  for (const char* image : {"[1,17,15,3]", "[2,9,14,3]", "[1,40,3,3]"})
    for (const char* attrs : {"strides=[2,2], pads=[1,1,1,1], act=\"relu6\"", "pads=[1,1,1,1]", "strides=[1,2], pads=[2,0,0,1], act=\"silu\""})
      c.AddNodes(Cases::In("x", std::string("f32") + image) + w, q + fmt::format("  %c = conv2d(%q, %w, _, _, %wsteps) {{{}, out=4, out_scale=0.03, out_zero=17}}\n", attrs) + y, 1e-6, 0.03);
  c.AddNodes(Cases::In("x", "f32[1,30,30,4]") + Cases::In("w", "f32[13,13,4,8]") + Cases::In("wsteps", "f32[8]"), q + "  %c = conv2d(%q, %w, _, _, %wsteps) {out=1}\n" + y, 1e-3, 0);
  c.AddNetwork(Cases::In("x", "f32[2,21,24,3]") + Cases::In("w", "f32[3,3,3,48]"), "  %h = convert(%x) {out=19}\n  %y = conv2d(%h, %w, _, _) {strides=[2,2], act=\"relu\", out=1}\n", "%y", 1e-4, true);
}

// Inverted bottlenecks: all three layers, and pairs of neighbours.
void BottleneckCases(Cases& c) {
  struct Block {
    const char* image;
    int channels, expanded, filters;
    const char *kernel, *window, *expand_act, *act, *project_act;
    bool residual, bias;
  };
  constexpr char kRelu6[] = ", act=\"clip\", alpha=0.0, beta=6.0", kSwish[] = ", act=\"silu\"", kHardSwish[] = ", act=\"hard_swish\"", kSame[] = "pads=[1,1,1,1]", kNone[] = "";
  const Block blocks[] = {
      {"3,13,11", 24, 144, 24, "3,3", kSame, kRelu6, kRelu6, kNone, true, true},
      {"1,14,14", 16, 96, 24, "3,3", "strides=[2,2], pads=[0,1,0,1]", kRelu6, kRelu6, kNone, false, true},
      {"3,7,7", 40, 72, 160, "5,5", "pads=[2,2,2,2]", kSwish, kHardSwish, kNone, false, true},
      {"1,9,17", 8, 40, 8, "3,3", "", kHardSwish, kNone, ", act=\"relu\"", false, false},
      {"1,19,10", 32, 64, 72, "5,3", "strides=[2,1], pads=[1,2,0,1]", kNone, kSwish, kSwish, false, true},
      {"2,8,8", 48, 48, 48, "2,4", "strides=[1,2], pads=[0,1,1,2]", ", act=\"sigmoid\"", kNone, kNone, false, true},
      {"1,16,16", 16, 32, 16, "7,7", "pads=[3,3,3,3]", kNone, kRelu6, ", act=\"gelu_erf\"", true, false},
  };
  for (const char* type : {"f16", "bf16"})
    for (const Block& b : blocks) {
      const std::string t = type, out = t == "f16" ? "out=19" : "out=14";
      auto input = [&](int channels) { return Cases::In("x", fmt::format("{}[{},{}]", t, b.image, channels)); };
      const std::string expand = Cases::In("w1", fmt::format("f32[1,1,{},{}]", b.channels, b.expanded)) + (b.bias ? Cases::In("wb1", fmt::format("f32[{}]", b.expanded)) : "");
      const std::string filter = Cases::In("w2", fmt::format("f32[{},1,{}]", b.kernel, b.expanded)) + (b.bias ? Cases::In("wb2", fmt::format("f32[{}]", b.expanded)) : "");
      const std::string project = Cases::In("w3", fmt::format("f32[1,1,{},{}]", b.expanded, b.filters)) + (b.bias ? Cases::In("wb3", fmt::format("f32[{}]", b.filters)) : "") +
                                  (b.residual ? Cases::In("r", fmt::format("{}[{},{}]", t, b.image, b.filters)) : "");
      auto first = [&](const char* to) { return fmt::format("  %{} = conv2d(%x, %w1, {}, _) {{{}{}}}\n", to, b.bias ? "%wb1" : "_", out, b.expand_act); };
      auto middle = [&](const char* from, const char* to) {
        return fmt::format("  %{} = conv2d(%{}, %w2, {}, _) {{groups={}, {}{}{}{}}}\n", to, from, b.bias ? "%wb2" : "_", b.expanded, b.window, *b.window != 0 ? ", " : "", out, b.act);
      };
      auto last = [&](const char* from) { return fmt::format("  %y = conv2d(%{}, %w3, {}, {}) {{{}{}}}\n", from, b.bias ? "%wb3" : "_", b.residual ? "%r" : "_", out, b.project_act); };
      const double tolerance = ToleranceOf(type) * 4;
      c.AddNetwork(input(b.channels) + expand + filter + project, first("a") + middle("a", "b") + last("b"), "%y", tolerance, true);
      c.AddNetwork(input(b.channels) + expand + filter, first("a") + middle("a", "y"), "%y", tolerance, true);
      c.AddNetwork(input(b.expanded) + filter + project, middle("x", "b") + last("b"), "%y", tolerance, true);
    }
}

// Products whose rows are normalised: columns that tiles divide and do not, rows of several tiles.
void NormProductCases(Cases& c) {
  struct Form { const char* rows; int k, n; bool bias; const char* act; int residual; bool scale, offset; };  // residual of: 1, the product; 2, the norm
  const Form forms[] = {{"[2,33,64]", 64, 768, true, "none", 1, true, true}, {"[300,40]", 40, 200, false, "none", 0, false, false}, {"[77,136]", 136, 1000, true, "gelu_erf", 0, true, false},
                        {"[128,768]", 768, 768, true, "none", 2, false, true}, {"[1,64]", 64, 96, false, "relu", 1, true, true},    {"[600,32]", 32, 512, true, "none", 2, true, true}};
  for (const char* type : {"f16", "bf16"})
    for (const Form& f : forms)
      for (const bool wide : {false, true}) {
        if (wide && f.residual > 0) continue;  // of two sizes
        const std::string t = type, out = t == "f16" ? "out=19" : "out=14", rows = f.rows, result = fmt::format("{}{}]", rows.substr(0, rows.rfind(',') + 1), f.n);
        std::string inputs = Cases::In("x", t + rows) + Cases::In("w", fmt::format("f32[{},{}]", f.k, f.n));
        if (f.bias) inputs += Cases::In("wb", fmt::format("f32[{}]", f.n));
        if (f.residual > 0) inputs += Cases::In("r", t + result);
        if (f.scale) inputs += Cases::In("wg", fmt::format("f32[{}]", f.n));
        if (f.offset) inputs += Cases::In("wo", fmt::format("f32[{}]", f.n));
        c.AddNodes(inputs, fmt::format("  %m = matmul(%x, %w, {}, {}) {{act=\"{}\", {}}}\n  %y = layer_norm(%m, {}, {}, {}) {{epsilon=0.001, {}}}\n", f.bias ? "%wb" : "_", f.residual == 1 ? "%r" : "_", f.act, out,
                                       f.scale ? "%wg" : "_", f.offset ? "%wo" : "_", f.residual == 2 ? "%r" : "_", wide ? "out=1" : out),
                   ToleranceOf(type) * 8, 0);
      }
}

// A convolution of stride 1 and the 1x1 convolution that follows: parts of images and several images, rows of 64 and 128 bytes, weights
// that stay and that pass.
void ConvPairCases(Cases& c) {
  struct Form { const char* image; int channels, filters, then; const char *kernel, *window, *act, *then_act; bool residual, bias; };
  constexpr char kSame[] = "pads=[1,1,1,1]", kRelu[] = "relu", kNone[] = "none";
  const Form forms[] = {{"2,17,13", 64, 64, 256, "3,3", kSame, kRelu, kRelu, true, true},   {"3,7,7", 32, 128, 128, "3,3", kSame, "silu", kNone, true, true},    {"1,28,28", 128, 128, 512, "3,3", kSame, kRelu, kRelu, true, true},
                        {"5,5,9", 64, 64, 128, "1,3", "pads=[0,0,1,1]", kNone, "relu6", false, false}, {"2,11,20", 64, 128, 256, "5,3", "pads=[2,1,0,1]", "gelu_erf", "gelu_erf", false, true}, {"1,6,30", 192, 64, 128, "3,3", "", kRelu, kNone, true, false},
                        {"4,14,14", 64, 256, 256, "2,2", "pads=[0,1,1,0]", kRelu, kRelu, true, true}};
  auto constants = [](const Form& f, const char* type, bool steps) {
    auto of = [&](int i, const std::string& shape, int filters) {
      return Cases::In(fmt::format("w{}", i), fmt::format("f32[{},{}]", shape, filters)) + (steps ? Cases::In(fmt::format("wsteps{}", i), fmt::format("f32[{}]", filters)) : "") + (f.bias ? Cases::In(fmt::format("wb{}", i), fmt::format("f32[{}]", filters)) : "");
    };
    return Cases::In("x", fmt::format("{}[{},{}]", type, f.image, f.channels)) + of(1, fmt::format("{},{}", f.kernel, f.channels), f.filters) + of(2, fmt::format("1,1,{}", f.filters), f.then);
  };
  // The result's size, where it is not the image's, has no residual.
  auto residual = [](const Form& f, const std::string& type) { return f.residual ? Cases::In("r", fmt::format("{}[{},{}]", type, std::string(f.window) == "" ? "1,4,28" : f.image, f.then)) : ""; };
  auto bias = [](const Form& f, int i) { return f.bias ? fmt::format("%wb{}", i) : std::string("_"); };
  for (const char* type : {"f16", "bf16"})
    for (const Form& f : forms)
      for (const bool wide : {false, true}) {
        if (wide && f.residual) continue;
        const std::string t = type, out = t == "f16" ? "out=19" : "out=14";
        c.AddNetwork(constants(f, type, false) + residual(f, t),
                     fmt::format("  %a = conv2d(%x, %w1, {}, _) {{{}{}act=\"{}\", {}}}\n  %y = conv2d(%a, %w2, {}, {}) {{act=\"{}\", {}}}\n", bias(f, 1), f.window, *f.window ? ", " : "", f.act, out, bias(f, 2),
                                 f.residual ? "%r" : "_", f.then_act, wide ? "out=1" : out),
                     "%y", ToleranceOf(type) * 4, true);
      }
  int turn = 0;
  for (const bool fp8 : {false, true})
    for (const Form& f : forms)
      for (const bool wide : {false, true}) {
        if (fp8 && f.filters > 128) continue;
        const bool zero = turn++ % 2 == 0;
        const bool pads = *f.window != 0;
        const char* from = fp8 ? "out=25, out_scale=0.0067" : pads ? "out=4, out_scale=0.012, out_zero=0" : "out=4, out_scale=0.024, out_zero=128";
        const std::string middle = fp8 ? "out=25, out_scale=0.02" : zero ? "out=4, out_scale=0.03, out_zero=100" : "out=4, out_scale=0.02, out_zero=1, out_lo=1";
        const std::string to = wide ? "out=19" : fp8 ? "out=25, out_scale=0.05" : "out=4, out_scale=0.05, out_zero=90", other = wide ? "out=19" : fp8 ? "out=25, out_scale=0.0134" : "out=4, out_scale=0.03, out_zero=100";
        std::string nodes = fmt::format("  %q = convert(%x) {{{}}}\n", from);
        if (f.residual) nodes += fmt::format("  %rq = convert(%r) {{{}}}\n", other);
        nodes += fmt::format("  %a = conv2d(%q, %w1, {}, _, %wsteps1) {{{}{}act=\"{}\", {}}}\n  %c = conv2d(%a, %w2, {}, {}, %wsteps2) {{act=\"{}\", {}}}\n  %y = convert(%c) {{out=1}}\n", bias(f, 1), f.window, pads ? ", " : "", f.act,
                             middle, bias(f, 2), f.residual ? "%rq" : "_", f.then_act, to);
        // A code of the middle that falls to the other side of a tie, or its neighbour in E4M3, moves results by parts of a step.
        c.AddNodes(constants(f, "f32", true) + residual(f, "f32"), nodes, fp8 ? 4e-2 : wide ? 2e-3 : 1e-6, wide ? 0.02 : fp8 ? 0.05 / 512 : 0.05, fp8 ? 0.125 : 0);
      }
}

// Matmuls of one input that differ in their constants only.
void JointProductCases(Cases& c) {
  for (const char* type : {"f32", "f16", "bf16"})
    for (const char* sizes : {"2,33|96|64", "128|768|768", "5|40|24"}) {
      const std::string t = type, out = t == "f32" ? "" : t == "f16" ? ", out=19" : ", out=14", s = sizes;
      const size_t bar = s.find('|'), second = s.find('|', bar + 1);
      const std::string rows = s.substr(0, bar), k = s.substr(bar + 1, second - bar - 1), n = s.substr(second + 1);
      for (const char* act : {"none", "gelu_erf"}) {
        std::string inputs = Cases::In("x", fmt::format("{}[{},{}]", type, rows, k)), lines, results;
        for (const char* name : {"a", "b", "c"}) {
          inputs += Cases::In(fmt::format("w{}", name), fmt::format("f32[{},{}]", k, n)) + Cases::In(fmt::format("wb{}", name), fmt::format("f32[{}]", n));
          lines += fmt::format("  %{0} = matmul(%x, %w{0}, %wb{0}, _) {{act=\"{1}\"{2}}}\n", name, act, out);
        }
        for (const char* name : {"a", "b", "c"}) {
          lines += fmt::format("  %{0}y = unary(%{0}) {{kind=\"neg\"}}\n", name);
          results += fmt::format("{}%{}y", results.empty() ? "" : ", ", name);
        }
        c.AddNetwork(inputs, lines, results, ToleranceOf(type) * 4, true);
      }
    }
  // The same of codes and E4M3.
  struct Form { const char *x, *w, *n; int members; const char *attrs; };
  const Form forms[] = {{"[2,33,96]", "[96,80]", "80", 3, "act=\"none\""},     {"[128,768]", "[768,768]", "768", 3, "act=\"none\""}, {"[5,40]", "[40,24]", "24", 2, "act=\"relu\""},
                        {"[70,17]", "[17,13]", "13", 2, "act=\"gelu_erf\""}, {"[129,64]", "[144,64]", "144", 2, "act=\"gelu_erf\", transpose_b=true"}};
  int turn = 0;
  for (const bool fp8 : {false, true})
    for (const Form& f : forms)
      for (const char* out : {fp8 ? ", out=25, out_scale=0.05" : ", out=4, out_scale=0.03, out_zero=100", ", out=19", ", out=1"}) {
        const std::string o = out;
        const bool bias = turn++ % 2 == 0, eight = o.find("scale") != std::string::npos;
        const char* from = fp8 ? "out=25, out_scale=0.0067" : turn / 2 % 2 == 0 ? "out=4, out_scale=0.024, out_zero=128" : "out=4, out_scale=0.012, out_zero=0";
        std::string inputs = Cases::In("x", "f32" + std::string(f.x)), lines = fmt::format("  %q = convert(%x) {{{}}}\n", from), reals, results;
        for (int i = 0; i < f.members; ++i) {
          inputs += Cases::In(fmt::format("w{}", i), "f32" + std::string(f.w)) + Cases::In(fmt::format("wsteps{}", i), fmt::format("f32[{}]", f.n));
          if (bias) inputs += Cases::In(fmt::format("wb{}", i), fmt::format("f32[{}]", f.n));
          lines += fmt::format("  %c{0} = matmul(%q, %w{0}, {1}, _, %wsteps{0}) {{{2}{3}}}\n", i, bias ? fmt::format("%wb{}", i) : "_", f.attrs, out);
          reals += fmt::format("  %y{0} = convert(%c{0}) {{out=1}}\n", i);
          results += fmt::format("{}%y{}", i == 0 ? "" : ", ", i);
        }
        c.AddNetwork(inputs, lines + reals, results, eight ? 1e-6 : fp8 || o == ", out=19" ? 1e-3 : 1e-5, true);
        if (eight) c.all.back().step = fp8 ? 0.05 / 512 : 0.03, c.all.back().ulp = fp8 ? 0.125 : 0;
      }
}

void Elementwise(Cases& c) {
  const char* floats[] = {"abs", "neg", "exp", "expm1", "sqrt", "rsqrt", "square", "reciprocal", "sin", "cos", "tan", "asin", "acos", "atan",
                          "sinh", "cosh", "asinh", "acosh", "atanh", "tanh", "sigmoid", "erf", "erfc", "relu", "relu6", "selu", "softplus",
                          "softsign", "silu", "gelu_erf", "gelu_tanh", "hard_swish", "hard_sigmoid", "floor", "ceil", "round", "sign", "is_nan",
                          "is_inf", "is_finite", "none", "log", "log1p"};
  for (const char* kind : floats)
    for (const char* type : {"f32", "f16", "bf16", "f64"}) {
      const bool log = std::string(kind).rfind("log", 0) == 0;
      // Inverse functions amplify what 16 bits round away only in the result; their domain ends give NaN on both sides.
      c.Add(Cases::In(log ? "pos" : "x", fmt::format("{}[3,37]", type)), fmt::format("%y = unary(%{}) {{kind=\"{}\"}}", log ? "pos" : "x", kind),
            ToleranceOf(type) * 4);
    }
  for (const char* attrs : {"kind=\"leaky_relu\", alpha=0.2", "kind=\"elu\", alpha=1.5", "kind=\"clip\", alpha=-0.5, beta=1.25"})
    for (const char* type : {"f32", "f16"}) c.Add(Cases::In("x", fmt::format("{}[5,16]", type)), fmt::format("%y = unary(%x) {{{}}}", attrs), ToleranceOf(type) * 4);
  for (const char* type : {"i32", "i64", "u8", "i8"})
    for (const char* kind : {"abs", "neg", "square", "relu", "relu6", "sign", "floor"})
      c.Add(Cases::In("x", fmt::format("{}[7,9]", type)), fmt::format("%y = unary(%x) {{kind=\"{}\"}}", kind), 0);
  c.Add(Cases::In("x", "i32[100]"), "%y = unary(%x) {kind=\"clip\", alpha=-2.5, beta=3.5}", 0);
  c.Add(Cases::In("x", "bool[33]"), "%y = unary(%x) {kind=\"logical_not\"}", 0);

  const char* binaries[] = {"add", "sub", "mul", "div", "floor_div", "floor_mod", "truncate_mod", "div_no_nan", "mul_no_nan", "pow", "min", "max",
                            "squared_difference", "atan2", "equal", "not_equal", "less", "less_equal", "greater", "greater_equal"};
  for (const char* kind : binaries) {
    const std::string k = kind;
    for (const char* type : {"f32", "f16", "bf16", "f64"}) {
      // A quotient next to a whole number falls to either side when it is rounded differently.
      if ((k == "floor_mod" || k == "truncate_mod" || k == "floor_div") && std::string(type) != "f64") continue;
      c.Add(Cases::In("x", fmt::format("{}[4,1,24]", type)) + Cases::In("pos", fmt::format("{}[5,1]", type)), fmt::format("%y = binary(%x, %pos) {{kind=\"{}\"}}", kind),
            ToleranceOf(type) * 8);
    }
    if (k == "div_no_nan" || k == "mul_no_nan" || k == "atan2") continue;
    for (const char* type : {"i32", "i64", "u8"})
      c.Add(Cases::In("x", fmt::format("{}[4,31]", type)) + Cases::In("nz", fmt::format("{}[31]", type)),
            k == "pow" ? fmt::format("%y = binary(%x, %x) {{kind=\"{}\"}}", "mul") : fmt::format("%y = binary(%x, %nz) {{kind=\"{}\"}}", kind), 0);
  }
  for (const char* kind : {"logical_and", "logical_or"})
    c.Add(Cases::In("x", "bool[4,9]") + Cases::In("y", "bool[9]"), fmt::format("%z = binary(%x, %y) {{kind=\"{}\"}}", kind), 0);
  for (const char* shapes : {"[8,64]|[8,64]", "[8,64]|[64]", "[8,64]|[8,1]", "[2,3,1,5]|[4,1]", "[]|[3,4]", "[16,16,32]|[16,1,32]", "[7]|[7]"}) {
    const std::string s = shapes;
    const size_t bar = s.find('|');
    for (const char* type : {"f32", "f16"})
      c.Add(Cases::In("x", type + s.substr(0, bar)) + Cases::In("z", type + s.substr(bar + 1)), "%y = binary(%x, %z) {kind=\"add\", act=\"relu\"}", ToleranceOf(type) * 4);
  }
  c.Add(Cases::In("x", "i32[8]") + Cases::In("zero", "i32[8]"), "%y = binary(%x, %zero) {kind=\"div\"}", 0, false, "division by zero");
  // Typed: f16 and codes in, f16 and codes out.
  c.Add(Cases::In("x", "f16[6,40]") + Cases::In("z", "f32[40]"), "%y = binary(%x, %z) {kind=\"mul\", act=\"gelu_erf\", out=19}", 2e-3);
  c.Add(Cases::In("x", "f16[6,40]"), "%y = convert(%x) {out=1}", 1e-6);
  c.Add(Cases::In("x", "f32[6,41]"), "%y = convert(%x) {out=19}", 1e-3);
  c.Add(Cases::In("x", "f32[6,41]"), "%y = convert(%x) {out=14}", 1e-2);
  c.Add(Cases::In("x", "f32[6,40]"), "%y = convert(%x) {out=4, out_scale=0.05, out_zero=100, out_lo=3}", 0);
  c.Add(Cases::In("cond", "bool[4,1,5]") + Cases::In("a", "f32[3,1]") + Cases::In("b", "f32[5]"), "%y = select(%cond, %a, %b)", 0);
  c.Add(Cases::In("cond", "bool[16]") + Cases::In("a", "f16[4,16]") + Cases::In("b", "f16[4,16]"), "%y = select(%cond, %a, %b)", 0);
  for (const char* from : {"f32", "f16", "bf16", "f64", "i32", "i64", "u8", "i8", "bool"})
    for (int to : {1, 19, 14, 2, 3, 9, 4, 6, 10})
      c.Add(Cases::In("x", fmt::format("{}[45]", from)), fmt::format("%y = cast(%x) {{dtype={}}}", to), to == 19 ? 1e-3 : to == 14 ? 1e-2 : 1e-7);
  for (const char* rounding : {"even", "up", "offset"}) {
    const std::string lo_hi = Cases::In("lo3", "f32[]") + Cases::In("hi4", "f32[]");
    c.Add(Cases::In("x", "f32[9,24]") + Cases::In("pos", "f32[]") + lo_hi, fmt::format("%y = fake_quant(%x, %pos, %lo3, %hi4) {{rounding=\"{}\"}}", rounding), 0);
    c.Add(Cases::In("x", "f32[3,8,5]") + Cases::In("pos", "f32[8]") + Cases::In("lo3", "f32[8]") + Cases::In("hi4", "f32[8]") + Cases::In("pos2", "f32[8]"),
          fmt::format("%y = fake_quant(%x, %pos, %lo3, %hi4, %pos2) {{axis=1, rounding=\"{}\"}}", rounding), 0);
  }
  for (const char* type : {"f32", "f16", "bf16"})
    c.Add(Cases::In("x", fmt::format("{}[2,5,24]", type)) + Cases::In("s", "f32[24]") + Cases::In("o", "f32[24]") + Cases::In("m", "f32[24]") + Cases::In("pos", "f32[24]"),
          "%y = batch_norm(%x, %s, %o, %m, %pos) {epsilon=0.001}", ToleranceOf(type) * 8, true);
}

void Rows(Cases& c) {
  for (const char* type : {"f32", "f16", "bf16", "f64"}) {
    for (const char* shape : {"[3,7]", "[2,5,128]", "[4,1000]", "[2,30001]", "[1,1]", "[3000,40]", "[2,16384]"})
      for (const char* op : {"softmax", "log_softmax"})
        c.Add(Cases::In("x", std::string(type) + shape), fmt::format("%y = {}(%x)", op), ToleranceOf(type) * 8, true);
    for (int n : {7, 64, 768, 1024, 5000, 20000}) {
      const std::string x = Cases::In("x", fmt::format("{}[5,{}]", type, n));
      const std::string affine = Cases::In("g", fmt::format("f32[{}]", n)) + Cases::In("b", fmt::format("f32[{}]", n));
      const std::string parameters = std::string(type) == "f64" ? Cases::In("g", fmt::format("f64[{}]", n)) + Cases::In("b", fmt::format("f64[{}]", n)) : affine;
      c.Add(x + parameters, "%y = layer_norm(%x, %g, %b, _) {epsilon=0.001}", ToleranceOf(type) * 8, true);
      c.Add(x + parameters + Cases::In("r", fmt::format("{}[5,{}]", type, n)), "%y = layer_norm(%x, %g, %b, %r) {epsilon=0.001}", ToleranceOf(type) * 8, true);
    }
    if (std::string(type) != "f64")
      c.Add(Cases::In("x", fmt::format("{}[2300,768]", type)) + Cases::In("g", "f32[768]") + Cases::In("b", "f32[768]"), "%y = layer_norm(%x, %g, %b, _) {epsilon=0.001}",
            ToleranceOf(type) * 8, true);
    if (std::string(type) != "f64")  // constants: read before the kernel in front has ended
      for (const char* shape : {"[5,64]", "[300,768]", "[9,5000]"}) {
        const std::string s = shape, last = s.substr(s.find(',') + 1);
        c.Add(Cases::In("x", type + s) + Cases::In("wg", "f32[" + last) + Cases::In("wb", "f32[" + last), "%y = layer_norm(%x, %wg, %wb, _) {epsilon=0.001}", ToleranceOf(type) * 8, true);
      }
    c.Add(Cases::In("x", fmt::format("{}[2300,96]", type)), "%y = layer_norm(%x, _, _, _) {epsilon=0.001}", ToleranceOf(type) * 8, true);
    if (std::string(type) != "f64")  // the result and what it is converted to, by one kernel
      for (const char* shape : {"[5,7]", "[4,10,768]", "[2300,768]", "[3,5000]", "[2,20000]"})
        for (const char* to : {"out=25, out_scale=0.0067", "out=4, out_scale=0.024, out_zero=120, out_lo=1"}) {
          const std::string s = shape, last = s.substr(s.rfind(',') + 1), t = type, out = t == "f32" ? "out=1" : t == "f16" ? "out=19" : "out=14";
          const bool fp8 = std::string(to).find("25") != std::string::npos, three = s == "[4,10,768]";
          const std::string reshape = three ? "  %v = reshape(%n) {shape=[40,768]}\n" : "";
          c.AddNetwork(Cases::In("x", t + s) + (three ? Cases::In("r", t + s) : "") + Cases::In("g", "f32[" + last) + Cases::In("b", "f32[" + last),
                       fmt::format("  %n = layer_norm(%x, %g, %b, {}) {{epsilon=0.001, {}}}\n{}  %q = convert(%{}) {{{}}}\n  %y = unary(%n) {{kind=\"neg\", {}}}\n  %z = convert(%q) {{out=1}}\n", three ? "%r" : "_", out,
                                   reshape, three ? "v" : "n", to, out),
                       "%y, %z", ToleranceOf(type), true);
          c.all.back().step = fp8 ? 0.0067 / 512 : 0.024, c.all.back().ulp = fp8 ? 0.125 : 1e-9;
        }
    for (const char* kind : {"sum", "mean", "max", "min", "prod"})
      for (const char* form : {"[6,40]|[1]", "[6,40]|[0]", "[3,5,7,8]|[1,2]", "[3,5,7,8]|[0,3]", "[2,300]|[0,1]", "[4,9000]|[1]", "[9000,4]|[0]", "[2,49,2048]|[1]", "[3,7,5,24]|[1,2]", "[130,6,40]|[1]"}) {
        const std::string f = form;
        const size_t bar = f.find('|');
        if (std::string(kind) == "prod" && f.size() > 14) continue;
        c.Add(Cases::In("x", type + f.substr(0, bar)), fmt::format("%y = reduce(%x) {{kind=\"{}\", axes={}}}", kind, f.substr(bar + 1)), ToleranceOf(type) * 8, true);
      }
    c.Add(Cases::In("x", fmt::format("{}[5,300]", type)), "%y = arg_reduce(%x) {kind=\"max\", axis=1, dtype=9}", 0);
    c.Add(Cases::In("x", fmt::format("{}[5,30,7]", type)), "%y = arg_reduce(%x) {kind=\"min\", axis=1, dtype=3}", 0);
    c.Add(Cases::In("x", fmt::format("{}[5,30,7]", type)), "%y = cumulative(%x) {kind=\"sum\", axis=1, exclusive=true, reverse=true}", ToleranceOf(type) * 8, true);
    c.Add(Cases::In("x", fmt::format("{}[5,30]", type)), "%y = cumulative(%x) {kind=\"prod\", axis=1}", ToleranceOf(type) * 8, true);
  }
  for (const char* type : {"f32", "f16"})
    for (const char* kind : {"sum", "mean", "max", "min"})
      for (const char* form : {"[64,7,7,512]|[1,2]", "[70,5,1000]|[1]", "[33,3,1028]|[1]", "[3,40,4096]|[0]", "[2,100,40,64]|[0,1]"}) {
        const std::string f = form;
        c.Add(Cases::In("x", type + f.substr(0, f.find('|'))), fmt::format("%y = reduce(%x) {{kind=\"{}\", axes={}}}", kind, f.substr(f.find('|') + 1)), ToleranceOf(type) * 8, true);
      }
  c.Add(Cases::In("x", "f16[5,768]"), "%y = reduce(%x) {kind=\"mean\", axes=[1], keepdims=true, out=1}", 1e-5, true);
  c.Add(Cases::In("x", "f16[2,7,7,512]"), "%y = reduce(%x) {kind=\"mean\", axes=[1,2], out=19}", 2e-3, true);
  c.Add(Cases::In("x", "i32[5,12]"), "%y = reduce(%x) {kind=\"sum\", axes=[1]}", 0);
  c.Add(Cases::In("x", "i32[5,12]"), "%y = reduce(%x) {kind=\"mean\", axes=[0]}", 0);
  c.Add(Cases::In("x", "i64[5,12]"), "%y = reduce(%x) {kind=\"max\", axes=[0]}", 0);
  c.Add(Cases::In("x", "bool[5,12]"), "%y = reduce(%x) {kind=\"any\", axes=[1]}", 0);
  c.Add(Cases::In("x", "bool[5,12]"), "%y = reduce(%x) {kind=\"all\", axes=[0]}", 0);
  c.Add(Cases::In("x", "f32[5,0]"), "%y = reduce(%x) {kind=\"sum\", axes=[1]}", 0);
  c.Add(Cases::In("x", "f32[5,0]"), "%y = reduce(%x) {kind=\"max\", axes=[1]}", 0);
  c.Add(Cases::In("x", "i32[4,50]"), "%y = arg_reduce(%x) {kind=\"max\", axis=1, dtype=9}", 0);
  c.Add(Cases::In("x", "i32[4,50]"), "%y, %i = top_k(%x) {k=7}", 0);
  c.Add(Cases::In("x", "f32[4,1000]"), "%y, %i = top_k(%x) {k=5}", 0);
  c.Add(Cases::In("x", "f16[3,20]"), "%y, %i = top_k(%x) {k=20}", 0);
}

void Movement(Cases& c) {
  for (const char* type : {"f32", "f16", "u8", "i64", "bool"}) {
    auto add = [&](const std::string& shape, const std::string& node) { c.Add(Cases::In("x", type + shape), "%y = " + node, 0); };
    add("[3,5,7]", "transpose(%x) {perm=[2,0,1]}");
    add("[2,12,16,64]", "transpose(%x) {perm=[0,2,1,3]}");
    add("[4,8]", "transpose(%x) {perm=[1,0]}");
    add("[3,1,5]", "broadcast(%x) {shape=[2,3,4,5]}");
    add("[4,16]", "broadcast(%x) {shape=[3,4,16]}");
    add("[6,9,16]", "slice(%x) {begin=[1,2,8], size=[3,4,8], strides=[2,1,1]}");
    add("[6,9]", "slice(%x) {begin=[5,8], size=[6,3], strides=[-1,-3]}");
    add("[3,4]", "tile(%x) {reps=[2,3]}");
    add("[2,4,6,12]", "depth_to_space(%x) {block=2}");
    add("[2,4,6,3]", "space_to_depth(%x) {block=2}");
    if (std::string(type) != "bool") add("[2,5,4,8]", "resize(%x) {kind=\"nearest\", size=[9,7]}");
    add("[3,5]", "pad(%x) {lo=[1,0], hi=[2,3], value=1.0}");
    add("[4,5]", "pad(%x) {lo=[2,3], hi=[3,1], mode=\"reflect\"}");
    add("[4,5]", "pad(%x) {lo=[2,3], hi=[4,1], mode=\"symmetric\"}");
    c.Add(Cases::In("x", fmt::format("{}[3,4,8]", type)) + Cases::In("z", fmt::format("{}[3,2,8]", type)) + Cases::In("v", fmt::format("{}[3,1,8]", type)),
          "%y = concat(%x, %z, %v) {axis=1}", 0);
    c.Add(Cases::In("x", fmt::format("{}[3,5]", type)) + Cases::In("z", fmt::format("{}[3,2]", type)), "%y = concat(%x, %z) {axis=1}", 0);
    c.Add(Cases::In("x", fmt::format("{}[7,16]", type)) + Cases::In("idx7", "i32[3,4]"), "%y = gather(%x, %idx7) {axis=0}", 0);
    c.Add(Cases::In("x", fmt::format("{}[2,7,5]", type)) + Cases::In("idx7", "i64[2,4]"), "%y = gather(%x, %idx7) {axis=1, batch_dims=1}", 0);
    c.Add(Cases::In("x", fmt::format("{}[2,7,5]", type)) + Cases::In("idx5", "i64[3]"), "%y = gather(%x, %idx5) {axis=2}", 0);
    c.Add(Cases::In("x", fmt::format("{}[4,4,6]", type)) + Cases::In("idx4", "i32[5,2]"), "%y = gather_nd(%x, %idx4)", 0);
    c.Add(Cases::In("x", fmt::format("{}[2,4,6]", type)) + Cases::In("idx4", "i32[2,3,1]"), "%y = gather_nd(%x, %idx4) {batch_dims=1}", 0);
  }
  c.Add(Cases::In("x", "f32[7,16]") + Cases::In("idx9", "i32[60]"), "%y = gather(%x, %idx9) {axis=0}", 0, false, "index");
  // Integers from -9 to 9.
  c.Add(Cases::In("x", "f32[10,16]") + Cases::In("i", "i32[60]"), "%y = gather(%x, %i) {axis=0, wrap=true}", 0);
  c.Add(Cases::In("x", "f16[3,10,5]") + Cases::In("i", "i64[3,40]"), "%y = gather(%x, %i) {axis=1, batch_dims=1, wrap=true}", 0);
  c.Add(Cases::In("x", "f32[5,16]") + Cases::In("i", "i32[60]"), "%y = gather(%x, %i) {axis=0, wrap=true}", 0, false, "index");
  c.Add(Cases::In("idx5", "i32[3,4]"), "%y = one_hot(%idx5) {depth=4, axis=1, on=2.5, off=-1.0, dtype=1}", 0);
  c.Add(Cases::In("idx5", "i64[6]"), "%y = one_hot(%idx5) {depth=5, axis=1, on=1, off=0, dtype=19}", 0);
  for (const char* attrs : {"", ", align_corners=true", ", half_pixel=true"})
    for (const char* kind : {"bilinear", "nearest"}) {
      c.Add(Cases::In("x", "f32[2,5,7,3]"), fmt::format("%y = resize(%x) {{kind=\"{}\", size=[11,4]{}}}", kind, attrs), 1e-5, true);
      c.Add(Cases::In("x", "f32[1,8,8,16]"), fmt::format("%y = resize(%x) {{kind=\"{}\", size=[16,16]{}}}", kind, attrs), 1e-5, true);
    }
  c.Add(Cases::In("x", "f16[1,8,8,16]"), "%y = resize(%x) {kind=\"bilinear\", size=[16,16], half_pixel=true, out=19}", 2e-3, true);
}

void Images(Cases& c) {
  for (const char* type : {"f32", "f16", "bf16"}) {
    for (const char* kind : {"max", "avg"}) {
      c.Add(Cases::In("x", fmt::format("{}[2,13,11,24]", type)), fmt::format("%y = pool(%x) {{kind=\"{}\", ksize=[3,3], strides=[2,2], pads=[0,1,1,1]}}", kind), ToleranceOf(type) * 4, true);
      c.Add(Cases::In("x", fmt::format("{}[2,8,8,5]", type)), fmt::format("%y = pool(%x) {{kind=\"{}\", ksize=[2,2], strides=[2,2]}}", kind), ToleranceOf(type) * 4, true);
    }
    // Weights are constants; typed where x is 16 bits, with an f32 filter and bias as quant::Assign makes them.
    const std::string t = type;
    const std::string out = t == "f32" ? "" : t == "f16" ? ", out=19" : ", out=14";
    struct Conv { const char *x, *w; int k; const char* y; const char* attrs; };
    const Conv convs[] = {
        {"[2,14,14,64]", "[1,1,64,128]", 128, "[2,14,14,128]", "act=\"relu\""},
        {"[2,14,14,64]", "[3,3,64,64]", 64, "[2,14,14,64]", "pads=[1,1,1,1], act=\"relu\""},
        {"[1,28,28,64]", "[3,3,64,128]", 128, "[1,14,14,128]", "strides=[2,2], pads=[0,1,0,1], act=\"relu6\""},
        {"[2,28,28,64]", "[1,1,64,96]", 96, "[2,14,14,96]", "strides=[2,2]"},
        {"[2,56,56,3]", "[7,7,3,64]", 64, "[2,28,28,64]", "strides=[2,2], pads=[3,3,3,3], act=\"relu\""},
        {"[1,20,20,16]", "[3,3,16,16]", 16, "[1,20,20,16]", "pads=[2,2,2,2], dilations=[2,2], act=\"elu\", alpha=1.0"},
        {"[1,9,9,5]", "[3,3,5,7]", 7, "[1,7,7,7]", "act=\"sigmoid\""},
        {"[2,14,14,96]", "[3,3,1,96]", 96, "[2,14,14,96]", "pads=[1,1,1,1], groups=96, act=\"relu6\""},
        {"[2,15,15,24]", "[5,5,1,24]", 24, "[2,8,8,24]", "strides=[2,2], pads=[2,2,2,2], groups=24, act=\"silu\""},
        {"[2,10,10,16]", "[3,3,4,32]", 32, "[2,8,8,32]", "groups=4"},
        {"[1,10,10,3]", "[3,3,1,6]", 6, "[1,8,8,6]", "groups=3"},
        {"[3,7,7,32]", "[1,1,32,48]", 48, "[3,7,7,48]", "act=\"relu6\""},
        {"[3,7,7,32]", "[1,1,32,48]", 48, "[3,7,7,48]", "act=\"silu\""},
        {"[2,9,13,40]", "[3,2,40,24]", 24, "[2,4,7,24]", "strides=[2,2], pads=[0,1,1,0], act=\"silu\""},
        {"[5,17,9,136]", "[3,3,136,200]", 200, "[5,17,9,200]", "pads=[1,1,1,1], act=\"silu\""},
        {"[1,7,7,512]", "[3,3,512,64]", 64, "[1,7,7,64]", "pads=[1,1,1,1], act=\"silu\""},
        {"[2,30,31,24]", "[5,3,24,144]", 144, "[2,30,31,144]", "pads=[4,4,1,1], dilations=[2,1], act=\"silu\""},
    };
    for (const Conv& v : convs) {
      const std::string base = Cases::In("x", type + std::string(v.x)) + Cases::In("w", "f32" + std::string(v.w)) + Cases::In("wb", fmt::format("f32[{}]", v.k));
      if (t == "f32" || !out.empty()) {
        c.Add(base, fmt::format("%y = conv2d(%x, %w, %wb, _) {{{}{}}}", v.attrs, out), ToleranceOf(type) * 4, true);
        c.Add(base + Cases::In("r", type + std::string(v.y)), fmt::format("%y = conv2d(%x, %w, %wb, %r) {{{}{}}}", v.attrs, out), ToleranceOf(type) * 4, true);
        c.Add(base, fmt::format("%y = conv2d(%x, %w, _, _) {{{}{}}}", v.attrs, out), ToleranceOf(type) * 4, true);
      }
    }
    if (t == "f16") {
      c.Add(Cases::In("x", "f16[2,14,14,64]") + Cases::In("w", "f32[3,3,64,32]"), "%y = conv2d(%x, %w, _, _) {pads=[1,1,1,1], out=1}", 1e-4, true);
      c.Add(Cases::In("x", "f16[2,14,14,64]") + Cases::In("w", "f32[1,1,64,32]"), "%y = conv2d(%x, %w, _, _) {act=\"silu\", out=1}", 1e-4, true);
    }
  }
  c.Add(Cases::In("x", "f32[2,5,5,8]") + Cases::In("w", "f32[3,3,6,8]") + Cases::In("wb", "f32[6]"),
        "%y = conv2d_transpose(%x, %w, %wb) {strides=[2,2], pads=[0,1,0,1], output_shape=[2,10,10,6], act=\"relu\"}", 2e-5, true);
  c.Add(Cases::In("x", "i32[1,5,5,4]") + Cases::In("w", "i32[3,3,4,6]"), "%y = conv2d(%x, %w, _, _)", 0);
}

// Windows of stride 1 over pieces of images: tiles of a part of an image and of several images, windows of every form, padding on
// either side, channels that fill no chunk or several.
void PieceCases(Cases& c) {
  struct Conv { const char *x, *w; int out_h, out_w; const char* attrs; };
  const Conv convs[] = {
      {"[3,9,7,64]", "[3,3,64,64]", 9, 7, "pads=[1,1,1,1], act=\"relu\""},
      {"[2,13,5,128]", "[3,3,128,80]", 13, 5, "pads=[1,1,1,1]"},
      {"[2,28,28,16]", "[3,3,16,64]", 28, 28, "pads=[1,1,1,1], act=\"relu\""},
      {"[1,8,56,64]", "[3,3,64,64]", 8, 56, "pads=[1,1,1,1], act=\"relu\""},
      {"[9,4,4,144]", "[3,3,144,32]", 4, 4, "pads=[1,1,1,1], act=\"silu\""},
      {"[2,11,12,48]", "[5,5,48,64]", 11, 12, "pads=[2,2,2,2], act=\"relu6\""},
      {"[2,10,17,64]", "[1,3,64,96]", 10, 17, "pads=[0,0,1,1]"},
      {"[2,17,10,32]", "[7,1,32,64]", 17, 10, "pads=[3,3,0,0], act=\"relu\""},
      {"[2,12,13,64]", "[3,3,64,64]", 10, 11, "act=\"relu\""},
      {"[2,12,13,64]", "[2,4,64,48]", 13, 13, "pads=[0,2,3,0]"},
      {"[2,9,9,64]", "[4,2,64,16]", 8, 11, "pads=[2,0,0,3], act=\"tanh\""},
      {"[1,4,6,32]", "[3,3,32,272]", 4, 6, "pads=[1,1,1,1], act=\"relu\""},
  };
  const std::string quantized = "out=4, out_scale=0.02, out_zero=0";
  for (const Conv& v : convs)
    for (const char* type : {"f16", "bf16", "u8", "fp8"})
      for (const bool rich : {true, false}) {
        const std::string t = type, w = v.w, filters = w.substr(w.rfind(',') + 1), x = v.x, y = fmt::format("{},{},{},{}", x.substr(0, x.find(',')), v.out_h, v.out_w, filters);
        if (t == "f16" || t == "bf16") {
          const std::string inputs = Cases::In("x", t + v.x) + Cases::In("w", "f32" + w), out = std::string(*v.attrs ? ", " : "") + (t == "bf16" ? "out=14" : rich ? "out=19" : "out=1");
          c.Add(rich ? inputs + Cases::In("wb", "f32[" + filters) + Cases::In("r", t + y) : inputs, fmt::format("%y = conv2d(%x, %w, {}) {{{}{}}}", rich ? "%wb, %r" : "_, _", v.attrs, out), ToleranceOf(t) * 4, true);
          continue;
        }
        const std::string steps = Cases::In("w", "f32" + w) + Cases::In("wsteps", "f32[" + filters) + Cases::In("wb", "f32[" + filters);
        const bool codes = t == "u8", pads = std::string(v.attrs).find("pads") != std::string::npos;
        const std::string from = !codes ? "out=25, out_scale=0.0067" : pads ? quantized : "out=4, out_scale=0.024, out_zero=128";
        const std::string to = !rich ? "out=19" : codes ? "out=4, out_scale=0.03, out_zero=17" : "out=25, out_scale=0.05";
        std::string nodes = fmt::format("  %q = convert(%x) {{{}}}\n", from);
        if (rich) nodes += fmt::format("  %rq = convert(%r) {{{}}}\n", codes ? "out=4, out_scale=0.03, out_zero=100" : "out=25, out_scale=0.0134");
        nodes += fmt::format("  %c = conv2d(%q, %w, %wb, {}, %wsteps) {{{}, {}}}\n  %y = convert(%c) {{out=1}}\n", rich ? "%rq" : "_", *v.attrs ? v.attrs : "act=\"none\"", to);
        c.AddNodes(Cases::In("x", "f32" + x) + (rich ? Cases::In("r", "f32" + y) : "") + steps, nodes, rich ? 1e-6 : codes ? 2e-3 : 5e-3, rich ? codes ? 0.03 : 0.05 / 512 : 0, rich && !codes ? 0.126 : 0);
      }
}

// Lengths that fill no tile, head sizes of every kind, every way in which a mask broadcasts. The mask: of the input's type where
// none is named; "never": a bool mask that removes every key, which leaves uniform weights.
void AttentionCases(Cases& c) {
  struct Form { int b, q, h, d, k, e; const char* mask; };
  const Form forms[] = {
      {1, 1, 2, 64, 33, 64, "bool[1,1,1,33]"}, {2, 7, 2, 64, 7, 32, "f32[1,1,7,7]"}, {1, 33, 3, 16, 129, 16, "bool[33,129]"}, {2, 129, 2, 64, 129, 64, "[2,1,1,129]"},
      {1, 129, 2, 128, 33, 64, "f32[2,1,33]"}, {2, 40, 2, 64, 48, 64, "bool[2,1,40,1]"}, {1, 20, 2, 40, 300, 24, "f32[1,1,20,300]"}, {1, 33, 1, 256, 65, 256, "bool[1,1,1,65]"},
      {2, 64, 2, 64, 128, 64, "never[2,1,1,128]"}, {1, 70, 2, 32, 50, 48, "never[1,2,70,50]"}, {1, 17, 2, 80, 9, 96, "f32[1]"}, {1, 65, 2, 96, 400, 80, "[1,2,65,400]"},
  };
  for (const char* type : {"f32", "f16", "bf16"})
    for (const Form& f : forms) {
      const std::string t = type, mask = f.mask, dims = mask.substr(mask.find('['));
      const std::string mask_type = mask[0] == '[' ? t : mask[0] == 'n' ? "bool" : mask.substr(0, mask.size() - dims.size());
      const std::string name = mask[0] == 'n' ? "idx1" : mask_type == "bool" ? "cond" : "mask", value = mask[0] == 'n' ? ", mask_value=-3e38" : "";
      const std::string in = Cases::In("q", fmt::format("{}[{},{},{},{}]", t, f.b, f.q, f.h, f.d)) + Cases::In("k", fmt::format("{}[{},{},{},{}]", t, f.b, f.k, f.h, f.d)) +
                             Cases::In("v", fmt::format("{}[{},{},{},{}]", t, f.b, f.k, f.h, f.e));
      const std::string out = t == "f32" ? "" : t == "f16" ? ", out=19" : ", out=14";
      c.Add(in + Cases::In(name, mask_type + dims), fmt::format("%y = attention(%q, %k, %v, %{}) {{scale=0.125{}{}}}", name, value, out), ToleranceOf(type) * 4, true);
      c.Add(in, fmt::format("%y = attention(%q, %k, %v, _) {{scale=-0.05{}}}", t == "f32" ? "" : ", out=1"), ToleranceOf(type) * 4, true);
      if (t != "f16") continue;
      // What a product of 8 bits reads next; that weights are rounded to 16 bits shows in results near a tie.
      c.AddNodes(in, "  %a = attention(%q, %k, %v, _) {scale=0.125, out=25, out_scale=0.0067}\n  %y = convert(%a) {out=1}\n", 1e-6, 0.0067 / 512, 0.125);
      c.AddNodes(in, "  %a = attention(%q, %k, %v, _) {scale=0.125, out=4, out_scale=0.024, out_zero=125, out_lo=2}\n  %y = convert(%a) {out=1}\n", 1e-6, 0.024, 1e-9);
    }
}

void Products(Cases& c) {
  for (const char* type : {"f32", "f16", "bf16"}) {
    const std::string t = type, out = t == "f32" ? "" : t == "f16" ? ", out=19" : ", out=14";
    const double tolerance = ToleranceOf(type) * 4;
    for (const char* act : {"none", "relu", "gelu_tanh", "gelu_erf", "silu"})
      for (const char* form : {"[7,64]|[64,48]|48|[7,48]|", "[2,33,768]|[768,768]|768|[2,33,768]|", "[1,2048]|[2048,1000]|1000|[1,1000]|", "[5,17]|[17,13]|13|[5,13]|",
                               "[6,40]|[24,40]|24|[6,24]|, transpose_b=true"}) {
        const std::string f = form;
        std::vector<std::string> p;
        for (size_t at = 0, bar; p.size() < 5; at = bar + 1) {
          bar = f.find('|', at);
          p.push_back(f.substr(at, bar == std::string::npos ? bar : bar - at));
          if (bar == std::string::npos) break;
        }
        const std::string base = Cases::In("x", type + p[0]) + Cases::In("w", "f32" + p[1]);
        const std::string attrs = fmt::format("act=\"{}\"{}{}", act, p[4], out);
        c.Add(base + Cases::In("wb", fmt::format("f32[{}]", p[2])), fmt::format("%y = matmul(%x, %w, %wb, _) {{{}}}", attrs), tolerance, true);
        c.Add(base + Cases::In("wb", fmt::format("f32[{}]", p[2])) + Cases::In("r", type + p[3]), fmt::format("%y = matmul(%x, %w, %wb, %r) {{{}}}", attrs), tolerance, true);
        c.Add(base + Cases::In("r", type + p[3]), fmt::format("%y = matmul(%x, %w, _, %r) {{{}}}", attrs), tolerance, true);
        if (t == "f16" && std::string(act) == "none")
          c.Add(base + Cases::In("wb", fmt::format("f32[{}]", p[2])), fmt::format("%y = matmul(%x, %w, %wb, _) {{act=\"none\"{}, out=1}}", p[4]), 1e-4, true);
      }
  }
  for (const char* type : {"f32", "f16", "bf16", "f64"}) {
    for (const char* form : {"[3,4,5,16]|[3,4,16,7]|", "[4,5,16]|[16,7]|", "[5,16]|[4,16,7]|", "[3,1,5,16]|[4,16,7]|", "[4,16,5]|[4,16,8]|transpose_a=true",
                             "[4,8,16]|[4,24,16]|transpose_b=true", "[16,9]|[16,7]|transpose_a=true"}) {
      const std::string f = form;
      const size_t a = f.find('|'), b = f.find('|', a + 1);
      c.Add(Cases::In("x", type + f.substr(0, a)) + Cases::In("z", type + f.substr(a + 1, b - a - 1)), fmt::format("%y = matmul(%x, %z, _, _) {{{}}}", f.substr(b + 1)), ToleranceOf(type) * 4, true);
    }
  }
  c.Add(Cases::In("x", "i32[5,16]") + Cases::In("z", "i32[16,7]"), "%y = matmul(%x, %z, _, _)", 0);
  for (const char* type : {"f32", "f16", "bf16"}) {
    for (const char* form : {"2|128|12|64|128", "1|384|4|64|384", "2|17|3|32|45", "1|5|2|128|77", "2|9|2|24|9", "1|64|2|80|64", "3|100|2|16|257", "12|20|12|16|70", "1|70|1|128|200"}) {
      int b, q, h, d, k;
      sscanf(form, "%d|%d|%d|%d|%d", &b, &q, &h, &d, &k);
      const std::string base = Cases::In("q", fmt::format("{}[{},{},{},{}]", type, b, q, h, d)) + Cases::In("k", fmt::format("{}[{},{},{},{}]", type, b, k, h, d)) +
                               Cases::In("v", fmt::format("{}[{},{},{},{}]", type, b, k, h, d));
      const std::string t = type;
      const std::string out = t == "f32" ? "" : t == "f16" ? ", out=19" : ", out=14";
      c.Add(base, fmt::format("%y = attention(%q, %k, %v, _) {{scale=0.125{}}}", out), ToleranceOf(type) * 4, true);
      c.Add(base + Cases::In("cond", fmt::format("bool[{},1,1,{}]", b, k)), fmt::format("%y = attention(%q, %k, %v, %cond) {{scale=0.125{}}}", out), ToleranceOf(type) * 4, true);
      c.Add(base + Cases::In("mask", fmt::format("f32[{},1,{},{}]", b, q, k)), fmt::format("%y = attention(%q, %k, %v, %mask) {{scale=0.125{}}}", out), ToleranceOf(type) * 4, true);
      c.Add(base + Cases::In("mask", fmt::format("f32[{},{},{},{}]", b, h, q, k)), fmt::format("%y = attention(%q, %k, %v, %mask) {{scale=0.125{}}}", out), ToleranceOf(type) * 4, true);
    }
  }
}

// Products and convolutions of codes, and what stands around them in quantized networks.
void Quantized(Cases& c) {
  // Zeros of 0 and others; codes, f16 and f32 out; residuals as codes and reals.
  struct Conv { const char *x, *w; int k; const char* y; const char* attrs; };
  const Conv convs[] = {
      {"[2,14,14,64]", "[1,1,64,128]", 128, "[2,14,14,128]", "act=\"relu\""},
      {"[1,7,7,256]", "[1,1,256,64]", 64, "[1,7,7,64]", "act=\"none\""},
      {"[2,14,14,64]", "[3,3,64,64]", 64, "[2,14,14,64]", "pads=[1,1,1,1], act=\"relu\""},
      {"[1,7,7,128]", "[3,3,128,128]", 128, "[1,7,7,128]", "pads=[1,1,1,1], act=\"relu\""},
      {"[3,15,13,48]", "[3,3,48,80]", 80, "[3,8,7,80]", "strides=[2,2], pads=[1,1,1,1], act=\"relu6\""},
      {"[2,28,28,64]", "[1,1,64,96]", 96, "[2,14,14,96]", "strides=[2,2]"},
      {"[2,31,31,3]", "[7,7,3,64]", 64, "[2,16,16,64]", "strides=[2,2], pads=[3,3,3,3], act=\"relu\""},
      {"[1,32,32,3]", "[3,3,3,32]", 32, "[1,16,16,32]", "strides=[2,2], pads=[0,1,0,1], act=\"relu6\""},
      {"[1,9,9,3]", "[3,3,3,7]", 7, "[1,7,7,7]", "act=\"silu\""},
      {"[1,20,20,16]", "[3,3,16,16]", 16, "[1,20,20,16]", "pads=[2,2,2,2], dilations=[2,2], act=\"elu\", alpha=1.0"},
      {"[1,9,9,5]", "[3,3,5,12]", 12, "[1,7,7,12]", "act=\"sigmoid\""},
      {"[2,9,9,8]", "[5,5,8,24]", 24, "[2,9,9,24]", "pads=[2,2,2,2]"},
      {"[2,9,9,20]", "[3,3,20,33]", 33, "[2,9,9,33]", "pads=[1,1,1,1], act=\"clip\", alpha=-0.5, beta=1.5"},
      {"[2,14,14,96]", "[3,3,1,96]", 96, "[2,14,14,96]", "pads=[1,1,1,1], groups=96, act=\"relu6\""},
      {"[2,15,15,24]", "[5,5,1,24]", 24, "[2,8,8,24]", "strides=[2,2], pads=[2,2,2,2], groups=24, act=\"silu\""},
      {"[2,10,10,16]", "[3,3,4,32]", 32, "[2,8,8,32]", "groups=4"},
      {"[2,7,7,512]", "[3,3,512,512]", 512, "[2,7,7,512]", "pads=[1,1,1,1], act=\"relu\""},
      {"[1,4,4,2048]", "[1,1,2048,320]", 320, "[1,4,4,320]", "act=\"relu\""},
  };
  const char* inputs[] = {"out=4, out_scale=0.024, out_zero=128", "out=4, out_scale=0.012, out_zero=0"};
  auto weights = [](const char* w, int k) {
    return Cases::In("w", "f32" + std::string(w)) + Cases::In("wb", fmt::format("f32[{}]", k)) + Cases::In("wsteps", fmt::format("f32[{}]", k));
  };
  int turn = 0;
  for (const Conv& v : convs)
    for (const char* form : {"|, out=4, out_scale=0.03, out_zero=30", "code|, out=4, out_scale=0.02, out_zero=1, out_lo=1, out_hi=250", "f16|, out=19", "|, out=1"}) {
      const std::string f = form, r = f.substr(0, f.find('|')), out = f.substr(r.size() + 1);
      std::string in = Cases::In("x", "f32" + std::string(v.x)) + weights(v.w, v.k);
      std::string nodes = fmt::format("  %q = convert(%x) {{{}}}\n", inputs[turn++ / 2 % 2]);
      if (r == "f16") in += Cases::In("r", "f16" + std::string(v.y));
      if (r == "code") {
        in += Cases::In("r", "f32" + std::string(v.y));
        nodes += "  %rq = convert(%r) {out=4, out_scale=0.021, out_zero=117}\n";
      }
      nodes += fmt::format("  %c = conv2d(%q, %w, %wb, {}, %wsteps) {{{}{}}}\n  %y = convert(%c) {{out=1}}\n", r == "f16" ? "%r" : r == "code" ? "%rq" : "_", v.attrs, out);
      const bool codes = out.find("out=4") != std::string::npos;
      // Without codes in the result, one tied value of the image shows in the results that read it.
      c.AddNodes(in, nodes, codes ? 1e-6 : out == ", out=1" ? 3e-5 : 1e-3, codes ? (r == "code" ? 0.02 : 0.03) : 0.01);
    }
  for (const char* form : {"[7,64]|[64,48]|48|[7,48]|", "[2,33,768]|[768,3072]|3072|[2,33,3072]|", "[1,2048]|[2048,1000]|1000|[1,1000]|", "[5,17]|[17,13]|13|[5,13]|",
                           "[6,40]|[24,40]|24|[6,24]|, transpose_b=true", "[3,11,8]|[8,32]|32|[3,11,32]|"})
    for (const char* act : {"none", "relu", "gelu_erf"})
      for (const char* out : {", out=4, out_scale=0.03, out_zero=100", ", out=1", ", out=19"}) {
        const std::string f = form, o = out;
        std::vector<std::string> p;
        for (size_t at = 0, bar; p.size() < 5; at = bar + 1) {
          bar = f.find('|', at);
          p.push_back(f.substr(at, bar == std::string::npos ? bar : bar - at));
          if (bar == std::string::npos) break;
        }
        const bool half = o == ", out=19", codes = o.find("out=4") != std::string::npos;
        const std::string in = Cases::In("x", "f32" + p[0]) + weights(p[1].c_str(), std::stoi(p[2])) + (half ? Cases::In("r", "f16" + p[3]) : "");
        c.AddNodes(in, fmt::format("  %q = convert(%x) {{{}}}\n  %c = matmul(%q, %w, %wb, {}, %wsteps) {{act=\"{}\"{}{}}}\n  %y = convert(%c) {{out=1}}\n", inputs[turn++ % 2],
                                   half ? "%r" : "_", act, p[4], out),
                   codes ? 1e-6 : half ? 1e-3 : 1e-5, codes ? 0.03 : 0.01);
      }
  // Everything else reads codes and writes them.
  const std::string x = Cases::In("x", "f32[2,9,9,24]"), q = "  %q = convert(%x) {out=4, out_scale=0.024, out_zero=128}\n", y = "  %y = convert(%c) {out=1}\n";
  for (const char* node : {"unary(%q) {kind=\"silu\", out=4, out_scale=0.02, out_zero=20}", "unary(%q) {kind=\"hard_swish\", out=19}",
                           "binary(%q, %q) {kind=\"add\", act=\"relu\", out=4, out_scale=0.024, out_zero=0}", "binary(%q, %q) {kind=\"mul\", out=19}",
                           "pool(%q) {kind=\"max\", ksize=[3,3], strides=[2,2], pads=[0,1,1,1]}",
                           "pool(%q) {kind=\"avg\", ksize=[3,3], strides=[2,2], pads=[0,1,1,1], out=4, out_scale=0.02, out_zero=120}",
                           "reduce(%q) {kind=\"mean\", axes=[1,2], out=4, out_scale=0.004, out_zero=128}", "reduce(%q) {kind=\"max\", axes=[3], keepdims=true, out=1}",
                           "pool(%q) {kind=\"max\", ksize=[2,3], strides=[1,2]}",
                           "resize(%q) {kind=\"bilinear\", size=[18,18], half_pixel=true, out=4, out_scale=0.0233, out_zero=128}",
                           "pad(%q) {lo=[0,1,1,0], hi=[0,2,0,0], value=0.0}", "concat(%q, %q) {axis=3}", "transpose(%q) {perm=[0,3,1,2]}",
                           "slice(%q) {begin=[0,1,2,3], size=[2,4,5,6]}", "softmax(%q) {out=19}"})
    c.AddNodes(x, q + "  %c = " + node + "\n" + y, 2e-3, 0.024);
  const std::string wide = Cases::In("x", "f32[128,7,7,512]");
  for (const char* node : {"reduce(%q) {kind=\"mean\", axes=[1,2], out=19}", "reduce(%q) {kind=\"mean\", axes=[1,2], out=4, out_scale=0.0041, out_zero=120}",
                           "pool(%q) {kind=\"max\", ksize=[3,3], strides=[2,2], pads=[1,1,1,1]}"})
    c.AddNodes(wide, q + "  %c = " + node + "\n" + y, 2e-3, 0.024);
}

// Products and convolutions of E4M3, and what reads and writes it around them. Tensor cores sum some 14 bits of a step.
void Float8(Cases& c) {
  constexpr double kUlp = 0.125, kSums = 1e-3;
  constexpr char kConverted[] = "  %q = convert(%x) {out=25, out_scale=0.0067}\n";
  auto weights = [](const std::string& w, const std::string& k) {
    return Cases::In("w", "f32" + w) + Cases::In("wb", "f32[" + k + "]") + Cases::In("wsteps", "f32[" + k + "]");
  };
  struct Conv { const char *x, *w, *k, *y, *attrs; };
  const Conv convs[] = {
      {"[2,9,9,64]", "[1,1,64,128]", "128", "[2,9,9,128]", "act=\"relu\""},
      {"[1,7,7,256]", "[1,1,256,64]", "64", "[1,7,7,64]", "act=\"none\""},
      {"[1,9,9,64]", "[3,3,64,64]", "64", "[1,9,9,64]", "pads=[1,1,1,1], act=\"relu\""},
      {"[2,9,7,48]", "[3,3,48,80]", "80", "[2,5,4,80]", "strides=[2,2], pads=[1,1,1,1], act=\"relu6\""},
      {"[1,14,14,64]", "[1,1,64,96]", "96", "[1,7,7,96]", "strides=[2,2]"},
      {"[1,31,31,3]", "[7,7,3,64]", "64", "[1,16,16,64]", "strides=[2,2], pads=[3,3,3,3], act=\"relu\""},
      {"[1,9,9,3]", "[3,3,3,7]", "7", "[1,7,7,7]", "act=\"silu\""},
      {"[1,10,10,16]", "[3,3,16,16]", "16", "[1,10,10,16]", "pads=[2,2,2,2], dilations=[2,2], act=\"elu\", alpha=1.0"},
      {"[1,9,9,5]", "[3,3,5,12]", "12", "[1,7,7,12]", "act=\"sigmoid\""},
      {"[2,5,5,8]", "[5,5,8,24]", "24", "[2,5,5,24]", "pads=[2,2,2,2]"},
      {"[2,5,5,20]", "[3,3,20,33]", "33", "[2,5,5,33]", "pads=[1,1,1,1], act=\"clip\", alpha=-0.5, beta=1.5"},
      {"[2,9,9,24]", "[3,3,1,24]", "24", "[2,9,9,24]", "pads=[1,1,1,1], groups=24, act=\"relu6\""},
      {"[2,6,6,16]", "[3,3,4,32]", "32", "[2,4,4,32]", "groups=4"},
      {"[1,4,4,512]", "[3,3,512,64]", "64", "[1,4,4,64]", "pads=[1,1,1,1], act=\"relu\""},
  };
  for (const Conv& v : convs)
    for (const char* form : {"|, out=25, out_scale=0.05", "code|, out=25, out_scale=0.04", "f16|, out=25, out_scale=0.05", "f16|, out=19", "code|, out=1"}) {
      const std::string f = form, r = f.substr(0, f.find('|')), out = f.substr(r.size() + 1);
      std::string in = Cases::In("x", "f32" + std::string(v.x)) + weights(v.w, v.k), nodes = kConverted;
      if (r == "f16") in += Cases::In("r", "f16" + std::string(v.y));
      if (r == "code") {
        in += Cases::In("r", "f32" + std::string(v.y));
        nodes += "  %rq = convert(%r) {out=25, out_scale=0.007}\n";
      }
      nodes += fmt::format("  %c = conv2d(%q, %w, %wb, {}, %wsteps) {{{}{}}}\n  %y = convert(%c) {{out=1}}\n", r == "f16" ? "%r" : r == "code" ? "%rq" : "_", v.attrs, out);
      const bool codes = out.find("out=25") != std::string::npos;
      c.AddNodes(in, nodes, codes ? 1e-6 : kSums, codes ? 0.05 / 512 : 0, codes ? kUlp : 0);
    }
  struct Product { const char *x, *w, *n, *y, *attrs; };
  const Product products[] = {{"[7,64]", "[64,48]", "48", "[7,48]", ""}, {"[2,9,256]", "[256,320]", "320", "[2,9,320]", ""}, {"[1,1024]", "[1024,100]", "100", "[1,100]", ""},
                              {"[5,17]", "[17,13]", "13", "[5,13]", ""}, {"[6,40]", "[24,40]", "24", "[6,24]", ", transpose_b=true"}, {"[3,11,8]", "[8,32]", "32", "[3,11,32]", ""}};
  for (const Product& v : products)
    for (const char* act : {"none", "relu", "gelu_erf"})
      for (const char* out : {", out=25, out_scale=0.05", ", out=1", ", out=19"}) {
        const std::string o = out;
        const bool half = o == ", out=19", codes = o.find("out=25") != std::string::npos;
        const std::string in = Cases::In("x", "f32" + std::string(v.x)) + weights(v.w, v.n) + (half ? Cases::In("r", "f16" + std::string(v.y)) : "");
        c.AddNodes(in, fmt::format("{}  %c = matmul(%q, %w, %wb, {}, %wsteps) {{act=\"{}\"{}{}}}\n  %y = convert(%c) {{out=1}}\n", kConverted, half ? "%r" : "_", act, v.attrs, out),
                   codes ? 1e-6 : kSums, codes ? 0.05 / 512 : 0, codes ? kUlp : 0);
      }
  const std::string x = Cases::In("x", "f32[2,9,9,24]"), y = "  %y = convert(%c) {out=1}\n";
  for (const char* node : {"unary(%q) {kind=\"silu\", out=25, out_scale=0.007}", "unary(%q) {kind=\"hard_swish\", out=19}",
                           "binary(%q, %q) {kind=\"add\", act=\"relu\", out=25, out_scale=0.0134}", "binary(%q, %q) {kind=\"mul\", out=19}",
                           "pool(%q) {kind=\"max\", ksize=[3,3], strides=[2,2], pads=[0,1,1,1]}",
                           "pool(%q) {kind=\"avg\", ksize=[3,3], strides=[2,2], pads=[0,1,1,1], out=25, out_scale=0.005}",
                           "reduce(%q) {kind=\"mean\", axes=[1,2], out=25, out_scale=0.001}", "reduce(%q) {kind=\"max\", axes=[3], keepdims=true, out=1}",
                           "resize(%q) {kind=\"bilinear\", size=[18,18], half_pixel=true, out=25, out_scale=0.0067}", "resize(%q) {kind=\"nearest\", size=[18,18]}",
                           "pad(%q) {lo=[0,1,1,0], hi=[0,2,0,0], value=-1.3}", "concat(%q, %q) {axis=3}", "transpose(%q) {perm=[0,3,1,2]}",
                           "slice(%q) {begin=[0,1,2,3], size=[2,4,5,6]}", "depth_to_space(%q) {block=2}", "softmax(%q) {out=19}", "convert(%q) {out=14}"})
    c.AddNodes(x, std::string(kConverted) + "  %c = " + node + "\n" + y, 2e-3, 0.0067 / 512, kUlp);
  // What quant::Assign makes of a network: residuals, pooling, depthwise filters between FP8 layers, a classifier.
  auto weight = [](const char* name, const char* shape) { return fmt::format("  const %w{}: f32{} @{}\n", name, shape, name); };
  c.AddNetwork(Cases::In("x", "f32[2,12,12,3]") + weight("0", "[3,3,3,32]") + weight("1", "[3,3,32,32]") + weight("2", "[1,1,32,64]") + weight("3", "[3,3,1,64]") +
                   weight("4", "[1,1,64,32]") + weight("5", "[32,10]"),
               "  %a = conv2d(%x, %w0) {pads=[1,1,1,1], act=\"relu\"}\n  %p = pool(%a) {kind=\"max\", ksize=[2,2], strides=[2,2]}\n"
               "  %b = conv2d(%p, %w1) {pads=[1,1,1,1], act=\"relu\"}\n  %c = conv2d(%b, %w1, _, %p) {pads=[1,1,1,1], act=\"relu\"}\n"
               "  %d = conv2d(%c, %w2) {act=\"silu\"}\n  %e = conv2d(%d, %w3) {pads=[1,1,1,1], groups=64, act=\"relu6\"}\n  %f = conv2d(%e, %w4, _, %c)\n"
               "  %m = reduce(%f) {kind=\"mean\", axes=[1,2]}\n  %l = matmul(%m, %w5)\n  %s = softmax(%l)\n",
               "%s", 2e-2, true);
  c.all.back().range = 12;
  // A layer of a transformer: projections of one input, attention and normalisations between FP8 products.
  std::string layer = Cases::In("x", "f32[2,33,64]");
  for (const char* name : {"0", "1", "2", "3"}) layer += weight(name, "[64,64]");
  c.AddNetwork(layer + weight("4", "[64,256]") + weight("5", "[256,64]"),
               "  %e = layer_norm(%x, _, _, _) {epsilon=0.001}\n  %q = matmul(%e, %w0)\n  %k = matmul(%e, %w1)\n  %v = matmul(%e, %w2)\n  %qh = reshape(%q) {shape=[2,33,2,32]}\n"
               "  %kh = reshape(%k) {shape=[2,33,2,32]}\n  %vh = reshape(%v) {shape=[2,33,2,32]}\n  %a = attention(%qh, %kh, %vh) {scale=0.17}\n  %m = reshape(%a) {shape=[2,33,64]}\n"
               "  %o = matmul(%m, %w3, _, %e)\n  %n = layer_norm(%o, _, _, _) {epsilon=0.001}\n  %f = matmul(%n, %w4) {act=\"gelu_erf\"}\n  %p = matmul(%f, %w5, _, %n)\n"
               "  %y = layer_norm(%p, _, _, _) {epsilon=0.001}\n",
               "%y", 4e-2, true);
  c.all.back().range = 12;
  // Every rounding: subnormals, ties, what saturates; a layer of 16 bits that writes E4M3.
  c.AddNodes(Cases::In("x", "f32[4096]"), "  %q = convert(%x) {out=25, out_scale=0.0005}\n  %y = convert(%q) {out=1}\n", 0, 0);
  c.AddNodes(Cases::In("x", "f32[4096]"), "  %q = convert(%x) {out=25, out_scale=30.0}\n  %y = convert(%q) {out=1}\n", 0, 0);
  c.AddNodes(Cases::In("x", "f16[4096]"), "  %q = convert(%x) {out=25, out_scale=1.0}\n  %y = convert(%q) {out=19}\n", 0, 0);
  c.AddNodes(Cases::In("x", "f16[2,9,9,24]") + Cases::In("w", "f32[3,3,1,24]"), "  %c = conv2d(%x, %w, _, _) {pads=[1,1,1,1], groups=24, act=\"relu6\", out=25, out_scale=0.01}\n" + y, 1e-6, 0.01 / 512, kUlp);
}

}  // namespace

std::vector<Case> OpCases() {
  Cases c;
  Elementwise(c);
  Rows(c);
  Movement(c);
  Images(c);
  Products(c);
  AttentionCases(c);
  PieceCases(c);
  NormProductCases(c);
  ConvPairCases(c);
  JointProductCases(c);
  Quantized(c);
  Float8(c);
  FirstLayerCases(c);
  PointwiseChainCases(c);
  BottleneckCases(c);
  return c.all;
}

}  // namespace tfengine::gpu
