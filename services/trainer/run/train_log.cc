#include "services/trainer/run/train_log.h"

#include <algorithm>
#include <cstdlib>
#include <ostream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "common/base/status.h"
#include "services/trainer/run/tensor_file.h"

namespace tessera::trainer {
namespace {

std::string Columns(const ModelSpec& spec) {
  std::string text = "step,tokens,loss,accuracy,gradient_norm,rate_scale,seconds";
  for (const char* column : {"maxvio", "unused", "load"}) {
    for (size_t i = spec.dense_layer_count; i < spec.layer_count; ++i) {
      absl::StrAppend(&text, ",", column, "_", i);
    }
  }
  return text + "\n";
}

double MeanOf(const std::vector<LoadFigures>& layers, double LoadFigures::*figure) {
  double sum = 0;
  for (const LoadFigures& layer : layers) sum += layer.*figure;
  return layers.empty() ? 0 : sum / static_cast<double>(layers.size());
}

}  // namespace

absl::StatusOr<StepLog> StepLog::Open(const std::string& path, const ModelSpec& spec,
                                      uint64_t step) {
  StepLog log;
  log.path_ = path;
  std::string kept = Columns(spec);
  if (step > 0) {
    std::ifstream before(path);
    std::string line;
    std::getline(before, line);
    while (std::getline(before, line)) {
      const std::vector<std::string> cells = absl::StrSplit(line, absl::MaxSplits(',', 2));
      uint64_t number = 0, tokens = 0;
      if (cells.size() < 3 || !absl::SimpleAtoi(cells[0], &number) || number > step ||
          !absl::SimpleAtoi(cells[1], &tokens)) {
        break;
      }
      log.tokens_ = tokens;
      absl::StrAppend(&kept, line, "\n");
    }
  }
  TESSERA_RETURN_IF_ERROR(WriteWholeFile(path, kept));
  log.file_.open(path, std::ios::app);
  return log;
}

void StepLog::Add(const StepReport& report, absl::Duration took) {
  tokens_ += report.tokens;
  file_ << report.step << "," << tokens_
        << absl::StrFormat(",%.6f,%.5f,%.5f,%.6f,%.4f", report.loss, report.accuracy,
                           report.gradient_norm, report.rate_scale, absl::ToDoubleSeconds(took));
  for (const LoadFigures& layer : report.load) {
    file_ << absl::StrFormat(",%.3f", layer.max_violation);
  }
  for (const LoadFigures& layer : report.load) file_ << "," << layer.unused;
  for (size_t i = 0; i < report.load.size(); ++i) {
    file_ << ",";
    if (!report.window_load.empty()) {
      file_ << absl::StrFormat("%.4f", report.window_load[i].mean_over_max);
    }
  }
  file_ << "\n";
}

absl::Status StepLog::Flush() {
  file_.flush();
  if (file_) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot write ", path_));
}

ProgressLine::ProgressLine(std::ostream& out, bool is_terminal, const Clock& clock,
                           uint64_t first_step, uint64_t steps)
    : out_(out),
      is_terminal_(is_terminal),
      clock_(clock),
      first_step_(first_step),
      steps_(steps),
      started_(clock.Elapsed()),
      drawn_(started_) {}

void ProgressLine::Show(const StepReport& report) {
  const bool first = tokens_ == 0;
  tokens_ += report.tokens;
  const double violation = MeanOf(report.load, &LoadFigures::max_violation);
  loss_ = first ? report.loss : 0.95 * loss_ + 0.05 * report.loss;
  violation_ = first ? violation : 0.95 * violation_ + 0.05 * violation;
  if (!report.window_load.empty()) {
    load_ = MeanOf(report.window_load, &LoadFigures::mean_over_max);
  }
  const absl::Duration now = clock_.Elapsed();
  const absl::Duration pause = is_terminal_ ? absl::Milliseconds(200) : absl::Seconds(10);
  if (now - drawn_ < pause && report.step < steps_) return;
  drawn_ = now;
  const double seconds = absl::ToDoubleSeconds(now - started_);
  const double per_step = seconds / static_cast<double>(report.step - first_step_);
  const absl::Duration left = absl::Seconds(per_step * static_cast<double>(steps_ - report.step));
  out_ << (is_terminal_ ? "\r" : "")
       << absl::StrFormat(
              "step %d/%d  loss %.4f  %.0f tokens/s  MaxVio %.2f  load %.2f  rate %.2f  left %s",
              report.step, steps_, loss_, static_cast<double>(tokens_) / std::max(seconds, 1e-9),
              violation_, load_, report.rate_scale,
              absl::FormatDuration(absl::Trunc(left, absl::Seconds(1))))
       << (is_terminal_ && report.step < steps_ ? "   " : "\n") << std::flush;
}

}  // namespace tessera::trainer
