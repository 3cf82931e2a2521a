#include "services/trainer/run/train_config.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "common/base/check.h"
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

absl::Status ReadSchedule(const JsonValue& object, Schedule& schedule) {
  TESSERA_RETURN_IF_ERROR(ReadNumber(object, "warmup", 0, 1, schedule.warmup));
  TESSERA_RETURN_IF_ERROR(ReadNumber(object, "decay", 0, 1, schedule.decay));
  const std::optional<JsonValue> shape = object.Find("shape");
  if (!shape) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(const std::string_view name, shape->AsString());
  if (name != "linear" && name != "cosine") return shape->Unexpected("linear or cosine");
  schedule.shape = name == "linear" ? DecayShape::kLinear : DecayShape::kCosine;
  return absl::OkStatus();
}

absl::Status ReadRates(const JsonValue& root, TrainConfig& config) {
  const std::optional<JsonValue> rates = root.Find("rates");
  if (!rates) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(
      RefuseUnknown(*rates, {"muon", "adam", "warmup", "decay", "shape", "weight_decay"}));
  TESSERA_RETURN_IF_ERROR(ReadNumber(*rates, "muon", 0, 10, config.optimizer.muon_rate));
  TESSERA_RETURN_IF_ERROR(ReadNumber(*rates, "adam", 0, 10, config.optimizer.adam_rate));
  double weight_decay = 0;
  TESSERA_RETURN_IF_ERROR(ReadNumber(*rates, "weight_decay", 0, 1, weight_decay));
  config.optimizer.adam.weight_decay = config.optimizer.muon.weight_decay = weight_decay;
  return ReadSchedule(*rates, config.phases[0].schedule);
}

absl::Status ReadLoss(const JsonValue& root, TrainConfig& config) {
  const std::optional<JsonValue> loss = root.Find("loss");
  if (!loss) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(RefuseUnknown(*loss, {"z", "balance", "clip_norm"}));
  TESSERA_RETURN_IF_ERROR(ReadNumber(*loss, "z", 0, 1, config.z_weight));
  TESSERA_RETURN_IF_ERROR(ReadNumber(*loss, "balance", 0, 10, config.phases[0].balance_weight));
  return ReadNumber(*loss, "clip_norm", 0, 1e9, config.optimizer.clip_norm);
}

absl::Status ReadBalance(const JsonValue& root, TrainConfig& config) {
  BalanceOptions& options = config.balance;
  const std::optional<JsonValue> balance = root.Find("balance");
  if (!balance) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(
      RefuseUnknown(*balance, {"method", "rate", "rate_end", "momentum", "aux_weight"}));
  if (const std::optional<JsonValue> method = balance->Find("method")) {
    TESSERA_ASSIGN_OR_RETURN(const std::string_view name, method->AsString());
    TESSERA_ASSIGN_OR_RETURN(options.method, ParseBalanceMethod(name));
  }
  Phase& phase = config.phases[0];
  TESSERA_RETURN_IF_ERROR(ReadNumber(*balance, "rate", 0, 1, phase.balance_rate));
  TESSERA_RETURN_IF_ERROR(ReadNumber(*balance, "rate_end", 0, 1, phase.balance_rate_end));
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

absl::Status ReadSwitch(const JsonValue& object, std::string_view key, bool& out) {
  const std::optional<JsonValue> value = object.Find(key);
  if (!value) return absl::OkStatus();
  TESSERA_ASSIGN_OR_RETURN(out, value->AsBool());
  return absl::OkStatus();
}

absl::Status ReadShares(const JsonValue& shares, Course& course) {
  if (!shares.is_object()) return shares.Unexpected("an object");
  for (const auto& [key, value] : shares.members()) {
    if (std::ranges::find(kCorpusSkills, key) == kCorpusSkills.end()) {
      return value.Unexpected("one of the keys faq, arithmetic, tools, recall, talk, text");
    }
  }
  double sum = 0;
  for (size_t i = 0; i < kCorpusSkills.size(); ++i) {
    TESSERA_RETURN_IF_ERROR(ReadNumber(shares, kCorpusSkills[i], 0, 1, course.shares[i]));
    sum += course.shares[i];
  }
  if (std::abs(sum - 1) < 1e-6) return absl::OkStatus();
  return shares.Unexpected(absl::StrCat("shares that add up to 1, not to ", sum));
}

absl::Status ReadCourse(const JsonValue& object, Course& course) {
  const std::optional<JsonValue> corpus = object.Find("corpus");
  if (!corpus) return absl::OkStatus();
  TESSERA_RETURN_IF_ERROR(
      RefuseUnknown(*corpus, {"shares", "subtract", "compares", "more_frames"}));
  if (const std::optional<JsonValue> shares = corpus->Find("shares")) {
    TESSERA_RETURN_IF_ERROR(ReadShares(*shares, course));
  }
  TESSERA_RETURN_IF_ERROR(ReadNumber(*corpus, "subtract", 0, 1, course.subtract));
  TESSERA_RETURN_IF_ERROR(ReadSwitch(*corpus, "compares", course.compares));
  return ReadSwitch(*corpus, "more_frames", course.more_frames);
}

absl::StatusOr<Phase> ParseLaterPhase(const JsonValue& value, const Phase& before) {
  TESSERA_RETURN_IF_ERROR(RefuseUnknown(
      value, {"steps", "rate", "warmup", "decay", "shape", "settles", "balance", "corpus"}));
  Phase phase = {.schedule = {.warmup = 0, .decay = 1},
                 .balance_rate = before.balance_rate_end,
                 .balance_weight = before.balance_weight,
                 .course = before.course};
  TESSERA_ASSIGN_OR_RETURN(const JsonValue steps, value.Member("steps"));
  TESSERA_ASSIGN_OR_RETURN(phase.schedule.steps, steps.AsUnsigned(1, 1 << 30));
  TESSERA_RETURN_IF_ERROR(ReadSchedule(value, phase.schedule));
  TESSERA_RETURN_IF_ERROR(ReadNumber(value, "rate", 0, 100, phase.rate));
  TESSERA_RETURN_IF_ERROR(ReadSwitch(value, "settles", phase.settles));
  if (const std::optional<JsonValue> balance = value.Find("balance")) {
    TESSERA_RETURN_IF_ERROR(RefuseUnknown(*balance, {"rate", "rate_end", "loss"}));
    TESSERA_RETURN_IF_ERROR(ReadNumber(*balance, "rate", 0, 1, phase.balance_rate));
    phase.balance_rate_end = phase.balance_rate;
    TESSERA_RETURN_IF_ERROR(ReadNumber(*balance, "rate_end", 0, 1, phase.balance_rate_end));
    TESSERA_RETURN_IF_ERROR(ReadNumber(*balance, "loss", 0, 10, phase.balance_weight));
  } else {
    phase.balance_rate_end = phase.balance_rate;
  }
  TESSERA_RETURN_IF_ERROR(ReadCourse(value, phase.course));
  return phase;
}

absl::Status ReadLaterPhases(const JsonValue& root, TrainConfig& config) {
  const std::optional<JsonValue> phases = root.Find("phases");
  if (!phases) return absl::OkStatus();
  if (!phases->is_array()) return phases->Unexpected("a list");
  for (const JsonValue& value : phases->elements()) {
    TESSERA_ASSIGN_OR_RETURN(Phase phase, ParseLaterPhase(value, config.phases.back()));
    config.phases.push_back(std::move(phase));
  }
  return absl::OkStatus();
}

std::string Text(const Schedule& schedule) {
  return absl::StrCat("steps ", schedule.steps, ", warmup ", schedule.warmup, ", decay ",
                      schedule.decay, " ",
                      schedule.shape == DecayShape::kLinear ? "linear" : "cosine");
}

// Nothing for what runs begin with: checkpoints were once written without it.
std::string Text(const Course& course) {
  if (course == Course()) return "";
  return absl::StrCat(", shares ", absl::StrJoin(course.shares, " "), ", subtract ",
                      course.subtract, course.compares ? ", compares" : "",
                      course.more_frames ? ", more frames" : "");
}

std::string TextOfLater(const Phase& phase, ExpertFormat experts) {
  return absl::StrCat("then ", Text(phase.schedule), ", rate ", phase.rate, ", balance loss ",
                      phase.balance_weight, ", balance ", phase.balance_rate, " to ",
                      phase.balance_rate_end, Text(phase.course),
                      !phase.settles                  ? ""
                      : experts == ExpertFormat::kFp8 ? ", settles in fp8"
                                                      : ", settles in bf16",
                      "\n");
}

}  // namespace

absl::StatusOr<TrainConfig> ParseTrainConfig(const JsonValue& root) {
  TESSERA_RETURN_IF_ERROR(RefuseUnknown(root, {"seed", "steps", "model", "data", "batch", "rates",
                                               "loss", "balance", "output", "corpus", "phases"}));
  TrainConfig config;
  TESSERA_ASSIGN_OR_RETURN(const JsonValue model, root.Member("model"));
  TESSERA_ASSIGN_OR_RETURN(config.model, ParseModelSpec(model));
  TESSERA_ASSIGN_OR_RETURN(const JsonValue steps, root.Member("steps"));
  TESSERA_ASSIGN_OR_RETURN(config.phases[0].schedule.steps, steps.AsUnsigned(1, 1 << 30));
  TESSERA_RETURN_IF_ERROR(ReadCount(root, "seed", 0, UINT64_MAX, config.seed));
  config.packer.seed = config.seed;
  TESSERA_RETURN_IF_ERROR(ReadData(root, config));
  TESSERA_RETURN_IF_ERROR(ReadBatch(root, config));
  TESSERA_RETURN_IF_ERROR(ReadRates(root, config));
  TESSERA_RETURN_IF_ERROR(ReadLoss(root, config));
  TESSERA_RETURN_IF_ERROR(ReadBalance(root, config));
  TESSERA_RETURN_IF_ERROR(ReadOutput(root, config));
  TESSERA_RETURN_IF_ERROR(ReadCourse(root, config.phases[0].course));
  TESSERA_RETURN_IF_ERROR(ReadLaterPhases(root, config));
  return config;
}

absl::StatusOr<TrainConfig> ReadTrainConfig(const std::string& path) {
  TESSERA_ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::ReadFile(path));
  absl::StatusOr<TrainConfig> config = ParseTrainConfig(document.root());
  if (!config.ok()) return Annotate(config.status(), path);
  return config;
}

uint64_t TrainConfig::steps() const {
  uint64_t sum = 0;
  for (const Phase& phase : phases) sum += phase.schedule.steps;
  return sum;
}

PhaseStep TrainConfig::PhaseOf(uint64_t step) const {
  TESSERA_CHECK(step >= 1 && step <= steps());
  PhaseStep place = {.step = step};
  while (place.step > phases[place.phase].schedule.steps) {
    place.step -= phases[place.phase++].schedule.steps;
  }
  return place;
}

RunIdentity TrainConfig::Identity(uint64_t step) const {
  const Phase& first = phases[0];
  RunIdentity identity = {
      .config = absl::StrCat(
          "seed ", seed, ", ", Text(first.schedule), ", rows ", batch_rows, " of ",
          packer.row_tokens, ", buffer ", packer.buffer_documents, ", muon ", optimizer.muon_rate,
          ", adam ", optimizer.adam_rate, ", weight decay ", optimizer.adam.weight_decay, ", clip ",
          optimizer.clip_norm, ", z ", z_weight, ", balance loss ", first.balance_weight,
          ", balance ", std::string(NameOf(balance.method)), " ", first.balance_rate, " to ",
          first.balance_rate_end, " momentum ", balance.momentum, " aux ", balance.aux_weight,
          Text(first.course), ", model ", ConfigText(model, ExpertFormat::kBf16)),
      .data = first.data_identity};
  const size_t begun = step == 0 ? 1 : PhaseOf(std::min(step, steps())).phase + 1;
  for (size_t i = 1; i < begun; ++i) {
    identity.config += TextOfLater(phases[i], experts);
    if (!identity.data.empty()) absl::StrAppend(&identity.data, ", ", phases[i].data_identity);
  }
  return identity;
}

}  // namespace tessera::trainer
