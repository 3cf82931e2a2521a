#include "services/trainer/run/run_state.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/weights/mapped_file.h"
#include "common/weights/safetensors.h"
#include "services/trainer/run/tensor_file.h"

namespace tessera::trainer {
namespace {

struct NamedArray {
  std::string_view name;
  std::span<float> values;
};

std::vector<NamedArray> NamesOf(const RunArrays& arrays) {
  return {{"weights", arrays.weights},
          {"first_moment", arrays.first_moment},
          {"second_moment", arrays.second_moment},
          {"expert_bias", arrays.expert_bias},
          {"balance_momentum", arrays.balance_momentum}};
}

TensorToWrite Bytes(std::string name, DType dtype, std::span<const std::byte> bytes) {
  return {std::move(name), dtype, {bytes.size() / SizeOf(dtype)}, [bytes](std::span<std::byte> to) {
            if (!bytes.empty()) std::memcpy(to.data(), bytes.data(), bytes.size());
          }};
}

TensorToWrite Integers(std::string name, std::span<const uint64_t> values) {
  return Bytes(std::move(name), DType::kI64, std::as_bytes(values));
}

// The tensors of an open state file by name.
class StateReader {
 public:
  StateReader(const MappedFile& file, const std::vector<StoredTensor>& tensors)
      : file_(file), tensors_(tensors) {}

  absl::StatusOr<std::span<const std::byte>> Find(std::string_view name, DType dtype) const {
    for (const StoredTensor& tensor : tensors_) {
      if (tensor.name != name || tensor.dtype != dtype) continue;
      return file_.bytes().subspan(tensor.offset, tensor.size_bytes);
    }
    return absl::DataLossError(absl::StrCat(file_.path(), ": no tensor '", std::string(name), "'"));
  }
  absl::Status Read(std::string_view name, DType dtype, std::span<std::byte> to) const {
    TESSERA_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, Find(name, dtype));
    if (bytes.size() != to.size()) {
      return absl::DataLossError(absl::StrCat(file_.path(), ": tensor '", std::string(name),
                                              "': found ", bytes.size(), " bytes; expected ",
                                              to.size()));
    }
    if (!to.empty()) std::memcpy(to.data(), bytes.data(), bytes.size());
    return absl::OkStatus();
  }
  bool Has(std::string_view name) const {
    return std::ranges::find(tensors_, name, &StoredTensor::name) != tensors_.end();
  }
  absl::StatusOr<std::string> ReadText(std::string_view name) const {
    TESSERA_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, Find(name, DType::kU8));
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  absl::Status ReadIntegers(std::string_view name, std::vector<uint64_t>& to) const {
    TESSERA_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, Find(name, DType::kI64));
    to.resize(bytes.size() / sizeof(uint64_t));
    if (!to.empty()) std::memcpy(to.data(), bytes.data(), bytes.size());
    return absl::OkStatus();
  }

 private:
  const MappedFile& file_;
  const std::vector<StoredTensor>& tensors_;
};

absl::Status CheckIdentity(const StateReader& reader, const std::string& path,
                           const RunIdentity& identity) {
  TESSERA_ASSIGN_OR_RETURN(const std::string config, reader.ReadText("fingerprint"));
  if (config != identity.config) {
    return absl::FailedPreconditionError(absl::StrCat(path, " belongs to another run: found\n",
                                                      config, "\nexpected\n", identity.config));
  }
  // Checkpoints were once written without it.
  if (!reader.Has("data") || identity.data.empty()) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(const std::string data, reader.ReadText("data"));
  if (data == identity.data) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      path, " was trained on other data: found ", data, "; expected ", identity.data,
      ". Go on with the tokenizer and the program that the run began with, or begin it anew"));
}

}  // namespace

absl::Status WriteRunState(const std::string& path, const RunIdentity& identity,
                           const RunArrays& arrays, const RunProgress& progress) {
  std::vector<TensorToWrite> tensors;
  for (const NamedArray& array : NamesOf(arrays)) {
    tensors.push_back(Bytes(std::string(array.name), DType::kF32, std::as_bytes(array.values)));
  }
  const std::vector<uint64_t> numbers = {progress.step, progress.packer.next_document,
                                         progress.packer.draws};
  tensors.push_back(Integers("numbers", numbers));
  tensors.push_back(Integers("packer_documents", progress.packer.documents));
  tensors.push_back(Integers("packer_offsets", progress.packer.offsets));
  tensors.push_back(Integers("load", progress.load));
  tensors.push_back(Bytes("fingerprint", DType::kU8, std::as_bytes(std::span(identity.config))));
  if (!identity.data.empty()) {
    tensors.push_back(Bytes("data", DType::kU8, std::as_bytes(std::span(identity.data))));
  }
  return WriteTensorFile(path, tensors);
}

absl::Status ReadRunState(const std::string& path,
                          absl::FunctionRef<RunIdentity(uint64_t step)> identity_of,
                          const RunArrays& arrays, RunProgress& progress) {
  TESSERA_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  absl::StatusOr<std::vector<StoredTensor>> tensors = ParseSafetensors(file.bytes());
  if (!tensors.ok()) return Annotate(tensors.status(), path);
  const StateReader reader(file, *tensors);
  std::vector<uint64_t> numbers(3);
  TESSERA_RETURN_IF_ERROR(
      reader.Read("numbers", DType::kI64, std::as_writable_bytes(std::span(numbers))));
  progress.step = numbers[0];
  progress.packer.next_document = numbers[1];
  progress.packer.draws = numbers[2];
  TESSERA_RETURN_IF_ERROR(CheckIdentity(reader, path, identity_of(progress.step)));
  for (const NamedArray& array : NamesOf(arrays)) {
    TESSERA_RETURN_IF_ERROR(
        reader.Read(array.name, DType::kF32, std::as_writable_bytes(array.values)));
  }
  TESSERA_RETURN_IF_ERROR(reader.ReadIntegers("packer_documents", progress.packer.documents));
  TESSERA_RETURN_IF_ERROR(reader.ReadIntegers("packer_offsets", progress.packer.offsets));
  TESSERA_RETURN_IF_ERROR(
      reader.Read("load", DType::kI64, std::as_writable_bytes(std::span(progress.load))));
  if (progress.packer.documents.size() != progress.packer.offsets.size()) {
    return absl::DataLossError(absl::StrCat(path, ": documents and offsets differ in number"));
  }
  if (file.damaged()) return absl::DataLossError(absl::StrCat(path, ": the file shrank"));
  return absl::OkStatus();
}

}  // namespace tessera::trainer
