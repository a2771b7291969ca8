// SPDX-License-Identifier: Apache-2.0
#include "api/converted_model.h"

#include <cstring>
#include <filesystem>

#include "api/manifest.h"
#include "api/npy.h"
#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine {
namespace {

bool Accepts(const TensorSpec& spec, const Tensor& tensor) {
  if (spec.dtype != tensor.dtype()) return false;
  if (!spec.known_rank) return true;
  if (spec.shape.size() != tensor.shape().size()) return false;
  for (size_t i = 0; i < spec.shape.size(); ++i)
    if (spec.shape[i] != -1 && spec.shape[i] != tensor.shape()[i]) return false;
  return true;
}

std::string Names(const std::vector<TensorSpec>& specs) {
  std::string names;
  for (const TensorSpec& spec : specs)
    names += (names.empty() ? "" : ", ") + fmt::format("\"{}\" {}", spec.name, SpecToString(spec));
  return names.empty() ? "none" : names;
}

class ManifestModel : public ConvertedModel {
 public:
  static Result<std::shared_ptr<ConvertedModel>> Load(const std::string& dir, const EngineOptions& options) {
    auto model = std::make_shared<ManifestModel>();
    model->dir_ = dir;
    TFE_ASSIGN_OR_RETURN(model->manifest_, Manifest::Load(dir));
    model->engines_.resize(model->manifest_.engines.size());
    for (const Manifest::Signature& signature : model->manifest_.signatures) {
      model->infos_.push_back(signature.info);
      for (const Manifest::Call& call : signature.calls)
        TFE_RETURN_IF_ERROR(model->LoadEngine(call, options));
      TFE_RETURN_IF_ERROR(model->CheckResults(signature));
      for (const auto& call : signature.calls)
        for (const auto& source : call.inputs) TFE_RETURN_IF_ERROR(model->LoadConstant(source));
      for (const auto& source : signature.results) TFE_RETURN_IF_ERROR(model->LoadConstant(source));
      for (const std::string& file : signature.defaults)
        if (!file.empty()) TFE_RETURN_IF_ERROR(model->LoadFile(file));
    }
    return std::shared_ptr<ConvertedModel>(model);
  }

  const std::vector<SignatureInfo>& signatures() const override { return infos_; }

  Result<std::map<std::string, Tensor>> Run(const std::string& name,
                                            const std::map<std::string, Tensor>& inputs) override {
    return RunWith(name, inputs, [](size_t, Engine& engine, const std::vector<Tensor>& operands) {
      return engine.Run(operands);
    });
  }

  Result<std::map<std::string, Tensor>> RunWith(const std::string& name,
                                                const std::map<std::string, Tensor>& inputs,
                                                const RunEngine& run) override {
    TFE_ASSIGN_OR_RETURN(const Manifest::Signature* signature, FindWhole(name));
    TFE_ASSIGN_OR_RETURN(std::vector<Tensor> arguments, CheckInputs(*signature, inputs));
    std::vector<std::vector<Tensor>> results;
    auto resolve = [&](const Manifest::Source& source) {
      switch (source.kind) {
        case Manifest::Source::Kind::kInput:
          return arguments[source.index];
        case Manifest::Source::Kind::kCall:
          return results[source.index][source.output];
        case Manifest::Source::Kind::kConstant:
          return files_.at(source.file);
        case Manifest::Source::Kind::kUnread:
          break;
      }
      return Tensor();
    };
    for (const Manifest::Call& call : signature->calls) {
      Engine& engine = *engines_[call.engine];
      std::vector<Tensor> operands;
      for (const auto& source : call.inputs) {
        const TensorSpec& spec = engine.inputs()[operands.size()];
        bool unread = source.kind == Manifest::Source::Kind::kUnread;
        operands.push_back(unread ? Tensor(spec.dtype, spec.shape, nullptr, nullptr)
                                  : resolve(source));
      }
      Result<std::vector<Tensor>> outputs = run(results.size(), engine, operands);
      if (!outputs.ok()) return outputs.status().WithContext(fmt::format("signature \"{}\"", name));
      results.push_back(*std::move(outputs));
    }
    std::map<std::string, Tensor> out;
    for (size_t i = 0; i < signature->results.size(); ++i)
      out[signature->info.outputs[i].name] = resolve(signature->results[i]);
    return out;
  }

  const Manifest& manifest() const override { return manifest_; }

  Result<std::shared_ptr<Engine>> engine(const std::string& name) override {
    TFE_ASSIGN_OR_RETURN(const Manifest::Signature* signature, FindWhole(name));
    if (signature->calls.size() != 1)
      return Error(ErrorId::kNotWhole, "{}: signature \"{}\" runs {} engines, expected one", dir_,
                   name, signature->calls.size());
    return engines_[signature->calls[0].engine];
  }

 private:
  Status LoadEngine(const Manifest::Call& call, const EngineOptions& options) {
    std::shared_ptr<Engine>& engine = engines_[call.engine];
    const Manifest::Engine& entry = manifest_.engines[call.engine];
    if (engine == nullptr) {
      TFE_ASSIGN_OR_RETURN(
          engine, Engine::Load((std::filesystem::path(dir_) / entry.file).string(), options));
    }
    if (engine->inputs().size() != call.inputs.size())
      return Error(ErrorId::kManifestInvalid,
                   "{}/{}: engine {} has {} inputs, expected {}; convert the model again", dir_,
                   kManifestFile, entry.name, engine->inputs().size(), call.inputs.size());
    return OkStatus();
  }

  // The manifest and the engines are separate files: their numbers of outputs must agree.
  Status CheckResults(const Manifest::Signature& signature) const {
    auto check = [&](const Manifest::Source& source) {
      if (source.kind != Manifest::Source::Kind::kCall) return OkStatus();
      size_t outputs = engines_[signature.calls[source.index].engine]->outputs().size();
      if (static_cast<size_t>(source.output) < outputs) return OkStatus();
      return Error(ErrorId::kManifestInvalid,
                   "{}/{}: output {} of an engine with {} outputs; convert the model again", dir_,
                   kManifestFile, source.output, outputs);
    };
    for (const auto& call : signature.calls)
      for (const auto& source : call.inputs) TFE_RETURN_IF_ERROR(check(source));
    for (const auto& source : signature.results) TFE_RETURN_IF_ERROR(check(source));
    return OkStatus();
  }

  Status LoadConstant(const Manifest::Source& source) {
    return source.kind == Manifest::Source::Kind::kConstant ? LoadFile(source.file) : OkStatus();
  }

  Status LoadFile(const std::string& file) {
    if (files_.count(file)) return OkStatus();
    TFE_ASSIGN_OR_RETURN(files_[file], ReadNpy((std::filesystem::path(dir_) / file).string()));
    return OkStatus();
  }

  Result<const Manifest::Signature*> FindWhole(const std::string& name) const {
    std::string present;
    for (const Manifest::Signature& signature : manifest_.signatures) {
      if (signature.info.name != name) {
        present += (present.empty() ? "" : ", ") + signature.info.name;
        continue;
      }
      if (!signature.info.whole)
        return Error(ErrorId::kNotWhole, "{}: signature \"{}\" needs TensorFlow to run: {}", dir_,
                     name, signature.info.reason);
      return &signature;
    }
    return Error(ErrorId::kUnknownSignature, "{}: no signature \"{}\"; present: {}", dir_, name,
                 present);
  }

  Result<std::vector<Tensor>> CheckInputs(const Manifest::Signature& signature,
                                          const std::map<std::string, Tensor>& inputs) const {
    const std::vector<TensorSpec>& specs = signature.info.inputs;
    std::vector<Tensor> arguments;
    for (size_t i = 0; i < specs.size(); ++i) {
      auto given = inputs.find(specs[i].name);
      if (given == inputs.end() && !signature.defaults[i].empty()) {
        arguments.push_back(files_.at(signature.defaults[i]));
        continue;
      }
      if (given == inputs.end())
        return Error(ErrorId::kInputMismatch,
                     "signature \"{}\": input \"{}\" is missing; expected {}", signature.info.name,
                     specs[i].name, Names(specs));
      if (!Accepts(specs[i], given->second))
        return Error(ErrorId::kInputMismatch,
                     "signature \"{}\": input \"{}\": expected {}, got {}{}", signature.info.name,
                     specs[i].name, SpecToString(specs[i]), DTypeName(given->second.dtype()),
                     ShapeToString(given->second.shape()));
      arguments.push_back(given->second);
    }
    for (const auto& [name, tensor] : inputs) {
      bool known = false;
      for (const TensorSpec& spec : specs) known |= spec.name == name;
      if (!known)
        return Error(ErrorId::kInputMismatch, "signature \"{}\": no input \"{}\"; expected {}",
                     signature.info.name, name, Names(specs));
    }
    return arguments;
  }

  std::string dir_;
  Manifest manifest_;
  std::vector<SignatureInfo> infos_;
  std::vector<std::shared_ptr<Engine>> engines_;  // nullptr: only TensorFlow uses it
  std::map<std::string, Tensor> files_;           // constants and default inputs
};

}  // namespace

Result<std::shared_ptr<ConvertedModel>> ConvertedModel::Load(const std::string& dir,
                                                             const EngineOptions& options) {
  return ManifestModel::Load(dir, options);
}

Result<std::shared_ptr<Model>> Model::Load(const std::string& dir, const EngineOptions& options) {
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<ConvertedModel> model, ManifestModel::Load(dir, options));
  return std::shared_ptr<Model>(std::move(model));
}

}  // namespace tfengine
