set(links)
if(TARGET quern_codegen_cpu)
  set(links quern_codegen_cpu)
endif()
