#include "common/http/http_client.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status.h"
#include "common/http/socket_stream.h"

namespace tessera {
namespace {

struct ReplyHead {
  int status = 0;
  std::string content_type;
  bool is_chunked = false;
  std::optional<uint64_t> length;
};

absl::Status NoHttp(const std::string& who, std::string_view what) {
  return absl::DataLossError(
      absl::StrCat("what ", who, " answers is no HTTP reply: ", std::string(what)));
}

// What came of a reply and was not used yet, and where more comes from.
class ReplyBytes {
 public:
  ReplyBytes(SocketStream& stream, const HttpClientConfig& config, const std::string& who)
      : stream_(stream), config_(config), who_(who) {}

  // The next line without its end.
  absl::StatusOr<std::string> Line() {
    size_t end;
    while ((end = buffer_.find('\n')) == std::string::npos) {
      if (buffer_.size() > config_.head_bytes_max) return NoHttp(who_, "a line has no end");
      TESSERA_ASSIGN_OR_RETURN(const bool more, stream_.Read(buffer_, config_.silence_max));
      if (!more) return Cut();
    }
    std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    if (!line.empty() && line.back() == '\r') line.pop_back();
    return line;
  }
  // Passes on `size` bytes, or all there are (nothing: until the end of the connection).
  absl::Status Pass(std::optional<uint64_t> size, TakeBody take) {
    while (!size.has_value() || *size > 0) {
      if (buffer_.empty()) {
        TESSERA_ASSIGN_OR_RETURN(const bool more, stream_.Read(buffer_, config_.silence_max));
        if (!more) return size.has_value() ? Cut() : absl::OkStatus();
      }
      const size_t piece =
          static_cast<size_t>(std::min<uint64_t>(buffer_.size(), size.value_or(buffer_.size())));
      TESSERA_RETURN_IF_ERROR(take(std::string_view(buffer_).substr(0, piece)));
      buffer_.erase(0, piece);
      if (size.has_value()) *size -= piece;
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Cut() const {
    return absl::UnavailableError(absl::StrCat(who_, " broke off in the middle of its reply"));
  }

  SocketStream& stream_;
  const HttpClientConfig& config_;
  const std::string& who_;
  std::string buffer_;
};

absl::StatusOr<ReplyHead> ReadHead(ReplyBytes& bytes, const HttpClientConfig& config,
                                   const std::string& who) {
  ReplyHead head;
  TESSERA_ASSIGN_OR_RETURN(const std::string first, bytes.Line());
  if (!first.starts_with("HTTP/1.") || first.size() < 12 ||
      !absl::SimpleAtoi(first.substr(9, 3), &head.status)) {
    return NoHttp(who, absl::StrCat("it begins with '", first.substr(0, 40), "'"));
  }
  size_t size = first.size();
  for (;;) {
    TESSERA_ASSIGN_OR_RETURN(const std::string line, bytes.Line());
    if (line.empty()) return head;
    size += line.size();
    if (size > config.head_bytes_max) return NoHttp(who, "its headers have no end");
    const size_t colon = line.find(':');
    if (colon == std::string::npos) return NoHttp(who, "a header has no colon");
    const std::string name = absl::AsciiStrToLower(line.substr(0, colon));
    const std::string value(absl::StripAsciiWhitespace(line.substr(colon + 1)));
    uint64_t length = 0;
    if (name == "content-type") {
      head.content_type = value;
    } else if (name == "transfer-encoding") {
      head.is_chunked = absl::AsciiStrToLower(value) == "chunked";
    } else if (name == "content-length") {
      if (!absl::SimpleAtoi(value, &length)) return NoHttp(who, "its length is no number");
      head.length = length;
    }
  }
}

absl::Status ReadChunks(ReplyBytes& bytes, const std::string& who, TakeBody take) {
  for (;;) {
    TESSERA_ASSIGN_OR_RETURN(std::string line, bytes.Line());
    line.resize(std::min(line.size(), line.find(';')));  // extensions mean nothing to us
    uint64_t size = 0;
    if (line.empty() || line.size() > 15 || !absl::SimpleHexAtoi(line, &size)) {
      return NoHttp(who, "the size of a chunk is no number");
    }
    if (size == 0) return absl::OkStatus();  // the connection ends here: trailers are not read
    TESSERA_RETURN_IF_ERROR(bytes.Pass(size, take));
    TESSERA_ASSIGN_OR_RETURN(const std::string end, bytes.Line());
    if (!end.empty()) return NoHttp(who, "a chunk is longer than it says");
  }
}

}  // namespace

absl::StatusOr<HttpClient> HttpClient::For(std::string_view address, HttpClientConfig config) {
  const std::string whole(address);
  const auto wrong = [&whole](std::string_view why) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", whole, "' is no address: ", std::string(why), "; expected host:port or [v6]:port"));
  };
  if (address.starts_with("https://")) return wrong("TLS is not spoken here");
  if (address.starts_with("http://")) address.remove_prefix(7);
  if (address.ends_with('/')) address.remove_suffix(1);
  HttpClient client;
  client.address_ = std::string(address);
  client.config_ = std::move(config);
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return wrong("it has no port");
  std::string_view host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  client.host_ = std::string(host);
  client.port_ = std::string(address.substr(colon + 1));
  int port = 0;
  if (host.empty()) return wrong("it has no host");
  if (!absl::SimpleAtoi(client.port_, &port) || port < 1 || port > 65535) {
    return wrong("its port is not in 1 to 65535");
  }
  return client;
}

std::string HttpClient::HeadOf(std::string_view method, std::string_view path) const {
  std::string head =
      absl::StrCat(std::string(method), " ", std::string(path), " HTTP/1.1\r\nHost: ", address_,
                   "\r\nConnection: close\r\nUser-Agent: tessera\r\n");
  if (!config_.bearer.empty()) {
    absl::StrAppend(&head, "Authorization: Bearer ", config_.bearer, "\r\n");
  }
  return head;
}

absl::StatusOr<HttpAnswer> HttpClient::Fetch(std::string_view path) const {
  return Exchange(HeadOf("GET", path) + "\r\n", nullptr);
}

absl::StatusOr<HttpAnswer> HttpClient::PostJson(std::string_view path, std::string_view body,
                                                TakeBody take) const {
  const std::string request = absl::StrCat(
      HeadOf("POST", path), "Content-Type: application/json\r\nContent-Length: ", body.size(),
      "\r\n\r\n", std::string(body));
  return Exchange(request, &take);
}

absl::StatusOr<HttpAnswer> HttpClient::Exchange(const std::string& request,
                                                const TakeBody* take) const {
  TESSERA_ASSIGN_OR_RETURN(SocketStream stream,
                           SocketStream::Connect(host_, port_, address_, config_.connect_timeout));
  TESSERA_RETURN_IF_ERROR(stream.Write(request, config_.silence_max));
  ReplyBytes bytes(stream, config_, address_);
  ReplyHead head;
  do {  // 100 Continue and the like come before
    TESSERA_ASSIGN_OR_RETURN(head, ReadHead(bytes, config_, address_));
  } while (head.status < 200);
  HttpAnswer answer{.status = head.status, .content_type = head.content_type, .body = ""};
  const auto keep = [&](std::string_view piece) -> absl::Status {
    if (answer.body.size() + piece.size() > config_.body_bytes_max) {
      return absl::DataLossError(
          absl::StrCat(address_, " answers with more than ", config_.body_bytes_max, " bytes"));
    }
    answer.body += piece;
    return absl::OkStatus();
  };
  const TakeBody taker = take != nullptr && head.status == 200 ? *take : TakeBody(keep);
  const absl::Status read =
      head.is_chunked ? ReadChunks(bytes, address_, taker) : bytes.Pass(head.length, taker);
  if (!read.ok()) return read;
  return answer;
}

}  // namespace tessera
