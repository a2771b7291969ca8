// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

#include "tfengine/types.h"

namespace tfengine::python {

// A view of a NumPy array, or of anything NumPy makes one from (then with element type `wanted`, if
// valid). `keep` gets the array that owns the memory and must outlive the tensor.
Tensor ToTensor(nanobind::handle value, DType wanted, nanobind::list& keep);

// A NumPy array that shares the tensor's buffer.
nanobind::object ToNumpy(const Tensor& tensor);

}  // namespace tfengine::python
