// SPDX-License-Identifier: Apache-2.0
// oneDNN's fastest implementation of each convolution and matrix product that is listed on the standard input, one layer a line:
//   conv N H W C K OH OW KH KW STRIDE PAD_TOP PAD_LEFT GROUPS RELU | matmul M K N
// Prints "LINE TYPE MILLISECONDS IMPLEMENTATION" for f32, bf16 and int8. Layouts are oneDNN's own choice, and bringing tensors into them is
// not counted. Weights are evicted before every run, as in a network whose weights exceed the caches. See onednn.py.
#include <emmintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>

#include <dnnl.hpp>

using dnnl::memory;
using Dims = memory::dims;
using DT = memory::data_type;
using Tag = memory::format_tag;

namespace {

dnnl::engine& Cpu() {
  static dnnl::engine engine(dnnl::engine::kind::cpu, 0);
  return engine;
}

void Evict(const memory& m) {
  const char* p = static_cast<const char*>(m.get_data_handle());
  for (size_t i = 0; i < m.get_desc().get_size(); i += 64) _mm_clflush(p + i);
  _mm_mfence();
}

double Time(const dnnl::primitive& primitive, const std::unordered_map<int, memory>& args, const memory& weights) {
  dnnl::stream stream(Cpu());
  double best = 1e30, spent = 0;
  for (int round = 0; round < 30 && (round < 5 || spent < 100); ++round) {
    Evict(weights);
    const auto start = std::chrono::steady_clock::now();
    primitive.execute(stream, args);
    stream.wait();
    const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
    spent += ms;
    if (round > 0) best = std::min(best, ms);
  }
  return best;
}

// All implementations of a primitive descriptor.
template <typename Primitive, typename Descriptor>
void Report(int line, const char* type, Descriptor descriptor) {
  double best = 1e30;
  std::string name = "none";
  do {
    auto make = [](const memory::desc& d) {
      memory m(d, Cpu());
      std::fill_n(static_cast<char*>(m.get_data_handle()), d.get_size(), 0);
      return m;
    };
    const memory weights = make(descriptor.weights_desc());
    std::unordered_map<int, memory> args = {{DNNL_ARG_SRC, make(descriptor.src_desc())}, {DNNL_ARG_WEIGHTS, weights}, {DNNL_ARG_DST, make(descriptor.dst_desc())}};
    const auto bias = descriptor.query_md(dnnl::query::weights_md, 1);
    if (bias.get_size() > 0) args.emplace(DNNL_ARG_BIAS, make(bias));
    if (type == std::string("int8"))
      for (int which : {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST}) {
        memory scale({{1}, DT::f32, Tag::x}, Cpu());
        *static_cast<float*>(scale.get_data_handle()) = 1;
        args.emplace(DNNL_ARG_ATTR_SCALES | which, scale);
      }
    const std::string implementation = descriptor.impl_info_str();
    if (implementation.find("ref") != std::string::npos) continue;
    const double ms = Time(Primitive(descriptor), args, weights);
    if (ms < best) best = ms, name = implementation;
  } while (descriptor.next_impl());
  std::printf("%d %s %.5f %s\n", line, type, best, name.c_str());
  std::fflush(stdout);
}

}  // namespace

int main() {
  std::string text;
  for (int line = 0; std::getline(std::cin, text); ++line) {
    std::istringstream in(text);
    std::string kind;
    in >> kind;
    for (const auto& [type, src, wei, dst] : {std::tuple{"f32", DT::f32, DT::f32, DT::f32}, {"bf16", DT::bf16, DT::bf16, DT::bf16}, {"int8", DT::u8, DT::s8, DT::u8}}) {
      std::istringstream values(in.str());
      values >> kind;
      dnnl::primitive_attr attr;
      if (src == DT::u8)
        for (int which : {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_DST}) attr.set_scales_mask(which, 0);
      try {
        if (kind == "conv") {
          int64_t n, h, w, c, k, oh, ow, kh, kw, stride, top, left, groups, relu;
          values >> n >> h >> w >> c >> k >> oh >> ow >> kh >> kw >> stride >> top >> left >> groups >> relu;
          const int64_t bottom = (oh - 1) * stride + kh - h - top, right = (ow - 1) * stride + kw - w - left;
          if (relu) {
            dnnl::post_ops post;
            post.append_eltwise(dnnl::algorithm::eltwise_relu, 0, 0);
            attr.set_post_ops(post);
          }
          const Dims filter = groups > 1 ? Dims{groups, k / groups, c / groups, kh, kw} : Dims{k, c, kh, kw};
          Report<dnnl::convolution_forward>(
              line, type,
              dnnl::convolution_forward::primitive_desc(Cpu(), dnnl::prop_kind::forward_inference, dnnl::algorithm::convolution_auto,
                                                        {{n, c, h, w}, src, Tag::any}, {filter, wei, Tag::any}, {{k}, DT::f32, Tag::x},
                                                        {{n, k, oh, ow}, dst, Tag::any}, {stride, stride}, {0, 0}, {top, left},
                                                        {bottom, right}, attr));
        } else {
          int64_t m, k, n;
          values >> m >> k >> n;
          Report<dnnl::matmul>(line, type, dnnl::matmul::primitive_desc(Cpu(), {{m, k}, src, Tag::ab}, {{k, n}, wei, Tag::any},
                                                                        {{1, n}, DT::f32, Tag::ab}, {{m, n}, dst, Tag::ab}, attr));
        }
      } catch (const dnnl::error& e) {
        std::printf("%d %s nan %s\n", line, type, e.what());
      }
    }
  }
}
