#pragma once

// The life of a service's process.
//
//   flags ─► config ─► log ─► build ─► endpoints file ─► SIGINT or SIGTERM ─► stop ─► exit code
//
// Signals are taken by the main thread and blocked in all others. A signal while building ends the
// process at once, as nobody is served yet; a second one while stopping does so too.

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace google::protobuf {
class Message;
}  // namespace google::protobuf

namespace tessera {

// What runs between start and signal.
class Service {
 public:
  // Ends at once what Stop has not ended.
  virtual ~Service() = default;
  // What it listens at: ("grpc", "10.0.0.7:8010"), ... as others may use it.
  virtual std::vector<std::pair<std::string, std::string>> Endpoints() const = 0;
  // Takes nothing new, lets what runs finish within a limit of its own, and returns. Called once,
  // not by the main thread.
  virtual void Stop() = 0;
};

struct ServiceProgram {
  std::string name;  // "tessera-router"
  // A message of protos/tessera/config/v1 with its defaults set. Its fields `log`,
  // `endpoints_file` and `drain_seconds`, which every config has, are read here.
  std::shared_ptr<google::protobuf::Message> config;
  // Makes the service from the config that file and flags left; may take long (weights). Runs on a
  // thread of its own.
  std::function<absl::StatusOr<std::unique_ptr<Service>>(const google::protobuf::Message& config)>
      build;
  // Stop and destruction that take longer than `drain_seconds` and this are given up.
  absl::Duration stop_margin = absl::Seconds(30);
};

// 0: stopped as asked. 1: could not be built, did not stop in
// time, or was ended by a second signal. 2: flags or config are
// wrong; standard error says what.
int RunMain(int argc, char** argv, ServiceProgram program);

// What main passes on: RunMain(argc, argv, &router::BuildRouter).
inline int RunMain(int argc, char** argv, ServiceProgram (*builder)()) {
  return RunMain(argc, argv, builder());
}

}  // namespace tessera
