#pragma once

// A corpus small models learn in seconds: a word, a mark, and the word again.

#include <atomic>
#include <cstdint>

#include "common/base/random.h"
#include "services/trainer/corpus/document.h"

namespace tessera::trainer {

class CopyingDocuments final : public DocumentSource {
 public:
  explicit CopyingDocuments(size_t vocab, size_t length_max = 6)
      : vocab_(vocab), length_max_(length_max) {}

  uint64_t largest() const { return largest_; }  // index asked for

  Document Make(uint64_t index) const override {
    for (uint64_t seen = largest_; seen < index && !largest_.compare_exchange_weak(seen, index);) {
    }
    Random random(index);
    const size_t length = 2 + random.Below(length_max_ - 1);
    Document document;
    for (size_t i = 0; i < length; ++i) {
      document.ids.push_back(static_cast<int32_t>(1 + random.Below(vocab_ - 1)));
    }
    document.ids.push_back(0);
    document.ids.insert(document.ids.end(), document.ids.begin(),
                        document.ids.begin() + static_cast<ptrdiff_t>(length));
    document.has_loss.assign(document.ids.size(), 0);
    for (size_t i = length + 1; i < document.ids.size(); ++i) document.has_loss[i] = 1;
    document.skill = "copying";
    return document;
  }

 private:
  const size_t vocab_;
  const size_t length_max_;
  mutable std::atomic<uint64_t> largest_ = 0;
};

}  // namespace tessera::trainer
