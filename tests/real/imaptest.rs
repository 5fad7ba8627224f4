//! The compliance scripts of Dovecot's imaptest give the same verdicts through the proxy as straight at Dovecot.
//! `tests/imaptest` builds it, outside the repository, and runs this.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;
use std::process::Command;

use crate::fixture::{Route, Target};

/// The scripts whose verdict is another through the proxy, and why.
const DIFFERENT: [(&str, &str); 1] = [(
    "id",
    "it says ID before login with all that RFC 2971 allows, 33 kB; a line before login may have 8 KiB here",
)];

#[test]
fn compliance_scripts_give_the_same_verdicts() {
    let built = env::var("IMAPTEST").expect("tests/imaptest sets IMAPTEST");
    let [direct, through] = [Route::Direct, Route::Implicit].map(|route| failed(&built, route));
    let different: Vec<_> = direct.symmetric_difference(&through).collect();
    let expected: Vec<_> = DIFFERENT.iter().map(|(name, _)| name).collect();
    assert_eq!(different, expected, "{direct:?} {through:?}");
}

/// The scripts that fail on this route.
fn failed(built: &str, route: Route) -> BTreeSet<String> {
    let target = Target::new(route);
    let built = Path::new(built);
    let output = Command::new("timeout")
        .args(["300", "src/imaptest", "host=127.0.0.1"])
        .arg(format!("port={}", target.imap.port()))
        .arg(format!("user={}", target.user))
        .arg(format!("pass={}", target.password))
        .arg("test=src/tests")
        .current_dir(built)
        .env("LD_LIBRARY_PATH", "/usr/lib/dovecot")
        .output()
        .expect("timeout");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let failed: BTreeSet<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("*** Test ")?.split(' ').next())
        .map(str::to_owned)
        .collect();
    let count = format!(" test groups: {} failed, 0 skipped", failed.len());
    assert!(said.contains(&count), "{route:?}: no {count:?} in:\n{said}");
    failed
}
