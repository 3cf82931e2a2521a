#pragma once

#include <cstddef>
#include <iosfwd>
#include <string>

#include "common/base/clock.h"

namespace tessera::cli {

// A line that shows how far a long piece of work is: redrawn in place on a terminal, at most ten
// times a second; elsewhere one line at the end. Thread-compatible.
class ProgressBar {
 public:
  // `out` and `clock` are borrowed. is_terminal: redraw in place.
  ProgressBar(std::string what, std::ostream& out, bool is_terminal, const Clock& clock);
  // done of total bytes.
  void Show(size_t done_bytes, size_t total_bytes);

 private:
  std::string what_;
  std::ostream& out_;
  const bool is_terminal_;
  const Clock& clock_;
  absl::Duration started_;
  absl::Duration drawn_ = absl::ZeroDuration();
  bool finished_ = false;
};

}  // namespace tessera::cli
