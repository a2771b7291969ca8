# CMake generated Testfile for 
# Source directory: /work/wt/conv
# Build directory: /work/wt/conv/build-asan
# 
# This file includes the relevant testing commands required for 
# testing this directory and lists subdirectories to be tested as well.
add_test([=[backends]=] "/work/wt/conv/build-asan/backends_test")
set_tests_properties([=[backends]=] PROPERTIES  _BACKTRACE_TRIPLES "/work/wt/conv/CMakeLists.txt;74;add_test;/work/wt/conv/CMakeLists.txt;0;")
add_test([=[base]=] "/work/wt/conv/build-asan/base_test")
set_tests_properties([=[base]=] PROPERTIES  _BACKTRACE_TRIPLES "/work/wt/conv/CMakeLists.txt;74;add_test;/work/wt/conv/CMakeLists.txt;0;")
add_test([=[network]=] "/work/wt/conv/build-asan/network_test")
set_tests_properties([=[network]=] PROPERTIES  _BACKTRACE_TRIPLES "/work/wt/conv/CMakeLists.txt;74;add_test;/work/wt/conv/CMakeLists.txt;0;")
