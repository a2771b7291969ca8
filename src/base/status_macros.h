// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "tfengine/status.h"

#define TFE_CONCAT_INNER(a, b) a##b
#define TFE_CONCAT(a, b) TFE_CONCAT_INNER(a, b)

#define TFE_RETURN_IF_ERROR(expr)                              \
  do {                                                         \
    ::tfengine::Status tfe_status_ = (expr);                   \
    if (!tfe_status_.ok()) return tfe_status_;                 \
  } while (0)

// TFE_ASSIGN_OR_RETURN(auto x, MakeX());
#define TFE_ASSIGN_OR_RETURN(lhs, expr) \
  TFE_ASSIGN_OR_RETURN_IMPL(TFE_CONCAT(tfe_result_, __LINE__), lhs, expr)
#define TFE_ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr) \
  auto tmp = (expr);                              \
  if (!tmp.ok()) return tmp.status();             \
  lhs = std::move(tmp).value()
