//! Every command has help with examples, and every example parses.

use clap::CommandFactory;

use super::*;

/// Words of a line, with double quotes as in a shell.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    for (index, part) in line.split('"').enumerate() {
        match index % 2 {
            0 => words.extend(part.split_whitespace().map(str::to_owned)),
            _ => words.push(part.to_owned()),
        }
    }
    words
}

fn visit(command: &clap::Command, path: &str, examples: &mut usize) {
    let help = command.get_after_help().map(ToString::to_string);
    let help = help.unwrap_or_else(|| panic!("`{path}` has no example"));
    assert!(help.starts_with("Example:\n"), "{path}: {help}");
    for line in help.lines().skip(1) {
        let parsed = Arguments::try_parse_from(words(line));
        assert!(parsed.is_ok(), "`{}` does not parse: {}", line.trim(), parsed.unwrap_err());
        assert!(line.trim().starts_with(path), "`{}` is no example of {path}", line.trim());
        *examples += 1;
    }
    for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
        assert!(
            option.get_help().is_some() || ["help", "version"].contains(&option.get_id().as_str()),
            "{path}: {option} has no help"
        );
    }
    for nested in command.get_subcommands() {
        visit(nested, &format!("{path} {}", nested.get_name()), examples);
    }
}

#[test]
fn every_command_has_examples_that_parse() {
    let command = Arguments::command();
    command.clone().debug_assert();
    let mut examples = 0;
    visit(&command, "tidemark", &mut examples);
    assert!(examples > 20, "{examples}");
}

#[test]
fn what_is_not_meant_is_refused() {
    for line in [
        "tidemark",
        "tidemark run",
        "tidemark search customer_profiles x --limit 0",
        "tidemark search customer_profiles x --where city",
        "tidemark dead-letters redrive",
        "tidemark dead-letters redrive --all 6ba7b810-9dad-51d1-80b4-00c04fd430c8",
        "tidemark import incremental --date yesterday",
        "tidemark up --timeout soon",
        "tidemark log copy --to kafka",
        "tidemark log copy --from embedded --to postgres",
    ] {
        assert!(Arguments::try_parse_from(words(line)).is_err(), "{line}");
    }
}
