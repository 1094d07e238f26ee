# GPU kernels made ahead of time as C text (`quern compile --source`), compiled by the C compiler of the project, run on the
# emulated driver. Built without LLVM too: shipping kernels for GPUs takes none.
set(links)
if(QUERN_CUDA)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/quern/source)
  add_custom_command(OUTPUT ${folder}/kernels.h ${folder}/kernels.c
    COMMAND ${CMAKE_COMMAND} -E env QUERN_NVRTC=$<TARGET_FILE:quern_emulated_cuda> QUERN_LIBCUDA=$<TARGET_FILE:quern_emulated_cuda>
            $<TARGET_FILE:quern_main> compile ${CMAKE_CURRENT_SOURCE_DIR}/aot/kernels.quern attention causal gather normalise segments total --target sm_80,sm_90a
            --source --set D=16,64 --prefix c_ --out ${folder} --name kernels --quiet
    DEPENDS aot/kernels.quern quern_main quern_emulated_cuda VERBATIM)
  add_library(quern_ahead_source STATIC ${folder}/kernels.c ${folder}/kernels.h)
  target_compile_options(quern_ahead_source PRIVATE -std=c99 -pedantic -Wall -Wextra -Werror)
  target_include_directories(quern_ahead_source PUBLIC ${folder})
  target_link_libraries(quern_ahead_source PUBLIC quern::aot)
  set(links quern_ahead_source quern_runtime quern_emulated_cuda_path quern_binary ${CMAKE_DL_LIBS})
  set(shared_sources cuda_runtime/emulated_gpu.cpp command/process.cpp)
endif()
