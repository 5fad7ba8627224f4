//! The benchmark of mailsluice: what it costs beside its peers, and beside a splice that looks at nothing.
//!
//! [`run`] is the way through it, [`bench`](mod@bench) what runs meanwhile: [`upstream`] serves canned mail over TLS, every target of [`peers`] stands in front of
//! it, [`scenarios`] send clients ([`client`]) through the targets in turns, [`process`] reads what the targets use, and
//! [`results`] is what is kept. The upstream and the baselines ([`splice`]) are processes of this same executable
//! ([`helper`]), so that what each uses can be told apart.
//!
//! Results are compared by [`compare`] and drawn by [`charts`]. Apart from all that, [`instructions`] counts those of a
//! fixed [`workload`] without sockets.

mod accounts;
mod bench;
mod charts;
mod client;
mod compare;
mod error;
mod fidelity;
mod helper;
mod in_memory;
mod inputs;
mod instructions;
mod machine;
mod mail;
mod peers;
mod process;
mod program;
mod results;
mod rounds;
mod run;
mod scenarios;
mod splice;
mod stage;
mod stats;
mod table;
mod tls;
mod upstream;
mod wire;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use error::{BenchError, chain};
use results::Results;

/// Measures what mailsluice costs, beside its peers and beside an ideal splice.
#[derive(Debug, Parser)]
#[command(name = "mailsluice-bench", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start everything, check it, measure it, and print a table.
    Run(run::RunArguments),
    /// Print the table of a file that `run --json` wrote.
    Show {
        /// The file.
        file: PathBuf,
    },
    /// List all targets and scenarios.
    List,
    /// Measure what grows with the number of accounts.
    Accounts(accounts::AccountsArguments),
    /// Compare two files of results; what got worse is said, and is no error.
    Compare(compare::CompareArguments),
    /// Draw the charts of a file of results.
    Charts(charts::ChartsArguments),
    /// Count the instructions of a fixed workload, and compare them with those that are committed.
    Instructions(instructions::InstructionsArguments),
    /// The workload whose instructions are counted.
    #[command(hide = true)]
    Workload(instructions::WorkloadArguments),
    /// The upstream's process.
    #[command(name = UPSTREAM, hide = true)]
    Upstream(upstream::UpstreamArguments),
    /// A splice's process.
    #[command(name = SPLICE, hide = true)]
    Splice(splice::SpliceArguments),
}

/// The subcommands that only this program itself gives.
const UPSTREAM: &str = "serve-upstream";
const SPLICE: &str = "serve-splice";

fn main() -> ExitCode {
    match perform(Arguments::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("mailsluice-bench: {}", chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn perform(command: Command) -> Result<(), BenchError> {
    match command {
        Command::Run(arguments) => {
            let results = run::run(&arguments)?;
            print!("{}", table::text(&results));
            match &arguments.json {
                Some(path) => results.write(path),
                None => Ok(()),
            }
        }
        Command::Show { file } => {
            print!("{}", table::text(&Results::read(&file)?));
            Ok(())
        }
        Command::List => {
            list();
            Ok(())
        }
        Command::Accounts(arguments) => accounts::accounts(&arguments),
        Command::Compare(arguments) => compare::compare(&arguments),
        Command::Charts(arguments) => charts::charts(&arguments),
        Command::Instructions(arguments) => Ok(instructions::instructions(&arguments)?),
        Command::Workload(arguments) => Ok(instructions::workload(&arguments)?),
        Command::Upstream(arguments) => upstream::main(&arguments),
        Command::Splice(arguments) => splice::main(&arguments),
    }
}

fn list() {
    println!("targets:\n  mailsluice\n  mailsluice-cold  each login goes upstream");
    for peer in peers::all() {
        let version = peer
            .find()
            .unwrap_or_else(|| "not on this machine".to_owned());
        println!("  {:<16} {version}", peer.name());
    }
    println!("scenarios:");
    for scenario in scenarios::all(false) {
        println!("  {:<20} {}", scenario.name(), scenario.about());
    }
}
