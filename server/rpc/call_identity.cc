#include "server/rpc/call_identity.h"

#include <utility>

#include "server/request/request_id.h"

namespace skipstream {
namespace {

// The standard lets a call have one.
std::optional<TraceContext> TraceOf(const grpc::CallbackServerContext& context) {
  const auto& metadata = context.client_metadata();
  if (metadata.count(kTraceparent) != 1) return std::nullopt;
  const grpc::string_ref value = metadata.find(kTraceparent)->second;
  return ParseTraceparent(absl::string_view(value.data(), value.size()));
}

}  // namespace

CallIdentity IdentifyCall(grpc::CallbackServerContext& context, Caller caller,
                          const std::string& request_id) {
  CallIdentity identity = {
      .caller = std::move(caller),
      .request_id = IsValidRequestId(request_id) ? request_id : DrawRequestId(),
      .trace = TraceOf(context)};
  context.AddInitialMetadata(kRequestIdHeader, identity.request_id);
  if (identity.trace) context.AddInitialMetadata(kTraceparent, identity.trace->traceparent);
  return identity;
}

LogFields IdentityFields(const CallIdentity& identity) {
  return {{"request_id", identity.request_id},
          {"traceparent", identity.trace ? identity.trace->traceparent : ""},
          {"trace_id", identity.trace ? identity.trace->trace_id : ""},
          {"tenant", identity.caller.tenant->name}};
}

}  // namespace skipstream
