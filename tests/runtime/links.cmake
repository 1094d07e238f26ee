set(links quern_runtime)
