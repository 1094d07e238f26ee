set(links)
if(QUERN_CUDA)
  set(links quern_runtime ${CMAKE_DL_LIBS})
endif()
