#pragma once

// What the trainer learns from: documents of token ids, made one by one by a source.

#include <cstddef>
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

// A run's documents are numbered phase by phase: number n of phase p has the index FirstDocument(p)
// + n. What an index means so does not depend on how many documents the phases before have used.
inline constexpr int kPhaseShift = 40;
constexpr uint64_t FirstDocument(size_t phase) { return uint64_t{phase} << kPhaseShift; }
constexpr size_t PhaseOfDocument(uint64_t index) { return index >> kPhaseShift; }

// An endless numbered sequence of documents.
class DocumentSource {
 public:
  virtual ~DocumentSource() = default;
  // A pure function of the seed given at creation and the index; callable from any thread.
  virtual Document Make(uint64_t index) const = 0;
};

}  // namespace tessera::trainer
