#include "services/router/balance/routing_trace.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/log.h"

namespace tessera::router {
namespace {

constexpr char kMagic[] = "TSSTRCE1";
constexpr size_t kMagicBytes = 8;
constexpr uint32_t kLayersMax = 4096;
constexpr uint32_t kExpertsMax = 65536;

void Append(uint32_t value, std::string& bytes) {
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(value >> shift));
}

// Reads numbers; `good` stays true as long as they were there.
class Numbers {
 public:
  Numbers(std::ifstream& file, uint64_t bytes) : file_(file), bytes_left_(bytes) {}
  uint32_t Next(size_t width) {
    unsigned char bytes[4] = {};
    good_ = good_ && file_.read(reinterpret_cast<char*>(bytes), static_cast<ptrdiff_t>(width));
    bytes_left_ -= std::min<uint64_t>(width, bytes_left_);
    uint32_t value = 0;
    for (size_t i = width; i > 0; --i) value = value << 8 | bytes[i - 1];
    return value;
  }
  bool good() const { return good_; }
  // At most, as the file's size was when it was opened.
  uint64_t bytes_left() const { return bytes_left_; }

 private:
  std::ifstream& file_;
  uint64_t bytes_left_ = 0;
  bool good_ = true;
};

absl::Status Damaged(const std::string& path, const std::string& what) {
  return absl::DataLossError(absl::StrCat(path, ": ", what));
}

// False at the end of the file, or at a record that is cut off.
absl::StatusOr<bool> ReadStep(const std::string& path, Numbers& numbers, RoutingTrace& trace) {
  RoutedStep step;
  const uint32_t layer = numbers.Next(4);
  step.rows = numbers.Next(4);
  if (!numbers.good()) return false;
  if (layer >= trace.shape.layer_count || step.rows == 0 || step.rows > 65536) {
    return Damaged(path, absl::StrCat("a record of layer ", layer, " with ", step.rows,
                                      " rows; expected layers below ", trace.shape.layer_count,
                                      " and 1..65536 rows"));
  }
  step.layer = LayerIndex{layer};
  const uint64_t count = uint64_t{step.rows} * trace.top_k;
  if (2 * count > numbers.bytes_left()) return false;  // before anything is reserved for it
  step.experts.reserve(count);
  for (uint64_t i = 0; i < count; ++i) {
    step.experts.push_back(numbers.Next(2));
    if (!numbers.good()) return false;
    if (step.experts.back() >= trace.shape.expert_count) {
      return Damaged(
          path, absl::StrCat("expert ", step.experts.back(), " of ", trace.shape.expert_count));
    }
  }
  trace.steps.push_back(std::move(step));
  return true;
}

}  // namespace

absl::StatusOr<RoutingTrace> RoutingTrace::Read(const std::string& path, uint64_t bytes_max) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  std::error_code error;
  const uint64_t bytes = std::filesystem::file_size(path, error);
  if (error || bytes > bytes_max) {
    return Damaged(path, absl::StrCat(bytes, " bytes, at most ", bytes_max, " are read"));
  }
  char magic[kMagicBytes] = {};
  file.read(magic, kMagicBytes);
  if (!file || std::memcmp(magic, kMagic, kMagicBytes) != 0) {
    return Damaged(path, "is no routing trace: it does not begin with TSSTRCE1");
  }
  Numbers numbers(file, bytes - kMagicBytes);
  RoutingTrace trace;
  trace.shape.layer_count = numbers.Next(4);
  trace.shape.expert_count = numbers.Next(4);
  trace.top_k = numbers.Next(4);
  if (!numbers.good() || trace.shape.layer_count == 0 || trace.shape.layer_count > kLayersMax ||
      trace.shape.expert_count == 0 || trace.shape.expert_count > kExpertsMax || trace.top_k == 0 ||
      trace.top_k > trace.shape.expert_count) {
    return Damaged(path,
                   absl::StrCat(trace.shape.layer_count, " layers of ", trace.shape.expert_count,
                                " experts, top ", trace.top_k, ": out of range"));
  }
  for (;;) {
    absl::StatusOr<bool> more = ReadStep(path, numbers, trace);
    if (!more.ok()) return more.status();
    if (!*more) return trace;
  }
}

absl::StatusOr<std::unique_ptr<RoutingRecorder>> RoutingRecorder::Create(
    const std::string& path, const PlacementShape& shape, uint32_t top_k, uint64_t bytes_max) {
  if (shape.expert_count > kExpertsMax) {
    return absl::InvalidArgumentError(
        absl::StrCat(shape.expert_count, " experts; a trace holds numbers below ", kExpertsMax));
  }
  std::ofstream file(path, std::ios::binary | std::ios::trunc);
  std::string header(kMagic, kMagicBytes);
  Append(static_cast<uint32_t>(shape.layer_count), header);
  Append(static_cast<uint32_t>(shape.expert_count), header);
  Append(top_k, header);
  file.write(header.data(), static_cast<ptrdiff_t>(header.size()));
  if (!file) return absl::UnavailableError(absl::StrCat(path, ": cannot be written"));
  return std::unique_ptr<RoutingRecorder>(new RoutingRecorder(std::move(file), top_k, bytes_max));
}

RoutingRecorder::RoutingRecorder(std::ofstream file, uint32_t top_k, uint64_t bytes_max)
    : top_k_(top_k), bytes_max_(bytes_max), file_(std::move(file)) {
  thread_ = Thread("recorder", [this](std::stop_token) { Run(); });
}

RoutingRecorder::~RoutingRecorder() {
  queue_.Close();
  thread_.Join();
  file_.write(piece_.data(), static_cast<ptrdiff_t>(piece_.size()));
  if (dropped_ > 0) {
    TESSERA_LOG(WARNING) << dropped_ << " layers of steps are missing in the routing trace";
  }
}

void RoutingRecorder::Run() {
  while (auto piece = queue_.Pop()) {
    file_.write(piece->data(), static_cast<ptrdiff_t>(piece->size()));
  }
  file_.flush();
}

void RoutingRecorder::Record(LayerIndex layer, const RoutingView& routing) {
  if (routing.rows == 0 || routing.top_k != top_k_) return;
  const size_t bytes = 8 + routing.experts.size() * 2;
  if (bytes_ + bytes > bytes_max_) {
    ++dropped_;
    return;
  }
  bytes_ += bytes;
  ++piece_records_;
  Append(static_cast<uint32_t>(ToIndex(layer)), piece_);
  Append(static_cast<uint32_t>(routing.rows), piece_);
  for (const uint32_t expert : routing.experts) {
    piece_.push_back(static_cast<char>(expert));
    piece_.push_back(static_cast<char>(expert >> 8));
  }
  if (piece_.size() >= kPieceBytes) HandOver();
}

void RoutingRecorder::HandOver() {
  const size_t bytes = piece_.size();
  if (!queue_.TryPush(std::move(piece_))) {
    bytes_ -= bytes;
    dropped_ += piece_records_;
  }
  piece_ = {};
  piece_.reserve(bytes);
  piece_records_ = 0;
}

}  // namespace tessera::router
