#pragma once

// The "post_processor" of a tokenizer file: the special tokens around an encoded text.

#include <vector>

#include "absl/status/statusor.h"
#include "common/base/ids.h"
#include "common/json/json.h"

namespace tessera {

// Stands in a template for the ids of the text itself.
constexpr TokenId kTextPlace = -1;

// Ids and kTextPlace in the order in which they are put out; {kTextPlace} for null.
// TemplateProcessing (its "single"), BertProcessing, RobertaProcessing, ByteLevel (which changes no
// ids) and Sequence. Errors: kInvalidArgument with the path: another type, a wrong member, a
// special token without ids.
absl::StatusOr<std::vector<TokenId>> ParsePostProcessor(const JsonValue& json);

}  // namespace tessera
