//! kill -9 while a token is being renewed: whenever it happens, the next login after a restart works, and at once.
//!
//! No client can survive an issuer that ends a grant when a refresh token comes twice, if it dies before it has read the
//! answer that brought the next one. Real ones leave the old one valid until the new one is used, or for some seconds, or
//! for good; the issuer of the first case does the former. That of the second forgives nothing.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::sign_ins::sign_in;
use super::tokens::{EACH_LOGIN_UPSTREAM, log_in_by_imap};
use crate::fixture::{
    Account, Exchange, Front, Line, Mailbox, OAuthServers, Proxy, Scripted, Target, read_line, say,
    servers,
};

#[test]
fn kill_nine_at_any_moment_of_a_renewal_loses_no_grant() {
    let oauth = OAuthServers::start();
    oauth.issuer.forgive();
    thread::scope(|scope| {
        for lane in 0..LANES {
            let oauth = &oauth;
            scope.spawn(move || kill_again_and_again(oauth, lane));
        }
    });
}

/// One account whose token lasts a second, and whose proxy is killed in each of them.
fn kill_again_and_again(oauth: &OAuthServers, lane: u32) {
    let front = Front::before(oauth.issuer.address);
    front.answers(short_lived);
    let mailbox = Mailbox::new(servers());
    let account = Account::oauth_behind(&mailbox.user, oauth, &front);
    let mut target = Target::through(mailbox, Proxy::start_with(EACH_LOGIN_UPSTREAM, &[account]));
    sign_in(&target);
    for round in 0..ROUNDS {
        let (reached, moment) = channel();
        front.answers(script(round, reached));
        wait_for_the_next_second();
        let _client = begin_login(&target, &target.user, &target.password);
        moment.recv_timeout(PATIENCE).expect("a token request");
        if round >= STAGES {
            thread::sleep(STEP * ((round - STAGES) * LANES + lane));
        }
        target.kill();
        front.answers(short_lived);
        target.start();
        log_in_by_imap(&target);
    }
}

/// How the token endpoint serves the request that the proxy does not live to see the end of, and when it says so.
fn script(
    round: u32,
    reached: Sender<()>,
) -> impl Fn(&mut Exchange) -> io::Result<()> + Send + Sync {
    let reached = Mutex::new(reached);
    move |exchange| {
        let tell = || reached.lock().expect("a sender").send(()).ok();
        if round == 0 {
            tell();
            return exchange.until_gone();
        }
        let answer = shortened(&exchange.forward()?);
        let passed = match round {
            1 => 0,
            2 => answer.len() / 2,
            3 => answer.len() - 1,
            _ => answer.len(),
        };
        exchange.say(&answer[..passed])?;
        tell();
        exchange.until_gone()
    }
}

/// A login that nobody waits for.
fn begin_login(target: &Target, user: &str, password: &str) -> TcpStream {
    let mut client = TcpStream::connect(target.imap).expect("connect");
    let login = format!("a LOGIN {user} \"{password}\"\r\n");
    client.write_all(login.as_bytes()).expect("send");
    client
}

/// The proxy counts in whole Unix seconds, so a token of one second has ended then.
fn wait_for_the_next_second() {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("a clock");
    thread::sleep(Duration::from_nanos(
        (1_000_000_000 - now.subsec_nanos()).into(),
    ));
}

fn short_lived(exchange: &mut Exchange) -> io::Result<()> {
    let answer = exchange.forward()?;
    exchange.say(&shortened(&answer))
}

/// To the proxy the token lasts a second; to the mail server as long as the issuer says.
fn shortened(answer: &[u8]) -> Vec<u8> {
    let text = String::from_utf8(answer.to_vec()).expect("UTF-8");
    text.replace("\"expires_in\":3600", "\"expires_in\":   1")
        .into_bytes()
}

/// Here the mail server says when the token is used for the first time, which is after it was stored.
#[test]
fn kill_nine_between_commit_and_first_use_loses_nothing_at_a_strict_issuer() {
    let oauth = OAuthServers::start();
    let front = Front::before(oauth.issuer.address);
    front.answers(short_lived);
    let (used, first_use) = channel();
    let used = Mutex::new(used);
    let identity = servers().authority.identity("localhost");
    let upstream = Scripted::start(&identity, move |line| until_login(line, &used));
    let mailbox = Mailbox::new(servers());
    let account = Account::oauth_behind(&mailbox.user, &oauth, &front);
    let other = Account::at(OTHER, upstream.address)
        .with_auth(&account)
        .with_lines(format!(
            "oauth = {{ issuer = \"test\", grant = \"{}\" }}\n",
            mailbox.user
        ));
    let mut target = Target::through(
        mailbox,
        Proxy::start_with(EACH_LOGIN_UPSTREAM, &[account, other]),
    );
    sign_in(&target);
    let password = target.proxy().password(OTHER).to_owned();
    for _ in 0..STRICT_ROUNDS {
        wait_for_the_next_second();
        let before = oauth.issuer.requests(&target.user);
        let _client = begin_login(&target, OTHER, &password);
        first_use.recv_timeout(PATIENCE).expect("a login upstream");
        assert_eq!(oauth.issuer.requests(&target.user), before + 1);
        target.kill();
        target.start();
        log_in_by_imap(&target);
    }
    assert_eq!(oauth.issuer.refused(), 0);
}

/// The one that was killed would have kept the others from the issuer for twenty seconds; here even for longer than a login
/// waits.
#[test]
fn the_request_of_a_killed_process_keeps_nobody_waiting() {
    let oauth = OAuthServers::start();
    oauth.issuer.forgive();
    let front = Front::before(oauth.issuer.address);
    let mailbox = Mailbox::new(servers());
    let account = Account::oauth_behind(&mailbox.user, &oauth, &front);
    let mut target = Target::through(mailbox, Proxy::start_with(EACH_LOGIN_UPSTREAM, &[account]));
    sign_in(&target);
    log_in_by_imap(&target);
    oauth.issuer.expire(&target.user);
    let (reached, moment) = channel();
    front.answers(script(0, reached));
    let _client = begin_login(&target, &target.user, &target.password);
    moment.recv_timeout(PATIENCE).expect("a token request");
    target.kill();
    prolong_leases(&target);
    front.recover();
    target.start();
    log_in_by_imap(&target);
}

/// Not by so much that it would be taken for a clock gone wrong.
fn prolong_leases(target: &Target) {
    let store = format!("sqlite:{}", target.proxy().store().display());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let changed = runtime.block_on(async {
        let pool = sqlx::SqlitePool::connect(&store).await?;
        let later = sqlx::query("UPDATE oauth_lease SET until = until + 15000");
        let changed = later.execute(&pool).await?.rows_affected();
        pool.close().await;
        Ok::<_, sqlx::Error>(changed)
    });
    assert_eq!(changed.expect("the store opens"), 1, "a lease was held");
}

/// An IMAP server up to the client's credential.
fn until_login(line: &mut Line, used: &Mutex<Sender<()>>) -> io::Result<()> {
    say(
        line,
        "* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] at your service\r\n",
    )?;
    loop {
        if read_line(line)?.contains("AUTHENTICATE") {
            used.lock().expect("a sender").send(()).ok();
        }
    }
}

/// The other account of the grant.
const OTHER: &str = "other@example.org";

/// Side by side; what a small machine can do.
const LANES: u32 = 5;

/// Kills in each lane: in all more than two hundred.
const ROUNDS: u32 = 42;

/// The rounds that end in a stage of their own; in those behind them the answer has arrived.
const STAGES: u32 = 5;

/// From the answer to its use it takes some milliseconds; each kill comes a little later than the one before.
const STEP: Duration = Duration::from_micros(120);

/// Each waits for a token to end.
const STRICT_ROUNDS: u32 = 10;

/// For what comes at once, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);
