set(links quern_dsl)
