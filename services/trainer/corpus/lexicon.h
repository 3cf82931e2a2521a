#pragma once

// Word lists of the corpus. None of their words becomes one token with the space before it, so a
// word is copied from one place to another token by token.

#include <span>
#include <string_view>

namespace tessera::trainer {

std::span<const std::string_view> CommonWords();  // lower case, short
std::span<const std::string_view> FirstNames();
std::span<const std::string_view> Cities();  // of one word
std::span<const std::string_view> Colours();
std::span<const std::string_view> Animals();
std::span<const std::string_view> Foods();
std::span<const std::string_view> Jobs();
std::span<const std::string_view> Months();

}  // namespace tessera::trainer
