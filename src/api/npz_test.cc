// SPDX-License-Identifier: Apache-2.0
#include "api/npz.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>
#include <sstream>

#include "api/npy.h"

namespace tfengine {
namespace {

using ::testing::HasSubstr;

std::string TempPath(const std::string& name) { return testing::TempDir() + "/npz_test_" + name; }

std::string ReadAll(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string NpyBytes(const std::vector<float>& values) {
  Tensor tensor(DType::kFloat32, {static_cast<int64_t>(values.size())});
  std::copy(values.begin(), values.end(), tensor.mutable_as<float>());
  EXPECT_TRUE(WriteNpy(TempPath("entry.npy"), tensor).ok());
  return ReadAll(TempPath("entry.npy"));
}

template <typename T>
void Put(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

// A ZIP archive of stored entries; with `wide`, sizes and offsets stand in ZIP64 fields.
std::string Zip(const std::vector<std::pair<std::string, std::string>>& entries, bool wide = false,
                uint16_t method = 0) {
  std::string file, directory;
  for (const auto& [name, data] : entries) {
    const uint64_t offset = file.size();
    auto common = [&](std::string* out) {
      Put<uint16_t>(out, wide ? 45 : 20);
      Put<uint16_t>(out, 0);
      Put<uint16_t>(out, method);
      Put<uint32_t>(out, 0);  // time
      Put<uint32_t>(out, 0);  // checksum
      Put<uint32_t>(out, wide ? 0xffffffff : data.size());
      Put<uint32_t>(out, wide ? 0xffffffff : data.size());
      Put<uint16_t>(out, name.size());
    };
    Put<uint32_t>(&file, 0x04034b50);
    common(&file);
    Put<uint16_t>(&file, 20);  // extra field, of the local header only
    file += name + std::string(20, '\7') + data;
    Put<uint32_t>(&directory, 0x02014b50);
    Put<uint16_t>(&directory, 45);
    common(&directory);
    Put<uint16_t>(&directory, wide ? 28 : 0);
    directory += std::string(10, '\0');
    Put<uint32_t>(&directory, wide ? 0xffffffff : offset);
    directory += name;
    if (wide) {
      Put<uint16_t>(&directory, 1);
      Put<uint16_t>(&directory, 24);
      for (uint64_t value : {uint64_t{data.size()}, uint64_t{data.size()}, offset})
        Put<uint64_t>(&directory, value);
    }
  }
  const uint64_t at = file.size(), n = entries.size();
  file += directory;
  if (wide) {
    const uint64_t end64 = file.size();
    Put<uint32_t>(&file, 0x06064b50);
    Put<uint64_t>(&file, 44);
    file += std::string(12, '\0');
    for (uint64_t value : {n, n, uint64_t{directory.size()}, at}) Put<uint64_t>(&file, value);
    Put<uint32_t>(&file, 0x07064b50);
    Put<uint32_t>(&file, 0);
    Put<uint64_t>(&file, end64);
    Put<uint32_t>(&file, 1);
  }
  Put<uint32_t>(&file, 0x06054b50);
  Put<uint32_t>(&file, 0);
  Put<uint16_t>(&file, wide ? 0xffff : n);
  Put<uint16_t>(&file, wide ? 0xffff : n);
  Put<uint32_t>(&file, directory.size());
  Put<uint32_t>(&file, wide ? 0xffffffff : at);
  Put<uint16_t>(&file, 3);
  return file + "abc";  // a comment
}

Result<std::map<std::string, Tensor>> Read(const std::string& bytes) {
  const std::string path = TempPath("archive.npz");
  std::ofstream(path, std::ios::binary) << bytes;
  return ReadNpz(path);
}

TEST(Npz, ReadsStoredArraysByName) {
  for (bool wide : {false, true}) {
    auto arrays = Read(Zip({{"x.npy", NpyBytes({1, 2, 3})}, {"scope/y.npy", NpyBytes({4})}}, wide));
    ASSERT_TRUE(arrays.ok()) << arrays.status().ToString();
    ASSERT_EQ(arrays->size(), 2u);
    EXPECT_EQ(arrays->at("x").shape(), std::vector<int64_t>{3});
    EXPECT_EQ(arrays->at("x").as<float>()[2], 3);
    EXPECT_EQ(arrays->at("scope/y").as<float>()[0], 4);
  }
  auto empty = Read(Zip({}));
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE(empty->empty());
}

TEST(Npz, SaysWhatIsWrong) {
  const std::string x = NpyBytes({1, 2, 3});
  auto message = [](const std::string& bytes) { return Read(bytes).status().message(); };
  EXPECT_THAT(message(""), HasSubstr("numpy.savez"));
  EXPECT_THAT(message(x), HasSubstr("numpy.savez"));
  EXPECT_THAT(message(Zip({{"x.npy", x}}, false, 8)), HasSubstr("savez_compressed"));
  EXPECT_THAT(message(Zip({{"readme.txt", x}})), HasSubstr("readme.txt: expected a .npy file"));
  EXPECT_THAT(message(Zip({{"x.npy", x}, {"x.npy", x}})), HasSubstr("two arrays"));
  EXPECT_THAT(message(Zip({{"x.npy", "text"}})), HasSubstr("x.npy: not a .npy file"));
  EXPECT_EQ(ReadNpz("/nowhere.npz").status().message().find("/nowhere.npz"), 0u);
}

TEST(Npz, SurvivesDamage) {
  const std::string good[] = {Zip({{"x.npy", NpyBytes({1, 2, 3})}, {"y.npy", NpyBytes({4})}}),
                              Zip({{"x.npy", NpyBytes({1, 2, 3})}}, true)};
  std::mt19937 random(3);
  for (const std::string& bytes : good) {
    for (size_t size = 0; size < bytes.size(); size += 31) (void)Read(bytes.substr(0, size));
    for (int i = 0; i < 100; ++i) {
      std::string broken = bytes;
      for (int k = 0; k < 2; ++k) broken[random() % broken.size()] = static_cast<char>(random());
      auto arrays = Read(broken);
      if (!arrays.ok()) continue;
      for (const auto& [name, tensor] : *arrays)
        if (tensor.num_bytes() > 0) {
          volatile char last = tensor.as<char>()[tensor.num_bytes() - 1];
          (void)last;
        }
    }
  }
}

}  // namespace
}  // namespace tfengine
