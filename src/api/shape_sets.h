// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "tfengine/convert.h"
#include "tfengine/status.h"

namespace tfengine {

// ConvertOptions::build_shapes as text: "x=1x224x224x3,8x224x224x3", inputs separated by ';' or in
// several texts. The first shapes of all inputs are one set, the second ones another; an input with
// a single shape has it in every set. Error: kBadFlag.
Result<std::vector<ShapeMap>> ParseShapeSets(const std::vector<std::string>& texts);

}  // namespace tfengine
