// SPDX-License-Identifier: Apache-2.0
#include "api/npy.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <numeric>

namespace tfengine {
namespace {

std::string TempPath(const std::string& name) { return testing::TempDir() + "/npy_test_" + name; }

std::string WriteRaw(const std::string& name, const std::string& bytes) {
  std::string path = TempPath(name);
  std::ofstream(path, std::ios::binary) << bytes;
  return path;
}

// A file of format version `major` with this header and `data` bytes after it.
std::string File(const std::string& header, size_t data, int major = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += static_cast<char>(major);
  bytes += '\0';
  uint32_t size = header.size();
  bytes.append(reinterpret_cast<const char*>(&size), major == 1 ? 2 : 4);
  return bytes + header + std::string(data, '\1');
}

std::string ErrorOf(const std::string& bytes) {
  Result<Tensor> tensor = ReadNpy(WriteRaw("bad.npy", bytes));
  EXPECT_FALSE(tensor.ok());
  return tensor.ok() ? "" : tensor.status().ToString();
}

TEST(Npy, RoundTripsEveryTypeAndRank) {
  for (DType dtype :
       {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBfloat16, DType::kInt8,
        DType::kInt16, DType::kInt32, DType::kInt64, DType::kUint8, DType::kUint16, DType::kUint32,
        DType::kUint64, DType::kBool, DType::kComplex64, DType::kComplex128}) {
    for (const std::vector<int64_t>& shape :
         std::vector<std::vector<int64_t>>{{}, {5}, {2, 3}, {0, 4}, {2, 1, 3, 2}}) {
      Tensor tensor(dtype, shape);
      auto* bytes = tensor.mutable_as<unsigned char>();
      for (size_t i = 0; i < tensor.num_bytes(); ++i)
        bytes[i] = dtype == DType::kBool ? i % 2 : i * 7;
      std::string path = TempPath("round_trip.npy");
      ASSERT_TRUE(WriteNpy(path, tensor).ok());
      Result<Tensor> read = ReadNpy(path);
      ASSERT_TRUE(read.ok()) << read.status().ToString();
      EXPECT_EQ(read->dtype(), dtype);
      EXPECT_EQ(read->shape(), shape);
      EXPECT_EQ(std::memcmp(read->data(), tensor.data(), tensor.num_bytes()), 0);
    }
  }
}

TEST(Npy, ReadsVersionsTwoAndThreeAndMisalignedData) {
  for (int major : {1, 2, 3}) {
    std::string header = "{\"shape\": (2,), 'fortran_order': True, 'descr': '<f4'}\n";
    for (int pad = 0; pad < 4; ++pad, header.insert(0, " ")) {
      Result<Tensor> tensor = ReadNpy(WriteRaw("version.npy", File(header, 8, major)));
      ASSERT_TRUE(tensor.ok()) << tensor.status().ToString();
      EXPECT_EQ(tensor->shape(), std::vector<int64_t>{2});
    }
  }
}

TEST(Npy, RejectsWhatItCannotRead) {
  EXPECT_NE(ErrorOf("hello").find("E-0704 invalid-argument"), std::string::npos);
  EXPECT_NE(ErrorOf("").find("not a .npy file"), std::string::npos);
  EXPECT_NE(ErrorOf(File("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }", 16))
                .find("ascontiguousarray"),
            std::string::npos);
  EXPECT_NE(ErrorOf(File("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8))
                .find("newbyteorder"),
            std::string::npos);
  EXPECT_NE(ErrorOf(File("{'descr': '|O', 'fortran_order': False, 'shape': (2,), }", 8))
                .find("got type '|O'"),
            std::string::npos);
  EXPECT_NE(ErrorOf(File("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8))
                .find("one field"),
            std::string::npos);
  EXPECT_NE(ErrorOf(File("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 8))
                .find("do not match"),
            std::string::npos);
  EXPECT_NE(ErrorOf(File("{'descr': '<f4', 'fortran_order': False, "
                         "'shape': (4611686018427387904, 4611686018427387904), }",
                         0))
                .find("do not match"),
            std::string::npos);
  EXPECT_NE(ErrorOf(File("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 8))
                .find("tuple of sizes"),
            std::string::npos);
  EXPECT_NE(ErrorOf(File("{'descr': '<f4', 'shape': (2,), }", 8)).find("lacks"), std::string::npos);
  EXPECT_NE(ErrorOf(File("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }", 8, 9))
                .find("version 1, 2 or 3"),
            std::string::npos);
}

TEST(Npy, EveryTruncationIsAnError) {
  std::string whole = File("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n", 8);
  for (size_t size = 0; size < whole.size(); ++size) ErrorOf(whole.substr(0, size));
}

TEST(Npy, NamesAMissingFileAndAnUnwritableOne) {
  EXPECT_EQ(ReadNpy("/nowhere/x.npy").status().error_id(), 101);
  EXPECT_EQ(WriteNpy("/nowhere/x.npy", Tensor(DType::kFloat32, {1})).error_id(), 702);
  EXPECT_EQ(WriteNpy(TempPath("r.npy"), Tensor(DType::kResource, {0})).error_id(), 108);
}

}  // namespace
}  // namespace tfengine
