// SPDX-License-Identifier: Apache-2.0
// Converts a SavedModel, then runs its first signature on ones. No TensorFlow involved.
//   convert_and_run <SavedModel> <output directory>
#include <tfengine/convert.h>
#include <tfengine/model.h>

#include <algorithm>
#include <cstdio>

int main(int argc, char** argv) {
  if (argc != 3) return std::fprintf(stderr, "usage: convert_and_run SAVED_MODEL OUTPUT\n"), 2;

  auto report = tfengine::ConvertSavedModel(argv[1], argv[2]);
  if (!report.ok()) return std::fprintf(stderr, "%s\n", report.status().ToString().c_str()), 1;
  std::printf("%s\n", report->text.c_str());

  auto model = tfengine::Model::Load(argv[2]);
  if (!model.ok()) return std::fprintf(stderr, "%s\n", model.status().ToString().c_str()), 1;
  const tfengine::SignatureInfo& signature = (*model)->signatures()[0];

  std::map<std::string, tfengine::Tensor> inputs;
  for (const tfengine::TensorSpec& spec : signature.inputs) {
    std::vector<int64_t> shape = spec.shape;
    std::replace(shape.begin(), shape.end(), int64_t{-1}, int64_t{1});
    tfengine::Tensor tensor(spec.dtype, shape);
    std::fill_n(tensor.mutable_as<char>(), tensor.num_bytes(), '\0');
    if (spec.dtype == tfengine::DType::kFloat32)
      std::fill_n(tensor.mutable_as<float>(), tensor.num_elements(), 1.0f);
    inputs[spec.name] = tensor;
  }
  auto outputs = (*model)->Run(signature.name, inputs);
  if (!outputs.ok()) return std::fprintf(stderr, "%s\n", outputs.status().ToString().c_str()), 1;
  for (const auto& [name, tensor] : *outputs)
    std::printf("%s: %s%s\n", name.c_str(), tfengine::DTypeName(tensor.dtype()),
                tfengine::ShapeToString(tensor.shape()).c_str());
  return 0;
}
