// Checks the files that programs write: links, devices, modes, failures.
#include "base/files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "tests/testing/temporary_directory.h"

namespace skipstream {
namespace {

namespace fs = std::filesystem;

using ::testing::HasSubstr;

// For root every file and folder is writable: becomes another user for a while.
class NotRoot {
 public:
  NotRoot() {
    if (user_ == 0 && seteuid(65534) != 0) ADD_FAILURE() << "seteuid";
  }
  ~NotRoot() {
    if (user_ == 0 && seteuid(user_) != 0) ADD_FAILURE() << "seteuid";
  }
  NotRoot(const NotRoot&) = delete;
  NotRoot& operator=(const NotRoot&) = delete;

 private:
  const uid_t user_ = geteuid();
};

class FilesTest : public ::testing::Test {
 protected:
  std::string File(const std::string& name) const { return folder_ / name; }

  static absl::Status Write(const std::string& path, const std::string& data) {
    return FileWriter().Write(path, data);
  }

  static mode_t ModeOf(const std::string& path) {
    struct stat status = {};
    EXPECT_EQ(lstat(path.c_str(), &status), 0) << path;
    return status.st_mode;
  }

  int Entries() const {
    return static_cast<int>(
        std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()));
  }

  const TemporaryDirectory folder_;
};

TEST_F(FilesTest, AFailedWriteLeavesTheOldFileAndNothingElse) {
  fs::create_directories(File("a_folder"));
  ASSERT_TRUE(Write(File("file"), "old").ok());
  ASSERT_TRUE(Write(File("file"), "new").ok());
  EXPECT_EQ(*ReadFile(File("file")), "new");
  EXPECT_FALSE(Write(File("a_folder"), "data").ok());
  EXPECT_FALSE(Write(File("none/file"), "data").ok());

  rlimit limit = {};
  getrlimit(RLIMIT_FSIZE, &limit);
  const auto restored = absl::MakeCleanup([limit] { setrlimit(RLIMIT_FSIZE, &limit); });
  signal(SIGXFSZ, SIG_IGN);
  const rlimit small = {.rlim_cur = 100, .rlim_max = limit.rlim_max};
  setrlimit(RLIMIT_FSIZE, &small);
  const absl::Status status = Write(File("file"), std::string(200, 'x'));
  EXPECT_THAT(std::string(status.message()), HasSubstr("cannot write " + File("file")));
  EXPECT_EQ(*ReadFile(File("file")), "new");
  EXPECT_EQ(Entries(), 2);
}

TEST_F(FilesTest, ReadsNoMoreThanItMay) {
  ASSERT_TRUE(Write(File("file"), "new").ok());
  EXPECT_EQ(*ReadFile(File("file"), 3), "new");
  EXPECT_THAT(std::string(ReadFile(File("file"), 2).status().message()),
              HasSubstr("larger than 2 bytes"));
  EXPECT_FALSE(ReadFile("/dev/zero").ok());
  EXPECT_FALSE(ReadFile(folder_.path()).ok());
}

TEST_F(FilesTest, LinksAreFollowedAlsoToWhatIsNotThereYet) {
  fs::create_directory(File("real"));
  ASSERT_TRUE(Write(File("real/old"), "old").ok());
  fs::create_symlink("real/old", File("link"));
  fs::create_symlink(File("link"), File("link_to_link"));
  fs::create_symlink("real/new", File("dangling"));
  ASSERT_TRUE(Write(File("link_to_link"), "1").ok());
  ASSERT_TRUE(Write(File("dangling"), "2").ok());
  EXPECT_EQ(*ReadFile(File("real/old")), "1");
  EXPECT_EQ(*ReadFile(File("real/new")), "2");
  for (const char* name : {"link", "link_to_link", "dangling"}) {
    EXPECT_TRUE(fs::is_symlink(File(name))) << name;
  }
  fs::create_symlink("loop", File("loop"));
  EXPECT_FALSE(Write(File("loop"), "3").ok());
}

TEST_F(FilesTest, TheOtherNamesOfAFileGetTheNewContentsToo) {
  ASSERT_TRUE(Write(File("file"), "old").ok());
  fs::create_hard_link(File("file"), File("other"));
  ASSERT_TRUE(Write(File("file"), "new").ok());
  EXPECT_EQ(*ReadFile(File("other")), "new");
  EXPECT_EQ(fs::hard_link_count(File("file")), 2);
}

TEST_F(FilesTest, AReplacedFileKeepsItsModeAndOwnerANewOneFollowsTheUmask) {
  const mode_t before = umask(027);
  const auto restored = absl::MakeCleanup([before] { umask(before); });
  ASSERT_TRUE(Write(File("new"), "x").ok());
  EXPECT_EQ(ModeOf(File("new")) & 07777u, 0640u);
  ASSERT_EQ(chmod(File("new").c_str(), 0604), 0);
  const bool root = geteuid() == 0;
  if (root) {
    ASSERT_EQ(chown(File("new").c_str(), 1234, 4321), 0);
  }
  ASSERT_TRUE(Write(File("new"), "y").ok());
  EXPECT_EQ(ModeOf(File("new")) & 07777u, 0604u);
  struct stat status = {};
  stat(File("new").c_str(), &status);
  EXPECT_EQ(status.st_uid, root ? 1234u : geteuid());
  EXPECT_EQ(status.st_gid, root ? 4321u : getegid());
}

TEST_F(FilesTest, TheLongestNameThatThereIsCanBeWritten) {
  const std::string name = File(std::string(251, 'a') + ".png");
  EXPECT_TRUE(Write(name, "1").ok());
  EXPECT_TRUE(Write(name, "2").ok());
  EXPECT_EQ(*ReadFile(name), "2");
}

TEST_F(FilesTest, PipesAndDevicesAreWrittenToAndStay) {
  const std::string pipe = File("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  // Longer than a pipe holds at once.
  const std::string data(300'000, 'x');
  auto read = std::async(std::launch::async, [&pipe] { return ReadFile(pipe); });
  EXPECT_TRUE(Write(pipe, data).ok());
  EXPECT_TRUE(*read.get() == data);
  EXPECT_TRUE(S_ISFIFO(ModeOf(pipe)));

  fs::create_symlink("/dev/null", File("null"));
  EXPECT_TRUE(Write(File("null"), "x").ok());
  EXPECT_TRUE(fs::is_symlink(File("null")));
  EXPECT_TRUE(S_ISCHR(ModeOf("/dev/null")));
  fs::create_symlink("/dev/full", File("full"));
  const absl::Status full = Write(File("full"), "x");
  EXPECT_THAT(std::string(full.message()), HasSubstr("full: No space left on device"));
}

TEST_F(FilesTest, AnOpenDescriptorIsWrittenToWhereItIs) {
  const int fd = open(File("log").c_str(), O_RDWR | O_CREAT, 0600);
  ASSERT_EQ(write(fd, "before ", 7), 7);
  EXPECT_TRUE(Write("/dev/fd/" + std::to_string(fd), "image").ok());
  fs::create_symlink("/proc/self/fd/" + std::to_string(fd), File("link"));
  EXPECT_TRUE(Write(File("link"), " again").ok());
  ASSERT_EQ(write(fd, " after", 6), 6);
  close(fd);
  EXPECT_EQ(*ReadFile(File("log")), "before image again after");
}

TEST_F(FilesTest, WhereNoFileCanBeMadeTheOldOneIsOverwritten) {
  ASSERT_TRUE(Write(File("file"), "a long old text").ok());
  ASSERT_EQ(chmod(File("file").c_str(), 0666), 0);
  ASSERT_EQ(chmod(folder_.path().c_str(), 0555), 0);
  {
    const NotRoot not_root;
    EXPECT_EQ(Write(File("file"), "new"), absl::OkStatus());
    EXPECT_THAT(std::string(Write(File("absent"), "new").message()),
                HasSubstr("absent: Permission denied"));
  }
  ASSERT_EQ(chmod(folder_.path().c_str(), 0755), 0);
  EXPECT_EQ(*ReadFile(File("file")), "new");
}

TEST_F(FilesTest, AFileThatMayNotBeWrittenToIsNotReplacedEither) {
  ASSERT_TRUE(Write(File("file"), "old").ok());
  ASSERT_EQ(chmod(File("file").c_str(), 0444), 0);
  ASSERT_EQ(chmod(folder_.path().c_str(), 0777), 0);
  {
    const NotRoot not_root;
    EXPECT_THAT(std::string(Write(File("file"), "new").message()), HasSubstr("Permission denied"));
  }
  EXPECT_EQ(*ReadFile(File("file")), "old");
}

TEST_F(FilesTest, NothingIsBegunOnceThereIsNoTimeToEndIt) {
  FileWriter writer;
  writer.Abandon();
  EXPECT_FALSE(writer.Write(File("file"), "x").ok());
  EXPECT_EQ(Entries(), 0);
}

TEST(ByteOrderMarkTest, IsSkippedAtTheBeginningOnly) {
  std::string text = "\xef\xbb\xbf{}\xef\xbb\xbf";
  SkipByteOrderMark(text);
  EXPECT_EQ(text, "{}\xef\xbb\xbf");
  SkipByteOrderMark(text);
  EXPECT_EQ(text, "{}\xef\xbb\xbf");
}

}  // namespace
}  // namespace skipstream
