// SPDX-License-Identifier: Apache-2.0
#include "saved_model/saved_model.h"

#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>

#include "base/crc32c.h"
#include "base/errors.h"
#include "saved_model/builtin_ops.h"
#include "saved_model/table.h"

namespace tfengine::saved_model {
namespace {

std::string Dir(const std::string& name) {
  std::string dir = ::testing::TempDir() + "/saved_model_test_" + name;
  std::filesystem::remove_all(dir);
  std::filesystem::create_directories(dir);
  return dir;
}

void Write(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

int ErrorOf(const Status& status) { return status.error_id(); }

TEST(SavedModel, MissingPiecesAreNamed) {
  std::string dir = Dir("missing");
  EXPECT_EQ(ErrorOf(SavedModel::Open(dir + "/nothing").status()),
            static_cast<int>(ErrorId::kFileMissing));
  auto empty = SavedModel::Open(dir);
  EXPECT_NE(empty.status().message().find("no saved_model.pb"), std::string::npos);
  Write(dir + "/saved_model.pbtxt", "meta_graphs {}");
  auto text = SavedModel::Open(dir);
  EXPECT_NE(text.status().message().find("only saved_model.pbtxt"), std::string::npos);
  Write(dir + "/saved_model.pb", "\x12\x7f");
  EXPECT_EQ(ErrorOf(SavedModel::Open(dir).status()), static_cast<int>(ErrorId::kProtoCorrupt));
  Write(dir + "/saved_model.pb", "");
  EXPECT_EQ(ErrorOf(SavedModel::Open(dir).status()), static_cast<int>(ErrorId::kProtoCorrupt));
}

// Values from TensorFlow's ordered code: single bytes flip the top bit; longer ones carry their
// length in front.
TEST(EncodeSliceKey, MatchesTheOrderedCode) {
  EXPECT_EQ(EncodeSliceKey("ab", {}), std::string("\x00"
                                                  "ab"
                                                  "\x00\x01"
                                                  "\x00",
                                                  6));
  // rank 2; all of the first dimension, [3, 3 + 100) of the second
  EXPECT_EQ(EncodeSliceKey("v", {{0, -1}, {3, 100}}), std::string("\x00"
                                                                  "v"
                                                                  "\x00\x01"
                                                                  "\x01\x02"
                                                                  "\x80\x7f"
                                                                  "\x83"
                                                                  "\xc0\x64",
                                                                  11));
  EXPECT_EQ(EncodeSliceKey(std::string("\x00\xff", 2), {}),
            std::string("\x00\x00\xff\xff\x00\x00\x01\x00", 8));
}

std::string Block(std::string_view content) {
  std::string block(content);
  block.append(std::string("\0\0\0\0", 4));  // no restart points
  block.push_back('\0');
  uint32_t crc = MaskCrc(Crc32c(block));
  std::string out = block;
  out.append(reinterpret_cast<const char*>(&crc), 4);
  return out;
}

std::string Table(std::string_view entries) {
  std::string data = Block(entries);
  std::string handle = {'\0', static_cast<char>(entries.size() + 4)};
  std::string index = Block(std::string("\x00\x01\x02z", 4) + handle);
  std::string file = data + index;
  std::string footer = {'\0', '\0', static_cast<char>(data.size()), static_cast<char>(4 + 2 + 4)};
  footer.resize(40);
  uint64_t magic = 0xdb4775248b80fb57;
  footer.append(reinterpret_cast<const char*>(&magic), 8);
  return file + footer;
}

TEST(Table, ReadsPrefixCompressedKeysInOrder) {
  std::string entries(
      "\x00\x02\x01"
      "ab"
      "1"
      "\x01\x01\x01"
      "c"
      "2",
      11);
  std::vector<std::string> seen;
  auto status = ReadTable(Table(entries), "t", [&](std::string_view k, std::string_view v) {
    seen.push_back(std::string(k) + "=" + std::string(v));
    return OkStatus();
  });
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(seen, (std::vector<std::string>{"ab=1", "ac=2"}));
}

TEST(Table, RefusesDisorderAndBadPrefixes) {
  auto read = [](const std::string& entries) {
    return ReadTable(Table(entries), "t",
                     [](std::string_view, std::string_view) { return OkStatus(); });
  };
  EXPECT_NE(read(std::string("\x00\x01\x00"
                             "b"
                             "\x00\x01\x00"
                             "a",
                             8))
                .message()
                .find("out of order"),
            std::string::npos);
  EXPECT_EQ(ErrorOf(read(std::string("\x05\x01\x00"
                                     "b",
                                     4))),
            static_cast<int>(ErrorId::kCheckpointCorrupt));
}

TEST(BuiltinOps, KnowsCoreAndEngineOps) {
  const OpTable& ops = BuiltinOps();
  const OpDef* conv = ops.Find("Conv2D");
  ASSERT_NE(conv, nullptr);
  EXPECT_EQ(conv->inputs.size(), 2u);
  const OpDef* engine = ops.Find("TRTEngineOp");
  ASSERT_NE(engine, nullptr);
  EXPECT_FALSE(engine->is_stateful);
  auto attr = [&](const std::string& name) -> const AttrDef& {
    for (const AttrDef& a : engine->attrs)
      if (a.name == name) return a;
    ADD_FAILURE() << name;
    return engine->attrs[0];
  };
  EXPECT_EQ(attr("static_engine").default_value.b(), true);
  EXPECT_EQ(attr("max_cached_engines_count").default_value.i(), 1);
  EXPECT_TRUE(attr("input_shapes").default_value.shape_list());
  EXPECT_FALSE(attr("workspace_size_bytes").has_default);
  EXPECT_EQ(ops.Find("NoSuchOp"), nullptr);
  EXPECT_TRUE(ops.Find("VarHandleOp")->is_stateful);
  const OpDef* bind = ops.Find("TfengineBindVariables");
  ASSERT_NE(bind, nullptr);
  EXPECT_TRUE(bind->is_stateful);
  EXPECT_EQ(bind->inputs[0].number_attr, "N");
}

}  // namespace
}  // namespace tfengine::saved_model
