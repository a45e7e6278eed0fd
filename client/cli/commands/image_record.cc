#include "client/cli/commands/image_record.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/cli/output/enum_words.h"
#include "client/cli/output/message_json.h"

namespace skipstream::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr size_t kMaxTitle = 80;  // of the letters that a server may put there

std::string SolverOf(const ImageRecord& record) {
  return ToWord(record.image.resolved_request().sampler().solver());
}

std::string GuidanceOf(const ImageRecord& record) {
  return DescribeGuidance(record.image.resolved_request().guidance());
}

std::set<std::string> SolversOf(const GenerateRecords& records) {
  std::set<std::string> solvers;
  for (const auto& [index, record] : records.images) solvers.insert(SolverOf(record));
  return solvers;
}

// Selects the parts of the row labels besides the NFE.
struct RowLabelParts {
  bool rho = false;
  bool guidance = false;
  bool solver = false;
};

std::vector<std::string> RowLabel(const ImageRecord& record, const RowLabelParts& parts) {
  std::vector<std::string> lines = {
      absl::StrCat("NFE ", record.image.resolved_request().sampler().nfe())};
  if (parts.rho) lines.push_back(absl::StrCat("rho ", record.rho));
  if (parts.guidance) lines.push_back(absl::StrCat("guidance ", GuidanceOf(record)));
  if (parts.solver) lines.push_back(SolverOf(record));
  return lines;
}

Json ImageToJson(const ImageRecord& record, int index) {
  const v1::Image& image = record.image;
  Json json = {{"index", index}, {"row", record.row}, {"column", record.column}};
  if (!record.file.empty()) json["file"] = record.file;
  json["seed"] = image.seed();
  if (image.has_class_index()) {
    json["class_index"] = image.class_index();
    json["class"] = ClassLabel(image);
  }
  json["nfe"] = image.resolved_request().sampler().nfe();
  json["rho"] = record.rho;
  json["guidance"] = GuidanceOf(record);
  json["solver"] = SolverOf(record);
  json["queue_seconds"] = image.queue_seconds();
  json["run_seconds"] = image.run_seconds();
  return json;
}

// Each value once, in the order of the images.
Json DistinctValues(const Json& images, const char* key) {
  Json values = Json::array();
  for (const Json& image : images) {
    const Json value = image.value(key, Json());
    if (!value.is_null() && std::find(values.begin(), values.end(), value) == values.end()) {
      values.push_back(value);
    }
  }
  return values;
}

}  // namespace

std::string ClassLabel(const v1::Image& image) {
  if (!image.class_name().empty()) return image.class_name();
  return image.has_class_index() ? absl::StrCat(image.class_index()) : "none";
}

PatternValues ValuesOf(const ImageRecord& record, const GenerateJob& job) {
  PatternValues values;
  values.index = job.ImageIndex(record.row, record.column);
  values.num_images = job.num_images();
  values.seed = record.image.seed();
  values.class_name = ClassLabel(record.image);
  values.nfe = record.image.resolved_request().sampler().nfe();
  values.rho = record.rho;
  values.guidance = GuidanceOf(record);
  values.solver = SolverOf(record);
  return values;
}

ContactSheet MakeSheet(const GenerateJob& job, const GenerateRecords& records,
                       const std::string& title) {
  ContactSheet sheet;
  sheet.title = title;
  if (!job.sweep.is_sweep) {
    std::vector<Bitmap> images;
    for (const auto& [index, record] : records.images) images.push_back(record.bitmap);
    sheet.cells = ArrangeInSquare(std::move(images));
    return sheet;
  }

  const size_t columns = job.sweep.columns.size();
  sheet.cells.assign(job.sweep.rows.size(), std::vector<Bitmap>(columns));
  sheet.row_labels.resize(job.sweep.rows.size());
  sheet.column_labels.resize(columns);
  const std::set<std::string> solvers = SolversOf(records);
  RowLabelParts parts;
  parts.solver = solvers.size() > 1;
  for (const PlannedRequest& planned : job.requests) {
    parts.rho |= planned.request.skip_tuning().depth_case() != v1::SkipTuning::DEPTH_NOT_SET;
    parts.guidance |= planned.request.guidance().has_scale();
  }
  for (const auto& [index, record] : records.images) {
    sheet.cells[record.row][record.column] = record.bitmap;
    sheet.row_labels[record.row] = RowLabel(record, parts);
    std::vector<std::string> lines;
    if (record.image.has_class_index()) lines.push_back(ClassLabel(record.image));
    lines.push_back(absl::StrCat("seed ", record.image.seed()));
    sheet.column_labels[record.column] = std::move(lines);
  }
  if (title.empty()) {
    const std::string& model = records.images.begin()->second.image.resolved_request().model();
    sheet.title = model.substr(0, kMaxTitle);
    if (solvers.size() == 1) absl::StrAppend(&sheet.title, ", ", *solvers.begin());
  }
  return sheet;
}

nlohmann::ordered_json MakeSummary(const GenerateJob& job, const GenerateRecords& records,
                                   const std::string& grid, absl::Duration wall_time,
                                   const absl::Status& status) {
  Json images = Json::array();
  for (const auto& [index, record] : records.images) images.push_back(ImageToJson(record, index));
  Json failures = Json::array();
  for (const FailureRecord& failure : records.failures) {
    failures.push_back(
        {{"row", failure.row}, {"column", failure.column}, {"message", failure.message}});
  }
  Json resolved = Json::array();
  int64_t evaluations = 0;
  int64_t denoiser_calls = 0;
  double encode_seconds = 0;
  std::string server_version;
  for (const v1::Completed& completed : records.completed) {
    resolved.push_back(Json::parse(MessageToJson(completed.resolved_request())));
    evaluations += completed.evaluations();
    denoiser_calls += completed.denoiser_calls();
    encode_seconds += completed.encode_seconds();
    server_version = completed.server_version();
  }

  const auto list = [&images](const char* key) { return DistinctValues(images, key); };
  Json summary;
  summary["ok"] = status.ok() && records.failures.empty();
  if (!status.ok()) {
    summary["error"] = {{"code", absl::StatusCodeToString(status.code())},
                        {"message", std::string(status.message())}};
  }
  summary["images_requested"] = job.num_images();
  summary["files"] = list("file");
  if (!grid.empty()) summary["grid"] = grid;
  summary["seeds"] = list("seed");
  summary["classes"] = list("class");
  summary["nfe"] = list("nfe");
  summary["rho"] = list("rho");
  summary["guidance"] = list("guidance");
  summary["solvers"] = list("solver");
  const double seconds = absl::ToDoubleSeconds(wall_time);
  summary["timings"] = {{"wall_seconds", seconds},
                        {"evaluations", evaluations},
                        {"denoiser_calls", denoiser_calls},
                        {"evaluations_per_second", seconds > 0 ? evaluations / seconds : 0.0},
                        {"encode_seconds", encode_seconds}};
  summary["server_version"] = server_version;
  summary["client_version"] = SKIPSTREAM_VERSION;
  summary["images"] = std::move(images);
  summary["failures"] = std::move(failures);
  summary["resolved_requests"] = std::move(resolved);
  return summary;
}

}  // namespace skipstream::cli
