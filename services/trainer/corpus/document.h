#pragma once

// What the trainer learns from: documents of token ids, made one by one by a source.

#include <cstdint>
#include <string>
#include <vector>

namespace tessera::trainer {

// One conversation or text, tokenised.
struct Document {
  std::vector<int32_t> ids;
  std::vector<uint8_t> has_loss;  // ids.size(); 1: this token is predicted with loss
  std::string skill;              // which part of the corpus it belongs to, for evaluations
};

// An endless numbered sequence of documents.
class DocumentSource {
 public:
  virtual ~DocumentSource() = default;
  // A pure function of the seed given at creation and the index; callable from any thread.
  virtual Document Make(uint64_t index) const = 0;
};

}  // namespace tessera::trainer
