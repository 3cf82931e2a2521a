#include "services/cli/up/scale_command.h"

#include <ostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "services/cli/flag_set.h"
#include "services/cli/process/control_socket.h"

namespace tessera::cli {
namespace {

struct ScaleOptions {
  size_t shards = 0;
  size_t timeout_seconds = 600;
  std::string state_dir = ".tessera";
};

absl::Status Scale(const ScaleOptions& options, const Streams& streams) {
  if (options.shards == 0) return absl::InvalidArgumentError("scale needs --shards=N, 1 or more");
  TESSERA_RETURN_IF_ERROR(
      AskControl(options.state_dir, absl::StrCat("{\"scale\":{\"shards\":", options.shards, "}}"),
                 absl::Seconds(options.timeout_seconds),
                 [&](const std::string& text) { streams.err << text << std::endl; }));
  streams.out << options.shards << (options.shards == 1 ? " shard" : " shards") << std::endl;
  return absl::OkStatus();
}

}  // namespace

int RunScale(std::span<const std::string_view> args, const Streams& streams) {
  ScaleOptions options;
  FlagSet flags("scale --shards=N",
                "More or fewer expert shards for a cluster that runs; requests go on. New shards "
                "take copies of what is in demand; what a leaving one alone holds moves first.");
  flags.Add("shards", &options.shards, "how many there are to be");
  flags.Add("state_dir", &options.state_dir, "of the `tessera up` that runs");
  flags.Add("timeout_seconds", &options.timeout_seconds, "to wait for each step of it");
  return RunWithFlags(flags, args, streams, [&] { return Scale(options, streams); });
}

}  // namespace tessera::cli
