#pragma once

// What one rendering may use: templates can come from a request.

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"

namespace tessera::gateway {

struct TemplateLimits {
  uint64_t steps_max = 5'000'000;              // evaluated expressions and statements, in all
  size_t bytes_max = size_t{256} << 20;        // of strings and lists that are made, in all
  size_t output_bytes_max = size_t{64} << 20;  // of the rendered text
  size_t source_bytes_max = size_t{1} << 20;   // of the template
  int depth_max = 250;  // statements, expressions and macros inside each other
};

// Counts down. Every error is kInvalidArgument and names the limit.
class RenderBudget {
 public:
  explicit RenderBudget(const TemplateLimits& limits) : limits_(limits) {}

  absl::Status Step(uint64_t count = 1) {
    steps_ += count;
    if (steps_ <= limits_.steps_max) return absl::OkStatus();
    return absl::InvalidArgumentError("rendering takes too many steps");
  }
  absl::Status Make(size_t bytes) {
    bytes_ += bytes;
    if (bytes_ <= limits_.bytes_max) return absl::OkStatus();
    return absl::InvalidArgumentError("rendering takes too much memory");
  }
  absl::Status Enter() {
    if (++depth_ <= limits_.depth_max) return absl::OkStatus();
    return absl::InvalidArgumentError("the template calls itself too deeply");
  }
  void Leave() { --depth_; }

  size_t bytes_left() const {
    return limits_.bytes_max - (bytes_ < limits_.bytes_max ? bytes_ : limits_.bytes_max);
  }
  size_t output_bytes_max() const { return limits_.output_bytes_max; }

 private:
  const TemplateLimits limits_;
  uint64_t steps_ = 0;
  size_t bytes_ = 0;
  int depth_ = 0;
};

}  // namespace tessera::gateway
