// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "quant/range.h"
#include "tfengine/status.h"

namespace tfengine::quant {

// What calibration found of one value. An entry written by hand needs only lo and hi.
struct ValueCalibration {
  float lo = 0, hi = 0;          // the range for the codes; lo <= 0 <= hi
  float min = 0, max = 0;        // what was seen
  std::string method = "manual";  // a Method's name, or "manual"
  int64_t count = 0, nan = 0, inf = 0;

  Range range() const { return {lo, hi}; }
  bool operator==(const ValueCalibration&) const = default;
};

struct EngineCalibration {
  std::string fingerprint;  // of the network whose values these are; empty: not checked
  std::map<std::string, ValueCalibration> values;
  bool operator==(const EngineCalibration&) const = default;
};

// The calibrated ranges of a model's engines: a JSON file to be read, compared and edited.
//
//   {"format": 1, "tfengine": "0.1.0", "method": "entropy", "samples": 128,
//    "engines": {"TRTEngineOp_...": {"fingerprint": "crc32c:89abcdef", "values": {
//      "conv1": {"min": 0, "max": 7.25, "lo": 0, "hi": 5.5, "method": "entropy", "count": 802816, "nan": 0, "inf": 0}}}}}
struct CalibrationTable {
  static constexpr int kFormat = 1;

  std::string tfengine = TFENGINE_VERSION;  // the version that wrote it
  std::string method;
  int64_t samples = 0;
  std::map<std::string, EngineCalibration> engines;

  // Errors: kFileMissing, kFileUnreadable, kCalibrationInvalid naming the entry.
  static Result<CalibrationTable> Load(const std::string& path);
  // `where` stands in front of messages.
  static Result<CalibrationTable> Parse(std::string_view text, const std::string& where);
  std::string ToJson() const;
  // Writes beside, then renames. Error: kOutputUnwritable.
  Status Save(const std::string& path) const;

  bool operator==(const CalibrationTable&) const = default;
};

// Of a network's text form. It does not tell other weights of the same network apart.
std::string Fingerprint(std::string_view network_text);

// One line for each way in which the table does not fit this engine: no entry, made for another network, values without
// a range, ranges of values that are not there. Nothing of it is fatal: values without a range stay in floating point.
std::vector<std::string> CheckCalibration(const CalibrationTable& table, const std::string& engine,
                                          const std::string& fingerprint, const std::vector<std::string>& values);

}  // namespace tfengine::quant
