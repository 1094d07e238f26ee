if(TARGET quern_fuzz AND QUERN_CUDA AND NOT QUERN_SANITIZE MATCHES thread)
  set(links quern_fuzz quern_cuda_emulator)
  set(shared_sources programs/programs.cpp)
endif()
