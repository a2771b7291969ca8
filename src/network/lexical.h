// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string_view>

// What the printer and the parser of networks agree on.
namespace tfengine::lexical {

inline bool IsDigit(char c) { return c >= '0' && c <= '9'; }
inline bool IsWordStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
inline bool IsWordChar(char c) { return IsWordStart(c) || IsDigit(c); }
// Characters of value names that need no quotes. A ':' at the end is not part of an unquoted name.
inline bool IsNameChar(char c) {
  return IsWordChar(c) || c == '.' || c == '/' || c == ':' || c == '>' || c == '^' || c == '-';
}
// Strings that may stand without quotes as an attribute.
inline bool IsBareWord(std::string_view s) {
  if (s.empty() || !IsWordStart(s[0]) || s == "true" || s == "false" || s == "inf" || s == "nan") return false;
  for (char c : s)
    if (!IsWordChar(c)) return false;
  return true;
}

}  // namespace tfengine::lexical
