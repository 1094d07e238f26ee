# What `cmake --install` puts where: libraries, headers, the CMake package with its components, .pc files. The command, its
# manual and completions are tools/'s; the Debian package is made of the same files (cpack).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/quern)
install(TARGETS quern EXPORT quern-jit LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS quern_aot quern_aot_static EXPORT quern-aot LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(QUERN_LLVM)
  install(TARGETS quern_llvm LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} NAMELINK_SKIP)
endif()
install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT quern-jit NAMESPACE quern:: FILE quern-jit-targets.cmake DESTINATION ${package_folder})
install(EXPORT quern-aot NAMESPACE quern:: FILE quern-aot-targets.cmake DESTINATION ${package_folder})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/quern-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/quern-config.cmake INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/quern-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/quern-config.cmake ${CMAKE_CURRENT_BINARY_DIR}/quern-config-version.cmake
              ${CMAKE_CURRENT_LIST_DIR}/quern_add_kernels.cmake DESTINATION ${package_folder})
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} RENAME copyright)
# The prefix may be chosen at installing: written then.
foreach(name quern quern-aot)
  install(CODE "
    set(CMAKE_INSTALL_LIBDIR \"${CMAKE_INSTALL_LIBDIR}\")
    set(CMAKE_INSTALL_INCLUDEDIR \"${CMAKE_INSTALL_INCLUDEDIR}\")
    set(PROJECT_VERSION \"${PROJECT_VERSION}\")
    configure_file(\"${CMAKE_CURRENT_LIST_DIR}/${name}.pc.in\" \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig/${name}.pc\" @ONLY)
    message(STATUS \"Installing: \$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${CMAKE_INSTALL_LIBDIR}/pkgconfig/${name}.pc\")")
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME quern)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(QUERN_PACKAGE_CONTACT "The Quern project" CACHE STRING "who answers for packages made from this build: name and address")
set(CPACK_PACKAGE_CONTACT "${QUERN_PACKAGE_CONTACT}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Tensor programs in strings, compiled to fused kernels")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION "Attention and the tensor arithmetic around it, written as a string in C++ or
C and compiled to one kernel for the processor or a GPU, at run time or ahead
of it. Holds the libraries, headers, CMake package and the command quern; what
runs kernels compiled ahead of time, libquern-aot, needs nothing else of it.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${PROJECT_BINARY_DIR})
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
include(CPack)
