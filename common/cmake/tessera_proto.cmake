# tessera_proto(NAME protos LAYER 5 PROTOS a/b.proto ...)
#
# One library of the messages and services of PROTOS (paths from the calling folder, which is their import root).
# Generated into the build tree and included as "a/b.pb.h" and "a/b.grpc.pb.h". Generated code gets no warnings of
# ours, is compiled without optimisation of its own interest (-O1: it never stands in a hot path), and the service
# halves share one unit each build so that the large gRPC headers are read once.
find_package(Protobuf REQUIRED)
find_package(gRPC REQUIRED)

function(tessera_proto)
  cmake_parse_arguments(ARG "" "NAME;LAYER" "PROTOS" ${ARGN})
  set(target tessera_${ARG_NAME})
  set(out ${CMAKE_CURRENT_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${out})
  foreach(proto IN LISTS ARG_PROTOS)
    string(REGEX REPLACE "\\.proto$" "" stem ${proto})
    set(made ${out}/${stem}.pb.cc ${out}/${stem}.pb.h)
    set(plugin)
    file(STRINGS ${proto} services REGEX "^service ")
    if(services)
      list(APPEND made ${out}/${stem}.grpc.pb.cc ${out}/${stem}.grpc.pb.h)
      list(APPEND service_sources ${out}/${stem}.grpc.pb.cc)
      set(plugin --grpc_out=${out} --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin>)
    endif()
    add_custom_command(OUTPUT ${made}
      COMMAND protobuf::protoc -I${CMAKE_CURRENT_SOURCE_DIR} --cpp_out=${out} ${plugin} ${CMAKE_CURRENT_SOURCE_DIR}/${proto}
      DEPENDS ${ARG_PROTOS} protobuf::protoc
      COMMENT "protoc ${proto}" VERBATIM)
    list(APPEND sources ${made})
  endforeach()
  add_library(${target} STATIC ${sources})
  set_source_files_properties(${sources} PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 0
    TESSERA_LAYER ${ARG_LAYER} TESSERA_HOUSE protos)
  target_compile_options(${target} PRIVATE -w -O1)
  target_include_directories(${target} SYSTEM PUBLIC ${out})
  target_link_libraries(${target} PUBLIC protobuf::libprotobuf)
  if(service_sources)
    set_source_files_properties(${service_sources} PROPERTIES SKIP_UNITY_BUILD_INCLUSION OFF)
    target_link_libraries(${target} PUBLIC gRPC::grpc++)
  endif()
  add_library(tessera::${ARG_NAME} ALIAS ${target})
endfunction()
