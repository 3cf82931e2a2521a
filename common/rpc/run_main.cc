#include "common/rpc/run_main.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <iostream>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "common/base/check.h"
#include "common/base/file.h"
#include "common/base/json_string.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/base/version.h"
#include "common/config/config_file.h"
#include "common/config/flags.h"
#include "common/rpc/stop_signals.h"
#include "tessera/config/v1/common.pb.h"

namespace tessera {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

const FieldDescriptor& FieldOf(const Message& config, const std::string& name) {
  const FieldDescriptor* field = config.GetDescriptor()->FindFieldByName(name);
  TESSERA_CHECK(field != nullptr);
  return *field;
}

std::string EndpointsFileOf(const Message& config) {
  return config.GetReflection()->GetString(config, &FieldOf(config, "endpoints_file"));
}

absl::Duration DrainOf(const Message& config) {
  return absl::Seconds(
      config.GetReflection()->GetDouble(config, &FieldOf(config, "drain_seconds")));
}

absl::Status StartLoggingAs(const Message& config) {
  const Message& message = config.GetReflection()->GetMessage(config, &FieldOf(config, "log"));
  const auto& log = dynamic_cast<const config::v1::Log&>(message);
  LogOptions options;
  options.file = log.file();
  options.json = log.json();
  if (log.has_level()) {
    TESSERA_ASSIGN_OR_RETURN(options.level, ParseLogLevel(log.level()));
  }
  if (log.has_file_bytes_max()) options.file_bytes_max = log.file_bytes_max();
  if (log.has_files_max()) options.files_max = log.files_max();
  if (options.file_bytes_max == 0) {
    return absl::InvalidArgumentError("log.file_bytes_max is 0; it must be above 0");
  }
  return StartLogging(options);
}

absl::Status ReadConfig(const ServiceFlags& flags, Message& config) {
  if (flags.config_file) TESSERA_RETURN_IF_ERROR(MergeConfigFile(*flags.config_file, config));
  for (const std::string& assignment : flags.assignments) {
    TESSERA_RETURN_IF_ERROR(SetConfigField(assignment, config));
  }
  return absl::OkStatus();
}

std::string EndpointsText(const Service& service) {
  std::string text = absl::StrCat("{\"pid\":", getpid());
  for (const auto& [name, address] : service.Endpoints()) {
    absl::StrAppend(&text, ",", JsonQuoted(name), ":", JsonQuoted(address));
  }
  return absl::StrCat(text, "}\n");
}

// Threads may still run: no destructors.
[[noreturn]] void ExitNow(int code) { _exit(code); }

int Serve(const ServiceProgram& program, StopSignals& signals) {
  using Outcome = StopSignals::Outcome;
  const std::string endpoints_file = EndpointsFileOf(*program.config);
  if (!endpoints_file.empty()) std::remove(endpoints_file.c_str());  // of an earlier life

  absl::StatusOr<std::unique_ptr<Service>> service = absl::UnknownError("not built");
  const Outcome built = signals.RunBeside("build", absl::InfiniteDuration(), [&program, &service] {
    service = program.build(*program.config);
  });
  if (built != Outcome::kDone) {
    TESSERA_LOG(INFO) << program.name << " is told to stop while starting; it served nobody";
    ExitNow(0);
  }
  absl::Status status = service.status();
  if (status.ok() && !endpoints_file.empty()) {
    status = Annotate(ReplaceFile(endpoints_file, EndpointsText(**service)), "endpoints file");
  }
  if (!status.ok()) {
    TESSERA_LOG(ERROR) << program.name << " cannot start: " << status;
    return 1;
  }
  TESSERA_LOG(INFO) << program.name << " " << Version() << " serves: " << [&] {
    std::string text = EndpointsText(**service);
    text.pop_back();
    return text;
  }();

  const int signal = signals.Wait();
  TESSERA_LOG(INFO) << program.name << " stops on " << (signal == SIGINT ? "SIGINT" : "SIGTERM")
                    << "; running requests may finish, a second signal ends them";
  if (!endpoints_file.empty()) std::remove(endpoints_file.c_str());
  const Outcome stopped =
      signals.RunBeside("stop", DrainOf(*program.config) + program.stop_margin, [&service] {
        (*service)->Stop();
        service->reset();
      });
  if (stopped == Outcome::kDone) {
    TESSERA_LOG(INFO) << program.name << " has stopped";
    return 0;
  }
  TESSERA_LOG(WARNING) << program.name
                       << (stopped == Outcome::kSignal ? " ends on a second signal"
                                                       : " did not stop in time and ends");
  ExitNow(1);
}

}  // namespace

int RunMain(int argc, char** argv, ServiceProgram program) {
  const std::vector<std::string_view> args(argv + 1, argv + argc);
  const auto complain = [&program](const absl::Status& status) {
    std::cerr << program.name << ": " << status.message() << "\n";
    return 2;
  };
  const absl::StatusOr<ServiceFlags> flags = ParseServiceFlags(args);
  if (!flags.ok()) return complain(flags.status());
  if (flags->help) {
    std::cout << ServiceUsage(program.name);
    return 0;
  }
  if (flags->version) {
    std::cout << program.name << " " << Version() << "\n";
    return 0;
  }
  if (const absl::Status read = ReadConfig(*flags, *program.config); !read.ok()) {
    return complain(read);
  }
  if (flags->print_config) {
    std::cout << PrintConfig(*program.config);
    return 0;
  }
  StopSignals signals;
  if (const absl::Status log = StartLoggingAs(*program.config); !log.ok()) return complain(log);
  return Serve(program, signals);
}

}  // namespace tessera
