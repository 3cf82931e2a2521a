# tessera_header_check(OUTPUT FILE)
#
# Compiles every header in HDRS of every library so far alone, twice over, as the target `tessera_headers`: a
# header that needs another before it, or that has no #pragma once, does not build. Writes into FILE one line a
# library: name|layer|house|folder|headers|sources|dependencies, the lists separated by commas.
function(tessera_header_check)
  cmake_parse_arguments(ARG "" "OUTPUT" "" ${ARGN})
  get_property(libraries GLOBAL PROPERTY TESSERA_LIBRARIES)
  add_custom_target(tessera_headers ALL)
  set(table "")
  foreach(library IN LISTS libraries)
    foreach(property LAYER HOUSE HDRS SRCS DEPS)
      get_target_property(${property} ${library} TESSERA_${property})
    endforeach()
    get_target_property(folder ${library} SOURCE_DIR)
    file(RELATIVE_PATH folder ${PROJECT_SOURCE_DIR} ${folder})
    tessera_compile_headers(${library} ${folder} ${HDRS})
    string(JOIN "|" line ${library} ${LAYER} "${HOUSE}" ${folder} "${HDRS}" "${SRCS}" "${DEPS}")
    string(REPLACE ";" "," line "${line}")
    string(APPEND table "${line}\n")
  endforeach()
  file(CONFIGURE OUTPUT ${ARG_OUTPUT} CONTENT "${table}" @ONLY)  # rewritten only when it differs
endfunction()

# One source for each header, compiled without optimisation: nothing of it is ever linked.
function(tessera_compile_headers library folder)
  set(sources "")
  foreach(header IN LISTS ARGN)
    set(source ${PROJECT_BINARY_DIR}/headers/${folder}/${header}.cc)
    file(CONFIGURE OUTPUT ${source} CONTENT "#include \"${folder}/${header}\"\n#include \"${folder}/${header}\"\n" @ONLY)
    list(APPEND sources ${source})
  endforeach()
  if(sources)
    add_library(${library}_headers OBJECT EXCLUDE_FROM_ALL ${sources})
    target_link_libraries(${library}_headers PRIVATE ${library} tessera_warnings)
    target_compile_options(${library}_headers PRIVATE -O0 -g0)
    add_dependencies(tessera_headers ${library}_headers)
  endif()
endfunction()
