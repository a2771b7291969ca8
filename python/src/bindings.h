// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

namespace tfengine::python {

void BindSpecs(nanobind::module_& m);
void BindEngine(nanobind::module_& m);
void BindModel(nanobind::module_& m);
void BindConvert(nanobind::module_& m);
void BindCompare(nanobind::module_& m);

}  // namespace tfengine::python
