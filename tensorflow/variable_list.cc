// SPDX-License-Identifier: Apache-2.0
#include "variable_list.h"

#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tensorflow/core/common_runtime/device_mgr.h"
#include "tensorflow/core/common_runtime/input_colocation_exemption_registry.h"
#include "tensorflow/core/framework/function.h"
#include "tensorflow/core/framework/resource_base.h"
#include "tensorflow/core/framework/resource_handle.h"
#include "tensorflow/core/framework/resource_mgr.h"
#include "tf_util.h"

namespace tfengine {

using ::tensorflow::OpKernel;
using ::tensorflow::OpKernelConstruction;
using ::tensorflow::OpKernelContext;
using ::tensorflow::ResourceBase;
using ::tensorflow::ResourceHandle;
using ::tensorflow::Tensor;
using ::tensorflow::core::RefCountPtr;
using ::tensorflow::core::WeakPtr;

namespace {

// The handles of a segment's variables, but nothing in the place of the key.
using Handles = std::vector<Tensor>;
using SharedHandles = std::shared_ptr<const Handles>;

const ResourceHandle& HandleIn(const Tensor& tensor) { return tensor.flat<ResourceHandle>()(0); }

// The lists whose keys are owned by their handles: variables of eager TensorFlow. Thread-safe.
class OwnedLists {
 public:
  static OwnedLists& Global() {
    static OwnedLists& lists = *new OwnedLists;  // variables may outlive static destructors
    return lists;
  }

  void Set(const std::string& name, ResourceBase* key, SharedHandles handles) {
    const Id id = {key, name};
    Entry entry = {WeakPtr<ResourceBase>(key, [this, id] { Remove(id); }), std::move(handles)};
    std::lock_guard<std::mutex> lock(mutex_);
    std::swap(lists_[id], entry);
  }

  SharedHandles Find(const std::string& name, ResourceBase* key) const {
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = lists_.find({key, name});
    return found == lists_.end() ? nullptr : found->second.handles;
  }

 private:
  using Id = std::pair<ResourceBase*, std::string>;
  struct Entry {
    WeakPtr<ResourceBase> key;
    SharedHandles handles;
  };

  // Variables that die with the entry may be keys themselves, so it dies without the lock.
  void Remove(const Id& id) {
    Entry entry;
    std::lock_guard<std::mutex> lock(mutex_);
    const auto found = lists_.find(id);
    if (found == lists_.end()) return;
    std::swap(entry, found->second);
    lists_.erase(found);
  }

  mutable std::mutex mutex_;
  std::map<Id, Entry> lists_;
};

// A list whose key has only a name: variables of a session, which it finds by name in every run.
class NamedList : public ResourceBase {
 public:
  explicit NamedList(SharedHandles handles) : handles_(std::move(handles)) {}
  std::string DebugString() const override { return "variables of a native segment"; }
  SharedHandles handles() const { return handles_; }

 private:
  const SharedHandles handles_;
};

std::string NameOf(const std::string& list, const ResourceHandle& key) {
  return absl::StrCat(list, "/", key.container(), "/", key.name());
}

// One of the session, whichever device an op runs on.
tensorflow::ResourceMgr* SessionResources(OpKernelContext* ctx) {
  tensorflow::FunctionLibraryRuntime* runtime = ctx->function_library();
  const tensorflow::DeviceMgr* devices = runtime == nullptr ? nullptr : runtime->device_mgr();
  return devices == nullptr ? ctx->resource_manager() : devices->HostCPU()->resource_manager();
}

SharedHandles FindList(OpKernelContext* ctx, const std::string& list, const ResourceHandle& key) {
  if (key.IsRefCounting()) return OwnedLists::Global().Find(list, key.resource().get());
  NamedList* found = nullptr;
  if (!SessionResources(ctx)->Lookup(kContainer, NameOf(list, key), &found).ok()) return nullptr;
  return RefCountPtr<NamedList>(found)->handles();
}

class TfengineBindVariables : public OpKernel {
 public:
  explicit TfengineBindVariables(OpKernelConstruction* ctx) : OpKernel(ctx) {
    OP_REQUIRES_OK(ctx, ctx->GetAttr("engine", &engine_));
    OP_REQUIRES_OK(ctx, ctx->GetAttr("key", &key_));
    OP_REQUIRES(ctx, key_ < num_inputs(), absl::InvalidArgumentError("there is no such key"));
  }

  void Compute(OpKernelContext* ctx) override {
    auto handles = std::make_shared<Handles>();
    for (int i = 0; i < ctx->num_inputs(); ++i)
      handles->push_back(i == key_ ? Tensor() : ctx->input(i));
    const ResourceHandle& key = HandleIn(ctx->input(key_));
    if (key.IsRefCounting()) {
      OwnedLists::Global().Set(engine_, key.resource().get(), std::move(handles));
      return;
    }
    tensorflow::ResourceMgr* resources = SessionResources(ctx);
    // An init op may run again.
    (void)resources->Delete<NamedList>(kContainer, NameOf(engine_, key));
    OP_REQUIRES_OK(ctx, resources->Create(kContainer, NameOf(engine_, key),
                                          new NamedList(std::move(handles))));
  }

 private:
  std::string engine_;
  int key_ = 0;
};

REGISTER_KERNEL_BUILDER(Name("TfengineBindVariables").Device(tensorflow::DEVICE_CPU),
                        TfengineBindVariables);
// Only handles are copied, so the variables may be anywhere.
const tensorflow::input_colocation_exemption_registration::InputColocationExemptionRegistration
    kAnywhere("TfengineBindVariables");

}  // namespace

absl::Status TakeArguments(OpKernelContext* ctx, const std::string& function,
                           SegmentArguments* arguments) {
  tensorflow::FunctionLibraryRuntime* runtime = ctx->function_library();
  const tensorflow::FunctionDef* definition =
      runtime == nullptr ? nullptr : runtime->GetFunctionLibraryDefinition()->Find(function);
  const int wanted =
      definition == nullptr ? ctx->num_inputs() : definition->signature().input_arg_size();
  if (wanted <= ctx->num_inputs()) {  // every variable is an input
    for (int i = 0; i < ctx->num_inputs(); ++i) {
      arguments->tensors.push_back(ctx->input(i));
      arguments->inputs.push_back(i);
    }
    return absl::OkStatus();
  }

  std::vector<int> data;
  int key = -1;
  for (int i = 0; i < ctx->num_inputs(); ++i) {
    if (ctx->input_dtype(i) == tensorflow::DT_RESOURCE) {
      key = i;
    } else {
      data.push_back(i);
    }
  }
  const std::string engine = EngineNameOf(ctx->op_kernel().name());
  const SharedHandles variables =
      key < 0 ? nullptr : FindList(ctx, engine, HandleIn(ctx->input(key)));
  if (variables == nullptr) {
    return absl::FailedPreconditionError(absl::StrCat(
        engine, ": the variables of the native segment are not known; run the model's init op"));
  }
  size_t input = 0, variable = 0;
  for (const auto& arg : definition->signature().input_arg()) {
    int from;
    if (arg.type() != tensorflow::DT_RESOURCE) {
      if (input == data.size()) break;
      from = data[input++];
    } else {
      if (variable == variables->size()) break;
      const bool is_key = (*variables)[variable++].dtype() != tensorflow::DT_RESOURCE;
      from = is_key ? key : -1;
    }
    arguments->inputs.push_back(from);
    arguments->tensors.push_back(from < 0 ? (*variables)[variable - 1] : ctx->input(from));
  }
  if (input < data.size() || variable < variables->size() ||
      static_cast<int>(arguments->tensors.size()) != wanted) {
    return absl::InternalError(absl::StrCat(function, ": expected ", wanted, " arguments, got ",
                                            data.size(), " inputs and ", variables->size(),
                                            " variables"));
  }
  return absl::OkStatus();
}

}  // namespace tfengine
