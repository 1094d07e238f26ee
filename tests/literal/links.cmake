set(links quern_command quern_binary)
set(shared_sources command/process.cpp)
