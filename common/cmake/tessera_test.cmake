# tessera_test(NAME common_tensor LABEL unit SRCS a_test.cc ... DEPS tessera::common_tensor [TIMEOUT 120])
#
# One test program per folder, named <NAME>_test. LABEL is unit, cluster, simulation, fuzz or tidy.
# TIMEOUT is in seconds for a plain build; sanitizers get four times as much. `tessera_tests` builds all
# test programs and what they need.
include(GoogleTest)
add_custom_target(tessera_tests)

# What half of a test's compile time went to: GoogleTest and what nearly all of ours include besides, read once for all
# test programs. It is a program too, as a precompiled header serves only what has its flags.
add_library(tessera_test_flags INTERFACE)
target_link_libraries(tessera_test_flags INTERFACE GTest::gmock GTest::gtest_main Threads::Threads tessera_warnings)
target_include_directories(tessera_test_flags INTERFACE ${PROJECT_SOURCE_DIR})
# A test is compiled more often than it runs, and what it tests keeps its own flags. With a sanitizer -O2 -g takes
# three times as long, and leaves out what it finds useless, errors too.
target_compile_options(tessera_test_flags INTERFACE
  -pthread $<$<CONFIG:Release>:-O1> "$<$<BOOL:${TESSERA_SANITIZE}>:-O0;-g1>"
  -Wno-array-bounds -Wno-stringop-overflow)  # false ones of gcc 12 in strings, which it no longer takes for a system's
target_compile_definitions(tessera_test_flags INTERFACE TESSERA_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/tessera_test_headers.cc CONTENT "int unused;\n" @ONLY)
add_executable(tessera_test_headers EXCLUDE_FROM_ALL ${PROJECT_BINARY_DIR}/tessera_test_headers.cc)
target_link_libraries(tessera_test_headers PRIVATE tessera_test_flags absl::status absl::statusor absl::strings absl::time)
target_precompile_headers(tessera_test_headers PRIVATE
  <algorithm> <cstdint> <functional> <map> <memory> <optional> <span> <string> <string_view> <utility> <vector>
  <gmock/gmock.h> <gtest/gtest.h>
  <absl/status/status.h> <absl/status/statusor.h> <absl/strings/str_cat.h> <absl/time/time.h>)

function(tessera_test)
  cmake_parse_arguments(ARG "" "NAME;LABEL;TIMEOUT" "SRCS;DEPS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  if(TESSERA_SANITIZE)
    math(EXPR ARG_TIMEOUT "4 * ${ARG_TIMEOUT}")
  endif()
  # gRPC and UCX come without thread sanitizer instrumentation, which would report them falsely.
  tessera_links("gRPC|grpc|ucx|UCX|ucp" uninstrumented ${ARG_DEPS})
  if(TESSERA_SANITIZE STREQUAL "thread" AND uninstrumented)
    message(STATUS "${ARG_NAME}_test is not built with the thread sanitizer: it links ${uninstrumented}")
    return()
  endif()
  set(target ${ARG_NAME}_test)
  add_executable(${target} ${ARG_SRCS})
  target_link_libraries(${target} PRIVATE ${ARG_DEPS} tessera_test_flags)
  target_precompile_headers(${target} REUSE_FROM tessera_test_headers)
  gtest_discover_tests(${target} TEST_PREFIX ${ARG_NAME}. DISCOVERY_TIMEOUT 60 NO_PRETTY_VALUES
    PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${ARG_TIMEOUT})
  add_dependencies(tessera_tests ${target})
endfunction()

# Sets `result` to the first library below the given ones, at any depth, whose name matches `pattern`;
# to nothing if there is none.
function(tessera_links pattern result)
  set(waiting ${ARGN})
  set(seen "")
  while(waiting)
    list(POP_FRONT waiting library)
    string(REGEX REPLACE "^\\$<LINK_ONLY:(.*)>$" "\\1" library "${library}")
    if(library MATCHES "${pattern}")
      set(${result} ${library} PARENT_SCOPE)
      return()
    endif()
    if(library IN_LIST seen OR NOT TARGET "${library}")
      continue()
    endif()
    list(APPEND seen ${library})
    get_target_property(below ${library} INTERFACE_LINK_LIBRARIES)
    if(below)
      list(APPEND waiting ${below})
    endif()
  endwhile()
  set(${result} "" PARENT_SCOPE)
endfunction()
