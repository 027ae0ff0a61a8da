# Helpers that keep the architecture in the build: a module is one folder under src/, one static library kvat_<name>.

add_library(kvat_options INTERFACE)
target_compile_features(kvat_options INTERFACE c_std_17)
target_compile_options(kvat_options INTERFACE
  $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Wshadow -Wconversion -Wvla -Wmissing-prototypes -Wstrict-prototypes>
  $<$<BOOL:${KVAT_WERROR}>:-Werror> -fvisibility=hidden -fno-math-errno
  -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.) # a program names nobody's folder
target_compile_definitions(kvat_options INTERFACE _GNU_SOURCE KVAT_VERSION_STRING="${PROJECT_VERSION}")
target_include_directories(kvat_options INTERFACE $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_C_EXTENSIONS OFF)

# kvat_module(NAME [USES module…] [LINKS target…])
function(kvat_module name)
  cmake_parse_arguments(ARG "" "" "USES;LINKS" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.c)
  if(NOT sources)
    message(FATAL_ERROR "module ${name} has no sources")
  endif()
  add_library(kvat_${name} STATIC ${sources})
  target_link_libraries(kvat_${name} PUBLIC kvat_options ${ARG_LINKS})
  foreach(used IN LISTS ARG_USES)
    target_link_libraries(kvat_${name} PUBLIC kvat_${used})
  endforeach()
  target_include_directories(kvat_${name} PRIVATE ${PROJECT_SOURCE_DIR}/src/${name})
  set_property(GLOBAL APPEND PROPERTY KVAT_MODULES kvat_${name})
  include(${PROJECT_SOURCE_DIR}/src/${name}/${name}.cmake OPTIONAL)
endfunction()

# kvat_worker(NAME SOURCES… LINKS…): a worker program kvat-<name> beside its manifest, laid out as when installed.
function(kvat_worker name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LINKS" ${ARGN})
  add_executable(kvat-${name} ${ARG_SOURCES})
  target_link_libraries(kvat-${name} PRIVATE kvat_rpc kvat_base ${ARG_LINKS})
  set_target_properties(kvat-${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/libexec/kvat)
  configure_file(${CMAKE_CURRENT_SOURCE_DIR}/${name}.json ${PROJECT_BINARY_DIR}/share/kvat/engines/${name}.json COPYONLY)
  install(TARGETS kvat-${name} RUNTIME DESTINATION ${CMAKE_INSTALL_LIBEXECDIR}/kvat COMPONENT runtime)
  install(FILES ${name}.json DESTINATION ${CMAKE_INSTALL_DATADIR}/kvat/engines COMPONENT runtime)
endfunction()

# The public library, shared and static, made of all modules.
function(kvat_library)
  get_property(modules GLOBAL PROPERTY KVAT_MODULES)
  set(objects)
  foreach(module IN LISTS modules)
    list(APPEND objects $<TARGET_OBJECTS:${module}>)
  endforeach()
  foreach(kind SHARED STATIC)
    string(TOLOWER ${kind} word)
    set(target kvat_${word})
    add_library(${target} ${kind} ${objects})
    set_target_properties(${target} PROPERTIES OUTPUT_NAME kvat VERSION ${PROJECT_VERSION} SOVERSION 0
                          LINKER_LANGUAGE C EXPORT_NAME ${word})
    target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                               $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
    target_link_libraries(${target} PRIVATE PkgConfig::JANSSON PkgConfig::UV PkgConfig::SQLITE PkgConfig::HWLOC
                          PkgConfig::SODIUM PkgConfig::UTF8PROC ${KVAT_LAPACK_LIBRARIES} Threads::Threads ${CMAKE_DL_LIBS} m)
    # What is linked in from archives stays inside: a program that embeds kvat keeps its own LAPACK.
    target_link_options(${target} PRIVATE -Wl,--exclude-libs,ALL)
  endforeach()
endfunction()
