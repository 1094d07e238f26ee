set(links quern_command)
