// quern completion, quern manual: what a package installs beside the command, written from the same tree of options that
// CLI11 parses with, so that neither can forget an option.
#include <algorithm>
#include <cctype>
#include <memory>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "tools/command/session.h"

namespace quern::command {
namespace {

using Options = std::vector<const CLI::Option*>;

std::vector<const CLI::App*> subcommands(const CLI::App& app) {
  std::vector<const CLI::App*> list;
  for (const CLI::App* sub : app.get_subcommands([](const CLI::App*) { return true; }))
    if (!sub->get_group().empty()) list.push_back(sub);  // an empty group hides
  return list;
}

/// Options with a dash.
Options named_options(const CLI::App& app) {
  Options list;
  for (const CLI::Option* o : app.get_options())
    if (!o->get_lnames().empty() || !o->get_snames().empty()) list.push_back(o);
  return list;
}

std::vector<std::string> spellings(const CLI::Option& o) {
  std::vector<std::string> list;
  for (const std::string& s : o.get_snames()) list.push_back("-" + s);
  for (const std::string& l : o.get_lnames()) list.push_back("--" + l);
  return list;
}

std::vector<std::string> all_spellings(const CLI::App& app) {
  std::vector<std::string> list;
  for (const CLI::Option* o : named_options(app))
    for (std::string& s : spellings(*o)) list.push_back(std::move(s));
  return list;
}

bool takes_value(const CLI::Option& o) { return o.get_expected_max() > 0 && o.get_type_size_max() > 0; }

/// `text` without what ends a quotation in the shell.
std::string plain(std::string text) {
  for (char& c : text)
    if (c == '\'' || c == '\n') c = ' ';
  return text;
}

std::string bash_script(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* sub : subcommands(app)) names.push_back(sub->get_name());
  std::string text = "# bash completion of quern, written by `quern completion bash`\n_quern() {\n  local word=${COMP_WORDS[COMP_CWORD]} sub= inner= words= i options\n  COMPREPLY=()\n"
                     "  for ((i = 1; i < COMP_CWORD; i++)); do\n    case ${COMP_WORDS[i]} in -*) ;; *) if [[ -z $sub ]]; then sub=${COMP_WORDS[i]}; else inner=${COMP_WORDS[i]}; break; fi ;; esac\n"
                     "  done\n  case \"$sub $inner\" in\n";
  for (const CLI::App* sub : subcommands(app)) {
    std::vector<std::string> inner;
    for (const CLI::App* of : subcommands(*sub)) {
      inner.push_back(of->get_name());
      text += fmt::format("    '{} {}') options='{}' ;;\n", sub->get_name(), of->get_name(), fmt::join(all_spellings(*of), " "));
    }
    text += fmt::format("    '{} '*) options='{}{}{}'{} ;;\n", sub->get_name(), fmt::join(inner, " "), inner.empty() ? "" : " ", fmt::join(all_spellings(*sub), " "), inner.empty() ? "" : "; words=yes");
  }
  text += fmt::format("    *) options='{} {}'; words=yes ;;\n  esac\n", fmt::join(names, " "), fmt::join(all_spellings(app), " "));
  text += "  if [[ $word == -* || -n $words ]]; then\n    mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n  else\n"
          "    mapfile -t COMPREPLY < <(compgen -f -- \"$word\")\n  fi\n}\ncomplete -o filenames -F _quern quern\n";
  return text;
}

std::string zsh_script(const CLI::App& app) {
  const auto escaped = [](std::string text) {
    std::string out;
    for (const char c : plain(std::move(text))) {
      if (c == '[' || c == ']' || c == ':' || c == '\\') out += '\\';
      out += c;
    }
    return out;
  };
  const auto arguments = [&](const CLI::App& of) {
    std::string text;
    for (const CLI::Option* o : named_options(of))
      for (const std::string& s : spellings(*o)) text += fmt::format(" \\\n        '{}[{}]{}'", s, escaped(o->get_description()), takes_value(*o) ? ":value:_files" : "");
    return text;
  };
  std::string text = "#compdef quern\n# zsh completion of quern, written by `quern completion zsh`\n_quern() {\n  local -a subcommands\n  subcommands=(\n";
  for (const CLI::App* sub : subcommands(app)) text += fmt::format("    '{}:{}'\n", sub->get_name(), escaped(sub->get_description()));
  text += fmt::format("  )\n  if (( CURRENT == 2 )); then\n    _describe subcommand subcommands\n    _arguments{}\n    return\n  fi\n  case $words[2] in\n", arguments(app));
  for (const CLI::App* sub : subcommands(app)) {
    text += fmt::format("    {})\n", sub->get_name());
    if (subcommands(*sub).empty()) {
      text += fmt::format("      _arguments{} \\\n        '*:file:_files'\n      ;;\n", arguments(*sub));
      continue;
    }
    text += "      subcommands=(\n";
    for (const CLI::App* of : subcommands(*sub)) text += fmt::format("        '{}:{}'\n", of->get_name(), escaped(of->get_description()));
    text += "      )\n      if (( CURRENT == 3 )); then _describe subcommand subcommands; return; fi\n      case $words[3] in\n";
    for (const CLI::App* of : subcommands(*sub)) text += fmt::format("        {})\n      _arguments{} \\\n        '*:file:_files'\n        ;;\n", of->get_name(), arguments(*of));
    text += "      esac\n      ;;\n";
  }
  return text + "  esac\n}\n_quern \"$@\"\n";
}

std::string fish_script(const CLI::App& app) {
  std::string text = "# fish completion of quern, written by `quern completion fish`\n";
  const auto option = [&](const CLI::Option& o, const std::string& condition) {
    std::string line = fmt::format("complete -c quern -n '{}'", condition);
    for (const std::string& s : o.get_snames()) line += " -s " + s;
    for (const std::string& l : o.get_lnames()) line += " -l " + l;
    return fmt::format("{}{} -d '{}'\n", line, takes_value(o) ? " -r" : "", plain(o.get_description()));
  };
  for (const CLI::Option* o : named_options(app)) text += option(*o, "__fish_use_subcommand");
  for (const CLI::App* sub : subcommands(app)) {
    text += fmt::format("complete -c quern -n __fish_use_subcommand -f -a {} -d '{}'\n", sub->get_name(), plain(sub->get_description()));
    const std::string seen = "__fish_seen_subcommand_from " + sub->get_name();
    for (const CLI::Option* o : named_options(*sub)) text += option(*o, seen);
    std::string inner;
    for (const CLI::App* of : subcommands(*sub)) inner += " " + of->get_name();
    for (const CLI::App* of : subcommands(*sub)) {
      text += fmt::format("complete -c quern -n '{}; and not __fish_seen_subcommand_from{}' -f -a {} -d '{}'\n", seen, inner, of->get_name(), plain(of->get_description()));
      for (const CLI::Option* o : named_options(*of)) text += option(*o, seen + "; and __fish_seen_subcommand_from " + of->get_name());
    }
  }
  return text;
}

/// Text of roff: no line begins with a control character, hyphens are those of options.
std::string roff(const std::string& text) {
  std::string out;
  bool start = true;
  for (const char c : text) {
    if (start && (c == '.' || c == '\'')) out += "\\&";
    if (c == '\\') out += "\\e";
    else if (c == '-') out += "\\-";
    else out += c;
    start = c == '\n';
  }
  return out;
}

/// " FILE [KERNEL]": what has no dash.
std::string positionals(const CLI::App& of) {
  std::string text;
  for (const CLI::Option* o : of.get_options())
    if (o->get_lnames().empty() && o->get_snames().empty()) text += o->get_required() ? fmt::format(" {}", roff(o->get_name())) : fmt::format(" [{}]", roff(o->get_name()));
  return text;
}

std::string options_of(const CLI::App& of) {
  std::string text;
  for (const CLI::Option* o : of.get_options()) {
    std::vector<std::string> names = spellings(*o);
    if (names.empty()) names.push_back(o->get_name());
    text += fmt::format(".TP\n.B {}{}\n{}\n", roff(fmt::format("{}", fmt::join(names, ", "))), takes_value(*o) && !o->get_positional() ? fmt::format(" {}", roff(o->get_type_name())) : "", roff(o->get_description()));
  }
  return text;
}

/// The footer as it stands behind the formatter's own indentation of the first line.
std::string examples_of(const CLI::App& of) {
  std::string text = of.get_footer();
  for (std::size_t at = 0; (at = text.find("\n  ", at)) != std::string::npos; ++at) text.erase(at + 1, 2);
  return text;
}

std::string manual(const CLI::App& app, const CLI::App* sub) {
  const CLI::App& of = sub ? *sub : app;
  const std::string title = sub ? fmt::format("quern-{}", sub->get_name()) : "quern";
  std::string upper = title;
  for (char& c : upper) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  std::string text = fmt::format(".TH {} 1 \"\" \"quern {}\" \"User commands\"\n.SH NAME\n{} \\- {}\n.SH SYNOPSIS\n.B {}\n", roff(upper), app.version().substr(app.version().find(' ') + 1), roff(title),
                                 roff(of.get_description()), roff(sub ? fmt::format("quern {}", sub->get_name()) : "quern"));
  text += fmt::format("{}[OPTIONS]{}\n", subcommands(of).empty() ? "" : "SUBCOMMAND ", sub ? positionals(of) : "");
  if (!of.get_footer().empty()) text += fmt::format(".SH EXAMPLES\n.nf\n{}\n.fi\n", roff(examples_of(of)));
  if (!subcommands(of).empty()) text += ".SH SUBCOMMANDS\n";
  for (const CLI::App* s : subcommands(of)) {
    if (!sub) text += fmt::format(".TP\n.BR quern\\-{} (1)\n{}\n", roff(s->get_name()), roff(s->get_description()));
    else text += fmt::format(".TP\n.B {}{}\n{}\n.RS\n{}.RE\n", roff(s->get_name()), positionals(*s), roff(s->get_description()), options_of(*s));
  }
  return text + ".SH OPTIONS\n" + options_of(of);
}

}  // namespace

void add_completion(CLI::App& app, Session& session) {
  auto shell = std::make_shared<std::string>();
  CLI::App* sub = app.add_subcommand("completion", "write the completion of a shell to stdout");
  sub->footer("quern completion bash > ~/.local/share/bash-completion/completions/quern\n"
              "  quern completion fish > ~/.config/fish/completions/quern.fish");
  sub->add_option("SHELL", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  sub->callback([&app, &session, shell] {
    session.action = [&app, &session, shell] {
      session.terminal.data(*shell == "bash" ? bash_script(app) : *shell == "zsh" ? zsh_script(app) : fish_script(app));
      return ExitCode::ok;
    };
  });

  auto page = std::make_shared<std::string>();
  CLI::App* man = app.add_subcommand("manual", "write a page of the manual (roff) to stdout");
  man->footer("quern manual | man -l -\n  quern manual compile | man -l -");
  man->add_option("SUBCOMMAND", *page, "none: of quern itself");
  man->callback([&app, &session, page] {
    session.action = [&app, &session, page] {
      const CLI::App* of = nullptr;
      for (const CLI::App* s : subcommands(app))
        if (s->get_name() == *page) of = s;
      if (!of && !page->empty()) throw Failure(ExitCode::usage, fmt::format("there is no subcommand '{}'", *page));
      session.terminal.data(manual(app, of));
      return ExitCode::ok;
    };
  });
}

}  // namespace quern::command
