// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "tfengine/compare.h"

namespace tfengine {

struct CompareSubject {
  std::string dir;
  std::string precision;
};

struct CompareTitle {
  CompareSubject a, b;
  double threshold_db;
};

// Fills in `text` and `json` from the rest.
void Describe(const CompareTitle& title, CompareReport* report);

}  // namespace tfengine
