// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <nanobind/nanobind.h>

#include <map>
#include <string>
#include <vector>

#include "tfengine/engine.h"
#include "tfengine/types.h"

namespace tfengine::python {

// A view of a NumPy array, or of anything NumPy makes one from (then with element type `wanted`, if
// valid). `keep` gets the array that owns the memory and must outlive the tensor.
Tensor ToTensor(nanobind::handle value, DType wanted, nanobind::list& keep);

// The inputs of a signature from a mapping of names; element types are those of `specs`.
std::map<std::string, Tensor> ToTensors(const nanobind::dict& values,
                                        const std::vector<TensorSpec>& specs,
                                        nanobind::list& keep);

// A NumPy array that shares the tensor's buffer.
nanobind::object ToNumpy(const Tensor& tensor);

}  // namespace tfengine::python
