// SPDX-License-Identifier: Apache-2.0
#include "api/conversion.h"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <limits>
#include <protozero/pbf_writer.hpp>

#include "api/build_shapes.h"
#include "api/carriers.h"
#include "api/engine_node.h"
#include "api/light_signature.h"
#include "api/main_graph.h"
#include "api/npy.h"
#include "api/whole.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "compiler/build.h"
#include "compiler/calibration.h"
#include "tfgraph/transform.h"

namespace tfengine {
namespace {

namespace fs = std::filesystem;
using tfgraph::ArgBinding;
using tfgraph::SignatureGraph;

constexpr double kReadShare = 0.1, kWriteShare = 0.05;  // of the progress shown

Status CheckOptions(ConvertOptions& options) {
  for (char& c : options.precision)
    c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  if (options.precision != "FP32" && options.precision != "FP16" && options.precision != "BF16" &&
      options.precision != "FP8" && options.precision != "INT8")
    return Error(ErrorId::kBadFlag, "precision \"{}\": expected FP32, FP16, BF16, FP8 or INT8", options.precision);
  TFE_RETURN_IF_ERROR(CheckDevice(options.device));
  if (options.effort != "fast" && options.effort != "default" && options.effort != "max")
    return Error(ErrorId::kBadFlag, "effort \"{}\": expected fast, default or max", options.effort);
  if (options.minimum_segment_size < 1 && options.minimum_segment_size != -1)
    return Error(
        ErrorId::kBadFlag,
        "minimum segment size: expected a positive number, or -1 to convert nothing, got {}",
        options.minimum_segment_size);
  if (options.minimum_segment_size == -1)
    options.minimum_segment_size = std::numeric_limits<int>::max();
  if (options.max_engines < 0 || options.threads < 0 || options.maximum_cached_engines < 1)
    return Error(ErrorId::kBadFlag,
                 "max_engines {}, threads {}, maximum_cached_engines {}: expected at least 0, 0, 1",
                 options.max_engines, options.threads, options.maximum_cached_engines);
  return OkStatus();
}

// The variables, tables and constants that a function's arguments are bound to.
bool SameCaptures(const SignatureGraph& a, const SignatureGraph& b) {
  if (a.args.size() != b.args.size()) return false;
  for (size_t i = 0; i < a.args.size(); ++i) {
    if (a.args[i].kind != b.args[i].kind) return false;
    if (a.args[i].kind == ArgBinding::Kind::kCapture && a.args[i].node != b.args[i].node)
      return false;
  }
  return true;
}

// A library function that calls `name`, or empty. May name one that merely has the name in a
// string.
std::string CallerOf(const saved_model::FunctionLibrary& library, const std::string& name) {
  auto is_name_char = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) || c == '_';
  };
  for (const auto& [caller, function] : library.functions()) {
    if (caller == name) continue;
    std::string_view bytes = function.serialized;
    for (size_t at = bytes.find(name); at != std::string_view::npos; at = bytes.find(name, at + 1))
      if (at + name.size() == bytes.size() || !is_name_char(bytes[at + name.size()])) return caller;
  }
  return "";
}

TensorSpec SpecOf(const std::string& key, const saved_model::TensorInfo& info) {
  TensorSpec spec;
  spec.name = key;
  spec.dtype = info.dtype;
  spec.known_rank = info.shape.known_rank;
  spec.shape = info.shape.dims;
  return spec;
}

// The value of a serialized TensorProto, if it can be read.
Result<Tensor> DecodeTensorProto(std::string_view proto) {
  constexpr int kAttrValueTensor = 8;
  std::string bytes;
  protozero::pbf_writer(bytes).add_message(kAttrValueTensor, proto.data(), proto.size());
  return tfgraph::AttrValue(bytes).tensor();
}

// What a segment reads besides its data inputs: engines may be shared only by segments that read
// the same.
std::string BoundVariables(const SignaturePlan& plan, const partition::Segment& segment) {
  std::string bound;
  for (size_t i = 0; i < segment.inputs.size(); ++i) {
    const tfgraph::Node& node = plan.source.graph.nodes[segment.inputs[i].node];
    bool is_data = segment.body.nodes[segment.body.args[i]].frozen == nullptr &&
                   plan.source.graph.type_of(segment.inputs[i]) != DType::kResource;
    auto arg = std::find(plan.source.graph.args.begin(), plan.source.graph.args.end(),
                         segment.inputs[i].node);
    bool is_arg = arg != plan.source.graph.args.end();
    bound += is_data ? "|"
                     : "|" + (is_arg ? plan.source.args[arg - plan.source.graph.args.begin()].node
                                     : node.name);
  }
  return bound;
}

// A node name for an engine: its own, or one below a scope of its own if the signature calls the
// engine already. The engine op goes by the last part of its name.
std::string NodeName(const std::vector<std::string>& earlier, const std::string& engine) {
  auto calls = std::count(earlier.begin(), earlier.end(), engine);
  return calls == 0 ? engine : fmt::format("call_{}/{}", calls, engine);
}

}  // namespace

Conversion::Conversion(saved_model::SavedModel model, ConvertOptions options)
    : model_(std::move(model)), options_(std::move(options)) {}

void Conversion::ReportProgress(const std::string& stage, double fraction) const {
  if (options_.progress) options_.progress(stage, fraction);
}

Result<std::unique_ptr<Conversion>> Conversion::Prepare(const std::string& input_dir,
                                                        const ConvertOptions& options) {
  ConvertOptions checked = options;
  TFE_RETURN_IF_ERROR(CheckOptions(checked));
  TFE_ASSIGN_OR_RETURN(saved_model::SavedModel model, saved_model::SavedModel::Open(input_dir));
  std::unique_ptr<Conversion> conversion(new Conversion(std::move(model), std::move(checked)));
  TFE_ASSIGN_OR_RETURN(conversion->meta_, conversion->model_.Find(options.tags));
  TFE_RETURN_IF_ERROR(conversion->PlanSignatures());
  return conversion;
}

Status Conversion::PlanSignatures() {
  std::vector<std::string> wanted = options_.signatures, present = meta_->SignatureNames();
  if (present.empty())
    return Error(ErrorId::kUnknownSignature,
                 "{}: the MetaGraph has no signatures; export the model with some", model_.dir());
  if (wanted.empty()) wanted = present;
  std::sort(wanted.begin(), wanted.end());
  wanted.erase(std::unique(wanted.begin(), wanted.end()), wanted.end());
  std::set_difference(present.begin(), present.end(), wanted.begin(), wanted.end(),
                      std::back_inserter(other_signatures_));
  for (size_t i = 0; i < wanted.size(); ++i) {
    ReportProgress("reading " + wanted[i], kReadShare * i / wanted.size());
    std::vector<std::string> fed_elsewhere;
    for (const auto& [other, def] : meta_->signatures)
      if (other != wanted[i])
        for (const auto& [key, info] : def.inputs)
          fed_elsewhere.push_back(info.name.substr(0, info.name.rfind(':')));
    Signature signature;
    TFE_ASSIGN_OR_RETURN(signature.plan,
                         PlanSignature(model_, *meta_, wanted[i], fed_elsewhere, options_));
    segments_total_ += signature.plan.segments.size();
    signatures_.push_back(std::move(signature));
  }
  std::vector<SignaturePlan*> plans;
  for (Signature& signature : signatures_) plans.push_back(&signature.plan);
  TFE_RETURN_IF_ERROR(CheckBuildShapes(plans, options_.build_shapes));
  KeepUnsafeSignatures();
  for (size_t i = 0; i < signatures_.size(); ++i) {
    Signature& signature = signatures_[i];
    std::vector<partition::EngineNode> nodes;
    for (size_t s = 0; s < signature.plan.segments.size(); ++s) {
      TFE_ASSIGN_OR_RETURN(std::string name, NameSegment(i, s));
      signature.node_names.push_back(NodeName(signature.engine_names, name));
      signature.engine_names.push_back(name);
      nodes.push_back({});
      nodes.back().name = signature.node_names.back();
    }
    TFE_ASSIGN_OR_RETURN(
        tfgraph::Graph rewritten,
        partition::ReplaceSegments(signature.plan.source.graph, signature.plan.partition,
                                   signature.plan.segments, nodes));
    Describe(signature, rewritten);
  }
  return OkStatus();
}

// The engine that computes the segment: a new one, or one that an earlier segment has and that
// reads the same variables.
Result<std::string> Conversion::NameSegment(size_t index, size_t segment_index) {
  const SignaturePlan& plan = signatures_[index].plan;
  const partition::Segment& segment = plan.segments[segment_index];
  TFE_ASSIGN_OR_RETURN(Network network, convert::LowerSegment(segment.body));
  std::string name = EngineName(static_cast<int>(index), static_cast<int>(segment_index), network);
  std::string key = name.substr(name.rfind('_')) + BoundVariables(plan, segment);
  return engine_of_segment_.try_emplace(key, name).first->second;
}

// A function is rewritten for the variables that its signature binds, so it must have no other
// caller that binds others.
void Conversion::KeepUnsafeSignatures() {
  for (size_t i = 0; i < signatures_.size(); ++i) {
    const SignatureGraph& source = signatures_[i].plan.source;
    if (source.kind != SignatureGraph::Kind::kFunction) continue;
    if (std::string caller = CallerOf(meta_->functions, source.function); !caller.empty())
      signatures_[i].kept =
          fmt::format("function {} is also called by {}", source.function, caller);
    for (size_t j = 0; j < signatures_.size(); ++j) {
      const SignatureGraph& other = signatures_[j].plan.source;
      if (j != i && other.kind == source.kind && other.function == source.function &&
          !SameCaptures(source, other))
        signatures_[i].kept = fmt::format("signature {} binds other variables to the same function",
                                          signatures_[j].plan.name);
    }
  }
}

Status Conversion::BuildEngines(const fs::path& directory) {
  if (options_.calibration) {
    TFE_ASSIGN_OR_RETURN(
        table_, static_cast<const CalibrationImpl&>(*options_.calibration).MakeTable(nullptr));
  } else if (!options_.calibration_table.empty()) {
    TFE_ASSIGN_OR_RETURN(table_, quant::CalibrationTable::Load(options_.calibration_table));
  }
  rewriter_ = std::make_unique<saved_model::Rewriter>(model_, *meta_);
  for (size_t i = 0; i < signatures_.size(); ++i) {
    Status status = BuildSignature(i, directory);
    if (!status.ok())
      return status.WithContext(fmt::format("signature \"{}\"", signatures_[i].plan.name));
  }
  return OkStatus();
}

Status Conversion::BuildSignature(size_t index, const fs::path& directory) {
  Signature& signature = signatures_[index];
  const SignatureGraph& source = signature.plan.source;
  if (!signature.kept.empty()) return OkStatus();
  std::vector<partition::EngineNode> nodes;
  for (size_t s = 0; s < signature.plan.segments.size(); ++s) {
    TFE_RETURN_IF_ERROR(BuildSegment(index, s, directory));
    nodes.push_back(MakeEngineNode(signature.plan, signature.plan.segments[s],
                                   signature.engine_names[s], options_));
    nodes.back().name = signature.node_names[s];
  }
  TFE_ASSIGN_OR_RETURN(tfgraph::Graph rewritten,
                       partition::ReplaceSegments(source.graph, signature.plan.partition,
                                                  signature.plan.segments, nodes));
  Describe(signature, rewritten);
  if (nodes.empty()) return OkStatus();
  for (size_t j = 0; j < index; ++j) {
    const SignatureGraph& earlier = signatures_[j].plan.source;
    if (source.kind == SignatureGraph::Kind::kFunction && earlier.kind == source.kind &&
        earlier.function == source.function)
      return OkStatus();  // rewritten already
  }
  std::vector<int> engines;
  for (size_t v = 0; v < rewritten.nodes.size(); ++v)
    if (rewritten.nodes[v].op == "TRTEngineOp") engines.push_back(static_cast<int>(v));
  CastAtEngines(rewritten, engines);
  if (source.kind == SignatureGraph::Kind::kFunction) {
    TFE_RETURN_IF_ERROR(tfgraph::SortTopologically(rewritten));
    TFE_RETURN_IF_ERROR(rewriter_->ReplaceFunctionBody(source.function, rewritten));
    return AddLightSignature(source, rewritten);
  }
  SignatureGraph main = source;
  main.graph = std::move(rewritten);
  KeepReturnNames(*signature.plan.def, source.graph, main);
  TFE_RETURN_IF_ERROR(tfgraph::SortTopologically(main.graph));
  return rewriter_->MergeMainGraph(signature.plan.name, main.graph);
}

// What Python calls for the signature, if that saves it something.
Status Conversion::AddLightSignature(const SignatureGraph& source,
                                     const tfgraph::Graph& rewritten) {
  auto light = MakeLightSignature(rewritten, rewriter_->BoundObjects(source.function));
  if (!light) return OkStatus();
  for (const saved_model::VariableList& list : light->lists)
    TFE_RETURN_IF_ERROR(rewriter_->AddVariableList(list));
  return rewriter_->AddLightFunction(source.function, light->graph, light->kept);
}

// Builds the segment's engine unless an earlier segment has it.
Status Conversion::BuildSegment(size_t index, size_t segment_index, const fs::path& directory) {
  const SignaturePlan& plan = signatures_[index].plan;
  const partition::Segment& segment = plan.segments[segment_index];
  const std::string& name = signatures_[index].engine_names[segment_index];
  size_t number = segments_done_++;
  if (std::any_of(engines_.begin(), engines_.end(),
                  [&](const BuiltEngine& engine) { return engine.name == name; }))
    return OkStatus();
  TFE_ASSIGN_OR_RETURN(Network network, convert::LowerSegment(segment.body));

  BuildOptions build;
  build.numerics.precision = options_.precision;
  build.engine_name = name;
  build.table = table_ ? &*table_ : nullptr;
  if (options_.calibration)
    build.samples = static_cast<const CalibrationImpl&>(*options_.calibration).KeptInputs(name);
  build.budget = {options_.max_error, options_.max_top1_drop};
  build.device = options_.device;
  build.kernel_cache = options_.kernel_cache;
  build.tf32 = options_.tf32;
  build.max_workspace_bytes = options_.max_workspace_size_bytes;
  build.threads = options_.threads;
  build.shapes = ShapesForSegment(plan, segment, options_.build_shapes);
  build.timing_cache = options_.timing_cache;
  build.time_tactics = options_.build_engines;
  build.effort = options_.effort == "fast" ? 0 : options_.effort == "max" ? 2 : 1;
  build.progress = [this, number](const std::string& stage, double fraction) {
    double done = (number + fraction) / segments_total_;
    std::string engine =
        segments_total_ > 1 ? fmt::format("engine {} of {}: ", number + 1, segments_total_) : "";
    ReportProgress(engine + stage, kReadShare + (1 - kReadShare - kWriteShare) * done);
  };
  fs::path file = directory / name;
  TFE_ASSIGN_OR_RETURN(BuildReport report, BuildEngineFile(std::move(network), build, file.string()));
  engines_.push_back({name, file,
                      static_cast<int64_t>(plan.partition.segments[segment_index].nodes.size()),
                      std::move(report)});

  saved_model::NewFunction function;
  function.name = NativeFunctionName(name);
  for (size_t i = 0; i < segment.inputs.size(); ++i)
    function.arg_names.push_back(fmt::format("tensorrtinputph_{}", i));
  for (size_t i = 0; i < segment.outputs.size(); ++i)
    function.return_names.push_back(fmt::format("tensorrtoutputph_{}", i));
  TFE_RETURN_IF_ERROR(rewriter_->AddFunction(function, WithCarriers(segment.body)));
  TFE_RETURN_IF_ERROR(
      rewriter_->AddEngineResource({name, file.string(), EngineAssetName(name),
                                    static_cast<int64_t>(options_.maximum_cached_engines)}));
  return OkStatus();
}

// Fills in the manifest's part, from the graph in which the signature's engines have their names.
void Conversion::Describe(Signature& signature, const tfgraph::Graph& rewritten) {
  const SignaturePlan& plan = signature.plan;
  Manifest::Signature& manifest = signature.manifest;
  manifest = {};
  signature.files.clear();
  manifest.info.name = plan.name;
  for (const auto& [key, info] : plan.def->inputs)
    manifest.info.inputs.push_back(SpecOf(key, info));
  for (const auto& [key, info] : plan.def->outputs)
    manifest.info.outputs.push_back(SpecOf(key, info));
  if (signature.kept.empty()) {
    WholeResult whole = FindWhole(plan, rewritten, signature.node_names);
    manifest.info.whole = whole.whole;
    manifest.info.reason = whole.reason;
    manifest.calls = std::move(whole.calls);
    manifest.results = std::move(whole.results);
    signature.files = std::move(whole.constants);
  } else {
    manifest.info.reason = signature.kept;
  }
  for (const auto& [key, info] : plan.def->inputs) {
    manifest.defaults.emplace_back();
    auto proto = plan.def->defaults.find(key);
    if (proto == plan.def->defaults.end()) continue;
    Result<Tensor> value = DecodeTensorProto(proto->second);
    if (!value.ok()) continue;
    manifest.defaults.back() =
        fmt::format("default_{}_{}.npy", plan.name, manifest.defaults.size() - 1);
    std::replace(manifest.defaults.back().begin(), manifest.defaults.back().end(), '/', '_');
    signature.files.emplace_back(manifest.defaults.back(), *std::move(value));
  }
}

Manifest Conversion::MakeManifest() const {
  Manifest manifest;
  manifest.tfengine_version = TFENGINE_VERSION;
  manifest.device = options_.device;
  manifest.precision = options_.precision;
  std::map<std::string, int> number;
  for (const BuiltEngine& engine : engines_) {
    number[engine.name] = static_cast<int>(manifest.engines.size());
    manifest.engines.push_back(
        {engine.name, "assets/" + EngineAssetName(engine.name), engine.nodes});
  }
  auto in_extra = [](std::string& file) {
    if (!file.empty()) file = "assets.extra/" + file;
  };
  for (const Signature& signature : signatures_) {
    Manifest::Signature entry = signature.manifest;
    if (signature.kept.empty())
      for (const std::string& name : signature.engine_names)
        entry.engines.push_back(number.at(name));
    for (Manifest::Call& call : entry.calls) {
      call.engine = number.at(signature.engine_names[call.engine]);
      for (auto& source : call.inputs) in_extra(source.file);
    }
    for (auto& source : entry.results) in_extra(source.file);
    for (std::string& file : entry.defaults) in_extra(file);
    manifest.signatures.push_back(std::move(entry));
  }
  for (const std::string& name : other_signatures_) {
    Manifest::Signature entry;
    const saved_model::SignatureDef& def = meta_->signatures.at(name);
    entry.info.name = name;
    entry.info.reason = "it was not converted";
    for (const auto& [key, info] : def.inputs) entry.info.inputs.push_back(SpecOf(key, info));
    for (const auto& [key, info] : def.outputs) entry.info.outputs.push_back(SpecOf(key, info));
    entry.defaults.resize(entry.info.inputs.size());
    manifest.signatures.push_back(std::move(entry));
  }
  return manifest;
}

Status Conversion::Write(const fs::path& directory) {
  ReportProgress("writing", 1 - kWriteShare);
  TFE_RETURN_IF_ERROR(rewriter_->Write(directory.string()));
  TFE_RETURN_IF_ERROR(WriteExtras(directory));
  ReportProgress("done", 1);
  return OkStatus();
}

// The manifest, and the constants that it names.
Status Conversion::WriteExtras(const fs::path& directory) const {
  std::error_code error;
  fs::path extra = (directory / kManifestFile).parent_path();
  fs::create_directories(extra, error);
  if (error) return Error(ErrorId::kOutputUnwritable, "{}: {}", extra.string(), error.message());
  for (const Signature& signature : signatures_)
    for (const auto& [file, tensor] : signature.files)
      TFE_RETURN_IF_ERROR(WriteNpy((extra / file).string(), tensor));
  std::ofstream stream(directory / kManifestFile, std::ios::binary);
  stream << MakeManifest().ToJson();
  stream.close();
  if (stream.fail())
    return Error(ErrorId::kOutputUnwritable, "{}/{}: cannot be written", directory.string(),
                 kManifestFile);
  return OkStatus();
}

ConvertReport Conversion::Report() const {
  std::vector<ReportEntry> entries;
  for (const Signature& signature : signatures_) {
    ReportEntry entry{
        &signature.plan,        signature.plan.name,           "",
        signature.engine_names, signature.manifest.info.whole, signature.manifest.info.reason,
        signature.kept};
    for (const ReportEntry& earlier : entries) {
      const SignatureGraph &a = earlier.plan->source, &b = signature.plan.source;
      if (a.kind == SignatureGraph::Kind::kFunction && b.kind == a.kind &&
          a.function == b.function && entry.same_as.empty())
        entry.same_as = earlier.name;
    }
    entries.push_back(std::move(entry));
  }
  std::map<std::string, const BuildReport*> builds;
  for (const BuiltEngine& engine : engines_) builds[engine.name] = &engine.report;
  return MakeReport(model_.dir(), options_, entries, builds);
}

}  // namespace tfengine
