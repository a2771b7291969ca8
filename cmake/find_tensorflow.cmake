# Sets `result` to the folder of the TensorFlow package in the environment of a Python interpreter, or to "".
# Found by path: pip builds in an isolated environment, where TensorFlow cannot be imported.
function(tfengine_find_tensorflow interpreter result)
  execute_process(COMMAND ${interpreter} -c "import sysconfig; print(sysconfig.get_paths()['purelib'])"
                  OUTPUT_VARIABLE site_packages OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  if(EXISTS ${site_packages}/tensorflow/libtensorflow_framework.so.2)
    message(STATUS "TensorFlow: ${site_packages}/tensorflow")
    set(${result} ${site_packages}/tensorflow PARENT_SCOPE)
  else()
    message(STATUS "TensorFlow: not in ${site_packages}; building without what needs it")
    set(${result} "" PARENT_SCOPE)
  endif()
endfunction()
