// SPDX-License-Identifier: Apache-2.0
#include "saved_model/saved_model.h"

#include <sys/stat.h>

#include <algorithm>
#include <mutex>

#include "base/errors.h"
#include "base/status_macros.h"
#include "saved_model/wire.h"

namespace tfengine::saved_model {
namespace {

bool IsDirectory(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
}

bool Exists(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0;
}

std::string Join(const std::vector<std::string>& names) {
  std::string s;
  for (const auto& name : names) s += (s.empty() ? "" : ", ") + name;
  return s.empty() ? "none" : s;
}

// TensorInfo {name 1, dtype 2, tensor_shape 3, coo_sparse 4, composite_tensor 5}; composite tensors
// nest.
bool AddTensorInfo(const std::string& key, std::string_view bytes, int depth,
                   std::map<std::string, TensorInfo>* to) {
  if (depth > 8) return false;
  TensorInfo info;
  std::string_view sparse, composite;
  WireReader r(bytes);
  while (r.Next()) {
    switch (r.field()) {
      case 1: info.name = r.Bytes(); break;
      case 2: info.dtype = static_cast<DType>(r.Int32()); break;
      case 3: info.shape = ParseTensorShape(r.Bytes()).value_or(tfgraph::PartialShape()); break;
      case 4: sparse = r.Bytes(); break;
      case 5: composite = r.Bytes(); break;
    }
  }
  if (!r.ok()) return false;
  if (!sparse.empty()) {
    static constexpr const char* kParts[] = {"/values", "/indices", "/dense_shape"};
    WireReader parts(sparse);
    while (parts.Next()) {
      if (parts.field() < 1 || parts.field() > 3) continue;
      TensorInfo& part = (*to)[key + kParts[parts.field() - 1]];
      part.name = parts.Bytes();
      part.dtype = parts.field() == 1 ? info.dtype : DType::kInt64;
      if (parts.field() > 1)
        part.shape = {true, std::vector<int64_t>(parts.field() == 2 ? 2 : 1, -1)};
    }
    return parts.ok();
  }
  if (!composite.empty()) {
    int number = 0;
    WireReader parts(composite);
    while (parts.Next()) {
      if (parts.field() != 2) continue;
      if (!AddTensorInfo(key + "/" + std::to_string(number++), parts.Bytes(), depth + 1, to))
        return false;
    }
    return parts.ok();
  }
  (*to)[key] = std::move(info);
  return true;
}

bool ParseSignature(std::string_view bytes, SignatureDef* signature) {
  WireReader r(bytes);
  while (r.Next()) {
    if (r.field() == 3) {
      signature->method = r.Bytes();
      continue;
    }
    if (r.field() != 1 && r.field() != 2 && r.field() != 4) continue;
    MapEntry entry;
    if (!ParseMapEntry(r.Bytes(), &entry)) return false;
    std::string key(entry.key);
    if (r.field() == 4) {
      signature->defaults[key] = entry.value;
    } else if (!AddTensorInfo(key, entry.value, 0,
                              r.field() == 1 ? &signature->inputs : &signature->outputs)) {
      return false;
    }
  }
  return r.ok();
}

Status ParseLibrary(std::string_view bytes, MetaGraph* meta) {
  WireReader r(bytes);
  while (r.Next())
    if (r.field() == 1) TFE_RETURN_IF_ERROR(meta->functions.Add(r.Bytes()));
  return r.ok() ? OkStatus()
                : Error(ErrorId::kProtoCorrupt, "function library: truncated or malformed bytes");
}

Status ParseGraphDef(std::string_view bytes, MetaGraph* meta) {
  WireReader r(bytes);
  while (r.Next()) {
    if (r.field() == 1) {
      TFE_ASSIGN_OR_RETURN(NodeDef node, NodeDef::Parse(r.Bytes()));
      meta->nodes.push_back(std::move(node));
    } else if (r.field() == 2) {
      TFE_RETURN_IF_ERROR(ParseLibrary(r.Bytes(), meta));
    }
  }
  if (!r.ok()) return Error(ErrorId::kProtoCorrupt, "GraphDef: truncated or malformed bytes");
  for (size_t i = 0; i < meta->nodes.size(); ++i) {
    if (!meta->node_index.emplace(meta->nodes[i].name, static_cast<int>(i)).second) {
      return Error(ErrorId::kProtoCorrupt, "GraphDef: expected unique node names, got \"{}\" twice",
                   meta->nodes[i].name);
    }
  }
  return OkStatus();
}

Status ParseMetaInfo(std::string_view bytes, MetaGraph* meta) {
  WireReader r(bytes);
  while (r.Next()) {
    switch (r.field()) {
      case 2: {
        WireReader list(r.Bytes());
        while (list.Next())
          if (list.field() == 1) TFE_RETURN_IF_ERROR(meta->ops.Add(list.Bytes()));
        if (!list.ok())
          return Error(ErrorId::kProtoCorrupt, "op list: truncated or malformed bytes");
        break;
      }
      case 4: meta->tags.emplace_back(r.Bytes()); break;
      case 5: meta->tensorflow_version = r.Bytes(); break;
      case 7: meta->stripped_default_attrs = r.Bool(); break;
    }
  }
  std::sort(meta->tags.begin(), meta->tags.end());
  return r.ok() ? OkStatus()
                : Error(ErrorId::kProtoCorrupt, "MetaInfoDef: truncated or malformed bytes");
}

bool ParseSaver(std::string_view bytes, SaverDef* saver) {
  WireReader r(bytes);
  while (r.Next()) {
    switch (r.field()) {
      case 1: saver->filename_tensor = r.Bytes(); break;
      case 2: saver->save_tensor = r.Bytes(); break;
      case 3: saver->restore_op = r.Bytes(); break;
    }
  }
  return r.ok();
}

bool ParseAsset(std::string_view bytes, AssetFileDef* asset) {
  WireReader r(bytes);
  std::map<std::string, TensorInfo> info;
  while (r.Next()) {
    if (r.field() == 1 && !AddTensorInfo("", r.Bytes(), 0, &info)) return false;
    if (r.field() == 2) asset->filename = r.Bytes();
  }
  asset->tensor = info[""].name;
  return r.ok();
}

Result<MetaGraph> ParseMetaGraph(std::string_view bytes) {
  MetaGraph meta;
  meta.serialized = bytes;
  bool ok = true;
  WireReader r(bytes);
  while (ok && r.Next()) {
    switch (r.field()) {
      case 1: TFE_RETURN_IF_ERROR(ParseMetaInfo(r.Bytes(), &meta)); break;
      case 2: TFE_RETURN_IF_ERROR(ParseGraphDef(r.Bytes(), &meta)); break;
      case 3: ok = ParseSaver(r.Bytes(), &meta.saver.emplace()); break;
      case 4:
      case 5: {
        MapEntry entry;
        ok = ParseMapEntry(r.Bytes(), &entry);
        if (r.field() == 4) {
          meta.collections[std::string(entry.key)] = entry.value;
        } else {
          ok = ok && ParseSignature(entry.value, &meta.signatures[std::string(entry.key)]);
        }
        break;
      }
      case 6: ok = ParseAsset(r.Bytes(), &meta.assets.emplace_back()); break;
      case 7: meta.object_graph = r.Bytes(); break;
    }
  }
  if (!ok || !r.ok())
    return Error(ErrorId::kProtoCorrupt, "MetaGraphDef: truncated or malformed bytes");
  return meta;
}

}  // namespace

struct SavedModel::LazyVariables {
  std::once_flag once;
  std::optional<Result<std::shared_ptr<const TensorBundle>>> bundle;
};

const NodeDef* MetaGraph::FindNode(std::string_view name) const {
  auto it = node_index.find(name);
  return it == node_index.end() ? nullptr : &nodes[static_cast<size_t>(it->second)];
}

std::vector<std::string> MetaGraph::SignatureNames() const {
  std::vector<std::string> names;
  for (const auto& [name, signature] : signatures)
    if (!name.starts_with("__saved_model_")) names.push_back(name);
  return names;
}

std::vector<std::string> MetaGraph::InitOps() const {
  std::vector<std::string> names;
  auto add = [&](std::string_view tensor) {
    std::string name(tensor.substr(0, tensor.find(':')));
    if (FindNode(name) != nullptr && std::find(names.begin(), names.end(), name) == names.end())
      names.push_back(name);
  };
  if (auto it = signatures.find("__saved_model_init_op"); it != signatures.end())
    for (const auto& [key, info] : it->second.outputs) add(info.name);
  for (const char* key : {"saved_model_main_op", "legacy_init_op"}) {
    auto it = collections.find(key);
    if (it == collections.end()) continue;
    WireReader r(it->second);  // CollectionDef.node_list.value
    while (r.Next()) {
      if (r.field() != 1) continue;
      WireReader list(r.Bytes());
      while (list.Next())
        if (list.field() == 1) add(list.Bytes());
    }
  }
  return names;
}

Result<const SignatureDef*> MetaGraph::FindSignature(const std::string& name) const {
  auto it = signatures.find(name);
  if (it == signatures.end()) {
    return Error(ErrorId::kUnknownSignature,
                 "signature \"{}\": not in the MetaGraph with tags {{{}}}; present: {}", name,
                 Join(tags), Join(SignatureNames()));
  }
  return &it->second;
}

Result<SavedModel> SavedModel::Open(const std::string& dir) {
  if (!IsDirectory(dir)) {
    return Error(ErrorId::kFileMissing, "{}: expected a SavedModel directory, found {}", dir,
                 Exists(dir) ? "a file" : "nothing");
  }
  const std::string path = dir + "/saved_model.pb";
  if (!Exists(path)) {
    if (Exists(dir + "/saved_model.pbtxt")) {
      return Error(ErrorId::kFileMissing,
                   "{}: expected saved_model.pb, found only saved_model.pbtxt; load it with "
                   "TensorFlow and save it again",
                   dir);
    }
    return Error(ErrorId::kFileMissing, "{}: expected a SavedModel, found no saved_model.pb in it",
                 dir);
  }
  SavedModel model;
  model.dir_ = dir;
  TFE_ASSIGN_OR_RETURN(model.file_, MappedFile::Open(path));
  auto metas = std::make_shared<std::vector<MetaGraph>>();
  WireReader r(model.file_->bytes());
  while (r.Next()) {
    if (r.field() != 2) continue;
    auto meta = ParseMetaGraph(r.Bytes());
    if (!meta.ok()) return meta.status().WithContext(path);
    metas->push_back(std::move(*meta));
  }
  if (!r.ok() || metas->empty()) {
    return Error(
        ErrorId::kProtoCorrupt,
        "{}: expected a SavedModel message with at least one MetaGraph, got {} bytes that {}", path,
        model.file_->bytes().size(), r.ok() ? "hold none" : "cannot be parsed");
  }
  model.meta_graphs_ = std::move(metas);
  model.variables_ = std::make_shared<LazyVariables>();
  return model;
}

Result<const MetaGraph*> SavedModel::Find(std::vector<std::string> tags) const {
  std::sort(tags.begin(), tags.end());
  std::string present;
  for (const MetaGraph& meta : meta_graphs()) {
    if (meta.tags == tags) return &meta;
    present += (present.empty() ? "{" : ", {") + Join(meta.tags) + "}";
  }
  return Error(ErrorId::kUnknownTag, "{}: no MetaGraph with tags {{{}}}; present: {}", dir_,
               Join(tags), present);
}

Result<std::shared_ptr<const TensorBundle>> SavedModel::variables() const {
  std::call_once(variables_->once,
                 [&] { variables_->bundle = TensorBundle::Open(dir_ + "/variables/variables"); });
  return *variables_->bundle;
}

}  // namespace tfengine::saved_model
