#include "services/trainer/run/train_config.h"

#include <algorithm>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/status.h"
#include "common/json/json.h"
#include "common/model/model_config.h"

namespace tessera::trainer {
namespace {

absl::Status RefuseUnknown(const JsonValue& object,
                           std::initializer_list<absl::string_view> known) {
  if (!object.is_object()) return object.Unexpected("an object");
  for (const auto& [key, value] : object.members()) {
    if (std::find(known.begin(), known.end(), absl::string_view(key.data(), key.size())) ==
        known.end()) {
      return value.Unexpected(absl::StrCat("one of the keys ", absl::StrJoin(known, ", ")));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadNumber(const JsonValue& object, std::string_view key, double min, double max,
                        double& out) {
  const std::optional<JsonValue> value = object.Find(key);
  if (!value) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(out, value->AsNumber());
  if (out >= min && out <= max) return absl::OkStatus();
  return value->Unexpected(absl::StrCat("a number in [", min, ", ", max, "]"));
}

template <typename Integer>
absl::Status ReadCount(const JsonValue& object, std::string_view key, uint64_t min, uint64_t max,
                       Integer& out) {
  const std::optional<JsonValue> value = object.Find(key);
  if (!value) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(out, value->AsUnsigned(min, max));
  return absl::OkStatus();
}

absl::Status ReadData(const JsonValue& root, TrainConfig& config) {
  const std::optional<JsonValue> data = root.Find("data");
  if (!data) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(RefuseUnknown(*data, {"tokenizer"}));
  const std::optional<JsonValue> tokenizer = data->Find("tokenizer");
  if (!tokenizer) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(config.tokenizer, tokenizer->AsString());
  return absl::OkStatus();
}

absl::Status ReadBatch(const JsonValue& root, TrainConfig& config) {
  const std::optional<JsonValue> batch = root.Find("batch");
  if (!batch) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(RefuseUnknown(*batch, {"rows", "row_tokens", "buffer_documents"}));
  TESSERA_RETURN_IF_ERROR(ReadCount(*batch, "rows", 1, 1024, config.batch_rows));
  TESSERA_RETURN_IF_ERROR(ReadCount(*batch, "row_tokens", 16, 1 << 20, config.packer.row_tokens));
  return ReadCount(*batch, "buffer_documents", 1, 1 << 20, config.packer.buffer_documents);
}

absl::Status ReadRates(const JsonValue& root, TrainConfig& config) {
  const std::optional<JsonValue> rates = root.Find("rates");
  if (!rates) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(
      RefuseUnknown(*rates, {"muon", "adam", "warmup", "decay", "shape", "weight_decay"}));
  TESSERA_RETURN_IF_ERROR(ReadNumber(*rates, "muon", 0, 10, config.optimizer.muon_rate));
  TESSERA_RETURN_IF_ERROR(ReadNumber(*rates, "adam", 0, 10, config.optimizer.adam_rate));
  TESSERA_RETURN_IF_ERROR(ReadNumber(*rates, "warmup", 0, 1, config.schedule.warmup));
  TESSERA_RETURN_IF_ERROR(ReadNumber(*rates, "decay", 0, 1, config.schedule.decay));
  double weight_decay = 0;
  TESSERA_RETURN_IF_ERROR(ReadNumber(*rates, "weight_decay", 0, 1, weight_decay));
  config.optimizer.adam.weight_decay = config.optimizer.muon.weight_decay = weight_decay;
  const std::optional<JsonValue> shape = rates->Find("shape");
  if (!shape) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(const std::string_view name, shape->AsString());
  if (name != "linear" && name != "cosine") return shape->Unexpected("linear or cosine");
  config.schedule.shape = name == "linear" ? DecayShape::kLinear : DecayShape::kCosine;
  return absl::OkStatus();
}

absl::Status ReadLoss(const JsonValue& root, TrainConfig& config) {
  const std::optional<JsonValue> loss = root.Find("loss");
  if (!loss) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(RefuseUnknown(*loss, {"z", "balance", "clip_norm"}));
  TESSERA_RETURN_IF_ERROR(ReadNumber(*loss, "z", 0, 1, config.z_weight));
  TESSERA_RETURN_IF_ERROR(ReadNumber(*loss, "balance", 0, 10, config.balance_weight));
  return ReadNumber(*loss, "clip_norm", 0, 1e9, config.optimizer.clip_norm);
}

absl::Status ReadBalance(const JsonValue& root, BalanceOptions& options) {
  const std::optional<JsonValue> balance = root.Find("balance");
  if (!balance) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(
      RefuseUnknown(*balance, {"method", "rate", "rate_end", "momentum", "aux_weight"}));
  if (const std::optional<JsonValue> method = balance->Find("method")) {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view name, method->AsString());
    TESSERA_ASSIGN_OR_RETURN(options.method, ParseBalanceMethod(name));
  }
  TESSERA_RETURN_IF_ERROR(ReadNumber(*balance, "rate", 0, 1, options.rate));
  TESSERA_RETURN_IF_ERROR(ReadNumber(*balance, "rate_end", 0, 1, options.rate_end));
  TESSERA_RETURN_IF_ERROR(ReadNumber(*balance, "momentum", 0, 0.999, options.momentum));
  return ReadNumber(*balance, "aux_weight", 0, 10, options.aux_weight);
}

absl::Status ReadOutput(const JsonValue& root, TrainConfig& config) {
  const std::optional<JsonValue> output = root.Find("output");
  if (!output) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(RefuseUnknown(*output, {"experts", "checkpoint_every"}));
  if (const std::optional<JsonValue> experts = output->Find("experts")) {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view name, experts->AsString());
    TESSERA_ASSIGN_OR_RETURN(config.experts, ParseExpertFormat(name));
  }
  return ReadCount(*output, "checkpoint_every", 1, 1 << 30, config.checkpoint_every);
}

}  // namespace

absl::StatusOr<TrainConfig> ParseTrainConfig(const JsonValue& root) {
  TESSERA_RETURN_IF_ERROR(RefuseUnknown(
      root, {"seed", "steps", "model", "data", "batch", "rates", "loss", "balance", "output"}));
  TrainConfig config;
  TESSERA_ASSIGN_OR_RETURN(const JsonValue model, root.Member("model"));
  TESSERA_ASSIGN_OR_RETURN(config.model, ParseModelSpec(model));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue steps, root.Member("steps"));
  TESSERA_ASSIGN_OR_RETURN(config.schedule.steps, steps.AsUnsigned(1, 1 << 30));
  TESSERA_RETURN_IF_ERROR(ReadCount(root, "seed", 0, UINT64_MAX, config.seed));
  config.packer.seed = config.seed;
  TESSERA_RETURN_IF_ERROR(ReadData(root, config));
  TESSERA_RETURN_IF_ERROR(ReadBatch(root, config));
  TESSERA_RETURN_IF_ERROR(ReadRates(root, config));
  TESSERA_RETURN_IF_ERROR(ReadLoss(root, config));
  TESSERA_RETURN_IF_ERROR(ReadBalance(root, config.balance));
  TESSERA_RETURN_IF_ERROR(ReadOutput(root, config));
  return config;
}

absl::StatusOr<TrainConfig> ReadTrainConfig(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::ReadFile(path));
  absl::StatusOr<TrainConfig> config = ParseTrainConfig(document.root());
  if (!config.ok()) return Annotate(config.status(), path);
  return config;
}

std::string TrainConfig::Fingerprint() const {
  return absl::StrCat(
      "seed ", seed, ", steps ", schedule.steps, ", warmup ", schedule.warmup, ", decay ",
      schedule.decay, " ", schedule.shape == DecayShape::kLinear ? "linear" : "cosine", ", rows ",
      batch_rows, " of ", packer.row_tokens, ", buffer ", packer.buffer_documents, ", muon ",
      optimizer.muon_rate, ", adam ", optimizer.adam_rate, ", weight decay ",
      optimizer.adam.weight_decay, ", clip ", optimizer.clip_norm, ", z ", z_weight,
      ", balance loss ", balance_weight, ", balance ", std::string(NameOf(balance.method)), " ",
      balance.rate, " to ", balance.rate_end, " momentum ", balance.momentum, " aux ",
      balance.aux_weight, ", model ", ConfigText(model, ExpertFormat::kBf16));
}

}  // namespace tessera::trainer
