#pragma once

// All tensors of a model folder: model.safetensors, or the shards that model.safetensors.index.json
// names. Nothing is read but headers; views point into the maps.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/tensor/tensor_view.h"
#include "common/weights/mapped_file.h"
#include "common/weights/safetensors.h"

namespace tessera {

// Immutable once open, so thread-safe. Everything it hands out lives as long as it does.
class Checkpoint {
 public:
  // Errors, each naming its file: kNotFound (no checkpoint in `directory`, or a shard is missing),
  // kDataLoss (a damaged file; a tensor that two shards hold; an index that disagrees with its
  // shards), kInvalidArgument (a damaged index), kResourceExhausted.
  static absl::StatusOr<std::unique_ptr<const Checkpoint>> Open(const std::string& directory);

  // Every tensor, file by file, ascending by offset.
  std::span<const StoredTensor> tensors() const { return tensors_; }
  // Null if there is none called `name`.
  const StoredTensor* Find(std::string_view name) const;
  // `tensor` is one of tensors().
  std::span<const std::byte> Bytes(const StoredTensor& tensor) const;
  const std::string& PathOf(const StoredTensor& tensor) const { return files_[tensor.file].path(); }
  // "FILE: tensor 'NAME'" of the tensor whose bytes hold `address`, for messages about a view;
  // "FILE: header" or "memory outside the checkpoint" where there is none.
  std::string Whereabouts(const std::byte* address) const;

  const std::string& directory() const { return directory_; }
  uint64_t file_bytes() const;  // of all files, headers included
  size_t file_count() const { return files_.size(); }

  // True once a read met bytes that are no longer in their file: what was read since is not the
  // model. One load per file; Verify tells which.
  bool damaged() const;
  // kDataLoss naming the file, and the first tensor that is lost, if a file shrank, was written to
  // or became unreadable since Open. Call it after reading weights, before trusting them.
  absl::Status Verify() const;

  // Hints about a view of this checkpoint, its scales included: read it ahead, or give its pages
  // back once it is packed, so that packed and mapped bytes are not resident both.
  void Prefetch(const TensorView& view) const;
  void Release(const TensorView& view) const;
  // Gives back all pages of all files.
  void ReleaseAll() const;

 private:
  explicit Checkpoint(std::string directory) : directory_(std::move(directory)) {}
  absl::Status AddFile(const std::string& path);
  absl::Status AddShards(const std::string& index_path);
  absl::Status IndexNames();
  // The tensor of file `file` that holds byte `offset`, or null.
  const StoredTensor* TensorAt(size_t file, uint64_t offset) const;

  const std::string directory_;
  std::vector<MappedFile> files_;
  std::vector<size_t> first_tensor_;  // per file, into tensors_; one more entry closes the last
  std::vector<StoredTensor> tensors_;
  absl::flat_hash_map<std::string_view, size_t> by_name_;
};

}  // namespace tessera
