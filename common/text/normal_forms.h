#pragma once

// Unicode normal forms and the character maps of normalizers, with the reference's (old) tables.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"

namespace tessera {

enum class NormalForm : uint8_t { kNfc, kNfd, kNfkc, kNfkd };

// One normal form with its tables (~0.3 MB). Immutable, thread-safe; made once for a tokenizer.
class FormNormalizer {
 public:
  explicit FormNormalizer(NormalForm form);

  // The form of `text` (well-formed UTF-8) into `out`, which is overwritten.
  void Apply(std::string_view text, std::string* out) const;

 private:
  struct Mark {
    char32_t c;
    uint8_t combining_class;
  };

  bool Composes() const { return form_ == NormalForm::kNfc || form_ == NormalForm::kNfkc; }
  uint8_t CombiningClassOf(char32_t c) const;
  bool IsInert(char32_t c) const;  // stays as it is and no character behind or before it changes
                                   // it, but that a composing one may follow
  void Decompose(char32_t c, std::vector<Mark>* out) const;
  static void Order(std::vector<Mark>* marks);
  void Compose(std::vector<Mark>* marks) const;
  char32_t Composite(char32_t first, char32_t second) const;  // 0 if there is none
  void AppendRegion(std::string_view region, std::vector<Mark>* scratch, std::string* out) const;

  const NormalForm form_;
  absl::flat_hash_map<char32_t, std::u32string> decompositions_;
  absl::flat_hash_map<char32_t, uint8_t> combining_classes_;
  absl::flat_hash_map<uint64_t, char32_t> composites_;  // first << 32 | second
  absl::flat_hash_set<char32_t> unsettled_;             // not inert
};

// char::to_lowercase of the reference, character by character (no final sigma).
class LowercaseMap {
 public:
  LowercaseMap();
  void Apply(std::string_view text, std::string* out) const;

 private:
  absl::flat_hash_map<char32_t, char32_t> map_;
};

// The characters that StripAccents removes.
class MarkSet {
 public:
  MarkSet();
  void Remove(std::string_view text, std::string* out) const;

 private:
  absl::flat_hash_set<char32_t> marks_;
};

}  // namespace tessera
