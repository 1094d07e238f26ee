set(links quern_command quern_binary)
