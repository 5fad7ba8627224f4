//! Programs over TLS on the client leg, and what makes them trust the proxy's own CA.

use std::path::{Path, PathBuf};

use super::desk::{Desk, MESSAGE, text};
use crate::client::assert_same;
use crate::client::imap::Imap;
use crate::fixture::{Account, Mailbox, Proxy, Tls, servers};

/// A proxy with a certificate by its own CA, one mailbox with a message in it, and the CA as a person exports it.
struct Scene {
    desk: Desk,
    proxy: Proxy,
    user: String,
    ca: PathBuf,
}

const BOTH: [Tls; 2] = [Tls::Implicit, Tls::StartTls];

impl Scene {
    fn new(tls: Tls) -> Self {
        let servers = servers();
        let mailbox = Mailbox::new(servers);
        mailbox.seed("", [MESSAGE.as_bytes()]);
        let user = mailbox.user.clone();
        let proxy = Proxy::start_with_own_ca(tls, "modern", &[Account::implicit(&user, servers)]);
        let desk = Desk::new();
        let exported = proxy.command(&["certs", "export"]);
        assert!(exported.status.success(), "{exported:?}");
        let ca = desk.write("ca.pem", &text(&exported.stdout));
        Self {
            desk,
            proxy,
            user,
            ca,
        }
    }

    fn ports(&self) -> [(&'static str, u16); 3] {
        [
            ("imap", self.proxy.imap.port()),
            ("pop3", self.proxy.pop3.port()),
            ("smtp", self.proxy.smtp.port()),
        ]
    }

    /// `openssl s_client` as far as the handshake, trusting `ca` alone.
    fn s_client(
        &self,
        tls: Tls,
        version: &str,
        ca: &Path,
        name: &str,
        (protocol, port): (&str, u16),
    ) -> (bool, String) {
        let mut openssl = self.desk.program("openssl");
        openssl
            .args([
                "s_client",
                "-brief",
                version,
                "-verify_return_error",
                "-no-CApath",
                "-no-CAstore",
            ])
            .args([
                "-verify_hostname",
                name,
                "-connect",
                &format!("127.0.0.1:{port}"),
                "-CAfile",
            ])
            .arg(ca);
        if let Tls::StartTls = tls {
            openssl.args(["-starttls", protocol]);
        }
        let output = openssl.output().expect("openssl");
        let said = text(&output.stdout) + &text(&output.stderr);
        (output.status.success(), said)
    }

    /// Fetches by IMAP and POP3, sends by SMTP, with these words on whom to trust.
    fn curl(&self, tls: Tls, trust: &[&str]) {
        let (suffix, required) = match tls {
            Tls::Implicit => ("s", "-sS"),
            Tls::StartTls => ("", "--ssl-reqd"),
        };
        let login = format!("{}:{}", self.user, self.proxy.password(&self.user));
        let curl = |arguments: &[&str]| {
            let mut curl = self.desk.program("curl");
            let curl = curl.args(["-sS", "-m", "60", required, "-u", &login]);
            self.desk.run(curl.args(trust).args(arguments))
        };
        let [imap, pop3, smtp] = self
            .ports()
            .map(|(protocol, port)| format!("{protocol}{suffix}://localhost:{port}"));
        let imap = format!("{imap}/INBOX;MAILINDEX=1");
        assert_same(&curl(&[&imap]), MESSAGE.as_bytes(), &imap);
        let pop3 = format!("{pop3}/1");
        assert_same(&curl(&[&pop3]), MESSAGE.as_bytes(), &pop3);
        let message = self.desk.message();
        let message = message.to_str().expect("UTF-8");
        curl(&[
            &smtp,
            "--mail-from",
            &self.user,
            "--mail-rcpt",
            &self.user,
            "-T",
            message,
        ]);
    }
}

#[test]
fn openssl_verifies_every_port_under_both_versions() {
    let stranger = Scene::new(Tls::Implicit);
    for tls in BOTH {
        let scene = Scene::new(tls);
        for port in scene.ports() {
            for (version, said) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
                for name in ["localhost", "mailsluice.localhost"] {
                    let (well, told) = scene.s_client(tls, version, &scene.ca, name, port);
                    assert!(
                        well && told.contains("Verification: OK"),
                        "{port:?}: {told}"
                    );
                    assert!(
                        told.contains(&format!("Protocol version: {said}")),
                        "{told}"
                    );
                }
                let (well, told) = scene.s_client(tls, version, &stranger.ca, "localhost", port);
                assert!(
                    !well && told.contains("verify error"),
                    "of another CA: {told}"
                );
                let (well, told) = scene.s_client(tls, version, &scene.ca, "gmx.de", port);
                assert!(
                    !well && told.contains("verify error"),
                    "another name: {told}"
                );
            }
        }
    }
}

#[test]
fn curl_speaks_tls_with_own_certificate_files_and_with_our_own() {
    for tls in BOTH {
        let scene = Scene::new(tls);
        scene.curl(tls, &["--cacert", scene.ca.to_str().expect("UTF-8")]);
        let servers = servers();
        let mailbox = Mailbox::new(servers);
        mailbox.seed("", [MESSAGE.as_bytes()]);
        let scene = Scene {
            proxy: Proxy::start_with_tls(
                tls,
                "modern",
                &[Account::implicit(&mailbox.user, servers)],
            ),
            user: mailbox.user,
            ..scene
        };
        scene.curl(tls, &["--cacert", servers.ca_file.to_str().expect("UTF-8")]);
    }
}

/// As strict as Python 3.13 is by itself.
#[test]
fn python_verifies_strictly() {
    for tls in BOTH {
        let scene = Scene::new(tls);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/programs/tls.py");
        let mut python = scene.desk.program("python3");
        python.arg(script).arg(match tls {
            Tls::Implicit => "implicit",
            Tls::StartTls => "starttls",
        });
        python
            .arg(&scene.ca)
            .args([&scene.user, scene.proxy.password(&scene.user)]);
        python.args(scene.ports().map(|(_, port)| port.to_string()));
        assert_eq!(text(&scene.desk.run(&mut python)), "done\n");
    }
}

#[test]
fn gnutls_verifies_every_protocol() {
    let scene = Scene::new(Tls::StartTls);
    for (protocol, port) in scene.ports() {
        let mut gnutls = scene.desk.program("gnutls-cli");
        gnutls
            .arg(format!("--port={port}"))
            .arg(format!("--starttls-proto={protocol}"));
        gnutls.arg("--x509cafile").arg(&scene.ca).arg("localhost");
        let told = text(&scene.desk.run(&mut gnutls));
        assert!(
            told.contains("Status: The certificate is trusted."),
            "{told}"
        );
    }
}

/// With the trust store that is made for it, and with no password for that, as some set it up.
#[test]
fn java_verifies_every_protocol_under_both_versions() {
    let scene = Scene::new(Tls::Implicit);
    let store = scene.desk.path("ca.p12");
    let out = store.to_str().expect("UTF-8");
    let exported = scene
        .proxy
        .command(&["certs", "export", "--format", "p12", "--out", out]);
    assert!(exported.status.success(), "{}", text(&exported.stderr));
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/programs/Tls.java");
    for password in [
        "-Djavax.net.ssl.trustStorePassword=changeit",
        "-Dnothing=more",
    ] {
        let mut java = scene.desk.program("java");
        java.arg(format!("-Djavax.net.ssl.trustStore={out}"));
        java.args(["-Djavax.net.ssl.trustStoreType=PKCS12", password]);
        java.arg(&source);
        java.args(scene.ports().map(|(_, port)| port.to_string()));
        let told = text(&scene.desk.run(&mut java));
        let said = ["*", "+OK", "220"].map(|word| format!("TLSv1.2 {word}\nTLSv1.3 {word}\n"));
        assert_eq!(told, said.concat());
    }
}

/// An authority that is bound to names is of no use for others, whoever has its key.
#[test]
fn the_ca_cannot_vouch_for_a_provider() {
    let scene = Scene::new(Tls::Implicit);
    let shown = scene.proxy.command(&["certs", "show", "--json"]);
    let shown: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let ca = Path::new(shown["ca"]["file"].as_str().expect("a file"));
    let with_key = ca.with_file_name("ca-with-key.pem");
    let openssl = |arguments: &[&str]| {
        let mut openssl = scene.desk.program("openssl");
        openssl.args(arguments).output().expect("openssl")
    };
    let path = |name: &str| scene.desk.path(name).display().to_string();
    let (key, with_key, ca) = (
        path("forged.key"),
        with_key.display().to_string(),
        scene.ca.display().to_string(),
    );
    for (name, good) in [
        ("mail.lan", true),
        ("imap.gmail.com", false),
        ("192.168.7.7", true),
        ("8.8.8.8", false),
    ] {
        let kind = if name.ends_with(|c: char| c.is_ascii_digit()) {
            "IP"
        } else {
            "DNS"
        };
        let forged = path("forged.pem");
        let made = openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=forged",
            "-addext",
            &format!("subjectAltName={kind}:{name}"),
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-CA",
            &with_key,
            "-CAkey",
            &with_key,
            "-keyout",
            &key,
            "-out",
            &forged,
        ]);
        assert!(made.status.success(), "{made:?}");
        let verified = openssl(&["verify", "-purpose", "sslserver", "-CAfile", &ca, &forged]);
        assert_eq!(verified.status.success(), good, "{name}: {verified:?}");
    }
}

/// The machine's own trust, as Debian keeps it; taken back even when this fails in between.
#[test]
fn the_system_trusts_and_forgets_the_ca() {
    let scene = Scene::new(Tls::Implicit);
    let is_trusted = || {
        let mut openssl = scene.desk.program("openssl");
        openssl
            .args(["verify", "-CAfile", "/etc/ssl/certs/ca-certificates.crt"])
            .arg(&scene.ca);
        openssl.output().expect("openssl").status.success()
    };
    assert!(!is_trusted(), "a run before this one has left something");
    let forget = Forget(&scene.proxy);
    let trusted = scene
        .proxy
        .command(&["certs", "trust", "--only", "system", "--yes"]);
    assert!(trusted.status.success(), "{}", text(&trusted.stderr));
    let told = text(&trusted.stdout);
    assert!(
        told.contains("  update-ca-certificates\n") && told.contains(": trusts the CA now\n"),
        "{told}"
    );
    assert!(is_trusted());
    // Not a word on whom to trust.
    scene.curl(Tls::Implicit, &[]);
    drop(forget);
    assert!(!is_trusted());
    let left = Path::new("/usr/local/share/ca-certificates/mailsluice-local-ca.crt");
    assert!(!left.exists());
}

struct Forget<'a>(&'a Proxy);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        let forgot = self
            .0
            .command(&["certs", "trust", "--only", "system", "--remove", "--yes"]);
        assert!(
            forgot.status.success() || std::thread::panicking(),
            "{}",
            text(&forgot.stderr)
        );
    }
}

/// A session goes on while what the next one is shown is another.
#[test]
fn a_new_ca_is_presented_after_a_reload_and_an_open_session_goes_on() {
    let scene = Scene::new(Tls::StartTls);
    let mut session = Imap::connect(scene.proxy.imap);
    session
        .try_login(&scene.user, scene.proxy.password(&scene.user))
        .ok();
    let made = scene.proxy.command(&["certs", "new", "--yes"]);
    assert!(made.status.success(), "{}", text(&made.stderr));
    scene.proxy.signal(rustix::process::Signal::HUP);
    let exported = scene.proxy.command(&["certs", "export"]);
    let ca = scene.desk.write("new.pem", &text(&exported.stdout));
    let imap = ("imap", scene.proxy.imap.port());
    let waited = (0..PATIENCE).any(|_| {
        scene
            .s_client(Tls::StartTls, "-tls1_3", &ca, "localhost", imap)
            .0
    });
    assert!(waited, "{}", scene.proxy.log());
    session.command("NOOP");
}

/// Handshakes until the reload must have been seen.
const PATIENCE: usize = 200;
