// SPDX-License-Identifier: Apache-2.0
// Network → text.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <unordered_map>

#include "base/errors.h"
#include "network/infer.h"
#include "network/lexical.h"

namespace tfengine {
namespace {

std::string Quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      (out += '\\') += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string NameToText(const std::string& name) {
  const bool bare = !name.empty() && name.back() != ':' && std::all_of(name.begin(), name.end(), lexical::IsNameChar);
  return "%" + (bare ? name : Quoted(name));
}

std::string DoubleToText(double v) {
  if (std::isnan(v)) return "nan";
  if (std::isinf(v)) return v < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), v).ptr;
  std::string text(buffer, end);
  return text.find_first_of(".e") == std::string::npos ? text + ".0" : text;
}

std::string AttrToText(const DimTable& dims, const std::string& key, const Attr& attr) {
  struct Visitor {
    const DimTable& dims;
    const std::string& key;
    std::string operator()(int64_t v) const {
      const DType dtype = static_cast<DType>(v);
      return key == "dtype" && infer::IsElement(dtype) ? ShortName(dtype) : std::to_string(v);
    }
    std::string operator()(double v) const { return DoubleToText(v); }
    std::string operator()(bool v) const { return v ? "true" : "false"; }
    std::string operator()(const std::string& v) const { return lexical::IsBareWord(v) ? v : Quoted(v); }
    std::string operator()(const std::vector<int64_t>& v) const { return tfengine::ShapeToString(v); }
    std::string operator()(const Shape& v) const { return ShapeToString(dims, v); }
  };
  return std::visit(Visitor{dims, key}, attr);
}

// The number of each constant tensor, in the order of the values.
std::unordered_map<const Tensor*, int> Numbers(const Network& net, std::vector<std::shared_ptr<const Tensor>>* list) {
  std::unordered_map<const Tensor*, int> numbers;
  for (const Value& value : net.values()) {
    if (!value.constant || !numbers.emplace(value.constant.get(), static_cast<int>(numbers.size())).second) continue;
    if (list) list->push_back(value.constant);
  }
  return numbers;
}

void PrintNode(const Network& net, const Node& node, std::string* out) {
  const DimTable& dims = net.dims();
  *out += "  ";
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const Value& value = net.value(node.outputs[i]);
    if (i) *out += ", ";
    *out += NameToText(value.name) + ": " + TypeToString(dims, value.dtype, value.shape);
  }
  (*out += " = ") += OpName(node.op);
  *out += '(';
  for (size_t i = 0; i < node.inputs.size(); ++i) {
    if (i) *out += ", ";
    *out += node.inputs[i] == kNoValue ? "_" : NameToText(net.value(node.inputs[i]).name);
  }
  *out += ')';
  if (!node.attrs.items().empty()) {
    const char* separator = " {";
    for (const auto& [key, attr] : node.attrs.items()) {
      *out += separator + key + "=" + AttrToText(dims, key, attr);
      separator = ", ";
    }
    *out += '}';
  }
  if (!node.name.empty()) *out += " " + Quoted(node.name);
  *out += '\n';
}

}  // namespace

std::string PrintNetwork(const Network& net) {
  const DimTable& dims = net.dims();
  const auto numbers = Numbers(net, nullptr);
  std::string out = "network {\n";
  for (ValueId v : net.inputs()) {
    const Value& value = net.value(v);
    out += "  input " + NameToText(value.name) + ": " + TypeToString(dims, value.dtype, value.shape) + "\n";
  }
  for (const Value& value : net.values())
    if (value.constant)
      out += fmt::format("  const {}: {} @{}\n", NameToText(value.name), TypeToString(dims, value.dtype, value.shape),
                         numbers.at(value.constant.get()));
  for (const Node& node : net.nodes()) PrintNode(net, node, &out);
  // In an order of their own, as inference may find them in another.
  std::vector<std::string> requires_lines;
  for (const DimConstraint& c : net.constraints()) {
    std::string a = dims.ToString(c.a), b = dims.ToString(c.b);
    if (c.a.is_const() != c.b.is_const() ? c.a.is_const() : b < a) std::swap(a, b);
    requires_lines.push_back("  require " + a + " == " + b + "\n");
  }
  std::sort(requires_lines.begin(), requires_lines.end());
  for (const std::string& line : requires_lines) out += line;
  out += "  return";
  for (size_t i = 0; i < net.outputs().size(); ++i)
    out += (i ? ", " : " ") + NameToText(net.value(net.outputs()[i]).name);
  return out + "\n}\n";
}

std::vector<std::shared_ptr<const Tensor>> NetworkConstants(const Network& network) {
  std::vector<std::shared_ptr<const Tensor>> constants;
  Numbers(network, &constants);
  return constants;
}

}  // namespace tfengine
