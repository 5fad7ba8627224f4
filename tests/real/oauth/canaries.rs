//! Secrets that must show nowhere: not in the log at any level, not in what commands print, not in what other programs
//! are told or can see, not in a dump of memory.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::process::Signal;
use serde_json::json;

use super::sign_ins::{sign_in, target};
use super::tokens::{log_in_by_imap, log_in_by_pop3, log_in_by_smtp};
use crate::client::imap::Imap;
use crate::fixture::{
    Account, Front, Mailbox, OAuthServers, ODD_PASSWORD, Proxy, Target, answer, oauth_servers,
    servers, write_private,
};

/// A day in the life of two accounts, with everything in it that has a secret. Then every place is looked through.
#[test]
fn no_secret_shows_anywhere() {
    let oauth = OAuthServers::start();
    let front = Front::before(oauth.issuer.address);
    let folder = tempfile::tempdir().expect("a folder");
    let target = confidential(&oauth, &front, folder.path());
    let mut places = vec![said(&sign_in(&target).body)];
    let mut secrets = oauth.issuer.secrets();
    live(&target, &oauth, &front);
    secrets.extend(oauth.issuer.secrets());
    oauth.issuer.revoke(&target.user);
    Imap::connect(target.imap).try_login(&target.user, &target.password);
    let told = wait_for(&folder.path().join("told"));
    for command in [
        &["status"][..],
        &["status", "--json"],
        &["account", "list", "--json"],
        &["check", "--connect"],
    ] {
        let output = target.proxy().command(command);
        places.push(said(&String::from_utf8_lossy(&output.stdout)));
        places.push(said(&String::from_utf8_lossy(&output.stderr)));
    }
    let seen = wait_for(&folder.path().join("seen"));
    assert!(
        told.contains("MAILSLUICE_URL=http"),
        "the command was not told:\n{told}"
    );
    assert!(
        seen.contains("mailsluice"),
        "the process list was not seen:\n{seen}"
    );
    let log = target.proxy().log();
    assert!(log.contains("TRACE"), "no traces in the log:\n{log}");
    places.extend([told, seen, log]);
    let proxy = target.proxy();
    let local = [proxy.password(&target.user), proxy.password(WITH_PASSWORD)];
    let forms = forms(&target.user, &secrets, &local);
    assert!(secrets.len() > 6, "{} secrets of the issuer", secrets.len());
    for form in forms {
        for place in &places {
            let at = place.find(&form);
            let around = at.map(|at| &place[at.saturating_sub(200)..at]);
            assert!(at.is_none(), "{form} behind {around:?}");
        }
    }
}

/// A client with a secret, which a command tells; and an account with a password of the provider's. Both commands write
/// down what they can see.
fn confidential(oauth: &OAuthServers, front: &Front, folder: &Path) -> Target {
    let mailbox = Mailbox::new(servers());
    let id = "confidential";
    oauth.issuer.register(&json!({
        "client_id": id, "client_secret": CLIENT_SECRET, "application_type": "native",
        "token_endpoint_auth_method": "client_secret_post", "scope": "mail offline_access",
        "grant_types": ["authorization_code", "refresh_token"], "redirect_uris": ["http://localhost/"],
    }));
    write_private(&folder.join("secret"), CLIENT_SECRET);
    let place = folder.display();
    let look = format!(
        "tr '\\\\0' '\\\\n' < /proc/self/environ > {place}/seen; cat /proc/[0-9]*/cmdline >> {place}/seen 2>&1"
    );
    let url = oauth.issuer.url();
    let issuer = format!(
        "authorize_url = \"{url}/auth\"\ntoken_url = \"{}\"\nclient_id = \"{id}\"\nscopes = [\"mail\", \"offline_access\"]\n\
         client_secret = {{ command = \"{look}; cat {place}/secret\" }}\n",
        front.url("/token")
    );
    let account = Account::oauth(&mailbox.user, oauth).with_issuer(issuer);
    let other = Account::implicit(WITH_PASSWORD, servers());
    let settings = "[log]\nfilter = \"trace\"\n";
    let tell = format!(
        "on_needed = \"(tr '\\\\0' '\\\\n' < /proc/self/environ; cat /proc/[0-9]*/cmdline) > {place}/telling 2>&1; mv {place}/telling {place}/told\"\n"
    );
    let proxy = Proxy::start_signing_in(settings, &tell, &[account, other]);
    Target::through(mailbox, proxy)
}

/// Logins of each kind, wrong ones, tokens that end, an issuer that is ill and quotes what it was sent.
fn live(target: &Target, oauth: &OAuthServers, front: &Front) {
    for log_in in [log_in_by_imap, log_in_by_pop3, log_in_by_smtp] {
        log_in(target);
    }
    let password = target.proxy().password(WITH_PASSWORD).to_owned();
    Imap::connect(target.imap)
        .try_login(WITH_PASSWORD, &password)
        .ok();
    Imap::connect(target.imap).try_login(&target.user, &format!("{WRONG}{password}"));
    oauth.issuer.expire(&target.user);
    log_in_by_imap(target);
    front.answers(|exchange| {
        let sent = format!("{:?}", exchange.seen.fields);
        let body = json!({"error": "temporarily_unavailable", "error_description": sent});
        exchange.say(answer(503, "", &body.to_string()).as_bytes())
    });
    target.proxy().command(&["sign-out", &target.user]);
    front.recover();
    sign_in(target);
    log_in_by_imap(target);
}

/// Each secret as it is, and as it stands in SASL messages; long ones by a part that is long enough to be theirs alone.
fn forms(user: &str, tokens: &[String], local: &[&str]) -> Vec<String> {
    let mut forms = vec![
        CLIENT_SECRET.to_owned(),
        ODD_PASSWORD.to_owned(),
        WRONG.to_owned(),
    ];
    forms.extend(local.iter().map(|password| (*password).to_owned()));
    for password in local {
        forms.push(STANDARD.encode(format!("\0{user}\0{password}")));
    }
    for token in tokens {
        forms.push(token.get(..20).expect("a long token").to_owned());
        let message = STANDARD.encode(format!("user={user}\u{1}auth=Bearer {token}\u{1}\u{1}"));
        let start = message.len().min(120) - 40;
        forms.push(message[start..start + 40].to_owned());
    }
    forms
}

fn said(text: &str) -> String {
    assert!(!text.contains(CLIENT_SECRET), "{text}");
    text.to_owned()
}

fn wait_for(path: &Path) -> String {
    wait_until_there(path);
    String::from_utf8_lossy(&fs::read(path).expect("a file")).into_owned()
}

fn wait_until_there(path: &Path) {
    let deadline = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(Instant::now() < deadline, "no {}", path.display());
        thread::sleep(BETWEEN_LOOKS);
    }
}

#[test]
fn memory_is_dumped_nowhere() {
    let mut target = target(oauth_servers(), "");
    let limits = fs::read_to_string(format!("/proc/{}/limits", target.proxy().pid()));
    let limits = limits.expect("procfs");
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file size"));
    let core: Vec<_> = core.expect("a limit").split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"]);
    target.proxy().signal(Signal::ABORT);
    let ended = target.proxy.as_mut().expect("a proxy").wait();
    assert_eq!(ended.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!ended.core_dumped(), "{ended:?}");
}

/// What the kernel gives to root alone is neither dumped nor shown to a debugger of the same user.
#[test]
fn memory_is_closed_to_other_programs_of_the_user() {
    let folder = tempfile::tempdir().expect("a folder");
    let own = |path: &Path| chown(path, Some(NOBODY), Some(NOBODY)).expect("root may");
    own(folder.path());
    let state = folder.path().join("state");
    let config = folder.path().join("mailsluice.toml");
    let listener = "[[listener]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:0\"\n";
    fs::write(&config, format!("state_dir = {state:?}\n{listener}")).expect("a file");
    own(&config);
    // Where it was built, this user may not come.
    let program = folder.path().join("mailsluice");
    fs::copy(env!("CARGO_BIN_EXE_mailsluice"), &program).expect("a copy");
    let run = |command: &mut Command| {
        let child = command.uid(NOBODY).gid(NOBODY).current_dir(&folder);
        Running(child.stderr(Stdio::null()).spawn().expect("it runs"))
    };
    let service = run(Command::new(program)
        .arg("--config")
        .arg(&config)
        .arg("run"));
    wait_until_there(&state.join("control.sock"));
    let other = run(Command::new("sleep").arg("1000"));
    assert_eq!((owner(&service), owner(&other)), (0, NOBODY));
}

/// Whom the kernel lets look into a process.
fn owner(process: &Running) -> u32 {
    let path = format!("/proc/{}/environ", process.0.id());
    fs::metadata(path).expect("procfs").uid()
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A user without any rights.
const NOBODY: u32 = 65_534;
const CLIENT_SECRET: &str = "canary-of-the-client-8c1f";
const WRONG: &str = "canary-typed-wrong-";
const WITH_PASSWORD: &str = "with-password@example.org";
const PATIENCE: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);
