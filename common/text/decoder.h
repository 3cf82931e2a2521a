#pragma once

// The "decoder" of a tokenizer file: turns pieces back into text, one after the other.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/json/json.h"

namespace tessera {

// Where the output of a stage goes: a stage behind it, or the end. Text may come in fragments; Push
// of a stage that stands before any Fuse or ByteLevel is one whole token.
class DecodeSink {
 public:
  virtual ~DecodeSink() = default;
  virtual void Push(std::string_view text) = 0;
  virtual void Flush() = 0;  // the end: gives out what was held back
};

// One decoding under way: pieces go in, text comes out at once, but for what may still change:
// bytes of a character that is not complete, a run of <0x..> pieces (which counts only as a whole),
// spaces that may turn out to be the last. Owned by one thread.
class DecodeStream {
 public:
  virtual ~DecodeStream() = default;
  // Appends the text that `piece` settles.
  virtual void Push(std::string_view piece, std::string* out) = 0;
  // Appends the rest. Afterwards the stream is at its beginning again.
  virtual void Flush(std::string* out) = 0;
};

// Immutable, thread-safe.
class Decoder {
 public:
  // ByteLevel, ByteFallback, Fuse, Metaspace, Replace, Strip, Sequence; null joins pieces by one
  // space. Errors: kInvalidArgument with the path: another type, a wrong member, a stage that would
  // have to see the whole text (Replace, ByteFallback, Metaspace or ByteLevel behind Fuse or
  // ByteLevel).
  static absl::StatusOr<std::unique_ptr<const Decoder>> FromJson(const JsonValue& json);
  ~Decoder();

  // Borrows this decoder.
  std::unique_ptr<DecodeStream> NewStream() const;

  class Stage;  // immutable part of a stage

 private:
  Decoder();
  std::vector<std::unique_ptr<const Stage>> stages_;
};

}  // namespace tessera
