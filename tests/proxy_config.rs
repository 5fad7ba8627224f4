//! Which proxy leads where: accounts, `[defaults]`, the environment and its exceptions.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "the helpers here are part of the tests: what is not as it should be fails them"
)]

use std::path::PathBuf;

use mailsluice::config::runtime::{Config, ProxyPassword, SecretSource};
use mailsluice::config::{LoadRequest, load, password_in};
use mailsluice::protocol::Protocol;
use mailsluice::secret::Secret;

fn request(text: &str, environment: &[(&str, &str)]) -> LoadRequest {
    let pairs = environment.iter();
    LoadRequest {
        path: Some(PathBuf::from("x.toml")),
        text: Some(text.to_owned()),
        environment: pairs
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect(),
        for_service: true,
        ..LoadRequest::default()
    }
}

/// The proxies of each account's IMAP server, `-` for none.
fn proxies(text: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let loaded = load(&request(text, environment)).unwrap_or_else(|p| panic!("{p}"));
    let all = loaded.config.accounts.all.iter();
    let imap = all.map(|account| &account.endpoints[&Protocol::Imap]);
    imap.map(|it| {
        it.proxy
            .as_ref()
            .map_or("-".to_owned(), ToString::to_string)
    })
    .collect()
}

fn account(name: &str, lines: &str) -> String {
    format!("[[account]]\naddress = \"{name}@x.test\"\nauth = \"passthrough\"\n{lines}\n")
}

#[test]
fn an_account_comes_before_the_defaults_and_those_before_the_environment() {
    let accounts = [
        account("a", "host = \"mail.x.test\""),
        account(
            "b",
            "host = \"mail.x.test\"\nproxy = \"http://[2001:db8::1]:3128\"",
        ),
        account("c", "host = \"mail.x.test\"\nproxy = \"none\""),
        account(
            "d",
            "imap = { host = \"mail.x.test\" }\nproxy = { url = \"socks5h://P.test\" }",
        ),
    ]
    .concat();
    let defaults = ["[defaults]\nproxy = \"socks5://shared.test\"\n", &accounts].concat();
    let all = ("ALL_PROXY", "socks5h://all.test:1");
    let own = ["http://[2001:db8::1]:3128", "-", "socks5://p.test:1080"];
    for (text, environment, first) in [
        (&accounts, [].as_slice(), "-"),
        (&accounts, &[all], "socks5://all.test:1"),
        (&defaults, &[all], "socks5://shared.test:1080"),
    ] {
        let found = proxies(text, environment);
        assert_eq!(found[0], first);
        assert_eq!(found[1..], own);
    }
    let none = ["[defaults]\nproxy = \"none\"\n", &accounts].concat();
    assert_eq!(proxies(&none, &[all])[0], "-");
}

#[test]
fn the_environment_is_read_as_curl_and_reqwest_do() {
    let text = account("a", "host = \"mail.x.test\"");
    for (environment, proxy) in [
        ([("all_proxy", "p:8080"), ("no_proxy", "")], "http://p:8080"),
        (
            [("ALL_PROXY", " "), ("all_proxy", "socks://q")],
            "socks5://q:1080",
        ),
        (
            [("ALL_PROXY", "http://p"), ("all_proxy", "http://q")],
            "http://p:80",
        ),
        (
            [("ALL_PROXY", "http://p"), ("NO_PROXY", "y.test,.x.test")],
            "-",
        ),
        ([("ALL_PROXY", "http://p"), ("no_proxy", "*")], "-"),
        (
            [("ALL_PROXY", "http://p"), ("NO_PROXY", "ail.x.test")],
            "http://p:80",
        ),
        (
            [("HTTP_PROXY", "http://p"), ("https_proxy", "http://p")],
            "-",
        ),
    ] {
        assert_eq!(proxies(&text, &environment), [proxy], "{environment:?}");
    }
}

#[test]
fn what_is_on_this_machine_is_behind_no_proxy() {
    let hosts = ["localhost", "a.localhost", "127.0.0.2", "::1"];
    let text: String = hosts
        .iter()
        .map(|host| account("a", &format!("host = \"{host}\"")))
        .enumerate()
        .map(|(n, text)| text.replace("a@", &format!("a{n}@")))
        .collect();
    let defaults = ["[defaults]\nproxy = \"socks5://shared.test\"\n", &text].concat();
    assert_eq!(proxies(&defaults, &[]), ["-"; 4]);
    assert_eq!(proxies(&text, &[("ALL_PROXY", "socks5://p")]), ["-"; 4]);
}

#[test]
fn a_variable_that_cannot_be_used_is_told_once_and_only_where_it_would_be() {
    let text = [
        account("a", "host = \"m.test\""),
        account("b", "host = \"m.test\""),
    ]
    .concat();
    for odd in ["socks4://p:1", "https://p", "http://a%00@p", "ftp://p"] {
        let environment = [("all_proxy", odd)];
        let problems = load(&request(&text, &environment)).unwrap_err().to_string();
        assert_eq!(
            problems,
            "environment variable all_proxy: this is no proxy that mailsluice can use: set it to socks5h://host:1080 \
             or http://host:3128, or write proxy = \"none\" in [defaults]"
        );
        let mut elsewhere = request(&text, &environment);
        elsewhere.for_service = false;
        assert!(load(&elsewhere).is_ok());
        let none = ["[defaults]\nproxy = \"none\"\n", &text].concat();
        assert_eq!(proxies(&none, &environment), ["-"; 2]);
    }
}

#[test]
fn passwords_stay_where_they_are() {
    let text = [
        account(
            "a",
            "host = \"m.test\"\nproxy = { url = \"socks5://anna@p\", password = { env = \"PROXY_PASSWORD\" } }",
        ),
        account("b", "host = \"m.test\""),
    ]
    .concat();
    let url = "socks5h://bea:s3cret%21@q:1";
    let environment = [("ALL_PROXY", url), ("PROXY_PASSWORD", "s3cret")];
    let loaded = load(&request(&text, &environment)).unwrap();
    let config: &Config = &loaded.config;
    assert!(!format!("{config:?}").contains("s3cret"));
    let logins: Vec<_> = config
        .accounts
        .all
        .iter()
        .map(|account| account.endpoints[&Protocol::Imap].proxy.as_ref().unwrap())
        .map(|proxy| proxy.login.clone().unwrap())
        .map(|login| (login.user, login.password))
        .collect();
    let source = SecretSource::Env("PROXY_PASSWORD".to_owned());
    let expected = [
        ("anna".to_owned(), ProxyPassword::From(source)),
        (
            "bea".to_owned(),
            ProxyPassword::InUrlOf("ALL_PROXY".to_owned()),
        ),
    ];
    assert_eq!(logins, expected);
    assert_eq!(config.secret_variables(), ["PROXY_PASSWORD"; 3]);
    assert_eq!(password_in(&Secret::from(url)).expose(), b"s3cret!");
}

#[test]
fn addresses_of_ipv6_are_hosts_like_any_other() {
    let text = account("a", "imap = { host = \"2001:DB8::1\", port = 1993 }");
    let loaded = load(&request(&text, &[])).unwrap();
    let imap = &loaded.config.accounts.all[0].endpoints[&Protocol::Imap];
    assert_eq!(imap.authority(), "[2001:db8::1]:1993");
    let through = [("ALL_PROXY", "socks5://p"), ("NO_PROXY", "2001:db8::/32")];
    assert_eq!(proxies(&text, &through), ["-"]);
}
