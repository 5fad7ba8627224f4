//! The proxy is killed while it gets a token, again and again, and no sign-in is lost.

use std::thread;
use std::time::Duration;

use super::sign_ins::signed_in;
use crate::client::Wire;
use crate::client::imap::Imap;
use crate::fixture::OAuthServers;

/// The issuer gives a new refresh token with each answer and takes the one before it until the new one is used: whoever
/// used a token that was never committed, or committed one too late, is found out within two kills.
#[test]
fn kill_9_at_any_moment_of_a_refresh_loses_no_grant() {
    let oauth = OAuthServers::start();
    oauth.issuer.lenient(true);
    let mut target = signed_in(&oauth, "");
    let mut hit = 0;
    for kill in 0..KILLS {
        oauth.issuer.expire(&target.user);
        let before = oauth.issuer.requests(&target.user);
        let mut client = Wire::connect(target.imap);
        client.text_line();
        let (user, password) = (&target.user, &target.password);
        client.send(format!("a LOGIN {user} {password}\r\n").as_bytes());
        // Where the kill falls is the point; each moment has its turn.
        thread::sleep(STEP * (kill % STEPS));
        let proxy = target.proxy.as_mut().expect("a proxy");
        proxy.crash_and_restart();
        (target.imap, target.pop3, target.smtp) = (proxy.imap, proxy.pop3, proxy.smtp);
        hit += oauth.issuer.requests(&target.user) - before;
        if kill % STEPS == STEPS - 1 {
            Imap::inbox(&target).command("LOGOUT");
        }
    }
    assert!(hit > 0, "no kill fell behind a token request");
    Imap::inbox(&target).command("LOGOUT");
}

const KILLS: u32 = 50;

/// From the login to its end takes some 50 ms.
const STEPS: u32 = 25;
const STEP: Duration = Duration::from_millis(3);
