#include "services/trainer/run/tensor_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status.h"

namespace tessera::trainer {
namespace {

// A part file that becomes the file when all is written, or disappears.
class PartFile {
 public:
  explicit PartFile(const std::string& path)
      : path_(path),
        part_(path + ".part"),
        file_(open(part_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {}
  ~PartFile() {
    if (file_ >= 0) close(file_);
    if (!done_) unlink(part_.c_str());
  }

  absl::Status Write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = write(file_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written <= 0) return Failed();
      bytes = bytes.subspan(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }
  absl::Status Finish() {
    if (file_ < 0 || fsync(file_) != 0 || std::rename(part_.c_str(), path_.c_str()) != 0) {
      return Failed();
    }
    done_ = true;
    return absl::OkStatus();
  }

 private:
  absl::Status Failed() const {
    return absl::UnavailableError(absl::StrCat("cannot write ", path_, ": ", std::strerror(errno)));
  }

  const std::string path_;
  const std::string part_;
  const int file_;
  bool done_ = false;
};

uint64_t BytesOf(const TensorToWrite& tensor) {
  uint64_t bytes = SizeOf(tensor.dtype);
  for (const uint64_t extent : tensor.shape) bytes *= extent;
  return bytes;
}

// Names are ours: letters, digits, dots and underscores.
std::string HeaderOf(std::span<const TensorToWrite> tensors) {
  std::string header = R"({"__metadata__":{"format":"pt"})";
  uint64_t offset = 0;
  for (const TensorToWrite& tensor : tensors) {
    const uint64_t end = offset + BytesOf(tensor);
    absl::StrAppend(&header, ",\"", tensor.name, R"(":{"dtype":")",
                    std::string(NameOf(tensor.dtype)), R"(","shape":[)",
                    absl::StrJoin(tensor.shape, ","), R"(],"data_offsets":[)", offset, ",", end,
                    "]}");
    offset = end;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  return header;
}

}  // namespace

absl::Status WriteTensorFile(const std::string& path, std::span<const TensorToWrite> tensors) {
  const std::string header = HeaderOf(tensors);
  const uint64_t size = header.size();
  PartFile file(path);
  TESSERA_RETURN_IF_ERROR(file.Write(std::as_bytes(std::span(&size, 1))));
  TESSERA_RETURN_IF_ERROR(file.Write(std::as_bytes(std::span(header))));
  std::vector<std::byte> bytes;
  for (const TensorToWrite& tensor : tensors) {
    bytes.resize(BytesOf(tensor));
    tensor.fill(bytes);
    TESSERA_RETURN_IF_ERROR(file.Write(bytes));
  }
  return file.Finish();
}

absl::Status WriteWholeFile(const std::string& path, std::string_view content) {
  PartFile file(path);
  TESSERA_RETURN_IF_ERROR(file.Write(std::as_bytes(std::span(content))));
  return file.Finish();
}

}  // namespace tessera::trainer
