// SPDX-License-Identifier: Apache-2.0
#include "bindings.h"

NB_MODULE(_core, m) {
  m.doc() = "tfengine's C++ library.";
  m.attr("__version__") = TFENGINE_VERSION;
  tfengine::python::BindSpecs(m);
  tfengine::python::BindEngine(m);
  tfengine::python::BindModel(m);
  tfengine::python::BindConvert(m);
  tfengine::python::BindCompare(m);
}
