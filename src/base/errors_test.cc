// SPDX-License-Identifier: Apache-2.0
#include "base/errors.h"

#include <gtest/gtest.h>

namespace tfengine {
namespace {

TEST(Printable, KeepsUtf8AndEscapesTheRest) {
  EXPECT_EQ(Printable("conv1/Grün→"), "conv1/Grün→");
  EXPECT_EQ(Printable("a\nb\x1b[31m\x7f"), "a\\x0ab\\x1b[31m\\x7f");
  EXPECT_EQ(Printable("a\nb", true), "a\nb");
  EXPECT_EQ(Printable("\xe4x \xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80 \xe2\x82"),
            "\\xe4x \\xc0\\xaf \\xed\\xa0\\x80 \\xf4\\x90\\x80\\x80 \\xe2\\x82");
}

TEST(Error, IsOneLineWhateverTheNamesHold) {
  EXPECT_EQ(Error(ErrorId::kGraphInvalid, "node \"{}\"", "x\ny\xff").ToString(),
            "E-0201 invalid-argument: node \"x\\x0ay\\xff\"");
}

}  // namespace
}  // namespace tfengine
