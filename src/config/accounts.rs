//! Login name → account. Every look-up is a hash access, whatever the number of accounts.

use std::sync::Arc;

use super::names::{Names, has_placeholder};
use super::runtime::{Account, AccountAuth, Accounts, Pin, SecretSource};
use crate::protocol::Protocol;

/// What a login name leads to.
#[derive(Clone, Debug)]
pub enum Found {
    /// This account, and the protocol is on for it.
    Account(Arc<Account>),
    /// This account, but the protocol is off for it. To be said only to who knows its local password.
    ProtocolOff(Arc<Account>),
    /// Nobody this listener serves.
    Unknown,
}

impl Accounts {
    /// Indexes `accounts`. A name claimed twice goes to the first; `load` has refused such a configuration.
    pub fn new(accounts: Vec<Account>) -> Self {
        let mut indexed = Self::default();
        for account in accounts {
            indexed.insert(account);
        }
        indexed
    }

    fn insert(&mut self, account: Account) {
        let index = self.all.len();
        if let Some(names) = Names::of(&account.address) {
            if names.local_part() == CATCH_ALL {
                self.by_domain
                    .entry(names.domain().to_owned())
                    .or_insert(index);
            } else {
                let local_part = names.local_part().to_owned();
                self.by_local_part
                    .entry(local_part)
                    .or_default()
                    .push(index);
            }
        }
        let names = std::iter::once(&account.address).chain(&account.login_names);
        for name in names {
            self.by_name.entry(name.clone()).or_insert(index);
        }
        self.all.push(Arc::new(account));
    }

    /// Whom `login_name` means at a listener for `protocol` with this `pin`.
    ///
    /// A full address or an alias decides, even where the pin then shuts it out; a local part counts where exactly one
    /// of the accounts served here has it; a catch-all entry takes what is left of its domain.
    pub fn find(&self, protocol: Protocol, login_name: &str, pin: Option<&Pin>) -> Found {
        let name = login_name.to_lowercase();
        if Names::of(&name).is_some_and(|names| names.local_part() == CATCH_ALL) {
            return Found::Unknown;
        }
        if let Some(account) = self.at(self.by_name.get(&name)) {
            return served(account.clone(), account, protocol, pin);
        }
        if let Some(account) = self.unique_local_part(&name, protocol, pin) {
            return Found::Account(account);
        }
        self.caught(&name, protocol, pin)
    }

    fn unique_local_part(
        &self,
        name: &str,
        protocol: Protocol,
        pin: Option<&Pin>,
    ) -> Option<Arc<Account>> {
        let candidates = self.by_local_part.get(name)?;
        let mut served = candidates
            .iter()
            .filter_map(|index| self.all.get(*index))
            .filter(|account| account.is_let_in(pin) && account.endpoints.contains_key(&protocol));
        let only = served.next()?;
        served.next().is_none().then(|| only.clone())
    }

    fn caught(&self, name: &str, protocol: Protocol, pin: Option<&Pin>) -> Found {
        let catch_all = Names::of(name)
            .and_then(|names| self.by_domain.get(names.domain()))
            .and_then(|index| self.all.get(*index));
        match catch_all.and_then(|entry| Some((entry, derive(entry, name)?))) {
            Some((entry, account)) => served(Arc::new(account), entry, protocol, pin),
            None => Found::Unknown,
        }
    }

    fn at(&self, index: Option<&usize>) -> Option<&Arc<Account>> {
        self.all.get(*index?)
    }
}

/// `entry` is what the pin is held against: the account itself, or the catch-all entry it came from.
fn served(account: Arc<Account>, entry: &Account, protocol: Protocol, pin: Option<&Pin>) -> Found {
    if !entry.is_let_in(pin) && !account.is_let_in(pin) {
        Found::Unknown
    } else if account.endpoints.contains_key(&protocol) {
        Found::Account(account)
    } else {
        Found::ProtocolOff(account)
    }
}

impl Account {
    /// Whether a listener bound to `pin` serves it.
    pub fn is_let_in(&self, pin: Option<&Pin>) -> bool {
        match pin {
            None => true,
            Some(Pin::Account(address)) => *address == self.address,
            Some(Pin::Provider(provider)) => *provider == self.provider,
        }
    }
}

/// The account that a catch-all entry is for `name`. `None` where the name would become part of a command or a path and
/// holds what a shell or a file system would act on.
fn derive(entry: &Account, name: &str) -> Option<Account> {
    let names = Names::of(name)?;
    if !is_address(name) {
        return None;
    }
    let mut account = entry.clone();
    account.address = name.to_owned();
    for endpoint in account.endpoints.values_mut() {
        endpoint.user = names.fill(&endpoint.user);
    }
    if let AccountAuth::Password(source) = &account.auth {
        account.auth = AccountAuth::Password(fill_source(source, &names)?);
    }
    Some(account)
}

/// Fills the placeholders of a secret's source; `None` where that would be unsafe.
pub(super) fn fill_source(source: &SecretSource, names: &Names<'_>) -> Option<SecretSource> {
    let fill = |text: &String| {
        let safe = !has_placeholder(text) || names.is_inert();
        safe.then(|| names.fill(text))
    };
    Some(match source {
        SecretSource::Command(text) => SecretSource::Command(fill(text)?),
        SecretSource::File(path) => match path.to_str() {
            Some(text) => SecretSource::File(fill(&text.to_owned())?.into()),
            None => source.clone(),
        },
        SecretSource::Env(text) => SecretSource::Env(fill(text)?),
        SecretSource::SystemdCredential(text) => SecretSource::SystemdCredential(fill(text)?),
        SecretSource::Keyring(text) => SecretSource::Keyring(fill(text)?),
        SecretSource::Stored => SecretSource::Stored,
    })
}

/// Whether `text` looks like a mail address: two halves, no white space or control characters, one line of 320 octets
/// (64 + 1 + 255, RFC 5321 section 4.5.3.1).
pub(super) fn is_address(text: &str) -> bool {
    let odd = |c: char| c.is_whitespace() || c.is_control();
    let labels = |domain: &str| domain.split('.').all(|label| !label.is_empty());
    text.len() <= ADDRESS_MAX
        && !text.contains(odd)
        && Names::of(text).is_some_and(|names| labels(names.domain()))
}

/// The local part of a catch-all entry.
pub(super) const CATCH_ALL: &str = "*";

const ADDRESS_MAX: usize = 64 + 1 + 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::runtime::{Endpoint, IDLE_RENEWAL, Trust};
    use crate::protocol::TlsMode;

    fn account(address: &str, provider: &str, protocols: &[Protocol]) -> Account {
        let endpoint = |user: &str| Endpoint {
            proxy: None,
            host: "mail.example".to_owned(),
            port: 993,
            tls: TlsMode::Implicit,
            trust: Trust::Platform,
            user: user.to_owned(),
        };
        let user = if address.starts_with('*') {
            "{localpart}"
        } else {
            address
        };
        Account {
            profile: None,
            idle_renewal: IDLE_RENEWAL,
            address: address.to_owned(),
            login_names: Vec::new(),
            provider: provider.to_owned(),
            auth: AccountAuth::Passthrough,
            endpoints: protocols.iter().map(|p| (*p, endpoint(user))).collect(),
        }
    }

    fn accounts() -> Accounts {
        let all = Protocol::ALL;
        let mut anna = account("anna@gmx.de", "gmx", &all);
        anna.login_names.push("printer".to_owned());
        Accounts::new(vec![
            anna,
            account("info@gmx.de", "gmx", &all),
            account("info@web.de", "webde", &[Protocol::Smtp]),
            account("*@firma.de", "custom", &[Protocol::Imap]),
        ])
    }

    /// The address of what is found; `-` for nobody, with `off` where the protocol is.
    fn find(protocol: Protocol, name: &str, pin: Option<Pin>) -> String {
        match accounts().find(protocol, name, pin.as_ref()) {
            Found::Account(account) => account.address.clone(),
            Found::ProtocolOff(account) => format!("{} off", account.address),
            Found::Unknown => "-".to_owned(),
        }
    }

    #[test]
    fn addresses_aliases_and_local_parts_are_found_in_any_case() {
        for name in ["anna@gmx.de", "ANNA@GMX.DE", "Anna", "PRINTER"] {
            assert_eq!(find(Protocol::Imap, name, None), "anna@gmx.de");
        }
        for name in ["", "@", "nobody", "nobody@gmx.de", "anna@", "*@firma.de"] {
            assert_eq!(find(Protocol::Imap, name, None), "-", "{name}");
        }
    }

    #[test]
    fn a_local_part_counts_where_it_is_unique_among_those_served() {
        assert_eq!(find(Protocol::Smtp, "info", None), "-");
        assert_eq!(find(Protocol::Imap, "info", None), "info@gmx.de");
        let pin = Some(Pin::Provider("webde".to_owned()));
        assert_eq!(find(Protocol::Smtp, "info", pin), "info@web.de");
    }

    #[test]
    fn a_pin_shuts_out_the_others() {
        let pin = || Some(Pin::Account("anna@gmx.de".to_owned()));
        assert_eq!(find(Protocol::Imap, "anna", pin()), "anna@gmx.de");
        assert_eq!(find(Protocol::Imap, "info@gmx.de", pin()), "-");
        let pin = Some(Pin::Provider("webde".to_owned()));
        assert_eq!(find(Protocol::Imap, "anna@gmx.de", pin), "-");
    }

    #[test]
    fn a_protocol_that_is_off_is_told_apart() {
        assert_eq!(find(Protocol::Imap, "info@web.de", None), "info@web.de off");
        assert_eq!(
            find(Protocol::Pop3, "eva@firma.de", None),
            "eva@firma.de off"
        );
    }

    #[test]
    fn a_catch_all_entry_becomes_the_account_that_was_named() {
        let Found::Account(found) = accounts().find(Protocol::Imap, "Eva@Firma.de", None) else {
            panic!("not found");
        };
        assert_eq!(found.address, "eva@firma.de");
        assert_eq!(found.endpoints[&Protocol::Imap].user, "eva");
        let pin = Some(Pin::Account("*@firma.de".to_owned()));
        assert_eq!(find(Protocol::Imap, "eva@firma.de", pin), "eva@firma.de");
        assert_eq!(find(Protocol::Imap, "e va@firma.de", None), "-");
    }

    #[test]
    fn a_name_that_a_shell_would_act_on_gets_no_secret_source() {
        let command = SecretSource::Command("pass show {address}".to_owned());
        let evil = Names::of("$(id)@firma.de").unwrap();
        assert_eq!(fill_source(&command, &evil), None);
        let eva = Names::of("eva@firma.de").unwrap();
        let filled = SecretSource::Command("pass show eva@firma.de".to_owned());
        assert_eq!(fill_source(&command, &eva), Some(filled));
    }
}
