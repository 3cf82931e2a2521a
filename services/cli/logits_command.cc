#include "services/cli/logits_command.h"

#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <ostream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "common/base/clock.h"
#include "common/base/status.h"
#include "services/cli/local_engine.h"
#include "services/cli/model_flags.h"
#include "services/cli/progress_bar.h"
#include "services/cli/remote/remote_experts.h"
#include "services/cli/token_ids.h"

namespace tessera::cli {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the file's byte order is that of memory");

// Writes logits to a file as they come: beside `path`, which they replace once all are there. What
// is no file (a pipe, /dev/stdout) is written to at once.
class FileSink final : public router::TokenSink {
 public:
  explicit FileSink(const std::string& path)
      : path_(path),
        written_(IsReplaced(path) ? absl::StrCat(path, ".partial.", getpid()) : path),
        file_(written_, std::ios::binary | std::ios::trunc) {}
  ~FileSink() override {
    if (written_ != path_) std::remove(written_.c_str());  // if it is still there
  }
  FileSink(const FileSink&) = delete;
  FileSink& operator=(const FileSink&) = delete;

  void OnToken(const router::Sequence&, const router::SampledToken&) override {}
  void OnPromptLogits(const router::Sequence&, uint32_t, std::span<const float> logits) override {
    file_.write(reinterpret_cast<const char*>(logits.data()),
                static_cast<std::streamsize>(logits.size_bytes()));
    ++positions_;
  }
  void OnFinished(std::unique_ptr<router::Sequence> sequence) override {
    if (status_.ok()) status_ = sequence->error();
  }

  absl::Status Finish(size_t positions_wanted) {
    TESSERA_RETURN_IF_ERROR(status_);
    if (positions_ != positions_wanted) {
      return absl::InternalError(
          absl::StrCat(positions_, " of ", positions_wanted, " positions were computed"));
    }
    file_.close();
    if (!file_ || (written_ != path_ && std::rename(written_.c_str(), path_.c_str()) != 0)) {
      return absl::UnavailableError(
          absl::StrCat("cannot write ", path_, ": ", std::strerror(errno)));
    }
    return absl::OkStatus();
  }
  absl::Status opened() const {
    if (file_) return absl::OkStatus();
    return absl::InvalidArgumentError(
        absl::StrCat("cannot write ", path_, ": ", std::strerror(errno)));
  }

 private:
  static bool IsReplaced(const std::string& path) {
    std::error_code ignored;
    const std::filesystem::file_status status = std::filesystem::status(path, ignored);
    return status.type() == std::filesystem::file_type::regular ||
           status.type() == std::filesystem::file_type::not_found;
  }

  const std::string path_;
  const std::string written_;
  std::ofstream file_;
  absl::Status status_;
  size_t positions_ = 0;
};

struct LogitsOptions {
  std::string model;
  std::string ids;
  std::string out;
  ComputeOptions compute{.precision = "float32"};
};

absl::Status WriteLogits(const LogitsOptions& options, std::ostream& err) {
  if (options.model.empty() || options.ids.empty() || options.out.empty()) {
    return absl::InvalidArgumentError("logits needs --model=DIR, --ids=1,2,3 and --out=FILE");
  }
  TESSERA_ASSIGN_OR_RETURN(std::vector<TokenId> ids, ParseTokenIds(options.ids));
  FileSink sink(options.out);
  TESSERA_RETURN_IF_ERROR(sink.opened());
  const RealClock clock;
  ProgressBar bar("loading", err, IsTerminal(err), clock);
  const size_t count = ids.size();
  constexpr size_t kChunk = 256;
  TESSERA_ASSIGN_OR_RETURN(
      const std::unique_ptr<LocalEngine> engine,
      LocalEngine::Create(
          options.model, options.compute,
          {.context_max = count + 1, .batch_tokens_max = kChunk, .prefill_chunk_max = kChunk}, sink,
          clock, [&](size_t done, size_t total) { bar.Show(done, total); }, &StartRemoteExperts));
  TESSERA_RETURN_IF_ERROR(
      engine->scheduler().Submit(std::make_unique<router::Sequence>(router::SequenceRequest{
          .id = router::SequenceRequest{}.id,
          .prompt = std::move(ids),
          .sampling = {.max_tokens = 0},
          .wants_prompt_logits = true,
      })));
  while (!engine->scheduler().idle()) TESSERA_RETURN_IF_ERROR(engine->Step());
  return sink.Finish(count);
}

}  // namespace

int RunLogits(std::span<const std::string_view> args, const Streams& streams) {
  LogitsOptions options;
  FlagSet flags("logits --model=DIR --ids=1,2,3 --out=FILE",
                "Writes the logits of every position as raw little-endian float32 [ids, vocab].");
  AddModelFlags(flags, &options.model, &options.compute);
  flags.Add("ids", &options.ids, "token ids, separated by commas");
  flags.Add("out", &options.out, "file to write");
  return RunWithFlags(flags, args, streams, [&] { return WriteLogits(options, streams.err); });
}

}  // namespace tessera::cli
