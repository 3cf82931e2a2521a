#pragma once

// The routes of the public port.
//
//   request --path--> route --key--> allowed? --body--> struct --> session | answer

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/metrics/metrics.h"
#include "services/gateway/api/reply.h"
#include "services/gateway/api/request_reader.h"
#include "services/gateway/http/http_server.h"
#include "services/gateway/keys/key_store.h"
#include "services/gateway/rest/expert_load_source.h"
#include "services/gateway/rest/infer_routes.h"
#include "services/gateway/rest/text_workers.h"
#include "services/gateway/session/generation_session.h"
#include "services/gateway/session/http_generation.h"

namespace tessera::gateway {

struct RestConfig {
  std::vector<std::string> model_names;  // not empty; the first is told, all are understood
  std::string version;
  std::string system_fingerprint;
  ReasoningField reasoning_field = ReasoningField::kDeepseek;
  RequestLimits limits;
  size_t inline_bytes_max = 16 << 10;  // larger bodies are read by the text workers
  absl::Duration ping_interval = absl::Seconds(15);
  MetricAliases metric_aliases;  // of /metrics
};

// Thread-safe. Requests come on their connections' threads.
class RestApi {
 public:
  // All borrowed; `keys` null: everything is open.
  struct Rooms {
    SessionRooms sessions;
    TextWorkers& workers;
    KeyStore* keys = nullptr;
    const Registry& registry;
    ExpertLoadSource& expert_load;
  };
  RestApi(RestConfig config, const Rooms& rooms);

  void Serve(HttpRequest request, std::shared_ptr<HttpReply> reply);
  // Errors of the HTTP layer itself.
  static HttpResponse ErrorReply(const HttpFault& fault);

  // To be called every few seconds at least.
  void Tick() { running_.Ping(config_.ping_interval); }
  // New work is refused from now on; probes say so.
  void Drain() { draining_ = true; }
  // Ends what is under way: its time to finish is over.
  void GiveUp(const absl::Status& status) { running_.GiveUp(status); }
  // Why no work is taken; empty: it is.
  std::vector<std::string> ReadinessReasons() const;

 private:
  // A request on its way to its answer.
  struct Visit {
    HttpRequest request;
    HttpCall call;
  };
  using VisitPtr = std::shared_ptr<Visit>;
  using Action = void (RestApi::*)(const VisitPtr&);
  struct Route {
    std::string_view method;
    std::string_view path;
    Action action;
    bool takes_json = false;
  };
  static const std::vector<Route>& Routes();

  absl::Status Identify(Visit& visit) const;
  void Dispatch(const VisitPtr& visit);
  // True if the body says it is something else; the client has its 415 then.
  bool RefuseOtherThanJson(const Visit& visit) const;
  // Runs the action here or, with a large body, on a worker.
  void Run(const VisitPtr& visit, Action action);
  void Fail(const Visit& visit, const absl::Status& status) const;
  void Answer(const Visit& visit, std::string body, int status = 200,
              std::string content_type = "application/json") const;
  // As tessera::gateway::ResolveModel.
  absl::StatusOr<std::string> ResolveModel(const Visit& visit, const std::string& name) const;
  absl::Status CheckOpen() const;

  void Chat(const VisitPtr& visit) { Generate(visit, ApiDialect::kChat); }
  void Complete(const VisitPtr& visit) { Generate(visit, ApiDialect::kCompletion); }
  void Messages(const VisitPtr& visit) { Generate(visit, ApiDialect::kMessages); }
  void Responses(const VisitPtr& visit) { Generate(visit, ApiDialect::kResponses); }
  void Infer(const VisitPtr& visit) { Generate(visit, ApiDialect::kCompletion); }
  void Generate(const VisitPtr& visit, ApiDialect dialect);
  absl::StatusOr<GenerationRequest> ReadBody(const Visit& visit, ApiDialect dialect) const;
  absl::StatusOr<PreparedRequest> Read(const Visit& visit, ApiDialect dialect) const;
  void StartSession(const VisitPtr& visit, PreparedRequest prepared);
  void CountTokens(const VisitPtr& visit);
  absl::StatusOr<std::string> CountTokensText(const Visit& visit) const;
  void Tokenize(const VisitPtr& visit);
  absl::StatusOr<std::string> TokenizeText(const Visit& visit) const;
  void Detokenize(const VisitPtr& visit);
  absl::StatusOr<std::string> DetokenizeText(const Visit& visit) const;
  void ListModels(const VisitPtr& visit);
  void ShowModel(const VisitPtr& visit);
  void Live(const VisitPtr& visit);
  void Ready(const VisitPtr& visit);
  // 200 from the first time on that it is ready, whatever comes later.
  void Started(const VisitPtr& visit);
  // KServe's, see infer_routes.h.
  void InferServer(const VisitPtr& visit);
  void InferLive(const VisitPtr& visit);
  void InferReady(const VisitPtr& visit);
  void InferModel(const VisitPtr& visit);
  absl::StatusOr<std::string> ResolveInferModel(const Visit& visit,
                                                const InferModelPath& asked) const;
  void Version(const VisitPtr& visit);
  void Metrics(const VisitPtr& visit);
  void ExpertLoad(const VisitPtr& visit);
  ModelInfo InfoOf(const std::string& name) const;
  std::string RandomId(ApiDialect dialect);

  const RestConfig config_;
  const Rooms rooms_;
  const int64_t started_unix_s_;
  const uint64_t random_seed_;
  std::atomic<uint64_t> random_counter_{0};
  std::atomic<bool> draining_{false};
  std::atomic<bool> has_started_{false};
  OpenGenerations running_;
};

}  // namespace tessera::gateway
