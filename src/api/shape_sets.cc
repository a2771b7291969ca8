// SPDX-License-Identifier: Apache-2.0
#include "api/shape_sets.h"

#include <algorithm>
#include <charconv>
#include <sstream>

#include "base/errors.h"
#include "base/status_macros.h"

namespace tfengine {
namespace {

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

Result<std::vector<int64_t>> ParseShape(const std::string& text) {
  std::vector<int64_t> shape;
  for (const std::string& part : Split(text, 'x')) {
    int64_t size = 0;
    auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), size);
    if (error != std::errc() || end != part.data() + part.size() || size < 0)
      return Error(ErrorId::kBadFlag, "shape \"{}\": expected sizes like 1x224x224x3", text);
    shape.push_back(size);
  }
  return shape;
}

}  // namespace

Result<std::vector<ShapeMap>> ParseShapeSets(const std::vector<std::string>& texts) {
  std::map<std::string, std::vector<std::vector<int64_t>>> by_input;
  size_t sets = 0;
  for (const std::string& text : texts)
    for (const std::string& item : Split(text, ';')) {
      size_t equals = item.find('=');
      if (equals == std::string::npos || equals == 0)
        return Error(ErrorId::kBadFlag, "shapes \"{}\": expected INPUT=SHAPE,SHAPE...", item);
      auto& shapes = by_input[item.substr(0, equals)];
      for (const std::string& shape_text : Split(item.substr(equals + 1), ',')) {
        TFE_ASSIGN_OR_RETURN(auto shape, ParseShape(shape_text));
        shapes.push_back(std::move(shape));
      }
      sets = std::max(sets, shapes.size());
    }
  std::vector<ShapeMap> result(sets);
  for (auto& [name, shapes] : by_input) {
    if (shapes.size() != sets && shapes.size() != 1)
      return Error(ErrorId::kBadFlag,
                   "shapes of \"{}\": expected {} or one, as for the other inputs, got {}", name,
                   sets, shapes.size());
    for (size_t i = 0; i < sets; ++i) result[i][name] = shapes[shapes.size() == 1 ? 0 : i];
  }
  return result;
}

}  // namespace tfengine
