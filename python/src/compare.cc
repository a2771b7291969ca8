// SPDX-License-Identifier: Apache-2.0
#include "tfengine/compare.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <exception>

#include "arrays.h"
#include "bindings.h"
#include "device.h"
#include "errors.h"

namespace nb = nanobind;

namespace tfengine::python {
namespace {

// `batches`: an iterator of dicts, input name to array. What it raises is raised here.
CompareReport Compare(const std::string& a, const std::string& b, const nb::object& batches,
                      const CompareOptions& options) {
  std::exception_ptr raised;
  nb::list keep;  // the arrays of the current batch
  auto next = [&](std::map<std::string, Tensor>* batch) -> Result<bool> {
    nb::gil_scoped_acquire acquire;
    try {
      keep.clear();
      const nb::object item = nb::steal(PyIter_Next(batches.ptr()));
      if (!item.is_valid()) {
        if (PyErr_Occurred() != nullptr) nb::raise_python_error();
        return false;
      }
      *batch = ToTensors(nb::cast<nb::dict>(item), {}, keep);
      return true;
    } catch (...) {
      raised = std::current_exception();
      return Status(StatusCode::kCancelled, 0, "the data raised an exception");
    }
  };
  Result<CompareReport> report = [&] {
    nb::gil_scoped_release release;
    return CompareModels(a, b, options, next);
  }();
  if (raised != nullptr) std::rethrow_exception(raised);
  return ValueOrRaise(std::move(report));
}

}  // namespace

void BindCompare(nb::module_& m) {
  nb::class_<ComparedValue>(m, "ComparedValue",
                            "How far a value of one model is from the same value of another.")
      .def_ro("name", &ComparedValue::name)
      .def_ro("op", &ComparedValue::op, "What computes it; empty for outputs.")
      .def_ro("precision_a", &ComparedValue::precision_a,
              "FP32, BF16, FP16, FP8 or INT8; empty where elements are only moved, and for outputs.")
      .def_ro("precision_b", &ComparedValue::precision_b)
      .def_ro("snr_db", &ComparedValue::snr_db, "Signal to noise in dB, in [-200, 200].")
      .def_ro("relative_rms", &ComparedValue::relative_rms, "|error| / |value|.")
      .def_ro("max_abs_error", &ComparedValue::max_abs_error)
      .def_ro("cosine", &ComparedValue::cosine)
      .def_ro("top1_agreement", &ComparedValue::top1_agreement,
              "Share of rows whose greatest element is at the same place.")
      .def_ro("rows", &ComparedValue::rows)
      .def_ro("discrete", &ComparedValue::discrete,
              "An output of integers or booleans: only `equal` counts.")
      .def_ro("equal", &ComparedValue::equal, "Share of equal elements, if discrete.")
      .def("__repr__", [](const ComparedValue& v) {
        return "ComparedValue(" + v.name + ": " +
               (v.discrete ? std::to_string(100 * v.equal) + " % equal"
                           : std::to_string(v.snr_db) + " dB") +
               ")";
      });
  nb::class_<CompareReport>(m, "CompareReport", "What compare() found.")
      .def_ro("signature", &CompareReport::signature)
      .def_ro("runs", &CompareReport::runs)
      .def_ro("outputs", &CompareReport::outputs)
      .def_ro("layers", &CompareReport::layers, "In the order they are computed.")
      .def_prop_ro(
          "first_below",
          [](const CompareReport& report) {
            return report.first_below < 0 ? nb::none() : nb::cast(report.layers[report.first_below]);
          },
          nb::sig("def first_below(self) -> ComparedValue | None"),
          "The first layer below the threshold, or None.")
      .def(
          "worst",
          [](const CompareReport& report, size_t count) {
            std::vector<ComparedValue> worst;
            for (int i : report.Worst(count)) worst.push_back(report.layers[i]);
            return worst;
          },
          nb::arg("count") = 10, "The layers with the least signal to noise.")
      .def_ro("text", &CompareReport::text, "For people.")
      .def_ro("json", &CompareReport::json, "For machines.")
      .def("__str__", [](const CompareReport& report) { return report.text; });
  m.def(
      "compare",
      [](const std::string& a, const std::string& b, const nb::object& batches,
         const std::string& signature, double threshold_db, int threads,
         const std::string& device, const std::string& reference_device, bool tf32) {
        return Compare(a, b, batches,
                       {signature, threshold_db, threads, device, reference_device, KernelCache(),
                        tf32});
      },
      nb::arg("a"), nb::arg("b"), nb::arg("batches"), nb::arg("signature"),
      nb::arg("threshold_db"), nb::arg("threads"), nb::arg("device"),
      nb::arg("reference_device"), nb::arg("tf32"));
}

}  // namespace tfengine::python
