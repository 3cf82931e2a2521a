#include "services/cli/memory_bandwidth.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "common/base/check.h"
#include "common/base/status.h"
#include "common/tensor/aligned_buffer.h"

namespace tessera::cli {
namespace {

constexpr size_t kBytesMin = size_t{128} << 20;
constexpr size_t kBytesMax = size_t{1} << 30;
constexpr size_t kPieceWords = (size_t{4} << 20) / sizeof(uint64_t);

// Eight sums keep enough loads in flight; the compiler makes vectors of them.
uint64_t SumWords(std::span<const uint64_t> words) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i + 8 <= words.size(); i += 8) {
    for (size_t j = 0; j < 8; ++j) sums[j] += words[i + j];
  }
  uint64_t total = 0;
  for (uint64_t sum : sums) total += sum;
  return total;
}

}  // namespace

absl::StatusOr<double> MeasureReadBandwidth(ThreadPool& pool, const Clock& clock,
                                            size_t weight_bytes, int rounds) {
  constexpr size_t kPieceBytes = kPieceWords * sizeof(uint64_t);
  const size_t bytes = std::clamp(weight_bytes, kBytesMin, kBytesMax) / kPieceBytes * kPieceBytes;
  TESSERA_ASSIGN_OR_RETURN(AlignedBuffer buffer, AlignedBuffer::Allocate(bytes));
  const std::span<uint64_t> words = buffer.as<uint64_t>();
  const size_t pieces = words.size() / kPieceWords;
  // Written once: untouched pages would all be the same zero page.
  pool.ParallelFor(pieces, 1, [&](size_t begin, size_t end, size_t) {
    std::ranges::fill(words.subspan(begin * kPieceWords, (end - begin) * kPieceWords), 1);
  });
  std::vector<double> rates;
  std::atomic<uint64_t> total = 0;
  for (int round = 0; round < rounds; ++round) {
    const absl::Duration start = clock.Elapsed();
    pool.ParallelFor(pieces, 1, [&](size_t begin, size_t end, size_t) {
      total += SumWords(words.subspan(begin * kPieceWords, (end - begin) * kPieceWords));
    });
    rates.push_back(static_cast<double>(bytes) / absl::ToDoubleSeconds(clock.Elapsed() - start));
  }
  TESSERA_CHECK(total == static_cast<uint64_t>(rounds) * words.size());
  std::ranges::nth_element(rates, rates.begin() + rounds / 2);
  return rates[static_cast<size_t>(rounds) / 2];
}

}  // namespace tessera::cli
