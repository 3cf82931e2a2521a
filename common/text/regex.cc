#include "common/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/status.h"
#include "common/base/utf8.h"
#include "common/text/regex_translation.h"

namespace tessera {
namespace {

constexpr size_t kPatternBytesMax = size_t{64} << 10;
constexpr uint32_t kBacktracksMax = 20'000'000;  // about a tenth of a second
constexpr uint32_t kHeapKibMax = 64 << 10;
constexpr size_t kJitStackBytes = size_t{32} << 10;
constexpr size_t kJitStackBytesMax = size_t{1} << 20;

std::string MessageOf(int code) {
  std::array<PCRE2_UCHAR, 256> text;
  if (pcre2_get_error_message(code, text.data(), text.size()) < 0)
    return absl::StrCat("error ", code);
  return reinterpret_cast<const char*>(text.data());
}

RegexTarget TargetAtHand() {
  std::array<char, 64> version = {};
  if (pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, nullptr) <= static_cast<int>(version.size())) {
    pcre2_config(PCRE2_CONFIG_UNICODE_VERSION, version.data());
  }
  return {.is_unicode_14 = std::string_view(version.data()) == "14.0.0"};
}

}  // namespace

struct RegexScratch::Buffers {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(kJitStackBytes, kJitStackBytesMax, nullptr);
};

RegexScratch::RegexScratch() : buffers_(std::make_unique<Buffers>()) {
  TESSERA_CHECK(buffers_->data != nullptr && buffers_->context != nullptr);
  pcre2_set_match_limit(buffers_->context, kBacktracksMax);
  pcre2_set_depth_limit(buffers_->context, kBacktracksMax);
  pcre2_set_heap_limit(buffers_->context, kHeapKibMax);
  pcre2_jit_stack_assign(buffers_->context, nullptr, buffers_->stack);
}

RegexScratch::~RegexScratch() {
  pcre2_jit_stack_free(buffers_->stack);
  pcre2_match_context_free(buffers_->context);
  pcre2_match_data_free(buffers_->data);
}

struct Regex::Code {
  explicit Code(pcre2_code* code) : pcre(code) {}
  ~Code() { pcre2_code_free(pcre); }
  Code(const Code&) = delete;
  Code& operator=(const Code&) = delete;

  pcre2_code* pcre;
  bool is_jitted = false;
};

Regex::Regex(std::unique_ptr<Code> code) : code_(std::move(code)) {}
Regex::~Regex() = default;

absl::StatusOr<std::unique_ptr<Regex>> Regex::Compile(std::string_view pattern) {
  if (pattern.size() > kPatternBytesMax) {
    return absl::InvalidArgumentError(absl::StrCat("regular expression: ", pattern.size(),
                                                   " bytes; at most ", kPatternBytesMax,
                                                   " are accepted"));
  }
  if (FindInvalidUtf8(pattern) != std::string_view::npos) {
    return absl::InvalidArgumentError("regular expression: it is not valid UTF-8");
  }
  TESSERA_ASSIGN_OR_RETURN(const std::string translated, TranslateRegex(pattern, TargetAtHand()));
  int error = 0;
  size_t error_at = 0;
  constexpr uint32_t kOptions =
      PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NO_AUTO_CAPTURE | PCRE2_NEVER_BACKSLASH_C;
  auto code = std::make_unique<Code>(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()),
                                                   translated.size(), kOptions, &error, &error_at,
                                                   nullptr));
  if (code->pcre == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("regular expression: ", MessageOf(error)));
  }
  code->is_jitted = pcre2_jit_compile(code->pcre, PCRE2_JIT_COMPLETE) == 0;
  return std::unique_ptr<Regex>(new Regex(std::move(code)));
}

absl::Status Regex::FindAll(std::string_view text, RegexScratch& scratch,
                            std::vector<TextSpan>* matches) const {
  const RegexScratch::Buffers& buffers = *scratch.buffers_;
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const size_t* offsets = pcre2_get_ovector_pointer(buffers.data);
  size_t at = 0;
  size_t last_end = std::string_view::npos;
  while (at <= text.size()) {
    int found = PCRE2_ERROR_JIT_STACKLIMIT;
    if (code_->is_jitted) {
      found =
          pcre2_jit_match(code_->pcre, subject, text.size(), at, 0, buffers.data, buffers.context);
    }
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      found = pcre2_match(code_->pcre, subject, text.size(), at, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                          buffers.data, buffers.context);
    }
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the tokenizer's pattern needs too much backtracking on this text: ", MessageOf(found)));
    }
    const size_t begin = offsets[0];
    const size_t end = offsets[1];
    if (begin == end && end == last_end) {
      at += at < text.size() ? LengthOfLead(text[at]) : 1;
      continue;
    }
    matches->push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
    at = last_end = end;
  }
  return absl::OkStatus();
}

}  // namespace tessera
