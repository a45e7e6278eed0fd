#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "skipstream/v1/model_control.grpc.pb.h"
#include "tests/server/rpc/server_harness.h"
#include "tests/testing/temporary_directory.h"

namespace skipstream {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ModelControlTest : public ::testing::Test {
 protected:
  ModelControlTest() {
    std::filesystem::create_directories(directory_ / "directory.safetensors");
    for (const char* file : {"pear.safetensors", "broken.safetensors", "notes.txt"}) {
      std::ofstream(directory_ / file) << "the puppet does not look inside";
    }
  }

  std::string RealPath(const std::string& file) const {
    return std::filesystem::canonical(directory_ / file).string();
  }

  void StartServer(bool enabled, const std::string& directory = "") {
    ServerHarness::Options options;
    options.executor.automatic = true;
    options.server.enable_model_control = enabled;
    options.server.model_dir = directory.empty() ? directory_.path().string() : directory;
    harness_ = std::make_unique<ServerHarness>(options);
    stub_ = v1::ModelControl::NewStub(harness_->channel);
  }

  grpc::Status Load(const std::string& file, const std::string& name = "", bool replace = false) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    v1::LoadRequest request;
    request.set_replace(replace);
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

  const TemporaryDirectory directory_;
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

TEST_F(ModelControlTest, AModelIsReplacedAtOnceAlsoTheDefaultOne) {
  StartServer(/*enabled=*/true);
  const std::string old_sha256 = (*harness_->models.Find(""))->info().sha256;
  const int first = static_cast<int>(harness_->executor.networks().size());
  ASSERT_TRUE(Load("pear.safetensors", "fruit", /*replace=*/true).ok());
  EXPECT_EQ(loaded_.name(), "fruit");
  EXPECT_EQ(loaded_.replaced_sha256(), old_sha256);
  EXPECT_EQ((*harness_->models.Find(""))->info().sha256, loaded_.sha256());
  EXPECT_NE(loaded_.sha256(), old_sha256);
  EXPECT_EQ(harness_->executor.networks().size(), first);
  EXPECT_TRUE(harness_->Generate("sampler { nfe: 1 }").status.ok());
}

TEST_F(ModelControlTest, ReplacingWhatIsNotThereLoadsIt) {
  StartServer(/*enabled=*/true);
  ASSERT_TRUE(Load("pear.safetensors", "", /*replace=*/true).ok());
  EXPECT_EQ(loaded_.replaced_sha256(), "");
  EXPECT_TRUE(harness_->models.Find("pear").ok());
}

TEST_F(ModelControlTest, ABadFileReplacesNothing) {
  StartServer(/*enabled=*/true);
  harness_->executor.FailLoad(RealPath("broken.safetensors"),
                              absl::InvalidArgumentError("tensor model.enc.x is missing"));
  const auto before = *harness_->models.Find("fruit");
  EXPECT_EQ(Load("broken.safetensors", "fruit", /*replace=*/true).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(*harness_->models.Find("fruit"), before);
}

TEST_F(ModelControlTest, OfManyLoadsOfOneNameAtOnceOneWins) {
  StartServer(/*enabled=*/true);
  std::atomic<int> loaded = 0, exists = 0;
  {
    std::vector<std::jthread> loads;
    for (int i = 0; i < 8; ++i) {
      loads.emplace_back([&] {
        grpc::ClientContext context;
        v1::LoadRequest request;
        request.set_file("pear.safetensors");
        v1::LoadResponse response;
        const grpc::Status status = stub_->Load(&context, request, &response);
        loaded += status.ok();
        exists += status.error_code() == grpc::StatusCode::ALREADY_EXISTS;
      });
    }
  }
  EXPECT_EQ(loaded, 1);
  EXPECT_EQ(exists, 7);
  EXPECT_EQ(harness_->executor.networks().size(), 2u);
}

TEST_F(ModelControlTest, LinksAreFollowedOnlyInsideTheDirectory) {
  StartServer(/*enabled=*/true);
  std::filesystem::create_directories(directory_ / "versions/2");
  std::ofstream(directory_ / "versions/2/plum.safetensors") << "inside";
  const TemporaryDirectory elsewhere;
  const std::string outside = elsewhere / "outside.safetensors";
  std::ofstream(outside) << "outside";
  const auto link = [&](const std::filesystem::path& target, const char* name) {
    std::filesystem::create_symlink(target, directory_ / name);
  };
  link("versions/2/plum.safetensors", "plum.safetensors");
  link(outside, "absolute.safetensors");
  link(std::filesystem::relative(outside, directory_.path()), "relative.safetensors");
  link("absolute.safetensors", "twice.safetensors");
  link("loop.safetensors", "loop.safetensors");
  EXPECT_TRUE(Load("plum.safetensors").ok());
  for (const char* name : {"absolute", "relative", "twice", "loop"}) {
    EXPECT_EQ(Load(std::string(name) + ".safetensors").error_code(), grpc::StatusCode::NOT_FOUND)
        << name;
  }
  EXPECT_EQ(harness_->models.List().size(), 2u);
}

TEST_F(ModelControlTest, TheDirectoryItselfMayBeALink) {
  const TemporaryDirectory elsewhere;
  const std::string link = elsewhere / "link";
  std::filesystem::create_directory_symlink(directory_.path(), link);
  StartServer(/*enabled=*/true, link);
  EXPECT_TRUE(Load("pear.safetensors").ok());
}

TEST_F(ModelControlTest, PipesAndDevicesAreNotFoundInsteadOfHanging) {
  StartServer(/*enabled=*/true);
  ASSERT_EQ(mkfifo((directory_ / "pipe.safetensors").c_str(), 0600), 0);
  std::filesystem::create_symlink("/dev/zero", directory_ / "zero.safetensors");
  EXPECT_EQ(Load("pipe.safetensors").error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_EQ(Load("zero.safetensors").error_code(), grpc::StatusCode::NOT_FOUND);
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
  const std::string path = RealPath("broken.safetensors");
  harness_->executor.FailLoad(path,
                              absl::InvalidArgumentError(path + ": tensor model.enc.x is missing"));
  const grpc::Status status = Load("broken.safetensors");
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(FieldsOf(status), ElementsAre("file"));
  EXPECT_THAT(status.error_message(),
              HasSubstr("file: broken.safetensors: tensor model.enc.x is missing"));
  EXPECT_EQ(harness_->models.List().size(), 1u);
}

TEST_F(ModelControlTest, BytesThatAreNoRequestAreRefused) {
  StartServer(/*enabled=*/true);
  // A field of two bytes that this server does not know.
  std::string many;
  for (int i = 0; i < 20'000; ++i) many += std::string("\x78\x01");
  for (const char* method : {"Load", "Unload"}) {
    const auto call = [&](const std::string& bytes) {
      grpc::ClientContext context;
      return harness_->CallWithBytes(absl::StrCat("/skipstream.v1.ModelControl/", method), bytes,
                                     context);
    };
    EXPECT_EQ(call("\xff\xff").error_code(), grpc::StatusCode::INVALID_ARGUMENT) << method;
    EXPECT_EQ(ReasonOf(call(many)), "TOO_MANY_VALUES") << method;
    EXPECT_EQ(call(std::string(100'000, 'x')).error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED)
        << method;
  }
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
