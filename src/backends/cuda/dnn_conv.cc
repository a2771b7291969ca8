// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/dnn_conv.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/status_macros.h"

namespace tfengine::cuda {
namespace {

enum Uid : int64_t { kX = 1, kW, kY, kResidual, kBias, kSum, kWithResidual, kWithBias };

// A backend descriptor. Setters remember the first failure.
class Descriptor {
 public:
  Descriptor() = default;
  Descriptor(const CudnnApi& api, int kind) : api_(&api) { status_ = api.BackendCreateDescriptor(kind, &handle_); }
  Descriptor(Descriptor&& o) noexcept { *this = std::move(o); }
  Descriptor& operator=(Descriptor&& o) noexcept {
    std::swap(api_, o.api_);
    std::swap(handle_, o.handle_);
    std::swap(status_, o.status_);
    return *this;
  }
  ~Descriptor() {
    if (handle_ != nullptr) api_->BackendDestroyDescriptor(handle_);
  }
  void* get() const { return handle_; }

  Descriptor& Set(int attribute, int type, int64_t count, const void* values) {
    if (status_ == 0) status_ = api_->BackendSetAttribute(handle_, attribute, type, count, values);
    return *this;
  }
  Descriptor& Set(int attribute, int type, int value) { return Set(attribute, type, 1, &value); }
  Descriptor& Set(int attribute, int64_t value) { return Set(attribute, CUDNN_TYPE_INT64, 1, &value); }
  Descriptor& Set(int attribute, const std::vector<int64_t>& values) {
    return Set(attribute, CUDNN_TYPE_INT64, static_cast<int64_t>(values.size()), values.data());
  }
  Descriptor& Set(int attribute, double value) { return Set(attribute, CUDNN_TYPE_DOUBLE, 1, &value); }
  Descriptor& Set(int attribute, float value) { return Set(attribute, CUDNN_TYPE_FLOAT, 1, &value); }
  Descriptor& Set(int attribute, bool value) { return Set(attribute, CUDNN_TYPE_BOOLEAN, 1, &value); }
  Descriptor& Set(int attribute, const Descriptor& d) { return Set(attribute, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &d.handle_); }
  Descriptor& Handle(int attribute, void* handle) { return Set(attribute, CUDNN_TYPE_HANDLE, 1, &handle); }
  Descriptor& Finalize() {
    if (status_ == 0) status_ = api_->BackendFinalize(handle_);
    return *this;
  }
  int status() const { return status_; }

 private:
  const CudnnApi* api_ = nullptr;
  void* handle_ = nullptr;
  int status_ = 0;
};

int DnnType(DType type) {
  return type == DType::kFloat16 ? CUDNN_DATA_HALF : type == DType::kBfloat16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_FLOAT;
}

// Everything that a plan refers to lives here, in the order of its making.
class Graph {
 public:
  Graph(const Device& device, const DnnConv& c) : api_(device.dnn()), conv_(c) {}

  // A cuDNN status; 0: the graph is ready.
  int Build(void* handle) {
    const DnnConv& c = conv_;
    const int type = DnnType(c.type);
    Tensor(kX, type, c.batch, c.channels, c.in_h, c.in_w, false);
    Tensor(kW, type, c.filters, c.channels, c.k_h, c.k_w, false);
    Uid value = c.residual || c.bias || c.relu ? kSum : kY;
    Tensor(value, value == kY ? type : CUDNN_DATA_FLOAT, c.batch, c.filters, c.out_h, c.out_w, value != kY);
    Descriptor& conv = Make(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
    conv.Set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT)
        .Set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION)
        .Set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2})
        .Set(CUDNN_ATTR_CONVOLUTION_DILATIONS, std::vector<int64_t>{c.dilation_h, c.dilation_w})
        .Set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, std::vector<int64_t>{c.stride_h, c.stride_w})
        .Set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, std::vector<int64_t>{c.pad_h, c.pad_w})
        .Set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, std::vector<int64_t>{c.pad_h, c.pad_w})
        .Finalize();
    Descriptor& op = Make(CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR);
    op.Set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC, conv)
        .Set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, *tensors_[kX])
        .Set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W, *tensors_[kW])
        .Set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y, *tensors_[value])
        .Set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA, 1.0f)
        .Set(CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA, 0.0f)
        .Finalize();
    operations_.push_back(op.get());
    // This order of the additions is the one that precompiled engines know.
    if (c.residual) {
      Tensor(kResidual, type, c.batch, c.filters, c.out_h, c.out_w, false);
      value = Pointwise(CUDNN_POINTWISE_ADD, value, kResidual, c.bias || c.relu ? kWithResidual : kY);
    }
    if (c.bias) {
      Tensor(kBias, type, 1, c.filters, 1, 1, false);
      value = Pointwise(CUDNN_POINTWISE_ADD, value, kBias, c.relu ? kWithBias : kY);
    }
    if (c.relu) Pointwise(CUDNN_POINTWISE_RELU_FWD, value, kY, kY);
    Descriptor& graph = Make(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
    graph.Handle(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, handle)
        .Set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, static_cast<int64_t>(operations_.size()), operations_.data())
        .Finalize();
    graph_ = &graph;
    for (const auto& d : made_)
      if (d->status() != 0) return d->status();
    return 0;
  }

  struct Candidate {
    std::string name;
    Descriptor config;
  };
  std::vector<Candidate> Candidates() {
    std::vector<Candidate> found;
    for (const int mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
      Descriptor heuristic(api_, CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
      heuristic.Set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, *graph_).Set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode).Finalize();
      if (heuristic.status() != 0) continue;
      constexpr int64_t kMost = 64;
      std::vector<Descriptor> configs;
      std::vector<void*> handles;
      for (int64_t i = 0; i < kMost; ++i) {
        configs.emplace_back(api_, CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
        handles.push_back(configs.back().get());
      }
      int64_t count = 0;
      if (api_.BackendGetAttribute(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS, CUDNN_TYPE_BACKEND_DESCRIPTOR, kMost, &count, handles.data()) != 0) continue;
      for (int64_t i = 0; i < std::min(count, kMost); ++i) {
        std::string name;
        if (!Describe(handles[static_cast<size_t>(i)], &name)) continue;
        if (std::any_of(found.begin(), found.end(), [&](const Candidate& c) { return c.name == name; })) continue;
        found.push_back({name, std::move(configs[static_cast<size_t>(i)])});
      }
      if (!found.empty()) break;  // the fallback list is for what mode A does not know
    }
    return found;
  }

  // The plan of a configuration; its workspace is small enough. nullopt otherwise.
  std::optional<Descriptor> Plan(const Descriptor& config, void* handle, size_t* workspace) {
    Descriptor plan(api_, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
    plan.Handle(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, handle).Set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config).Finalize();
    if (plan.status() != 0) return std::nullopt;
    int64_t bytes = 0, count = 0;
    if (api_.BackendGetAttribute(plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1, &count, &bytes) != 0) return std::nullopt;
    if (bytes < 0 || bytes > conv_.workspace_bytes) return std::nullopt;
    *workspace = static_cast<size_t>(bytes);
    return plan;
  }

 private:
  Descriptor& Make(int kind) { return *made_.emplace_back(std::make_unique<Descriptor>(api_, kind)); }

  // Dimensions are named N, C, H, W whatever lies in memory; strides say NHWC.
  void Tensor(Uid uid, int type, int64_t n, int64_t c, int64_t h, int64_t w, bool is_virtual) {
    Descriptor& d = Make(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
    d.Set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, type)
        .Set(CUDNN_ATTR_TENSOR_DIMENSIONS, std::vector<int64_t>{n, c, h, w})
        .Set(CUDNN_ATTR_TENSOR_STRIDES, std::vector<int64_t>{h * w * c, 1, w * c, c})
        .Set(CUDNN_ATTR_TENSOR_UNIQUE_ID, int64_t{uid})
        .Set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, int64_t{16})
        .Set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, is_virtual)
        .Finalize();
    if (tensors_.size() <= static_cast<size_t>(uid)) tensors_.resize(static_cast<size_t>(uid) + 1, nullptr);
    tensors_[static_cast<size_t>(uid)] = &d;
  }

  // `to` becomes a virtual f32 image unless it is the result.
  Uid Pointwise(int mode, Uid from, Uid other, Uid to) {
    const DnnConv& c = conv_;
    Tensor(to, to == kY ? DnnType(c.type) : CUDNN_DATA_FLOAT, c.batch, c.filters, c.out_h, c.out_w, to != kY);
    Descriptor& kind = Make(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
    kind.Set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, mode).Set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
    if (mode == CUDNN_POINTWISE_RELU_FWD && c.relu_upper > 0)
      kind.Set(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP, 0.0).Set(CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, static_cast<double>(c.relu_upper));
    kind.Finalize();
    Descriptor& op = Make(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
    op.Set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kind).Set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, *tensors_[from]);
    if (mode == CUDNN_POINTWISE_ADD) op.Set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *tensors_[other]);
    op.Set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, *tensors_[to]).Finalize();
    operations_.push_back(op.get());
    return to;
  }

  // The name "e<engine>_k<knob>=<value>..."; false if the engine is not exact enough.
  bool Describe(void* config, std::string* name) const {
    Descriptor engine(api_, CUDNN_BACKEND_ENGINE_DESCRIPTOR);
    void* handle = engine.get();
    int64_t count = 0, index = -1;
    if (api_.BackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &handle) != 0) return false;
    if (api_.BackendGetAttribute(handle, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &count, &index) != 0) return false;
    int notes[CUDNN_NUMERICAL_NOTE_TYPE_COUNT] = {};
    count = 0;
    if (api_.BackendGetAttribute(handle, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE, CUDNN_NUMERICAL_NOTE_TYPE_COUNT, &count, notes) != 0) return false;
    for (int64_t i = 0; i < std::min<int64_t>(count, CUDNN_NUMERICAL_NOTE_TYPE_COUNT); ++i) {
      // Partial sums in 16 bits: only where there are few terms, as in first layers.
      if (notes[i] == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION && conv_.channels * conv_.k_h * conv_.k_w > 256) return false;
      const bool rounds = notes[i] == CUDNN_NUMERICAL_NOTE_TENSOR_CORE || notes[i] == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
                          notes[i] == CUDNN_NUMERICAL_NOTE_FFT;
      if (conv_.type == DType::kFloat32 && !conv_.tf32 && rounds) return false;
    }
    *name = fmt::format("e{}", index);
    constexpr int64_t kMostKnobs = 32;
    std::vector<Descriptor> choices;
    std::vector<void*> handles;
    for (int64_t i = 0; i < kMostKnobs; ++i) {
      choices.emplace_back(api_, CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR);
      handles.push_back(choices.back().get());
    }
    count = 0;
    if (api_.BackendGetAttribute(config, CUDNN_ATTR_ENGINECFG_KNOB_CHOICES, CUDNN_TYPE_BACKEND_DESCRIPTOR, kMostKnobs, &count, handles.data()) != 0) return true;
    for (int64_t i = 0; i < std::min(count, kMostKnobs); ++i) {
      int knob = 0;
      int64_t value = 0, n = 0;
      if (api_.BackendGetAttribute(handles[static_cast<size_t>(i)], CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE, CUDNN_TYPE_KNOB_TYPE, 1, &n, &knob) != 0 ||
          api_.BackendGetAttribute(handles[static_cast<size_t>(i)], CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE, CUDNN_TYPE_INT64, 1, &n, &value) != 0)
        continue;
      *name += fmt::format("_k{}={}", knob, value);
    }
    return true;
  }

  const CudnnApi& api_;
  const DnnConv conv_;
  std::vector<std::unique_ptr<Descriptor>> made_;
  std::vector<Descriptor*> tensors_;
  std::vector<void*> operations_;
  Descriptor* graph_ = nullptr;
};

class DnnConvKernel : public DeviceKernel {
 public:
  DnnConvKernel(const DnnConv& conv, std::unique_ptr<Graph> graph, Descriptor config, Descriptor plan, size_t workspace)
      : conv_(conv), graph_(std::move(graph)), config_(std::move(config)), plan_(std::move(plan)), workspace_(workspace) {}

  Status Enqueue(const void* const* in, void* const* out, const Launch& launch) const override {
    const CudnnApi& api = launch.device.dnn();
    std::vector<int64_t> uids = {kX, kW, kY};
    std::vector<const void*> pointers = {in[conv_.x_at], launch.weights ? launch.weights : conv_.filter_buffer->data(), out[0]};
    if (conv_.residual) uids.push_back(kResidual), pointers.push_back(in[conv_.residual_at]);
    if (conv_.bias) uids.push_back(kBias), pointers.push_back(conv_.bias_buffer->data());
    const auto count = static_cast<int64_t>(uids.size());
    Descriptor pack(api, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
    pack.Set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uids.data())
        .Set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, pointers.data())
        .Set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &launch.scratch)
        .Finalize();
    TFE_RETURN_IF_ERROR(CheckCudnn(pack.status(), "binding a convolution"));
    return CheckCudnn(launch.device.WithDnn(launch.stream, [&](void* handle) { return api.BackendExecute(handle, plan_.get(), pack.get()); }),
                      "running a convolution");
  }
  size_t scratch_bytes(int) const override { return workspace_; }
  const DeviceBuffer* weights() const override { return conv_.filter_buffer.get(); }

 private:
  const DnnConv conv_;
  const std::unique_ptr<Graph> graph_;
  const Descriptor config_, plan_;
  const size_t workspace_;
};

}  // namespace

Result<std::vector<std::string>> DnnConvPlans(const Device& device, const DnnConv& conv) {
  std::vector<std::string> names;
  if (device.offline()) return names;
  const Device::Scope scope(device);
  device.WithDnn(nullptr, [&](void* handle) {
    Graph graph(device, conv);
    if (graph.Build(handle) == 0)
      for (const Graph::Candidate& c : graph.Candidates()) names.push_back(c.name);
    return 0;
  });
  return names;
}

Result<std::shared_ptr<const DeviceKernel>> MakeDnnConv(const Device& device, const DnnConv& conv, const std::string& name,
                                                        std::string* chosen) {
  std::shared_ptr<const DeviceKernel> kernel;
  if (device.offline()) return kernel;
  const Device::Scope scope(device);
  device.WithDnn(nullptr, [&](void* handle) {
    auto graph = std::make_unique<Graph>(device, conv);
    if (graph->Build(handle) != 0) return 0;
    auto candidates = graph->Candidates();
    std::stable_partition(candidates.begin(), candidates.end(), [&](const Graph::Candidate& c) { return c.name == name; });
    for (Graph::Candidate& c : candidates) {
      size_t workspace = 0;
      auto plan = graph->Plan(c.config, handle, &workspace);
      if (!plan) continue;
      *chosen = c.name;
      kernel = std::make_shared<DnnConvKernel>(conv, std::move(graph), std::move(c.config), *std::move(plan), workspace);
      break;
    }
    return 0;
  });
  return kernel;
}

}  // namespace tfengine::cuda
