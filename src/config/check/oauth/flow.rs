//! How a grant is obtained, and what that needs.

use super::super::super::accounts::is_address;
use super::super::super::fault::Fault;
use super::super::super::issuers::FlowName;
use super::super::super::key::KeyPath;
use super::super::super::oauth::Flow;
use super::super::super::read::alternatives;
use super::super::Check;
use super::super::files::Holds;
use super::super::secret::password;
use super::issuer::Known;
use super::{Asked, Level};

/// By default a person signs in with a browser.
pub(super) fn asked(levels: &[Level<'_>]) -> FlowName {
    let said = levels.iter().find_map(|l| l.said.flow);
    said.unwrap_or_default()
}

/// Whether the issuer gives tokens for mail this way, as far as we know. An endpoint that the file names is believed.
pub(super) fn is_supported(
    flow: FlowName,
    known: &Known<'_>,
    asked: &Asked<'_>,
    levels: &[Level<'_>],
    check: &mut Check<'_>,
) -> bool {
    let own_device = known.entry.is_some_and(|e| e.device_url.is_some());
    let named = flow == FlowName::Device && own_device;
    let discovered = known.entry.is_some_and(|e| e.discover.is_some());
    let Some(preset) = known.preset.filter(|p| !p.flows.contains(&flow)) else {
        return true;
    };
    if named || discovered {
        return true;
    }
    let at = levels.iter().find(|l| l.said.flow.is_some());
    let at = at.map_or_else(|| asked.at.child("oauth"), |l| l.at.clone());
    let names: Vec<&str> = preset.flows.iter().map(|f| f.name()).collect();
    let fault = Fault::FlowNotSupported {
        title: known.title().to_owned(),
        flow: flow.name(),
        supported: alternatives(&names),
    };
    check.report.add(&at.child("flow"), fault);
    false
}

/// The flow with what it needs.
pub(super) fn flow(
    flow: FlowName,
    asked: &Asked<'_>,
    levels: &[Level<'_>],
    check: &mut Check<'_>,
) -> Option<Flow> {
    nothing_besides(flow, asked, levels, check);
    match flow {
        FlowName::Code => Some(Flow::AuthorizationCode),
        FlowName::Device => Some(Flow::Device),
        FlowName::ClientCredentials => Some(Flow::ClientCredentials),
        FlowName::Password => password_flow(asked, check),
        FlowName::ServiceAccount => service_account(asked, levels, check),
    }
}

/// What the account itself says must serve its flow; what is shared may be for others.
fn nothing_besides(flow: FlowName, asked: &Asked<'_>, levels: &[Level<'_>], check: &mut Check<'_>) {
    if asked.entry.password.is_some() && flow != FlowName::Password {
        let key = asked.at.child("password");
        check.report.add(&key, Fault::PasswordWithOAuth);
    }
    let Some(own) = levels.iter().find(|level| asked.is_own(level)) else {
        return;
    };
    if flow != FlowName::ServiceAccount {
        if own.said.subject.is_some() {
            let key = own.at.child("subject");
            check.report.add(&key, Fault::OnlyForServiceAccount);
        }
        return;
    }
    let said = [
        ("client_id", own.said.client_id.is_some()),
        ("client_secret", own.said.client_secret.is_some()),
        ("certificate", own.said.certificate.is_some()),
    ];
    for (name, _) in said.iter().filter(|(_, is)| *is) {
        check
            .report
            .add(&own.at.child(name), Fault::NotForServiceAccount);
    }
}

fn password_flow(asked: &Asked<'_>, check: &mut Check<'_>) -> Option<Flow> {
    let own = asked.entry.password.as_ref();
    let own = own.map(|entry| (entry, asked.at.child("password")));
    let shared = check.defaults.password.as_ref();
    let shared = || shared.map(|entry| (entry, KeyPath::dotted("defaults.password")));
    let Some((entry, key)) = own.or_else(shared) else {
        let key = asked.at.child("password");
        check.report.add(&key, Fault::FlowPasswordNeeded);
        return None;
    };
    password(entry, &key, asked.names, check).map(Flow::Password)
}

fn service_account(asked: &Asked<'_>, levels: &[Level<'_>], check: &mut Check<'_>) -> Option<Flow> {
    let subject = subject(asked, levels, check);
    let Some((file, at)) = levels
        .iter()
        .find_map(|l| Some((l.said.key.as_deref()?, &l.at)))
    else {
        let key = asked.key("key");
        check.report.add(&key, Fault::ServiceKeyNeeded);
        return None;
    };
    let key = check.path(file);
    if let Some(fault) = check.files.check(&key, Holds::Secret) {
        check.report.add(&at.child("key"), fault);
        return None;
    }
    Some(Flow::ServiceAccount {
        key,
        subject: subject?,
    })
}

/// Whom it acts for: by default the account, which is no answer for a grant that several share.
fn subject(asked: &Asked<'_>, levels: &[Level<'_>], check: &mut Check<'_>) -> Option<String> {
    let said = levels
        .iter()
        .find_map(|l| Some((l.said.subject.as_ref()?, &l.at)));
    let Some((template, at)) = said else {
        let shared = levels.iter().any(|l| l.said.grant.is_some());
        if shared {
            let key = asked.key("subject");
            check.report.add(&key, Fault::SubjectNeeded);
            return None;
        }
        return Some(asked.names.fill("{address}"));
    };
    let subject = asked.names.fill(template);
    if !is_address(&subject) {
        let key = at.child("subject");
        check.report.add(&key, Fault::NotASubject(subject));
        return None;
    }
    Some(subject)
}
