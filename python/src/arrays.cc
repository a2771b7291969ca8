// SPDX-License-Identifier: Apache-2.0
#include "arrays.h"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "errors.h"

namespace nb = nanobind;

namespace tfengine::python {
namespace {

// A Python object that owns a tensor and lends its memory to one NumPy array.
struct Block {
  PyObject_HEAD
  Tensor tensor;
};

int GetBlockBuffer(PyObject* self, Py_buffer* view, int flags) {
  const Tensor& tensor = reinterpret_cast<Block*>(self)->tensor;
  return PyBuffer_FillInfo(view, self, const_cast<void*>(tensor.data()),
                           static_cast<Py_ssize_t>(tensor.num_bytes()), 0, flags);
}

void FreeBlock(PyObject* self) {
  PyTypeObject* const type = Py_TYPE(self);
  reinterpret_cast<Block*>(self)->tensor.~Tensor();
  type->tp_free(self);
  Py_DECREF(type);
}

PyTypeObject* MakeBlockType() {
  static PyType_Slot slots[] = {
      {Py_tp_dealloc, reinterpret_cast<void*>(FreeBlock)},
      {Py_bf_getbuffer, reinterpret_cast<void*>(GetBlockBuffer)},
      {0, nullptr},
  };
  static PyType_Spec spec = {"tfengine._core._Block", sizeof(Block), 0,
                             Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, slots};
  PyObject* const type = PyType_FromSpec(&spec);
  if (type == nullptr) nb::raise_python_error();
  return reinterpret_cast<PyTypeObject*>(type);
}

// What conversions need of NumPy, looked up once: a call of a small model costs a few microseconds.
struct NumPy {
  nb::object asarray, ndarray, generic;
  PyTypeObject* block;
  nb::object types[32];  // by DType's number

  NumPy() : block(MakeBlockType()) {
    const nb::module_ numpy = nb::module_::import_("numpy");
    asarray = numpy.attr("asarray");
    ndarray = numpy.attr("ndarray");
    generic = numpy.attr("generic");
  }

  // Lives as long as the process. Not a static object: importing may switch threads, which must not wait for each other.
  static NumPy& Get() {
    static NumPy* known = nullptr;  // guarded by the GIL
    if (known == nullptr) {
      auto fresh = std::make_unique<NumPy>();
      if (known == nullptr) known = fresh.release();
    }
    return *known;
  }

  const nb::object& Type(DType dtype) {
    nb::object& type = types[static_cast<size_t>(dtype)];
    if (!type.is_valid()) {
      const nb::object name = dtype == DType::kBfloat16 ? nb::module_::import_("ml_dtypes").attr("bfloat16")
                                                        : nb::object(nb::str(DTypeName(dtype)));
      type = nb::module_::import_("numpy").attr("dtype")(name);
    }
    return type;
  }
};

// The element type of a buffer whose format is one native type; else kInvalid.
DType TypeOfFormat(const char* format, Py_ssize_t size) {
  if (format == nullptr || format[0] == 0 || format[1] != 0) return DType::kInvalid;
  switch (format[0]) {
    case 'f': return DType::kFloat32;
    case 'd': return DType::kFloat64;
    case 'e': return DType::kFloat16;
    case '?': return DType::kBool;
    case 'b': return DType::kInt8;
    case 'B': return DType::kUint8;
    case 'h': return DType::kInt16;
    case 'H': return DType::kUint16;
    case 'i':
    case 'l':
    case 'q': return size == 8 ? DType::kInt64 : DType::kInt32;
    case 'I':
    case 'L':
    case 'Q': return size == 8 ? DType::kUint64 : DType::kUint32;
    default: return DType::kInvalid;
  }
}

// A view of an array of usual type whose elements lie in a row; nullopt for any other.
std::optional<Tensor> ViewOf(nb::handle array) {
  Py_buffer view;
  if (PyObject_GetBuffer(array.ptr(), &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) != 0) {
    PyErr_Clear();
    return std::nullopt;
  }
  const DType dtype = TypeOfFormat(view.format, view.itemsize);
  std::optional<Tensor> tensor;
  if (static_cast<Py_ssize_t>(DTypeSize(dtype)) == view.itemsize && view.itemsize > 0)
    tensor.emplace(dtype, std::vector<int64_t>(view.shape, view.shape + view.ndim), view.buf, nullptr);
  PyBuffer_Release(&view);  // the array, which the caller keeps, still holds the memory
  return tensor;
}

}  // namespace

Tensor ToTensor(nb::handle value, DType wanted, nb::list& keep) {
  NumPy& numpy = NumPy::Get();
  if (value.type().is(numpy.ndarray)) {
    if (std::optional<Tensor> tensor = ViewOf(value)) {
      keep.append(value);
      return *std::move(tensor);
    }
  }
  const bool is_array = nb::isinstance(value, numpy.ndarray) || nb::isinstance(value, numpy.generic);
  nb::object array = is_array || wanted == DType::kInvalid || wanted == DType::kBfloat16
                         ? numpy.asarray(value)
                         : numpy.asarray(value, nb::str(DTypeName(wanted)));
  if (!nb::cast<bool>(array.attr("dtype").attr("isnative")))
    array = array.attr("astype")(array.attr("dtype").attr("newbyteorder")("="));
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
  NumPy& numpy = NumPy::Get();
  const auto block = nb::steal(numpy.block->tp_alloc(numpy.block, 0));
  if (!block.is_valid()) nb::raise_python_error();
  new (&reinterpret_cast<Block*>(block.ptr())->tensor) Tensor(tensor);
  const auto shape = nb::steal(PyTuple_New(tensor.rank()));
  if (!shape.is_valid()) nb::raise_python_error();
  for (int d = 0; d < tensor.rank(); ++d)
    PyTuple_SET_ITEM(shape.ptr(), d, PyLong_FromLongLong(tensor.shape()[d]));
  return numpy.ndarray(shape, numpy.Type(tensor.dtype()), block);
}

}  // namespace tfengine::python
