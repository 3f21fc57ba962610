//! `miroir-ctl completions`: made of the same definitions as the help.

use argh::{ArgsInfo, CommandInfoWithArgs};

use super::Health;
use crate::arguments::Arguments;
use crate::client::Failure;

/// What may follow some words.
struct Level {
    /// The subcommands so far, without the program's name.
    path: Vec<String>,
    commands: Vec<(String, String)>,
    options: Vec<(String, String)>,
}

/// Prints the script.
pub fn print(shell: &str) -> Result<Health, Failure> {
    let mut levels = Vec::new();
    collect(&Arguments::get_args_info(), Vec::new(), &mut levels);
    let script = match shell {
        "bash" => bash(&levels),
        "zsh" => zsh(&levels),
        "fish" => fish(&levels),
        other => {
            return Err(Failure::Unreachable(format!(
                "there are completions for bash, zsh and fish, not for `{other}`"
            )))
        }
    };
    print!("{script}");
    Ok(Health::Well)
}

fn collect(command: &CommandInfoWithArgs, path: Vec<String>, levels: &mut Vec<Level>) {
    let first_line = |text: &str| text.lines().next().unwrap_or_default().replace('\'', "");
    levels.push(Level {
        commands: command
            .commands
            .iter()
            .map(|sub| (sub.name.to_owned(), first_line(sub.command.description)))
            .collect(),
        options: command
            .flags
            .iter()
            .map(|flag| (flag.long.to_owned(), first_line(flag.description)))
            .collect(),
        path: path.clone(),
    });
    for sub in &command.commands {
        let mut path = path.clone();
        path.push(sub.name.to_owned());
        collect(&sub.command, path, levels);
    }
}

/// What begins with a subcommand's path, as a pattern of the shells' `case`: other words (ids, options' values) are passed
/// over.
fn paths(levels: &[Level]) -> String {
    let paths = levels.iter().filter(|level| !level.path.is_empty());
    let quoted: Vec<String> = paths
        .map(|level| format!("'{}'", level.path.join(" ")))
        .collect();
    quoted.join("|")
}

fn bash(levels: &[Level]) -> String {
    let mut cases = String::new();
    for level in levels {
        let words: Vec<&str> = level
            .commands
            .iter()
            .chain(&level.options)
            .map(|(word, _)| word.as_str())
            .collect();
        cases.push_str(&format!(
            "    '{}') words='{}' ;;\n",
            level.path.join(" "),
            words.join(" ")
        ));
    }
    let paths = paths(levels);
    format!(
        "_miroir_ctl() {{\n  local word path='' words=''\n  for word in \"${{COMP_WORDS[@]:1:COMP_CWORD-1}}\"; do\n    \
         case \"${{path:+$path }}$word\" in {paths}) path=\"${{path:+$path }}$word\" ;; esac\n  done\n  case \"$path\" in\n\
         {cases}  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"${{COMP_WORDS[COMP_CWORD]}}\"))\n}}\n\
         complete -o default -F _miroir_ctl miroir-ctl\n"
    )
}

fn zsh(levels: &[Level]) -> String {
    let described = |words: &[(String, String)]| {
        let words = words.iter().map(|(word, help)| format!("'{word}:{help}'"));
        words.collect::<Vec<_>>().join(" ")
    };
    let mut cases = String::new();
    for level in levels {
        cases.push_str(&format!(
            "    '{}') commands=({}); options=({}) ;;\n",
            level.path.join(" "),
            described(&level.commands),
            described(&level.options)
        ));
    }
    let paths = paths(levels);
    format!(
        "#compdef miroir-ctl\n_miroir_ctl() {{\n  local word where=''\n  local -a commands options\n  for word in \
         \"${{(@)words[2,CURRENT-1]}}\"; do\n    case \"${{where:+$where }}$word\" in {paths}) where=\"${{where:+$where \
         }}$word\" ;; esac\n  done\n  case \"$where\" in\n{cases}  esac\n  if [[ \"$PREFIX\" == -* ]]; then\n    _describe -o \
         option options\n  elif (( $#commands )); then\n    _describe command commands\n  else\n    _files\n  fi\n}}\n\
         compdef _miroir_ctl miroir-ctl\n"
    )
}

fn fish(levels: &[Level]) -> String {
    let mut script = "complete -c miroir-ctl -f\n".to_owned();
    for level in levels {
        let mut condition: Vec<String> = level
            .path
            .iter()
            .map(|word| format!("__fish_seen_subcommand_from {word}"))
            .collect();
        let names: Vec<&str> = level
            .commands
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        if level.path.is_empty() {
            condition.push("__fish_use_subcommand".to_owned());
        } else if !names.is_empty() {
            condition.push(format!(
                "not __fish_seen_subcommand_from {}",
                names.join(" ")
            ));
        }
        let condition = condition.join("; and ");
        for (name, help) in &level.commands {
            script.push_str(&format!(
                "complete -c miroir-ctl -n '{condition}' -a {name} -d '{help}'\n"
            ));
        }
        for (option, help) in &level.options {
            let option = option.trim_start_matches('-');
            script.push_str(&format!(
                "complete -c miroir-ctl -n '{condition}' -l {option} -d '{help}'\n"
            ));
        }
    }
    script
}
