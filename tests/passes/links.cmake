set(links quern_compiler)
if(TARGET quern_fuzz)
  set(links quern_compiler quern_fuzz)
endif()
