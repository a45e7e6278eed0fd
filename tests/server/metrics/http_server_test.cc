#include "server/metrics/http_server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr milliseconds kPatience(20'000);  // nothing is measured with it
constexpr char kText[] = "up 1\n";

class Peer {
 public:
  explicit Peer(int port, int receive_buffer = 0)
      : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer > 0) {
      setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof(receive_buffer));
    }
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }

  // False if the server has closed the connection.
  bool Send(const std::string& text) {
    return send(fd_.get(), text.data(), text.size(), MSG_NOSIGNAL) ==
           static_cast<ssize_t>(text.size());
  }

  bool IsReadable(milliseconds patience) {
    pollfd poll_fd = {.fd = fd_.get(), .events = POLLIN, .revents = 0};
    return poll(&poll_fd, 1, static_cast<int>(patience.count())) == 1;
  }

  // Everything until the server closes.
  std::string ReadAll() {
    std::string text;
    while (ReadSome(text)) {
    }
    return text;
  }
  // Until the text ends with this, or the server closes.
  std::string ReadUntil(const std::string& end) {
    std::string text;
    while (!text.ends_with(end) && ReadSome(text)) {
    }
    return text;
  }

 private:
  bool ReadSome(std::string& text) {
    if (!IsReadable(kPatience)) {
      ADD_FAILURE() << "nothing came after " << text;
      return false;
    }
    char bytes[4096];
    const ssize_t count = recv(fd_.get(), bytes, sizeof(bytes), 0);
    if (count > 0) text.append(bytes, static_cast<size_t>(count));
    return count > 0;
  }

  UniqueFd fd_;
};

class MetricsHttpServerTest : public ::testing::Test {
 protected:
  void Start(const MetricsHttpServer::Options& options) {
    ListeningSockets sockets = ListeningSockets::Bind("127.0.0.1:0").value();
    port_ = sockets.address().port;
    server_ = MetricsHttpServer::Start(
                  std::move(sockets),
                  [this] {
                    ++scrapes_;
                    return text_;
                  },
                  options)
                  .value();
  }
  void SetUp() override { Start({}); }

  // Sends one request on a new connection.
  std::string Ask(const std::string& request) {
    Peer peer(port_);
    peer.Send(request);
    return peer.ReadAll();
  }
  std::string Scrape() {
    return Ask("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  }

  std::string text_ = kText;
  std::atomic<int> scrapes_ = 0;
  int port_ = 0;
  std::unique_ptr<MetricsHttpServer> server_;
};

TEST_F(MetricsHttpServerTest, GetReturnsTheExposition) {
  EXPECT_THAT(Scrape(), AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Content-Length: 5\r\n"),
                              HasSubstr("Content-Type: text/plain; charset=utf-8\r\n"),
                              EndsWith("\r\n\r\nup 1\n")));
  EXPECT_THAT(Ask("GET /metrics?a=b HTTP/1.1\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(MetricsHttpServerTest, HeadReturnsTheSameHeadersWithoutABody) {
  Peer peer(port_);
  peer.Send("HEAD /metrics HTTP/1.1\r\n\r\n");
  EXPECT_THAT(peer.ReadUntil("\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 200 OK\r\n"), HasSubstr("Content-Length: 5\r\n")));
  // The connection goes on right behind the headers.
  peer.Send("GET /metrics HTTP/1.1\r\n\r\n");
  EXPECT_THAT(peer.ReadUntil(kText), StartsWith("HTTP/1.1 200 OK\r\n"));
}

TEST_F(MetricsHttpServerTest, OtherPathsAndMethodsAreRefused) {
  EXPECT_THAT(Ask("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.1 404 "), HasSubstr("/metrics")));
  EXPECT_THAT(Ask("GET /metrics/ HTTP/1.1\r\nConnection: close\r\n\r\n"),
              StartsWith("HTTP/1.1 404 "));
  for (const char* method : {"POST", "DELETE", "OPTIONS", "BREW"}) {
    EXPECT_THAT(Ask(absl::StrCat(method, " /metrics HTTP/1.1\r\nConnection: close\r\n\r\n")),
                AllOf(StartsWith("HTTP/1.1 405 "), HasSubstr("Allow: GET, HEAD\r\n")));
  }
  EXPECT_EQ(scrapes_, 0);
}

TEST_F(MetricsHttpServerTest, ABodyIsNotReadAndEndsTheConnection) {
  EXPECT_THAT(Ask("POST /metrics HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\nabc"),
              StartsWith("HTTP/1.1 405 "));
  EXPECT_THAT(Ask("GET /metrics HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n"),
              AllOf(StartsWith("HTTP/1.1 200 "), HasSubstr("Connection: close\r\n")));
}

TEST_F(MetricsHttpServerTest, AConnectionServesOneRequestAfterAnother) {
  Peer peer(port_);
  for (int i = 0; i < 3; ++i) {
    EXPECT_TRUE(peer.Send("GET /metrics HTTP/1.1\r\n\r\n"));
    EXPECT_THAT(peer.ReadUntil(kText), StartsWith("HTTP/1.1 200 OK\r\n"));
  }
}

TEST_F(MetricsHttpServerTest, PipelinedRequestsAreAnsweredInOrder) {
  EXPECT_THAT(Ask("GET /metrics HTTP/1.1\r\n\r\nGET /a HTTP/1.1\r\n\r\n"
                  "GET /metrics HTTP/1.1\r\nConnection: close\r\n\r\n"),
              ::testing::MatchesRegex("HTTP/1.1 200 .*up 1\nHTTP/1.1 404 .*HTTP/1.1 200 .*up 1\n"));
}

TEST_F(MetricsHttpServerTest, Http10ClosesUnlessAskedToKeepTheConnection) {
  EXPECT_THAT(Ask("GET /metrics HTTP/1.0\r\n\r\n"),
              AllOf(StartsWith("HTTP/1.0 200 OK\r\n"), EndsWith(kText)));
  Peer peer(port_);
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(peer.Send("GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
    EXPECT_THAT(peer.ReadUntil(kText), HasSubstr("Connection: keep-alive\r\n"));
  }
}

TEST_F(MetricsHttpServerTest, HugeHeadersAndRequestLinesAreRefused) {
  const std::string huge(200'000, 'a');
  EXPECT_THAT(Ask(absl::StrCat("GET /metrics HTTP/1.1\r\nA: ", huge, "\r\n\r\n")),
              StartsWith("HTTP/1.1 431 "));
  EXPECT_THAT(Ask(absl::StrCat("GET /", huge, " HTTP/1.1\r\n\r\n")), StartsWith("HTTP/1.1 431 "));
  const std::string fits(MetricsHttpServer::kMaxHeaderBytes - 200, 'a');
  EXPECT_THAT(
      Ask(absl::StrCat("GET /metrics HTTP/1.1\r\nA: ", fits, "\r\nConnection: close\r\n\r\n")),
      StartsWith("HTTP/1.1 200 "));
}

TEST_F(MetricsHttpServerTest, ManySmallHeaderFieldsAreAsHugeAsOneLargeOne) {
  std::string fields;
  for (size_t i = 0; i < MetricsHttpServer::kMaxHeaderBytes; i += 4) fields += "a:\r\n";
  EXPECT_THAT(Ask(absl::StrCat("GET /metrics HTTP/1.1\r\n", fields, "\r\n")),
              StartsWith("HTTP/1.1 431 "));
}

TEST_F(MetricsHttpServerTest, GarbageIsABadRequest) {
  for (const std::string& garbage :
       {std::string("hello\r\n\r\n"),
        std::string("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 11),
        std::string("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), std::string("GET /metrics\r\n\r\n"),
        std::string("GET /metrics HTTP/1.1\r\nContent-Length: x\r\n\r\n")}) {
    EXPECT_THAT(Ask(garbage), StartsWith("HTTP/1.1 400 ")) << garbage;
  }
  EXPECT_THAT(Scrape(), EndsWith(kText));
}

TEST_F(MetricsHttpServerTest, AHundredIdlePeersDelayNoScrape) {
  std::vector<std::unique_ptr<Peer>> idle;
  for (int i = 0; i < 100; ++i) {
    idle.push_back(std::make_unique<Peer>(port_));
    if (i % 2 == 0) idle.back()->Send("GET /metr");
  }
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(Scrape(), EndsWith(kText));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(1));
}

TEST_F(MetricsHttpServerTest, TheLongestIdlePeerMakesPlace) {
  Start({.max_connections = 2});
  Peer first(port_);
  Peer second(port_);
  first.Send("GET /metrics HTTP/1.1\r\n\r\n");
  EXPECT_THAT(first.ReadUntil(kText), StartsWith("HTTP/1.1 200 "));
  EXPECT_THAT(Scrape(), EndsWith(kText));
  EXPECT_EQ(second.ReadAll(), "");
  EXPECT_TRUE(first.Send("GET /metrics HTTP/1.1\r\n\r\n"));
  EXPECT_THAT(first.ReadUntil(kText), StartsWith("HTTP/1.1 200 "));
}

TEST_F(MetricsHttpServerTest, IdleAndSlowPeersAreClosed) {
  Start({.timeout = milliseconds(50)});
  Peer silent(port_);
  Peer slow(port_);
  Peer kept(port_);
  slow.Send("GET /metrics HT");
  kept.Send("GET /metrics HTTP/1.1\r\n\r\n");
  EXPECT_EQ(silent.ReadAll(), "");
  EXPECT_EQ(slow.ReadAll(), "");
  EXPECT_THAT(kept.ReadAll(), EndsWith(kText));
  // A byte now and then makes no difference.
  Peer trickle(port_);
  while (!trickle.IsReadable(milliseconds(5)) && trickle.Send("a")) {
  }
}

TEST_F(MetricsHttpServerTest, APeerThatDoesNotReadIsClosedAndDelaysNobody) {
  text_.assign(size_t{64} << 20, 'a');
  Start({.timeout = milliseconds(200)});
  Peer slow(port_, /*receive_buffer=*/4096);
  slow.Send("GET /metrics HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(slow.IsReadable(kPatience));  // the response has begun
  EXPECT_THAT(Ask("GET / HTTP/1.1\r\nConnection: close\r\n\r\n"), StartsWith("HTTP/1.1 404 "));
  // The server gives up while most of it is unread.
  while (slow.Send("a")) usleep(5000);
  EXPECT_LT(slow.ReadAll().size(), text_.size());
}

TEST_F(MetricsHttpServerTest, WithoutDescriptorsItWaitsAndGoesOn) {
  // The peer's socket comes first: then no descriptor is free.
  Peer peer(port_);
  EXPECT_TRUE(peer.Send("GET /metrics HTTP/1.1\r\n\r\n"));
  EXPECT_THAT(peer.ReadUntil(kText), EndsWith(kText));
  const UniqueFd waiting(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit before = {};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none = {.rlim_cur = 1, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &none), 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port_));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(waiting.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)),
            0);
  EXPECT_EQ(peer.ReadAll(), "");  // its place is given to the newcomer, in vain
  const std::clock_t cpu = std::clock();
  usleep(300'000);
  EXPECT_LT(std::clock() - cpu, CLOCKS_PER_SEC / 10);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_THAT(Scrape(), EndsWith(kText));
}

TEST_F(MetricsHttpServerTest, AnExpositionThatFailsCostsOneConnection) {
  ListeningSockets sockets = ListeningSockets::Bind("127.0.0.1:0").value();
  port_ = sockets.address().port;
  bool fails = true;
  const auto server = MetricsHttpServer::Start(std::move(sockets),
                                               [&fails]() -> std::string {
                                                 if (std::exchange(fails, false))
                                                   throw std::bad_alloc();
                                                 return kText;
                                               },
                                               {});
  EXPECT_EQ(Scrape(), "");
  EXPECT_THAT(Scrape(), EndsWith(kText));
}

}  // namespace
}  // namespace skipstream
