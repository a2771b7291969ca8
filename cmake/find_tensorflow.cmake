# Sets TFENGINE_TF_DIR to the TensorFlow package of the Python environment that the package is built for, if there is one.
# Found by path: pip builds in an isolated environment, where TensorFlow cannot be imported.
find_package(Python 3.9 REQUIRED COMPONENTS Interpreter)
execute_process(COMMAND ${Python_EXECUTABLE} -c "import sysconfig; print(sysconfig.get_paths()['purelib'])"
                OUTPUT_VARIABLE site_packages OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
if(EXISTS ${site_packages}/tensorflow/libtensorflow_framework.so.2)
  set(TFENGINE_TF_DIR ${site_packages}/tensorflow CACHE PATH "" FORCE)
  message(STATUS "TensorFlow: ${TFENGINE_TF_DIR}")
else()
  message(STATUS "TensorFlow: not in ${site_packages}; building without the op library")
endif()
