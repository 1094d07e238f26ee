if(TARGET quern_fuzz)
  set(links quern_fuzz)
  set(shared_sources programs/programs.cpp)
endif()
