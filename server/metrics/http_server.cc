#include "server/metrics/http_server.h"

#include <pthread.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <csignal>
#include <cstdint>
#include <exception>
#include <limits>
#include <list>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;
using tcp = asio::ip::tcp;

// Wait until the next try when the system has no descriptor or memory left for a connection.
constexpr std::chrono::milliseconds kPause(100);
// Read and thrown away after a refusal, so that the peer can read the response.
constexpr size_t kMaxDiscardedBytes = size_t{1} << 20;

using Response = http::response<http::string_body>;

Response Respond(std::string_view method, std::string_view target,
                 const std::function<std::string()>& exposition) {
  Response response;
  response.set(http::field::content_type, "text/plain; charset=utf-8");
  if (target.substr(0, target.find('?')) != "/metrics") {
    response.result(http::status::not_found);
    response.body() = "the metrics are at /metrics\n";
  } else if (method != "GET" && method != "HEAD") {
    response.result(http::status::method_not_allowed);
    response.set(http::field::allow, "GET, HEAD");
    response.body() = "the methods are GET and HEAD\n";
  } else {
    response.body() = exposition();
  }
  return response;
}

std::string_view View(beast::string_view text) { return {text.data(), text.size()}; }

class Connection;
// In the order of their last progress, the longest idle one first.
using Connections = std::list<std::shared_ptr<Connection>>;

// Reads requests and answers them, one at a time.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, Connections& all, const std::function<std::string()>& exposition,
             std::chrono::milliseconds timeout)
      : stream_(std::move(socket)), all_(all), exposition_(exposition), timeout_(timeout) {}

  void Start() {
    place_ = all_.insert(all_.end(), shared_from_this());
    Read();
  }

  // Ends what it waits for; nothing of it runs afterwards but handlers that return at once.
  void Close() {
    if (!place_) return;
    const std::shared_ptr<Connection> self = std::move(**place_);
    all_.erase(*place_);
    place_.reset();
    stream_.close();
  }

 private:
  void Progress() {
    all_.splice(all_.end(), all_, *place_);
    stream_.expires_after(timeout_);
  }

  void Read() {
    Progress();
    parser_.emplace();
    parser_->header_limit(MetricsHttpServer::kMaxHeaderBytes);
    parser_->body_limit(std::numeric_limits<uint64_t>::max());  // bodies are not read
    header_bytes_ = 0;
    Parse();
  }

  // Parses what has been read, and reads on until the header is whole.
  void Parse() {
    error_code error = http::error::need_more;
    if (buffer_.size() > 0) {
      const size_t used = parser_->put(buffer_.data(), error);
      buffer_.consume(used);
      header_bytes_ += used;
    }
    // The parser's own limit holds for what it has not parsed yet; fields it keeps as they come.
    const bool too_large =
        error == http::error::header_limit || header_bytes_ > MetricsHttpServer::kMaxHeaderBytes ||
        (error == http::error::need_more && buffer_.size() >= MetricsHttpServer::kMaxHeaderBytes);
    if (error == http::error::need_more && !too_large) {
      stream_.async_read_some(buffer_.prepare(MetricsHttpServer::kMaxHeaderBytes),
                              [self = shared_from_this()](error_code error, size_t size) {
                                self->OnRead(error, size);
                              });
      return;
    }
    Answer(too_large, error);
  }

  void OnRead(error_code error, size_t size) {
    if (!place_) return;
    // Any failure, such as memory that is short, costs this connection only.
    absl::Cleanup close = [this] { Close(); };
    if (error) return;
    buffer_.commit(size);
    Parse();
    std::move(close).Cancel();
  }

  void Answer(bool too_large, const error_code& error) {
    if (too_large || error) {
      is_head_ = false;
      Response response;
      response.result(too_large ? http::status::request_header_fields_too_large
                                : http::status::bad_request);
      response.set(http::field::content_type, "text/plain; charset=utf-8");
      response.body() = too_large ? absl::StrCat("the header is larger than ",
                                                 MetricsHttpServer::kMaxHeaderBytes, " bytes\n")
                                  : absl::StrCat(error.message(), "\n");
      response.keep_alive(false);
      Write(std::move(response));
    } else {
      const auto& request = parser_->get();
      is_head_ = request.method() == http::verb::head;
      Response response =
          Respond(View(request.method_string()), View(request.target()), exposition_);
      response.version(request.version());
      // No request here has a body that is worth reading.
      response.keep_alive(request.keep_alive() && parser_->is_done());
      Write(std::move(response));
    }
  }

  void Write(Response response) {
    Progress();
    response.prepare_payload();
    response_ = std::move(response);
    serializer_.emplace(response_);
    serializer_->split(is_head_);
    const auto done = [self = shared_from_this()](error_code error, size_t) {
      self->OnWritten(error);
    };
    if (is_head_) {
      http::async_write_header(stream_, *serializer_, done);
    } else {
      http::async_write(stream_, *serializer_, done);
    }
  }

  void OnWritten(error_code error) {
    if (!place_) return;
    absl::Cleanup close = [this] { Close(); };
    if (error) return;
    const bool keep_alive = response_.keep_alive();
    response_ = {};
    if (keep_alive) {
      Read();
    } else {
      if (stream_.socket().shutdown(tcp::socket::shutdown_send, error)) return;
      Progress();
      Discard();
    }
    std::move(close).Cancel();
  }

  // Closing while there is something unread would reset the connection, and the response with it.
  void Discard() {
    stream_.async_read_some(asio::buffer(discarded_),
                            [self = shared_from_this()](error_code error, size_t bytes) {
                              if (!self->place_) return;
                              self->num_discarded_ += bytes;
                              if (error || self->num_discarded_ > kMaxDiscardedBytes)
                                return self->Close();
                              self->Discard();
                            });
  }

  beast::tcp_stream stream_;
  Connections& all_;
  std::optional<Connections::iterator> place_;  // none: closed
  const std::function<std::string()>& exposition_;
  const std::chrono::milliseconds timeout_;
  // Also holds requests that were sent before the response to the one in front of them.
  beast::flat_buffer buffer_{2 * MetricsHttpServer::kMaxHeaderBytes};
  std::optional<http::request_parser<http::empty_body>> parser_;
  size_t header_bytes_ = 0;  // that the parser has taken
  bool is_head_ = false;
  Response response_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
  std::array<char, 1024> discarded_;
  size_t num_discarded_ = 0;
};

}  // namespace

class MetricsHttpServer::Impl {
 public:
  Impl(ListeningSockets sockets, std::function<std::string()> exposition, const Options& options)
      : sockets_(std::move(sockets)), exposition_(std::move(exposition)), options_(options) {}

  ~Impl() {
    io_.stop();
    if (thread_.joinable()) thread_.join();
    while (CloseLongestIdle()) {
    }
  }

  absl::Status Start() {
    if (absl::Status status = sockets_.Listen(); !status.ok()) return status;
    for (UniqueFd& socket : std::move(sockets_).Release()) {
      acceptors_.push_back(std::make_unique<Acceptor>(io_));
      // The protocol is that of addresses, which nobody reads.
      acceptors_.back()->socket.assign(tcp::v6(), socket.Release());
      Accept(*acceptors_.back());
    }
    // Signals are for other threads.
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread_ = std::thread([this] { Run(); });
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    return absl::OkStatus();
  }

 private:
  struct Acceptor {
    explicit Acceptor(asio::io_context& io) : socket(io), pause(io) {}
    tcp::acceptor socket;
    asio::steady_timer pause;
  };

  void Run() {
    while (!RunUntilFailure()) {
    }
  }

  // False if there was a failure, which has cost the connection that it belongs to; true at the
  // end.
  bool RunUntilFailure() {
    try {
      io_.run();
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  void Accept(Acceptor& acceptor) {
    acceptor.socket.async_accept([this, &acceptor](error_code error, tcp::socket socket) {
      if (error == asio::error::operation_aborted) return;
      if ((!error && Add(std::move(socket))) || CloseLongestIdle()) return Accept(acceptor);
      // There is no descriptor or memory for the connection, and none here to be had.
      acceptor.pause.expires_after(kPause);
      acceptor.pause.async_wait([this, &acceptor](error_code) { Accept(acceptor); });
    });
  }

  // False if there is no memory for it.
  bool Add(tcp::socket socket) {
    try {
      if (connections_.size() >= options_.max_connections) CloseLongestIdle();
      std::make_shared<Connection>(std::move(socket), connections_, exposition_, options_.timeout)
          ->Start();
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  // False if there is no connection.
  bool CloseLongestIdle() {
    if (connections_.empty()) return false;
    connections_.front()->Close();
    return true;
  }

  ListeningSockets sockets_;
  const std::function<std::string()> exposition_;
  const Options options_;
  Connections connections_;  // of the thread
  asio::io_context io_{1};
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  std::thread thread_;
};

MetricsHttpServer::MetricsHttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
MetricsHttpServer::~MetricsHttpServer() = default;

absl::StatusOr<std::unique_ptr<MetricsHttpServer>> MetricsHttpServer::Start(
    ListeningSockets sockets, std::function<std::string()> exposition, const Options& options) {
  try {
    auto impl = std::make_unique<Impl>(std::move(sockets), std::move(exposition), options);
    if (absl::Status status = impl->Start(); !status.ok()) return status;
    return std::unique_ptr<MetricsHttpServer>(new MetricsHttpServer(std::move(impl)));
  } catch (const boost::system::system_error& error) {
    return absl::UnavailableError(error.what());
  }
}

}  // namespace skipstream
