#pragma once

// One number of any type behind the same words as eight floats (lanes_avx2.h) or sixteen
// (lanes_avx512.h), so that a kernel is written once and what the gradient check tests in float64
// is what runs in float32. Sixteen give the bits of eight: the last numbers of a row go through
// eight where those would take them, and sums have eight parts. Internal to this room.

#include <cmath>
#include <cstddef>

namespace tessera::trainer {
namespace {

template <typename Number>
struct PlainLane {
  using T = Number;
  using V = Number;
  using Narrower = PlainLane;  // for what is too short for this
  using SumLane = PlainLane;   // the parts of a sum
  static constexpr size_t kWidth = 1;
  static V Load(const T* p) { return *p; }
  static void Store(T* p, V v) { *p = v; }
  static V Fill(T v) { return v; }
  static V Add(V a, V b) { return a + b; }
  static V Sub(V a, V b) { return a - b; }
  static V Mul(V a, V b) { return a * b; }
  static V MulAdd(V a, V b, V c) { return a * b + c; }
  static V Max(V a, V b) { return a > b ? a : b; }
  static V ExpNonPositive(V a) { return std::exp(a); }
  static V Sigmoid(V a) { return 1 / (1 + std::exp(-a)); }
  static bool AnyAbove(V a, T b) { return a > b; }
  static V AddParts(V sum, V a) { return sum + a; }
  static T Sum(V a) { return a; }
  static T Largest(V a) { return a; }
};

// Calls body(lane, i) for consecutive pieces of [first, n): whole lanes of L, then narrower ones.
template <class L, typename Body>
inline void ForLanes(size_t n, Body body, size_t first = 0) {
  size_t i = first;
  for (; i + L::kWidth <= n; i += L::kWidth) body(L(), i);
  if constexpr (L::kWidth > 1) ForLanes<typename L::Narrower>(n, body, i);
}

// Sum of term(lane, i) over [0, n).
template <class L, typename Term>
inline typename L::T SumLanes(size_t n, Term term) {
  using Parts = typename L::SumLane;
  typename Parts::V sum = Parts::Fill(0);
  size_t i = 0;
  for (; i + L::kWidth <= n; i += L::kWidth) sum = L::AddParts(sum, term(L(), i));
  if constexpr (L::kWidth > Parts::kWidth) {
    for (; i + Parts::kWidth <= n; i += Parts::kWidth) {
      sum = Parts::AddParts(sum, term(Parts(), i));
    }
  }
  typename L::T total = Parts::Sum(sum);
  if constexpr (Parts::kWidth > 1) {
    for (; i < n; ++i) total += term(PlainLane<typename L::T>(), i);
  }
  return total;
}

template <class L>
inline typename L::T LargestOf(const typename L::T* x, size_t n) {  // n > 0
  typename L::T largest = x[0];
  size_t i = 0;
  if (n >= L::kWidth) {
    typename L::V most = L::Load(x);
    for (i = L::kWidth; i + L::kWidth <= n; i += L::kWidth) most = L::Max(most, L::Load(x + i));
    largest = L::Largest(most);
  }
  for (; i < n; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}

}  // namespace
}  // namespace tessera::trainer
