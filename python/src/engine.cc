// SPDX-License-Identifier: Apache-2.0
#include "tfengine/engine.h"

#include <nanobind/stl/filesystem.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <filesystem>

#include "arrays.h"
#include "bindings.h"
#include "device.h"
#include "errors.h"

namespace nb = nanobind;

namespace tfengine::python {
namespace {

std::vector<Tensor> Inputs(const Engine& engine, const nb::sequence& values, nb::list& keep) {
  std::vector<Tensor> inputs;
  for (const nb::handle value : values) {
    const size_t i = inputs.size();
    inputs.push_back(ToTensor(
        value, i < engine.inputs().size() ? engine.inputs()[i].dtype : DType::kInvalid, keep));
  }
  return inputs;
}

nb::list Run(Engine& engine, const nb::sequence& values) {
  nb::list keep;
  const std::vector<Tensor> inputs = Inputs(engine, values, keep);
  Result<std::vector<Tensor>> outputs = [&] {
    nb::gil_scoped_release release;
    return engine.Run(inputs);
  }();
  nb::list arrays;
  for (const Tensor& tensor : ValueOrRaise(std::move(outputs))) arrays.append(ToNumpy(tensor));
  return arrays;
}

std::string Profile(Engine& engine, const nb::sequence& values) {
  nb::list keep;
  std::vector<InputView> views;
  for (const Tensor& tensor : Inputs(engine, values, keep)) {
    views.push_back({tensor.dtype(), tensor.shape(), tensor.data()});
  }
  Result<std::string> json = [&] {
    nb::gil_scoped_release release;
    return engine.ProfileJson(views);
  }();
  return ValueOrRaise(std::move(json));
}

std::shared_ptr<Engine> Load(const std::filesystem::path& path, int threads, const std::string& device,
                             bool tf32) {
  EngineOptions options = DeviceOptions(device, tf32);
  options.threads = threads;
  Result<std::shared_ptr<Engine>> engine = [&] {
    nb::gil_scoped_release release;
    return Engine::Load(path.string(), options);
  }();
  return ValueOrRaise(std::move(engine));
}

}  // namespace

void BindEngine(nb::module_& m) {
  nb::class_<Engine>(m, "Engine", "One engine, run without TensorFlow. Thread-safe.")
      .def(nb::new_(&Load), nb::arg("path"), nb::kw_only(), nb::arg("threads") = 0,
           nb::arg("device") = "cpu", nb::arg("tf32") = false,
           "Loads an engine file; `threads` of one run, 0: all CPUs. `device`: cpu, cuda or "
           "cuda:<index>; `tf32`: products of f32 on a GPU may round their operands to TF32.")
      .def_prop_ro("inputs", &Engine::inputs)
      .def_prop_ro("outputs", &Engine::outputs)
      .def("run", &Run, nb::arg("inputs"),
           nb::sig("def run(self, inputs: Sequence[typing.Any]) -> list[numpy.ndarray]"),
           "Runs once; inputs and outputs in the order of `inputs` and `outputs`.")
      .def(
          "prepare",
          [](Engine& engine, const std::vector<std::vector<int64_t>>& shapes) {
            Status status;
            {
              nb::gil_scoped_release release;
              status = engine.Prepare(shapes);
            }
            RaiseIfError(status);
          },
          nb::arg("input_shapes"),
          "Plans buffers for these input shapes now instead of in the first run.")
      .def("describe", &Engine::DescribeJson,
           "JSON: device, precision, network, the tactic of every layer.")
      .def("profile", &Profile, nb::arg("inputs"),
           nb::sig("def profile(self, inputs: Sequence[typing.Any]) -> str"),
           "JSON: milliseconds per step of one run.");
}

}  // namespace tfengine::python
