#include "bench/overhead/overhead_bench.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/image/image_encoder.h"
#include "model/diffusion/sampler.h"
#include "model/execution/executor_options.h"

namespace skipstream::bench {
namespace {

constexpr absl::Duration kWarmUp = absl::Seconds(3);

absl::StatusOr<SamplingPlan> HeunPlan(int nfe, const NetworkInfo& network) {
  const absl::StatusOr<int> n = LevelsForNfe(Solver::kHeun, FinalLevel::kZero, nfe);
  if (!n.ok()) return n.status();
  // The defaults of a request.
  const absl::StatusOr<SigmaLevels> levels = SpacedLevels(KarrasSpacing{}, *n, 0.002, 80.0);
  if (!levels.ok()) return levels.status();
  SamplingParams params;
  params.solver = Solver::kHeun;
  params.levels = *levels;
  params.num_skips = network.num_skips;
  params.parametrization = network.parametrization;
  return CompilePlan(params);
}

double SecondsSince(absl::Time start) { return absl::ToDoubleSeconds(absl::Now() - start); }

// 1/255 of rounding apart, as a sample may differ with what shares its batch.
bool AreSame(const Image& pixels, const std::string& raw) {
  return std::equal(pixels.data.begin(), pixels.data.end(), raw.begin(), raw.end(),
                    [](uint8_t a, char b) { return std::abs(a - static_cast<uint8_t>(b)) <= 1; });
}

}  // namespace

absl::StatusOr<std::unique_ptr<OverheadBench>> OverheadBench::Create(const Options& options) {
  auto bench = std::unique_ptr<OverheadBench>(new OverheadBench(options));
  if (absl::Status status = bench->Start(); !status.ok()) return status;
  return bench;
}

absl::Status OverheadBench::Start() {
  const ExecutorOptions executor_options = {.max_batch = options_.max_samples,
                                            .num_slots = options_.max_samples,
                                            .threads = options_.threads};
  for (auto* executor : {&loop_executor_, &server_executor_}) {
    absl::StatusOr<std::unique_ptr<Executor>> created = CreateCpuExecutor(executor_options);
    if (!created.ok()) return created.status();
    *executor = *std::move(created);
  }

  loop_ = std::make_unique<PlainLoop>(*loop_executor_);
  const absl::StatusOr<NetworkId> network = loop_executor_->LoadNetwork(options_.model);
  if (!network.ok()) return network.status();
  loop_network_ = *network;
  if (auto profile = loop_executor_->WarmUp(loop_network_, kWarmUp); !profile.ok()) {
    return profile.status();
  }

  absl::StatusOr<std::unique_ptr<LoopbackServer>> server =
      LoopbackServer::Start(*server_executor_, options_.model, kWarmUp);
  if (!server.ok()) return server.status();
  server_ = *std::move(server);

  const NetworkInfo info = loop_executor_->GetNetworkInfo(loop_network_);
  absl::StatusOr<SamplingPlan> plan = HeunPlan(options_.nfe, info);
  if (!plan.ok()) return plan.status();
  plan_ = std::make_shared<const SamplingPlan>(*std::move(plan));
  for (int i = 0; i < options_.max_samples; ++i) {
    samples_.push_back({.seed = static_cast<uint64_t>(i),
                        .class_index = info.num_classes > 0 ? i % info.num_classes : -1});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Image>> OverheadBench::GenerateInLoop(int samples) {
  return loop_->Generate(loop_network_, plan_, {samples_.begin(), samples_.begin() + samples});
}

absl::StatusOr<std::vector<LoopbackServer::Reply>> OverheadBench::GenerateOnServer(
    int samples, LoopbackServer::Format format) {
  std::vector<LoopbackServer::Request> requests;
  for (int i = 0; i < samples; ++i) {
    requests.push_back({.nfe = options_.nfe,
                        .seed = static_cast<uint32_t>(samples_[i].seed),
                        .class_index = samples_[i].class_index,
                        .format = format});
  }
  return server_->Generate(requests);
}

absl::Status OverheadBench::CheckSameImages() {
  const auto loop = GenerateInLoop(options_.max_samples);
  if (!loop.ok()) return loop.status();
  const auto server = GenerateOnServer(options_.max_samples, LoopbackServer::Format::kRaw);
  if (!server.ok()) return server.status();
  for (size_t i = 0; i < loop->size(); ++i) {
    if (!AreSame((*loop)[i], (*server)[i].image)) {
      return absl::InternalError(
          absl::StrCat("image ", i, " of the server is not that of the plain loop"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<Timings> OverheadBench::Measure(int samples, int repeats) {
  Timings timings;
  for (int repeat = -1; repeat < repeats; ++repeat) {
    Timings discarded;
    Timings& kept = repeat < 0 ? discarded : timings;
    // Who goes first alternates, so that neither is always the one after the other.
    const bool loop_first = repeat % 2 == 0;
    if (loop_first) {
      if (absl::Status status = TimeLoop(samples, kept); !status.ok()) return status;
    }
    if (absl::Status status = TimeServer(samples, kept); !status.ok()) return status;
    if (!loop_first) {
      if (absl::Status status = TimeLoop(samples, kept); !status.ok()) return status;
    }
  }
  return timings;
}

absl::Status OverheadBench::TimeLoop(int samples, Timings& timings) {
  const absl::Time start = absl::Now();
  const auto images = GenerateInLoop(samples);
  if (!images.ok()) return images.status();
  timings.loop.push_back(SecondsSince(start));
  for (const Image& pixels : *images) {
    const auto image = EncodeImage(pixels, ImageFormat::kPng, /*scale=*/1, {});
    if (!image.ok()) return image.status();
  }
  timings.loop_and_png.push_back(SecondsSince(start));
  return absl::OkStatus();
}

absl::Status OverheadBench::TimeServer(int samples, Timings& timings) {
  const absl::Time start = absl::Now();
  const auto replies = GenerateOnServer(samples, LoopbackServer::Format::kPng);
  if (!replies.ok()) return replies.status();
  timings.server.push_back(SecondsSince(start));
  const auto first = std::min_element(
      replies->begin(), replies->end(),
      [](const auto& a, const auto& b) { return a.to_first_image < b.to_first_image; });
  timings.first_image.push_back(absl::ToDoubleSeconds(first->to_first_image));
  return absl::OkStatus();
}

}  // namespace skipstream::bench
