// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cctype>
#include <protozero/buffer_string.hpp>
#include <protozero/pbf_writer.hpp>

#include "base/errors.h"
#include "base/status_macros.h"
#include "saved_model/serialize_graph.h"
#include "saved_model/structured_value.h"
#include "saved_model/writer_impl.h"

namespace tfengine::saved_model {

using protozero::pbf_writer;

namespace {

// Letters, digits and underscores, for use in a function name.
std::string Sanitized(std::string_view name) {
  std::string s(name);
  std::replace_if(
      s.begin(), s.end(), [](unsigned char c) { return !std::isalnum(c); }, '_');
  return s;
}

}  // namespace

void AddChildObject(std::string* object, int id, std::string_view name) {
  pbf_writer w(*object);
  pbf_writer child(w, 1);
  child.add_int32(1, id);
  child.add_string(2, name.data(), name.size());
}

Status Rewriter::AddResourceFunctions(const std::string& resource,
                                      std::vector<ResourceFunction>* functions) {
  for (ResourceFunction& function : *functions) {
    NewFunction added;
    // TensorFlow's loader strips the prefix and the number.
    for (int n = 0; added.name.empty() || HasFunction(added.name); ++n)
      added.name = fmt::format("__inference__{}_{}_{}", function.kind, Sanitized(resource), n);
    added.arg_names = function.arg_names;
    added.return_names = {"output"};
    TFE_RETURN_IF_ERROR(AddFunction(added, function.graph));
    function.name = added.name;
  }
  return OkStatus();
}

void Rewriter::Impl::AddResourceObject(const std::string& name, const char* device,
                                       std::string children,
                                       const std::vector<ResourceFunction>& functions) {
  MakeDictionary();
  for (const ResourceFunction& function : functions) {
    AddChildObject(&children, objects.Next(), function.attribute);
    std::string& node = objects.nodes.emplace_back();
    pbf_writer(node).add_message(6, SavedFunctionBytes(function.name));
    pbf_writer w(objects.concrete_functions);
    AddMapEntry(&w, 2, function.name,
                SavedConcreteFunctionBytes(function.result, function.bound_inputs), false);
  }
  {
    pbf_writer w(children);
    pbf_writer resource(w, 10);
    resource.add_string(1, device);
  }
  AddChildObject(&objects.resource_children, objects.Next(), name);
  objects.nodes.push_back(std::move(children));
}

}  // namespace tfengine::saved_model
