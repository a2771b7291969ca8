// SPDX-License-Identifier: Apache-2.0
// Text → network. The text may come from a damaged or hostile file.
#include <algorithm>
#include <charconv>
#include <limits>
#include <unordered_map>

#include "base/errors.h"
#include "base/status_macros.h"
#include "network/equalities.h"
#include "network/infer.h"
#include "network/lexical.h"

namespace tfengine {

class NetworkParser {
 public:
  NetworkParser(std::string_view text, const std::vector<std::shared_ptr<const Tensor>>& constants)
      : whole_(text), text_(text), constants_(constants) {}

  Result<Network> Parse() {
    if (Status s = Body(); !s.ok()) return s;
    if (Status s = CheckTypes(); !s.ok()) return s;
    return std::move(net_);
  }

 private:
  struct Declared {
    ValueId value;
    Shape inferred;
    size_t at;
  };

  // --- characters ---

  Status FailAt(size_t at, std::string_view what) const {
    const size_t line = 1 + std::count(whole_.begin(), whole_.begin() + static_cast<std::ptrdiff_t>(at), '\n');
    return Error(ErrorId::kNetworkTextInvalid, "network text, line {}: {}", line, what);
  }
  size_t at() const { return whole_.size() - text_.size(); }
  Status Fail(std::string_view what) const { return FailAt(at(), what); }

  char Peek() {
    while (!text_.empty() && (text_[0] == ' ' || text_[0] == '\n' || text_[0] == '\t' || text_[0] == '\r'))
      text_.remove_prefix(1);
    return text_.empty() ? '\0' : text_[0];
  }
  bool Take(char c) {
    if (Peek() != c || text_.empty()) return false;
    text_.remove_prefix(1);
    return true;
  }
  Status Expect(char c, const char* where) {
    if (Take(c)) return OkStatus();
    return Fail(fmt::format("expected '{}' {}", c, where));
  }
  std::string_view Word() {
    Peek();
    size_t n = 0;
    if (!text_.empty() && lexical::IsWordStart(text_[0]))
      while (n < text_.size() && lexical::IsWordChar(text_[n])) ++n;
    const std::string_view word = text_.substr(0, n);
    text_.remove_prefix(n);
    return word;
  }

  Status QuotedString(std::string* out) {
    TFE_RETURN_IF_ERROR(Expect('"', "in front of a string"));
    out->clear();
    while (!text_.empty()) {
      const char c = text_[0];
      text_.remove_prefix(1);
      if (c == '"') return OkStatus();
      if (c == '\n') break;
      if (c != '\\') {
        *out += c;
      } else if (text_.size() >= 3 && text_[0] == 'x') {
        unsigned value = 0;
        const auto parsed = std::from_chars(text_.data() + 1, text_.data() + 3, value, 16);
        if (parsed.ec != std::errc() || parsed.ptr != text_.data() + 3) return Fail("bad \\x escape in a string");
        *out += static_cast<char>(value);
        text_.remove_prefix(3);
      } else if (!text_.empty() && (text_[0] == '"' || text_[0] == '\\')) {
        *out += text_[0];
        text_.remove_prefix(1);
      } else {
        return Fail("bad escape in a string");
      }
    }
    return Fail("a string is not closed");
  }

  Status Name(std::string* out) {
    TFE_RETURN_IF_ERROR(Expect('%', "in front of a value's name"));
    if (!text_.empty() && text_[0] == '"') {
      TFE_RETURN_IF_ERROR(QuotedString(out));
    } else {
      size_t n = 0;
      while (n < text_.size() && lexical::IsNameChar(text_[n])) ++n;
      while (n > 0 && text_[n - 1] == ':') --n;
      *out = text_.substr(0, n);
      text_.remove_prefix(n);
    }
    return out->empty() ? Fail("expected a value's name") : OkStatus();
  }

  // --- pieces ---

  Status OneDim(Dim* out) {
    Peek();
    // Almost every size is a plain number.
    int64_t value;
    const auto parsed = std::from_chars(text_.data(), text_.data() + text_.size(), value);
    if (parsed.ec == std::errc()) {
      const char* next = parsed.ptr;
      if (next != text_.data() + text_.size() && (*next == ',' || *next == ']')) {
        text_.remove_prefix(next - text_.data());
        *out = Dim(value);
        return OkStatus();
      }
    }
    const char* first = text_.data();
    const std::string_view upcoming = Upcoming();
    const auto known = known_dims_.find(upcoming);
    if (known != known_dims_.end()) {
      text_.remove_prefix(known->first.size());
      *out = known->second;
      return OkStatus();
    }
    auto dim = net_.dims_.ParsePrefix(&text_);
    if (!dim.ok()) return Fail(dim.status().message());
    *out = *dim;
    if (text_.data() == first + upcoming.size()) known_dims_.emplace(upcoming, *out);
    return OkStatus();
  }
  // The text up to the ',' or ']' that ends a size, brackets skipped. Sizes repeat, so parsed ones are remembered.
  std::string_view Upcoming() const {
    int depth = 0;
    for (size_t n = 0; n < std::min<size_t>(text_.size(), 200) && text_[n] != '\n'; ++n) {
      const char c = text_[n];
      if (depth == 0 && (c == ',' || c == ']')) return text_.substr(0, n);
      depth += (c == '(') - (c == ')');
    }
    return {};
  }

  Status DimList(Shape* out) {
    TFE_RETURN_IF_ERROR(Expect('[', "in front of sizes"));
    out->clear();
    if (Take(']')) return OkStatus();
    do {
      Dim d;
      TFE_RETURN_IF_ERROR(OneDim(&d));
      out->push_back(d);
    } while (Take(','));
    return Expect(']', "behind sizes");
  }

  Status Type(DType* dtype, Shape* shape) {
    const std::string_view name = Word();
    *dtype = DTypeFromShortName(name);
    if (*dtype == DType::kInvalid) return Fail(fmt::format("expected an element type, got \"{}\"", name));
    TFE_RETURN_IF_ERROR(DimList(shape));
    return infer::IsSane(*shape) ? OkStatus() : Fail("a size is negative, or the shape is too large");
  }

  Status Number(Attr* out) {
    size_t n = 0;
    bool real = false;
    while (n < text_.size() && (lexical::IsDigit(text_[n]) || std::string_view("+-.eE").find(text_[n]) != std::string_view::npos)) {
      real |= text_[n] == '.' || text_[n] == 'e' || text_[n] == 'E';
      ++n;
    }
    const char *first = text_.data(), *last = first + n;
    if (std::string_view(first, n) == "-" && text_.substr(1, 3) == "inf") {
      text_.remove_prefix(4);
      *out = -std::numeric_limits<double>::infinity();
      return OkStatus();
    }
    std::from_chars_result parsed;
    if (real) {
      double value = 0;
      parsed = std::from_chars(first, last, value);
      *out = value;
    } else {
      int64_t value = 0;
      parsed = std::from_chars(first, last, value);
      *out = value;
    }
    if (n == 0 || parsed.ec != std::errc() || parsed.ptr != last) return Fail("expected the value of an attribute");
    text_.remove_prefix(n);
    return OkStatus();
  }

  Status AttrValue(const std::string& key, Attr* out) {
    const char c = Peek();
    if (c == '[') {
      Shape shape;
      TFE_RETURN_IF_ERROR(DimList(&shape));
      *out = std::move(shape);
    } else if (c == '"') {
      std::string text;
      TFE_RETURN_IF_ERROR(QuotedString(&text));
      *out = std::move(text);
    } else if (lexical::IsWordStart(c)) {
      const std::string_view word = Word();
      const DType dtype = key == "dtype" ? DTypeFromShortName(word) : DType::kInvalid;
      if (dtype != DType::kInvalid) {
        *out = static_cast<int64_t>(dtype);
      } else if (word == "true" || word == "false") {
        *out = word == "true";
      } else if (word == "inf") {
        *out = std::numeric_limits<double>::infinity();
      } else if (word == "nan") {
        *out = std::numeric_limits<double>::quiet_NaN();
      } else {
        *out = std::string(word);
      }
    } else {
      return Number(out);
    }
    return OkStatus();
  }

  Status AttrList(Attrs* attrs) {
    if (!Take('{') || Take('}')) return OkStatus();
    do {
      const std::string key(Word());
      if (key.empty()) return Fail("expected the name of an attribute");
      if (attrs->Has(key)) return Fail(fmt::format("attribute {} is given twice", key));
      TFE_RETURN_IF_ERROR(Expect('=', "behind the name of an attribute"));
      Attr value;
      TFE_RETURN_IF_ERROR(AttrValue(key, &value));
      attrs->Set(key, std::move(value));
    } while (Take(','));
    return Expect('}', "behind attributes");
  }

  Status Reference(ValueId* out) {
    std::string name;
    TFE_RETURN_IF_ERROR(Name(&name));
    const auto it = by_name_.find(name);
    if (it == by_name_.end()) return Fail(fmt::format("no value is called \"{}\" here", name));
    *out = it->second;
    return OkStatus();
  }

  Status Define(Value value, ValueId* out) {
    if (by_name_.count(value.name)) return Fail(fmt::format("two values are called \"{}\"", value.name));
    const std::string name = value.name;
    *out = net_.AddValue(std::move(value));
    by_name_.emplace(name, *out);
    return OkStatus();
  }

  // --- statements ---

  Status Input() {
    Value value;
    TFE_RETURN_IF_ERROR(Name(&value.name));
    TFE_RETURN_IF_ERROR(Expect(':', "behind the name of an input"));
    TFE_RETURN_IF_ERROR(Type(&value.dtype, &value.shape));
    ValueId v;
    TFE_RETURN_IF_ERROR(Define(std::move(value), &v));
    net_.inputs_.push_back(v);
    return OkStatus();
  }

  Status Constant() {
    Value value;
    TFE_RETURN_IF_ERROR(Name(&value.name));
    TFE_RETURN_IF_ERROR(Expect(':', "behind the name of a constant"));
    TFE_RETURN_IF_ERROR(Type(&value.dtype, &value.shape));
    TFE_RETURN_IF_ERROR(Expect('@', "behind the type of a constant"));
    uint64_t number = 0;
    const auto parsed = std::from_chars(text_.data(), text_.data() + text_.size(), number);
    if (parsed.ec != std::errc()) return Fail("expected the number of a constant");
    text_.remove_prefix(parsed.ptr - text_.data());
    if (number >= constants_.size() || constants_[number] == nullptr)
      return Fail(fmt::format("constant @{} is not among the {} given", number, constants_.size()));
    value.constant = constants_[number];
    const Tensor& data = *value.constant;
    if (data.dtype() != value.dtype || Shape(data.shape().begin(), data.shape().end()) != value.shape)
      return Fail(fmt::format("constant \"{}\": expected {}, its data is {}{}", value.name,
                              TypeToString(net_.dims_, value.dtype, value.shape), ShortName(data.dtype()),
                              tfengine::ShapeToString(data.shape())));
    ValueId v;
    return Define(std::move(value), &v);
  }

  Status Require() {
    DimConstraint c;
    TFE_RETURN_IF_ERROR(OneDim(&c.a));
    TFE_RETURN_IF_ERROR(Expect('=', "behind a size that is required to be equal"));
    TFE_RETURN_IF_ERROR(Expect('=', "behind a size that is required to be equal"));
    TFE_RETURN_IF_ERROR(OneDim(&c.b));
    if (c.a != c.b) required_.push_back(c);
    return OkStatus();
  }

  Status Return() {
    if (Peek() != '%') return OkStatus();
    do {
      ValueId v;
      TFE_RETURN_IF_ERROR(Reference(&v));
      net_.outputs_.push_back(v);
    } while (Take(','));
    return OkStatus();
  }

  Status NodeStatement() {
    struct Result {
      std::string name;
      bool typed = false;
      DType dtype = DType::kInvalid;
      Shape shape;
    };
    const size_t start = at();
    std::vector<Result> results;
    do {
      Result r;
      TFE_RETURN_IF_ERROR(Name(&r.name));
      r.typed = Take(':');
      if (r.typed) TFE_RETURN_IF_ERROR(Type(&r.dtype, &r.shape));
      results.push_back(std::move(r));
    } while (Take(','));
    TFE_RETURN_IF_ERROR(Expect('=', "behind the results of a node"));
    Node node;
    const std::string_view op = Word();
    if (!ParseOp(op, &node.op)) return Fail(fmt::format("unknown op \"{}\"", op));
    TFE_RETURN_IF_ERROR(Expect('(', "behind an op"));
    if (!Take(')')) {
      do {
        ValueId v = kNoValue;
        if (!Take('_')) TFE_RETURN_IF_ERROR(Reference(&v));
        node.inputs.push_back(v);
      } while (Take(','));
      TFE_RETURN_IF_ERROR(Expect(')', "behind the inputs of a node"));
    }
    TFE_RETURN_IF_ERROR(AttrList(&node.attrs));
    if (Peek() == '"') TFE_RETURN_IF_ERROR(QuotedString(&node.name));

    auto types = InferNode(net_, node);
    if (!types.ok()) return FailAt(start, types.status().message());
    if (types->size() != results.size())
      return FailAt(start, fmt::format("{} has {} results, got {}", op, types->size(), results.size()));
    for (size_t i = 0; i < results.size(); ++i) {
      Result& r = results[i];
      TypeAndShape& type = (*types)[i];
      if (r.typed && r.dtype != type.dtype)
        return FailAt(start, fmt::format("result \"{}\": expected element type {}, got {}", r.name,
                                         ShortName(type.dtype), ShortName(r.dtype)));
      Value value{r.name, type.dtype, r.typed ? r.shape : type.shape, static_cast<int>(net_.nodes_.size()), nullptr, type.quant};
      ValueId v;
      TFE_RETURN_IF_ERROR(Define(std::move(value), &v));
      if (r.typed && r.shape != type.shape) declared_.push_back({v, std::move(type.shape), start});
      node.outputs.push_back(v);
    }
    net_.nodes_.push_back(std::move(node));
    return OkStatus();
  }

  Status Body() {
    if (Word() != "network") return Fail("expected \"network {\"");
    TFE_RETURN_IF_ERROR(Expect('{', "behind \"network\""));
    bool returned = false;
    while (!Take('}')) {
      if (text_.empty()) return Fail("expected '}' at the end");
      if (returned) return Fail("expected '}' behind the return line");
      if (Peek() == '%') {
        TFE_RETURN_IF_ERROR(NodeStatement());
        continue;
      }
      const std::string_view word = Word();
      if (word == "input") {
        TFE_RETURN_IF_ERROR(Input());
      } else if (word == "const") {
        TFE_RETURN_IF_ERROR(Constant());
      } else if (word == "require") {
        TFE_RETURN_IF_ERROR(Require());
      } else if (word == "return") {
        TFE_RETURN_IF_ERROR(Return());
        returned = true;
      } else {
        return Fail(fmt::format("expected input, const, require, return or a value, got \"{}\"", word));
      }
    }
    if (!returned) return Fail("the return line is missing");
    if (Peek() != '\0' || !text_.empty()) return Fail("unexpected text behind the network");
    return OkStatus();
  }

  // Declared shapes may differ from inferred ones by what is required; inferred constraints that follow from the
  // required ones are dropped, so that printing gives the same text again.
  Status CheckTypes() {
    std::vector<DimConstraint> inferred = std::move(net_.constraints_);
    net_.constraints_.clear();
    for (const DimConstraint& c : required_) net_.AddConstraint(c.a, c.b);
    Equalities required(&net_.dims_, net_.constraints_);
    for (const DimConstraint& c : inferred)
      if (!required.Hold(c.a, c.b)) net_.AddConstraint(c.a, c.b);
    if (declared_.empty()) return OkStatus();
    Equalities equal(&net_.dims_, net_.constraints_);
    for (const Declared& d : declared_) {
      const Value& value = net_.values_[d.value];
      if (!equal.Hold(value.shape, d.inferred))
        return FailAt(d.at, fmt::format("result \"{}\": declared shape {}, inferred {}", value.name,
                                        ShapeToString(net_.dims_, value.shape), ShapeToString(net_.dims_, d.inferred)));
    }
    return OkStatus();
  }

  std::string_view whole_, text_;
  const std::vector<std::shared_ptr<const Tensor>>& constants_;
  Network net_;
  std::unordered_map<std::string, ValueId> by_name_;
  std::unordered_map<std::string_view, Dim> known_dims_;
  std::vector<DimConstraint> required_;
  std::vector<Declared> declared_;
};

Result<Network> ParseNetwork(std::string_view text, const std::vector<std::shared_ptr<const Tensor>>& constants) {
  return NetworkParser(text, constants).Parse();
}

}  // namespace tfengine
