// SPDX-License-Identifier: Apache-2.0
#include "plan/plan.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

#include "base/crc32c.h"
#include "base/errors.h"
#include "base/mapped_file.h"
#include "base/status_macros.h"

namespace tfengine {
namespace {

using nlohmann::json;

constexpr char kMagic[8] = {'T', 'F', 'E', 'N', 'G', 'I', 'N', 'E'};
constexpr size_t kHeaderBytes = 64;
constexpr size_t kEntryBytes = 24;
constexpr uint64_t kDataAlignment = 4096;
constexpr uint64_t kConstantAlignment = 64;
constexpr uint64_t kCheckedBetweenReleases = uint64_t{16} << 20;

enum SectionKind : uint32_t { kMeta = 1, kNetwork = 2, kConstants = 3, kData = 4 };

template <typename T>
void Put(std::string& s, T v) {
  s.append(reinterpret_cast<const char*>(&v), sizeof(v));
}

template <typename T>
T Get(std::string_view s, size_t offset) {
  T v;
  std::memcpy(&v, s.data() + offset, sizeof(v));
  return v;
}

uint64_t AlignUp(uint64_t v, uint64_t a) { return (v + a - 1) / a * a; }

json DevicesToJson(const std::map<std::string, DeviceChoices>& devices) {
  json all = json::object();
  for (const auto& [fingerprint, d] : devices) {
    json& at = all[fingerprint] = json::array();
    for (const ShapeChoices& c : d.at)
      at.push_back({{"sizes", c.sizes}, {"tactics", c.tactics}, {"micro_batch", c.micro_batch}, {"sample_parallel", c.sample_parallel}});
  }
  return all;
}

json NumericsToJson(const Numerics& numerics) {
  json ranges = json::object(), limits = json::object();
  for (const auto& [name, r] : numerics.ranges) ranges[name] = {r.lo, r.hi};
  for (const auto& [name, p] : numerics.limits) limits[name] = quant::PrecisionName(p);
  return {{"precision", numerics.precision}, {"ranges", ranges}, {"limits", limits}};
}

// Throws json::exception, like the library.
Numerics NumericsFromJson(const json& j) {
  Numerics n;
  n.precision = j.at("precision").get<std::string>();
  for (const auto& [name, r] : j.at("ranges").items()) {
    const quant::Range range{r.at(0).get<float>(), r.at(1).get<float>()};
    if (!(range.lo <= 0 && range.hi >= 0 && std::isfinite(range.hi - range.lo)))
      throw json::other_error::create(501, "bad range of " + name, nullptr);
    n.ranges[name] = range;
  }
  for (const auto& [name, p] : j.at("limits").items())
    if (!quant::ParsePrecision(p.get<std::string>(), &n.limits[name]))
      throw json::other_error::create(501, "bad precision of " + name, nullptr);
  return n;
}

std::map<std::string, DeviceChoices> DevicesFromJson(const json& all) {
  std::map<std::string, DeviceChoices> devices;
  for (const auto& [fingerprint, d] : all.items()) {
    DeviceChoices& choices = devices[fingerprint];
    for (const json& at : d) {
      ShapeChoices c;
      c.sizes = at.at("sizes").get<std::map<std::string, int64_t>>();
      c.tactics = at.at("tactics").get<std::map<std::string, std::string>>();
      c.micro_batch = at.at("micro_batch").get<int>();
      c.sample_parallel = at.at("sample_parallel").get<bool>();
      choices.at.push_back(std::move(c));
    }
  }
  return devices;
}

// Writes pieces to a file and remembers the first error.
class FileWriter {
 public:
  explicit FileWriter(const std::string& path)
      : fd_(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)), path_(path) {
    if (fd_ < 0) error_ = errno;
  }
  ~FileWriter() {
    if (fd_ >= 0) close(fd_);
  }
  void Write(std::string_view bytes) {
    while (error_ == 0 && !bytes.empty()) {
      ssize_t n = write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno != EINTR) error_ = errno;
      if (n > 0) {
        bytes.remove_prefix(static_cast<size_t>(n));
        offset_ += static_cast<uint64_t>(n);
      }
    }
  }
  void PadTo(uint64_t offset) {
    static const std::string zeros(4096, '\0');
    while (error_ == 0 && offset_ < offset)
      Write(std::string_view(zeros).substr(0, std::min<uint64_t>(zeros.size(), offset - offset_)));
  }
  Status Finish() {
    if (error_ == 0 && fsync(fd_) != 0) error_ = errno;
    if (error_ == 0) return OkStatus();
    return Error(ErrorId::kOutputUnwritable, "{}: {}", path_, std::strerror(error_));
  }

 private:
  int fd_;
  std::string path_;
  int error_ = 0;
  uint64_t offset_ = 0;
};

}  // namespace

Status Plan::Save(const std::string& path) const {
  json index = json::array();
  uint64_t data_bytes = 0;
  for (const auto& c : constants) {
    data_bytes = AlignUp(data_bytes, kConstantAlignment);
    std::string_view bytes(static_cast<const char*>(c->data()), c->num_bytes());
    index.push_back({{"dtype", DTypeName(c->dtype())},
                     {"shape", c->shape()},
                     {"offset", data_bytes},
                     {"bytes", bytes.size()},
                     {"crc", Crc32c(bytes)}});
    data_bytes += bytes.size();
  }
  json meta = {{"numerics", NumericsToJson(numerics)}, {"devices", DevicesToJson(devices)}, {"prepared_shapes", prepared_shapes}};
  const std::string sections[3] = {meta.dump(), network_text, index.dump()};

  const uint64_t table_bytes = 4 * kEntryBytes + 4;
  uint64_t offset = kHeaderBytes + table_bytes;
  std::string table;
  for (uint32_t i = 0; i < 3; ++i) {
    Put<uint32_t>(table, kMeta + i);
    Put<uint32_t>(table, Crc32c(sections[i]));
    Put<uint64_t>(table, offset);
    Put<uint64_t>(table, sections[i].size());
    offset += sections[i].size();
  }
  const uint64_t data_offset = AlignUp(offset, kDataAlignment);
  Put<uint32_t>(table, kData);
  Put<uint32_t>(table, 0);
  Put<uint64_t>(table, data_offset);
  Put<uint64_t>(table, data_bytes);
  Put<uint32_t>(table, Crc32c(table));

  std::string header(kMagic, sizeof(kMagic));
  Put<uint32_t>(header, kPlanFormatVersion);
  Put<uint32_t>(header, 4);
  Put<uint64_t>(header, data_offset + data_bytes);
  header.resize(kHeaderBytes - 4);
  Put<uint32_t>(header, Crc32c(header));

  const std::string temporary = path + ".partial";
  FileWriter out(temporary);
  out.Write(header);
  out.Write(table);
  for (const auto& s : sections) out.Write(s);
  for (size_t i = 0; i < constants.size(); ++i) {
    out.PadTo(data_offset + index[i]["offset"].get<uint64_t>());
    out.Write({static_cast<const char*>(constants[i]->data()), constants[i]->num_bytes()});
  }
  out.PadTo(data_offset + data_bytes);
  Status status = out.Finish();
  if (status.ok() && std::rename(temporary.c_str(), path.c_str()) != 0)
    status = Error(ErrorId::kOutputUnwritable, "{}: {}", path, std::strerror(errno));
  if (!status.ok()) unlink(temporary.c_str());
  return status;
}

Result<Plan> Plan::Load(const std::string& path) {
  TFE_ASSIGN_OR_RETURN(std::shared_ptr<const MappedFile> file, MappedFile::Open(path));
  const std::string_view bytes = file->bytes();
  auto corrupt = [&](const std::string& what) {
    return Error(ErrorId::kPlanCorrupt, "{}: {}; convert the model again", path, what);
  };
  if (bytes.size() < sizeof(kMagic) || std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) != 0)
    return Error(ErrorId::kPlanVersion, "{}: not a tfengine engine file", path);
  if (bytes.size() < kHeaderBytes) return corrupt(fmt::format("truncated header, {} bytes", bytes.size()));
  const uint32_t version = Get<uint32_t>(bytes, 8);
  if (version != kPlanFormatVersion)
    return Error(ErrorId::kPlanVersion, "{}: format version {}, expected {}; convert the model again with this version",
                 path, version, kPlanFormatVersion);
  if (Crc32c(bytes.substr(0, kHeaderBytes - 4)) != Get<uint32_t>(bytes, kHeaderBytes - 4))
    return corrupt("wrong header checksum");
  const uint32_t sections = Get<uint32_t>(bytes, 12);
  const uint64_t file_size = Get<uint64_t>(bytes, 16);
  if (file_size != bytes.size())
    return corrupt(fmt::format("expected {} bytes, got {}", file_size, bytes.size()));
  const uint64_t table_bytes = uint64_t{sections} * kEntryBytes;
  if (sections > 64 || kHeaderBytes + table_bytes + 4 > bytes.size()) return corrupt("section table out of bounds");
  const std::string_view table = bytes.substr(kHeaderBytes, table_bytes);
  if (Crc32c(table) != Get<uint32_t>(bytes, kHeaderBytes + table_bytes)) return corrupt("wrong section table checksum");

  std::map<uint32_t, std::string_view> by_kind;
  for (uint32_t i = 0; i < sections; ++i) {
    const uint32_t kind = Get<uint32_t>(table, i * kEntryBytes);
    const uint32_t crc = Get<uint32_t>(table, i * kEntryBytes + 4);
    const uint64_t offset = Get<uint64_t>(table, i * kEntryBytes + 8);
    const uint64_t size = Get<uint64_t>(table, i * kEntryBytes + 16);
    if (offset > bytes.size() || size > bytes.size() - offset) return corrupt(fmt::format("section {} out of bounds", kind));
    const std::string_view section = bytes.substr(offset, size);
    if (kind != kData && Crc32c(section) != crc) return corrupt(fmt::format("wrong checksum of section {}", kind));
    by_kind[kind] = section;
  }
  for (uint32_t kind : {kMeta, kNetwork, kConstants, kData})
    if (!by_kind.count(kind)) return corrupt(fmt::format("section {} is missing", kind));

  Plan plan;
  plan.file = file;
  plan.network_text = std::string(by_kind[kNetwork]);
  // nlohmann throws on malformed documents; the checksum makes that all but impossible, a hostile writer does not.
  try {
    const json meta = json::parse(by_kind[kMeta]);
    plan.numerics = NumericsFromJson(meta.at("numerics"));
    plan.devices = DevicesFromJson(meta.at("devices"));
    plan.prepared_shapes = meta.at("prepared_shapes").get<decltype(plan.prepared_shapes)>();
    const std::string_view data = by_kind[kData];
    uint64_t checked = 0;
    for (const json& c : json::parse(by_kind[kConstants])) {
      const DType dtype = DTypeFromName(c.at("dtype").get<std::string>());
      const auto shape = c.at("shape").get<std::vector<int64_t>>();
      const auto offset = c.at("offset").get<uint64_t>();
      const auto size = c.at("bytes").get<uint64_t>();
      uint64_t expected = DTypeSize(dtype);
      for (int64_t d : shape) {
        if (d < 0 || __builtin_mul_overflow(expected, static_cast<uint64_t>(d), &expected)) return corrupt("bad constant shape");
      }
      if (DTypeSize(dtype) == 0 || expected != size || offset > data.size() || size > data.size() - offset ||
          offset % kConstantAlignment != 0)
        return corrupt("a constant is out of bounds");
      if (Crc32c(data.substr(offset, size)) != c.at("crc").get<uint32_t>()) return corrupt("wrong checksum of a constant");
      // The checksums touch every page; a process should not hold them all at once.
      if ((checked += size) >= kCheckedBetweenReleases) {
        checked = 0;
        file->Release();
      }
      plan.constants.push_back(std::make_shared<Tensor>(dtype, shape, data.data() + offset, file));
    }
  } catch (const json::exception& e) {
    return corrupt(fmt::format("malformed metadata ({})", e.what()));
  }
  file->Release();
  return plan;
}

}  // namespace tfengine
