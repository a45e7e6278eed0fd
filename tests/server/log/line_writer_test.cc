#include "server/log/line_writer.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace skipstream {
namespace {

using ::testing::ElementsAre;

constexpr size_t kMany = 3 * LineWriter::kMaxWaiting;

// Both ends stay open: a writer may be stuck until the end of the process.
struct Pipe {
  Pipe() { EXPECT_EQ(pipe(ends), 0); }
  int reading() const { return ends[0]; }
  int writing() const { return ends[1]; }
  int ends[2] = {-1, -1};
};

// Reads until a line with this text is there.
std::vector<std::string> ReadUntil(const Pipe& pipe, const std::string& last) {
  std::string text;
  char bytes[4096];
  while (text.find(last) == std::string::npos) {
    const ssize_t count = read(pipe.reading(), bytes, sizeof(bytes));
    if (count <= 0) break;
    text.append(bytes, static_cast<size_t>(count));
  }
  std::vector<std::string> lines;
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

std::string ReadLine(const Pipe& pipe) {
  std::string line;
  for (char c; read(pipe.reading(), &c, 1) == 1 && c != '\n';) line.push_back(c);
  return line;
}

TEST(LineWriterTest, ItsEndWritesWhatWaits) {
  const Pipe pipe;
  {
    LineWriter writer(pipe.writing());
    for (const char* line : {"a\n", "b\n", "c\n"}) writer.Write(line);
  }
  EXPECT_THAT(ReadUntil(pipe, "c\n"), ElementsAre("a", "b", "c"));
}

TEST(LineWriterTest, APipeThatNobodyReadsHoldsUpNobodyAndEachGapIsDescribed) {
  const Pipe pipe;
  LineWriter writer(pipe.writing(),
                    [](int64_t dropped) { return "gap of " + std::to_string(dropped) + "\n"; });
  std::atomic<size_t> drops = 0;
  writer.SetOnDrop([&] { ++drops; });
  for (size_t i = 0; i < kMany; ++i) writer.Write("line " + std::to_string(i) + "\n");
  EXPECT_GT(drops, LineWriter::kMaxWaiting);
  const size_t dropped = drops;
  // The thread takes lines while others are written, so there can be several gaps.
  size_t described = 0;
  for (size_t next = 0; next < kMany;) {
    const std::string line = ReadLine(pipe);
    if (line.starts_with("gap of ")) {
      const size_t gap = std::stoul(line.substr(7));
      described += gap;
      next += gap;
    } else {
      ASSERT_EQ(line, "line " + std::to_string(next)) << "a gap stands where lines were dropped";
      ++next;
    }
  }
  EXPECT_EQ(described, dropped);
  writer.Write("flows again\n");
  EXPECT_EQ(ReadLine(pipe), "flows again");
  EXPECT_EQ(drops, dropped);
  writer.SetOnDrop(nullptr);
}

TEST(LineWriterTest, ItsEndDoesNotWaitForAPipeThatNobodyReads) {
  std::signal(SIGPIPE, SIG_IGN);
  const Pipe pipe;
  auto writer = std::make_unique<LineWriter>(pipe.writing());
  const auto write = writer->Writing();
  for (size_t i = 0; i < kMany; ++i) writer->Write("line\n");
  const auto start = std::chrono::steady_clock::now();
  writer.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
  write("afterwards: dropped\n");
  close(pipe.reading());  // ends the thread's write, so that nothing stays behind
}

TEST(LineWriterTest, WhatCannotBeWrittenIsCounted) {
  const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
  std::atomic<int> drops = 0;
  {
    LineWriter writer(full);
    writer.SetOnDrop([&] { ++drops; });
    writer.Write("lost\n");
    writer.Write("lost\n");
    while (drops < 2) std::this_thread::yield();
    writer.SetOnDrop(nullptr);
  }
  EXPECT_EQ(drops, 2);
  close(full);
}

TEST(LineWriterTest, LongLinesAreWhole) {
  const Pipe pipe;
  LineWriter writer(pipe.writing());
  const std::string line(100'000, 'x');
  writer.Write(line + "\n");
  EXPECT_THAT(ReadUntil(pipe, "\n"), ElementsAre(line));
}

}  // namespace
}  // namespace skipstream
