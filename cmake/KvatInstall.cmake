# What `cmake --install` puts where: library, headers, pkg-config, CMake package, data, man page, completions.
# Workers and the CLI install themselves; kvat finds them relative to its own place, so a prefix can be moved.
include(CMakePackageConfigHelpers)

set(KVAT_PC_LIBS_PRIVATE "-llapacke -llapack -lblas -ljansson -luv -lsqlite3 -lhwloc -lsodium -lutf8proc -lpthread -ldl -lm")
install(TARGETS kvat_shared kvat_static EXPORT kvat-targets
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT devel)
install(DIRECTORY include/kvat DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT devel)
install(EXPORT kvat-targets NAMESPACE kvat:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/kvat COMPONENT devel)

configure_package_config_file(packaging/cmake/kvat-config.cmake.in ${PROJECT_BINARY_DIR}/kvat-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/kvat)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/kvat-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/kvat-config.cmake ${PROJECT_BINARY_DIR}/kvat-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/kvat COMPONENT devel)

configure_file(packaging/kvat.pc.in ${PROJECT_BINARY_DIR}/kvat.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/kvat.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT devel)

# Sample prompts and schemas, also laid out in the build tree so that kvat runs from there.
foreach(folder prompts schemas)
  if(folder STREQUAL prompts)
    set(from ${PROJECT_SOURCE_DIR}/data/prompts)
  else()
    set(from ${PROJECT_SOURCE_DIR}/schemas)
  endif()
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/share/kvat)
  file(CREATE_LINK ${from} ${PROJECT_BINARY_DIR}/share/kvat/${folder} SYMBOLIC)
  install(DIRECTORY ${from}/ DESTINATION ${CMAKE_INSTALL_DATADIR}/kvat/${folder} COMPONENT runtime)
endforeach()

# Our own libllama goes along, so that clearing the cache breaks no installation.
if(KVAT_LLAMACPP AND KVAT_LLAMA_PREFIX AND EXISTS ${KVAT_LLAMA_PREFIX}/.built)
  install(DIRECTORY ${KVAT_LLAMA_PREFIX}/lib/ DESTINATION ${CMAKE_INSTALL_LIBDIR}/kvat COMPONENT runtime
          FILES_MATCHING PATTERN "*.so*" PATTERN "cmake" EXCLUDE PATTERN "pkgconfig" EXCLUDE)
endif()

# For a wheel, into which auditwheel copies the shared libraries: what their licences ask to go with them.
if(KVAT_LICENSES)
  foreach(library IN LISTS KVAT_LAPACK_LIBRARIES)
    string(APPEND linked " \"${library}\"")
  endforeach()
  install(CODE "execute_process(COMMAND \"${PROJECT_SOURCE_DIR}/packaging/licenses.sh\"
      \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_DATADIR}/kvat/licenses\" \"$<TARGET_FILE:kvat>\"${linked}
      COMMAND_ERROR_IS_FATAL ANY)" COMPONENT runtime)
endif()
