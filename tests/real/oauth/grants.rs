//! Every way to a grant, from the person or the key to a message fetched and one sent.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::sign_ins::sign_in;
use crate::client::browser::Browser;
use crate::client::imap::Imap;
use crate::client::pop3::Pop3;
use crate::client::smtp::Smtp;
use crate::fixture::{
    Account, CLIENT_ID, Exchange, Front, Mailbox, Proxy, Target, answer, oauth_servers, servers,
    write_private,
};

/// Fetches over IMAP and POP3 and sends, each with tokens alone.
fn fetch_and_send(target: &Target) {
    const SEEDED: &[u8] = b"Subject: seeded\r\n\r\nhello\r\n";
    target.mailbox.seed("", [SEEDED]);
    let mut imap = Imap::inbox(target);
    assert_eq!(imap.command("FETCH 1 BODY.PEEK[]").literals(), [SEEDED]);
    let stat = Pop3::login(target).command("STAT");
    assert!(stat.starts_with("1 "), "{stat}");
    let mut smtp = Smtp::login(target);
    smtp.submit(&target.user, b"Subject: sent\r\n\r\nhello again\r\n")
        .expect(250);
    smtp.command("QUIT").expect(221);
    imap.idle_until("* 2 EXISTS", || (), "NOOP").ok();
}

#[test]
fn authorization_code_by_a_browser() {
    let mailbox = Mailbox::new(servers());
    let account = Account::oauth(&mailbox.user, oauth_servers());
    let target = Target::through(mailbox, Proxy::start(&[account]));
    assert_eq!(sign_in(&target).status, 200);
    fetch_and_send(&target);
    assert_eq!(oauth_servers().issuer.requests(&target.user), 1);
}

/// The service need not run while a person signs in.
#[test]
fn authorization_code_pasted_while_no_service_runs() {
    let mailbox = Mailbox::new(servers());
    let account = Account::oauth(&mailbox.user, oauth_servers());
    let mut target = Target::through(mailbox, Proxy::start(&[account]));
    target.kill();
    let output = target.proxy().sign_in_pasting(&target.user, |url| {
        Browser::default().sign_in(url, &target.user)
    });
    assert!(output.status.success(), "{output:?}");
    target.start();
    fetch_and_send(&target);
    assert_eq!(oauth_servers().issuer.requests(&target.user), 1);
}

#[test]
fn device_code_at_the_issuers_pace() {
    let oauth = oauth_servers();
    let front = Front::before(oauth.issuer.address);
    let slowed = AtomicBool::new(false);
    front.answers(move |exchange| hurried_then_slowed(exchange, &slowed));
    let mailbox = Mailbox::new(servers());
    let account = Account::oauth_behind(&mailbox.user, oauth, &front)
        .with_lines("oauth = { issuer = \"test\", flow = \"device\" }\n".to_owned());
    let target = Target::through(mailbox, Proxy::start(&[account]));
    let mut url = None;
    let output = target.proxy().sign_in(&target.user, &[], |line| {
        let Some(url) = &url else {
            url = line.starts_with("http").then(|| line.to_owned());
            return false;
        };
        let is_code = line.len() == 9 && line.as_bytes().get(4) == Some(&b'-');
        if is_code {
            let page =
                Browser::default().approve_device(&format!("{url}?user_code={line}"), &target.user);
            assert!(page.body.contains("Sign-in Success"), "{page:?}");
        }
        is_code
    });
    assert!(output.status.success(), "{output:?}");
    let looks: Vec<_> = front
        .seen()
        .into_iter()
        .filter(|seen| seen.path == "/token")
        .collect();
    let [slowed, second, ..] = &looks[..] else {
        panic!("too few looks: {looks:?}");
    };
    let gap = second.at.duration_since(slowed.at);
    assert!(
        gap >= Duration::from_secs(6),
        "it looked again after {gap:?}"
    );
    fetch_and_send(&target);
}

/// A code may be asked about every second, but the first look comes too early.
fn hurried_then_slowed(exchange: &mut Exchange, slowed: &AtomicBool) -> io::Result<()> {
    let said = match exchange.seen.path.as_str() {
        "/device/auth" => {
            let mut document = exchange.forward_json()?;
            document["interval"] = json!(1);
            answer(200, JSON, &document.to_string())
        }
        "/token" if !slowed.swap(true, Ordering::SeqCst) => {
            answer(400, JSON, &json!({"error": "slow_down"}).to_string())
        }
        _ => return crate::fixture::pass_on(exchange),
    };
    exchange.say(said.as_bytes())
}

/// Where an issuer gives no token for two audiences, one sign-in brings one for each protocol, and the refresh token that
/// all of them share is never used twice. Without `prompt` this issuer would grant no `offline_access`.
#[test]
fn one_grant_with_a_token_for_each_protocol() {
    let oauth = oauth_servers();
    let mailbox = Mailbox::new(servers());
    let url = oauth.issuer.url();
    let issuer = format!(
        "discover = \"{url}\"\nclient_id = \"{CLIENT_ID}\"\nscopes = {{ common = [\"offline_access\"], imap = [\"mail\"], \
         pop3 = [\"mail\", \"calendar\"], smtp = [\"mail\"], separate = true }}\nauthorize_parameters = {{ prompt = \"consent\" }}\n"
    );
    let account = Account::oauth(&mailbox.user, oauth).with_issuer(issuer);
    let target = Target::through(mailbox, Proxy::start(&[account]));
    sign_in(&target);
    fetch_and_send(&target);
    assert_eq!(oauth.issuer.requests(&target.user), 1 + 3);
}

/// A client of its own for one mailbox, with files beside the configuration.
struct Machine {
    mailbox: Mailbox,
    id: String,
    files: TempDir,
}

impl Machine {
    fn new() -> Self {
        let mailbox = Mailbox::new(servers());
        Self {
            id: format!("machine-of-{}", mailbox.user),
            mailbox,
            files: tempfile::tempdir().expect("a folder"),
        }
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.files.path().join(name);
        write_private(&path, content);
        path
    }

    /// Registers it with the issuer.
    fn register(&self, grant_type: &str, further: Value) {
        let mut client = json!({
            "client_id": self.id, "grant_types": [grant_type], "redirect_uris": [], "response_types": [],
            "scope": "mail", "mailbox": self.mailbox.user,
        });
        let all = client.as_object_mut().expect("an object");
        all.extend(further.as_object().expect("an object").clone());
        oauth_servers().issuer.register(&client);
    }

    /// Fetches and sends with what `issuer` and `account` say; nobody signs in.
    fn fetches_and_sends(self, issuer: &str, account: &str) {
        let oauth = oauth_servers();
        let url = oauth.issuer.url();
        let issuer = format!("discover = \"{url}\"\nscopes = [\"mail\"]\n{issuer}");
        let account = Account::oauth(&self.mailbox.user, oauth)
            .with_issuer(issuer)
            .with_lines(account.to_owned());
        let target = Target::through(self.mailbox.clone(), Proxy::start(&[account]));
        fetch_and_send(&target);
        assert_eq!(oauth.issuer.requests(&target.user), 1);
    }
}

#[test]
fn client_credentials_with_a_secret() {
    let machine = Machine::new();
    machine.register(
        "client_credentials",
        json!({"client_secret": "a client's secret"}),
    );
    let file = machine.file("secret", "a client's secret");
    let issuer = format!(
        "client_id = {:?}\nclient_secret = {{ file = {file:?} }}\n",
        machine.id
    );
    machine.fetches_and_sends(&issuer, CLIENT_CREDENTIALS);
}

#[test]
fn client_credentials_with_a_signed_assertion() {
    let machine = Machine::new();
    let key = KeyPair::generate().expect("a key");
    machine.register("client_credentials", proof_by(&key));
    let file = machine.file("key.pem", &key.serialize_pem());
    let issuer = format!("client_id = {:?}\nkey = {file:?}\n", machine.id);
    machine.fetches_and_sends(&issuer, CLIENT_CREDENTIALS);
}

/// As Microsoft wants it: RSA, and the certificate's thumbprint beside the signature.
#[test]
fn client_credentials_with_a_certificate() {
    let machine = Machine::new();
    let key = rsa();
    machine.register("client_credentials", proof_by(&key));
    let certificate = CertificateParams::default().self_signed(&key);
    let certificate = machine.file("certificate.pem", &certificate.expect("signed").pem());
    let file = machine.file("key.pem", &key.serialize_pem());
    let issuer = format!(
        "client_id = {:?}\ncertificate = {certificate:?}\nkey = {file:?}\n",
        machine.id
    );
    machine.fetches_and_sends(&issuer, CLIENT_CREDENTIALS);
}

#[test]
fn resource_owner_password() {
    let machine = Machine::new();
    let further = json!({"token_endpoint_auth_method": "none", "password": "an owner's password"});
    machine.register("password", further);
    let file = machine.file("password", "an owner's password");
    let issuer = format!("client_id = {:?}\n", machine.id);
    let account = format!(
        "oauth = {{ issuer = \"test\", flow = \"password\" }}\npassword = {{ file = {file:?} }}\n"
    );
    machine.fetches_and_sends(&issuer, &account);
}

#[test]
fn service_account_with_delegation() {
    let machine = Machine::new();
    let key = rsa();
    let further = json!({"token_endpoint_auth_method": "none", "public_key": key.public_key_pem()});
    machine.register("urn:ietf:params:oauth:grant-type:jwt-bearer", further);
    let content = json!({
        "type": "service_account", "client_email": machine.id, "private_key_id": "1",
        "private_key": key.serialize_pem(), "token_uri": format!("{}/token", oauth_servers().issuer.url()),
    });
    let file = machine.file("key.json", &content.to_string());
    let account =
        format!("oauth = {{ issuer = \"test\", flow = \"service-account\", key = {file:?} }}\n");
    machine.fetches_and_sends("", &account);
}

fn proof_by(key: &KeyPair) -> Value {
    json!({"token_endpoint_auth_method": "private_key_jwt", "public_key": key.public_key_pem()})
}

fn rsa() -> KeyPair {
    KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("a key")
}

const JSON: &str = "Content-Type: application/json\r\n";
const CLIENT_CREDENTIALS: &str = "oauth = { issuer = \"test\", flow = \"client-credentials\" }\n";
