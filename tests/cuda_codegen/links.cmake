# The texts as host C++: written by a program, compiled as a library of their own.
set(written ${CMAKE_CURRENT_BINARY_DIR}/cuda_codegen_functions.cpp)
add_executable(quern_write_cuda_functions cuda_codegen/host/write_functions.cpp cuda_codegen/cases.cpp)
target_link_libraries(quern_write_cuda_functions PRIVATE quern_compiler)
add_custom_command(OUTPUT ${written} COMMAND quern_write_cuda_functions ${written} DEPENDS quern_write_cuda_functions)
add_library(quern_cuda_functions STATIC ${written})
target_link_libraries(quern_cuda_functions PUBLIC quern_compiler)
# As the texts mean it: no contraction that is not written.
target_compile_options(quern_cuda_functions PRIVATE -O1 -w -ffp-contract=off)
set(shared_sources cuda_emulator/group_product.cpp)
set(links quern_compiler quern_cuda_functions ${CMAKE_DL_LIBS})
