# SPDX-License-Identifier: Apache-2.0

# lethe_layer(<name> SOURCES a.c b.c LINK libs…): one layer, a static library `lethe_<name>`. Headers are included
# by their path below proxy/ ("http/cookie.h"), below the top ("config/option.h") or beside the file.
function(lethe_layer name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_library(lethe_${name} STATIC ${ARG_SOURCES})
  target_include_directories(lethe_${name} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/proxy)
  target_link_libraries(lethe_${name} PUBLIC ${ARG_LINK})
endfunction()

# lethe_unit_test(<name> SOURCES x.c LINK libs…): one Criterion program, `ctest -L unit` runs it.
function(lethe_unit_test name)
  if(NOT LETHE_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(unit_${name} ${ARG_SOURCES})
  target_link_libraries(unit_${name} PRIVATE ${ARG_LINK} lethe_rig PkgConfig::CRITERION)
  add_test(NAME unit_${name} COMMAND unit_${name} --jobs 1)
  set_tests_properties(unit_${name} PROPERTIES LABELS unit TIMEOUT 60)
endfunction()

# lethe_fuzz_target(<name> SOURCES x.c LINK libs…): one libFuzzer program `fuzz_<name>`.
function(lethe_fuzz_target name)
  if(NOT LETHE_FUZZ)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "SOURCES;LINK" ${ARGN})
  add_executable(fuzz_${name} ${ARG_SOURCES})
  target_link_libraries(fuzz_${name} PRIVATE ${ARG_LINK})
  target_link_options(fuzz_${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(fuzz_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR})
endfunction()
