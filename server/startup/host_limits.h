#ifndef SKIPSTREAM_SERVER_STARTUP_HOST_LIMITS_H_
#define SKIPSTREAM_SERVER_STARTUP_HOST_LIMITS_H_

#include <cstdint>
#include <string>

namespace skipstream {

// Holds the memory and the processors that the server may use.
struct HostLimits {
  int64_t memory_bytes = 0;
  std::string memory_source;  // e.g. "cgroup memory.max"
  int processors = 1;
  std::string processors_source;  // e.g. "cgroup cpu.max"
};

// Finds the limits of this process. The memory is the least of MemTotal and the limits of the
// process's control groups and of all groups above them. The processors are the least of `affinity`
// and the groups' quotas, rounded up. Both versions of control groups are understood, also side by
// side, and also inside a container, whose own group is the root of its view. `root` holds /proc
// and /sys ("" for this machine). Without /proc: 2 GiB, and `affinity`.
HostLimits FindHostLimits(int affinity, const std::string& root = "");

// Returns the processors that this process may run on (taskset, cpuset), at least 1.
int AffinityOfThisProcess();

// --- Shares of the memory, so that the sum fits. All in bytes, unless said otherwise. ---

// Returns the share of accepted requests and their results: half of the memory beside `weights`, at
// most 8 GiB and at least 64 MiB.
int64_t RequestBytes(const HostLimits& limits, int64_t weights);
// Returns the share of kept results: a 32nd of the memory, at most 64 MiB.
int64_t ResultCacheBytes(const HostLimits& limits);
// Returns the share of images in flight: an eighth of the memory, at most 1 GiB.
int64_t SlotBytes(const HostLimits& limits);
// Returns the share of requests that are arriving and answers that are leaving, in gRPC: an eighth,
// 64 to 512 MiB.
int64_t TransportBytes(const HostLimits& limits);
// Returns the connections that a 16th of the memory holds, 256 to 16,384: one takes about 20 KiB,
// with TLS about 85.
int MaxConnections(const HostLimits& limits, bool tls);

}  // namespace skipstream

#endif  // SKIPSTREAM_SERVER_STARTUP_HOST_LIMITS_H_
