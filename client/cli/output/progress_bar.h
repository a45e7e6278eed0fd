// Shows the progress of a run in one line of a terminal.
#ifndef SKIPSTREAM_CLIENT_CLI_OUTPUT_PROGRESS_BAR_H_
#define SKIPSTREAM_CLIENT_CLI_OUTPUT_PROGRESS_BAR_H_

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace skipstream::cli {

struct ProgressState {
  int images_done = 0;
  int images_total = 0;
  int64_t evaluations_done = 0;
  int64_t evaluations_total = 0;  // estimated until every request has started
  absl::Duration elapsed;         // since the first request was sent
};

// Returns " 42% [#####-------] 3/8 images, 310 evaluations/s, 12 s left", at most `width` columns;
// the bar fills the columns beside the words.
std::string RenderProgress(const ProgressState& state, int width);

// Draws on a file descriptor, in place. Does nothing unless it is a terminal.
class ProgressBar {
 public:
  // Never draws if `enabled` is false.
  ProgressBar(int fd, bool enabled);
  ~ProgressBar() { Clear(); }

  bool visible() const { return visible_; }
  void Draw(const ProgressState& state);
  // Removes the line, so that something else can be printed.
  void Clear();

 private:
  void Write(absl::string_view text);

  const int fd_;
  const bool visible_;
  bool drawn_ = false;
};

}  // namespace skipstream::cli

#endif  // SKIPSTREAM_CLIENT_CLI_OUTPUT_PROGRESS_BAR_H_
