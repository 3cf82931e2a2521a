#pragma once

// The page at `/`: a chat and the live picture of the expert load, in plain files out of this
// program.
//
//   /              index.html
//   /web/chat.js   any other file by its name
//
// The page is the same for everyone and holds no secret, so it needs no key; what it asks for does.

#include <optional>

#include "services/gateway/http/http_types.h"

namespace tessera::gateway {

// Whether a path is one of the page's; others are answered as before there was a page.
bool IsWebPath(std::string_view path);

// The file at request.path: 200, or 304 without a body if the client has these very bytes. Nothing
// if there is no such file. Only for GET and HEAD. Pure.
std::optional<HttpResponse> AnswerWebPage(const HttpRequest& request);

}  // namespace tessera::gateway
