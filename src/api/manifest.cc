// SPDX-License-Identifier: Apache-2.0
#include "api/manifest.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/errors.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"

namespace tfengine {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kVersion = 1;

// Thrown inside FromJson only, for what nlohmann's own exceptions do not cover.
struct Malformed {
  std::string what;
};

void Require(bool condition, const std::string& what) {
  if (!condition) throw Malformed{what};
}

// A file inside the model's directory.
std::string RelativePath(const Json& json) {
  auto path = json.get<std::string>();
  std::filesystem::path parsed(path);
  Require(!path.empty() && parsed.is_relative(), "a path is not relative");
  for (const auto& part : parsed) Require(part != "..", "a path leaves the model's directory");
  return path;
}

int Index(const Json& json, size_t size) {
  auto index = json.get<int64_t>();
  Require(index >= 0 && static_cast<size_t>(index) < size, "an index is out of range");
  return static_cast<int>(index);
}

Json SpecsToJson(const std::vector<TensorSpec>& specs) {
  Json list = Json::array();
  for (const TensorSpec& spec : specs) {
    Json shape = spec.known_rank ? Json(spec.shape) : Json(nullptr);
    list.push_back({{"name", spec.name}, {"dtype", DTypeName(spec.dtype)}, {"shape", shape}});
  }
  return list;
}

std::vector<TensorSpec> SpecsFromJson(const Json& list) {
  std::vector<TensorSpec> specs;
  for (const Json& item : list) {
    TensorSpec spec;
    spec.name = item.at("name").get<std::string>();
    spec.dtype = DTypeFromName(item.at("dtype").get<std::string>());
    Require(spec.dtype != DType::kInvalid, "a dtype is unknown");
    spec.known_rank = !item.at("shape").is_null();
    if (spec.known_rank) spec.shape = item.at("shape").get<std::vector<int64_t>>();
    for (int64_t size : spec.shape) Require(size >= -1, "a size is negative");
    specs.push_back(std::move(spec));
  }
  return specs;
}

Json SourceToJson(const Manifest::Source& source) {
  switch (source.kind) {
    case Manifest::Source::Kind::kInput:
      return {{"input", source.index}};
    case Manifest::Source::Kind::kCall:
      return {{"call", source.index}, {"output", source.output}};
    case Manifest::Source::Kind::kConstant:
      return {{"constant", source.file}};
    case Manifest::Source::Kind::kUnread:
      return {{"unread", true}};
  }
  return {};
}

Manifest::Source SourceFromJson(const Json& json, size_t inputs, size_t calls) {
  Manifest::Source source;
  if (json.contains("input")) {
    source.kind = Manifest::Source::Kind::kInput;
    source.index = Index(json.at("input"), inputs);
  } else if (json.contains("call")) {
    source.kind = Manifest::Source::Kind::kCall;
    source.index = Index(json.at("call"), calls);
    source.output = Index(json.at("output"), 1 << 20);
  } else if (json.contains("unread")) {
    source.kind = Manifest::Source::Kind::kUnread;
  } else {
    source.kind = Manifest::Source::Kind::kConstant;
    source.file = RelativePath(json.at("constant"));
  }
  return source;
}

Json SignatureToJson(const Manifest::Signature& signature) {
  Json json = {{"name", signature.info.name},
               {"inputs", SpecsToJson(signature.info.inputs)},
               {"outputs", SpecsToJson(signature.info.outputs)},
               {"defaults", signature.defaults},
               {"engines", signature.engines},
               {"whole", signature.info.whole}};
  if (!signature.info.whole) {
    json["reason"] = signature.info.reason;
    return json;
  }
  json["calls"] = Json::array();
  for (const auto& call : signature.calls) {
    Json inputs = Json::array();
    for (const auto& source : call.inputs) inputs.push_back(SourceToJson(source));
    json["calls"].push_back({{"engine", call.engine}, {"inputs", inputs}});
  }
  json["results"] = Json::array();
  for (const auto& source : signature.results) json["results"].push_back(SourceToJson(source));
  return json;
}

Manifest::Signature SignatureFromJson(const Json& json, size_t engines) {
  Manifest::Signature signature;
  signature.info.name = json.at("name").get<std::string>();
  signature.info.inputs = SpecsFromJson(json.at("inputs"));
  signature.info.outputs = SpecsFromJson(json.at("outputs"));
  for (const Json& file : json.at("defaults"))
    signature.defaults.push_back(file == "" ? std::string() : RelativePath(file));
  Require(signature.defaults.size() == signature.info.inputs.size(),
          "there must be one default per input");
  for (const Json& engine : json.at("engines")) signature.engines.push_back(Index(engine, engines));
  signature.info.whole = json.at("whole").get<bool>();
  if (!signature.info.whole) {
    signature.info.reason = json.at("reason").get<std::string>();
    return signature;
  }
  size_t inputs = signature.info.inputs.size();
  for (const Json& item : json.at("calls")) {
    Manifest::Call call;
    call.engine = Index(item.at("engine"), engines);
    for (const Json& source : item.at("inputs"))
      call.inputs.push_back(SourceFromJson(source, inputs, signature.calls.size()));
    signature.calls.push_back(std::move(call));
  }
  for (const Json& source : json.at("results")) {
    signature.results.push_back(SourceFromJson(source, inputs, signature.calls.size()));
    Require(signature.results.back().kind != Manifest::Source::Kind::kUnread, "a result is unread");
  }
  Require(signature.results.size() == signature.info.outputs.size(),
          "there must be one result per output");
  return signature;
}

}  // namespace

std::string Manifest::ToJson() const {
  Json json = {{"format", "tfengine-model"},
               {"version", kVersion},
               {"tfengine", tfengine_version},
               {"device", device},
               {"precision", precision}};
  json["engines"] = Json::array();
  for (const Engine& engine : engines)
    json["engines"].push_back(
        {{"name", engine.name}, {"file", engine.file}, {"nodes", engine.nodes}});
  json["signatures"] = Json::array();
  for (const Signature& signature : signatures)
    json["signatures"].push_back(SignatureToJson(signature));
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<Manifest> Manifest::FromJson(std::string_view text, const std::string& path) {
  auto invalid = [&](const std::string& what) {
    return Error(ErrorId::kManifestInvalid, "{}: {}; convert the model again", path, what);
  };
  try {
    Json json = Json::parse(text);
    if (json.at("format") != "tfengine-model" || json.at("version") != kVersion)
      return invalid(fmt::format("expected a tfengine-model of version {}", kVersion));
    Manifest manifest;
    manifest.tfengine_version = json.at("tfengine").get<std::string>();
    manifest.device = json.at("device").get<std::string>();
    manifest.precision = json.at("precision").get<std::string>();
    for (const Json& item : json.at("engines"))
      manifest.engines.push_back({item.at("name").get<std::string>(), RelativePath(item.at("file")),
                                  item.at("nodes").get<int64_t>()});
    for (const Json& item : json.at("signatures"))
      manifest.signatures.push_back(SignatureFromJson(item, manifest.engines.size()));
    return manifest;
  } catch (const Malformed& malformed) {
    return invalid(malformed.what);
  } catch (const Json::exception& error) {
    std::string what = error.what();
    for (char& c : what)
      if (static_cast<unsigned char>(c) < ' ') c = ' ';
    return invalid(what);
  }
}

Result<Manifest> Manifest::Load(const std::string& model_dir) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(model_dir, ignored))
    return Error(ErrorId::kFileMissing,
                 "{}: no such directory; expected a model written by `tfengine convert`",
                 model_dir);
  std::string path = (std::filesystem::path(model_dir) / kManifestFile).string();
  if (!std::filesystem::exists(path, ignored))
    return Error(ErrorId::kFileMissing,
                 "{}: not a converted model (no {}); write one with `tfengine convert`", model_dir,
                 kManifestFile);
  TFE_ASSIGN_OR_RETURN(auto file, MappedFile::Open(path));
  return FromJson(file->bytes(), path);
}

std::string SpecToString(const TensorSpec& spec) {
  return std::string(DTypeName(spec.dtype)) +
         (spec.known_rank ? ShapeToString(spec.shape) : "[...]");
}

}  // namespace tfengine
