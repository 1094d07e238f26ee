if(NOT QUERN_SANITIZE MATCHES thread)  # it knows nothing of fibers, and there is one thread
  set(links quern_cuda_emulator)
endif()
