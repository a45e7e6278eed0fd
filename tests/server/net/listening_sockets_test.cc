#include "server/net/listening_sockets.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"

namespace skipstream {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string Message(const absl::Status& status) { return std::string(status.message()); }

// errno, or 0.
int ConnectTo(const std::string& host, int port) {
  const bool is_ipv6 = host.find(':') != std::string::npos;
  const UniqueFd fd(socket(is_ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in ipv4 = {};
  ipv4.sin_family = AF_INET;
  ipv4.sin_port = htons(static_cast<uint16_t>(port));
  sockaddr_in6 ipv6 = {};
  ipv6.sin6_family = AF_INET6;
  ipv6.sin6_port = ipv4.sin_port;
  EXPECT_EQ(is_ipv6 ? inet_pton(AF_INET6, host.c_str(), &ipv6.sin6_addr)
                    : inet_pton(AF_INET, host.c_str(), &ipv4.sin_addr),
            1);
  const int result =
      is_ipv6 ? connect(fd.get(), reinterpret_cast<const sockaddr*>(&ipv6), sizeof(ipv6))
              : connect(fd.get(), reinterpret_cast<const sockaddr*>(&ipv4), sizeof(ipv4));
  return result == 0 ? 0 : errno;
}

bool HasIpv6() { return ListeningSockets::Bind("[::1]:0").ok(); }

// Another program's port, on IPv6 only where the host is one of IPv6.
ListeningSockets Taken(const std::string& address) {
  ListeningSockets sockets = ListeningSockets::Bind(address).value();
  EXPECT_TRUE(sockets.Listen().ok());
  return sockets;
}

TEST(AddressTest, BracketsAreNoPartOfTheHost) {
  const HostAndPort address = ParseAddress("[::1]:50051").value();
  EXPECT_EQ(address.host, "::1");
  EXPECT_EQ(address.port, 50051);
  EXPECT_EQ(address.ToString(), "[::1]:50051");
  EXPECT_EQ(ParseAddress("localhost:0")->ToString(), "localhost:0");
  EXPECT_EQ(ParseAddress("[fe80::1%lo]:1")->host, "fe80::1%lo");
}

TEST(AddressTest, WhatIsNotHostAndPortIsRefusedWithTheValidForm) {
  for (const char* text : {"", ":", "127.0.0.1", "127.0.0.1:", ":1", "a:65536", "a:-1", "a: 1",
                           "a:+1", "a:b", "[]:1", "[::1:1", "::1]:1", "unix:/tmp/socket"}) {
    const absl::Status status = ParseAddress(text).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_THAT(Message(status),
                AllOf(HasSubstr("HOST:PORT"), HasSubstr(absl::StrCat("'", text, "'"))));
  }
}

TEST(AddressTest, AnIpv6AddressWithoutBracketsIsRefusedWithThem) {
  EXPECT_THAT(Message(ParseAddress("::1:0").status()), HasSubstr("needs brackets: [::1]:0, got"));
  EXPECT_THAT(Message(ParseAddress("2001:db8::5:50051").status()),
              HasSubstr("needs brackets: [2001:db8::5]:50051, got"));
  EXPECT_THAT(Message(ParseAddress("::1").status()), HasSubstr("needs brackets: [::1]:PORT, got"));
}

TEST(ListeningSocketsTest, APortIsTakenAtOnceAndRefusesConnectionsUntilItListens) {
  ListeningSockets sockets = ListeningSockets::Bind("127.0.0.1:0").value();
  EXPECT_EQ(ConnectTo("127.0.0.1", sockets.address().port), ECONNREFUSED);
  EXPECT_EQ(ListeningSockets::Bind(sockets.address().ToString()).status().code(),
            absl::StatusCode::kUnavailable);
  EXPECT_TRUE(sockets.Listen().ok());
  EXPECT_EQ(ConnectTo("127.0.0.1", sockets.address().port), 0);
}

TEST(ListeningSocketsTest, WildcardsMeanBothFamiliesAndNamesAllTheirAddresses) {
  for (const char* address : {"0.0.0.0:0", "[::]:0"}) {
    const ListeningSockets sockets = Taken(address);
    EXPECT_EQ(ConnectTo("127.0.0.1", sockets.address().port), 0) << address;
    if (HasIpv6()) {
      EXPECT_EQ(ConnectTo("::1", sockets.address().port), 0) << address;
    }
  }
  const ListeningSockets localhost = Taken("localhost:0");
  EXPECT_EQ(ConnectTo("127.0.0.1", localhost.address().port), 0);
}

TEST(ListeningSocketsTest, ATakenPortIsAnErrorInTheSystemsWords) {
  const std::string address = Taken("127.0.0.1:0").address().ToString();
  const ListeningSockets taken = Taken(address);
  const absl::Status status = ListeningSockets::Bind(address).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Message(status),
            absl::StrCat("cannot listen on ", address, ": Address already in use"));
}

TEST(ListeningSocketsTest, APortThatIsTakenInOneFamilyIsAnError) {
  if (!HasIpv6()) GTEST_SKIP() << "no IPv6 here";
  for (const char* other : {"[::1]:0", "127.0.0.1:0"}) {
    const ListeningSockets taken = Taken(other);
    for (const char* host : {"0.0.0.0", "[::]", "localhost"}) {
      const std::string address = absl::StrCat(host, ":", taken.address().port);
      const absl::StatusOr<ListeningSockets> sockets = ListeningSockets::Bind(address);
      // A name may stand for fewer addresses.
      if (sockets.ok() && sockets->sockets().size() == 1 && host[0] == 'l') continue;
      EXPECT_THAT(Message(sockets.status()), HasSubstr("Address already in use")) << address;
    }
  }
}

TEST(ListeningSocketsTest, AnAddressOfAnotherMachineAndAnUnknownNameAreErrors) {
  EXPECT_EQ(Message(ListeningSockets::Bind("192.0.2.1:0").status()),
            "cannot listen on 192.0.2.1:0: Cannot assign requested address");
  EXPECT_THAT(Message(ListeningSockets::Bind("no-such-host.invalid:0").status()),
              HasSubstr("cannot listen on no-such-host.invalid:0: "));
}

TEST(ListeningSocketsTest, TwoThatBindBeforeEitherListensAreToldApartThen) {
  const int port = Taken("127.0.0.1:0").address().port;
  ListeningSockets first = ListeningSockets::Bind(absl::StrCat("127.0.0.1:", port)).value();
  absl::StatusOr<ListeningSockets> second =
      ListeningSockets::Bind(absl::StrCat("127.0.0.1:", port));
  EXPECT_TRUE(first.Listen().ok());
  if (second.ok()) {
    EXPECT_THAT(Message(second->Listen()), HasSubstr("Address already in use"));
  }
}

}  // namespace
}  // namespace skipstream
