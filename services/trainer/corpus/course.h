#pragma once

// What the documents of one phase of a run are made of.

#include <array>
#include <string_view>

namespace tessera::trainer {

// Skills of the corpus, in the order of Course::shares.
inline constexpr auto kCorpusSkills =
    std::to_array<std::string_view>({"faq", "arithmetic", "tools", "recall", "talk", "text"});

// The default is what a run begins with.
struct Course {
  // Parts of the documents, which add up to 1. Text jobs and tools are learned last and are the
  // most varied.
  std::array<double, kCorpusSkills.size()> shares = {0.15, 0.17, 0.27, 0.12, 0.07, 0.22};
  double subtract = 0.5;     // part of all sums that are differences
  bool compares = false;     // differences begin by comparing the numbers, digit by digit
  bool more_frames = false;  // questions on Tessera come in more frames

  bool operator==(const Course&) const = default;
};

}  // namespace tessera::trainer
