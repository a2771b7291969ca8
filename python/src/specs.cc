// SPDX-License-Identifier: Apache-2.0
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include "bindings.h"
#include "tfengine/model.h"

namespace nb = nanobind;

namespace tfengine::python {

void BindSpecs(nb::module_& m) {
  nb::class_<TensorSpec>(m, "TensorSpec",
                         "An input or output: name, element type, shape (unknown sizes are -1).")
      .def_ro("name", &TensorSpec::name)
      .def_prop_ro("dtype",
                   [](const TensorSpec& spec) { return std::string(DTypeName(spec.dtype)); })
      .def_prop_ro(
          "shape", [](const TensorSpec& spec) { return nb::tuple(nb::cast(spec.shape)); },
          nb::sig("def shape(self) -> tuple[int, ...]"))
      .def("__repr__", [](const TensorSpec& spec) {
        return "TensorSpec(" + spec.name + ": " + DTypeName(spec.dtype) +
               ShapeToString(spec.shape) + ")";
      });
  nb::class_<SignatureInfo>(m, "SignatureInfo", "A signature of a converted model.")
      .def_ro("name", &SignatureInfo::name)
      .def_ro("inputs", &SignatureInfo::inputs)
      .def_ro("outputs", &SignatureInfo::outputs)
      .def_ro("whole", &SignatureInfo::whole, "True if it runs without TensorFlow.")
      .def_ro("reason", &SignatureInfo::reason, "If not whole: what stays native.");
}

}  // namespace tfengine::python
