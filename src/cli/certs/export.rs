//! `certs export`: a certificate for another machine or program. There is no way to a key.

use std::fs;
use std::io::{self, IsTerminal, Write};

use super::{now, p12};
use crate::cli::args::{CertificateFormat, CertsExportArguments};
use crate::cli::context::Context;
use crate::cli::error::CliError;
use crate::cli::exit::Exit;
use crate::net::certificates::{Folder, Shown, pem, wanted};

/// Writes it to the file that was named, or to standard output.
pub(super) fn export(
    context: &Context,
    arguments: &CertsExportArguments,
) -> Result<Exit, CliError> {
    check(arguments)?;
    let loaded = context.load()?;
    let folder = Folder::of(&loaded.config);
    let shown = if arguments.leaf {
        folder.look_at_leaf()?.ok_or(CliError::NoCertificate)?
    } else {
        folder.authority(&wanted(&loaded.config), now())?
    };
    let content = encoded(&shown, arguments.format)?;
    match &arguments.out {
        None => context.out().write_all(&content)?,
        Some(path) => {
            fs::write(path, content).map_err(|source| CliError::Write {
                path: path.clone(),
                source,
            })?;
            // Said beside the output, which may be read by a program.
            let mut told = io::stderr();
            writeln!(told, "{} is in {}", shown.facts.subject, path.display())?;
            if arguments.format == CertificateFormat::P12 {
                writeln!(
                    told,
                    "Its password is {}, as for every trust store of Java.",
                    p12::PASSWORD
                )?;
            }
        }
    }
    Ok(Exit::Ok)
}

fn check(arguments: &CertsExportArguments) -> Result<(), CliError> {
    let binary = arguments.format != CertificateFormat::Pem;
    match (arguments.format, &arguments.out) {
        (CertificateFormat::P12, _) if arguments.leaf => Err(CliError::LeafInP12),
        (CertificateFormat::P12, None) => Err(CliError::NeedsOut),
        (_, None) if binary && io::stdout().is_terminal() => Err(CliError::NeedsOut),
        _ => Ok(()),
    }
}

fn encoded(shown: &Shown, format: CertificateFormat) -> Result<Vec<u8>, CliError> {
    Ok(match format {
        CertificateFormat::Pem => pem(&shown.der).into_bytes(),
        CertificateFormat::Der => shown.der.to_vec(),
        CertificateFormat::P12 => {
            p12::trust_store(&shown.der, &shown.facts.subject).map_err(|_| CliError::NoRandom)?
        }
    })
}
