//! What grows with the number of accounts: reading the configuration, memory, and finding the one that logs in.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use crate::bench::Bench;
use crate::client::{Imap, SMALL};
use crate::error::BenchError;
use crate::peers::Mailsluice;
use crate::scenarios::micros;
use crate::stage::{Load, Protocol, Stage};
use crate::{program, stats};

/// Options of `accounts`.
#[derive(Debug, Args)]
pub(crate) struct AccountsArguments {
    /// Measure this binary of mailsluice, and build none.
    #[arg(long, value_name = "FILE")]
    mailsluice: Option<PathBuf>,
}

/// One row.
struct Row {
    accounts: usize,
    /// A whole command that reads the configuration, in ms.
    command_ms: f64,
    resident_kib: u64,
    password_us: f64,
    oauth_us: f64,
}

/// Measures with 1 to 10 000 accounts, half of them with passwords and half with tokens, and prints a table.
pub(crate) fn accounts(arguments: &AccountsArguments) -> Result<(), BenchError> {
    let binary = match &arguments.mailsluice {
        Some(file) => std::fs::canonicalize(file).map_err(BenchError::io("looking for it"))?,
        None => program::mailsluice()?,
    };
    let load = Load {
        time: Duration::from_secs(1),
        quick: false,
        sessions: 1,
    };
    let bench = Bench::new(Vec::new(), load)?;
    println!("accounts  command ms  resident KiB  login p50 µs  OAuth login p50 µs");
    for accounts in STEPS {
        eprintln!("{accounts} accounts");
        let row = measure(
            &bench,
            Mailsluice::cold(binary.clone()).with(accounts),
            accounts,
        )?;
        println!(
            "{:8}  {:10.1}  {:12}  {:12.0}  {:18.0}",
            row.accounts, row.command_ms, row.resident_kib, row.password_us, row.oauth_us
        );
    }
    Ok(())
}

fn measure(bench: &Bench, target: Mailsluice, accounts: usize) -> Result<Row, BenchError> {
    bench.beside(&target, |stage, folder| {
        let resident_kib = stage.running.tree().memory().kib;
        let mut commands = Vec::new();
        for _ in 0..ROUNDS {
            let started = Instant::now();
            target.read_configuration(folder)?;
            commands.push(started.elapsed().as_secs_f64() * 1e3);
        }
        Ok(Row {
            accounts,
            command_ms: stats::median(&commands).unwrap_or_default(),
            resident_kib,
            password_us: logins(stage, false)?,
            oauth_us: logins(stage, true)?,
        })
    })
}

/// The median of logins at the last account but the fillers.
fn logins(stage: &Stage<'_>, oauth: bool) -> Result<f64, BenchError> {
    let login = stage.running.ports.oauth.clone().filter(|_| oauth);
    let login = login.unwrap_or_else(|| stage.login());
    stage.run(async {
        let way = stage.way(Protocol::Imap)?.with_buffer(SMALL);
        Imap::open(&way, &login).await?.logout().await?;
        let mut times = Vec::new();
        for _ in 0..LOGINS {
            let started = Instant::now();
            let client = Imap::open(&way, &login).await?;
            times.push(micros(started));
            client.logout().await?;
        }
        Ok(stats::median(&times).unwrap_or_default())
    })
}

const STEPS: [usize; 5] = [1, 10, 100, 1_000, 10_000];
const ROUNDS: usize = 5;
const LOGINS: usize = 300;
