# Install rules: the library, its public headers, the command line program and the package for find_package(tfengine).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/tfengine)
install(TARGETS tfengine EXPORT tfengineTargets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY include/tfengine DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(TARGET tfengine_cli)
  install(TARGETS tfengine_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
install(EXPORT tfengineTargets NAMESPACE tfengine:: DESTINATION ${package_dir})
configure_package_config_file(cmake/tfengineConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/tfengineConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/tfengineConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/tfengineConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/tfengineConfigVersion.cmake
        DESTINATION ${package_dir})
