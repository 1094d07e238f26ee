// What a package installs beside the command: completions that the shells read, a page of the manual for each subcommand.
#include <cstdlib>

#include "tests/catch.h"
#include "tests/command/process.h"

TEST_CASE("bash completes subcommands and options") {
  const Folder folder;
  const Output script = run_quern({"completion", "bash"});
  REQUIRE(script.status == 0);
  const std::string file = folder.file("quern", script.out);
  const auto completed = [&](const std::string& words, int position) {
    const std::string command = "bash -c 'source " + file + "; COMP_WORDS=(" + words + "); COMP_CWORD=" + std::to_string(position) + "; _quern; echo \"${COMPREPLY[*]}\"' > " + folder.path("out");
    REQUIRE(std::system(command.c_str()) == 0);
    return content_of(folder.path("out"));
  };
  CHECK(completed("quern comp", 1) == "compile completion\n");
  CHECK(completed("quern compile --lay", 2) == "--layouts\n");
  CHECK(completed("quern cache ver", 2) == "verify\n");
  CHECK(completed("quern cache prune --s", 3) == "--size\n");
}

TEST_CASE("zsh, fish and the manual know every option of compile") {
  const std::string zsh = run_quern({"completion", "zsh"}).out, fish = run_quern({"completion", "fish"}).out, page = run_quern({"manual", "compile"}).out;
  for (const std::string option : {"target", "set", "layouts", "prefix", "export-cu"}) {
    INFO(option);
    CHECK(zsh.find("--" + option + "[") != std::string::npos);
    CHECK(fish.find("-l " + option) != std::string::npos);
    std::string escaped = "\\-\\-" + option;
    if (option == "export-cu") escaped = "\\-\\-export\\-cu";
    CHECK(page.find(escaped) != std::string::npos);
  }
  // Subcommands of subcommands.
  CHECK(zsh.find("'verify:reads every entry") != std::string::npos);
  CHECK(zsh.find("'--size[") != std::string::npos);
  CHECK(fish.find("-f -a verify -d 'reads every entry") != std::string::npos);
  CHECK(fish.find("__fish_seen_subcommand_from cache; and __fish_seen_subcommand_from prune' -l size -r") != std::string::npos);
  const std::string cache = run_quern({"manual", "cache"}).out;
  for (const char* part : {".B quern cache\nSUBCOMMAND [OPTIONS]\n", ".B warm FILE\n", ".B \\-\\-size "}) CHECK(cache.find(part) != std::string::npos);
  CHECK(run_quern({"manual", "nothing"}).status == 2);
  CHECK(run_quern({"completion", "csh"}).status == 2);
}
