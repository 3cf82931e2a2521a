#pragma once

// Reads a checkpoint's config.json into a ModelSpec.
//
//   keys of the shape       hidden_size, num_hidden_layers, num_attention_heads,
//   num_key_value_heads,
//                           head_dim, vocab_size, max_position_embeddings; with dense layers
//                           intermediate_size; with MoE layers moe_intermediate_size, num_experts,
//                           num_experts_per_tok, num_shared_experts; with sliding layers
//                           sliding_window: all must be there, none has a default
//   keys of the arithmetic  rms_norm_eps, mup_enabled, with MoE layers route_scale, with sliding
//                           layers rope_theta or rope_parameters.rope_theta: must be there.
//                           route_norm (true), tie_word_embeddings (false), score_func ("sigmoid"),
//                           hidden_act ("silu"), n_group and its kin (1) may be missing
//   layer kinds             layer_types, else global_attn_every_n_layers = n: layers n-1, 2n-1, ...
//                           are full
//   quantization_config     none, or compressed-tensors "float-quantized" with strategy "block"
//   eos_token_id            number or list, of config.json and of generation_config.json together
//
// What the engine does not compute (rope scaling, grouped routing, another activation, another
// quantisation) is refused by name rather than ignored.

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/json/json.h"
#include "common/model/model_spec.h"

namespace tessera {

// Errors: kInvalidArgument "config.json: <key>: found ...; expected ...". Values are in ranges in
// which no product of two of them, nor the bytes of a tensor, overflows 64 bits.
absl::StatusOr<ModelSpec> ParseModelSpec(
    const JsonValue& config, const std::optional<JsonValue>& generation_config = std::nullopt);

// Reads `directory`/config.json, and generation_config.json if it is there. Errors as above, or of
// JsonDocument::ReadFile; each names directory and file.
absl::StatusOr<ModelSpec> ReadModelSpec(const std::string& directory);

// One more than the highest id that `directory`/tokenizer.json knows, and at most `vocab`: rows of
// the output head behind it are padding. `vocab` if there is no such file, or it is not of a kind
// that lists ids. Errors: of JsonDocument::ReadFile; kInvalidArgument for an id that is none.
absl::StatusOr<size_t> ReadTokenCount(const std::string& directory, size_t vocab);

}  // namespace tessera
