#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

namespace tessera::kernels {

// Calls step(0), step(1), ... step(kCount - 1) with the index as a constant: arrays of vectors that
// are indexed so become registers, which gcc does not manage for those indexed in a loop.
template <size_t kCount, typename Step>
[[gnu::always_inline]] inline void Repeat(Step step) {
  [&]<size_t... kIndex>(std::index_sequence<kIndex...>) __attribute__((always_inline)) {
    (step(std::integral_constant<size_t, kIndex>()), ...);
  }
  (std::make_index_sequence<kCount>());
}

}  // namespace tessera::kernels
