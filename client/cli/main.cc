#include "base/process_setup.h"
#include "client/cli/commands/commands.h"

int main(int argc, char** argv) {
  skipstream::PrepareProcess(argv);
  return skipstream::cli::RunSkipstream(argc, argv);
}
