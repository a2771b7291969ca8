// SPDX-License-Identifier: Apache-2.0
#include "arrays.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <utility>
#include <vector>

#include "errors.h"

namespace nb = nanobind;

namespace tfengine::python {
namespace {

nb::dlpack::dtype DlpackType(DType dtype) {
  using Code = nb::dlpack::dtype_code;
  const auto bits = static_cast<uint8_t>(DTypeSize(dtype) * 8);
  switch (dtype) {
    case DType::kFloat16:
    case DType::kFloat32:
    case DType::kFloat64:
      return {static_cast<uint8_t>(Code::Float), bits, 1};
    case DType::kInt8:
    case DType::kInt16:
    case DType::kInt32:
    case DType::kInt64:
      return {static_cast<uint8_t>(Code::Int), bits, 1};
    case DType::kBool:
      return {static_cast<uint8_t>(Code::Bool), bits, 1};
    case DType::kComplex64:
    case DType::kComplex128:
      return {static_cast<uint8_t>(Code::Complex), bits, 1};
    default:
      return {static_cast<uint8_t>(Code::UInt), bits, 1};  // bfloat16 travels as uint16
  }
}

}  // namespace

Tensor ToTensor(nb::handle value, DType wanted, nb::list& keep) {
  const nb::module_ numpy = nb::module_::import_("numpy");
  const bool is_array =
      nb::isinstance(value, numpy.attr("ndarray")) || nb::isinstance(value, numpy.attr("generic"));
  nb::object array = is_array || wanted == DType::kInvalid || wanted == DType::kBfloat16
                         ? numpy.attr("asarray")(value)
                         : numpy.attr("asarray")(value, nb::str(DTypeName(wanted)));
  if (!nb::cast<bool>(array.attr("flags").attr("c_contiguous"))) array = array.attr("copy")();
  const auto name = nb::cast<std::string>(nb::str(array.attr("dtype").attr("name")));
  const DType dtype = DTypeFromName(name);
  if (DTypeSize(dtype) == 0) {
    Raise(Status(StatusCode::kInvalidArgument, 601,
                 "an array of type " + name + " cannot be an input; convert it to a number type"));
  }
  keep.append(array);
  const nb::object description = array.attr("__array_interface__");
  const auto address = nb::cast<uintptr_t>(description["data"][0]);
  return Tensor(dtype, nb::cast<std::vector<int64_t>>(description["shape"]),
                reinterpret_cast<const void*>(address), nullptr);
}

std::map<std::string, Tensor> ToTensors(const nb::dict& values, const std::vector<TensorSpec>& specs,
                                        nb::list& keep) {
  std::map<std::string, Tensor> tensors;
  for (const auto& [key, value] : values) {
    const auto name = nb::cast<std::string>(key);
    DType wanted = DType::kInvalid;
    for (const TensorSpec& spec : specs)
      if (spec.name == name) wanted = spec.dtype;
    tensors.emplace(name, ToTensor(value, wanted, keep));
  }
  return tensors;
}

nb::object ToNumpy(const Tensor& tensor) {
  std::vector<size_t> shape(tensor.shape().begin(), tensor.shape().end());
  auto* kept = new Tensor(tensor);
  const nb::capsule owner(kept,
                          [](void* pointer) noexcept { delete static_cast<Tensor*>(pointer); });
  nb::object array =
      nb::cast(nb::ndarray<nb::numpy>(const_cast<void*>(kept->data()), shape.size(), shape.data(),
                                      owner, nullptr, DlpackType(kept->dtype())));
  if (tensor.dtype() == DType::kBfloat16)
    array = array.attr("view")(nb::module_::import_("ml_dtypes").attr("bfloat16"));
  return array;
}

}  // namespace tfengine::python
