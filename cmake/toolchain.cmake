# SPDX-License-Identifier: Apache-2.0
# The language, the warnings, the sanitizers: the same for every target.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)

# Assertions stay: they are about our own mistakes, cost next to nothing, and a wrong state must not serve sessions.
set(CMAKE_C_FLAGS_RELWITHDEBINFO "-O2 -g")

add_compile_definitions(_GNU_SOURCE)
add_compile_options(
  -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings
  -Wvla -Wundef -Wformat=2 -Wnull-dereference -Wno-missing-field-initializers
  -fno-omit-frame-pointer -fstack-protector-strong)
add_link_options(-Wl,-z,relro,-z,now -Wl,--as-needed)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
add_link_options($<$<STREQUAL:$<TARGET_PROPERTY:TYPE>,EXECUTABLE>:-pie>)

# One program out of the layers: calls between them cost what calls within a file do (bench/results: 5 % of the instructions).
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo" AND NOT LETHE_SANITIZE AND NOT LETHE_FUZZ)
  set(CMAKE_INTERPROCEDURAL_OPTIMIZATION ON)
endif()

if(NOT LETHE_SANITIZE AND CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  add_compile_definitions(_FORTIFY_SOURCE=2)
endif()
if(LETHE_SANITIZE)
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all)
  add_link_options(-fsanitize=address,undefined)
endif()
if(LETHE_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
if(LETHE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
