//! Help, manual, completions, lists: what is printed without a service.

use std::process::{Command, Stdio};

use crate::home::{CONFIG, Home, installed};

#[test]
fn wrong_usage_is_64_and_names_the_way_out() {
    let home = Home::new();
    for arguments in [
        &[] as &[&str],
        &["frobnicate"],
        &["account"],
        &["account", "add"],
        &[
            "account",
            "add",
            "a@gmx.de",
            "--passthrough",
            "--password-file",
            "x",
        ],
        &["--set", "nothing", "check"],
    ] {
        let told = home.run(arguments).failed(64);
        let leads_on = ["--help", "Usage:", "KEY=VALUE"]
            .iter()
            .any(|way| told.contains(way));
        assert!(leads_on, "{arguments:?}: {told}");
    }
    let near = home.run(&["acount", "list"]).failed(64);
    assert!(near.contains("'account'"), "{near}");
}

#[test]
fn help_teaches_the_first_steps_and_every_command_has_its_own() {
    let home = Home::new();
    let help = home.run(&["--help"]).ok();
    for step in [
        "mailsluice demo",
        "mailsluice account add",
        "mailsluice run",
        "sysexits",
    ] {
        assert!(help.contains(step), "{step}");
    }
    let commands: Vec<_> = help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty() && *name != "help")
        .collect();
    assert!(commands.len() >= 10, "{commands:?}");
    for command in commands {
        let help = home.run(&[command, "--help"]).ok();
        assert!(
            help.contains(&format!("Usage: mailsluice {command}")),
            "{help}"
        );
    }
}

#[test]
fn the_manual_is_whole_and_readable() {
    let home = Home::new();
    let page = home.run(&["man"]).ok();
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"] {
        assert!(
            page.lines().any(|line| line == format!(".SH {section}")),
            "{section}"
        );
    }
    assert!(
        !page.contains("mailsluice\\-help(1)"),
        "there is no such page"
    );
    home.run(&["man", "new/folder"]).ok();
    let mut pages = 0;
    for entry in std::fs::read_dir(home.path("new/folder")).expect("the pages") {
        let path = entry.expect("a page").path();
        pages += 1;
        if installed("man") {
            let mut man = Command::new("man");
            let man = man
                .args(["--warnings", "-l"])
                .arg(&path)
                .env("MANPAGER", "cat");
            let output = man.output().expect("man runs");
            let warnings = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success() && warnings.is_empty(),
                "{}: {warnings}",
                path.display()
            );
        }
    }
    assert!(pages >= 15, "{pages}");
    assert_eq!(home.read("new/folder/mailsluice.1"), page);
}

#[test]
fn completions_are_accepted_by_their_shells() {
    let home = Home::new();
    for shell in ["bash", "zsh", "fish"] {
        let script = home.run(&["completions", shell]).ok();
        assert!(script.contains("set-password"), "{shell}");
        home.write(shell, &script);
        if installed(shell) {
            let status = Command::new(shell).arg("-n").arg(home.path(shell)).status();
            assert!(status.expect("it runs").success(), "{shell}");
        }
    }
    home.run(&["completions", "cmd.exe"]).failed(64);
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    let home = Home::new();
    for arguments in [
        &["providers"] as &[&str],
        &["providers", "--json"],
        &["man"],
        &["completions", "bash"],
        &["example"],
        &["--help"],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let output = home
            .command(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .output();
        let output = output.expect("it runs");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn a_full_disk_under_the_output_is_a_failure() {
    let home = Home::new();
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        // Only Linux has it.
        return;
    };
    let output = home
        .command(&["providers"])
        .stdout(full)
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(74));
}

#[test]
fn providers_are_listed_found_and_told() {
    let home = Home::new();
    let all = home.run(&["providers"]).ok();
    assert_eq!(all.lines().count(), 103);
    let gmx = home.run(&["providers", "gmx"]).ok();
    assert!(
        gmx.starts_with("GMX (gmx.net, gmx.de, gmx.at, gmx.ch) (gmx)\n"),
        "{gmx}"
    );
    assert!(
        gmx.contains("mail.gmx.net:465") && gmx.contains("\nAlso found:\ngmx-com "),
        "{gmx}"
    );
    assert_eq!(
        home.run(&["providers", "GMX.de"]).ok().lines().next(),
        gmx.lines().next()
    );
    let several = home.run(&["providers", "outlook"]).ok();
    assert!(
        several.contains("(takes tokens only: mailsluice sign-in)"),
        "{several}"
    );
    let document = home.run(&["providers", "webde", "--json"]).json();
    assert_eq!(document[0]["imap"][0]["host"], "imap.web.de");
    let none = home.run(&["providers", "no such"]).failed(66);
    assert!(none.contains("mailsluice example"), "{none}");
}

#[test]
fn the_example_is_the_one_of_the_source() {
    let home = Home::new();
    let example = std::fs::read_to_string("config/example.toml").expect("the example");
    assert_eq!(home.run(&["example"]).ok(), example);
}

#[test]
fn without_a_home_the_machines_folders_are_used() {
    let home = Home::new();
    let output = home
        .command(&[
            "--set",
            "listener=[{protocol=\"imap\",address=\"127.0.0.1:0\"}]",
            "check",
        ])
        .env_remove("HOME")
        .output();
    let said = String::from_utf8(output.expect("it runs").stdout).expect("UTF-8");
    assert!(
        said.starts_with("/etc/mailsluice/mailsluice.toml"),
        "{said}"
    );
    let empty = home.run(&["account", "list"]).ok();
    assert!(empty.contains("mailsluice account add"), "{empty}");
    assert!(!home.path(CONFIG).exists());
}

#[test]
fn the_demo_checks_itself() {
    let told = Home::new().run(&["demo", "--check"]).ok();
    assert!(told.ends_with("all well\n"), "{told}");
}
