#include "common/json/json_writer.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace tessera {
namespace {

template <typename T>
void AppendShortest(T value, std::string& out) {
  if (std::isnan(value)) value = 0;
  if (std::isinf(value))
    value = value > 0 ? std::numeric_limits<T>::max() : std::numeric_limits<T>::lowest();
  std::array<char, 32> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  out.append(digits.data(), end.ptr);
}

}  // namespace

void AppendJsonNumber(double value, std::string& out) { AppendShortest(value, out); }
void AppendJsonNumber(float value, std::string& out) { AppendShortest(value, out); }

JsonWriter& JsonWriter::Integer(int64_t value) {
  Comma();
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value);
  out_.append(digits.data(), end.ptr);
  return *this;
}

}  // namespace tessera
