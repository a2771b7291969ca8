// SPDX-License-Identifier: Apache-2.0
#include "errors.h"

#include <nanobind/nanobind.h>

namespace nb = nanobind;

namespace tfengine::python {

void Raise(const Status& status) {
  const nb::object error =
      nb::module_::import_("tfengine.errors")
          .attr("from_status")(static_cast<int>(status.code()), status.error_id(),
                               nb::str(status.ToString().c_str()));
  PyErr_SetObject(error.type().ptr(), error.ptr());
  throw nb::python_error();
}

}  // namespace tfengine::python
