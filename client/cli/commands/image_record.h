// Records finished images, and makes the sheet and the summary from the records.
#ifndef SKIPSTREAM_CLIENT_CLI_COMMANDS_IMAGE_RECORD_H_
#define SKIPSTREAM_CLIENT_CLI_COMMANDS_IMAGE_RECORD_H_

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cli/commands/generate_job.h"
#include "client/cli/output/image_codec.h"
#include "client/cli/output/output_pattern.h"
#include "client/cli/sweep/contact_sheet.h"

namespace skipstream::cli {

struct ImageRecord {
  int row = 0;
  int column = 0;
  v1::Image image;   // without its pixels and its init image
  std::string rho;   // as the request says it: "0.9", a preset's name, ...
  std::string file;  // empty if none was written
  Bitmap bitmap;     // empty unless a sheet is made
};

struct FailureRecord {
  int row = 0;
  int column = 0;
  std::string message;
};

struct GenerateRecords {
  std::map<int, ImageRecord> images;  // by index over all rows
  std::vector<FailureRecord> failures;
  std::vector<v1::Completed> completed;  // one per request that is done
};

// Returns "cat", "3" where the model has no names, "none" for a model without classes.
std::string ClassLabel(const v1::Image& image);
PatternValues ValuesOf(const ImageRecord& record, const GenerateJob& job);

// Makes a labelled sheet for a sweep, else a plain square one. An empty title means the model and,
// if it is the same everywhere, the solver. There is at least one image.
ContactSheet MakeSheet(const GenerateJob& job, const GenerateRecords& records,
                       const std::string& title);

// Returns the object that --json prints.
nlohmann::ordered_json MakeSummary(const GenerateJob& job, const GenerateRecords& records,
                                   const std::string& grid, absl::Duration wall_time,
                                   const absl::Status& status);

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_COMMANDS_IMAGE_RECORD_H_
