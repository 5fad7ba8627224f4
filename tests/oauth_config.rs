//! OAuth in the configuration: the issuers against the collected facts, what an account gets, and the pages about it.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers here are part of the tests: what is not as it should be fails them"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use mailsluice::config::issuers::{self, FlowName, IssuerPreset, SecretNeed};
use mailsluice::config::oauth::{ClientProof, Endpoints, Flow, Grant};
use mailsluice::config::runtime::{AccountAuth, SecretSource};
use mailsluice::config::{LoadRequest, Loaded, load};
use mailsluice::protocol::Protocol;
use toml_edit::{DocumentMut, Item, TableLike};

// ---------------------------------------------------------------------------------------------------------------------
// Issuers

#[test]
fn every_issuer_of_the_facts_is_there_as_collected() {
    let facts = fs::read_to_string("tests/facts/providers.toml").unwrap();
    let facts: DocumentMut = facts.parse().unwrap();
    let facts = facts["oauth"].as_table_like().unwrap();
    let names: Vec<&str> = facts.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 12);
    let known: Vec<&str> = issuers::all().iter().map(|i| i.name.as_str()).collect();
    assert_eq!(known, names);
    for (name, fact) in facts.iter() {
        compare(fact.as_table_like().unwrap(), issuers::find(name).unwrap());
    }
}

fn compare(fact: &dyn TableLike, issuer: &IssuerPreset) {
    let name = &issuer.name;
    let optional = |text: &Option<String>| text.clone().unwrap_or_default();
    let written = [
        ("authorize_url", issuer.authorize_url.clone()),
        ("token_url", issuer.token_url.clone()),
        ("device_url", optional(&issuer.device_url)),
        ("tenant_default", optional(&issuer.tenant)),
        ("issuer", optional(&issuer.identifier)),
        ("redirect", issuer.redirect.replace(":{port}", "")),
        ("client_secret", secret_word(issuer).to_owned()),
    ];
    for (key, written) in written {
        assert_eq!(
            fact.get(key).and_then(Item::as_str),
            Some(&*written),
            "{name} {key}"
        );
    }
    let lists = [
        ("scopes_imap", issuer.scopes(Protocol::Imap)),
        ("scopes_pop3", issuer.scopes(Protocol::Pop3)),
        ("scopes_smtp", issuer.scopes(Protocol::Smtp)),
        ("scopes_extra", &issuer.scopes.common),
        ("sasl", &issuer.sasl),
    ];
    for (key, written) in lists {
        let list = fact.get(key).and_then(Item::as_array).unwrap();
        let collected: Vec<&str> = list.iter().map(|v| v.as_str().unwrap()).collect();
        assert_eq!(collected, written, "{name} {key}");
    }
    let other = fact.get("scopes_other").unwrap();
    let app = other.get("app_only").and_then(Item::as_str);
    assert_eq!(app, issuer.scopes.app.first().map(String::as_str), "{name}");
    let device = issuer.flows.contains(&FlowName::Device);
    match fact.get("device_flow_for_mail").and_then(Item::as_str) {
        Some("yes") => assert!(device, "{name}"),
        Some("no") => assert!(!device, "{name}"),
        other => assert_eq!(other, Some("unknown"), "{name}"),
    }
}

fn secret_word(issuer: &IssuerPreset) -> &'static str {
    match issuer.client_secret {
        SecretNeed::Required => "required",
        SecretNeed::Either => "either",
        SecretNeed::None => "none",
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Grants

/// The grants of the accounts of `text`, in the order of the file.
fn grants(text: &str) -> Vec<Arc<Grant>> {
    let config = loaded(text).config;
    let grant = |auth: &AccountAuth| match auth {
        AccountAuth::OAuth(grant) => grant.clone(),
        other => panic!("no grant: {other:?}"),
    };
    config.accounts.all.iter().map(|a| grant(&a.auth)).collect()
}

fn grant(text: &str) -> Arc<Grant> {
    grants(text).first().unwrap().clone()
}

fn loaded(text: &str) -> Loaded {
    load(&request(Path::new("x.toml"), text)).unwrap_or_else(|p| panic!("{p}"))
}

fn request(path: &Path, text: &str) -> LoadRequest {
    LoadRequest {
        path: Some(path.to_owned()),
        text: Some(text.to_owned()),
        ..LoadRequest::default()
    }
}

const MICROSOFT: &str = "[issuer.microsoft]\nclient_id = \"1234\"\n";

fn with_microsoft(accounts: &str) -> String {
    format!("{MICROSOFT}{accounts}")
}

#[test]
fn with_a_client_id_an_account_is_one_line() {
    let grant = grant(&with_microsoft(
        "[[account]]\naddress = \"Anna@Outlook.com\"\n",
    ));
    assert_eq!(grant.name, "anna@outlook.com");
    assert_eq!(grant.flow, Flow::AuthorizationCode);
    assert_eq!(grant.client.id, "1234");
    assert_eq!(grant.client.proof, ClientProof::None);
    assert_eq!(grant.client.redirect_uri, None);
    let endpoint = |last| format!("https://login.microsoftonline.com/common/oauth2/v2.0/{last}");
    let expected = Endpoints::Given {
        authorize: endpoint("authorize"),
        token: endpoint("token"),
        device: Some(endpoint("devicecode")),
        revoke: None,
    };
    assert_eq!(grant.issuer.endpoints, expected);
    assert_eq!(grant.scopes.common, ["offline_access"]);
    let protocols: Vec<_> = grant.scopes.by_protocol.keys().copied().collect();
    assert_eq!(protocols, Protocol::ALL);
    let hint = grant.authorize_parameters.get("login_hint");
    assert_eq!(hint.map(String::as_str), Some("anna@outlook.com"));
}

#[test]
fn a_provider_that_takes_only_tokens_outweighs_a_shared_password() {
    let text = "[defaults]\npassword = \"stored\"\n[[account]]\naddress = \"a@outlook.com\"\n\
                [[account]]\naddress = \"a@gmx.de\"\n";
    let accounts = loaded(&with_microsoft(text)).config;
    let is_token: Vec<bool> = accounts
        .accounts
        .all
        .iter()
        .map(|a| matches!(a.auth, AccountAuth::OAuth(_)))
        .collect();
    assert_eq!(is_token, [true, false]);
}

#[test]
fn a_shared_table_says_how_and_not_whether() {
    let text = "[defaults]\nauth = \"password\"\npassword = \"stored\"\noauth = { flow = \"device\" }\n\
                [[account]]\naddress = \"a@gmx.de\"\n[[account]]\naddress = \"a@outlook.com\"\n";
    let config = loaded(&with_microsoft(text)).config;
    let auths: Vec<&AccountAuth> = config.accounts.all.iter().map(|a| &a.auth).collect();
    let [
        AccountAuth::Password(SecretSource::Stored),
        AccountAuth::OAuth(grant),
    ] = *auths
    else {
        panic!("{auths:?}");
    };
    assert_eq!(grant.flow, Flow::Device);
}

#[test]
fn accounts_with_one_grant_ask_for_what_all_of_them_need() {
    let text = "[[account]]\naddress = \"a@outlook.com\"\npop3 = false\nsmtp = false\n\
                [[account]]\naddress = \"b@outlook.com\"\nimap = false\npop3 = false\n\
                oauth = { grant = \"A@outlook.com\" }\n";
    let grants = grants(&with_microsoft(text));
    let [a, b] = grants.as_slice() else {
        panic!("two")
    };
    assert!(Arc::ptr_eq(a, b));
    let protocols: Vec<_> = a.scopes.by_protocol.keys().copied().collect();
    assert_eq!(protocols, [Protocol::Imap, Protocol::Smtp]);
    assert_eq!(a.authorize_parameters["login_hint"], "a@outlook.com");
}

/// The token of one person is not to be had with another's settings: each difference is told.
#[test]
fn accounts_with_one_grant_must_agree() {
    let differ = |second: &str, what: &str| {
        let text = format!(
            "{MICROSOFT}[issuer.own]\nclient_id = \"1234\"\nauthorize_url = \"https://x.example/a\"\n\
             token_url = \"https://x.example/t\"\n[[account]]\naddress = \"a@outlook.com\"\n\
             [[account]]\naddress = \"b@outlook.com\"\noauth = {{ grant = \"a@outlook.com\", {second} }}\n"
        );
        let problems = load(&request(Path::new("x.toml"), &text)).unwrap_err();
        let expected = format!(
            "x.toml:11: account.oauth: the grant \"a@outlook.com\" belongs to a@outlook.com, too, with another {what}: "
        );
        assert!(problems.to_string().starts_with(&expected), "{problems}");
    };
    differ("issuer = \"own\"", "issuer");
    differ("client_id = \"5678\"", "client");
    differ("flow = \"device\"", "flow");
    differ("scopes = { imap = [\"x\"] }", "choice of scopes");
    differ("token_parameters = { a = \"b\" }", "choice of parameters");
}

#[test]
fn a_secret_belongs_to_the_id_beside_it() {
    let text = "[issuer.microsoft]\nclient_id = \"1234\"\nclient_secret = { keyring = \"firma\" }\n\
                [[account]]\naddress = \"a@outlook.com\"\n\
                [[account]]\naddress = \"b@outlook.com\"\noauth = { client_id = \"5678\" }\n\
                [[account]]\naddress = \"c@outlook.com\"\noauth = { client_secret = { keyring = \"c\" } }\n";
    let keyring = |name: &str| ClientProof::Secret(SecretSource::Keyring(name.to_owned()));
    let clients: Vec<_> = grants(text)
        .iter()
        .map(|g| (g.client.id.clone(), g.client.proof.clone()))
        .collect();
    let expected = [
        ("1234".to_owned(), keyring("firma")),
        ("5678".to_owned(), ClientProof::None),
        ("1234".to_owned(), keyring("c")),
    ];
    assert_eq!(clients, expected);
}

#[test]
fn what_an_account_says_comes_before_what_is_shared_and_known() {
    let text = "[issuer.microsoft]\nclient_id = \"1\"\ntenant = \"b.example\"\nscopes = { common = [\"x\"] }\n\
                authorize_parameters = { prompt = \"login\", domain_hint = \"b\" }\n\
                [defaults]\noauth = { flow = \"device\", scopes = { imap = [\"i\"] } }\n\
                [[account]]\naddress = \"a@outlook.com\"\npop3 = false\n\
                [account.oauth]\ntenant = \"c.example\"\nflow = \"code\"\nscopes = { smtp = [] }\n\
                authorize_parameters = { prompt = \"\", login_hint = \"\" }\n";
    let grant = grant(text);
    assert_eq!(grant.flow, Flow::AuthorizationCode);
    let Endpoints::Given { token, .. } = &grant.issuer.endpoints else {
        panic!("given")
    };
    assert_eq!(
        token,
        "https://login.microsoftonline.com/c.example/oauth2/v2.0/token"
    );
    assert_eq!(grant.scopes.common, ["x"]);
    let by_protocol: Vec<_> = grant.scopes.by_protocol.iter().collect();
    assert_eq!(by_protocol, [(&Protocol::Imap, &vec!["i".to_owned()])]);
    let parameters: Vec<_> = grant.authorize_parameters.keys().collect();
    assert_eq!(parameters, ["domain_hint"]);
}

#[test]
fn flows_without_a_person_get_what_they_need() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        write_private(&folder.path().join(name), text);
    }
    let text = "[issuer.microsoft]\nclient_id = \"1\"\ntenant = \"b.example\"\ncertificate = \"mailsluice.pem\"\n\
                key = \"mailsluice.key\"\n\
                [[account]]\naddress = \"app@b.example\"\nprovider = \"m365\"\noauth = { flow = \"client-credentials\" }\n\
                [[account]]\naddress = \"Old@b.example\"\nprovider = \"m365\"\npassword = \"stored\"\n\
                oauth = { flow = \"password\" }\n\
                [[account]]\naddress = \"Eva@g.example\"\nprovider = \"gmail\"\n\
                oauth = { flow = \"service-account\", key = \"workspace.json\" }\n";
    let loaded = load(&request(&folder.path().join("x.toml"), text));
    let loaded = loaded.unwrap_or_else(|p| panic!("{p}"));
    let auths: Vec<_> = loaded.config.accounts.all.iter().map(|a| &a.auth).collect();
    let [
        AccountAuth::OAuth(app),
        AccountAuth::OAuth(old),
        AccountAuth::OAuth(eva),
    ] = *auths
    else {
        panic!("{auths:?}");
    };
    assert_eq!(app.flow, Flow::ClientCredentials);
    assert_eq!(
        app.scopes.common,
        ["https://outlook.office365.com/.default"]
    );
    assert!(app.scopes.by_protocol.is_empty());
    let key = folder.path().join("mailsluice.key");
    let certificate = Some(folder.path().join("mailsluice.pem"));
    assert_eq!(
        app.client.proof,
        ClientProof::Assertion { certificate, key }
    );
    assert_eq!(old.flow, Flow::Password(SecretSource::Stored));
    let key = folder.path().join("workspace.json");
    let subject = "Eva@g.example".to_owned();
    assert_eq!(eva.flow, Flow::ServiceAccount { key, subject });
}

#[test]
fn what_an_issuer_has_no_tokens_for_is_off() {
    let text = "[issuer.yandex]\nclient_id = \"1\"\nclient_secret = { keyring = \"y\" }\n\
                [[account]]\naddress = \"a@yandex.com\"\nauth = \"oauth\"\n";
    let config = loaded(text).config;
    let account = config.accounts.all.first().unwrap();
    assert!(!account.endpoints.contains_key(&Protocol::Pop3));
    assert_eq!(account.endpoints.len(), 2);
}

#[test]
fn the_issuer_of_a_spelled_out_server_is_found_by_its_name() {
    let text =
        "[[account]]\naddress = \"a@firma.example\"\nimap = { host = \"outlook.office365.com\" }\n";
    let grant = grant(&with_microsoft(text));
    assert_eq!(grant.issuer.name, "microsoft");
}

#[test]
fn redirects_are_the_listeners_own_unless_the_issuer_wants_another() {
    let redirect = |text: &str| grant(text).client.redirect_uri.clone();
    let account = "[[account]]\naddress = \"a@seznam.cz\"\nauth = \"oauth\"\n";
    let seznam = format!("[issuer.seznam]\nclient_id = \"1\"\n{account}");
    assert_eq!(redirect(&seznam).as_deref(), Some("http://127.0.0.1:8143/"));
    let moved = format!("{seznam}[sign_in]\nport = 9143\n");
    assert_eq!(redirect(&moved).as_deref(), Some("http://127.0.0.1:9143/"));
    let free = format!("{seznam}[sign_in]\nport = 0\n");
    assert_eq!(redirect(&free), None);
    let yahoo = "[issuer.yahoo]\nclient_id = \"1\"\n[[account]]\naddress = \"a@yahoo.com\"\nauth = \"oauth\"\n";
    assert_eq!(redirect(yahoo).as_deref(), Some("https://127.0.0.1"));
    assert_eq!(loaded("").config.sign_in.port, 8143);
}

#[test]
fn discovered_endpoints_need_only_the_identifier() {
    let text = "[issuer.firma]\ndiscover = \"https://login.firma.example/r\"\nclient_id = \"m\"\n\
                sasl = [\"OAUTHBEARER\"]\n[[account]]\naddress = \"a@firma.example\"\n\
                host = \"mail.firma.example\"\noauth = { issuer = \"firma\", flow = \"device\" }\n";
    let issuer = &grant(text).issuer;
    assert_eq!(issuer.endpoints, Endpoints::Discovered);
    let identifier = Some("https://login.firma.example/r");
    assert_eq!(issuer.identifier.as_deref(), identifier);
    assert_eq!(
        (issuer.title.as_str(), &*issuer.sasl),
        ("firma", &["OAUTHBEARER".to_owned()][..])
    );
}

/// The identifier of a preset says nothing about other endpoints.
#[test]
fn own_endpoints_take_the_identifier_away() {
    let account = "[[account]]\naddress = \"a@fastmail.com\"\nauth = \"oauth\"\n";
    let known = format!("[issuer.fastmail]\nclient_id = \"1\"\n{account}");
    assert!(grant(&known).issuer.identifier.is_some());
    let own = known.replace(
        "client_id",
        "token_url = \"https://x.example/t\"\nclient_id",
    );
    assert_eq!(grant(&own).issuer.identifier, None);
}

// ---------------------------------------------------------------------------------------------------------------------
// Commands

/// Runs the program with a configuration in `folder`; what it says to a person, and whether it was content.
fn run(folder: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_mailsluice"))
        .arg("--config")
        .arg(folder.join("mailsluice.toml"))
        .args(arguments)
        .env("STATE_DIRECTORY", folder.join("state"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[test]
fn an_account_that_takes_only_tokens_is_added_without_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mailsluice.toml");
    write_private(&path, MICROSOFT);
    let (content, said) = run(folder.path(), &["account", "add", "otto@outlook.com"]);
    assert!(content, "{said}");
    assert!(
        said.contains("mailsluice sign-in otto@outlook.com"),
        "{said}"
    );
    let text = fs::read_to_string(&path).unwrap();
    let expected = format!("{MICROSOFT}\n[[account]]\naddress = \"otto@outlook.com\"\n");
    assert_eq!(text, expected);
    let more = [
        "--oauth",
        "--issuer",
        "microsoft",
        "--grant",
        "otto@outlook.com",
    ];
    let add = [&["account", "add", "chor@outlook.com"], &more[..]].concat();
    let (content, said) = run(folder.path(), &add);
    assert!(content, "{said}");
    let text = fs::read_to_string(&path).unwrap();
    let details = "oauth = { issuer = \"microsoft\", grant = \"otto@outlook.com\" }\n";
    assert!(
        text.ends_with(&format!("auth = \"oauth\"\n{details}")),
        "{text}"
    );
}

#[test]
fn without_a_client_id_nothing_is_added_and_the_guide_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mailsluice.toml");
    write_private(&path, "");
    let (content, said) = run(folder.path(), &["account", "add", "otto@outlook.com"]);
    assert!(!content, "{said}");
    assert!(said.contains("docs/oauth/microsoft.md"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "");
}

#[test]
fn a_provider_is_shown_with_its_issuer() {
    let folder = tempfile::tempdir().unwrap();
    write_private(&folder.path().join("mailsluice.toml"), "");
    let (_, said) = run(folder.path(), &["providers", "yandex"]);
    let tokens = "takes tokens (OAuth) for imap, smtp, issued by Yandex (yandex)";
    assert!(
        said.contains(tokens) && said.contains("docs/oauth/yandex.md"),
        "{said}"
    );
}

// ---------------------------------------------------------------------------------------------------------------------
// Pages

fn pages() -> Vec<PathBuf> {
    let entries = fs::read_dir("docs/oauth").unwrap();
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() >= 8, "{pages:?}");
    pages
}

#[test]
fn every_piece_of_configuration_in_the_pages_loads() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in FILES {
        write_private(&folder.path().join(name), text);
    }
    let path = folder.path().join("x.toml");
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let pieces: Vec<&str> = text
            .split("```toml\n")
            .skip(1)
            .filter_map(|rest| Some(rest.split_once("\n```")?.0))
            .collect();
        assert!(!pieces.is_empty(), "{}", page.display());
        for piece in pieces {
            let clients = ["microsoft", "google"].map(|issuer| {
                let head = format!("[issuer.{issuer}]");
                let known = "client_id = \"1\"\nclient_secret = { keyring = \"x\" }\n";
                (!piece.contains(&head)).then(|| format!("{head}\n{known}"))
            });
            let whole = format!(
                "{piece}\n{}",
                clients.into_iter().flatten().collect::<String>()
            );
            let loaded = load(&request(&path, &whole));
            loaded.unwrap_or_else(|p| panic!("{}: {p}\n{piece}", page.display()));
        }
    }
}

#[test]
fn every_guide_has_its_five_steps() {
    for issuer in issuers::all() {
        let guide = fs::read_to_string(&issuer.guide).unwrap();
        for step in 1..=5 {
            assert!(
                guide.contains(&format!("\n{step}. ")),
                "{} {step}",
                issuer.guide
            );
        }
        assert!(!guide.contains("\n6. "), "{}", issuer.guide);
    }
}

#[test]
fn pages_link_to_pages_that_are_there() {
    let mut links = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for (at, _) in text.match_indices("](") {
            let target = text.get(at + 2..).and_then(|rest| rest.split_once(')'));
            let target = Path::new("docs/oauth").join(target.unwrap().0);
            assert!(target.exists(), "{}: {}", page.display(), target.display());
            links += 1;
        }
    }
    assert!(links > 8);
}

/// What the pages' pieces name.
const FILES: &[(&str, &str)] = &[
    ("google-client.txt", "hunter2\n"),
    ("yahoo-client.txt", "hunter2\n"),
    ("yandex-client.txt", "hunter2\n"),
    ("mailru-client.txt", "hunter2\n"),
    ("workspace.json", "{}\n"),
    (
        "mailsluice.key",
        "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ),
    (
        "mailsluice.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ),
];

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

#[test]
fn the_variables_that_hold_secrets_are_known() {
    let text = "[issuer.microsoft]\nclient_id = \"x\"\nclient_secret = { env = \"CLIENT\" }\n\
                [[account]]\naddress = \"anna@outlook.com\"\n\
                [[account]]\naddress = \"anna@gmx.de\"\npassword = { env = \"PASSWORD\" }\n";
    let variables = loaded(text).config.secret_variables();
    assert_eq!(variables, ["CLIENT", "PASSWORD"]);
}
