//! Upstreams behind a proxy of the user's: microsocks and tinyproxy between ours and the real servers, and what goes wrong
//! there.

use std::io::{self, Read as _};
use std::net::Ipv6Addr;
use std::path::PathBuf;

use rustix::process::Signal;
use tempfile::TempDir;

use crate::client::imap::Imap;
use crate::client::pop3::Pop3;
use crate::client::smtp::Smtp;
use crate::faults::refused_everywhere;
use crate::fixture::{
    Account, BEHIND, Gateway, LOGIN, Line, Mailbox, Proxy, Scripted, UNPROVED, read_line,
    refused_port, say, servers, write_private,
};

#[test]
fn every_protocol_passes_through_socks_by_name() {
    for with_login in [false, true] {
        let gateway = Gateway::socks(with_login);
        works_through("socks5", &gateway, with_login);
        assert!(gateway.log().contains(BEHIND), "{}", gateway.log());
    }
}

#[test]
fn every_protocol_passes_through_http_connect_by_name() {
    for with_login in [false, true] {
        let gateway = Gateway::http(with_login, &all_ports());
        works_through("http", &gateway, with_login);
        assert!(gateway.log().contains(BEHIND), "{}", gateway.log());
    }
}

#[test]
fn a_proxy_may_have_an_address_of_ipv6() {
    let gateway = Gateway::socks_at(Ipv6Addr::LOCALHOST.into(), false);
    works_through("socks5", &gateway, false);
}

#[test]
fn a_wrong_proxy_password_is_temporary_and_asked_for_again_once_it_is_corrected() {
    let gateways = [
        ("socks5", Gateway::socks(true)),
        ("http", Gateway::http(true, &all_ports())),
    ];
    for (scheme, gateway) in gateways {
        let secrets = Secrets::new("not-the-s3cret");
        let mailbox = Mailbox::new(servers());
        let account = behind(&mailbox.user, BEHIND).with_proxy(secrets.proxy(scheme, &gateway));
        let proxy = Proxy::start(&[account]);
        refused_everywhere(&proxy, &mailbox.user);
        let name = format!("{scheme}://{}", gateway.address);
        let log = proxy.log();
        let why = "it refuses the user name or the password";
        assert!(
            log.contains(&format!("no way through {name}: {why}")),
            "{log}"
        );
        secrets.put(LOGIN.1);
        logs_in_everywhere(&proxy, &mailbox.user);
        assert_silent(proxy, &["not-the-s3cret", LOGIN.1]);
    }
}

#[test]
fn a_proxy_that_wants_a_login_nobody_configured_says_so() {
    let gateways = [
        ("socks5", Gateway::socks(true)),
        ("http", Gateway::http(true, &all_ports())),
    ];
    for (scheme, gateway) in gateways {
        let log = refused_through(&format!("{scheme}://{}", gateway.address), BEHIND);
        assert!(log.contains("it wants a user name and a password"), "{log}");
    }
}

#[test]
fn a_proxy_that_refuses_the_host_is_temporary_and_quoted_in_words() {
    let gateway = Gateway::http(false, &[1]);
    let log = refused_through(&format!("http://{}", gateway.address), BEHIND);
    assert!(
        log.contains("its rules do not allow this connection (HTTP status 403)"),
        "{log}"
    );
    // What microsocks says to a name that it cannot resolve.
    let gateway = Gateway::socks(false);
    let url = format!("socks5://{}", gateway.address);
    let log = refused_through(&url, "nowhere.provider.test");
    let why = "it refuses: general failure (SOCKS reply 1)";
    assert!(
        log.contains(&format!("no way through {url}: {why}")),
        "{log}"
    );
}

#[test]
fn a_server_that_refuses_behind_a_proxy_is_temporary() {
    let (port, _held) = refused_port();
    let gateway = Gateway::socks(false);
    let url = format!("socks5://{}", gateway.address);
    let mut account = behind(USER, BEHIND).with_proxy(url.clone());
    for upstream in [&mut account.imap, &mut account.pop3, &mut account.smtp] {
        upstream.port = port.port();
    }
    let proxy = Proxy::start(&[account]);
    refused_everywhere(&proxy, USER);
    let log = proxy.log();
    let why = "it refuses: the host refuses the connection (SOCKS reply 5)";
    assert!(
        log.contains(&format!("no way through {url}: {why}")),
        "{log}"
    );
}

#[test]
fn a_proxy_that_is_down_or_says_nonsense_is_temporary() {
    let (down, _held) = refused_port();
    let odd = Scripted::plain(|line| {
        say(line, "SSH-2.0-OpenSSH_9.2p1\r\n")?;
        read_line(line).map(drop)
    });
    let closing = Scripted::plain(heard_greeting);
    for scheme in ["socks5", "http"] {
        for (address, why) in [
            (down, "it cannot be reached"),
            (odd.address, "what it says is not "),
            (
                closing.address,
                "it closed the connection without an answer",
            ),
        ] {
            let log = refused_through(&format!("{scheme}://{address}"), BEHIND);
            assert!(log.contains(why), "{scheme}: {log}");
        }
    }
}

#[test]
fn an_answer_of_a_proxy_that_never_ends_is_cut_off() {
    let endless = Scripted::plain(|line| {
        say(line, "HTTP/1.1 200 OK\r\n")?;
        loop {
            say(line, "X-More: and more and more and more\r\n")?;
        }
    });
    let log = refused_through(&format!("http://{}", endless.address), BEHIND);
    assert!(
        log.contains("its answer is longer than 8192 octets"),
        "{log}"
    );
}

#[test]
fn a_proxy_that_hangs_costs_a_login_its_time_and_no_more() {
    let hanging = Scripted::plain(|line| {
        loop {
            let mut octet = [0];
            if line.read(&mut octet)? == 0 {
                return Ok(());
            }
        }
    });
    for scheme in ["socks5", "http"] {
        let url = format!("{scheme}://{}", hanging.address);
        let account = behind(USER, BEHIND).with_proxy(url.clone());
        let proxy = Proxy::start_with("login = 1\n", &[account]);
        refused_everywhere(&proxy, USER);
        let log = proxy.log();
        assert!(
            log.contains(&format!("the proxy {url} did not answer in time")),
            "{log}"
        );
    }
}

#[test]
fn a_server_that_does_not_prove_its_name_is_refused_through_a_proxy_as_well() {
    let gateways = [
        ("socks5", Gateway::socks(false)),
        ("http", Gateway::http(false, &all_ports())),
    ];
    for (scheme, gateway) in gateways {
        let url = format!("{scheme}://{}", gateway.address);
        let log = refused_through(&url, UNPROVED);
        assert!(
            log.contains(&format!("the certificate of {UNPROVED} is not trusted")),
            "{log}"
        );
        assert!(gateway.log().contains(UNPROVED), "{}", gateway.log());
    }
}

#[test]
fn the_environment_names_a_proxy_and_the_hosts_without_one() {
    let gateway = Gateway::socks(true);
    let (through, near, excepted) = (
        Mailbox::new(servers()),
        Mailbox::new(servers()),
        "excepted@example.org",
    );
    let (user, password) = LOGIN;
    let url = format!("socks5h://{user}:{password}@{}", gateway.address);
    let accounts = [
        behind(&through.user, BEHIND),
        Account::implicit(&near.user, servers()),
        behind(excepted, UNPROVED),
    ];
    let environment = [
        ("ALL_PROXY", url.as_str()),
        ("NO_PROXY", "x.test, other.provider.test"),
    ];
    let proxy = Proxy::start_in_environment(&environment, &accounts);
    logs_in_everywhere(&proxy, &through.user);
    logs_in_everywhere(&proxy, &near.user);
    refused_everywhere(&proxy, excepted);
    let log = proxy.log();
    assert!(
        log.contains(&format!("the name {UNPROVED} cannot be resolved")),
        "{log}"
    );
    let asked = gateway.log();
    assert!(asked.contains(BEHIND), "{asked}");
    assert!(
        !asked.contains("localhost") && !asked.contains(UNPROVED),
        "{asked}"
    );
    assert_silent(proxy, &[password]);
}

#[test]
fn check_logs_in_through_the_proxy_and_says_so() {
    let gateway = Gateway::http(false, &all_ports());
    let mailbox = Mailbox::new(servers());
    let url = format!("http://{}", gateway.address);
    let proxy = Proxy::start(&[behind(&mailbox.user, BEHIND).with_proxy(url.clone())]);
    let checked = proxy.command(&["check", "--connect"]);
    let said = String::from_utf8(checked.stdout).expect("text");
    assert!(checked.status.success(), "{said}");
    let imaps = servers().imaps.port();
    let line = format!(
        "{} imap at {BEHIND}:{imaps} through {url}: ok\n",
        mailbox.user
    );
    assert!(said.contains(&line), "{said}");
    drop(gateway);
    let checked = proxy.command(&["check", "--connect", "--json"]);
    let said = String::from_utf8(checked.stdout).expect("text");
    assert!(!checked.status.success(), "{said}");
    assert!(said.contains(&format!("\"proxy\": \"{url}\"")), "{said}");
    assert!(said.contains(&format!("no way through {url}")), "{said}");
}

#[test]
fn a_server_may_have_an_address_of_ipv6_for_its_name_and_must_prove_it() {
    let mailbox = Mailbox::new(servers());
    let mut account = Account::implicit(&mailbox.user, servers());
    account.imap.host = "::1";
    let proxy = Proxy::start(&[account]);
    let password = proxy.password(&mailbox.user);
    let mut imap = Imap::connect(proxy.imap);
    imap.try_login(&mailbox.user, password).ok();
    let status = proxy.command(&["status", "--json"]).stdout;
    let status = String::from_utf8(status).expect("text");
    let upstream = format!("[::1]:{}", servers().imaps.port());
    assert!(status.contains(&upstream), "{status}");
    let mut account = Account::implicit(USER, servers());
    account.imap.host = "127.0.0.1";
    let proxy = Proxy::start(&[account]);
    let refused = Imap::connect(proxy.imap).try_login(USER, proxy.password(USER));
    assert!(
        refused.status.starts_with("NO [UNAVAILABLE]"),
        "{refused:?}"
    );
    assert!(
        proxy
            .log()
            .contains("the certificate of 127.0.0.1 is not trusted")
    );
}

/// Whose mailbox is never reached.
const USER: &str = "nobody@example.org";

/// The servers as seen from behind a gateway.
fn behind(user: &str, host: &'static str) -> Account {
    at_host(Account::implicit(user, servers()), host)
}

fn at_host(mut account: Account, host: &'static str) -> Account {
    for upstream in [&mut account.imap, &mut account.pop3, &mut account.smtp] {
        upstream.host = host;
    }
    account
}

fn all_ports() -> [u16; 6] {
    let all = servers();
    let addresses = [
        all.imap, all.imaps, all.pop3, all.pop3s, all.smtp, all.smtps,
    ];
    addresses.map(|address| address.port())
}

/// Where the gateway's password is.
struct Secrets(TempDir);

impl Secrets {
    fn new(password: &str) -> Self {
        let secrets = Self(tempfile::tempdir().expect("a temporary folder"));
        secrets.put(password);
        secrets
    }

    fn put(&self, password: &str) {
        write_private(&self.file(), password);
    }

    fn file(&self) -> PathBuf {
        self.0.path().join("gateway")
    }

    fn proxy(&self, scheme: &str, gateway: &Gateway) -> String {
        let (user, _) = LOGIN;
        format!(
            "{{ url = \"{scheme}://{user}@{}\", password = {{ file = {:?} }} }}",
            gateway.address,
            self.file()
        )
    }
}

fn works_through(scheme: &str, gateway: &Gateway, with_login: bool) {
    let secrets = Secrets::new(LOGIN.1);
    let said = if with_login {
        secrets.proxy(scheme, gateway)
    } else {
        format!("{scheme}://{}", gateway.address)
    };
    let implicit = Mailbox::new(servers());
    let starttls = Mailbox::new(servers());
    let accounts = [
        behind(&implicit.user, BEHIND).with_proxy(said.clone()),
        at_host(Account::starttls(&starttls.user, servers()), BEHIND).with_proxy(said),
    ];
    let proxy = Proxy::start(&accounts);
    for mailbox in [implicit, starttls] {
        mailbox.seed("", [b"Subject: through\r\n\r\nbody\r\n".as_slice()]);
        logs_in_everywhere(&proxy, &mailbox.user);
        let mut imap = Imap::connect(proxy.imap);
        imap.try_login(&mailbox.user, proxy.password(&mailbox.user))
            .ok();
        imap.command("SELECT INBOX");
        let fetched = imap.command("FETCH 1 BODY.PEEK[]").literals();
        assert_eq!(fetched, [b"Subject: through\r\n\r\nbody\r\n".to_vec()]);
    }
    assert_silent(proxy, &[LOGIN.1]);
}

fn logs_in_everywhere(proxy: &Proxy, user: &str) {
    let password = proxy.password(user);
    Imap::connect(proxy.imap).try_login(user, password).ok();
    let mut pop3 = Pop3::connect(proxy.pop3);
    pop3.command(&format!("USER {user}"));
    let taken = pop3.attempt(&format!("PASS {password}"));
    assert!(taken.starts_with("+OK"), "{taken}");
    let mut smtp = Smtp::connect(proxy.smtp);
    smtp.command("EHLO client.example.org").expect(250);
    smtp.auth_plain(user, password).expect(235);
}

/// What is logged while every protocol says that it is temporary.
fn refused_through(url: &str, host: &'static str) -> String {
    let proxy = Proxy::start(&[behind(USER, host).with_proxy(url.to_owned())]);
    refused_everywhere(&proxy, USER);
    proxy.log()
}

/// Ends it, so that its log is whole.
fn assert_silent(mut proxy: Proxy, passwords: &[&str]) {
    proxy.signal(Signal::TERM);
    proxy.wait();
    let log = proxy.log();
    assert!(log.contains("session ended"), "nothing was logged: {log}");
    for password in passwords {
        assert!(!log.contains(password), "{log}");
    }
}

/// Hears the first words of any proxy protocol, and closes.
fn heard_greeting(line: &mut Line) -> io::Result<()> {
    line.read_exact(&mut [0; 3])
}
