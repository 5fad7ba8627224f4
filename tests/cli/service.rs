//! `run`, `status` and `check` around a service at work.

use std::net::TcpListener;

use mailsluice::bridge::provider::Provider;
use rustix::process::Signal;

use crate::home::{CONFIG, Home, STATE};

/// A home with one account at `provider`, and its local password.
fn with_account(provider: &Provider) -> (Home, String) {
    let (home, _) = Home::at(provider);
    let secret = String::from_utf8_lossy(provider.app_password().expose()).into_owned();
    let add = ["account", "add", Provider::USER];
    let password = home.run_with(&add, &secret).line();
    (home, password)
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_work_until_they_are_revoked() {
    let provider = Provider::start().await.expect("the provider starts");
    let (home, password) = with_account(&provider);
    let service = home.start();
    let lets_in = |password: &str| service.pop3("anna", password).1;
    assert!(lets_in(&password));
    let laptop = ["password", "add", "anna", "--name", "old laptop"];
    let second = home.run(&laptop).line();
    assert!(
        lets_in(&second.to_uppercase().replace('-', "")),
        "as a person types it"
    );
    home.run(&["password", "revoke", "anna", "--name", "old laptop"])
        .ok();
    assert!(!lets_in(&second));
    assert!(lets_in(&password));
    let used = home.run(&["password", "list", "anna", "--json"]).json();
    assert!(used[0]["last_used"].is_string(), "{used}");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_tells_who_is_there_and_the_end_is_orderly() {
    let provider = Provider::start().await.expect("the provider starts");
    let (home, password) = with_account(&provider);
    let stopped = home.run(&["status"]).failed(69);
    assert!(stopped.contains("start it: mailsluice run"), "{stopped}");
    let service = home.start();
    let (mut client, let_in) = service.pop3("anna", &password);
    assert!(let_in);
    assert!(client.say("STAT").starts_with("+OK 6 "));
    let status = home.run(&["status", "--json"]).json();
    assert_eq!(
        (&status["accounts"], &status["connections"]),
        (&1.into(), &1.into())
    );
    assert_eq!(status["sessions"][0]["account"], Provider::USER);
    let text = home.run(&["status"]).ok();
    assert!(
        text.contains(", 1 account, 1 connection so far\n"),
        "{text}"
    );
    assert!(
        text.contains("\n1 open session:\n  #1 pop3 anna@example.org at localhost:"),
        "{text}"
    );

    let second = home.run(&["run"]).failed(69);
    assert!(
        second.contains("the service is running already"),
        "{second}"
    );
    let told = home
        .run_with(&["account", "add", "eva@example.org"], "x\n")
        .stderr;
    assert!(
        told.contains("The running service learns of it by: kill -HUP "),
        "{told}"
    );

    service.signal(Signal::TERM);
    let farewell = client.rest();
    assert!(farewell.starts_with("-ERR [SYS/TEMP] "), "{farewell}");
    assert!(service.ended().success());
    assert!(!home.path(&format!("{STATE}/control.sock")).exists());
    home.run(&["status"]).failed(69);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_takes_what_is_right_and_keeps_the_old_for_what_is_wrong() {
    let provider = Provider::start().await.expect("the provider starts");
    let (home, password) = with_account(&provider);
    let service = home.start();
    let good = home.read(CONFIG);
    home.write(
        CONFIG,
        &good.replace("[defaults]", "hots = \"a.b\"\nlogg = 1\n[defaults]"),
    );
    service.signal(Signal::HUP);
    for mistake in [
        "mailsluice.toml:3: hots: unknown key",
        "mailsluice.toml:4: logg: unknown key",
    ] {
        let line = service.wait_for("the old configuration stays");
        assert!(line.contains(mistake), "{line}");
    }
    let (mut before, let_in) = service.pop3("anna", &password);
    assert!(let_in, "the old one goes on");

    home.write(CONFIG, &good);
    home.run(&["account", "remove", "anna"]).ok();
    home.write(
        CONFIG,
        &format!("{}\n[log]\nfilter = \"debug\"\n", home.read(CONFIG)),
    );
    service.signal(Signal::HUP);
    let line = service.wait_for("configuration read again");
    assert!(line.contains("accounts=0"), "{line}");
    service.wait_for("counts from the next start on");
    assert!(!service.pop3("anna", &password).1);
    assert!(
        before.say("NOOP").starts_with("+OK"),
        "an open session stays"
    );
}

#[test]
fn ports_in_use_are_told_before_any_port_opens() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    let home = Home::new();
    let text =
        format!("[[listener]]\nprotocol = \"imap\"\naddress = [\"127.0.0.1:0\", \"{address}\"]\n");
    home.write(CONFIG, &text);
    let config = home.path(CONFIG);
    let problem =
        format!("{address} is in use by another program: stop it, or choose another port");
    let expected = format!(
        "mailsluice: the configuration has to be mended first\n{}:3: listener.address: {problem}\n",
        config.display()
    );
    assert_eq!(home.run(&["run"]).failed(69), expected);
    assert_eq!(home.run(&["check"]).failed(69), expected);
    let document = home.run(&["check", "--json"]);
    assert_eq!(document.code, 69);
    let place = format!("{}:3", config.display());
    let expected = serde_json::json!({
        "problems": [{ "place": place, "key": "listener.address", "text": problem }],
        "logins": [],
    });
    assert_eq!(document.json(), expected);
    assert!(!home.path(STATE).exists(), "nothing was opened or made");
    drop(taken);
    home.run(&["check"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn check_does_not_take_the_running_service_for_another_program() {
    let provider = Provider::start().await.expect("the provider starts");
    let (home, _) = with_account(&provider);
    let port = home
        .start()
        .address(mailsluice::protocol::Protocol::Imap)
        .port();
    let fixed = home
        .read(CONFIG)
        .replacen("127.0.0.1:0", &format!("127.0.0.1:{port}"), 1);
    home.write(CONFIG, &fixed);
    let service = home.start();
    assert!(home.run(&["check"]).ok().contains("all is well"));
    drop(service);
}

#[test]
fn problems_are_told_all_at_once_in_text_and_json() {
    let home = Home::new();
    home.write(
        CONFIG,
        "hots = \"a.b\"\n\n[[account]]\naddress = \"anna@gmx.de\"\n",
    );
    let config = home.path(CONFIG).display().to_string();
    let told = home.run(&["check", "--set", "log.filter=="]).failed(78);
    let places: Vec<_> = told
        .lines()
        .skip(1)
        .filter_map(|l| l.split(": ").next())
        .collect();
    assert_eq!(
        places,
        [
            format!("{config}:1"),
            format!("{config}:3"),
            "flag --set log.filter".to_owned()
        ]
    );
    let document = home.run(&["check", "--json"]);
    assert_eq!(document.code, 78);
    let problems = document.json()["problems"].clone();
    assert_eq!(problems[0]["key"], "hots");
    assert_eq!(problems[0]["text"], "unknown key; did you mean `host`?");
    assert_eq!(problems.as_array().map(Vec::len), Some(2), "{problems}");
    assert_eq!(home.run(&["run"]).code, 78);
    let missing = home.run(&["-c", "no-such.toml", "check"]).failed(78);
    assert!(
        missing.ends_with("no-such.toml: cannot be read: there is no such file\n"),
        "{missing}"
    );
}

#[test]
fn a_state_folder_that_cannot_be_made_or_is_open_is_told() {
    let home = Home::new();
    home.write("file", "");
    let run = |folder: &str| {
        let state_dir = format!("state_dir={}", home.path(folder).display());
        home.run(&["run", "--set", &state_dir, "--set", ANY_PORT])
    };
    let on_a_file = run("file/x").failed(74);
    assert!(
        on_a_file.contains("cannot use the store's folder"),
        "{on_a_file}"
    );
    std::fs::create_dir(home.path("open")).expect("a folder");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(home.path("open"), mode).expect("its mode");
    let open = run("open").failed(78);
    assert!(open.contains("run: chmod 700"), "{open}");
}

const ANY_PORT: &str = "listener=[{protocol=\"imap\",address=\"127.0.0.1:0\"}]";
