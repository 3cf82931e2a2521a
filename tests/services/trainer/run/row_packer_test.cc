#include "services/trainer/run/row_packer.h"

#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "tests/services/trainer/run/copying_documents.h"

namespace tessera::trainer {
namespace {

// Document i is the tokens 100 i, 100 i + 1, ..: each tells where it comes from.
class CountingDocuments final : public DocumentSource {
 public:
  explicit CountingDocuments(size_t length) : length_(length) {}
  Document Make(uint64_t index) const override {
    Document document;
    document.ids.resize(length_ > 0 ? length_ : 2 + MixBits(index) % 40);
    std::iota(document.ids.begin(), document.ids.end(), static_cast<int32_t>(100 * index));
    document.has_loss.assign(document.ids.size(), 1);
    return document;
  }

 private:
  const size_t length_;  // 0: 2 to 41
};

constexpr size_t kVocab = 1 << 20;

TEST(RowPackerTest, RowsAreFullAndEveryTokenComesOnce) {
  const CountingDocuments source(0);
  ThreadPool pool({.thread_count = 2});
  RowPacker packer({.row_tokens = 128, .buffer_documents = 64, .seed = 3}, source, kVocab);
  std::map<int32_t, int> seen;
  size_t tokens = 0;
  for (size_t i = 0; i < 60; ++i) {
    ASSERT_TRUE(packer.Refill(pool).ok());
    const PackedRow row = packer.Next();
    tokens += row.ids.size();
    ASSERT_LE(row.ids.size(), 128u);
    ASSERT_EQ(row.documents.front(), 0u);
    ASSERT_EQ(row.documents.back(), row.ids.size());
    for (size_t d = 0; d + 1 < row.documents.size(); ++d) {
      ASSERT_EQ(row.ids[row.documents[d]] % 100, 0) << "a document that fits is never cut";
      for (size_t t = row.documents[d]; t < row.documents[d + 1]; ++t) {
        EXPECT_EQ(++seen[row.ids[t]], 1);
        const bool last = t + 1 == row.documents[d + 1];
        EXPECT_EQ(row.targets[t], last ? PackedRow::kNoLoss : row.ids[t] + 1);
      }
    }
  }
  EXPECT_GT(tokens, 60 * 128 * 97 / 100);
}

TEST(RowPackerTest, LongDocumentsAreReadOnWhereTheyWereLeft) {
  const CountingDocuments source(90);
  ThreadPool pool({.thread_count = 1});
  RowPacker packer({.row_tokens = 32, .buffer_documents = 4, .seed = 3}, source, kVocab);
  std::map<int32_t, int32_t> next;  // of each document
  for (size_t i = 0; i < 40; ++i) {
    ASSERT_TRUE(packer.Refill(pool).ok());
    const PackedRow row = packer.Next();
    for (size_t d = 0; d + 1 < row.documents.size(); ++d) {
      const int32_t document = row.ids[row.documents[d]] / 100;
      ASSERT_EQ(row.ids[row.documents[d]] % 100, next[document]);
      next[document] = row.ids[row.documents[d + 1] - 1] % 100 + 1;
      // What is behind the cut is still predicted.
      const int32_t last = row.targets[row.documents[d + 1] - 1];
      EXPECT_EQ(last, next[document] < 90 ? 100 * document + next[document] : PackedRow::kNoLoss);
    }
  }
  EXPECT_GT(next.size(), 8u);
}

TEST(RowPackerTest, GoesOnFromItsState) {
  const CountingDocuments source(0);
  ThreadPool pool({.thread_count = 2});
  const PackerOptions options = {.row_tokens = 64, .buffer_documents = 16, .seed = 9};
  RowPacker packer(options, source, kVocab);
  const auto advance = [&](RowPacker& from) {
    EXPECT_TRUE(from.Refill(pool).ok());
    return from.Next().ids;
  };
  for (size_t i = 0; i < 10; ++i) advance(packer);
  RowPacker other(options, source, kVocab);
  ASSERT_TRUE(other.Restore(packer.state(), pool).ok());
  for (size_t i = 0; i < 10; ++i) EXPECT_EQ(advance(other), advance(packer));
}

TEST(RowPackerTest, RefusesIdsBeyondTheVocabulary) {
  const CountingDocuments source(5);
  ThreadPool pool({.thread_count = 1});
  RowPacker packer({.row_tokens = 64, .buffer_documents = 4}, source, 203);
  const absl::Status status = packer.Refill(pool);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("203"), std::string::npos) << status;
}

}  // namespace
}  // namespace tessera::trainer
