// SPDX-License-Identifier: Apache-2.0
#include "tfengine/model.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <filesystem>
#include <map>

#include "arrays.h"
#include "bindings.h"
#include "device.h"
#include "errors.h"

namespace nb = nanobind;

namespace tfengine::python {
namespace {

std::shared_ptr<Model> Load(const std::filesystem::path& path, int threads, const std::string& device,
                            bool tf32) {
  EngineOptions options = DeviceOptions(device, tf32);
  options.threads = threads;
  Result<std::shared_ptr<Model>> model = [&] {
    nb::gil_scoped_release release;
    return Model::Load(path.string(), options);
  }();
  return ValueOrRaise(std::move(model));
}

const std::vector<TensorSpec>& InputsOf(const Model& model, const std::string& signature) {
  static const std::vector<TensorSpec> none;
  for (const SignatureInfo& info : model.signatures())
    if (info.name == signature) return info.inputs;
  return none;
}

nb::dict Run(Model& model, const nb::dict& values, const std::string& signature) {
  nb::list keep;
  const auto inputs = ToTensors(values, InputsOf(model, signature), keep);
  Result<std::map<std::string, Tensor>> outputs = [&] {
    nb::gil_scoped_release release;
    return model.Run(signature, inputs);
  }();
  nb::dict arrays;
  for (const auto& [name, tensor] : ValueOrRaise(std::move(outputs)))
    arrays[name.c_str()] = ToNumpy(tensor);
  return arrays;
}

}  // namespace

void BindModel(nb::module_& m) {
  nb::class_<Model>(m, "Model", "A converted SavedModel, run without TensorFlow. Thread-safe.")
      .def(nb::new_(&Load), nb::arg("path"), nb::kw_only(), nb::arg("threads") = 0,
           nb::arg("device") = "cpu", nb::arg("tf32") = false,
           "Loads a converted SavedModel; `threads` of one run, 0: all CPUs. `device`: cpu, cuda or "
           "cuda:<index>; `tf32`: products of f32 on a GPU may round their operands to TF32.")
      .def_prop_ro("signatures", &Model::signatures)
      .def(
          "run", &Run, nb::arg("inputs"), nb::arg("signature") = "serving_default",
          nb::sig(
              "def run(self, inputs: Mapping[str, typing.Any], signature: str = 'serving_default') "
              "-> dict[str, numpy.ndarray]"),
          "Runs a signature: input name to array in, output name to array out.")
      .def(
          "engine",
          [](Model& model, const std::string& signature) {
            return ValueOrRaise(model.engine(signature));
          },
          nb::arg("signature") = "serving_default",
          "The engine behind a signature that converted whole.");
}

}  // namespace tfengine::python
