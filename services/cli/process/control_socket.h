#pragma once

// How `tessera scale` talks to the `tessera up` that runs: a unix socket in the state folder, for
// its owner only. A question is one line of JSON, answered by lines of JSON:
//
//   {"scale":{"shards":4}}
//   {"text":"expert-2 starts"}        any number of them
//   {"done":true} or {"error":"..."}  the last line

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace tessera::cli {

// The answering end. Owned by the main thread; nothing of it blocks.
class ControlSocket {
 public:
  struct Question {
    int client = 0;
    std::string line;
  };

  // Replaces what an earlier life left. kUnavailable if it cannot be made.
  static absl::StatusOr<std::unique_ptr<ControlSocket>> Listen(const std::string& folder);
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

  // Readable when Take has something to do; for poll.
  int fd() const { return epoll_; }
  // Lines that came, each once; clients that went are forgotten.
  std::vector<Question> Take();
  void Tell(int client, const std::string& text);
  // The last line; the client is let go.
  void Finish(int client, const absl::Status& status);

 private:
  ControlSocket(std::string path, int listener, int epoll);
  void Accept();
  // False: it is gone, or wrote more than a question may have.
  bool Read(int client, std::vector<Question>& questions);
  void Close(int client);
  void Write(int client, const std::string& line);

  static constexpr size_t kClientsMax = 16;
  static constexpr size_t kLineBytesMax = 4096;

  const std::string path_;
  const int listener_;
  const int epoll_;
  std::map<int, std::string> clients_;  // what they wrote so far
};

// The asking end: sends `question` to the cluster of a state folder and returns its answer; texts
// on the way go to `on_text`. `timeout` is between two lines.
//   kNotFound    no cluster runs there, or it answers no questions
//   kUnavailable it went away before the answer
absl::Status AskControl(const std::string& folder, const std::string& question,
                        absl::Duration timeout,
                        const std::function<void(const std::string&)>& on_text);

}  // namespace tessera::cli
