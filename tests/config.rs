//! The configuration from outside: the providers against the collected facts, every example, every kind of mistake.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers here are part of the tests: what is not as it should be fails them"
)]

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mailsluice::config::providers::{self, AuthMethod, Provider, ServerTls, UserForm};
use mailsluice::config::runtime::{
    AccountAuth, Config, KeySource, ListenAddress, ListenerTls, NoLogin, Pin, SecretSource, Trust,
};
use mailsluice::config::{Flag, Found, LoadRequest, Loaded, Problem, Problems, load};
use mailsluice::peer::Peer;
use mailsluice::protocol::{Protocol, SenderRule, TlsMode};
use toml_edit::{DocumentMut, Item, TableLike};

// ---------------------------------------------------------------------------------------------------------------------
// Providers

#[test]
fn every_provider_of_the_facts_is_there_as_collected() {
    let facts = parse(Path::new("tests/facts/providers.toml"));
    let facts = facts["provider"].as_array_of_tables().unwrap();
    assert_eq!(facts.len(), 103);
    assert_eq!(providers::all().len(), facts.len());
    for fact in facts {
        let id = text(fact, "id");
        let provider = providers::find_by_name(id).unwrap_or_else(|| panic!("{id} is missing"));
        compare(fact, provider);
    }
}

fn compare(fact: &dyn TableLike, provider: &Provider) {
    let id = &provider.name;
    assert_eq!(text(fact, "name"), provider.title, "{id}");
    assert_eq!(text(fact, "kind"), provider.kind, "{id}");
    let domains = provider.domains.iter().map(|d| d.trim_start_matches("*."));
    assert_eq!(texts(fact, "domains"), domains.collect::<Vec<_>>(), "{id}");
    assert_eq!(texts(fact, "mx_suffixes"), provider.mx_suffixes, "{id}");
    assert_eq!(texts(fact, "legacy_hosts"), provider.old_hosts, "{id}");
    assert_eq!(text(fact, "username"), user_word(provider.user), "{id}");
    assert_eq!(texts(fact, "auth"), auth_words(provider), "{id}");
    assert_eq!(text(fact, "oauth"), provider.oauth, "{id}");
    assert_eq!(
        number(fact, "pop_min_poll_s"),
        provider.pop_min_poll,
        "{id}"
    );
    assert_eq!(
        number(fact, "idle_refresh_min"),
        provider.idle_refresh,
        "{id}"
    );
    assert_eq!(
        text(fact, "max_tls"),
        provider.max_tls.as_deref().unwrap_or(""),
        "{id}"
    );
    let page = provider.app_password_url.as_deref();
    assert_eq!(text(fact, "app_password_url"), page.unwrap_or(""), "{id}");
    assert_eq!(
        text(fact, "enable_url"),
        provider.enable_url.as_deref().unwrap_or(""),
        "{id}"
    );
    let state = format!("{:?}", provider.password).to_lowercase();
    assert_eq!(text(fact, "password_state").replace('_', ""), state, "{id}");
    for protocol in Protocol::ALL {
        compare_servers(fact, provider, protocol);
    }
}

fn compare_servers(fact: &dyn TableLike, provider: &Provider, protocol: Protocol) {
    let facts = fact.get(protocol.name()).unwrap().as_array().unwrap();
    let servers = provider.servers(protocol);
    assert_eq!(facts.len(), servers.len(), "{} {protocol}", provider.name);
    for (fact, server) in facts
        .iter()
        .map(|f| f.as_inline_table().unwrap())
        .zip(servers)
    {
        let tls = match server.tls {
            ServerTls::Implicit => "implicit",
            ServerTls::Starttls => "starttls",
            ServerTls::None => "none",
        };
        let user = server.user.map(user_word);
        let written = (server.host.as_str(), u64::from(server.port), tls, user);
        let user = TableLike::get(fact, "user").and_then(Item::as_str);
        let collected = (
            text(fact, "host"),
            number(fact, "port"),
            text(fact, "tls"),
            user,
        );
        assert_eq!(written, collected, "{} {protocol}", provider.name);
        let confirmed = TableLike::get(fact, "confirmed")
            .and_then(Item::as_bool)
            .unwrap_or(true);
        assert_eq!(
            confirmed, !server.unconfirmed,
            "{} {protocol}",
            provider.name
        );
    }
}

fn user_word(user: UserForm) -> &'static str {
    match user {
        UserForm::Address => "address",
        UserForm::Localpart => "localpart",
        UserForm::Custom => "custom",
    }
}

fn auth_words(provider: &Provider) -> Vec<&'static str> {
    let word = |method: &AuthMethod| match method {
        AuthMethod::Oauth2 => "oauth2",
        AuthMethod::AppPassword => "app_password",
        AuthMethod::MailPassword => "mail_password",
        AuthMethod::Password => "password",
    };
    provider.auth.iter().map(word).collect()
}

/// Host, port and TLS for each protocol, as an account there gets them without a word more.
fn servers(address: &str, more: &str) -> [Option<String>; 3] {
    let text = format!("[[account]]\naddress = \"{address}\"\npassword = \"stored\"\n{more}");
    let config = load_text(&text).unwrap_or_else(|p| panic!("{p}")).config;
    let account = config.accounts.all.first().unwrap().clone();
    Protocol::ALL.map(|protocol| {
        let e = account.endpoints.get(&protocol)?;
        let tls = if e.tls == TlsMode::Implicit {
            "tls"
        } else {
            "starttls"
        };
        Some(format!("{} {}:{} {tls}", e.user, e.host, e.port))
    })
}

fn some(servers: [&str; 3]) -> [Option<String>; 3] {
    servers.map(|s| (!s.is_empty()).then(|| s.to_owned()))
}

#[test]
fn the_providers_of_the_starting_documents_are_exactly_right() {
    let gmx = some([
        "a@gmx.de imap.gmx.net:993 tls",
        "a@gmx.de pop.gmx.net:995 tls",
        "a@gmx.de mail.gmx.net:465 tls",
    ]);
    assert_eq!(servers("a@gmx.de", ""), gmx);
    assert_eq!(
        providers::builtin()
            .find_by_host("smtp.gmx.net")
            .unwrap()
            .name,
        "gmx"
    );
    let webde = some([
        "a imap.web.de:993 tls",
        "a pop3.web.de:995 tls",
        "a smtp.web.de:465 tls",
    ]);
    assert_eq!(servers("a@web.de", ""), webde);
    let ionos = some([
        "a@x.de imap.ionos.de:993 tls",
        "a@x.de pop.ionos.de:995 tls",
        "a@x.de smtp.ionos.de:465 tls",
    ]);
    assert_eq!(servers("a@x.de", "provider = \"ionos\""), ionos);
    let exchange = some([
        "a@x.de ex.x.de:993 tls",
        "a@x.de ex.x.de:995 tls",
        "a@x.de ex.x.de:587 starttls",
    ]);
    assert_eq!(
        servers(
            "a@x.de",
            "provider = \"exchange-hosted\"\nhost = \"ex.x.de\""
        ),
        exchange
    );
    let gmail = some([
        "a@gmail.com imap.gmail.com:993 tls",
        "a@gmail.com pop.gmail.com:995 tls",
        "a@gmail.com smtp.gmail.com:465 tls",
    ]);
    assert_eq!(servers("a@gmail.com", ""), gmail);
}

#[test]
fn microsofts_providers_are_exactly_right() {
    let m365 = some(["", "", "a@x.de smtp.office365.com:587 starttls"]);
    assert_eq!(
        servers("a@x.de", "provider = \"m365\"\nimap = false\npop3 = false"),
        m365
    );
    let outlook = providers::find_by_domain("outlook.com").unwrap();
    let host = |p| {
        outlook
            .servers(p)
            .first()
            .map(|s| format!("{}:{}", s.host, s.port))
            .unwrap()
    };
    let hosts = [
        "outlook.office365.com:993",
        "outlook.office365.com:995",
        "smtp-mail.outlook.com:587",
    ];
    assert_eq!(Protocol::ALL.map(host), hosts);
}

#[test]
fn user_forms_hosts_and_ports_are_filled_in() {
    let icloud = some([
        "a imap.mail.me.com:993 tls",
        "",
        "a@icloud.com smtp.mail.me.com:587 starttls",
    ]);
    assert_eq!(servers("a@icloud.com", ""), icloud);
    let hosted = "provider = \"all-inkl\"\nhosting_account = \"w01\"\npop3 = false\nsmtp = false";
    assert_eq!(
        servers("a@x.de", hosted),
        some(["a@x.de w01.kasserver.com:993 tls", "", ""])
    );
    let own =
        "host = \"mail.x.de\"\nimap = { port = 143 }\nsmtp = { tls = \"starttls\", user = \"b\" }";
    let expected = some([
        "a@x.de mail.x.de:143 starttls",
        "a@x.de mail.x.de:995 tls",
        "b mail.x.de:587 starttls",
    ]);
    assert_eq!(servers("a@x.de", own), expected);
    let starttls = servers("a@gmx.de", "imap = { tls = \"starttls\" }");
    assert_eq!(
        starttls[0].as_deref(),
        Some("a@gmx.de imap.gmx.net:143 starttls")
    );
    let domain = servers("a@inbox.eu", "pop3 = false\nsmtp = false");
    assert_eq!(
        domain[0].as_deref(),
        Some("a@inbox.eu mail.inbox.eu:993 tls")
    );
}

#[test]
fn every_quirk_is_explained_and_every_password_provider_can_be_used() {
    let source = fs::read_to_string("config/providers.toml").unwrap();
    let header = source.split("[[provider]]").next().unwrap();
    for provider in providers::all() {
        for quirk in &provider.quirks {
            assert!(
                header.contains(&format!("#     {quirk} ")),
                "{quirk} is not explained"
            );
        }
        assert!(
            Protocol::ALL
                .iter()
                .any(|p| !provider.servers(*p).is_empty())
        );
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Examples

/// A folder with the files that `config/example.toml` names.
fn example_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| write_private(&folder.path().join(name), text);
    put(
        "example.toml",
        &fs::read_to_string("config/example.toml").unwrap(),
    );
    put(
        "my-providers.toml",
        "[[provider]]\nname = \"firma\"\ndomains = [\"firma.example\"]\n",
    );
    put("firma-ca.pem", CERTIFICATE);
    put("certificate.pem", CERTIFICATE);
    for key in ["certificate.key", "firma-client.key"] {
        put(key, KEY);
    }
    put("firma-client.pem", CERTIFICATE);
    put("google-client.txt", "hunter2\n");
    put("workspace.json", "{}\n");
    folder
}

#[test]
fn the_example_loads_and_means_what_it_explains() {
    let folder = example_folder();
    let Loaded {
        config, providers, ..
    } = load_path(&folder.path().join("example.toml")).unwrap();
    assert_eq!(config.accounts.all.len(), 11);
    assert!(providers.find_by_name("firma").is_some());
    let found = |name| match config.accounts.find(Protocol::Imap, name, None) {
        Found::Account(account) => account.address.clone(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(found("Old-Laptop"), "anna@gmx.de");
    assert_eq!(found("somebody@verein.example"), "somebody@verein.example");
    let support = config
        .accounts
        .all
        .iter()
        .find(|a| a.address.starts_with("support"))
        .unwrap();
    let [imap, smtp] = [Protocol::Imap, Protocol::Smtp].map(|p| &support.endpoints[&p]);
    assert_eq!(
        (imap.user.as_str(), smtp.user.as_str()),
        ("support", "eva@firma.example")
    );
    assert!(matches!(imap.trust, Trust::PublicKey(_)));
    assert_eq!(
        smtp.trust,
        Trust::CaFile(folder.path().join("firma-ca.pem"))
    );
    assert!(
        config
            .listeners
            .iter()
            .any(|l| matches!(l.tls, ListenerTls::Implicit(_)))
    );
    assert!(
        config
            .listeners
            .iter()
            .any(|l| l.pin == Some(Pin::Provider("ionos".to_owned())))
    );
    let no_login = config.listeners.iter().find_map(|l| l.no_login.as_ref());
    let expected = NoLogin {
        account: "anna@gmx.de".to_owned(),
        envelope: SenderRule::Rewrite,
        header: SenderRule::Pin,
        messages_per_hour: 60,
        recipients: 50,
        size: 26_214_400,
        plain_too: true,
    };
    assert_eq!(no_login, Some(&expected));
}

#[test]
fn a_scanner_needs_six_lines_and_on_this_machine_four() {
    let account = "[[account]]\naddress = \"s@gmx.de\"\npassword = \"stored\"\n[[listener]]\nprotocol = \"smtp\"\n\
                   login = \"none\"\naccount = \"S@gmx.de\"\n";
    let listeners = |text: &str| {
        let loaded = load_text(&format!("{account}{text}")).unwrap();
        let listeners = loaded.config.listeners.iter().map(|listener| {
            let terms = listener.no_login.clone().unwrap();
            assert_eq!(listener.pin, Some(Pin::Account("s@gmx.de".to_owned())));
            assert_eq!(
                (terms.envelope, terms.header),
                (SenderRule::Rewrite, SenderRule::Rewrite)
            );
            assert!(terms.messages_per_hour > 0 && terms.recipients > 0 && terms.size > 0);
            let peer = Peer::from(SocketAddr::from(([192, 168, 1, 9], 9)));
            let here = Peer::from(SocketAddr::from(([127, 0, 0, 1], 9)));
            let peer = if listener.networks.is_empty() {
                here
            } else {
                peer
            };
            (listener.networks.len(), listener.takes_plain_login(peer))
        });
        listeners.collect::<Vec<_>>()
    };
    assert_eq!(listeners("port = 2525\n"), [(0, true), (0, true)]);
    let near = "address = \"192.168.1.2:2525\"\nnetworks = [\"192.168.1.0/24\", \"192.168.2.9\"]\n";
    let plain = format!("{near}allow_plain_from_network = true\n");
    assert_eq!(listeners(&plain), [(2, true)]);
    // TLS on offer is insisted on, unless it is said that it need not be.
    let offered = format!("{near}tls = \"starttls\"\n");
    assert_eq!(listeners(&offered), [(2, false)]);
    let either = format!("{plain}tls = \"starttls\"\n");
    assert_eq!(listeners(&either), [(2, true)]);
}

#[test]
fn the_example_shows_every_key_there_is() {
    let example = fs::read_to_string("config/example.toml").unwrap();
    // What a table knows is what it answers to a key it does not know.
    let tables = [
        "",
        "[store]",
        "[store]\nkey = {K}",
        "[limits]",
        "[log]",
        "[defaults]",
        "[[account]]",
        "[[account]]\npassword = {K}",
        "[[account]]\nproxy = {K}",
        "[[account]]\nimap = {K}",
        "[[listener]]",
        "[[listener]]\nfrom = {K}",
        "[[listener]]\nlimits = {K}",
        "[sign_in]",
        "[issuer.own]",
        "[issuer.own]\nscopes = {K}",
        "[[account]]\noauth = {K}",
        "[profile.own]",
        "[profile.own]\nimap = {K}",
    ];
    let mut keys = BTreeSet::new();
    for table in tables {
        let line = if table.contains("{K}") {
            ""
        } else {
            "\nzzzzzzzz = 1"
        };
        let text = format!("{}{line}\n", table.replace("{K}", "{ zzzzzzzz = 1 }"));
        let problems = load_text(&text).unwrap_err().to_string();
        let unknown = problems.lines().find_map(|l| l.split_once("known here: "));
        let (_, known) = unknown.unwrap_or_else(|| panic!("{table}: {problems}"));
        keys.extend(known.split(", ").map(str::to_owned));
    }
    assert!(keys.len() > 60, "{keys:?}");
    for key in keys {
        let written = [
            format!("\n{key} "),
            format!("{{ {key} ="),
            format!(", {key} ="),
            format!("[{key}]"),
            format!("[account.{key}]"),
            format!("[{key}.microsoft]"),
            format!("[{key}.kiosk]"),
        ];
        assert!(
            written.iter().any(|w| example.contains(w)),
            "{key} is not in example.toml"
        );
    }
}

#[test]
fn all_small_examples_load() {
    let examples = files("tests/examples", "toml");
    assert!(examples.len() >= 4);
    for path in examples {
        load_path(&path).unwrap_or_else(|problems| panic!("{problems}"));
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Mistakes

#[test]
fn every_bad_config_is_refused_with_the_exact_messages() {
    let bad = files("tests/bad-configs", "toml");
    assert!(bad.len() >= 12);
    for path in bad {
        let problems = load_path(&path).expect_err("was accepted").to_string();
        let expected = fs::read_to_string(path.with_extension("expected"));
        let expected =
            expected.unwrap_or_else(|_| panic!("{} has no .expected:\n{problems}", path.display()));
        assert_eq!(
            problems.trim_end(),
            expected.trim_end(),
            "{}",
            path.display()
        );
        assert!(!problems.contains("hunter2"));
    }
}

#[test]
fn any_part_of_the_example_is_answered() {
    let example = fs::read_to_string("config/example.toml").unwrap();
    let lines: Vec<&str> = example.lines().collect();
    assert!(lines.len() > 100);
    for cut in 0..lines.len() {
        let (head, tail) = lines.split_at(cut);
        let without = [head, tail.get(1..).unwrap_or_default()].concat();
        for part in [head.join("\n"), tail.join("\n"), without.join("\n")] {
            if let Err(problems) = load_text(&part) {
                assert!(problems.iter().count() > 0);
            }
        }
    }
}

#[test]
fn the_variable_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    write_private(&path, "host = \"named.example\"\n");
    let mut request = LoadRequest::default();
    let named = path.display().to_string();
    request
        .environment
        .insert("MAILSLUICE_CONFIG".to_owned(), named);
    let loaded = load(&request).unwrap();
    assert_eq!(
        (loaded.config.host.as_str(), loaded.path),
        ("named.example", path)
    );
}

#[test]
fn problems_of_variables_and_flags_name_them() {
    let flag = |name: &str, key: &str, value: &str| Flag {
        name: name.to_owned(),
        key: key.to_owned(),
        value: value.to_owned(),
    };
    let mut request = request_for_text("[log]\nfilter = \"info\"\n");
    request
        .environment
        .insert("MAILSLUICE_LIMITS__SESSIONS".to_owned(), "0".to_owned());
    request
        .environment
        .insert("MAILSLUICE_LGO__FILTER".to_owned(), "debug".to_owned());
    request.environment.insert(
        "MAILSLUICE_DEFAULTS__PASSWORD".to_owned(),
        "hunter2".to_owned(),
    );
    request
        .flags
        .push(flag("--log-format", "log.format", "xml"));
    let problems = load(&request).unwrap_err();
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let literal = lines[0]
        .strip_prefix("environment variable MAILSLUICE_DEFAULTS__PASSWORD: defaults.password: a ");
    assert!(
        literal.is_some_and(|rest| rest.starts_with("password does not belong")),
        "{lines:#?}"
    );
    let rest = [
        "environment variable MAILSLUICE_LGO__FILTER: lgo: unknown key; did you mean `log`?",
        "environment variable MAILSLUICE_LIMITS__SESSIONS: limits.sessions: write a number from 1 to 500000",
        "flag --log-format: log.format: write \"text\" or \"json\"",
    ];
    assert_eq!(lines[1..], rest);
}

#[cfg(unix)]
#[test]
fn secrets_open_to_others_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("gmx.txt");
    let config = folder.path().join("mailsluice.toml");
    let text = "[[account]]\naddress = \"anna@gmx.de\"\npassword = { file = \"gmx.txt\" }\n";
    write_private(&config, text);
    write_private(&secret, "hunter2\n");
    let mode =
        |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    for (bits, accepted) in [
        (0o600, true),
        (0o400, true),
        (0o640, true),
        (0o660, false),
        (0o644, false),
        (0o604, false),
    ] {
        mode(&secret, bits);
        let loaded = load_path(&config);
        assert_eq!(loaded.is_ok(), accepted, "{bits:o}");
        if let Err(problems) = loaded {
            let expected = format!(
                "{}:3: account.password.file: {} is open to others (mode {bits:04o}): `chmod 600` it; \
                 the group may read at most",
                config.display(),
                secret.display()
            );
            assert_eq!(problems.to_string(), expected);
        }
    }
    mode(&secret, 0o600);
    // The store's own key is refused at run time as soon as anybody else may read it, so it is refused here, too.
    let key = folder.path().join("store.key");
    write_private(&key, "key\n");
    write_private(
        &config,
        &format!("{text}[store]\nkey = {{ file = \"store.key\" }}\n"),
    );
    assert!(load_path(&config).is_ok());
    mode(&key, 0o640);
    let expected = format!(
        "{}:5: store.key: {} is open to others (mode 0640): `chmod 600` it",
        config.display(),
        key.display()
    );
    assert_eq!(load_path(&config).unwrap_err().to_string(), expected);
    mode(&key, 0o600);
    mode(&config, 0o602);
    let expected = "anyone may write to this file, and its commands are run: `chmod o-w` it";
    assert_eq!(
        load_path(&config).unwrap_err().to_string(),
        format!("{}: {expected}", config.display())
    );
}

#[test]
fn a_service_must_have_its_secrets_within_reach() {
    let text = "[[account]]\naddress = \"a@gmx.de\"\npassword = { env = \"GMX\" }\n\
                [[account]]\naddress = \"b@gmx.de\"\npassword = { systemd = \"b\" }\n";
    let mut request = request_for_text(text);
    assert!(load(&request).is_ok());
    request.for_service = true;
    let expected = "x.toml:3: account.password.env: the environment variable GMX is not set\n\
                    x.toml:6: account.password.systemd: $CREDENTIALS_DIRECTORY is not set: write \
                    LoadCredential=b:/path into the systemd unit";
    assert_eq!(load(&request).unwrap_err().to_string(), expected);
    let folder = tempfile::tempdir().unwrap();
    write_private(&folder.path().join("b"), "x");
    let credentials = folder.path().display().to_string();
    request.environment.insert("GMX".to_owned(), "x".to_owned());
    request
        .environment
        .insert("CREDENTIALS_DIRECTORY".to_owned(), credentials);
    assert!(load(&request).is_ok());
}

#[test]
fn ports_that_cannot_be_had_are_told_with_the_rest() {
    let path = Path::new("tests/bad-configs/ports-in-use.toml");
    let request = LoadRequest {
        path: Some(path.to_owned()),
        port_probe: Some(refusing),
        ..LoadRequest::default()
    };
    let problems = load(&request).unwrap_err();
    let expected = fs::read_to_string(path.with_extension("probed")).unwrap();
    assert_eq!(problems.to_string(), expected.trim_end());
    let ports = problems.iter().filter_map(Problem::port_trouble).count();
    assert_eq!((ports, problems.iter().count()), (8, 9));
}

#[test]
fn a_listener_lets_in_whom_its_keys_name() {
    let text = "[[listener]]\nprotocol = \"imap\"\nport = 2143\nproxy_protocol = [\"10.0.0.0/8\", \"fd00::1\"]\n\
                [[listener]]\nprotocol = \"pop3\"\naddress = \"systemd:pop3\"\n\
                [[listener]]\nprotocol = \"smtp\"\naddress = [\"unix:smtp.sock\", \"unix:/run/smtp.sock\"]\n\
                allow_uids = [1000, \"root\"]\nmode = \"0660\"\n";
    let loaded = load_text(text).unwrap();
    let [v4, v6, pop3, relative, absolute] = loaded.config.listeners.as_slice() else {
        panic!("five listeners: {:?}", loaded.config.listeners);
    };
    for balanced in [v4, v6] {
        assert_eq!(balanced.door.balancers.len(), 2);
        assert_eq!(
            balanced.networks.len(),
            2,
            "whom it connects for may be anywhere"
        );
    }
    assert!(pop3.networks.is_empty(), "this machine alone");
    assert_eq!(pop3.address, ListenAddress::Systemd("pop3".to_owned()));
    let folder = loaded.path.parent().unwrap();
    assert_eq!(
        relative.address,
        ListenAddress::Unix(folder.join("smtp.sock"))
    );
    assert_eq!(
        absolute.address,
        ListenAddress::Unix("/run/smtp.sock".into())
    );
    for unix in [relative, absolute] {
        assert_eq!(
            (unix.door.users.as_deref(), unix.door.mode),
            (Some(&[1000, 0][..]), 0o660)
        );
    }
}

#[test]
fn default_ports_in_use_are_one_problem_that_says_what_to_write() {
    let mut request = request_for_text("");
    request.port_probe = Some(refusing);
    let expected = "default: listener: 127.0.0.1:1143 and [::1]:1143 are in use by another program: stop it, or write \
                    [[listener]] entries with other ports";
    assert_eq!(load(&request).unwrap_err().to_string(), expected);
}

#[test]
fn a_port_taken_at_the_last_moment_is_told_in_the_same_words() {
    let text = "[[listener]]\nprotocol = \"imap\"\n\n[[listener]]\nprotocol = \"smtp\"\naddress = \"127.0.0.1:2525\"\n";
    let loaded = load_text(text).unwrap();
    let listener = loaded.config.listeners.last().unwrap();
    let problem = loaded.cannot_listen(listener, ErrorKind::AddrInUse);
    let expected = "x.toml:6: listener.address: 127.0.0.1:2525 is in use by another program: stop it, or choose \
                    another port";
    assert_eq!(problem.unwrap().to_string(), expected);
}

/// A machine on which some ports cannot be had.
fn refusing(address: &ListenAddress) -> Result<(), ErrorKind> {
    let address = match address {
        ListenAddress::Tcp(address) => *address,
        ListenAddress::Systemd(_) => return Ok(()),
        ListenAddress::Unix(path) if path.starts_with("/nowhere") => {
            return Err(ErrorKind::NotFound);
        }
        ListenAddress::Unix(path) if path.starts_with("/precious") => {
            return Err(ErrorKind::AlreadyExists);
        }
        ListenAddress::Unix(path) if path.starts_with("/closed") => {
            return Err(ErrorKind::PermissionDenied);
        }
        ListenAddress::Unix(_) => return Err(ErrorKind::AddrInUse),
    };
    match address.port() {
        0..1024 => Err(ErrorKind::PermissionDenied),
        1143 => Err(ErrorKind::AddrInUse),
        _ if !address.ip().is_loopback() => Err(ErrorKind::AddrNotAvailable),
        _ => Ok(()),
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Loading

#[test]
fn without_a_file_there_are_listeners_on_both_loopbacks_and_no_accounts() {
    let home = tempfile::tempdir().unwrap();
    let environment = HashMap::from([("HOME".to_owned(), home.path().display().to_string())]);
    let loaded = load(&LoadRequest {
        environment,
        ..LoadRequest::default()
    })
    .unwrap();
    assert!(!loaded.exists);
    let Config {
        listeners,
        accounts,
        store,
        limits,
        state_dir,
        ..
    } = &*loaded.config;
    let addresses: Vec<_> = listeners
        .iter()
        .map(|l| format!("{} {}", l.protocol, l.address))
        .collect();
    let expected = [
        "imap 127.0.0.1:1143",
        "imap [::1]:1143",
        "pop3 127.0.0.1:1110",
        "pop3 [::1]:1110",
        "smtp 127.0.0.1:1025",
        "smtp [::1]:1025",
    ];
    assert_eq!(addresses, expected);
    assert!(accounts.all.is_empty());
    assert_eq!(*state_dir, home.path().join(".local/state/mailsluice"));
    assert_eq!(
        store.url,
        format!("sqlite:{}", state_dir.join("mailsluice.db").display())
    );
    assert_eq!(store.key, KeySource::File(state_dir.join("store.key")));
    assert_eq!(
        (limits.before_login, limits.login),
        (Duration::from_secs(60), Duration::from_secs(25))
    );
}

#[test]
fn a_named_file_must_exist() {
    let missing = Path::new("tests/no-such-file.toml");
    let problems = load_path(missing).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "tests/no-such-file.toml: cannot be read: there is no such file"
    );
}

#[test]
fn flags_come_before_the_environment_and_that_before_the_file() {
    let mut request = request_for_text("host = \"file.example\"\n[log]\nfilter = \"warn\"\n");
    let host = |request: &LoadRequest| load(request).unwrap().config.host.clone();
    assert_eq!(host(&request), "file.example");
    request.environment.insert(
        "MAILSLUICE_HOST".to_owned(),
        "environment.example".to_owned(),
    );
    assert_eq!(host(&request), "environment.example");
    let value = "flag.example".to_owned();
    request.flags.push(Flag {
        name: "--host".to_owned(),
        key: "host".to_owned(),
        value,
    });
    assert_eq!(host(&request), "flag.example");
    assert_eq!(load(&request).unwrap().config.log.filter, "warn");
    let filter = "info,mailsluice::relay=debug".to_owned();
    request
        .environment
        .insert("MAILSLUICE_LOG__FILTER".to_owned(), filter.clone());
    assert_eq!(load(&request).unwrap().config.log.filter, filter);
}

#[test]
fn defaults_are_shared_and_an_account_comes_first() {
    let text = "[defaults]\nprovider = \"ionos\"\npassword = { file = \"{localpart}.txt\" }\npop3 = false\n\
                [[account]]\naddress = \"Anna@x.de\"\npop3 = true\n\
                [[account]]\naddress = \"eva@x.de\"\nauth = \"passthrough\"\n";
    let folder = tempfile::tempdir().unwrap();
    write_private(&folder.path().join("Anna.txt"), "x");
    let mut request = request_for_text(text);
    request.path = Some(folder.path().join("x.toml"));
    let config = load(&request).unwrap_or_else(|p| panic!("{p}")).config;
    let accounts = &config.accounts.all;
    let [anna, eva] = accounts.as_slice() else {
        panic!("two accounts")
    };
    let AccountAuth::Password(SecretSource::File(file)) = &anna.auth else {
        panic!("a file")
    };
    assert_eq!(*file, folder.path().join("Anna.txt"));
    assert_eq!((anna.endpoints.len(), eva.endpoints.len()), (3, 2));
    assert_eq!(anna.endpoints[&Protocol::Imap].user, "Anna@x.de");
    assert!(matches!(eva.auth, AccountAuth::Passthrough));
}

#[test]
fn a_shared_host_is_for_those_that_need_one() {
    let text = "[defaults]\nhost = \"mail.x.de\"\npassword = \"stored\"\n\
                [[account]]\naddress = \"a@gmx.de\"\n[[account]]\naddress = \"b@x.de\"\n";
    let config = load_text(text).unwrap().config;
    let accounts = &config.accounts.all;
    let hosts: Vec<_> = accounts
        .iter()
        .map(|a| a.endpoints[&Protocol::Imap].host.as_str())
        .collect();
    assert_eq!(hosts, ["imap.gmx.net", "mail.x.de"]);
}

#[test]
fn a_users_provider_replaces_a_built_in_one() {
    let folder = tempfile::tempdir().unwrap();
    let mine = "[[provider]]\nname = \"gmx\"\ntitle = \"Mine\"\ndomains = [\"gmx.de\"]\n\
                imap = [{ host = \"imap.test\", port = 993, tls = \"implicit\" }]\n";
    write_private(&folder.path().join("mine.toml"), mine);
    let text =
        "providers = [\"mine.toml\"]\n[[account]]\naddress = \"a@gmx.de\"\npassword = \"stored\"\n";
    let mut request = request_for_text(text);
    request.path = Some(folder.path().join("x.toml"));
    let loaded = load(&request).unwrap_or_else(|p| panic!("{p}"));
    let account = loaded.config.accounts.all.first().unwrap();
    assert_eq!(account.endpoints[&Protocol::Imap].host, "imap.test");
    assert_eq!(account.endpoints.len(), 1);
    assert_eq!(loaded.providers.all().len(), providers::all().len());
}

/// An index that was not built, or a check that looks at all accounts for each, would show here as minutes.
#[test]
fn ten_thousand_accounts_load_and_each_is_found() {
    let text: String = (0..10_000)
        .map(|n| {
            let address = format!("[[account]]\naddress = \"user{n}@gmx.de\"");
            format!("{address}\nlogin_names = [\"alias{n}\"]\npassword = \"stored\"\n")
        })
        .collect();
    let config = load_text(&text).unwrap().config;
    let accounts = &config.accounts;
    assert_eq!(accounts.all.len(), 10_000);
    for n in [0, 4_999, 9_999] {
        for name in [
            format!("USER{n}@gmx.de"),
            format!("user{n}"),
            format!("alias{n}"),
        ] {
            let Found::Account(found) = accounts.find(Protocol::Imap, &name, None) else {
                panic!("{name}")
            };
            assert_eq!(found.address, format!("user{n}@gmx.de"));
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------

fn load_path(path: &Path) -> Result<Loaded, Problems> {
    load(&LoadRequest {
        path: Some(path.to_owned()),
        ..LoadRequest::default()
    })
}

fn load_text(text: &str) -> Result<Loaded, Problems> {
    load(&request_for_text(text))
}

fn request_for_text(text: &str) -> LoadRequest {
    LoadRequest {
        path: Some(PathBuf::from("x.toml")),
        text: Some(text.to_owned()),
        ..LoadRequest::default()
    }
}

/// The files of `folder` with this extension, sorted.
fn files(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = entries
        .filter(|p| p.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}

fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}

fn parse(path: &Path) -> DocumentMut {
    fs::read_to_string(path).unwrap().parse().unwrap()
}

fn text<'a>(table: &'a dyn TableLike, key: &str) -> &'a str {
    table
        .get(key)
        .and_then(Item::as_str)
        .unwrap_or_else(|| panic!("{key}"))
}

fn texts<'a>(table: &'a dyn TableLike, key: &str) -> Vec<&'a str> {
    let list = table
        .get(key)
        .and_then(Item::as_array)
        .unwrap_or_else(|| panic!("{key}"));
    list.iter().map(|v| v.as_str().unwrap()).collect()
}

fn number(table: &dyn TableLike, key: &str) -> u64 {
    let number = table
        .get(key)
        .and_then(Item::as_integer)
        .unwrap_or_else(|| panic!("{key}"));
    u64::try_from(number).unwrap()
}

const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
