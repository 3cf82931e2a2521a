#include "common/tensor/tensor_view.h"

#include <gtest/gtest.h>

#include <vector>

#include "common/tensor/aligned_buffer.h"

namespace tessera {
namespace {

TEST(TensorViewTest, BlockScalesMultiplyTheirBlock) {
  constexpr size_t kRows = 5, kCols = 7;
  std::vector<uint8_t> stored(kRows * kCols, ToF8E4M3(2.0f).bits);
  const std::vector<float> scales = {1, 2, 3, 4, 5, 6};  // blocks of 2 x 4: 3 x 2 of them
  TensorView view{.data = reinterpret_cast<const std::byte*>(stored.data()),
                  .dtype = DType::kF8E4M3,
                  .rows = kRows,
                  .cols = kCols,
                  .scales = {.data = reinterpret_cast<const std::byte*>(scales.data()),
                             .dtype = DType::kF32,
                             .block_rows = 2,
                             .block_cols = 4}};
  std::vector<float> row(kCols);
  ReadRow(view, 3, row);
  EXPECT_EQ(row, (std::vector<float>{6, 6, 6, 6, 8, 8, 8}));
  ReadRow(view.Rows(4, 1), 0, row);
  EXPECT_EQ(row, (std::vector<float>{10, 10, 10, 10, 12, 12, 12}));
}

TEST(TensorViewTest, ReadsUnalignedData) {
  std::vector<std::byte> bytes(1 + 2 * sizeof(float));
  const float values[2] = {1.5f, -3.0f};
  std::memcpy(bytes.data() + 1, values, sizeof(values));
  std::vector<float> row(2);
  ReadRow({.data = bytes.data() + 1, .dtype = DType::kF32, .rows = 1, .cols = 2}, 0, row);
  EXPECT_EQ(row, (std::vector<float>{1.5f, -3.0f}));
}

TEST(AlignedBufferTest, IsZeroedAlignedAndMovable) {
  absl::StatusOr<AlignedBuffer> buffer = AlignedBuffer::Allocate(5 << 20);
  ASSERT_TRUE(buffer.ok());
  EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
  for (std::byte b : buffer->as<std::byte>()) ASSERT_EQ(b, std::byte{0});
  AlignedBuffer moved = std::move(*buffer);
  EXPECT_EQ(moved.size_bytes(), size_t{5} << 20);
  EXPECT_EQ(AlignedBuffer::Allocate(0)->data(), nullptr);
}

}  // namespace
}  // namespace tessera
