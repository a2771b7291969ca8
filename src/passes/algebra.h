// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <optional>
#include <vector>

#include "passes/rewriter.h"

namespace tfengine::passes {

// A sum of coefficient * product of values, elementwise with broadcasting: the normal form in which recognisers compare
// formulas, so that the order of factors, signs and constants does not matter. The key is sorted; {} is the constant
// term. Terms with coefficient 0 are absent.
using Polynomial = std::map<std::vector<ValueId>, double>;

struct Expansion {
  // Values that are left as variables.
  std::vector<ValueId> atoms;
  // Non-splat constants become variables; otherwise they end the expansion.
  bool constants_are_atoms = false;
};

// Expresses `id` by the atoms through add, sub, mul, div by constants, neg, square, pow with small powers and
// squared_difference; broadcasts do not show, so the caller compares shapes. nullopt when it cannot (another op or
// value, a fused activation, too many terms).
std::optional<Polynomial> Expand(Rewriter& rewriter, ValueId id, const Expansion& expansion);

// Equal up to a relative error of coefficients that decimal constants in source code have (2e-5).
bool Close(double a, double b);
bool Close(const Polynomial& a, const Polynomial& b);

}  // namespace tfengine::passes
