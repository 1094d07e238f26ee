# Kernels made ahead of time for GPUs, run on the emulated driver (tests/cuda_runtime), whose NVRTC makes their code.
set(links)
if(QUERN_LLVM AND QUERN_CUDA)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/quern/emulated)
  add_custom_command(OUTPUT ${folder}/kernels.h ${folder}/kernels.o
    COMMAND ${CMAKE_COMMAND} -E env QUERN_NVRTC=$<TARGET_FILE:quern_emulated_cuda> QUERN_LIBCUDA=$<TARGET_FILE:quern_emulated_cuda>
            $<TARGET_FILE:quern_main> compile ${CMAKE_CURRENT_SOURCE_DIR}/aot/kernels.quern attention causal gather normalise grouped segments --target x86-64-v2,sm_80,sm_90a
            --set D=16,64 --set T=f32,f16 --prefix g_ --out ${folder} --name kernels --quiet
    DEPENDS aot/kernels.quern quern_main quern_emulated_cuda VERBATIM)
  set_source_files_properties(${folder}/kernels.o PROPERTIES EXTERNAL_OBJECT TRUE GENERATED TRUE)
  add_library(quern_ahead_emulated STATIC ${folder}/kernels.o ${folder}/kernels.h)
  set_target_properties(quern_ahead_emulated PROPERTIES LINKER_LANGUAGE CXX)
  target_include_directories(quern_ahead_emulated PUBLIC ${folder})
  target_link_libraries(quern_ahead_emulated PUBLIC quern::aot)
  set(links quern_ahead_emulated quern_runtime quern_emulated_cuda_path ${CMAKE_DL_LIBS})
  set(shared_sources cuda_runtime/emulated_gpu.cpp)
endif()
