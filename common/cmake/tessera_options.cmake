# Language level, warnings, sanitizers and output folders of every target.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

# What stands in PREFIX/share/tessera beside PREFIX/bin once installed.
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/share/tessera)
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/deploy/models ${PROJECT_BINARY_DIR}/share/tessera/models SYMBOLIC)

if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

# Paths below the project are hashed relative to it, so that clones of the tree share what was compiled. The sloppiness is what
# ccache asks for before it keeps what uses a precompiled header.
find_program(TESSERA_CCACHE ccache)
if(TESSERA_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER
    ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${PROJECT_SOURCE_DIR} CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros ${TESSERA_CCACHE})
endif()

# Code of ours gets the warnings; generated code does not. Off: restrict, which gcc 12 reports falsely for "a" + string.
add_library(tessera_warnings INTERFACE)
target_compile_options(tessera_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Werror -Wno-psabi -Wno-restrict -Wno-missing-field-initializers -Wnon-virtual-dtor -Woverloaded-virtual)

# Contraction of a*b+c is a kernel's explicit choice, never the compiler's: results may not depend on flags.
add_compile_options(-ffp-contract=off)

if(TESSERA_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(TESSERA_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
elseif(TESSERA_SANITIZE)
  message(FATAL_ERROR "TESSERA_SANITIZE is '${TESSERA_SANITIZE}': use address or thread")
endif()
if(TESSERA_SANITIZE)
  # gcc 12 sees uninitialised optionals in Boost's headers where a sanitizer has split their code.
  target_compile_options(tessera_warnings INTERFACE -Wno-maybe-uninitialized)
endif()
if(TESSERA_SANITIZE STREQUAL "thread")
  # Asio's handlers stand between fences, which the thread sanitizer does not know: gcc 12 warns of each. What they
  # order has passed a lock of Asio's too, and those it knows.
  target_compile_options(tessera_warnings INTERFACE -Wno-tsan)
endif()
