#include "client/cli/commands/generate_job.h"

#include <filesystem>
#include <random>
#include <set>
#include <system_error>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/files.h"
#include "client/cc/pending_images.h"
#include "client/cc/request_id.h"
#include "client/cli/flags/request_file.h"
#include "client/cli/output/enum_words.h"

namespace skipstream::cli {
namespace {

// Large enough that a request costs nothing beside its images, small enough for any server's limit.
constexpr int kImagesPerRequest = 16;
// Limits an init image or mask: a larger file does not fit into a request.
constexpr uint64_t kMaxInputBytes = 4 << 20;

absl::StatusOr<GenerateJob> PlanReplay(const std::string& file) {
  absl::StatusOr<v1::GenerateRequest> request = LoadRequest(file);
  if (!request.ok()) return request.status();
  const int64_t count = client::ImageCount(*request);
  if (count < 1 || count > 65536) {
    return absl::InvalidArgumentError(absl::StrCat(file, ": asks for ", count, " images"));
  }
  GenerateJob job;
  job.sweep.rows.resize(1);
  job.sweep.columns.resize(static_cast<size_t>(count));
  for (int i = 0; i < request->seeds_size() && i < count; ++i) {
    job.sweep.columns[i].seed = request->seeds(i);
  }
  job.requests.push_back({*std::move(request), 0, 0});
  return job;
}

absl::StatusOr<std::string> ReadImage(const char* flag, const std::string& file) {
  absl::StatusOr<std::string> data = ReadFile(file, kMaxInputBytes);
  if (!data.ok()) {
    return absl::Status(data.status().code(), absl::StrCat(flag, ": ", data.status().message()));
  }
  // The server would take a field without bytes for one without an image.
  if (data->empty()) return absl::InvalidArgumentError(absl::StrCat(flag, ": ", file, " is empty"));
  return data;
}

// The flags' common request with the images that they name.
absl::StatusOr<v1::GenerateRequest> BaseRequest(const GenerateFlags& flags) {
  v1::GenerateRequest base = flags.base;
  if (!flags.image_file.empty()) {
    absl::StatusOr<std::string> image = ReadImage("--image", flags.image_file);
    if (!image.ok()) return image.status();
    base.mutable_input_image()->set_picture(*std::move(image));
  }
  if (!flags.mask_file.empty()) {
    absl::StatusOr<std::string> mask = ReadImage("--mask", flags.mask_file);
    if (!mask.ok()) return mask.status();
    base.mutable_input_image()->set_mask(*std::move(mask));
  }
  return base;
}

std::string Extension(v1::ImageFormat format) {
  switch (format) {
    case v1::IMAGE_FORMAT_WEBP:
      return ".webp";
    case v1::IMAGE_FORMAT_RAW:
      return ".raw";
    default:
      return ".png";
  }
}

std::string DefaultPattern(const GenerateJob& job) {
  const std::string extension = Extension(job.requests[0].request.output().format());
  const bool several_rows = job.sweep.rows.size() > 1;
  const bool guided = job.requests[0].request.has_guidance();
  return absl::StrCat("{class}-{seed}", several_rows ? "-nfe{nfe}-rho{rho}-{solver}" : "",
                      several_rows && guided ? "-guidance{guidance}" : "", extension);
}

// Returns the values that are known of an image before it is made. They are the same for two images
// only if their files would be.
PatternValues ExpectedValues(const GenerateJob& job, const PlannedRequest& planned, int column) {
  const ColumnSpec& spec = job.sweep.columns[column];
  PatternValues values;
  values.index = job.ImageIndex(planned.row, column);
  values.num_images = job.num_images();
  values.seed = spec.seed;
  if (spec.class_selector) {
    const v1::ClassSelector& selector = *spec.class_selector;
    values.class_name = selector.has_name() ? selector.name() : absl::StrCat(selector.index());
  }
  values.nfe = planned.request.sampler().nfe();
  values.rho = DescribeRho(planned.request.skip_tuning());
  values.guidance = DescribeGuidance(planned.request.guidance());
  values.solver = ToWord(planned.request.sampler().solver());
  return values;
}

absl::Status CheckFileNames(const std::string& pattern, const GenerateJob& job) {
  if (absl::Status status = ValidatePattern(pattern); !status.ok()) return status;
  std::set<std::string> names;
  for (const PlannedRequest& planned : job.requests) {
    const int images = static_cast<int>(client::ImageCount(planned.request));
    for (int i = 0; i < images; ++i) {
      const std::string name =
          ExpandPattern(pattern, ExpectedValues(job, planned, planned.first_column + i));
      if (absl::Status status = CheckFolderOf(name); !status.ok()) return status;
      if (!names.insert(name).second) {
        return absl::InvalidArgumentError(
            absl::StrCat("two images would be written to one file by the pattern ", pattern,
                         ": add {index}, or ask for a sheet with --grid FILE.png"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status PlanPreviews(const GenerateFlags& flags, const GenerateJob& job, OutputPlan& plan) {
  const bool wanted = job.requests[0].request.output().preview_every() > 0;
  if (wanted && flags.preview_dir.empty() && flags.request_file.empty()) {
    return absl::InvalidArgumentError("--preview_every needs --preview_dir");
  }
  if (!wanted && !flags.preview_dir.empty()) {
    return absl::InvalidArgumentError("--preview_dir needs --preview_every");
  }
  std::error_code error;
  if (!flags.preview_dir.empty() && !std::filesystem::is_directory(flags.preview_dir, error)) {
    return absl::NotFoundError(absl::StrCat("the folder ", flags.preview_dir, " does not exist"));
  }
  plan.preview_dir = flags.preview_dir;
  return absl::OkStatus();
}

absl::StatusOr<GenerateJob> PlanSweep(const GenerateFlags& flags,
                                      absl::FunctionRef<uint32_t()> draw_seed) {
  // With an id the seeds follow from it: the same command is the same request.
  std::mt19937 seeds_of_id = client::SeedSourceOf(flags.request_id);
  const auto draw_from_id = [&] { return static_cast<uint32_t>(seeds_of_id()); };
  absl::StatusOr<Sweep> sweep = flags.request_id.empty() ? ExpandSweep(flags.axes, draw_seed)
                                                         : ExpandSweep(flags.axes, draw_from_id);
  if (!sweep.ok()) return sweep.status();
  const absl::StatusOr<v1::GenerateRequest> base = BaseRequest(flags);
  if (!base.ok()) return base.status();
  GenerateJob job;
  job.sweep = *std::move(sweep);
  job.requests = PlanRequests(job.sweep, *base, kImagesPerRequest);
  return job;
}

}  // namespace

absl::StatusOr<GenerateJob> PlanJob(const GenerateFlags& flags,
                                    absl::FunctionRef<uint32_t()> draw_seed) {
  absl::StatusOr<GenerateJob> job =
      flags.request_file.empty() ? PlanSweep(flags, draw_seed) : PlanReplay(flags.request_file);
  if (!job.ok() || flags.request_id.empty()) return job;
  for (size_t i = 0; i < job->requests.size(); ++i) {
    job->requests[i].request.set_request_id(
        job->requests.size() == 1 ? flags.request_id : absl::StrCat(flags.request_id, "-", i + 1));
  }
  return job;
}

absl::StatusOr<OutputPlan> PlanOutput(const GenerateFlags& flags, const GenerateJob& job) {
  OutputPlan plan;
  plan.grid = flags.grid;
  const bool one_plain_name = !flags.out.empty() && !HasPlaceholders(flags.out);
  if (flags.out == "-") {
    if (job.num_images() != 1) {
      return absl::InvalidArgumentError("--out - takes a single image: one class, seed, NFE, rho");
    }
    if (flags.json) return absl::InvalidArgumentError("--out - and --json both want the output");
    plan.to_stdout = true;
  } else if (one_plain_name && job.num_images() > 1) {
    if (!job.sweep.is_sweep || !flags.grid.empty() || !absl::EndsWith(flags.out, ".png")) {
      return absl::InvalidArgumentError(absl::StrCat(
          "--out ", flags.out, " names one file, but ", job.num_images(),
          " images are made: use a pattern such as image-{index}.png, or --grid FILE.png"));
    }
    plan.grid = flags.out;
  } else if (!flags.out.empty()) {
    plan.pattern = flags.out;
  } else if (flags.grid.empty()) {
    plan.pattern = DefaultPattern(job);
  }

  if (!plan.pattern.empty()) {
    if (absl::Status status = CheckFileNames(plan.pattern, job); !status.ok()) return status;
  }
  if (!plan.grid.empty()) {
    if (!absl::EndsWith(plan.grid, ".png")) {
      return absl::InvalidArgumentError(
          absl::StrCat("--grid ", plan.grid, ": a sheet is a PNG, call it .png"));
    }
    if (absl::Status status = CheckFolderOf(plan.grid); !status.ok()) return status;
  }
  if (absl::Status status = PlanPreviews(flags, job, plan); !status.ok()) return status;
  return plan;
}

}  // namespace skipstream::cli
