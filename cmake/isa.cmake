# Instruction sets are chosen per file, by the end of its name; everything else is plain x86-64. Callers of such files
# check the CPU at run time (backends/cpu/cpu_features.h).
function(tfengine_set_isa_flags)
  set(avx512 "-O3;-mavx512f;-mavx512bw;-mavx512dq;-mavx512vl;-mavx512cd;-mfma;-mavx2;-mbmi2;-mf16c;-mprefer-vector-width=512")
  foreach(source ${ARGN})
    if(source MATCHES "_avx512(_test|_bench)?\\.cc$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${avx512}")
    elseif(source MATCHES "_avx512(vnni|bf16)\\.cc$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${avx512};-mavx512${CMAKE_MATCH_1}")
    elseif(source MATCHES "_avx2(_test|_bench)?\\.cc$")
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "-O3;-mavx2;-mfma;-mbmi2;-mf16c")
    endif()
  endforeach()
endfunction()
