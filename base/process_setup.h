#ifndef SKIPSTREAM_BASE_PROCESS_SETUP_H_
#define SKIPSTREAM_BASE_PROCESS_SETUP_H_

namespace skipstream {

// Makes it safe for a program to write files, whatever started it. Called first in main.
//  - A write past the limit on the size of files fails with EFBIG, instead of ending the process by
//    SIGXFSZ.
//  - Descriptors 0, 1 and 2 are open. Otherwise the next file or socket would get one of these
//    numbers, and text meant for standard output would go into it. Those that were closed read as
//    empty, and writing to them fails with EBADF, as before. Where a library has taken one before
//    main, the program starts again under the same process id; `argv` is main's.
void PrepareProcess(char** argv);

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_PROCESS_SETUP_H_
