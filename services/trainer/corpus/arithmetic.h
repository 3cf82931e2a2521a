#pragma once

// Addition and subtraction with worked columns.

#include <cstdint>
#include <string>

#include "services/trainer/corpus/conversation.h"
#include "services/trainer/corpus/draw.h"

namespace tessera::trainer {

// The columns of a + b or a - b from the right; the digits of the result stand last:
//
//   07 + 96
//   7 + 6 + 0 = 13: 3 carry 1
//   0 + 9 + 1 = 10: 0 carry 1
//   103
//
// A smaller number minus a larger one begins "10 < 43, swap" and ends with the digits after the
// swap. a and b are not negative.
std::string WorkedColumns(int64_t a, int64_t b, bool subtract);

// The columns of a - b behind the comparison of the two, from the left to the first digits that
// differ; which is larger need not be seen at a glance:
//
//   109 - 127
//   1 = 1
//   0 < 2, swap
//   127 - 109
//   7 - 9 - 0 = -2: 8 borrow 1
//   ...
std::string ComparedColumns(int64_t a, int64_t b);

// One sum or difference of numbers with `digits_a` and `digits_b` digits, and its answer "a + b =
// c". The pairs of the two splits are disjoint. A course that compares has more pairs that begin
// alike, and ComparedColumns.
void AddSum(bool subtract, size_t digits_a, size_t digits_b, Draw& draw,
            Conversation& conversation);

// The same, of 1 to 3 digits each, evenly.
void AddArithmetic(Draw& draw, Conversation& conversation);

}  // namespace tessera::trainer
