//! The program as it is typed: a service, sign-ins from beside it, and what `status` and `account list` say of them.
//!
//! The provider is the embedded one; the browser is here.

#![cfg(unix)]
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: what is not as expected has to stop the case"
)]

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use mailsluice::bridge::provider::{Issuer, Provider};
use mailsluice::protocol::Protocol;
use serde_json::Value;

struct House {
    provider: Provider,
    folder: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        let provider = Provider::start().await.expect("the provider starts");
        let folder = tempfile::tempdir().expect("a folder");
        let house = Self { provider, folder };
        std::fs::write(house.path("ca.pem"), house.provider.ca_pem()).expect("a file");
        std::fs::write(house.path("mailsluice.toml"), house.config()).expect("a file");
        house
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn config(&self) -> String {
        let provider = &self.provider;
        let ca_file = self.path("ca.pem");
        let mut text = format!(
            "[store]\nurl = \"sqlite:{state}/store.db\"\nkey = {{ file = \"{state}/store.key\" }}\n\
             [sign_in]\nport = 0\n\
             [issuer.demo]\nauthorize_url = \"{}\"\ntoken_url = \"{}\"\nrevoke_url = \"{}\"\nclient_id = \"{}\"\n\
             scopes = [\"mail\"]\nca_file = \"{}\"\n\
             [[account]]\naddress = \"{}\"\nauth = \"oauth\"\noauth = {{ issuer = \"demo\" }}\n",
            provider.authorize_url(),
            provider.token_url(),
            provider.revoke_url(),
            Issuer::CLIENT_ID,
            ca_file.display(),
            Provider::TOKEN_USER,
            state = self.path("state").display(),
        );
        for protocol in Protocol::ALL {
            text.push_str(&format!(
                "[account.{protocol}]\nhost = \"{}\"\nport = {}\nca_file = \"{}\"\n",
                Provider::HOST,
                provider.port(protocol),
                ca_file.display()
            ));
        }
        text.push_str("[[listener]]\nprotocol = \"imap\"\naddress = \"127.0.0.1:0\"\n");
        text
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mailsluice"));
        command
            .arg("--config")
            .arg(self.path("mailsluice.toml"))
            .args(arguments)
            .env("HOME", self.folder.path())
            .env("XDG_STATE_HOME", self.path("state-home"))
            .env_remove("MAILSLUICE_CONFIG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn typed(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("the program runs")
    }

    /// The account's grant as `account list --json` tells it.
    fn state(&self) -> String {
        let listed = self.typed(&["account", "list", "--json"]);
        let document: Value = serde_json::from_slice(&listed.stdout)
            .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&listed.stderr)));
        let state = document.pointer("/0/grant/state").and_then(Value::as_str);
        state.expect("a grant").to_owned()
    }

    /// Types `sign-in` and consents, or not, in the browser. The exit code and what was told at the end.
    async fn sign_in(&self, consent: &str) -> (Option<i32>, String) {
        let typed = self.command(&["sign-in", Provider::TOKEN_USER, "--no-browser"]);
        sign_in_by(typed, consent).await
    }
}

/// What [`House::sign_in`] does, by a command that is ready.
async fn sign_in_by(mut typed: Command, consent: &str) -> (Option<i32>, String) {
    let mut child = Running(typed.spawn().expect("the program runs"));
    let told = BufReader::new(child.0.stderr.take().expect("standard error"));
    let (found, url) = tokio::sync::oneshot::channel();
    let reading = tokio::task::spawn_blocking(move || {
        let mut lines = told.lines().map_while(Result::ok);
        if let Some(url) = lines.find(|line| line.trim().starts_with("http://")) {
            let _ = found.send(url.trim().to_owned());
        }
        lines.collect::<Vec<_>>().join("\n")
    });
    let url = url.await.expect("an address to open");
    let limits = format!("/proc/{}/limits", child.0.id());
    if let Ok(limits) = std::fs::read_to_string(limits) {
        let core = limits.lines().find(|l| l.starts_with("Max core file size"));
        let core: Vec<_> = core.expect("a limit").split_whitespace().collect();
        assert_eq!(core[4..6], ["0", "0"], "a token may come into its memory");
    }
    let browser = reqwest::Client::builder().no_proxy().build();
    let page = browser
        .expect("a browser")
        .get(format!("{url}&consent={consent}"));
    page.send().await.expect("the page at the end");
    let told = reading.await.expect("the rest is read");
    let code = child.0.wait().expect("it ends").code();
    (code, told)
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_and_out_without_a_service() {
    let house = House::new().await;
    assert_eq!(house.state(), "empty");
    let (code, told) = house.sign_in("no").await;
    assert_eq!(code, Some(77), "{told}");
    assert!(told.contains("refused"), "{told}");
    let (code, told) = house.sign_in("yes").await;
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("ole@example.org is signed in."), "{told}");
    assert_eq!(house.state(), "active");
    let shown = house.typed(&["account", "show", Provider::TOKEN_USER]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("at the provider: signed in"), "{shown}");
    let out = house.typed(&["sign-out", Provider::TOKEN_USER]);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert_eq!(house.state(), "empty");
}

/// As when a second service runs on the machine: the first has the port that sign-ins come back to.
#[tokio::test(flavor = "multi_thread")]
async fn a_callback_port_that_is_taken_ends_the_start_and_is_named() {
    let house = House::new().await;
    let taken = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = taken.local_addr().expect("bound").port();
    let config = house.config();
    let config = config.replacen("port = 0", &format!("port = {port}"), 1);
    std::fs::write(house.path("mailsluice.toml"), config).expect("a file");
    for command in ["run", "check"] {
        let ended = house.typed(&[command]);
        let told = String::from_utf8_lossy(&ended.stderr).into_owned()
            + &String::from_utf8_lossy(&ended.stdout);
        assert!(!ended.status.success(), "{command}: {told}");
        assert!(told.contains("sign_in.port"), "{command}: {told}");
        assert!(told.contains(&port.to_string()), "{command}: {told}");
    }
}

/// What is on this machine is asked directly: a proxy could not reach it, and would read what is plain.
#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_of_the_environment_is_used_for_issuers_elsewhere_alone() {
    let house = House::new().await;
    let proxy = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = format!("http://{}", proxy.local_addr().expect("bound"));
    let through = |mut command: Command| {
        command.envs(["http_proxy", "https_proxy", "all_proxy"].map(|name| (name, &address)));
        command.env_remove("no_proxy").env_remove("NO_PROXY");
        command
    };
    let typed = house.command(&["sign-in", Provider::TOKEN_USER, "--no-browser"]);
    let (code, told) = sign_in_by(through(typed), "yes").await;
    assert_eq!(code, Some(0), "{told}");

    let config = house.config();
    let elsewhere = "device_url = \"https://issuer.invalid/device\"\ntoken_url = ";
    let config = config.replacen("token_url = ", elsewhere, 1);
    std::fs::write(house.path("mailsluice.toml"), config).expect("a file");
    let asked = std::thread::spawn(move || {
        let (stream, _) = proxy.accept().expect("somebody asks");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("a line");
        line
    });
    let mut typed = through(house.command(&["sign-in", Provider::TOKEN_USER, "--device"]));
    let ended = typed.output().expect("the program runs");
    assert_eq!(ended.status.code(), Some(69), "{ended:?}");
    let asked = asked.join().expect("a request");
    assert_eq!(asked, "CONNECT issuer.invalid:443 HTTP/1.1\r\n");
}

/// By name: the proxy resolves it, as it does for mail.
#[tokio::test(flavor = "multi_thread")]
async fn a_socks_proxy_of_the_environment_is_used_for_issuers_too() {
    let house = House::new().await;
    let proxy = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let address = format!("socks5h://{}", proxy.local_addr().expect("bound"));
    let config = house.config();
    let elsewhere = "device_url = \"https://issuer.invalid/device\"\ntoken_url = ";
    let config = config.replacen("token_url = ", elsewhere, 1);
    std::fs::write(house.path("mailsluice.toml"), config).expect("a file");
    let asked = std::thread::spawn(move || {
        let (mut stream, _) = proxy.accept().expect("somebody asks");
        let mut methods = [0; 3];
        stream.read_exact(&mut methods).expect("methods");
        stream.write_all(b"\x05\0").expect("it listens");
        let mut request = [0; 21];
        stream.read_exact(&mut request).expect("a request");
        request
    });
    let mut typed = house.command(&["sign-in", Provider::TOKEN_USER, "--device"]);
    for name in [
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
        "NO_PROXY",
        "no_proxy",
    ] {
        typed.env_remove(name);
    }
    let ended = typed
        .env("ALL_PROXY", &address)
        .output()
        .expect("the program runs");
    assert_eq!(ended.status.code(), Some(69), "{ended:?}");
    let asked = asked.join().expect("a request");
    assert_eq!(&asked, b"\x05\x01\0\x03\x0eissuer.invalid\x01\xbb");
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_in_beside_a_running_service() {
    let house = House::new().await;
    let service = house.command(&["run"]).stdout(Stdio::null()).spawn();
    let mut service = Running(service.expect("the program runs"));
    let log = BufReader::new(service.0.stderr.take().expect("standard error"));
    let (is_ready, ready) = tokio::sync::oneshot::channel();
    let logged = tokio::task::spawn_blocking(move || {
        let mut is_ready = Some(is_ready);
        let mut text = String::new();
        for line in log.lines().map_while(Result::ok) {
            if line.contains("ready")
                && let Some(is_ready) = is_ready.take()
            {
                let _ = is_ready.send(());
            }
            text.push_str(&line);
            text.push('\n');
        }
        text
    });
    if ready.await.is_err() {
        panic!("{}", logged.await.expect("a log"));
    }
    let (code, told) = house.sign_in("yes").await;
    assert_eq!(code, Some(0), "{told}");
    let status = house.typed(&["status", "--json"]);
    let status: Value = serde_json::from_slice(&status.stdout).expect("a status");
    assert_eq!(
        status.pointer("/grants/0/state").and_then(Value::as_str),
        Some("active"),
        "{status}"
    );
    assert_eq!(house.provider.issuer().token_requests(), 1);
    drop(service);
    let log = logged.await.expect("a log");
    assert!(
        !log.contains("code=") && !log.contains("code_verifier"),
        "{log}"
    );
}
