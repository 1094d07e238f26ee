// `quern`: the command line in, one subcommand run, an exit status out.
#include "tools/command/session.h"

int main(int argc, char** argv) { return quern::command::run_command(argc, argv); }
