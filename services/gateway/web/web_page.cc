#include "services/gateway/web/web_page.h"

#include <algorithm>
#include <string>

#include "services/gateway/web/web_files.h"

namespace tessera::gateway {
namespace {

constexpr std::string_view kFolder = "/web/";

// Nothing from elsewhere, no inline script or style, no page around ours. Trusted types without a
// policy: a browser that knows them refuses to make elements out of text, whoever wrote it.
constexpr std::string_view kContentPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'";

const WebFile* FileAt(std::string_view path) {
  std::string_view name;
  if (path == "/") {
    name = "index.html";
  } else if (path.starts_with(kFolder)) {
    name = path.substr(kFolder.size());
  }
  for (const WebFile& file : WebFiles()) {
    if (file.name == name) return &file;
  }
  return nullptr;
}

std::string_view TypeOf(std::string_view name) {
  if (name.ends_with(".html")) return "text/html; charset=utf-8";
  if (name.ends_with(".css")) return "text/css; charset=utf-8";
  if (name.ends_with(".svg")) return "image/svg+xml";
  return "text/javascript; charset=utf-8";
}

// Of If-None-Match: a list of tags, or "*". Weak ones count: the comparison is the weak one.
bool Names(std::string_view list, std::string_view etag) {
  while (!list.empty()) {
    std::string_view tag = list.substr(0, list.find(','));
    list.remove_prefix(std::min(tag.size() + 1, list.size()));
    while (tag.starts_with(' ')) tag.remove_prefix(1);
    while (tag.ends_with(' ')) tag.remove_suffix(1);
    if (tag.starts_with("W/")) tag.remove_prefix(2);
    if (tag == etag || tag == "*") return true;
  }
  return false;
}

}  // namespace

bool IsWebPath(std::string_view path) { return path == "/" || path.starts_with(kFolder); }

std::optional<HttpResponse> AnswerWebPage(const HttpRequest& request) {
  const WebFile* file = FileAt(request.path);
  if (file == nullptr) return std::nullopt;
  HttpResponse response;
  response.content_type = std::string(TypeOf(file->name));
  // Asked for again each time, sent again only after an upgrade: the files name each other without
  // a version, so a kept one could be older than the file that imports it.
  response.headers = {{"cache-control", "no-cache"},
                      {"etag", std::string(file->etag)},
                      {"content-security-policy", std::string(kContentPolicy)},
                      {"x-content-type-options", "nosniff"},
                      {"referrer-policy", "no-referrer"}};
  if (Names(request.Header("if-none-match"), file->etag)) {
    response.status = 304;
    response.content_type.clear();
    return response;
  }
  response.body = std::string(file->bytes);
  return response;
}

}  // namespace tessera::gateway
