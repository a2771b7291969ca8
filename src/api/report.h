// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "api/signature_plan.h"
#include "compiler/build.h"
#include "tfengine/convert.h"

namespace tfengine {

// One signature of a report. Signatures that share a function are converted once: all but the first
// name it.
struct ReportEntry {
  const SignaturePlan* plan = nullptr;
  std::string name;
  std::string same_as;  // the signature that this one shares everything with, or empty
  std::vector<std::string> engine_names;  // one per segment
  bool whole = false;
  std::string reason;  // if not whole
  std::string kept;    // why the signature was left as it is, or empty
};

// `builds`: by engine name; empty for explanations.
ConvertReport MakeReport(const std::string& model_dir, const ConvertOptions& options,
                         const std::vector<ReportEntry>& entries,
                         const std::map<std::string, const BuildReport*>& builds);

}  // namespace tfengine
