#pragma once

// A service's config: one protobuf message (protos/tessera/config/v1), filled in three steps.
//
//   defaults (the program) ◄─ file (JSON) ◄─ --set=group.field=value
//
// Later steps replace single fields; a list is replaced as a whole. Fields are named as in the
// proto. All schemas declare single fields `optional`, so that 0, false and "" can be said.

#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace tessera {

// Lays the JSON in `text` over `config`, which is unchanged on error.
//   kInvalidArgument  not JSON, an unknown key, or a value of another type; the message names it
absl::Status MergeConfigText(std::string_view text, google::protobuf::Message& config);

// The same with a file. kNotFound: it cannot be read. Errors name the file.
absl::Status MergeConfigFile(const std::string& path, google::protobuf::Message& config);

// Sets one field: "scheduler.batch_tokens_max=4096"; a list takes a,b,c. `config` is unchanged on
// error: kInvalidArgument naming the part of the path that does not exist and what does, or the
// value and the type it should have.
absl::Status SetConfigField(std::string_view assignment, google::protobuf::Message& config);

// The whole config as JSON that MergeConfigText reads back.
std::string PrintConfig(const google::protobuf::Message& config);

}  // namespace tessera
