#include "services/gateway/rest/rest_api.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/entropy.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "common/json/json_writer.h"
#include "services/gateway/api/api_error.h"
#include "services/gateway/api/infer_json.h"
#include "services/gateway/api/infer_names.h"
#include "services/gateway/keys/access.h"
#include "services/gateway/rest/request_timeout.h"
#include "services/gateway/web/web_page.h"

namespace tessera::gateway {
namespace {

constexpr std::string_view kModelsPrefix = "/v1/models/";

std::string Text(std::string_view text) { return std::string(text); }

ErrorDialect DialectOfPath(std::string_view path) {
  return path.starts_with("/v1/messages") ? ErrorDialect::kAnthropic : ErrorDialect::kOpenAi;
}

}  // namespace

RestApi::RestApi(RestConfig config, const Rooms& rooms)
    : config_(std::move(config)),
      rooms_(rooms),
      started_unix_s_(absl::ToUnixSeconds(rooms.sessions.clock.Now())),
      random_seed_(FreshNumber()) {}

const std::vector<RestApi::Route>& RestApi::Routes() {
  static const std::vector<Route> routes = {
      {"POST", "/v1/chat/completions", &RestApi::Chat, true},
      {"POST", "/v1/completions", &RestApi::Complete, true},
      {"POST", "/v1/messages", &RestApi::Messages, true},
      {"POST", "/v1/messages/count_tokens", &RestApi::CountTokens, true},
      {"POST", "/v1/responses", &RestApi::Responses, true},
      {"POST", "/tokenize", &RestApi::Tokenize, true},
      {"POST", "/detokenize", &RestApi::Detokenize, true},
      {"GET", "/v1/models", &RestApi::ListModels},
      {"GET", "/livez", &RestApi::Live},
      {"GET", "/readyz", &RestApi::Ready},
      {"GET", "/startupz", &RestApi::Started},
      {"GET", "/health", &RestApi::Ready},
      {"GET", "/version", &RestApi::Version},
      {"GET", "/metrics", &RestApi::Metrics},
      {"GET", "/v1/experts/load", &RestApi::ExpertLoad},
      {"GET", "/v2", &RestApi::InferServer},
      {"GET", "/v2/health/live", &RestApi::InferLive},
      {"GET", "/v2/health/ready", &RestApi::InferReady},
  };
  return routes;
}

HttpResponse RestApi::ErrorReply(const HttpFault& fault) {
  const ErrorDialect dialect = DialectOfPath(fault.path);
  const auto error =
      WriteErrorReply(HttpLayerError(fault.status, fault.message), dialect, fault.request_id);
  HttpResponse response{.status = error.http_status, .headers = {}, .body = error.body};
  for (const auto& [name, value] : error.headers) response.headers.push_back({name, value});
  if (dialect == ErrorDialect::kAnthropic) {
    response.headers.push_back({"request-id", Text(fault.request_id)});
  }
  return response;
}

void RestApi::Serve(HttpRequest request, std::shared_ptr<HttpReply> reply) {
  auto visit = std::make_shared<Visit>();
  visit->call.reply = std::move(reply);
  visit->call.request_id = request.request_id;
  visit->call.dialect = DialectOfPath(request.path);
  visit->call.received = request.received;
  visit->request = std::move(request);
  if (const absl::Status known = Identify(*visit); !known.ok()) {
    Fail(*visit, known);
    return;
  }
  Dispatch(visit);
}

absl::Status RestApi::Identify(Visit& visit) const {
  const RouteClass route = ClassOf(visit.request.path);
  if (rooms_.keys == nullptr) return CheckAccess(route, false, false, nullptr);
  const std::string_view secret =
      PresentedSecret(visit.request.Header("authorization"), visit.request.Header("x-api-key"));
  const std::shared_ptr<const KeySet> keys = rooms_.keys->Snapshot();
  const ApiKey* key = secret.empty() ? nullptr : keys->Find(secret);
  if (key != nullptr) {
    visit.call.key = std::shared_ptr<const ApiKey>(keys, key);  // keeps the whole set
  }
  return CheckAccess(route, true, !secret.empty(), key);
}

void RestApi::Dispatch(const VisitPtr& visit) {
  const HttpRequest& request = visit->request;
  // Both branches are views: one of a string would be a copy that is gone at the semicolon.
  const std::string_view method =
      request.method == "HEAD" ? std::string_view("GET") : std::string_view(request.method);
  std::string allowed;
  for (const Route& route : Routes()) {
    if (request.path != route.path) continue;
    if (method != route.method) {
      allowed = Text(route.method);
      continue;
    }
    if (route.takes_json && RefuseOtherThanJson(*visit)) return;
    Run(visit, route.action);
    return;
  }
  if (request.path.starts_with(kModelsPrefix)) {
    if (method == "GET") return ShowModel(visit);
    allowed = "GET";
  }
  if (const auto asked = ParseInferModelPath(request.path); asked.has_value()) {
    const bool infers = asked->asks == InferAsk::kInfer;
    allowed = infers ? "POST" : "GET";
    if (method == allowed && !infers) return InferModel(visit);
    if (method == allowed) {
      if (!RefuseOtherThanJson(*visit)) Run(visit, &RestApi::Infer);
      return;
    }
  }
  if (std::optional<HttpResponse> page = AnswerWebPage(request); page.has_value()) {
    if (method == "GET") return visit->call.reply->Send(*std::move(page));
    allowed = "GET";
  }
  SendError(
      visit->call, rooms_.sessions.limiter,
      allowed.empty() ? UnknownPath(request.path) : MethodNotAllowed(request.method, allowed));
}

bool RestApi::RefuseOtherThanJson(const Visit& visit) const {
  const std::string type = absl::AsciiStrToLower(Text(visit.request.Header("content-type")));
  if (type.empty() || type.find("json") != std::string::npos) return false;
  SendError(visit.call, rooms_.sessions.limiter, NotJson(type));
  return true;
}

void RestApi::Run(const VisitPtr& visit, Action action) {
  if (visit->request.body.size() <= config_.inline_bytes_max) {
    (this->*action)(visit);
    return;
  }
  if (!rooms_.workers.TryPush([this, visit, action] { (this->*action)(visit); })) {
    Fail(*visit, WithRetryAfter(absl::UnavailableError("too many large requests are waiting"),
                                absl::Seconds(1)));
  }
}

void RestApi::Fail(const Visit& visit, const absl::Status& status) const {
  SendError(visit.call, rooms_.sessions.limiter, status);
}

void RestApi::Answer(const Visit& visit, std::string body, int status,
                     std::string content_type) const {
  visit.call.reply->Send({.status = status,
                          .content_type = std::move(content_type),
                          .headers = HeadersOf(visit.call, rooms_.sessions.limiter),
                          .body = std::move(body)});
}

absl::StatusOr<std::string> RestApi::ResolveModel(const Visit& visit,
                                                  const std::string& name) const {
  return gateway::ResolveModel(config_.model_names, visit.call.key.get(), name);
}

absl::Status RestApi::CheckOpen() const {
  if (draining_) return Draining();
  if (const auto reasons = rooms_.sessions.pool.NotReadyReasons(); !reasons.empty()) {
    return WithRetryAfter(absl::UnavailableError(absl::StrJoin(reasons, "; ")), absl::Seconds(2));
  }
  return absl::OkStatus();
}

absl::StatusOr<PreparedRequest> RestApi::Read(const Visit& visit, ApiDialect dialect) const {
  TESSERA_RETURN_IF_ERROR(CheckLimits(rooms_.sessions, visit.call.key.get()));
  TESSERA_ASSIGN_OR_RETURN(GenerationRequest request, ReadBody(visit, dialect));
  TESSERA_ASSIGN_OR_RETURN(request.model, ResolveModel(visit, request.model));
  TESSERA_ASSIGN_OR_RETURN(request.timeout, TimeoutOf(visit.request, request.stream));
  TESSERA_ASSIGN_OR_RETURN(
      PreparedRequest prepared,
      Prepare(std::move(request), rooms_.sessions.model,
              {.reasoning = rooms_.sessions.config.reasoning}, rooms_.sessions.clock.Now()));
  prepared.trace = ParseTraceparent(visit.request.Header("traceparent"));
  return prepared;
}

absl::StatusOr<GenerationRequest> RestApi::ReadBody(const Visit& visit, ApiDialect dialect) const {
  const std::string& body = visit.request.body;
  const std::optional<InferModelPath> asked = ParseInferModelPath(visit.request.path);
  if (!asked.has_value()) return ReadGenerationRequest(dialect, body, config_.limits);
  TESSERA_ASSIGN_OR_RETURN(const std::string model, ResolveInferModel(visit, *asked));
  TESSERA_ASSIGN_OR_RETURN(GenerationRequest request, ReadInferBody(body, model, config_.limits));
  request.model = model;
  return request;
}

void RestApi::Generate(const VisitPtr& visit, ApiDialect dialect) {
  if (draining_) {
    Fail(*visit, CheckOpen());
    return;
  }
  absl::StatusOr<PreparedRequest> prepared = Read(*visit, dialect);
  std::string().swap(visit->request.body);
  if (!prepared.ok()) {
    Fail(*visit, prepared.status());
    return;
  }
  // Sessions live on their connection's thread.
  auto shared = std::make_shared<PreparedRequest>(*std::move(prepared));
  visit->call.reply->Post([this, visit, shared] { StartSession(visit, std::move(*shared)); });
}

void RestApi::StartSession(const VisitPtr& visit, PreparedRequest prepared) {
  // The header's name goes before the body's, as on the gRPC port.
  if (IsRequestId(prepared.request.request_id) &&
      !IsRequestId(visit->request.Header("x-request-id"))) {
    visit->call.request_id = prepared.request.request_id;
  }
  ReplyHead head;
  head.request_id = visit->call.request_id;
  head.id = RandomId(prepared.request.dialect);
  head.created_unix_s = absl::ToUnixSeconds(rooms_.sessions.clock.Now());
  head.model = prepared.request.model;
  head.system_fingerprint = config_.system_fingerprint;
  head.reasoning_field = config_.reasoning_field;
  head.experts_per_token = rooms_.sessions.model.experts_per_token();
  head.temperature = prepared.sampling.temperature;
  head.top_p = prepared.sampling.top_p;
  running_.Add(HttpGeneration::Start(rooms_.sessions, std::move(prepared), head, visit->call));
}

std::string RestApi::RandomId(ApiDialect dialect) {
  const uint64_t number = random_counter_++;
  return MakeReplyId(dialect, RandomBits(random_seed_, 2 * number),
                     RandomBits(random_seed_, 2 * number + 1));
}

absl::StatusOr<std::string> RestApi::CountTokensText(const Visit& visit) const {
  TESSERA_ASSIGN_OR_RETURN(
      const GenerationRequest request,
      ReadMessagesRequest(visit.request.body, config_.limits, /*count_only=*/true));
  TESSERA_RETURN_IF_ERROR(ResolveModel(visit, request.model).status());
  TESSERA_ASSIGN_OR_RETURN(
      const std::string text,
      rooms_.sessions.model.Render(request.chat(), rooms_.sessions.clock.Now()));
  TESSERA_ASSIGN_OR_RETURN(const auto ids, rooms_.sessions.model.EncodeRendered(text));
  return WriteCountTokensReply(static_cast<uint32_t>(ids.size()));
}

void RestApi::CountTokens(const VisitPtr& visit) {
  absl::StatusOr<std::string> text = CountTokensText(*visit);
  text.ok() ? Answer(*visit, *std::move(text)) : Fail(*visit, text.status());
}

absl::StatusOr<std::string> RestApi::TokenizeText(const Visit& visit) const {
  TESSERA_ASSIGN_OR_RETURN(const TokenizeRequest request,
                           ReadTokenizeRequest(visit.request.body, config_.limits));
  TESSERA_RETURN_IF_ERROR(ResolveModel(visit, request.model).status());
  const TextModel& model = rooms_.sessions.model;
  std::string text;
  if (const auto* chat = std::get_if<ChatPrompt>(&request.prompt)) {
    TESSERA_ASSIGN_OR_RETURN(text, model.Render(*chat, rooms_.sessions.clock.Now()));
  } else {
    text = std::get<std::string>(request.prompt);
  }
  TESSERA_ASSIGN_OR_RETURN(const std::vector<TokenId> ids,
                           model.EncodeText(text, request.add_special_tokens));
  std::vector<std::string> pieces;
  if (request.return_token_strs) {
    for (const TokenId id : ids) pieces.push_back(Text(model.tokenizer().PieceOf(id)));
  }
  return WriteTokenizeReply(ids, request.return_token_strs ? &pieces : nullptr,
                            model.context_max());
}

void RestApi::Tokenize(const VisitPtr& visit) {
  absl::StatusOr<std::string> text = TokenizeText(*visit);
  text.ok() ? Answer(*visit, *std::move(text)) : Fail(*visit, text.status());
}

absl::StatusOr<std::string> RestApi::DetokenizeText(const Visit& visit) const {
  TESSERA_ASSIGN_OR_RETURN(const DetokenizeRequest request,
                           ReadDetokenizeRequest(visit.request.body, config_.limits));
  TESSERA_RETURN_IF_ERROR(ResolveModel(visit, request.model).status());
  const TextModel& model = rooms_.sessions.model;
  for (const TokenId id : request.tokens) {
    if (id < 0 || static_cast<uint32_t>(id) >= model.vocab_size()) {
      return BadRequest("tokens",
                        absl::StrCat("token id ", id, " is not in [0, ", model.vocab_size(), ")"));
    }
  }
  return WriteDetokenizeReply(model.tokenizer().Decode(request.tokens));
}

void RestApi::Detokenize(const VisitPtr& visit) {
  absl::StatusOr<std::string> text = DetokenizeText(*visit);
  text.ok() ? Answer(*visit, *std::move(text)) : Fail(*visit, text.status());
}

ModelInfo RestApi::InfoOf(const std::string& name) const {
  return {.id = name,
          .created_unix_s = started_unix_s_,
          .model_len_max = rooms_.sessions.model.context_max()};
}

void RestApi::ListModels(const VisitPtr& visit) {
  // Probed as a sign that the model answers: see /readyz.
  if (const absl::Status open = CheckOpen(); !open.ok()) {
    Fail(*visit, open);
    return;
  }
  std::vector<ModelInfo> models;
  for (const std::string& name : config_.model_names) {
    if (CheckModel(visit->call.key.get(), name).ok()) models.push_back(InfoOf(name));
  }
  Answer(*visit, WriteModelList(models));
}

void RestApi::ShowModel(const VisitPtr& visit) {
  const std::string name =
      UnescapePath(std::string_view(visit->request.path).substr(kModelsPrefix.size()));
  // A path without a name means no model.
  absl::Status known = name.empty() ? ModelNotFound(name) : ResolveModel(*visit, name).status();
  if (!known.ok()) {
    Fail(*visit, known);
    return;
  }
  Answer(*visit, WriteModel(InfoOf(name)));
}

std::vector<std::string> RestApi::ReadinessReasons() const {
  std::vector<std::string> reasons = rooms_.sessions.pool.NotReadyReasons();
  if (draining_) reasons.insert(reasons.begin(), "draining");
  return reasons;
}

void RestApi::Live(const VisitPtr& visit) { Answer(*visit, "ok\n", 200, "text/plain"); }

void RestApi::Ready(const VisitPtr& visit) {
  const std::vector<std::string> reasons = ReadinessReasons();
  const std::string text = reasons.empty() ? "ok" : absl::StrJoin(reasons, "\n");
  Answer(*visit, text + "\n", reasons.empty() ? 200 : 503, "text/plain");
}

void RestApi::Started(const VisitPtr& visit) {
  const std::vector<std::string> reasons = ReadinessReasons();
  if (reasons.empty()) has_started_ = true;
  if (has_started_) {
    Answer(*visit, "ok\n", 200, "text/plain");
  } else {
    Answer(*visit, absl::StrJoin(reasons, "\n") + "\n", 503, "text/plain");
  }
}

void RestApi::InferServer(const VisitPtr& visit) {
  Answer(*visit, WriteInferServer(config_.version));
}

void RestApi::InferLive(const VisitPtr& visit) { Answer(*visit, WriteInferHealth("live", true)); }

void RestApi::InferReady(const VisitPtr& visit) {
  const bool is_ready = ReadinessReasons().empty();
  Answer(*visit, WriteInferHealth("ready", is_ready), is_ready ? 200 : 503);
}

absl::StatusOr<std::string> RestApi::ResolveInferModel(const Visit& visit,
                                                       const InferModelPath& asked) const {
  TESSERA_ASSIGN_OR_RETURN(const std::string name, ResolveModel(visit, asked.name));
  if (asked.version.empty() || asked.version == kInferVersion) return name;
  return ModelNotFound(absl::StrCat(name, " in version ", asked.version));
}

void RestApi::InferModel(const VisitPtr& visit) {
  const InferModelPath asked = *ParseInferModelPath(visit->request.path);
  const absl::StatusOr<std::string> name = ResolveInferModel(*visit, asked);
  if (!name.ok()) return Fail(*visit, name.status());
  if (asked.asks == InferAsk::kModel) return Answer(*visit, WriteInferModel(*name));
  const bool is_ready = ReadinessReasons().empty();
  Answer(*visit, WriteInferModelReady(*name, is_ready), is_ready ? 200 : 503);
}

void RestApi::Version(const VisitPtr& visit) {
  std::string body;
  JsonWriter(body).Open('{').Key("version").String(config_.version).Close('}');
  Answer(*visit, std::move(body));
}

void RestApi::Metrics(const VisitPtr& visit) {
  Answer(*visit, rooms_.registry.Text(config_.metric_aliases), 200,
         "text/plain; version=0.0.4; charset=utf-8");
}

void RestApi::ExpertLoad(const VisitPtr& visit) {
  if (const absl::Status window = CheckLoadWindow(visit->request.query); !window.ok()) {
    Fail(*visit, window);
    return;
  }
  // The source stops before this object does.
  rooms_.expert_load.Ask([this, visit](const absl::StatusOr<std::string>& json) {
    if (json.ok()) {
      Answer(*visit, *json);
    } else {
      Fail(*visit,
           WithRetryAfter(absl::UnavailableError(json.status().message()), absl::Seconds(2)));
    }
  });
}

}  // namespace tessera::gateway
