#pragma once

// Bytes to and from a TCP port of this box, for tests of what listens there.

#include <string>
#include <string_view>

namespace tessera::testing {

// One connection. A failure to connect ends the test program.
class RawClient {
 public:
  explicit RawClient(int port);
  ~RawClient();
  RawClient(const RawClient&) = delete;
  RawClient& operator=(const RawClient&) = delete;

  // False: the other side is gone.
  bool Send(std::string_view bytes);
  // What comes until `end` has come, or the other side closes.
  std::string ReadUntil(std::string_view end);
  // What comes until the other side closes.
  std::string ReadAll() { return ReadUntil({}); }
  // One HTTP reply with a Content-Length: head and body.
  std::string ReadReply();

 private:
  int fd_;
  std::string pending_;
};

// GET over a connection of its own: the whole reply.
std::string HttpGet(int port, const std::string& path);

}  // namespace tessera::testing
