// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <algorithm>
#include <memory>
#include <new>
#include <random>
#include <utility>
#include <vector>

#include "backends/cpu/cpu_features.h"
#include "base/gang.h"

// For the tests of the kernels.
namespace tfengine::cpu {

// Memory of exactly `n` elements, so that sanitizers see every overrun. 64-byte aligned.
template <typename T>
class Buffer {
 public:
  explicit Buffer(int64_t n, T value = T())
      : size_(n), data_(static_cast<T*>(::operator new(n * sizeof(T), std::align_val_t(64)))) {
    std::fill(begin(), end(), value);
  }
  Buffer(Buffer&& other) noexcept : size_(other.size_), data_(std::exchange(other.data_, nullptr)) {}
  Buffer(const Buffer& other) : Buffer(other.size_) { std::copy(other.begin(), other.end(), begin()); }
  Buffer& operator=(Buffer other) {
    std::swap(size_, other.size_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Buffer() { ::operator delete(data_, std::align_val_t(64)); }
  T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) const { return data_[i]; }
  T* begin() const { return data_; }
  T* end() const { return data_ + size_; }

 private:
  int64_t size_;
  T* data_;
};

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  int64_t Int(int64_t low, int64_t high) { return std::uniform_int_distribution<int64_t>(low, high)(engine_); }
  float Float(float low = -1, float high = 1) { return std::uniform_real_distribution<float>(low, high)(engine_); }
  bool OneIn(int n) { return Int(1, n) == 1; }
  Buffer<float> Floats(int64_t n, float low = -1, float high = 1) {
    Buffer<float> b(n);
    for (float& v : b) v = Float(low, high);
    return b;
  }

 private:
  std::mt19937 engine_;
};

// The instruction sets of this machine, lowest first.
inline std::vector<CpuIsa> TestedIsas() {
  std::vector<CpuIsa> isas;
  for (CpuIsa isa : {CpuIsa::kPortable, CpuIsa::kAvx2, CpuIsa::kAvx512}) {
    if (HostCpu().Has(isa)) isas.push_back(isa);
  }
  return isas;
}

// Gangs of 1, 2 and 3 threads with their own pool.
class Gangs {
 public:
  Gangs() : pool_(2) {
    for (int threads : {1, 2, 3}) {
      gangs_.push_back(std::make_unique<Gang>(threads, [this](auto helper) { pool_.Schedule(std::move(helper)); }));
    }
  }
  ~Gangs() { gangs_.clear(); }
  Gang& operator[](int threads) { return *gangs_[threads - 1]; }

 private:
  ThreadPool pool_;
  std::vector<std::unique_ptr<Gang>> gangs_;
};

// |got - want| <= tolerance, or the same NaN or infinity.
inline ::testing::AssertionResult Close(float got, double want, double tolerance) {
  if (std::isnan(got) && std::isnan(want)) return ::testing::AssertionSuccess();
  if (got == static_cast<float>(want)) return ::testing::AssertionSuccess();
  if (std::fabs(got - want) <= tolerance) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "got " << got << ", want " << want << ", tolerance " << tolerance;
}

// Rounding bound of a float sum of `terms` terms whose magnitudes sum to `magnitude`.
inline double SumTolerance(int64_t terms, double magnitude) { return (8 + terms) * 0x1p-24 * magnitude + 1e-30; }

}  // namespace tfengine::cpu
