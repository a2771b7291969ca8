// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/manifest.h"
#include "api/report.h"
#include "api/signature_plan.h"
#include "compiler/build.h"
#include "quant/table.h"
#include "saved_model/saved_model.h"
#include "saved_model/writer.h"
#include "tfengine/convert.h"
#include "tfengine/status.h"

namespace tfengine {

// The stages of converting one SavedModel. Used once, by one thread.
class Conversion {
 public:
  // Checks the options, reads the model and decides what becomes of each signature.
  // Errors: 1xx, 2xx, kBadFlag, kCalibrationInvalid.
  static Result<std::unique_ptr<Conversion>> Prepare(const std::string& input_dir,
                                                     const ConvertOptions& options);

  // Builds the engine files into `directory`, which exists. Errors: those of BuildEngineFile.
  Status BuildEngines(const std::filesystem::path& directory);
  // Writes the converted model to `directory`, which must not exist. After BuildEngines. Error:
  // kOutputUnwritable.
  Status Write(const std::filesystem::path& directory);

  ConvertReport Report() const;

 private:
  // An engine and what it was made of; signatures with equal segments share one.
  struct BuiltEngine {
    std::string name;
    std::filesystem::path file;
    int64_t nodes = 0;
    BuildReport report;
  };
  struct Signature {
    SignaturePlan plan;
    std::string kept;  // why it is left as it is, or empty
    std::vector<std::string> engine_names;  // per segment
    std::vector<std::string> node_names;    // of the engine ops, per segment
    Manifest::Signature manifest;
    std::vector<std::pair<std::string, Tensor>> files;  // for assets.extra/
  };

  Conversion(saved_model::SavedModel model, ConvertOptions options);
  Status PlanSignatures();
  void KeepUnsafeSignatures();
  Status BuildSignature(size_t index, const std::filesystem::path& directory);
  Result<std::string> NameSegment(size_t index, size_t segment);
  Status BuildSegment(size_t index, size_t segment, const std::filesystem::path& directory);
  Status AddLightSignature(const tfgraph::SignatureGraph& source, const tfgraph::Graph& rewritten);
  void Describe(Signature& signature, const tfgraph::Graph& rewritten);
  Manifest MakeManifest() const;
  Status WriteExtras(const std::filesystem::path& directory) const;
  void ReportProgress(const std::string& stage, double fraction) const;

  saved_model::SavedModel model_;
  ConvertOptions options_;
  const saved_model::MetaGraph* meta_ = nullptr;
  std::vector<Signature> signatures_;
  std::vector<std::string> other_signatures_;  // that were not asked for
  std::unique_ptr<saved_model::Rewriter> rewriter_;
  std::vector<BuiltEngine> engines_;
  std::optional<quant::CalibrationTable> table_;
  std::map<std::string, std::string>
      engine_of_segment_;  // what a segment computes and on which variables → engine
  size_t segments_total_ = 0, segments_done_ = 0;
};

}  // namespace tfengine
