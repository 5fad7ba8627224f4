//! `account` and `password`: files, modes, and what is told.

use std::collections::BTreeMap;

use mailsluice::bridge::provider::Provider;
use serde_json::json;

use crate::home::{CONFIG, Home, STATE};

#[test]
fn the_first_account_needs_no_file_and_no_folder() {
    let home = Home::new();
    let added = home.run_with(&["account", "add", "Anna@gmx.de"], "the provider's\n");
    let told = added.stderr.clone();
    let password = added.line();
    assert_eq!(password.len(), 32, "{password}");
    for line in [
        "  IMAP       server 127.0.0.1, port 1143, security none",
        "  POP3       server 127.0.0.1, port 1110, security none",
        "  SMTP       server 127.0.0.1, port 1025, security none",
        "  user name  anna@gmx.de",
        "  password   the one on standard output, shown only now",
        "Start the service: mailsluice run",
    ] {
        assert!(told.lines().any(|l| l == line), "{line}\n{told}");
    }
    let written = home.read(CONFIG);
    let (header, entry) = written.split_once("\n[[account]]\n").expect("an entry");
    assert!(header.lines().all(|line| line.starts_with('#')), "{header}");
    assert_eq!(entry, "address = \"Anna@gmx.de\"\npassword = \"stored\"\n");
    for (name, mode) in [
        (".config/mailsluice", 0o700),
        (CONFIG, 0o600),
        (STATE, 0o700),
    ] {
        assert_eq!(home.mode(name), mode, "{name}");
    }
    for name in ["mailsluice.db", "store.key"] {
        assert_eq!(home.mode(&format!("{STATE}/{name}")), 0o600, "{name}");
    }
    assert!(!told.contains("the provider's") && !written.contains("the provider's"));
}

#[test]
fn the_life_of_an_account_keeps_every_comment() {
    let home = Home::new();
    let before = "# mine\nhost = 'a.example' # kept\n\n[log] # too\nfilter = \"warn\"\n# the end\n";
    home.write(CONFIG, before);
    let add = [
        "account",
        "add",
        "anna@gmx.de",
        "--login-name",
        "old-laptop",
    ];
    let added = home
        .run_with(&[&add[..], &["--json"]].concat(), "x\n")
        .json();
    assert_eq!(added["local_password"].as_str().map(str::len), Some(32));
    let entry = "\n[[account]]\naddress = \"anna@gmx.de\"\nlogin_names = [\"old-laptop\"]\npassword = \"stored\"\n";
    assert_eq!(home.read(CONFIG), format!("{before}{entry}"));

    let again = home.run_with(&add, "x\n").failed(65);
    assert_eq!(
        again,
        "mailsluice: there is an account anna@gmx.de already\n"
    );
    let listed = home.run(&["account", "list"]).ok();
    assert_eq!(
        listed.split_whitespace().collect::<Vec<_>>(),
        ["anna@gmx.de", "gmx", "imap", "pop3", "smtp"]
    );
    let shown = home.run(&["account", "show", "OLD-laptop"]).ok();
    assert!(
        shown.contains("mailsluice password add anna@gmx.de"),
        "{shown}"
    );
    let shown = home.run(&["account", "show", "anna", "--json"]).json();
    assert_eq!(shown, home.run(&["account", "list", "--json"]).json()[0]);
    assert_eq!(
        shown["listeners"][2],
        json!({ "protocol": "smtp", "host": "127.0.0.1", "port": 1025, "security": "none" })
    );

    home.run(&["account", "remove", "anna"]).ok();
    assert_eq!(home.read(CONFIG), before);
    let gone = home.run(&["account", "remove", "anna"]).failed(66);
    assert!(gone.contains("there is no account anna"), "{gone}");
    home.run_with(&add, "x\n").ok();
    let passwords = home.run(&["password", "list", "anna", "--json"]).json();
    assert_eq!(
        passwords.as_array().map(Vec::len),
        Some(1),
        "the old ones went"
    );
}

#[test]
fn what_cannot_be_added_is_told_in_the_words_of_the_command_line() {
    let home = Home::new();
    let unknown = home
        .run_with(&["account", "add", "eva@firma.example"], "x\n")
        .failed(65);
    assert!(unknown.starts_with("mailsluice: eva@firma.example cannot be added like this; nothing was changed\naddress: no provider is known for firma.example"), "{unknown}");
    assert!(
        unknown.contains("--provider NAME, --host HOST"),
        "{unknown}"
    );
    let oauth = home
        .run_with(&["account", "add", "eva@outlook.com"], "x\n")
        .failed(65);
    assert!(
        oauth.contains("docs/oauth/microsoft.md")
            && oauth.contains("--oauth --client-id ID")
            && !oauth.contains("--host"),
        "{oauth}"
    );
    let blank = home
        .run_with(&["account", "add", "anna@gmx.de"], "\n")
        .failed(65);
    assert_eq!(
        blank,
        "mailsluice: no password was given; nothing was changed\n"
    );
    assert!(!home.path(CONFIG).exists() && !home.path(STATE).exists());

    // What was wrong before is told as what it is.
    home.write(CONFIG, "# mine\nhots = \"a.b\"\n");
    let broken = home
        .run_with(&["account", "add", "anna@gmx.de"], "x\n")
        .failed(78);
    assert!(
        broken.contains("mailsluice.toml:2: hots: unknown key"),
        "{broken}"
    );
}

#[test]
fn local_passwords_are_named_listed_and_revoked() {
    let home = Home::new();
    home.run_with(&["account", "add", "anna@gmx.de"], "x\n")
        .ok();
    let add = ["password", "add", "anna@gmx.de", "--name", "old laptop"];
    let made = home.run(&add).line();
    assert_eq!(made.len(), 32);
    let taken = home.run(&add).failed(65);
    assert_eq!(
        taken,
        "mailsluice: anna@gmx.de already has a local password named \"old laptop\"; choose another name or revoke that one\n"
    );
    let choose = ["password", "add", "anna", "--name", "c", "--choose"];
    let short = home.run_with(&choose, "hunter2\n").failed(65);
    assert!(short.contains("at least 8 characters"), "{short}");
    let told = home.run_with(&choose, "correct horse\n").line();
    assert_eq!(told, "anna@gmx.de has the local password \"c\" now.");
    let listed = home.run(&["password", "list", "anna", "--json"]).json();
    let rows = listed.as_array().into_iter().flatten();
    // Those made within one second have no order in time.
    let kinds: BTreeMap<_, _> = rows
        .map(|row| (row["name"].as_str(), row["kind"].as_str()))
        .collect();
    let expected = [
        (Some("c"), Some("chosen")),
        (Some("default"), Some("generated")),
        (Some("old laptop"), Some("generated")),
    ];
    assert_eq!(kinds, BTreeMap::from(expected));
    let text = home.run(&["password", "list", "anna"]).ok();
    assert_eq!(
        text.lines().filter(|l| l.ends_with("not used yet")).count(),
        3
    );
    assert!(!text.contains(&made) && !text.contains("correct horse"));

    let revoke = ["password", "revoke", "anna", "--name", "old laptop"];
    assert!(home.run(&revoke).line().contains("is refused from now on"));
    let twice = home.run(&revoke).failed(66);
    assert!(
        twice.contains("has no local password \"old laptop\""),
        "{twice}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_provider_password_is_stored_and_works() {
    let provider = Provider::start().await.expect("the provider starts");
    let (home, _) = Home::at(&provider);
    home.run_with(&["account", "add", Provider::USER], "outdated\n")
        .ok();
    let check = ["check", "--connect", "--json"];
    let outdated = home.run(&check);
    assert_eq!(outdated.code, 69, "{outdated:#?}");
    let oks = |document: &serde_json::Value| -> Vec<_> {
        let logins = document["logins"].as_array().into_iter().flatten();
        logins.map(|login| login["ok"] == true).collect()
    };
    assert_eq!(oks(&outdated.json()), [false; 3]);
    let app_password = String::from_utf8_lossy(provider.app_password().expose()).into_owned();
    home.run_with(
        &["account", "set-password", "anna"],
        &format!("{app_password}\n"),
    )
    .ok();
    let good = home.run(&check);
    assert_eq!(
        (good.code, oks(&good.json())),
        (0, vec![true; 3]),
        "{good:#?}"
    );
    let text = home.run(&["check", "--connect"]).ok();
    assert_eq!(
        text.lines().filter(|l| l.ends_with(": ok")).count(),
        3,
        "{text}"
    );
    assert!(
        text.ends_with("all is well, 1 account, 3 listeners\n"),
        "{text}"
    );
    assert!(!text.contains(&app_password));

    home.run(&["account", "add", "eva@example.org", "--passthrough"])
        .ok();
    let elsewhere = home
        .run_with(&["account", "set-password", "eva"], "x\n")
        .failed(65);
    assert!(elsewhere.contains("is not in the store"), "{elsewhere}");
}
