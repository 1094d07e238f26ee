if(TARGET quern_fuzz)
  set(links quern_fuzz)
endif()
