// SPDX-License-Identifier: Apache-2.0
#include "api/compare_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/errors.h"

namespace tfengine {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kWorst = 10;

std::string PrecisionsText(const ComparedValue& layer) {
  auto or_dash = [](const std::string& text) { return text.empty() ? "-" : text; };
  return fmt::format("{} / {}", or_dash(layer.precision_a), or_dash(layer.precision_b));
}

std::string OutputText(const ComparedValue& v) {
  if (v.discrete) return fmt::format("{:.2f} % of the elements are equal", 100 * v.equal);
  std::string text = fmt::format("error {:.3g} %, signal to noise {:.1f} dB, cosine {:.6f}, greatest error {:.3g}",
                                 100 * v.relative_rms, v.snr_db, v.cosine, v.max_abs_error);
  if (v.rows > 0) text += fmt::format(", same top-1 in {:.2f} % of {} rows", 100 * v.top1_agreement, v.rows);
  return text;
}

std::string Text(const CompareTitle& title, const CompareReport& report) {
  std::string text = fmt::format("a: {} ({})\nb: {} ({})\nsignature {}, {} runs\n", title.a.dir, title.a.precision,
                                 title.b.dir, title.b.precision, report.signature, report.runs);
  for (const ComparedValue& output : report.outputs)
    text += fmt::format("output {}: {}\n", output.name, OutputText(output));
  if (report.layers.empty()) return text + "no layer is shared by both\n";
  if (report.first_below < 0) {
    text += fmt::format("no layer is below {:g} dB\n", title.threshold_db);
  } else {
    const ComparedValue& first = report.layers[report.first_below];
    text += fmt::format("first layer below {:g} dB: {} ({}, {}): {:.1f} dB\n", title.threshold_db, first.name, first.op,
                        PrecisionsText(first), first.snr_db);
  }
  const std::vector<int> worst = report.Worst(kWorst);
  text += fmt::format("worst of {} layers (signal to noise, error, precisions of a / b, op, name):\n", report.layers.size());
  for (int i : worst) {
    const ComparedValue& layer = report.layers[i];
    text += fmt::format("  {:6.1f} dB  {:8.3g} %  {:11}  {:14} {}\n", layer.snr_db, 100 * layer.relative_rms,
                        PrecisionsText(layer), layer.op, layer.name);
  }
  return text;
}

Json ValueJson(const ComparedValue& v) {
  if (v.discrete) return {{"name", v.name}, {"equal", v.equal}};
  Json json = {{"name", v.name}};
  if (!v.op.empty()) json.update({{"op", v.op}, {"precision_a", v.precision_a}, {"precision_b", v.precision_b}});
  json.update({{"snr_db", v.snr_db},
               {"relative_rms", v.relative_rms},
               {"max_abs_error", v.max_abs_error},
               {"cosine", v.cosine},
               {"top1_agreement", v.top1_agreement},
               {"rows", v.rows}});
  return json;
}

}  // namespace

void Describe(const CompareTitle& title, CompareReport* report) {
  report->text = Printable(Text(title, *report), /*keep_lines=*/true);
  Json json = {{"a", title.a.dir},
               {"b", title.b.dir},
               {"precision_a", title.a.precision},
               {"precision_b", title.b.precision},
               {"signature", report->signature},
               {"runs", report->runs},
               {"threshold_db", title.threshold_db},
               {"first_below", report->first_below},
               {"outputs", Json::array()},
               {"layers", Json::array()}};
  for (const ComparedValue& v : report->outputs) json["outputs"].push_back(ValueJson(v));
  for (const ComparedValue& v : report->layers) json["layers"].push_back(ValueJson(v));
  report->json = json.dump(1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace tfengine
