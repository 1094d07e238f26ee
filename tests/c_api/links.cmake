set(links quern)  # the shared library, as a user has it
