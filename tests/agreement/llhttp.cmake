# SPDX-License-Identifier: Apache-2.0
# llhttp, Node's parser, as Debian's node-llhttp brings it in C: built in the build folder, never copied here.
# Afterwards the library `llhttp_strict` exists, or it does not: then the package is missing.
find_path(LLHTTP_SOURCES llhttp.c PATHS /usr/share/llhttp NO_DEFAULT_PATH)
find_path(LLHTTP_HEADERS llhttp.h PATHS /usr/share/include/llhttp NO_DEFAULT_PATH)
if(LLHTTP_SOURCES AND LLHTTP_HEADERS AND NOT TARGET llhttp_strict)
  add_library(llhttp_strict STATIC EXCLUDE_FROM_ALL ${LLHTTP_SOURCES}/llhttp.c ${LLHTTP_SOURCES}/api.c ${LLHTTP_SOURCES}/http.c)
  target_include_directories(llhttp_strict SYSTEM PUBLIC ${LLHTTP_HEADERS})
  target_compile_definitions(llhttp_strict PUBLIC LLHTTP_STRICT_MODE=1)
  target_compile_options(llhttp_strict PRIVATE -w) # its warnings are not ours
endif()
