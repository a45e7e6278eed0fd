#include "server/rpc/reflection_service.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <grpcpp/support/byte_buffer.h>

#include <algorithm>
#include <exception>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "grpc/reflection/v1/reflection.grpc.pb.h"
#include "grpc/reflection/v1alpha/reflection.grpc.pb.h"
#include "server/rpc/grpc_status.h"
#include "server/rpc/request_reactor.h"
#include "server/rpc/wire_limits.h"
#include "server/rpc/workarounds/callback_order.h"

namespace skipstream {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::DescriptorPool;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::FileDescriptor;

namespace v1 = ::grpc::reflection::v1;
namespace v1alpha = ::grpc::reflection::v1alpha;

// Adds `file` and the files it imports, each once, importers first.
void AddFile(const FileDescriptor& file, std::set<const FileDescriptor*>& seen,
             google::protobuf::RepeatedPtrField<std::string>& out) {
  if (!seen.insert(&file).second) return;
  google::protobuf::FileDescriptorProto proto;
  file.CopyTo(&proto);
  proto.SerializeToString(out.Add());
  for (int i = 0; i < file.dependency_count(); ++i) AddFile(*file.dependency(i), seen, out);
}

template <typename Response>
void AnswerWithFile(const FileDescriptor* file, const std::string& what, Response& response) {
  if (file == nullptr) {
    response.mutable_error_response()->set_error_code(grpc::StatusCode::NOT_FOUND);
    response.mutable_error_response()->set_error_message(absl::StrCat("the server has no ", what));
    return;
  }
  std::set<const FileDescriptor*> seen;
  AddFile(*file, seen,
          *response.mutable_file_descriptor_response()->mutable_file_descriptor_proto());
}

template <typename Response>
void AnswerWithExtensions(const std::string& type, Response& response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  const Descriptor* message = pool.FindMessageTypeByName(type);
  if (message == nullptr) return AnswerWithFile(nullptr, absl::StrCat("message ", type), response);
  std::vector<const FieldDescriptor*> extensions;
  pool.FindAllExtensions(message, &extensions);
  auto& answer = *response.mutable_all_extension_numbers_response();
  answer.set_base_type_name(type);
  for (const FieldDescriptor* field : extensions) answer.add_extension_number(field->number());
}

template <typename Request, typename Response>
void Answer(const Request& request, const std::vector<std::string>& services, Response& response) {
  const DescriptorPool& pool = *DescriptorPool::generated_pool();
  response.set_valid_host(request.host());
  *response.mutable_original_request() = request;
  switch (request.message_request_case()) {
    case Request::kFileByFilename:
      return AnswerWithFile(pool.FindFileByName(request.file_by_filename()), "such file", response);
    case Request::kFileContainingSymbol:
      return AnswerWithFile(pool.FindFileContainingSymbol(request.file_containing_symbol()),
                            "such symbol", response);
    case Request::kFileContainingExtension: {
      const auto& wanted = request.file_containing_extension();
      const Descriptor* message = pool.FindMessageTypeByName(wanted.containing_type());
      const FieldDescriptor* extension =
          message == nullptr ? nullptr
                             : pool.FindExtensionByNumber(message, wanted.extension_number());
      return AnswerWithFile(extension == nullptr ? nullptr : extension->file(), "such extension",
                            response);
    }
    case Request::kAllExtensionNumbersOfType:
      return AnswerWithExtensions(request.all_extension_numbers_of_type(), response);
    case Request::kListServices:
      for (const std::string& name : services) {
        response.mutable_list_services_response()->add_service()->set_name(name);
      }
      return;
    default:
      response.mutable_error_response()->set_error_code(grpc::StatusCode::INVALID_ARGUMENT);
      response.mutable_error_response()->set_error_message("the request asks for nothing");
  }
}

}  // namespace

// Answers one request after the other until the client ends the call.
template <typename Request, typename Response>
class ReflectionService::Call final : public grpc::ServerGenericBidiReactor {
 public:
  explicit Call(ReflectionService& service) : service_(service) {
    StartRead(&request_);
    order_.HandOver();
  }

  void OnReadDone(bool ok) override {
    const CallbackOrder::Callback callback(order_);
    if (!ok) return End(absl::OkStatus());  // the client has said all it wants to
    Request request;
    if (absl::Status parsed = ParseBounded(request_, kMaxQueryBytes, request); !parsed.ok()) {
      return End(parsed);
    }
    request_.Clear();
    // gRPC would swallow an exception and never end the call.
    try {
      Response response;
      Answer(request, service_.services_, response);
      response_ = Serialized(response);
    } catch (const std::exception& exception) {
      return End(absl::InternalError(absl::StrCat("unexpected error: ", exception.what())));
    }
    StartWrite(&response_);
  }
  void OnWriteDone(bool ok) override {
    const CallbackOrder::Callback callback(order_);
    if (!ok) return End(absl::CancelledError("the client is gone"));
    StartRead(&request_);
  }
  void OnDone() override {
    order_.Done();
    --service_.calls_;
    delete this;
  }

 private:
  void End(const absl::Status& status) {
    order_.Finish();
    Finish(ToGrpcStatus(status));
  }

  ReflectionService& service_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  CallbackOrder order_;
};

ReflectionService::ReflectionService(std::vector<std::string> services)
    : services_(std::move(services)) {
  services_.emplace_back(v1::ServerReflection::service_full_name());
  services_.emplace_back(v1alpha::ServerReflection::service_full_name());
  std::sort(services_.begin(), services_.end());
}

void ReflectionService::AddTo(CallRouter& router) {
  const auto add = [&]<typename Request, typename Response>(const char* service) {
    router.Add(absl::StrCat("/", service, "/ServerReflectionInfo"),
               [this](grpc::CallbackServerContext* /*context*/) -> grpc::ServerGenericBidiReactor* {
                 if (++calls_ <= kMaxCalls) return new Call<Request, Response>(*this);
                 --calls_;
                 return RefuseCall(absl::ResourceExhaustedError(
                     absl::StrCat("there are ", kMaxCalls, " reflection calls already")));
               });
  };
  add.operator()<v1::ServerReflectionRequest, v1::ServerReflectionResponse>(
      v1::ServerReflection::service_full_name());
  add.operator()<v1alpha::ServerReflectionRequest, v1alpha::ServerReflectionResponse>(
      v1alpha::ServerReflection::service_full_name());
}

}  // namespace skipstream
