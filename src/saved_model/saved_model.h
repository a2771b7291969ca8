// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/mapped_file.h"
#include "saved_model/protos.h"
#include "saved_model/tensor_bundle.h"
#include "tfengine/status.h"
#include "tfengine/types.h"
#include "tfgraph/graph.h"

namespace tfengine::saved_model {

// One tensor of a signature. A sparse or composite tensor appears as its components, under the keys
// "<key>/values",
// "<key>/indices", "<key>/dense_shape" or "<key>/<number>".
struct TensorInfo {
  std::string name;  // in the main graph: "serving_default_x:0"
  DType dtype = DType::kInvalid;
  tfgraph::PartialShape shape;
};

struct SignatureDef {
  std::string method;  // "tensorflow/serving/predict"
  std::map<std::string, TensorInfo> inputs;
  std::map<std::string, TensorInfo> outputs;
  std::map<std::string, std::string_view> defaults;  // input key -> serialized TensorProto
};

struct AssetFileDef {
  std::string tensor;    // main-graph tensor that is fed with the file's path
  std::string filename;  // relative to assets/
};

struct SaverDef {
  std::string filename_tensor;
  std::string save_tensor;
  std::string restore_op;
};

// One MetaGraphDef. Immutable; views into the SavedModel's mapping.
struct MetaGraph {
  std::vector<std::string> tags;  // sorted
  std::string tensorflow_version;
  bool stripped_default_attrs = false;
  std::map<std::string, SignatureDef>
      signatures;              // with the internal ones ("__saved_model_init_op")
  std::vector<NodeDef> nodes;  // the main graph
  std::unordered_map<std::string_view, int> node_index;
  FunctionLibrary functions;
  OpTable ops;
  std::optional<SaverDef> saver;
  std::vector<AssetFileDef> assets;
  std::map<std::string, std::string_view> collections;  // serialized CollectionDefs
  std::string_view object_graph;  // serialized SavedObjectGraph; empty for TensorFlow 1 models
  std::string_view serialized;

  // A node of the main graph, or nullptr.
  const NodeDef* FindNode(std::string_view name) const;
  // Names of the signatures a user can call, sorted.
  std::vector<std::string> SignatureNames() const;
  // Main-graph nodes that a loader runs after restoring the variables: tables, assets, local
  // variables.
  std::vector<std::string> InitOps() const;
  // Error: kUnknownSignature, with the list of those present.
  Result<const SignatureDef*> FindSignature(const std::string& name) const;
};

// A SavedModel directory. Thread-safe after Open; cheap to move; MetaGraph pointers stay valid when
// it moves.
class SavedModel {
 public:
  // Maps <dir>/saved_model.pb. Errors: kFileMissing (no such directory, no saved_model.pb, only a
  // .pbtxt), kFileUnreadable, kProtoCorrupt.
  static Result<SavedModel> Open(const std::string& dir);

  const std::string& dir() const { return dir_; }
  const std::vector<MetaGraph>& meta_graphs() const { return *meta_graphs_; }
  // The MetaGraph with exactly these tags (any order). Error: kUnknownTag, with the list of those
  // present.
  Result<const MetaGraph*> Find(std::vector<std::string> tags = {"serve"}) const;
  // The checkpoint under variables/, opened on first use. Errors: kFileMissing, kCheckpointCorrupt.
  Result<std::shared_ptr<const TensorBundle>> variables() const;
  std::string_view serialized() const { return file_->bytes(); }

 private:
  struct LazyVariables;
  std::string dir_;
  std::shared_ptr<const MappedFile> file_;
  std::shared_ptr<const std::vector<MetaGraph>> meta_graphs_;
  std::shared_ptr<LazyVariables> variables_;
};

}  // namespace tfengine::saved_model
