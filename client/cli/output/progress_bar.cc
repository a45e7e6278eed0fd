#include "client/cli/output/progress_bar.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace skipstream::cli {
namespace {

constexpr int kMinBar = 8;
constexpr int kMaxBar = 40;
constexpr int kFallbackWidth = 80;

int TerminalWidth(int fd) {
  winsize size{};
  const bool known = ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : kFallbackWidth;
}

std::string Remaining(double seconds) {
  const auto whole = static_cast<int64_t>(std::ceil(seconds));
  if (whole < 60) return absl::StrFormat("%d s left", whole);
  if (whole < 3600) return absl::StrFormat("%d min %02d s left", whole / 60, whole % 60);
  return absl::StrFormat("%d h %02d min left", whole / 3600, whole / 60 % 60);
}

}  // namespace

std::string RenderProgress(const ProgressState& state, int width) {
  const double total = static_cast<double>(std::max<int64_t>(1, state.evaluations_total));
  const double share = std::clamp(static_cast<double>(state.evaluations_done) / total, 0.0, 1.0);
  const double seconds = absl::ToDoubleSeconds(state.elapsed);
  std::string words = absl::StrFormat(" %d/%d images", state.images_done, state.images_total);
  if (state.evaluations_done > 0 && seconds > 0) {
    const double rate = static_cast<double>(state.evaluations_done) / seconds;
    absl::StrAppendFormat(&words, ", %.0f evaluations/s", rate);
    const double left = total - static_cast<double>(state.evaluations_done);
    if (left > 0) absl::StrAppend(&words, ", ", Remaining(left / rate));
  }
  const std::string percent = absl::StrFormat("%3.0f%%", std::floor(share * 100));
  const int room = width - static_cast<int>(percent.size() + words.size()) - 3;
  std::string line = percent;
  if (room >= kMinBar) {
    const int length = std::min(room, kMaxBar);
    const int filled = static_cast<int>(share * length);
    absl::StrAppend(&line, " [", std::string(filled, '#'), std::string(length - filled, '-'), "]");
  }
  absl::StrAppend(&line, words);
  return line.substr(0, std::max(0, width));
}

ProgressBar::ProgressBar(int fd, bool enabled) : fd_(fd), visible_(enabled && isatty(fd)) {}

void ProgressBar::Draw(const ProgressState& state) {
  if (!visible_) return;
  // One column stays free: a full line would wrap on some terminals.
  Write(absl::StrCat("\r", RenderProgress(state, TerminalWidth(fd_) - 1), "\x1b[K"));
  drawn_ = true;
}

void ProgressBar::Clear() {
  if (!drawn_) return;
  Write("\r\x1b[K");
  drawn_ = false;
}

void ProgressBar::Write(absl::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd_, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<size_t>(written));
  }
}

}  // namespace skipstream::cli
