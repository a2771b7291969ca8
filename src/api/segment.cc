// SPDX-License-Identifier: Apache-2.0
#include "api/segment.h"

#include <protozero/pbf_reader.hpp>

#include "api/carriers.h"
#include "base/errors.h"
#include "base/status_macros.h"
#include "compiler/build.h"
#include "convert/convert.h"
#include "saved_model/protos.h"
#include "tfgraph/build.h"
#include "tfgraph/transform.h"

namespace tfengine {
namespace {

// Calls `add` with every message in the repeated field 1, which is all that OpList and
// FunctionDefLibrary are read for.
template <typename Add>
Status ForEachMessage(std::string_view serialized, const Add& add) {
  try {
    protozero::pbf_reader reader(serialized.data(), serialized.size());
    while (reader.next()) {
      if (reader.tag() != 1) {
        reader.skip();
        continue;
      }
      protozero::data_view view = reader.get_view();
      TFE_RETURN_IF_ERROR(add(std::string_view(view.data(), view.size())));
    }
  } catch (const protozero::exception& error) {
    return Error(ErrorId::kProtoCorrupt, "native segment: {}", error.what());
  }
  return OkStatus();
}

}  // namespace

Result<std::shared_ptr<Engine>> BuildSegmentEngine(std::string_view function_def,
                                                   std::string_view library,
                                                   std::string_view op_list,
                                                   const EngineOptions& options) {
  saved_model::OpTable ops;
  saved_model::FunctionLibrary functions;
  TFE_RETURN_IF_ERROR(ForEachMessage(op_list, [&](std::string_view op) { return ops.Add(op); }));
  TFE_RETURN_IF_ERROR(
      ForEachMessage(library, [&](std::string_view function) { return functions.Add(function); }));
  TFE_ASSIGN_OR_RETURN(tfgraph::Graph graph,
                       tfgraph::BuildFunctionGraph(function_def, functions, ops));
  tfgraph::RemoveIdleControlEdges(graph);
  RemoveCarriers(graph);
  tfgraph::Prune(graph);
  TFE_ASSIGN_OR_RETURN(Network network, convert::LowerSegment(graph));
  BuildOptions build;
  build.threads = options.threads;
  build.time_tactics = false;
  return BuildEngine(std::move(network), build, options);
}

}  // namespace tfengine
