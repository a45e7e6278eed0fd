#include <unistd.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <string>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"
#include "base/files.h"
#include "client/cc/pending_images.h"
#include "client/cli/commands/commands.h"
#include "client/cli/commands/generate_flags.h"
#include "client/cli/commands/generate_job.h"
#include "client/cli/commands/image_record.h"
#include "client/cli/commands/interrupt.h"
#include "client/cli/commands/request_runner.h"
#include "client/cli/output/message_json.h"
#include "client/cli/output/output.h"
#include "client/cli/output/progress_bar.h"
#include "client/cli/output/text.h"
#include "client/cli/output/user_errors.h"

namespace skipstream::cli {
namespace {

constexpr char kFooter[] = R"(
A list for --nfe, --rho, --guidance, --solver, --seed or --class makes a sweep: rows are NFE x rho x
guidance x solver, columns are class x seed, and --grid makes a labelled sheet of it. As many seeds
as classes are paired (a column has one class and one seed). In a sweep over solvers, options of
some solvers go to those.

Examples:
  skipstream generate --class cat --seed 7 --out cat.png
  skipstream generate --class cat --count 16 --grid cats.png
  skipstream generate --class cat,dog,owl --seed 1 --nfe 9,35 --rho 0.9,1.0 --grid sheet.png
  skipstream generate --class cat,owl --seed 1,2 --rows 9:0.9,9:1.0,35:1.0 --grid sheet.png
  skipstream generate --class cat --seed 1-4 --nfe 9 --solver heun,dpmpp_3m,unipc --grid sheet.png
  skipstream generate --class dog --seed 7 --image cat.png --strength 0.7 --out dog.png
  skipstream generate --request cat.png --out again.png
)";

constexpr int kDefaultNfe = 19;  // of the API; only an estimate until the server says
constexpr absl::Duration kRedraw = absl::Milliseconds(100);

// A guided denoiser call is two evaluations: then both numbers. A server that does not count calls
// reports none.
std::string DescribeCost(int64_t evaluations, int64_t denoiser_calls) {
  if (denoiser_calls == 0 || denoiser_calls == evaluations) {
    return absl::StrCat(evaluations, " evaluations");
  }
  return absl::StrCat(denoiser_calls, " denoiser calls, ", evaluations, " evaluations");
}

// Turns events into files, records and a progress bar.
class Collector : public RunListener {
 public:
  Collector(const GenerateFlags& flags, const GenerateJob& job, const OutputPlan& output)
      : flags_(flags), job_(job), output_(output), bar_(STDERR_FILENO, !flags.quiet) {
    for (const PlannedRequest& planned : job.requests) {
      const v1::Sampler& sampler = planned.request.sampler();
      const int64_t nfe = sampler.has_nfe() ? sampler.nfe() : kDefaultNfe;
      evaluations_.push_back({0, client::ImageCount(planned.request) * nfe});
    }
  }

  void OnProgress(size_t request, const v1::Progress& progress) override {
    evaluations_[request] = {progress.request_evaluations_done(),
                             progress.request_evaluations_total()};
  }

  absl::Status OnPreview(size_t request, const v1::Preview& preview) override {
    if (output_.preview_dir.empty()) return absl::OkStatus();
    const PlannedRequest& planned = job_.requests[request];
    const int index = job_.ImageIndex(planned.row, planned.first_column + preview.image_index());
    constexpr const char* kExtensions[] = {"png", "png", "webp", "raw"};
    const int format = preview.picture().format();
    return files_.Write(
        absl::StrFormat("%s/preview-%04d-%04d.%s", output_.preview_dir, index,
                        preview.evaluations_done(), kExtensions[format < 4 ? format : 0]),
        preview.picture().data());
  }

  absl::Status OnImage(size_t request, const v1::Image& image) override {
    const PlannedRequest& planned = job_.requests[request];
    if (image.image_index() < 0 || image.image_index() >= client::ImageCount(planned.request)) {
      return absl::DataLossError(
          absl::StrCat("the server sent an image nobody asked for, number ", image.image_index()));
    }
    ImageRecord record;
    record.row = planned.row;
    record.column = planned.first_column + image.image_index();
    record.image = image;
    record.image.mutable_picture()->clear_data();
    record.image.mutable_resolved_request()->clear_input_image();
    record.rho = DescribeRho(planned.request.skip_tuning());
    if (!output_.grid.empty()) {
      absl::StatusOr<Bitmap> bitmap = DecodeImage(image.picture());
      if (!bitmap.ok()) return bitmap.status();
      record.bitmap = *std::move(bitmap);
    }
    if (absl::Status status = Write(record, image.picture().data()); !status.ok()) return status;
    records_.images[job_.ImageIndex(record.row, record.column)] = std::move(record);
    return absl::OkStatus();
  }

  void OnImageFailure(size_t request, const v1::ImageFailure& failure) override {
    const PlannedRequest& planned = job_.requests[request];
    records_.failures.push_back(
        {planned.row, planned.first_column + failure.image_index(), failure.message()});
  }

  void OnRetry(const absl::Status& why, absl::Duration wait) override {
    if (!bar_.visible()) return;
    bar_.Clear();
    std::cerr << "trying again in "
              << absl::FormatDuration(absl::Trunc(wait, absl::Milliseconds(1))) << ": "
              << Printable(why.message()) << "\n";
  }

  void OnTick() override {
    ProgressState state;
    state.images_done = static_cast<int>(records_.images.size());
    state.images_total = job_.num_images();
    for (const auto& [done, total] : evaluations_) {
      state.evaluations_done += done;
      state.evaluations_total += total;
    }
    state.elapsed = Elapsed();
    bar_.Draw(state);
  }

  // After the run: sheet, summary, messages. Returns the exit code of an uninterrupted run.
  int Finish(const RunOutcome& outcome);

  // Removes what a Write() has begun. Any thread.
  void Abandon() { files_.Abandon(); }

  absl::Duration tick() const { return bar_.visible() ? kRedraw : absl::InfiniteDuration(); }

 private:
  absl::Status Write(ImageRecord& record, const std::string& data) {
    if (output_.to_stdout) return WriteOutput(data);
    if (output_.pattern.empty()) return absl::OkStatus();
    record.file = ExpandPattern(output_.pattern, ValuesOf(record, job_));
    if (absl::Status status = files_.Write(record.file, data); !status.ok()) return status;
    Announce(record.file);
    return absl::OkStatus();
  }

  // A program that reads the names gets their bytes; a person at a terminal sees them escaped.
  void Announce(const std::string& file) {
    if (flags_.quiet || flags_.json || IsStandardOutput(file.c_str())) return;
    bar_.Clear();
    const std::string shown = isatty(STDOUT_FILENO) ? Printable(file) : file;
    printed_.Update(WriteOutput(shown + "\n"));
  }

  absl::Duration Elapsed() const {
    return absl::FromChrono(std::chrono::steady_clock::now() - start_);
  }

  absl::Status WriteSheet() {
    if (output_.grid.empty() || records_.images.empty()) return absl::OkStatus();
    absl::StatusOr<std::string> png =
        EncodePng(RenderContactSheet(MakeSheet(job_, records_, flags_.title)));
    if (!png.ok()) return png.status();
    if (absl::Status status = files_.Write(output_.grid, *png); !status.ok()) return status;
    Announce(output_.grid);
    return absl::OkStatus();
  }

  const GenerateFlags& flags_;
  const GenerateJob& job_;
  const OutputPlan& output_;
  ProgressBar bar_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  FileWriter files_;
  absl::Status printed_;  // what became of the names of files
  GenerateRecords records_;
  std::vector<std::pair<int64_t, int64_t>> evaluations_;  // done and total, by request
};

int Collector::Finish(const RunOutcome& outcome) {
  bar_.Clear();
  const absl::Duration wall_time = Elapsed();
  int64_t evaluations = 0;
  int64_t denoiser_calls = 0;
  for (const auto& completed : outcome.completed) {
    if (!completed) continue;
    evaluations += completed->evaluations();
    denoiser_calls += completed->denoiser_calls();
    records_.completed.push_back(*completed);
  }
  absl::Status status = outcome.status;
  if (status.ok()) status = WriteSheet();
  if (flags_.json) {
    printed_.Update(WriteOutput(
        DumpJson(MakeSummary(job_, records_, status.ok() ? output_.grid : "", wall_time, status))));
  }
  for (const FailureRecord& failure : records_.failures) {
    std::cerr << "error: image " << job_.ImageIndex(failure.row, failure.column) << ": "
              << Printable(failure.message) << "\n";
  }
  if (!printed_.ok()) ReportLostOutput(printed_);
  const int made = static_cast<int>(records_.images.size());
  if (!status.ok()) {
    std::cerr << (absl::IsCancelled(status) ? "interrupted\n"
                                            : ExplainError(status, flags_.connection.server));
    if (made > 0) std::cerr << made << " of " << job_.num_images() << " images were made\n";
    return kExitFailure;
  }
  if (bar_.visible()) {
    const double seconds = absl::ToDoubleSeconds(wall_time);
    std::cerr << absl::StrFormat("%d images in %.1f s, %s, %.0f/s\n", made, seconds,
                                 DescribeCost(evaluations, denoiser_calls),
                                 static_cast<double>(evaluations) / seconds);
  }
  return printed_.ok() && made == job_.num_images() ? kExitOk : kExitFailure;
}

int RunGenerate(const GenerateFlags& flags) {
  const client::Deadline deadline = client::Deadline::In(
      flags.timeout_seconds > 0 ? absl::Seconds(flags.timeout_seconds) : absl::InfiniteDuration());
  absl::BitGen random;
  const absl::StatusOr<GenerateJob> job =
      PlanJob(flags, [&random] { return absl::Uniform<uint32_t>(random); });
  if (!job.ok()) return ReportFlagError(job.status());
  const absl::StatusOr<OutputPlan> output = PlanOutput(flags, *job);
  if (!output.ok()) return ReportFlagError(output.status());

  const absl::StatusOr<client::Client::Options> connection = ClientOptionsOf(flags.connection);
  if (!connection.ok()) return ReportFlagError(connection.status());

  BlockInterrupts();
  client::Client client(*connection);
  EventLoop loop;
  Collector collector(flags, *job, *output);
  RequestRunner::Options options;
  options.max_concurrent = flags.max_concurrent;
  options.deadline = deadline;
  options.tick = collector.tick();
  RequestRunner runner(client, loop, collector, options);

  int interrupted_by = 0;
  const InterruptWatcher interrupts(
      [&](int signal) {
        loop.Post([&, signal] {
          interrupted_by = signal;
          runner.Cancel();
        });
      },
      [&collector] { collector.Abandon(); });
  std::vector<v1::GenerateRequest> requests;
  for (const PlannedRequest& planned : job->requests) requests.push_back(planned.request);
  const int exit_code = collector.Finish(runner.Run(requests));
  return interrupted_by != 0 ? 128 + interrupted_by : exit_code;
}

}  // namespace

Command AddGenerateCommand(CLI::App& app) {
  auto flags = std::make_shared<GenerateFlags>();
  CLI::App* command = app.add_subcommand("generate", "Make images and save them");
  AddGenerateFlags(*command, *flags);
  command->footer(kFooter);
  return [flags] { return RunGenerate(*flags); };
}

}  // namespace skipstream::cli
