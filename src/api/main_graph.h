// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "saved_model/saved_model.h"
#include "tfgraph/build.h"
#include "tfgraph/graph.h"

namespace tfengine {

// TensorFlow 1: a signature names tensors of the main graph, and users fetch them by those names.
// Where a returned tensor is now made by another node (an engine), adds an IdentityN under the old
// name with the old ports, unless the old node, in `original`, had outputs that the signature does
// not return.
void KeepReturnNames(const saved_model::SignatureDef& def, const tfgraph::Graph& original,
                     tfgraph::SignatureGraph& signature);

}  // namespace tfengine
