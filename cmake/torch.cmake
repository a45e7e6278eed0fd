# skipstream::torch: LibTorch from the unpacked PyPI wheel (`./dev setup` puts it under .deps/python).
# Only model/nn and what is built on it may use it: LibTorch ships its own, older protobuf headers, so a
# file that sees both torch and protobuf does not compile correctly.
set(SKIPSTREAM_TORCH_SITE "${PROJECT_SOURCE_DIR}/.deps/python" CACHE PATH
    "Folder that holds the unpacked torch/ and nvidia/ packages")

find_library(SKIPSTREAM_TORCH_CPU torch_cpu PATHS ${SKIPSTREAM_TORCH_SITE}/torch/lib NO_DEFAULT_PATH REQUIRED)
find_library(SKIPSTREAM_C10 c10 PATHS ${SKIPSTREAM_TORCH_SITE}/torch/lib NO_DEFAULT_PATH REQUIRED)

add_library(skipstream_torch INTERFACE)
add_library(skipstream::torch ALIAS skipstream_torch)
target_include_directories(skipstream_torch SYSTEM INTERFACE ${SKIPSTREAM_TORCH_SITE}/torch/include)
# The CPU libraries name CUDA ones they do not need for our calls.
target_link_options(skipstream_torch INTERFACE "-Wl,--allow-shlib-undefined")
target_link_libraries(skipstream_torch INTERFACE ${SKIPSTREAM_TORCH_CPU} ${SKIPSTREAM_C10})
