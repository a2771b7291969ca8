// SPDX-License-Identifier: Apache-2.0
#include "tfengine/convert.h"

#include <nanobind/stl/function.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <exception>

#include "bindings.h"
#include "device.h"
#include "errors.h"

namespace nb = nanobind;

namespace tfengine::python {
namespace {

// Runs `work` without the GIL. `options.progress` takes it back for each call; an exception in
// there (Ctrl-C too) is raised once the work has ended.
ConvertReport Call(ConvertOptions options, const nb::object& progress,
                   const std::function<Result<ConvertReport>(const ConvertOptions&)>& work) {
  std::exception_ptr raised;
  if (!progress.is_none()) {
    options.progress = [&](const std::string& stage, double fraction) {
      nb::gil_scoped_acquire acquire;
      if (raised != nullptr) return;
      try {
        progress(stage, fraction);
      } catch (...) {
        raised = std::current_exception();
      }
    };
  }
  Result<ConvertReport> report = [&] {
    nb::gil_scoped_release release;
    return work(options);
  }();
  if (raised != nullptr) std::rethrow_exception(raised);
  return ValueOrRaise(std::move(report));
}

}  // namespace

void BindConvert(nb::module_& m) {
  nb::class_<Calibration>(m, "Calibration",
                          "Observes every FP32 engine of this process until stop().")
      .def_static(
          "start",
          [](const std::string& method, double percentile, bool symmetric) {
            CalibrationOptions options;
            options.method = method;
            options.percentile = percentile;
            options.symmetric = symmetric;
            return ValueOrRaise(Calibration::Start(options));
          },
          nb::arg("method") = "mse", nb::arg("percentile") = 99.99,
          nb::arg("symmetric") = false)
      .def("stop", &Calibration::Stop)
      .def_prop_ro("runs", &Calibration::runs, "Runs of engines observed so far.")
      .def(
          "table",
          [](const Calibration& calibration) {
            std::vector<std::string> notices;
            std::string json = ValueOrRaise(calibration.Table(&notices));
            return std::make_pair(json, notices);
          },
          "The calibration table as JSON, and notices.")
      .def(
          "save",
          [](const Calibration& calibration, const std::string& path) {
            RaiseIfError(calibration.Save(path));
          },
          nb::arg("path"));
  nb::class_<ConvertOptions>(m, "ConvertOptions", "Options of convert() and explain().")
      .def("__init__",
           [](ConvertOptions* self) {
             new (self) ConvertOptions();
             self->kernel_cache = KernelCache();
           })
      .def_rw("tags", &ConvertOptions::tags)
      .def_rw("signatures", &ConvertOptions::signatures, "Signatures to convert; empty: all.")
      .def_rw("precision", &ConvertOptions::precision)
      .def_rw("device", &ConvertOptions::device,
              "cpu, cuda or cuda:<index>: what engines are built and timed for.")
      .def_rw("kernel_cache", &ConvertOptions::kernel_cache)
      .def_rw("tf32", &ConvertOptions::tf32)
      .def_rw("minimum_segment_size", &ConvertOptions::minimum_segment_size)
      .def_rw("max_engines", &ConvertOptions::max_engines, "Per signature; 0: no limit.")
      .def_rw("excluded_ops", &ConvertOptions::excluded_ops, "Op types that stay native.")
      .def_rw("excluded_nodes", &ConvertOptions::excluded_nodes, "Nodes that stay native.")
      .def_rw("build_shapes", &ConvertOptions::build_shapes,
              "Input shapes by name; tactics are timed at these. Empty: batch 1, on GPUs also 32.")
      .def_rw("effort", &ConvertOptions::effort, "fast, default or max.")
      .def_rw("build_engines", &ConvertOptions::build_engines,
              "False: engines are built when first loaded.")
      .def_rw("allow_build_at_runtime", &ConvertOptions::allow_build_at_runtime)
      .def_rw("maximum_cached_engines", &ConvertOptions::maximum_cached_engines)
      .def_rw("max_workspace_size_bytes", &ConvertOptions::max_workspace_size_bytes)
      .def_rw("threads", &ConvertOptions::threads, "0: all CPUs.")
      .def_rw("timing_cache", &ConvertOptions::timing_cache,
              "File to read and extend; empty: none.")
      .def_prop_rw(
          "calibration",
          [](const ConvertOptions& options) {
            return std::const_pointer_cast<Calibration>(options.calibration);
          },
          [](ConvertOptions& options, std::shared_ptr<Calibration> calibration) {
            options.calibration = std::move(calibration);
          },
          nb::for_setter(nb::arg("calibration").none()), "INT8, FP8: the ranges observed; or None.")
      .def_rw("calibration_table", &ConvertOptions::calibration_table,
              "INT8, FP8: the file of a calibration table; empty: none.")
      .def_rw("max_error", &ConvertOptions::max_error,
              "Of any output against FP32, |error| / |output|, before layers are raised.")
      .def_rw("max_top1_drop", &ConvertOptions::max_top1_drop,
              "Share of rows whose greatest element may move.");
  nb::class_<ConvertReport>(m, "ConvertReport", "What a conversion did, or would do.")
      .def_ro("text", &ConvertReport::text, "For people.")
      .def_ro("json", &ConvertReport::json, "For machines.")
      .def_ro("engines", &ConvertReport::engines)
      .def_ro("converted_share", &ConvertReport::converted_share,
              "Of compute nodes, over all converted signatures.")
      .def("__str__", [](const ConvertReport& report) { return report.text; });
  m.def(
      "convert",
      [](const std::string& input_dir, const std::string& output_dir, const ConvertOptions& options,
         const nb::object& progress) {
        return Call(options, progress, [&](const ConvertOptions& with_progress) {
          return ConvertSavedModel(input_dir, output_dir, with_progress);
        });
      },
      nb::arg("input_dir"), nb::arg("output_dir"), nb::arg("options"),
      nb::arg("progress").none() = nb::none());
  m.def(
      "explain",
      [](const std::string& input_dir, const ConvertOptions& options) {
        return Call(options, nb::none(),
                    [&](const ConvertOptions& same) { return ExplainSavedModel(input_dir, same); });
      },
      nb::arg("input_dir"), nb::arg("options"));
}

}  // namespace tfengine::python
