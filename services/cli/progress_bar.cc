#include "services/cli/progress_bar.h"

#include <algorithm>
#include <ostream>

#include "absl/strings/str_format.h"

namespace tessera::cli {
namespace {

constexpr absl::Duration kRedrawInterval = absl::Milliseconds(100);
constexpr size_t kBarCells = 30;
constexpr double kGigabyte = 1e9;

}  // namespace

ProgressBar::ProgressBar(std::string what, std::ostream& out, bool is_terminal, const Clock& clock)
    : what_(std::move(what)),
      out_(out),
      is_terminal_(is_terminal),
      clock_(clock),
      started_(clock.Elapsed()) {}

void ProgressBar::Show(size_t done_bytes, size_t total_bytes) {
  const absl::Duration now = clock_.Elapsed();
  const bool last = done_bytes >= total_bytes;
  if (finished_ || (!last && (!is_terminal_ || now - drawn_ < kRedrawInterval))) return;
  drawn_ = now;
  finished_ = last;
  const double seconds = std::max(absl::ToDoubleSeconds(now - started_), 1e-9);
  const double share =
      total_bytes == 0 ? 1.0 : static_cast<double>(done_bytes) / static_cast<double>(total_bytes);
  const auto filled = static_cast<size_t>(share * kBarCells);
  out_ << absl::StreamFormat("%s%s [%s%s] %.2f of %.2f GB, %.1f s%s", is_terminal_ ? "\r" : "",
                             what_, std::string(filled, '#'), std::string(kBarCells - filled, '.'),
                             static_cast<double>(done_bytes) / kGigabyte,
                             static_cast<double>(total_bytes) / kGigabyte, seconds,
                             last ? "\n" : "")
       << std::flush;
}

}  // namespace tessera::cli
