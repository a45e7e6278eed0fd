# Helpers every CMakeLists.txt of the project uses.

add_library(skipstream_options INTERFACE)
target_include_directories(skipstream_options INTERFACE ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR})
target_compile_options(skipstream_options INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Werror> $<$<COMPILE_LANGUAGE:CUDA>:--Werror=all-warnings>)
if(SKIPSTREAM_SANITIZER)
  # One error ends a test; what is undefined would go on otherwise.
  target_compile_options(skipstream_options INTERFACE
    -fsanitize=${SKIPSTREAM_SANITIZER} -fno-sanitize-recover=all -fno-omit-frame-pointer -g1 -O1)
  target_link_options(skipstream_options INTERFACE -fsanitize=${SKIPSTREAM_SANITIZER})
  if(SKIPSTREAM_SANITIZER STREQUAL "thread")
    # protobuf's headers add members to their classes under it, and Debian's library is built without.
    target_compile_options(skipstream_options INTERFACE -U__SANITIZE_THREAD__)
    target_compile_definitions(skipstream_options INTERFACE SKIPSTREAM_THREAD_SANITIZER)
  endif()
endif()

# skipstream_library(name SRCS a.cc ... DEPS lib ...): a static library with our warnings.
function(skipstream_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SRCS})
  target_link_libraries(${name} PUBLIC skipstream_options ${ARG_DEPS})
endfunction()

# skipstream_test(name SRCS a_test.cc ... DEPS lib ... [LABELS ...]): a GoogleTest binary,
# registered with CTest as one test (test binaries here run for milliseconds to seconds).
function(skipstream_test name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS;LABELS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_link_libraries(${name} PRIVATE skipstream_options ${ARG_DEPS} GTest::gmock_main)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  # Idle threads of LibTorch sleep instead of spinning: tests run side by side on the same cores.
  set_tests_properties(${name} PROPERTIES TIMEOUT 300 LABELS "${ARG_LABELS}"
    ENVIRONMENT OMP_WAIT_POLICY=passive)
endfunction()
