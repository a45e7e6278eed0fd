#include "client/cli/commands.h"

int main(int argc, char** argv) { return skipstream::cli::RunSkipstream(argc, argv); }
