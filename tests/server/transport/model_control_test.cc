#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "skipstream/v1/model_control.grpc.pb.h"
#include "tests/server/transport/server_harness.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ModelControlTest : public ::testing::Test {
 protected:
  ModelControlTest() : directory_(::testing::TempDir() + "model_control_test") {
    std::filesystem::create_directories(directory_ + "/directory.safetensors");
    for (const char* file : {"pear.safetensors", "broken.safetensors", "notes.txt"}) {
      std::ofstream(directory_ + "/" + file) << "the puppet does not look inside";
    }
  }
  ~ModelControlTest() override { std::filesystem::remove_all(directory_); }

  void StartServer(bool enabled) {
    ServerHarness::Options options;
    options.executor.automatic = true;
    options.server.enable_model_control = enabled;
    options.server.model_dir = directory_;
    harness_ = std::make_unique<ServerHarness>(options);
    stub_ = v1::ModelControl::NewStub(harness_->channel);
  }

  grpc::Status Load(const std::string& file, const std::string& name = "") {
    grpc::ClientContext context;
    v1::LoadRequest request;
    request.set_file(file);
    request.set_name(name);
    return stub_->Load(&context, request, &loaded_);
  }
  grpc::Status Unload(const std::string& name) {
    grpc::ClientContext context;
    v1::UnloadRequest request;
    request.set_name(name);
    v1::UnloadResponse response;
    return stub_->Unload(&context, request, &response);
  }

  const std::string directory_;
  std::unique_ptr<ServerHarness> harness_;
  std::unique_ptr<v1::ModelControl::Stub> stub_;
  v1::LoadResponse loaded_;
};

TEST_F(ModelControlTest, IsClosedByDefault) {
  StartServer(/*enabled=*/false);
  EXPECT_EQ(Load("pear.safetensors").error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_EQ(Unload("fruit").error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(Load("pear.safetensors").error_message(), HasSubstr("--enable_model_control"));
}

TEST_F(ModelControlTest, ALoadedModelServesUntilItIsUnloaded) {
  StartServer(/*enabled=*/true);
  ASSERT_TRUE(Load("pear.safetensors").ok());
  EXPECT_EQ(loaded_.name(), "pear");
  EXPECT_EQ(loaded_.sha256().size(), 64u);
  EXPECT_TRUE(harness_->Generate("model: 'pear' sampler { nfe: 1 }").status.ok());
  ASSERT_TRUE(Unload("pear").ok());
  EXPECT_EQ(harness_->Generate("model: 'pear'").status.error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ModelControlTest, UnloadingReleasesTheWeights) {
  StartServer(/*enabled=*/true);
  ASSERT_TRUE(Load("pear.safetensors").ok());
  EXPECT_EQ(harness_->executor.networks().size(), 2u);
  ASSERT_TRUE(Unload("pear").ok());
  EXPECT_EQ(harness_->executor.networks().size(), 1u);
}

TEST_F(ModelControlTest, AModelCanGetAnotherName) {
  StartServer(/*enabled=*/true);
  ASSERT_TRUE(Load("pear.safetensors", "green.pear-2").ok());
  EXPECT_EQ(loaded_.name(), "green.pear-2");
}

TEST_F(ModelControlTest, NamesAreUnique) {
  StartServer(/*enabled=*/true);
  EXPECT_EQ(Load("pear.safetensors", "fruit").error_code(), grpc::StatusCode::ALREADY_EXISTS);
}

TEST_F(ModelControlTest, FilesOutsideTheDirectoryAreOutOfReach) {
  StartServer(/*enabled=*/true);
  for (const char* file :
       {"", "/etc/pear.safetensors", "../pear.safetensors", "a/pear.safetensors",
        "..\\pear.safetensors", ".safetensors", ".hidden.safetensors", "notes.txt"}) {
    const grpc::Status status = Load(file);
    EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << file;
    EXPECT_THAT(FieldsOf(status), ElementsAre("file")) << file;
  }
  const std::string with_nul("pear.safetensors\0.safetensors", 29);
  EXPECT_THAT(FieldsOf(Load(with_nul)), ElementsAre("file"));
}

TEST_F(ModelControlTest, WhatIsNotAFileIsNotFound) {
  StartServer(/*enabled=*/true);
  EXPECT_EQ(Load("quince.safetensors").error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Load("directory.safetensors").error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ModelControlTest, ABadFileIsToldWithTheLoadersWordsAndChangesNothing) {
  StartServer(/*enabled=*/true);
  harness_->executor.FailLoad(directory_ + "/broken.safetensors",
                              absl::InvalidArgumentError("tensor model.enc.x is missing"));
  const grpc::Status status = Load("broken.safetensors");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(FieldsOf(status), ElementsAre("file"));
  EXPECT_THAT(status.error_message(), HasSubstr("tensor model.enc.x is missing"));
  EXPECT_EQ(harness_->models.List().size(), 1u);
}

TEST_F(ModelControlTest, BadNamesAreRefused) {
  StartServer(/*enabled=*/true);
  EXPECT_THAT(FieldsOf(Load("pear.safetensors", "two words")), ElementsAre("name"));
  EXPECT_THAT(FieldsOf(Unload("")), ElementsAre("name"));
  EXPECT_EQ(Unload("quince").error_code(), grpc::StatusCode::NOT_FOUND);
}

TEST_F(ModelControlTest, TheDefaultModelStays) {
  StartServer(/*enabled=*/true);
  EXPECT_EQ(Unload("fruit").error_code(), grpc::StatusCode::FAILED_PRECONDITION);
}

}  // namespace
}  // namespace skipstream
