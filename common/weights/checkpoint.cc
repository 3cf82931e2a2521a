#include "common/weights/checkpoint.h"

#include <algorithm>
#include <filesystem>
#include <set>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "common/json/json.h"

namespace tessera {
namespace {

constexpr size_t kShardsMax = 2048;

bool IsPlainFileName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos;
}

// The name of the shard in a member of weight_map.
absl::StatusOr<std::string> ShardOf(const JsonValue& member) {
  TESSERA_ASSIGN_OR_RETURN(const std::string_view file, member.AsString());
  if (!IsPlainFileName(file)) return member.Unexpected("the name of a file in the same folder");
  return std::string(file);
}

std::span<const std::byte> ScaleBytes(const TensorView& view) {
  const BlockScales& scales = view.scales;
  if (scales.data == nullptr) return {};
  const size_t rows = (view.rows + scales.block_rows - 1) / scales.block_rows;
  const size_t cols = (view.cols + scales.block_cols - 1) / scales.block_cols;
  return {scales.data, rows * cols * SizeOf(scales.dtype)};
}

}  // namespace

absl::StatusOr<std::unique_ptr<const Checkpoint>> Checkpoint::Open(const std::string& directory) {
  const std::filesystem::path root(directory);
  const std::string single = (root / "model.safetensors").string();
  const std::string index = (root / "model.safetensors.index.json").string();
  std::unique_ptr<Checkpoint> checkpoint(new Checkpoint(directory));
  std::error_code ignored;
  if (std::filesystem::exists(single, ignored)) {
    TESSERA_RETURN_IF_ERROR(checkpoint->AddFile(single));
  } else if (std::filesystem::exists(index, ignored)) {
    TESSERA_RETURN_IF_ERROR(checkpoint->AddShards(index));
  } else {
    return absl::NotFoundError(absl::StrCat(
        directory, ": holds neither model.safetensors nor model.safetensors.index.json"));
  }
  checkpoint->first_tensor_.push_back(checkpoint->tensors_.size());
  TESSERA_RETURN_IF_ERROR(checkpoint->IndexNames());
  TESSERA_RETURN_IF_ERROR(checkpoint->Verify());
  return checkpoint;
}

absl::Status Checkpoint::AddFile(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(MappedFile file, MappedFile::Open(path));
  absl::StatusOr<std::vector<StoredTensor>> tensors = ParseSafetensors(file.bytes());
  if (!tensors.ok()) return Annotate(tensors.status(), path);
  first_tensor_.push_back(tensors_.size());
  for (StoredTensor& tensor : *tensors) {
    tensor.file = static_cast<uint32_t>(files_.size());
    tensors_.push_back(std::move(tensor));
  }
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

absl::Status Checkpoint::AddShards(const std::string& index_path) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument index,
                           JsonDocument::ReadFile(index_path, {.depth_max = 8}));
  const absl::StatusOr<JsonValue> map = index.root().Member("weight_map");
  if (!map.ok()) return Annotate(map.status(), index_path);
  if (!map->is_object() || map->size() == 0)
    return Annotate(map->Unexpected("an object from tensor to file"), index_path);

  absl::flat_hash_map<std::string_view, std::string> shard_by_tensor;
  std::set<std::string> shards;
  for (auto [tensor, member] : map->members()) {
    absl::StatusOr<std::string> shard = ShardOf(member);
    if (!shard.ok()) return Annotate(shard.status(), index_path);
    shards.insert(*shard);
    shard_by_tensor.emplace(tensor, std::move(shard).value());
  }
  if (shards.size() > kShardsMax)
    return absl::InvalidArgumentError(absl::StrCat(index_path, ": names ", shards.size(),
                                                   " files; at most ", kShardsMax, " are read"));
  for (const std::string& shard : shards)
    TESSERA_RETURN_IF_ERROR(AddFile((std::filesystem::path(directory_) / shard).string()));

  for (const StoredTensor& tensor : tensors_) {
    const auto found = shard_by_tensor.find(tensor.name);
    const std::string shard = std::filesystem::path(PathOf(tensor)).filename().string();
    if (found == shard_by_tensor.end() || found->second != shard)
      return absl::DataLossError(absl::StrCat(
          PathOf(tensor), ": holds tensor '", tensor.name, "', which model.safetensors.index.json ",
          found == shard_by_tensor.end() ? "does not list" : "places in " + found->second));
    shard_by_tensor.erase(found);
  }
  if (shard_by_tensor.empty()) return absl::OkStatus();
  const auto& [tensor, shard] = *shard_by_tensor.begin();
  return absl::DataLossError(absl::StrCat(directory_, "/", shard, ": tensor '", std::string(tensor),
                                          "' is missing, though model.safetensors.index.json ",
                                          "places it here"));
}

absl::Status Checkpoint::IndexNames() {
  by_name_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) {
    const auto [found, inserted] = by_name_.emplace(tensors_[i].name, i);
    if (!inserted)
      return absl::DataLossError(absl::StrCat(PathOf(tensors_[i]), ": tensor '", tensors_[i].name,
                                              "' is also in ", PathOf(tensors_[found->second])));
  }
  return absl::OkStatus();
}

const StoredTensor* Checkpoint::Find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &tensors_[found->second];
}

std::span<const std::byte> Checkpoint::Bytes(const StoredTensor& tensor) const {
  return files_[tensor.file].bytes().subspan(tensor.offset, tensor.size_bytes);
}

const StoredTensor* Checkpoint::TensorAt(size_t file, uint64_t offset) const {
  const auto begin = tensors_.begin() + static_cast<ptrdiff_t>(first_tensor_[file]);
  const auto end = tensors_.begin() + static_cast<ptrdiff_t>(first_tensor_[file + 1]);
  // The last tensor that does not begin behind `offset`; empty ones come before the one they touch.
  const auto behind = std::upper_bound(
      begin, end, offset, [](uint64_t o, const StoredTensor& t) { return o < t.offset; });
  if (behind == begin) return nullptr;
  const StoredTensor& tensor = *(behind - 1);
  return offset - tensor.offset < tensor.size_bytes ? &tensor : nullptr;
}

std::string Checkpoint::Whereabouts(const std::byte* address) const {
  for (size_t i = 0; i < files_.size(); ++i) {
    const std::span<const std::byte> bytes = files_[i].bytes();
    if (address < bytes.data() || address >= bytes.data() + bytes.size()) continue;
    const StoredTensor* tensor = TensorAt(i, static_cast<uint64_t>(address - bytes.data()));
    if (tensor == nullptr) return absl::StrCat(files_[i].path(), ": header");
    return absl::StrCat(files_[i].path(), ": tensor '", tensor->name, "'");
  }
  return "memory outside the checkpoint";
}

uint64_t Checkpoint::file_bytes() const {
  uint64_t sum = 0;
  for (const MappedFile& file : files_) sum += file.bytes().size();
  return sum;
}

bool Checkpoint::damaged() const {
  return std::any_of(files_.begin(), files_.end(), [](const MappedFile& f) { return f.damaged(); });
}

absl::Status Checkpoint::Verify() const {
  for (const MappedFile& file : files_) {
    const size_t intact = file.IntactBytes();
    if (intact < file.bytes().size()) {
      return absl::DataLossError(absl::StrCat(
          Whereabouts(file.bytes().data() + intact), " is lost from byte ", intact, " of ",
          file.bytes().size(), " on: the file shrank or became unreadable while in use"));
    }
    if (file.Changed())
      return absl::DataLossError(
          absl::StrCat(file.path(), ": the file was written to while in use; load it again"));
  }
  return absl::OkStatus();
}

void Checkpoint::Prefetch(const TensorView& view) const {
  MappedFile::Prefetch({view.data, view.size_bytes()});
  MappedFile::Prefetch(ScaleBytes(view));
}

void Checkpoint::Release(const TensorView& view) const {
  MappedFile::Release({view.data, view.size_bytes()});
  MappedFile::Release(ScaleBytes(view));
}

void Checkpoint::ReleaseAll() const {
  for (const MappedFile& file : files_) MappedFile::Release(file.bytes());
}

}  // namespace tessera
