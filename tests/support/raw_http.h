#pragma once

// A client that says exactly what a test wants said, byte by byte.

#include <optional>
#include <string>
#include <string_view>

namespace tessera::testing {

struct RawReply {
  int status = 0;
  std::string head;       // status line and headers, in lower case
  std::string body;       // chunks put together
  bool complete = false;  // the body came to its end

  // Value of a header; empty if there is none.
  std::string Header(std::string_view name) const;
};

// One TCP connection to 127.0.0.1. Owned by one thread. Reads give up after 10 seconds.
class RawConnection {
 public:
  explicit RawConnection(int port);
  ~RawConnection();
  RawConnection(const RawConnection&) = delete;
  RawConnection& operator=(const RawConnection&) = delete;

  // False: the other end is gone.
  bool Send(std::string_view bytes);
  // Bytes up to and including `mark`; nothing if they end, or nothing comes, before.
  std::optional<std::string> ReadUntil(std::string_view mark);
  // The next reply, whole.
  RawReply ReadReply();
  // Whether there is something to read, or the end, within `milliseconds`.
  bool IsReadable(int milliseconds);
  // True if the other end closes without another byte.
  bool ReadsEnd();
  void Close();
  // So little room that a sender notices a reader who does not read. Before any read.
  void ShrinkBuffer();

 private:
  bool Fill();  // more bytes into buffer_
  std::string Take(size_t size);

  int socket_ = -1;
  std::string buffer_;
};

// The text of a request; `headers` are whole lines.
std::string RawPost(std::string_view path, std::string_view body, std::string_view headers = {});
std::string RawGet(std::string_view path, std::string_view headers = {});

// One request on a connection of its own.
RawReply Fetch(int port, std::string_view request);

}  // namespace tessera::testing
