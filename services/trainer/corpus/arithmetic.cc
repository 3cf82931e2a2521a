#include "services/trainer/corpus/arithmetic.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "services/trainer/corpus/faq.h"

namespace tessera::trainer {
namespace {

constexpr auto kAddFrames =
    std::to_array<std::string_view>({"What is A + B?",
                                     "A + B",
                                     "A+B",
                                     "A + B = ?",
                                     "A+B=",
                                     "What is A plus B?",
                                     "Add A and B.",
                                     "Calculate A + B.",
                                     "Compute A + B.",
                                     "How much is A + B?",
                                     "How much is A plus B?",
                                     "What is the sum of A and B?",
                                     "What's A + B?",
                                     "A plus B",
                                     "Please add A and B.",
                                     "Tell me A + B.",
                                     "What do A and B make?",
                                     "I have A apples and get B more. How many are they?",
                                     "What is A+B?",
                                     "Can you add A and B?"});
constexpr auto kSubtractFrames =
    std::to_array<std::string_view>({"What is A - B?",
                                     "A - B",
                                     "A-B",
                                     "A - B = ?",
                                     "A-B=",
                                     "What is A minus B?",
                                     "Subtract B from A.",
                                     "Calculate A - B.",
                                     "Compute A - B.",
                                     "How much is A - B?",
                                     "How much is A minus B?",
                                     "What is the difference of A and B?",
                                     "What's A - B?",
                                     "A minus B",
                                     "Take B away from A.",
                                     "Tell me A - B.",
                                     "What is A less B?",
                                     "I have A apples and give away B. How many are left?",
                                     "What is A-B?",
                                     "Can you subtract B from A?"});

// Digits of a number from the right, zeros beyond its end.
int DigitAt(int64_t value, size_t column) {
  for (size_t i = 0; i < column; ++i) value /= 10;
  return static_cast<int>(value % 10);
}

std::string Padded(int64_t value, size_t width) {
  std::string text = absl::StrCat(value);
  return std::string(width - std::min(width, text.size()), '0') + text;
}

std::string AddColumns(int64_t a, int64_t b, size_t width) {
  std::string text;
  int carry = 0;
  for (size_t column = 0; column < width; ++column) {
    const int x = DigitAt(a, column), y = DigitAt(b, column);
    const int sum = x + y + carry;
    absl::StrAppend(&text, x, " + ", y, " + ", carry, " = ", sum, ": ", sum % 10, " carry ",
                    sum / 10, "\n");
    carry = sum / 10;
  }
  return text;
}

std::string SubtractColumns(int64_t a, int64_t b, size_t width) {
  std::string text;
  int borrow = 0;
  for (size_t column = 0; column < width; ++column) {
    const int x = DigitAt(a, column), y = DigitAt(b, column);
    const int difference = x - y - borrow;
    const int next = difference < 0 ? 1 : 0;
    absl::StrAppend(&text, x, " - ", y, " - ", borrow, " = ", difference, ": ",
                    difference + 10 * next, " borrow ", next, "\n");
    borrow = next;
  }
  return text;
}

// One line for each digit, from the left to the first that differ.
std::string CompareDigits(const std::string& a, const std::string& b) {
  std::string text;
  for (size_t i = 0; i < a.size(); ++i) {
    const std::string_view sign = a[i] == b[i] ? " = " : a[i] < b[i] ? " < " : " > ";
    text.append(1, a[i]).append(sign).append(1, b[i]);
    if (a[i] < b[i]) text += ", swap";
    text += "\n";
    if (a[i] != b[i]) break;
  }
  return text;
}

}  // namespace

std::string ComparedColumns(int64_t a, int64_t b) {
  const size_t width = std::max(absl::StrCat(a).size(), absl::StrCat(b).size());
  const std::string first = Padded(a, width), second = Padded(b, width);
  return absl::StrCat(first, " - ", second, "\n", CompareDigits(first, second),
                      WorkedColumns(std::max(a, b), std::min(a, b), /*subtract=*/true));
}

std::string WorkedColumns(int64_t a, int64_t b, bool subtract) {
  std::string text;
  if (subtract && a < b) {
    absl::StrAppend(&text, a, " < ", b, ", swap\n");
    std::swap(a, b);
  }
  const size_t width = std::max(absl::StrCat(a).size(), absl::StrCat(b).size());
  absl::StrAppend(&text, Padded(a, width), subtract ? " - " : " + ", Padded(b, width), "\n");
  text += subtract ? SubtractColumns(a, b, width) : AddColumns(a, b, width);
  return absl::StrCat(text, subtract ? a - b : a + b);
}

void AddSum(bool subtract, size_t digits_a, size_t digits_b, Draw& draw,
            Conversation& conversation) {
  const bool compares = subtract && draw.course().compares;
  std::string a, b, key;
  do {
    a = draw.Digits(digits_a);
    b = draw.Digits(digits_b);
    if (compares && digits_a == digits_b && draw.Chance(0.3)) {
      const size_t alike = draw.Between(1, digits_a);
      b = a.substr(0, alike) + b.substr(alike);
    }
    // 3 + 4 tells what 4 + 3 is.
    const bool turn = !subtract && std::stoll(a) > std::stoll(b);
    key = absl::StrCat(turn ? b : a, subtract ? "-" : "+", turn ? a : b);
  } while (IsHeldOut(key) != (draw.split() == Split::kHeldOut));
  const auto& frames = subtract ? kSubtractFrames : kAddFrames;
  const std::string question =
      absl::StrReplaceAll(draw.Of(frames), {{"A", a}, {"B", b}, {"Add", "Add"}});
  const int64_t x = std::stoll(a), y = std::stoll(b);
  conversation.User(Casual(question, draw));
  conversation.Assistant(
      absl::StrCat(a, subtract ? " - " : " + ", b, " = ", subtract ? x - y : x + y),
      compares ? ComparedColumns(x, y) : WorkedColumns(x, y, subtract));
}

void AddArithmetic(Draw& draw, Conversation& conversation) {
  const bool subtract = draw.Chance(draw.course().subtract);
  const size_t digits_a = draw.Between(1, 3);
  // Equal lengths come more often: they are the ones with the longest chains of carries.
  const size_t digits_b = draw.Chance(0.4) ? digits_a : draw.Between(1, 3);
  AddSum(subtract, digits_a, digits_b, draw, conversation);
}

}  // namespace tessera::trainer
