#ifndef SKIPSTREAM_BASE_QUOTED_NAME_H_
#define SKIPSTREAM_BASE_QUOTED_NAME_H_

#include <string>
#include <string_view>

namespace skipstream {

// Returns a name from a file as error messages show it: quoted, printable ASCII, and cut if it is
// long.
std::string QuotedName(std::string_view name);

}  // namespace skipstream

#endif  // SKIPSTREAM_BASE_QUOTED_NAME_H_
