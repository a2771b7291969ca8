// SPDX-License-Identifier: Apache-2.0
#include "quant/table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/crc32c.h"
#include "base/errors.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"

namespace tfengine::quant {
namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

constexpr size_t kNamesShown = 5;

// The double that prints as short as the float does, and is that float again when read.
double Short(float x) { return std::strtod(fmt::format("{}", x).c_str(), nullptr); }

std::string Excerpt(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 60);
}

// Reads members of one object; remembers the first thing that is wrong with it.
class Reader {
 public:
  Reader(const Json& json, std::string where) : json_(json), where_(std::move(where)) {
    if (!json.is_object()) FailOn("", "an object", json);
  }

  void Read(const char* key, int64_t* out, bool required) {
    const Json* item = Find(key, required, "a whole number");
    if (!item) return;
    if (!item->is_number_integer() || item->get<int64_t>() < 0) return FailOn(key, "a whole number, not negative", *item);
    *out = item->get<int64_t>();
  }
  void Read(const char* key, float* out, bool required) {
    const Json* item = Find(key, required, "a number");
    if (!item) return;
    if (!item->is_number() || !std::isfinite(static_cast<float>(item->get<double>())))
      return FailOn(key, "a finite number", *item);
    *out = static_cast<float>(item->get<double>());
  }
  void Read(const char* key, std::string* out, bool required) {
    const Json* item = Find(key, required, "a text");
    if (!item) return;
    if (!item->is_string()) return FailOn(key, "a text", *item);
    *out = item->get<std::string>();
  }
  const Json* Object(const char* key) {
    const Json* item = Find(key, true, "an object");
    if (item && !item->is_object()) {
      FailOn(key, "an object", *item);
      item = nullptr;
    }
    return item;
  }
  void FailOn(const std::string& key, const std::string& expected, const Json& got) {
    Fail(key, expected, Excerpt(got));
  }
  void Fail(const std::string& key, const std::string& expected, const std::string& got) {
    if (!status_.ok()) return;
    status_ = Error(ErrorId::kCalibrationInvalid, "{}{}{}: expected {}, got {}; correct it or calibrate again", where_,
                    key.empty() ? "" : ": ", key, expected, got);
  }
  // Members that nobody asked for are mistakes of whoever edited the file.
  Status Finish() {
    if (status_.ok() && json_.is_object())
      for (const auto& [key, item] : json_.items())
        if (!known_.count(key)) Fail(key, fmt::format("one of {}", fmt::join(known_, ", ")), "an unknown key");
    return status_;
  }

 private:
  const Json* Find(const char* key, bool required, const char* expected) {
    known_.insert(key);
    if (!json_.is_object()) return nullptr;
    const auto item = json_.find(key);
    if (item != json_.end()) return &*item;
    if (required) Fail(key, expected, "nothing");
    return nullptr;
  }

  const Json& json_;
  std::string where_;
  std::set<std::string> known_;
  Status status_;
};

Result<ValueCalibration> ParseValue(const Json& json, const std::string& where) {
  ValueCalibration v;
  Reader reader(json, where);
  reader.Read("lo", &v.lo, true);
  reader.Read("hi", &v.hi, true);
  reader.Read("min", &v.min, false);
  reader.Read("max", &v.max, false);
  reader.Read("method", &v.method, false);
  reader.Read("count", &v.count, false);
  reader.Read("nan", &v.nan, false);
  reader.Read("inf", &v.inf, false);
  if (v.lo > 0 || v.hi < 0) reader.Fail("", "lo <= 0 <= hi", fmt::format("lo = {}, hi = {}", v.lo, v.hi));
  if (v.min > v.max) reader.Fail("", "min <= max", fmt::format("min = {}, max = {}", v.min, v.max));
  if (v.method != "manual" && !ParseMethod(v.method))
    reader.Fail("method", fmt::format("one of manual, {}", MethodNames()), fmt::format("\"{}\"", v.method));
  TFE_RETURN_IF_ERROR(reader.Finish());
  return v;
}

Result<EngineCalibration> ParseEngine(const Json& json, const std::string& where) {
  EngineCalibration engine;
  Reader reader(json, where);
  reader.Read("fingerprint", &engine.fingerprint, false);
  const Json* values = reader.Object("values");
  TFE_RETURN_IF_ERROR(reader.Finish());
  for (const auto& [name, item] : values->items()) {
    TFE_ASSIGN_OR_RETURN(engine.values[name], ParseValue(item, fmt::format("{}: value \"{}\"", where, name)));
  }
  return engine;
}

// "a, b, c and 7 more"
std::string Names(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kNamesShown);
  std::string text = fmt::format("{}", fmt::join(names.begin(), names.begin() + static_cast<ptrdiff_t>(shown), ", "));
  if (shown < names.size()) text += fmt::format(" and {} more", names.size() - shown);
  return text;
}

}  // namespace

Result<CalibrationTable> CalibrationTable::Load(const std::string& path) {
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  return Parse(file->bytes(), path);
}

Result<CalibrationTable> CalibrationTable::Parse(std::string_view text, const std::string& where) {
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || !json.contains("format"))
    return Error(ErrorId::kCalibrationInvalid,
                 "{}: expected a calibration table, a JSON object with \"format\": {}; write one with tfengine calibrate",
                 where, kFormat);
  if (json["format"] != kFormat)
    return Error(ErrorId::kCalibrationInvalid, "{}: format: expected {}, got {}; calibrate again with this version", where,
                 kFormat, Excerpt(json["format"]));
  CalibrationTable table;
  int64_t format;
  Reader reader(json, where);
  reader.Read("format", &format, true);
  reader.Read("tfengine", &table.tfengine, false);
  reader.Read("method", &table.method, false);
  reader.Read("samples", &table.samples, false);
  const Json* engines = reader.Object("engines");
  TFE_RETURN_IF_ERROR(reader.Finish());
  for (const auto& [name, item] : engines->items()) {
    TFE_ASSIGN_OR_RETURN(table.engines[name], ParseEngine(item, fmt::format("{}: engine \"{}\"", where, name)));
  }
  return table;
}

std::string CalibrationTable::ToJson() const {
  OrderedJson list = OrderedJson::object();
  for (const auto& [name, engine] : engines) {
    OrderedJson items = OrderedJson::object();
    for (const auto& [value, v] : engine.values) {
      items[value] = {{"min", Short(v.min)}, {"max", Short(v.max)}, {"lo", Short(v.lo)}, {"hi", Short(v.hi)},
                      {"method", v.method},  {"count", v.count},    {"nan", v.nan},      {"inf", v.inf}};
    }
    list[name] = {{"fingerprint", engine.fingerprint}, {"values", std::move(items)}};
  }
  const OrderedJson json = {{"format", kFormat},
                            {"tfengine", tfengine},
                            {"method", method},
                            {"samples", samples},
                            {"engines", std::move(list)}};
  return json.dump(1, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

Status CalibrationTable::Save(const std::string& path) const {
  const std::string beside = path + ".partial";
  {
    std::ofstream out(beside, std::ios::trunc | std::ios::binary);
    out << ToJson();
    out.close();
    if (!out.good()) {
      std::remove(beside.c_str());
      return Error(ErrorId::kOutputUnwritable, "{}: the calibration table cannot be written", path);
    }
  }
  if (std::rename(beside.c_str(), path.c_str()) == 0) return OkStatus();
  std::remove(beside.c_str());
  return Error(ErrorId::kOutputUnwritable, "{}: cannot be replaced by the calibration table", path);
}

std::string Fingerprint(std::string_view network_text) { return fmt::format("crc32c:{:08x}", Crc32c(network_text)); }

std::vector<std::string> CheckCalibration(const CalibrationTable& table, const std::string& engine,
                                          const std::string& fingerprint, const std::vector<std::string>& values) {
  const auto found = table.engines.find(engine);
  if (found == table.engines.end())
    return {fmt::format("{}: the calibration table has no ranges for this engine", engine)};
  const EngineCalibration& entry = found->second;
  std::vector<std::string> notices;
  if (!entry.fingerprint.empty() && entry.fingerprint != fingerprint)
    notices.push_back(fmt::format("{}: the calibration table was made for another network ({}, this is {})", engine,
                                  entry.fingerprint, fingerprint));
  std::vector<std::string> missing, unknown;
  for (const std::string& value : values)
    if (!entry.values.count(value)) missing.push_back(value);
  const std::set<std::string> present(values.begin(), values.end());
  for (const auto& [name, v] : entry.values)
    if (!present.count(name)) unknown.push_back(name);
  if (!missing.empty())
    notices.push_back(fmt::format("{}: {} values have no calibrated range and stay in floating point: {}", engine,
                                  missing.size(), Names(missing)));
  if (!unknown.empty())
    notices.push_back(fmt::format("{}: the calibration table has {} values that the network does not: {}", engine,
                                  unknown.size(), Names(unknown)));
  return notices;
}

}  // namespace tfengine::quant
