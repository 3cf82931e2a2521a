#include "common/transport/transport_ucx.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <ucp/api/ucp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "common/base/check.h"
#include "common/base/log.h"
#include "common/base/status.h"
#include "common/transport/socket_address.h"
#include "common/transport/ucx_worker.h"
#include "common/wire/expert_wire.h"

namespace tessera {
namespace {

// "posix/memory (am am_bw#0 keepalive), tcp/lo (rma_bw#0 wireup)" out of what UCX prints about an
// endpoint, a line a lane:
//   #                 lane[1]:  3:posix/memory.0 md[2] -> md[2]/posix/sysdev[255] am am_bw#0
std::string LaneNames(absl::string_view text) {
  std::vector<std::string> lanes;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    const size_t lane = line.find("lane[");
    if (lane == absl::string_view::npos) continue;
    const std::vector<absl::string_view> words =
        absl::StrSplit(line.substr(lane), ' ', absl::SkipEmpty());
    if (words.size() < 6) continue;  // the connection manager's
    const absl::string_view device = words[1].substr(words[1].find(':') + 1);
    lanes.push_back(absl::StrCat(device.substr(0, device.rfind('.')), " (",
                                 absl::StrJoin(words.begin() + 5, words.end(), " "), ")"));
  }
  return absl::StrJoin(lanes, ", ");
}

constexpr unsigned kFrameMessage = 1;  // id of our active message

// Whether processes of one box talk through memory that they share.
bool SharesMemory(absl::string_view transports) {
  for (const absl::string_view name : absl::StrSplit(transports, ',')) {
    for (const absl::string_view shared : {"posix", "sysv", "xpmem", "mm", "sm", "shm", "all"}) {
      if (name == shared) return true;
    }
  }
  return false;
}

// Shared memory of UCX is one receive queue a worker, for all who send to it. A sender claims its
// place there before it fills it; one that is killed or stopped between the two silences whoever
// comes behind it. So each link has a worker of its own, unless no memory is shared.
class UcxTransport final : public Transport {
 public:
  UcxTransport() = default;
  ~UcxTransport() override;

  absl::Status Init(const UcxConfig& config);

  absl::StatusOr<std::string> Listen(const std::string& address) override;
  absl::StatusOr<LinkId> Open(const std::string& address) override;
  void Close(LinkId link, bool flush) override;
  bool Send(LinkId link, std::span<const std::byte> frame, std::shared_ptr<const void> memory,
            uint64_t token) override;
  void Release(void* memory) override;
  void Poll(std::vector<TransportEvent>& events) override;
  bool Arm() override;
  void Sleep(absl::Duration timeout) override;
  void Wake() override;
  std::string Describe(LinkId link) override;

 private:
  struct Link {
    ucp_ep_h endpoint = nullptr;
    UcxWorker* worker = nullptr;
    bool down = false;
  };
  struct Closing {
    void* request;
    UcxWorker* worker;
  };
  // A frame that somebody has.
  struct Lent {
    UcxWorker* worker;                 // to be given back to, or
    std::unique_ptr<uint64_t[]> copy;  // of a misaligned one
  };
  // A send that UCX has not finished.
  struct PendingSend {
    UcxTransport* transport;
    LinkId link;
    uint64_t token;
    std::shared_ptr<const void> memory;
  };

  absl::Status InitContext(const UcxConfig& config);
  absl::Status WaitFor(int descriptor);
  absl::StatusOr<UcxWorker*> AddWorker();
  // What the listener has, and every link where no memory is shared.
  absl::StatusOr<UcxWorker*> CommonWorker();
  // What a new link runs on.
  absl::StatusOr<UcxWorker*> WorkerForLink() { return own_workers_ ? AddWorker() : CommonWorker(); }
  absl::StatusOr<LinkId> AddLink(UcxWorker& worker, ucp_ep_params_t& params);
  void AcceptPending();
  absl::Status Accept(ucp_conn_request_h request);
  void ForgetClosed();
  void ForgetUnused();

  static void OnConnection(ucp_conn_request_h request, void* self);
  static ucs_status_t OnMessage(void* self, const void* header, size_t header_bytes, void* data,
                                size_t bytes, const ucp_am_recv_param_t* param);
  static void OnError(void* self, ucp_ep_h endpoint, ucs_status_t status);
  static void OnSent(void* request, ucs_status_t status, void* pending);

  ucp_context_h context_ = nullptr;
  bool sound_ = true;        // no worker of it had to be leaked
  bool own_workers_ = true;  // each link has one
  std::vector<std::unique_ptr<UcxWorker>> workers_;
  UcxWorker* common_worker_ = nullptr;
  ucp_listener_h listener_ = nullptr;
  int wake_fd_ = -1;
  int epoll_fd_ = -1;  // wake_fd_ and every worker's
  uint64_t next_link_ = 1;
  absl::flat_hash_map<LinkId, Link> links_;
  absl::flat_hash_map<ucp_ep_h, LinkId> by_endpoint_;
  std::vector<ucp_conn_request_h> requests_;  // to be accepted after progress
  std::vector<Closing> closing_;              // endpoints being closed
  std::vector<TransportEvent> events_;        // of callbacks, until the next Poll
  absl::flat_hash_map<void*, Lent> lent_;
  bool unused_workers_ = false;  // perhaps
};

absl::Status UcxTransport::Init(const UcxConfig& config) {
  own_workers_ = SharesMemory(config.transports);
  TESSERA_RETURN_IF_ERROR(InitContext(config));
  wake_fd_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  epoll_fd_ = epoll_create1(EPOLL_CLOEXEC);
  return WaitFor(wake_fd_);
}

absl::Status UcxTransport::WaitFor(int descriptor) {
  epoll_event interest{};
  interest.events = EPOLLIN;
  interest.data.fd = descriptor;
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, descriptor, &interest) == 0) return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("cannot wait for UCX: ", std::strerror(errno)));
}

absl::Status UcxTransport::InitContext(const UcxConfig& config) {
  ucp_config_t* settings = nullptr;
  if (const ucs_status_t s = ucp_config_read(nullptr, nullptr, &settings); s != UCS_OK) {
    return UcxError("reading its configuration", s);
  }
  // Error handling must be on for shared memory, or peer error mode silently drops it and all goes
  // over TCP. Rendezvous goes over the TCP lane even where shared memory is: four times slower.
  std::vector<std::pair<const char*, const char*>> wanted = {{"TLS", config.transports.c_str()},
                                                             {"RNDV_THRESH", "inf"}};
  if (config.transports.find("posix") != std::string::npos) {
    wanted.emplace_back("MM_ERROR_HANDLING", "y");
    // Receive buffers of 8 KB a worker: 512 unless said, each touched when made, 2.5 of 5 ms.
    wanted.emplace_back("MM_RX_BUFS_GROW", "96");
  }
  if (!config.net_devices.empty()) wanted.emplace_back("NET_DEVICES", config.net_devices.c_str());
  if (config.ipv6) wanted.emplace_back("AF_PRIO", "inet6");  // TCP_AF_PRIO would do nothing
  absl::Status result;
  for (const auto& [key, value] : wanted) {
    if (const ucs_status_t s = ucp_config_modify(settings, key, value); s != UCS_OK) {
      result = UcxError(absl::StrCat(key, "=", value), s);
    }
  }
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES;
  params.features = UCP_FEATURE_AM | UCP_FEATURE_WAKEUP;
  if (result.ok()) {
    if (const ucs_status_t s = ucp_init(&params, settings, &context_); s != UCS_OK) {
      result = UcxError("starting", s);
    }
  }
  ucp_config_release(settings);
  return result;
}

absl::StatusOr<UcxWorker*> UcxTransport::AddWorker() {
  TESSERA_ASSIGN_OR_RETURN(
      auto worker, UcxWorker::Create(context_, kFrameMessage, &UcxTransport::OnMessage, this));
  TESSERA_RETURN_IF_ERROR(WaitFor(worker->descriptor()));
  return workers_.emplace_back(std::move(worker)).get();
}

absl::StatusOr<UcxWorker*> UcxTransport::CommonWorker() {
  if (common_worker_ == nullptr) {
    TESSERA_ASSIGN_OR_RETURN(common_worker_, AddWorker());
  }
  return common_worker_;
}

UcxTransport::~UcxTransport() {
  for (const ucp_conn_request_h request : requests_) ucp_listener_reject(listener_, request);
  if (listener_ != nullptr) ucp_listener_destroy(listener_);
  while (!links_.empty()) Close(links_.begin()->first, /*flush=*/false);
  // Force-closing takes less than 0.1 ms; a bound keeps a broken UCX from holding the process.
  for (int round = 0; round < 100000 && !closing_.empty(); ++round) {
    for (const auto& worker : workers_) worker->Progress();
    ForgetClosed();
  }
  // A flush that its peer never takes: UCX aborts when such a worker is destroyed.
  for (const Closing& closing : closing_) closing.worker->Spoil();
  sound_ = sound_ && closing_.empty();
  workers_.clear();
  if (context_ != nullptr && sound_) ucp_cleanup(context_);
  if (wake_fd_ >= 0) close(wake_fd_);
  if (epoll_fd_ >= 0) close(epoll_fd_);
}

absl::StatusOr<std::string> UcxTransport::Listen(const std::string& address) {
  if (listener_ != nullptr) return absl::FailedPreconditionError("already listens");
  TESSERA_ASSIGN_OR_RETURN(const SocketAddress socket, ParseSocketAddress(address));
  TESSERA_ASSIGN_OR_RETURN(UcxWorker* const worker, CommonWorker());
  ucp_listener_params_t params{};
  params.field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER;
  params.sockaddr = {socket.get(), socket.length};
  params.conn_handler = {&UcxTransport::OnConnection, this};
  if (const ucs_status_t s = ucp_listener_create(worker->handle(), &params, &listener_);
      s != UCS_OK) {
    return UcxError(absl::StrCat("listening at ", address), s);
  }
  ucp_listener_attr_t attributes{};
  attributes.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR;
  if (const ucs_status_t s = ucp_listener_query(listener_, &attributes); s != UCS_OK) {
    return UcxError("asking for the port", s);
  }
  return FormatSocketAddress(attributes.sockaddr);
}

absl::StatusOr<LinkId> UcxTransport::AddLink(UcxWorker& worker, ucp_ep_params_t& params) {
  params.field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLER | UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE;
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler = {&UcxTransport::OnError, this};
  ucp_ep_h endpoint = nullptr;
  if (const ucs_status_t s = ucp_ep_create(worker.handle(), &params, &endpoint); s != UCS_OK) {
    worker.Spoil();
    sound_ = false;
    unused_workers_ = true;
    return UcxError("creating an endpoint", s);
  }
  const LinkId link{next_link_++};
  links_[link] = {endpoint, &worker};
  ++worker.links;
  by_endpoint_[endpoint] = link;
  return link;
}

absl::StatusOr<LinkId> UcxTransport::Open(const std::string& address) {
  TESSERA_ASSIGN_OR_RETURN(const SocketAddress socket, ParseSocketAddress(address));
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR;
  params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
  params.sockaddr = {socket.get(), socket.length};
  TESSERA_ASSIGN_OR_RETURN(UcxWorker* const worker, WorkerForLink());
  return AddLink(*worker, params);
}

void UcxTransport::Close(LinkId link, bool flush) {
  const auto it = links_.find(link);
  if (it == links_.end()) return;
  ucp_request_param_t params{};
  if (it->second.down || !flush) {
    params.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    params.flags = UCP_EP_CLOSE_FLAG_FORCE;
  }
  by_endpoint_.erase(it->second.endpoint);
  UcxWorker* const worker = it->second.worker;
  void* request = ucp_ep_close_nbx(it->second.endpoint, &params);
  links_.erase(it);
  --worker->links;
  unused_workers_ = true;
  if (!UCS_PTR_IS_PTR(request)) return;
  closing_.push_back({request, worker});
  ++worker->closings;
}

void UcxTransport::ForgetClosed() {
  std::erase_if(closing_, [](const Closing& closing) {
    if (ucp_request_check_status(closing.request) == UCS_INPROGRESS) return false;
    ucp_request_free(closing.request);
    --closing.worker->closings;
    return true;
  });
}

void UcxTransport::ForgetUnused() {
  unused_workers_ = !closing_.empty();
  std::erase_if(workers_, [this](const std::unique_ptr<UcxWorker>& worker) {
    const bool used = worker->links + worker->closings + worker->lent > 0;
    if (used || worker.get() == common_worker_) return false;
    epoll_ctl(epoll_fd_, EPOLL_CTL_DEL, worker->descriptor(), nullptr);
    return true;
  });
}

bool UcxTransport::Send(LinkId link, std::span<const std::byte> frame,
                        std::shared_ptr<const void> memory, uint64_t token) {
  const auto it = links_.find(link);
  if (it == links_.end() || it->second.down) return true;
  auto pending = std::make_unique<PendingSend>(PendingSend{this, link, token, std::move(memory)});
  ucp_request_param_t params{};
  params.op_attr_mask =
      UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS;
  params.cb.send = &UcxTransport::OnSent;
  params.user_data = pending.get();
  params.flags = UCP_AM_SEND_FLAG_EAGER | UCP_AM_SEND_FLAG_REPLY;
  void* request = ucp_am_send_nbx(it->second.endpoint, kFrameMessage, nullptr, 0, frame.data(),
                                  frame.size(), &params);
  if (!UCS_PTR_IS_PTR(request)) return true;  // sent, or failed: then OnError has been or will be
  static_cast<void>(pending.release());       // OnSent has it now
  return false;
}

void UcxTransport::Release(void* memory) {
  const auto it = lent_.find(memory);
  if (it == lent_.end()) return;
  if (UcxWorker* const worker = it->second.worker; worker != nullptr) {
    ucp_am_data_release(worker->handle(), memory);
    --worker->lent;
    unused_workers_ |= worker->links == 0;
  }
  lent_.erase(it);
}

void UcxTransport::Poll(std::vector<TransportEvent>& events) {
  for (const auto& worker : workers_) worker->Progress();
  if (!requests_.empty()) AcceptPending();
  if (!closing_.empty()) ForgetClosed();
  if (unused_workers_) ForgetUnused();
  for (TransportEvent& event : events_) events.push_back(std::move(event));
  events_.clear();
}

void UcxTransport::AcceptPending() {
  for (const ucp_conn_request_h request : std::exchange(requests_, {})) {
    if (const absl::Status accepted = Accept(request); !accepted.ok()) {
      TESSERA_LOG(WARNING) << "a connection could not be accepted: " << accepted.message();
    }
  }
}

absl::Status UcxTransport::Accept(ucp_conn_request_h request) {
  const absl::StatusOr<UcxWorker*> worker = WorkerForLink();
  if (!worker.ok()) {
    ucp_listener_reject(listener_, request);  // or the client waits for its timeout
    return worker.status();
  }
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_CONN_REQUEST;
  params.conn_request = request;
  TransportEvent accepted;
  accepted.kind = TransportEvent::Kind::kAccepted;
  TESSERA_ASSIGN_OR_RETURN(accepted.link, AddLink(**worker, params));
  events_.push_back(std::move(accepted));
  return absl::OkStatus();
}

bool UcxTransport::Arm() {
  if (!events_.empty()) return false;
  return std::all_of(workers_.begin(), workers_.end(),
                     [](const auto& worker) { return worker->Arm(); });
}

void UcxTransport::Sleep(absl::Duration timeout) {
  const timespec limit = absl::ToTimespec(timeout);
  std::array<epoll_event, 8> ready;
  const bool forever = timeout == absl::InfiniteDuration();
  const int count = epoll_pwait2(epoll_fd_, ready.data(), static_cast<int>(ready.size()),
                                 forever ? nullptr : &limit, nullptr);
  for (int i = 0; i < count; ++i) {
    if (ready[static_cast<size_t>(i)].data.fd != wake_fd_) continue;
    uint64_t wakes;
    [[maybe_unused]] const ssize_t bytes = read(wake_fd_, &wakes, sizeof wakes);
  }
}

void UcxTransport::Wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t bytes = write(wake_fd_, &one, sizeof one);
}

std::string UcxTransport::Describe(LinkId link) {
  const auto it = links_.find(link);
  if (it == links_.end()) return {};
  char* text = nullptr;
  size_t bytes = 0;
  std::FILE* stream = open_memstream(&text, &bytes);
  if (stream == nullptr) return {};
  ucp_ep_print_info(it->second.endpoint, stream);
  std::fclose(stream);
  std::string lanes = LaneNames({text, bytes});
  std::free(text);
  return lanes;
}

void UcxTransport::OnConnection(ucp_conn_request_h request, void* self) {
  static_cast<UcxTransport*>(self)->requests_.push_back(request);
}

ucs_status_t UcxTransport::OnMessage(void* self, const void*, size_t, void* data, size_t bytes,
                                     const ucp_am_recv_param_t* param) {
  auto& transport = *static_cast<UcxTransport*>(self);
  if ((param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP) == 0) return UCS_OK;
  const auto link = transport.by_endpoint_.find(param->reply_ep);
  if (link == transport.by_endpoint_.end()) return UCS_OK;
  if ((param->recv_attr & UCP_AM_RECV_ATTR_FLAG_DATA) == 0) {
    // A peer with other settings, or none of ours: rendezvous is not spoken here.
    OnError(self, param->reply_ep, UCS_ERR_UNSUPPORTED);
    return UCS_OK;
  }
  TransportEvent event;
  event.kind = TransportEvent::Kind::kFrame;
  event.link = link->second;
  const bool aligned = reinterpret_cast<uintptr_t>(data) % wire::kFrameAlignment == 0;
  Lent lent{};
  if (aligned) {
    lent.worker = transport.links_.at(link->second).worker;
    ++lent.worker->lent;
  } else {
    lent.copy = std::make_unique<uint64_t[]>((bytes + 7) / 8);
    std::memcpy(lent.copy.get(), data, bytes);
    data = lent.copy.get();
  }
  transport.lent_[data] = std::move(lent);
  event.memory = data;
  event.frame = {static_cast<const std::byte*>(data), bytes};
  transport.events_.push_back(std::move(event));
  return aligned ? UCS_INPROGRESS : UCS_OK;
}

void UcxTransport::OnError(void* self, ucp_ep_h endpoint, ucs_status_t status) {
  auto& transport = *static_cast<UcxTransport*>(self);
  const auto it = transport.by_endpoint_.find(endpoint);
  if (it == transport.by_endpoint_.end()) return;
  Link& link = transport.links_.at(it->second);
  if (std::exchange(link.down, true)) return;
  TransportEvent event;
  event.kind = TransportEvent::Kind::kDown;
  event.link = it->second;
  event.status = absl::UnavailableError(ucs_status_string(status));
  transport.events_.push_back(std::move(event));
}

void UcxTransport::OnSent(void* request, ucs_status_t, void* pending) {
  const std::unique_ptr<PendingSend> send(static_cast<PendingSend*>(pending));
  TransportEvent event;
  event.kind = TransportEvent::Kind::kSent;
  event.link = send->link;
  event.token = send->token;
  send->transport->events_.push_back(std::move(event));
  ucp_request_free(request);
}

}  // namespace

void SetUcxEnvironment() { setenv("UCX_TCP_CM_REUSEADDR", "y", /*overwrite=*/0); }

absl::StatusOr<std::unique_ptr<Transport>> MakeUcxTransport(const UcxConfig& config) {
  auto transport = std::make_unique<UcxTransport>();
  TESSERA_RETURN_IF_ERROR(transport->Init(config));
  return transport;
}

}  // namespace tessera
