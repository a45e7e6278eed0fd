// The `skipstream` command as a user meets it: a process, its output, its files, its exit code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "absl/base/config.h"
#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "client/cli/commands/interrupt.h"
#include "client/cli/output/image_codec.h"
#include "tests/client/cli/subprocess.h"
#include "tests/client/fake_server.h"
#include "tests/testing/temporary_directory.h"

namespace skipstream::cli {
namespace {

using skipstream::testing::FakeAttempt;
using skipstream::testing::FakeServer;
using skipstream::testing::Subprocess;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class CommandTest : public ::testing::Test {
 protected:
  std::string File(const std::string& name) const { return folder_ / name; }

  std::vector<std::string> Args(const std::string& command, std::vector<std::string> rest) const {
    std::vector<std::string> args = {SKIPSTREAM_COMMAND, command, "--server", server_.target()};
    args.insert(args.end(), rest.begin(), rest.end());
    return args;
  }

  // Runs the command with its standard output as `redirection` of a shell says.
  Subprocess::Result RunInShell(const std::string& redirection, const std::string& command,
                                std::vector<std::string> rest) const {
    std::vector<std::string> args = {"/bin/sh", "-c", "\"$@\" " + redirection, "sh"};
    const std::vector<std::string> words = Args(command, std::move(rest));
    args.insert(args.end(), words.begin(), words.end());
    return Subprocess(args).Wait();
  }

  Subprocess::Result Run(const std::string& command, std::vector<std::string> rest) const {
    return Subprocess(Args(command, std::move(rest))).Wait();
  }

  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      names.push_back(entry.path().filename());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  FakeServer server_;
  const TemporaryDirectory folder_;
};

TEST_F(CommandTest, WritesTheImageAndIsQuietInAPipe) {
  const auto result = Run("generate", {"--class", "cat", "--seed", "7", "--out", File("cat.png")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(result.out, File("cat.png") + "\n");
  EXPECT_EQ(result.err, "");
  EXPECT_THAT(Files(), ElementsAre("cat.png"));
  EXPECT_EQ(server_.requests().at(0).classes(0).name(), "cat");
}

TEST_F(CommandTest, QuietPrintsNothing) {
  const auto result = Run("generate", {"--quiet", "--out", File("a.png")});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.out + result.err, "");
}

TEST_F(CommandTest, ShowsProgressOnATerminalInPlaceAndRemovesIt) {
  FakeAttempt attempt;
  attempt.images = 1;
  attempt.hang = true;
  server_.Script({attempt});
  Subprocess process(Args("generate", {"--count", "2", "--out", File("{index}.png")}),
                     Subprocess::Stderr::kTerminal);
  process.WaitForOutput("1/2 images");
  process.Signal(SIGINT);
  const auto result = process.Wait();
  EXPECT_THAT(result.err, HasSubstr("\r 50% [####"));
  EXPECT_THAT(result.err, HasSubstr("\r\x1b[Kinterrupted"));
}

TEST_F(CommandTest, WritesTheImageToStandardOutput) {
  const auto result = Run("generate", {"--seed", "1", "--out", "-"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(ReadPngText(result.out, "skipstream.request").ok());
}

TEST_F(CommandTest, PatternsNameFilesAfterWhatTheyShow) {
  const auto result =
      Run("generate", {"--class", "cat,dog", "--seed", "5", "--nfe", "9,19", "--rho", "0.9",
                       "--out", File("{class}-{nfe}-{rho}-{solver}.png")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(Files(), ElementsAre("cat-19-0.9-heun.png", "cat-9-0.9-heun.png",
                                   "dog-19-0.9-heun.png", "dog-9-0.9-heun.png"));
}

TEST_F(CommandTest, ASweepBecomesOneLabelledSheetAndItsRequestsRunSideBySide) {
  server_.HoldUntilRunning(4);  // deadlocks if the rows came one after another
  const auto result = Run("generate", {"--class", "cat,dog,owl", "--seed", "1-3", "--rows",
                                       "9:0.9,9:1.0,9:1.05,35:1.0", "--grid", File("sheet.png")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(Files(), ElementsAre("sheet.png"));
  v1::EncodedImage sheet;
  sheet.set_data(*ReadFile(File("sheet.png")));
  const Bitmap page = *DecodeImage(sheet);

  // Every row has its own colours; each fills a whole cell.
  for (const v1::GenerateRequest& request : server_.requests()) {
    for (int column = 0; column < 3; ++column) {
      v1::GenerateRequest one = request;
      one.clear_seeds();
      one.add_seeds(request.seeds(column));
      one.clear_classes();
      one.add_classes()->set_index(column);
      const FakeServer::Rgb color = FakeServer::ColorOf(one);
      int pixels = 0;
      for (size_t i = 0; i < page.rgb.size(); i += 3) {
        pixels +=
            page.rgb[i] == color.r && page.rgb[i + 1] == color.g && page.rgb[i + 2] == color.b;
      }
      EXPECT_EQ(pixels, 128 * 128) << request.ShortDebugString();
    }
  }
}

TEST_F(CommandTest, ASweepOverSolversAndGuidanceNamesItsFilesAfterThem) {
  const auto result = Run("generate", {"--class", "cat", "--seed", "5", "--nfe", "9", "--solver",
                                       "unipc,euler_ancestral", "--guidance", "1,2.5", "--eta",
                                       "0.5", "--out", File("{solver}-{guidance}.png")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(Files(), ElementsAre("euler_ancestral-1.0.png", "euler_ancestral-2.5.png",
                                   "unipc-1.0.png", "unipc-2.5.png"));
  for (const v1::GenerateRequest& request : server_.requests()) {
    const bool ancestral = request.sampler().solver() == v1::SOLVER_EULER_ANCESTRAL;
    EXPECT_EQ(request.sampler().has_step_noise(), ancestral) << request.ShortDebugString();
  }
}

TEST_F(CommandTest, GuidedCallsAreToldApartFromTheirEvaluations) {
  const auto run = [&](const std::string& scale) {
    return Subprocess(Args("generate", {"--seed", "1", "--nfe", "9", "--guidance", scale, "--out",
                                        File("a.png")}),
                      Subprocess::Stderr::kTerminal)
        .Wait();
  };
  EXPECT_THAT(run("2").err, HasSubstr(" s, 9 denoiser calls, 18 evaluations, "));
  EXPECT_THAT(run("1").err, HasSubstr(" s, 9 evaluations, "));
  const auto json = Run("generate", {"--json", "--seed", "1", "--nfe", "9", "--guidance", "2",
                                     "--out", File("a.png")});
  const nlohmann::json summary = nlohmann::json::parse(json.out);
  EXPECT_EQ(summary.at("timings").at("denoiser_calls"), 9);
  EXPECT_EQ(summary.at("timings").at("evaluations"), 18);
  EXPECT_EQ(summary.at("guidance"), nlohmann::json({"2.0"}));
}

TEST_F(CommandTest, JsonIsOneObjectWithEverythingAboutTheRun) {
  const auto result = Run("generate", {"--json", "--seed", "1,2", "--class", "cat", "--nfe", "9",
                                       "--out", File("{seed}.png")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const nlohmann::json summary = nlohmann::json::parse(result.out);
  EXPECT_TRUE(summary.at("ok"));
  EXPECT_EQ(summary.at("files"), nlohmann::json({File("1.png"), File("2.png")}));
  EXPECT_EQ(summary.at("seeds"), nlohmann::json({1, 2}));
  EXPECT_EQ(summary.at("classes"), nlohmann::json({"cat"}));
  EXPECT_EQ(summary.at("nfe"), nlohmann::json({9}));
  EXPECT_EQ(summary.at("rho"), nlohmann::json({"1.0"}));
  EXPECT_EQ(summary.at("server_version"), "9.8.7");
  EXPECT_EQ(summary.at("timings").at("evaluations"), 18);
  EXPECT_EQ(summary.at("resolved_requests").at(0).at("seeds"), nlohmann::json({1, 2}));
  EXPECT_EQ(summary.at("images").at(1).at("seed"), 2);
}

TEST_F(CommandTest, ReplaysTheRequestInAPngByteForByte) {
  ASSERT_EQ(Run("generate", {"--class", "owl", "--seed", "9", "--nfe", "11", "--rho", "0.8",
                             "--out", File("first.png")})
                .exit_code,
            0);
  const auto result =
      Run("generate", {"--request", File("first.png"), "--out", File("second.png")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_EQ(*ReadFile(File("first.png")), *ReadFile(File("second.png")));
  const v1::GenerateRequest replayed = server_.requests().at(1);
  EXPECT_EQ(replayed.model_sha256(), std::string(64, 'a'));
  EXPECT_EQ(replayed.skip_tuning().rho(), 0.8);
}

TEST_F(CommandTest, APngThatBeganWithAImageIsReplayedWithIt) {
  std::string image;
  for (int i = 0; i < 3 << 20; ++i) image += static_cast<char>(i * 31 % 251);
  ASSERT_TRUE(FileWriter().Write(File("picture"), image).ok());
  ASSERT_TRUE(FileWriter().Write(File("mask"), std::string(1024, '\xff')).ok());
  const auto first =
      Run("generate", {"--seed", "1", "--image", File("picture"), "--mask", File("mask"),
                       "--strength", "0.25", "--out", File("first.png")});
  ASSERT_EQ(first.exit_code, 0) << first.err;
  const auto again = Run("generate", {"--request", File("first.png"), "--out", File("second.png")});
  ASSERT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(*ReadFile(File("first.png")), *ReadFile(File("second.png")));
  for (const v1::GenerateRequest& request : server_.requests()) {
    EXPECT_TRUE(request.input_image().picture() == image);
    EXPECT_EQ(request.input_image().mask(), std::string(1024, '\xff'));
    EXPECT_EQ(request.input_image().strength(), 0.25);
  }
}

TEST_F(CommandTest, ReplaysAJsonFile) {
  ASSERT_TRUE(FileWriter().Write(File("r.json"), R"({"seeds":[3],"sampler":{"nfe":9}})").ok());
  const auto result =
      Run("generate", {"--request", File("r.json"), "--out", File("{seed}-{nfe}.png")});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(Files(), ElementsAre("3-9.png", "r.json"));
}

TEST_F(CommandTest, CtrlCCancelsOnTheServerAndExitsWith130) {
  FakeAttempt attempt;
  attempt.images = 1;
  attempt.hang = true;
  server_.Script({attempt});
  Subprocess process(Args("generate", {"--count", "3", "--out", File("{index}.png")}));
  process.WaitForOutput("0.png");
  process.Signal(SIGINT);
  const auto result = process.Wait();
  server_.WaitForCancels(1);
  EXPECT_EQ(result.exit_code, 130);
  EXPECT_THAT(result.err, HasSubstr("interrupted\n1 of 3 images were made\n"));
  EXPECT_THAT(Files(), ElementsAre("0.png"));
}

TEST_F(CommandTest, TheServersRefusalIsReadable) {
  const auto result = Run("generate", {"--class", "cta", "--seed", "1", "--out", File("a.png")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err,
            "error: the server refused the request\n"
            "  classes[0]: must be one of cat, dog, owl, bat or 0 to 3\n");
  EXPECT_EQ(result.out, "");
  EXPECT_TRUE(Files().empty());
}

TEST_F(CommandTest, OneBadRowStopsTheSweepAndTheJsonSaysWhy) {
  FakeAttempt hang;
  hang.images = 0;
  hang.hang = true;
  server_.Script({hang, hang});  // cancelled because the other is refused
  const auto result =
      Run("generate", {"--json", "--nfe", "9,8", "--seed", "1", "--grid", File("sheet.png")});
  EXPECT_EQ(result.exit_code, 1);
  const nlohmann::json summary = nlohmann::json::parse(result.out);
  EXPECT_FALSE(summary.at("ok"));
  EXPECT_EQ(summary.at("error").at("code"), "INVALID_ARGUMENT");
  EXPECT_FALSE(summary.contains("grid"));
  EXPECT_TRUE(Files().empty());
}

TEST_F(CommandTest, AFailedImageFailsTheCommandButTheOthersAreWritten) {
  FakeAttempt attempt;
  attempt.failing_images = {1};
  server_.Script({attempt});
  const auto result = Run("generate", {"--seed", "1-3", "--out", File("{seed}.png")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err, "error: image 1: the image is not finite\n");
  EXPECT_THAT(Files(), ElementsAre("1.png", "3.png"));
}

TEST_F(CommandTest, ATimeoutIsReadable) {
  FakeAttempt attempt;
  attempt.hang = true;
  server_.Script({attempt});
  const auto result = Run("generate", {"--timeout", "0.2", "--seed", "1", "--out", File("a.png")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("error: not done in time (--timeout)"));
}

TEST_F(CommandTest, UsageErrorsExitWith2AndSendNothing) {
  const std::vector<std::vector<std::string>> bad = {{"--seed", "x"},
                                                     {"--no_such_flag"},
                                                     {"--count", "2", "--out", File("one.png")},
                                                     {"--seed", "1,2", "--count", "3"},
                                                     {"--out", File("{sed}.png")},
                                                     {"--grid", File("sheet.jpg")},
                                                     {"--rho", "1", "--preset", "p"},
                                                     {"--solver", "rk4"},
                                                     {"--image", File("")},
                                                     {"--strength", "0.5"}};
  for (const auto& flags : bad) {
    const auto result = Run("generate", flags);
    EXPECT_EQ(result.exit_code, 2) << flags[0];
    EXPECT_THAT(result.err, Not(HasSubstr("terminate"))) << flags[0];
    EXPECT_NE(result.err, "") << flags[0];
  }
  EXPECT_EQ(Subprocess({SKIPSTREAM_COMMAND}).Wait().exit_code, 2);
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(CommandTest, AMissingFolderFailsBeforeAnythingIsSent) {
  const auto result = Run("generate", {"--out", File("none/a.png")});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("does not exist"));
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(CommandTest, AProxyForTheWebIsGonePast) {
  for (const char* variable : {"http_proxy", "https_proxy", "grpc_proxy", "HTTP_PROXY"}) {
    std::vector<std::string> args = {"/usr/bin/env", absl::StrCat(variable, "=http://127.0.0.1:1"),
                                     "SKIPSTREAM_TOKEN=secret"};
    const std::vector<std::string> command = Args("models", {});
    args.insert(args.end(), command.begin(), command.end());
    const auto result = Subprocess(args).Wait();
    EXPECT_EQ(result.exit_code, 0) << variable << result.err;
  }
}

TEST_F(CommandTest, WithoutAServerItSaysHowToStartOne) {
  const auto result = Subprocess({SKIPSTREAM_COMMAND, "models", "--server", "127.0.0.1:1"}).Wait();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("no answer from a server at 127.0.0.1:1"));
  EXPECT_THAT(result.err, HasSubstr("skipstream-server"));
}

TEST_F(CommandTest, ListsAndDescribesModels) {
  EXPECT_THAT(Run("models", {}).out, HasSubstr("fake   32x32            4     16  (default)"));
  const auto model = Run("models", {"fake"});
  EXPECT_THAT(model.out, HasSubstr("0:cat 1:dog 2:owl 3:bat"));
  EXPECT_THAT(model.out, HasSubstr("sharp            NFE 9: rho 0.9"));
  EXPECT_THAT(model.out, HasSubstr("guidance         yes\n"));
  EXPECT_THAT(model.out, HasSubstr("noise levels are rounded to 3 that the model knows"));
  EXPECT_EQ(nlohmann::json::parse(Run("models", {"--json"}).out).at("models").at(0).at("name"),
            "fake");
  const auto unknown = Run("models", {"none"});
  EXPECT_EQ(unknown.exit_code, 1);
  EXPECT_EQ(unknown.err, "error: no such model; there is fake\n");
}

TEST_F(CommandTest, LoadsReplacesAndUnloadsModels) {
  EXPECT_EQ(Run("load", {"x.safetensors"}).out, "mine abc\n");
  const auto replaced = Run("load", {"x.safetensors", "--name", "mine", "--replace"});
  EXPECT_EQ(replaced.out, "mine abc in place of def\n");
  EXPECT_EQ(replaced.exit_code, 0);
  const auto json = nlohmann::json::parse(Run("load", {"x.safetensors", "--json"}).out);
  EXPECT_EQ(json.at("sha256"), "abc");
  const std::vector<v1::LoadRequest> loads = server_.loads();
  ASSERT_EQ(loads.size(), 3u);
  EXPECT_EQ(loads[0].file(), "x.safetensors");
  EXPECT_EQ(loads[0].name(), "");
  EXPECT_FALSE(loads[0].replace());
  EXPECT_EQ(loads[1].name(), "mine");
  EXPECT_TRUE(loads[1].replace());

  const auto absent = Run("load", {"absent.safetensors"});
  EXPECT_EQ(absent.exit_code, 1);
  EXPECT_EQ(absent.err, "error: file: no 'absent.safetensors'\n");

  const auto unloaded = Run("unload", {"mine"});
  EXPECT_EQ(unloaded.exit_code, 0);
  EXPECT_EQ(unloaded.out + unloaded.err, "");
  EXPECT_THAT(server_.unloads(), ElementsAre("mine"));
}

TEST_F(CommandTest, HealthIsTheExitCode) {
  server_.SetServing("readiness", true);
  server_.SetServing("liveness", false);
  EXPECT_EQ(Run("health", {}).exit_code, 0);
  EXPECT_EQ(Run("health", {}).out, "SERVING\n");
  EXPECT_EQ(Run("health", {"--service", "liveness"}).exit_code, 1);
  EXPECT_EQ(Run("health", {"--service", "nothing"}).exit_code, 1);
  EXPECT_EQ(nlohmann::json::parse(Run("health", {"--json"}).out).at("serving"), true);
}

TEST_F(CommandTest, OutputThatIsLostIsAFailureAndIsTold) {
  server_.SetServing("readiness", true);
  const std::vector<std::pair<std::string, std::vector<std::string>>> commands = {
      {"generate", {"--json", "--seed", "1", "--out", File("a.png")}},
      {"generate", {"--seed", "1", "--out", File("a.png")}},
      {"generate", {"--seed", "1", "--out", "-"}},
      {"generate", {"--help"}},
      {"models", {}},
      {"models", {"--json"}},
      {"models", {"fake"}},
      {"load", {"x.safetensors"}},
      {"load", {"x.safetensors", "--json"}},
      {"health", {}},
      {"health", {"--json"}}};
  for (const auto& [command, flags] : commands) {
    for (const char* lost : {">/dev/full", ">&-"}) {
      const auto result = RunInShell(lost, command, flags);
      EXPECT_EQ(result.exit_code, 1) << command << lost;
      EXPECT_THAT(result.err, HasSubstr("error: cannot write standard output: ")) << command;
    }
  }
}

TEST_F(CommandTest, ATokenWhoseEntryIsLostIsNotKept) {
  const std::string command = SKIPSTREAM_COMMAND " token --out " + File("token");
  const auto lost = Subprocess({"/bin/sh", "-c", command + " >/dev/full"}).Wait();
  EXPECT_EQ(lost.exit_code, 1);
  EXPECT_THAT(lost.err, HasSubstr("the token's entry is lost"));
  EXPECT_TRUE(Files().empty());
  const auto unsaid = Subprocess({"/bin/sh", "-c", SKIPSTREAM_COMMAND " token 2>/dev/full"}).Wait();
  EXPECT_EQ(unsaid.exit_code, 1);
  EXPECT_EQ(unsaid.out, "") << "no entry for a token that nobody has";
}

TEST_F(CommandTest, AReaderThatLeavesEndsTheCommandQuietly) {
  // The command starts once the other end of the pipe is closed; a parent ignores the signal.
  const std::string script =
      "trap '' PIPE; mkfifo $0; { cat $0 >/dev/null; \"$@\"; echo $? >&2; } | "
      "{ exec <&-; echo >$0; }";
  std::vector<std::string> args = {"/bin/sh", "-c", script, File("go")};
  const std::vector<std::string> command = Args("models", {});
  args.insert(args.end(), command.begin(), command.end());
  EXPECT_EQ(Subprocess(args).Wait().err, "1\n");
}

TEST_F(CommandTest, StandardOutputByNameHoldsTheImageAlone) {
  // As /dev/stdout is, which root would lose to a command that replaces links.
  std::filesystem::create_symlink("/proc/self/fd/1", File("stdout"));
  for (const std::string& name : {File("stdout"), std::string("/proc/self/fd/1")}) {
    const auto result = Run("generate", {"--seed", "1", "--out", name});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.out.substr(1, 3), "PNG");
    EXPECT_EQ(result.out.substr(result.out.size() - 8, 4), "IEND");
    const auto appended =
        RunInShell(">>" + File("log"), "generate", {"--seed", "1", "--out", name});
    EXPECT_EQ(appended.exit_code, 0) << appended.err;
  }
  EXPECT_EQ(ReadFile(File("log"))->substr(1, 3), "PNG");
  EXPECT_THAT(Files(), ElementsAre("log", "stdout"));
}

TEST_F(CommandTest, AFileThatCannotBeWrittenIsNamed) {
  std::filesystem::create_symlink("/dev/full", File("full.png"));
  for (const char* flag : {"--out", "--grid"}) {
    const auto result = Run("generate", {"--seed", "1", flag, File("full.png")});
    EXPECT_EQ(result.exit_code, 1);
    EXPECT_THAT(result.err, HasSubstr(File("full.png") + ": No space left on device"));
  }
  EXPECT_THAT(Files(), ElementsAre("full.png"));
}

TEST_F(CommandTest, NamesThatAreNoTextDoNotEndJson) {
  const auto image = Run("generate", {"--json", "--seed", "1", "--out", File("caf\xe9.png")});
  EXPECT_EQ(image.exit_code, 0) << image.err;
  EXPECT_EQ(nlohmann::json::parse(image.out).at("files").at(0), File("caf\ufffd.png"));
  const auto sheet = Run("generate", {"--json", "--seed", "1", "--grid", File("\xff.png")});
  EXPECT_EQ(sheet.exit_code, 0) << sheet.err;
  EXPECT_EQ(nlohmann::json::parse(sheet.out).at("grid"), File("\ufffd.png"));
  const auto health = Subprocess({SKIPSTREAM_COMMAND, "health", "--json", "--timeout", "5",
                                  "--server", "unix:/caf\xe9"})
                          .Wait();
  EXPECT_EQ(health.exit_code, 1);
  EXPECT_FALSE(nlohmann::json::parse(health.out).at("serving"));
}

TEST_F(CommandTest, NamesThatAreNoTextAreUsageErrorsAndSendNothing) {
  const std::string name = "caf\xe9";
  const std::vector<std::vector<std::string>> bad = {
      {"generate", "--class", name},
      {"generate", "--model", name},
      {"generate", "--request_id", name},
      {"generate", "--preset", name},
      {"generate", "--guidance", "2", "--guide_model", name},
      {"models", name},
      {"health", "--service", name},
      {"load", name},
      {"load", "x", "--name", name},
      {"unload", name},
      {"token", "--tenant", name}};
  for (const std::vector<std::string>& words : bad) {
    std::vector<std::string> args = {SKIPSTREAM_COMMAND};
    args.insert(args.end(), words.begin(), words.end());
    if (words[0] != "token") args.insert(args.end(), {"--server", server_.target()});
    const auto result = Subprocess(args).Wait();
    EXPECT_EQ(result.exit_code, 2) << words[0] << words[1];
    EXPECT_THAT(result.err, HasSubstr("'caf\\xe9' is not UTF-8"));
    EXPECT_THAT(result.err, Not(HasSubstr("libprotobuf")));
  }
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(CommandTest, WhatIsNoNumberIsAUsageError) {
  for (const char* flag : {"--timeout",
                           "--strength",
                           "--rho",
                           "--rho_list",
                           "--rho_bottom",
                           "--rho_top",
                           "--guidance",
                           "--guidance_interval",
                           "--noise_window",
                           "--noise_knots",
                           "--rows",
                           "--sigma_min",
                           "--sigma_max",
                           "--sigmas",
                           "--conditioning_sigmas",
                           "--schedule_exponent",
                           "--s_churn",
                           "--s_min",
                           "--s_max",
                           "--eta",
                           "--s_noise",
                           "--consistency_sigma_min"}) {
    for (const char* value : {"nan", "1e999"}) {
      const auto result = Run("generate", {flag, value, "--seed", "1", "--out", File("a.png")});
      EXPECT_EQ(result.exit_code, 2) << flag << value;
      EXPECT_THAT(result.err, HasSubstr(flag));
    }
  }
  for (const char* command : {"models", "health"}) {
    const auto result = Run(command, {"--timeout", "nan"});
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_THAT(result.err, HasSubstr("--timeout: 'nan' is not a number"));
  }
  EXPECT_TRUE(server_.requests().empty());
}

TEST_F(CommandTest, AnExceptionIsOneLineAndAFailure) {
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
  GTEST_SKIP() << "sanitizers reserve more memory than the limit";
#endif
  std::string classes = "0";
  for (int i = 1; i < 1000; ++i) absl::StrAppend(&classes, ",", i);
  const auto result =
      Subprocess({"/bin/sh", "-c", "ulimit -v 1000000; exec \"$@\"", "sh", SKIPSTREAM_COMMAND,
                  "generate", "--seed", "1-65536", "--class", classes})
          .Wait();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err, "error: std::bad_alloc\n");
}

TEST_F(CommandTest, ATimeoutBeyondAllClocksIsNone) {
  for (const char* timeout : {"1e10", "1e300"}) {
    const auto result =
        Run("generate", {"--timeout", timeout, "--seed", "1", "--out", File("a.png")});
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
}

TEST_F(CommandTest, WhatAServerSaysIsShownAndNotObeyed) {
  const auto card = Run("models", {"hostile"});
  EXPECT_THAT(card.out, HasSubstr("license          \\x1b]0;owned\\x07\\x1b[2J\\nlimits\n"));
  EXPECT_THAT(card.out, HasSubstr("0:gnp.\\u202etac 1:caf\u00e9"));
  EXPECT_THAT(card.out, HasSubstr("  a\\rb "));
  const auto json = Run("models", {"hostile", "--json"});
  EXPECT_THAT(json.out, Not(HasSubstr("\u202e")));
  EXPECT_EQ(nlohmann::json::parse(json.out).at("class_names").at(0), "gnp.\u202etac");
  EXPECT_EQ(Run("models", {"refused"}).err, "error: no\\x1b[2J\\nerror: such\n");
  EXPECT_THAT(Run("generate", {"--no\x1b[2J"}).err, Not(HasSubstr("\x1b")));
}

TEST_F(CommandTest, AStepOfTheWallClockChangesNothing) {
#if defined(ABSL_HAVE_ADDRESS_SANITIZER) || defined(ABSL_HAVE_THREAD_SANITIZER)
  GTEST_SKIP() << "sanitizers want to be loaded first";
#endif
  for (const int64_t step : {3600, -3600}) {
    const auto set_offset = [this](int64_t seconds) {
      std::ofstream(File("offset"), std::ios::binary | std::ios::in | std::ios::out)
          .write(reinterpret_cast<const char*>(&seconds), sizeof seconds);
    };
    ASSERT_TRUE(FileWriter().Write(File("offset"), std::string(8, '\0')).ok());
    const size_t before = server_.requests().size();
    server_.HoldUntilRunning(2);
    std::vector<std::string> args = {"/usr/bin/env", "LD_PRELOAD=" STEPPED_CLOCK_LIBRARY,
                                     // For builds with AddressSanitizer, which would come first.
                                     "ASAN_OPTIONS=verify_asan_link_order=0",
                                     "STEPPED_CLOCK=" + File("offset")};
    const auto command =
        Args("generate", {"--json", "--nfe", "1,3", "--seed", "1", "--max_concurrent", "1",
                          "--timeout", "1000", "--out", File("{nfe}.png")});
    args.insert(args.end(), command.begin(), command.end());
    Subprocess process(args);
    server_.WaitForRequests(static_cast<int>(before) + 1);
    set_offset(step);
    server_.HoldUntilRunning(1);
    EXPECT_EQ(Run("generate", {"--seed", "1", "--out", File("other.png")}).exit_code, 0);
    const auto result = process.Wait();
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const double seconds = nlohmann::json::parse(result.out).at("timings").at("wall_seconds");
    EXPECT_GE(seconds, 0);
    EXPECT_LT(seconds, 1000);
  }
}

TEST_F(CommandTest, HelpAndVersionExitWith0) {
  EXPECT_EQ(Subprocess({SKIPSTREAM_COMMAND, "--version"}).Wait().out,
            "skipstream " SKIPSTREAM_VERSION "\n");
  const auto help = Subprocess({SKIPSTREAM_COMMAND, "generate", "--help"}).Wait();
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_THAT(help.out, HasSubstr("Examples:"));
}

TEST(InterruptTest, WhatWasBegunIsRemovedBeforeTheSecondCtrlCExits) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        BlockInterrupts();
        InterruptWatcher watcher([](int) { kill(getpid(), SIGINT); },
                                 [] { std::cerr << "removed"; });
        kill(getpid(), SIGINT);
        for (;;) pause();
      },
      ::testing::ExitedWithCode(130), "removed");
}

TEST(InterruptTest, TheSecondCtrlCExitsAtOnce) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        BlockInterrupts();
        InterruptWatcher watcher([](int) { kill(getpid(), SIGINT); });
        kill(getpid(), SIGINT);
        for (;;) pause();
      },
      ::testing::ExitedWithCode(130), "");
}

}  // namespace
}  // namespace skipstream::cli
