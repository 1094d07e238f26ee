set(links quern_compiler ${CMAKE_DL_LIBS})
