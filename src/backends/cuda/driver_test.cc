// SPDX-License-Identifier: Apache-2.0
#include "backends/cuda/driver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backends/compile_backend.h"
#include "backends/cuda/backend.h"

namespace tfengine::cuda {
namespace {

using ::testing::HasSubstr;

TEST(Driver, ALibraryThatIsNotThereIsNamedWithTheWayOut) {
  void* handle = nullptr;
  const Status s = internal::OpenLibrary("the library", {"libtfengine-no-such.so.1"}, {}, "install it", &handle);
  EXPECT_EQ(s.error_id(), static_cast<int>(ErrorId::kDeviceUnavailable));
  EXPECT_THAT(s.message(), HasSubstr("the library cannot be loaded (libtfengine-no-such.so.1"));
  EXPECT_THAT(s.message(), HasSubstr("install it"));
}

TEST(Driver, ALibraryThatLacksAFunctionIsTooOld) {
  void *handle = nullptr, *cosine = nullptr, *missing = nullptr;
  const Status s = internal::OpenLibrary("libm", {"libm.so.6"}, {{"cos", &cosine}, {"cosOfTheFuture", &missing}}, "install a newer one", &handle);
  EXPECT_EQ(s.error_id(), static_cast<int>(ErrorId::kDeviceUnavailable));
  EXPECT_THAT(s.message(), HasSubstr("cosOfTheFuture"));
  EXPECT_NE(cosine, nullptr);
}

TEST(Driver, WithoutADriverAGpuIsUnavailable) {
  if (LoadDriver().ok()) GTEST_SKIP() << "this machine has a GPU";
  const auto backend = OpenBackend("cuda:0");
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.status().error_id(), static_cast<int>(ErrorId::kDeviceUnavailable));
  EXPECT_THAT(backend.status().message(), HasSubstr("NVIDIA driver"));
}

TEST(Driver, DevicesHaveNamesAndNumbers) {
  EXPECT_EQ(DeviceIndex("cuda"), 0);
  EXPECT_EQ(DeviceIndex("cuda:12"), 12);
  for (const char* name : {"cpu", "cuda:", "cuda:x", "cuda:-1", "CUDA", "cuda:1234"}) EXPECT_FALSE(DeviceIndex(name)) << name;
  const auto backend = OpenBackend("tpu");
  ASSERT_FALSE(backend.ok());
  EXPECT_EQ(backend.status().error_id(), static_cast<int>(ErrorId::kBadFlag));
}

TEST(Driver, AnAbsentDeviceSaysWhatItCouldDo) {
  const auto backend = AbsentBackend("cuda");
  EXPECT_EQ(backend->half(), DType::kFloat16);
  EXPECT_EQ(backend->Fingerprint(), "cuda (absent)");
}

}  // namespace
}  // namespace tfengine::cuda
