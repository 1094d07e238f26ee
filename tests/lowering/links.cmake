set(links quern_compiler)
