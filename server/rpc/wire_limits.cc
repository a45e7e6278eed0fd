#include "server/rpc/wire_limits.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/message.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpcpp/impl/codegen/proto_utils.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/proto_buffer_writer.h>

#include "absl/strings/str_cat.h"
#include "base/error_details.h"

namespace skipstream {
namespace {

using ::google::protobuf::Descriptor;
using ::google::protobuf::FieldDescriptor;
using ::google::protobuf::internal::WireFormatLite;
using ::google::protobuf::io::CodedInputStream;

// Walks over a message and counts, without keeping anything.
class ValueCounter {
 public:
  explicit ValueCounter(CodedInputStream& input) : input_(input) {}

  // False if the bytes are not well-formed or there are too many values.
  bool Count(const Descriptor& message) {
    while (const uint32_t tag = input_.ReadTag()) {
      if (!Add(1) || !CountField(message, tag)) return false;
    }
    return input_.ConsumedEntireMessage();
  }

  bool too_many() const { return values_ > kMaxRequestValues; }

 private:
  bool Add(int64_t values) {
    values_ += values;
    return !too_many();
  }

  bool CountField(const Descriptor& message, uint32_t tag) {
    const FieldDescriptor* field =
        message.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
    switch (WireFormatLite::GetTagWireType(tag)) {
      case WireFormatLite::WIRETYPE_VARINT: {
        uint64_t value = 0;
        return input_.ReadVarint64(&value);
      }
      case WireFormatLite::WIRETYPE_FIXED32:
        return input_.Skip(4);
      case WireFormatLite::WIRETYPE_FIXED64:
        return input_.Skip(8);
      case WireFormatLite::WIRETYPE_LENGTH_DELIMITED:
        return CountLengthDelimited(field);
      default:  // groups, which proto3 does not have
        return false;
    }
  }

  bool CountLengthDelimited(const FieldDescriptor* field) {
    int size = 0;
    if (!input_.ReadVarintSizeAsInt(&size)) return false;
    const bool is_message =
        field != nullptr && field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (!is_message && (field == nullptr || !field->is_packable())) return input_.Skip(size);
    const CodedInputStream::Limit limit = input_.PushLimit(size);
    const bool good = is_message ? Count(*field->message_type()) : CountList(*field);
    return good && input_.CheckEntireMessageConsumedAndPopLimit(limit);
  }

  // A packed list, up to the limit of the input.
  bool CountList(const FieldDescriptor& field) {
    const WireFormatLite::WireType element =
        WireFormatLite::WireTypeForFieldType(static_cast<WireFormatLite::FieldType>(field.type()));
    while (input_.BytesUntilLimit() > 0) {
      uint64_t value = 0;
      const bool read = element == WireFormatLite::WIRETYPE_FIXED64   ? input_.Skip(8)
                        : element == WireFormatLite::WIRETYPE_FIXED32 ? input_.Skip(4)
                                                                      : input_.ReadVarint64(&value);
      if (!read || !Add(1)) return false;
    }
    // The end that CheckEntireMessageConsumedAndPopLimit asks for is a tag of 0.
    return input_.ReadTag() == 0;
  }

  CodedInputStream& input_;
  int64_t values_ = 0;
};

absl::Status NotWellFormed(const google::protobuf::Message& message) {
  return absl::InvalidArgumentError(
      absl::StrCat("the bytes are not a ", message.GetDescriptor()->full_name()));
}

}  // namespace

absl::Status ParseBounded(const grpc::ByteBuffer& buffer, size_t max_bytes,
                          google::protobuf::Message& message) {
  if (!buffer.Valid()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the call has no ", message.GetDescriptor()->full_name()));
  }
  if (buffer.Length() > max_bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the request has ", buffer.Length(), " bytes, the limit is ", max_bytes));
  }
  grpc::ByteBuffer bytes(buffer);  // refers to the same memory
  {
    grpc::ProtoBufferReader reader(&bytes);
    CodedInputStream input(&reader);
    ValueCounter counter(input);
    if (!counter.Count(*message.GetDescriptor())) {
      if (!counter.too_many()) return NotWellFormed(message);
      absl::Status status =
          absl::InvalidArgumentError(absl::StrCat("the request has more than ", kMaxRequestValues,
                                                  " values: no valid one does; its lists are "
                                                  "longer than they may be, or it has fields that "
                                                  "this server does not know"));
      SetReason(status, "TOO_MANY_VALUES");
      return status;
    }
  }
  grpc::ProtoBufferReader reader(&bytes);
  if (!message.ParseFromZeroCopyStream(&reader)) {
    message.Clear();
    return NotWellFormed(message);
  }
  return absl::OkStatus();
}

grpc::ByteBuffer Serialized(const google::protobuf::Message& message) {
  grpc::ByteBuffer buffer;
  bool own_buffer = false;
  // Cannot fail: messages of ours are far from 2 GiB.
  grpc::GenericSerialize<grpc::ProtoBufferWriter, google::protobuf::Message>(message, &buffer,
                                                                             &own_buffer);
  return buffer;
}

}  // namespace skipstream
