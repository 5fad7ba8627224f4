//! Who we are to the issuer: the id of the user's own registration, how it is proved, where sign-ins come back to.

use super::super::super::fault::Fault;
use super::super::super::file::ClientSecretEntry;
use super::super::super::issuers::{FlowName, SecretNeed};
use super::super::super::key::KeyPath;
use super::super::super::oauth::{Client, ClientProof};
use super::super::Check;
use super::super::endpoint::certificates;
use super::super::files::Holds;
use super::super::secret::client_secret;
use super::address::redirect_fault;
use super::issuer::Known;
use super::{Asked, Level};

/// What one place says about the client.
struct Candidate<'a> {
    id: Option<&'a str>,
    secret: Option<&'a ClientSecretEntry>,
    certificate: Option<&'a str>,
    key: Option<&'a str>,
    redirect: Option<&'a str>,
    at: KeyPath,
}

/// Checks what `[issuer.NAME]` says about the client, whoever uses it.
pub(super) fn check_entry(known: &Known<'_>, check: &mut Check<'_>) {
    if let Some(candidate) = of_issuer(known) {
        candidate.id(check);
        candidate.proof(check);
        redirect(&candidate, check);
    }
}

/// The client. A proof belongs to an id, so it is not looked for at weaker levels than the id's.
pub(super) fn client(
    known: &Known<'_>,
    flow: FlowName,
    asked: &Asked<'_>,
    levels: &[Level<'_>],
    check: &mut Check<'_>,
) -> Option<Client> {
    if flow == FlowName::ServiceAccount {
        return Some(service_account());
    }
    let candidates: Vec<Candidate<'_>> = levels
        .iter()
        .map(of_level)
        .chain(of_issuer(known))
        .collect();
    let Some(owner) = candidates.iter().position(|c| c.id.is_some()) else {
        let fault = Fault::ClientIdNeeded {
            title: known.title().to_owned(),
            guide: known.guide(),
            issuer: known.name.to_owned(),
        };
        check.report.add(&asked.key("client_id"), fault);
        return None;
    };
    let (near, _) = candidates.split_at_checked(owner + 1)?;
    let id = near.last().and_then(|c| c.id(check));
    let proof = match near.iter().find(|c| c.has_proof()) {
        Some(candidate) => candidate.proof(check),
        None => no_proof(known, flow, asked, near.last()?, check),
    };
    let redirect_uri = redirect_uri(known, &candidates, check);
    Some(Client {
        id: id?.to_owned(),
        proof: proof?,
        redirect_uri,
    })
}

/// It has no client: its key file says who it is.
fn service_account() -> Client {
    Client {
        id: String::new(),
        proof: ClientProof::None,
        redirect_uri: None,
    }
}

fn of_level<'a>(level: &Level<'a>) -> Candidate<'a> {
    let said = level.said;
    Candidate {
        id: said.client_id.as_deref(),
        secret: said.client_secret.as_ref(),
        certificate: said.certificate.as_deref(),
        key: said.key.as_deref(),
        redirect: said.redirect_uri.as_deref(),
        at: level.at.clone(),
    }
}

fn of_issuer<'a>(known: &Known<'a>) -> Option<Candidate<'a>> {
    let entry = known.entry?;
    Some(Candidate {
        id: entry.client_id.as_deref(),
        secret: entry.client_secret.as_ref(),
        certificate: entry.certificate.as_deref(),
        key: entry.key.as_deref(),
        redirect: entry.redirect_uri.as_deref(),
        at: known.at.clone(),
    })
}

/// A public client, where that will do.
fn no_proof(
    known: &Known<'_>,
    flow: FlowName,
    asked: &Asked<'_>,
    owner: &Candidate<'_>,
    check: &mut Check<'_>,
) -> Option<ClientProof> {
    let required = known.preset.map(|p| p.client_secret) == Some(SecretNeed::Required);
    if required {
        let fault = Fault::ClientSecretNeeded {
            title: known.title().to_owned(),
            guide: known.guide(),
        };
        check.report.add(&owner.at.child("client_secret"), fault);
        return None;
    }
    if flow == FlowName::ClientCredentials {
        let key = asked.key("client_secret");
        check.report.add(&key, Fault::ClientProofNeeded);
        return None;
    }
    Some(ClientProof::None)
}

/// `None` is the callback listener's own address.
fn redirect_uri(
    known: &Known<'_>,
    candidates: &[Candidate<'_>],
    check: &mut Check<'_>,
) -> Option<String> {
    let said = candidates.iter().find(|c| c.redirect.is_some());
    if let Some(candidate) = said {
        return redirect(candidate, check);
    }
    let preset = known.preset.map(|p| p.redirect.as_str());
    with_port(preset.filter(|form| *form != ANY_PORT)?, check)
}

fn redirect(candidate: &Candidate<'_>, check: &mut Check<'_>) -> Option<String> {
    let template = candidate.redirect?;
    if let Some(fault) = redirect_fault(&template.replace(PORT, "8143")) {
        check.report.add(&candidate.at.child("redirect_uri"), fault);
        return None;
    }
    with_port(template, check)
}

/// `None` where the port is not known before the listener has it.
fn with_port(template: &str, check: &Check<'_>) -> Option<String> {
    let known = check.sign_in_port != 0 || !template.contains(PORT);
    known.then(|| template.replace(PORT, &check.sign_in_port.to_string()))
}

impl<'a> Candidate<'a> {
    fn has_proof(&self) -> bool {
        self.secret.is_some() || self.certificate.is_some() || self.key.is_some()
    }

    fn id(&self, check: &mut Check<'_>) -> Option<&'a str> {
        let id = self.id?;
        let odd = |c: char| c.is_whitespace() || c.is_control();
        if id.is_empty() || id.contains(odd) {
            check
                .report
                .add(&self.at.child("client_id"), Fault::NotAClientId);
            return None;
        }
        Some(id)
    }

    fn proof(&self, check: &mut Check<'_>) -> Option<ClientProof> {
        match (self.secret, self.certificate, self.key) {
            (None, None, None) => Some(ClientProof::None),
            (Some(secret), None, None) => {
                let key = self.at.child("client_secret");
                client_secret(&secret.0, &key, check).map(ClientProof::Secret)
            }
            (Some(_), _, _) => {
                let key = self.at.child("client_secret");
                check.report.add(&key, Fault::TwoProofs);
                None
            }
            (None, Some(_), None) => {
                let key = self.at.child("certificate");
                check.report.add(&key, Fault::CertificateWithoutKey);
                None
            }
            (None, certificate, Some(key)) => self.assertion(certificate, key, check),
        }
    }

    fn assertion(
        &self,
        certificate: Option<&str>,
        key: &str,
        check: &mut Check<'_>,
    ) -> Option<ClientProof> {
        let certificate = match certificate {
            Some(file) => Some(certificates(file, &self.at.child("certificate"), check)?),
            None => None,
        };
        let key_file = check.path(key);
        if let Some(fault) = check.files.check(&key_file, Holds::Secret) {
            check.report.add(&self.at.child("key"), fault);
            return None;
        }
        Some(ClientProof::Assertion {
            certificate,
            key: key_file,
        })
    }
}

/// Of a preset: any port of `localhost`, so the callback listener's.
const ANY_PORT: &str = "http://localhost";

/// In a redirect: the port of `[sign_in]`.
const PORT: &str = "{port}";
