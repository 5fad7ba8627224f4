//! The mail providers we know: `config/providers.toml`, compiled in, and the user's own files over it.

mod catalogue;
mod provider;

use std::sync::OnceLock;

use figment::value::Value;

pub use self::catalogue::Catalogue;
pub use self::provider::{
    Access, AuthMethod, PasswordState, Provider, SavesSent, Server, ServerTls, UserForm,
};
use super::key::KeyPath;
use super::problem::Problem;
use super::read::{Report, read};
use super::source::{Sources, TomlFile};

/// The compiled-in providers. Parsed on first use.
///
/// Empty only if the file compiled in were broken, which a test rules out.
pub fn builtin() -> &'static Catalogue {
    static BUILTIN: OnceLock<Catalogue> = OnceLock::new();
    BUILTIN.get_or_init(|| {
        let path = std::path::Path::new("config/providers.toml");
        parse(path, BUILTIN_TEXT.to_owned()).map_or_else(
            |_| Catalogue::default(),
            |file| Catalogue::new(file.providers, file.no_standard_access),
        )
    })
}

/// All compiled-in providers, in the order of the file.
pub fn all() -> &'static [Provider] {
    builtin().all()
}

/// The compiled-in provider that serves this mail domain.
pub fn find_by_domain(domain: &str) -> Option<&'static Provider> {
    builtin().find_by_domain(domain)
}

/// The compiled-in provider of this name.
pub fn find_by_name(name: &str) -> Option<&'static Provider> {
    builtin().find_by_name(name)
}

/// The compiled-in providers whose name, title, domains or hosts hold `text`, in the order of the file.
pub fn search(text: &str) -> Vec<&'static Provider> {
    builtin().search(text)
}

/// What a provider file holds.
#[derive(Debug)]
pub(super) struct ProviderFile {
    pub(super) providers: Vec<Provider>,
    pub(super) no_standard_access: Vec<String>,
}

/// Reads a provider file; everything wrong with it is reported.
pub(super) fn parse(path: &std::path::Path, text: String) -> Result<ProviderFile, Vec<Problem>> {
    let file = TomlFile::parse(path, text).map_err(|problem| vec![problem])?;
    let mut dict = file.dict();
    let sources = Sources::file_alone(file);
    let mut report = Report::new(&sources);
    let entries = dict.remove("provider");
    let rest: FileRest = read(Value::from(dict), &KeyPath::root(), &mut report).unwrap_or_default();
    let providers = read_providers(entries, &mut report);
    let problems = report.into_problems();
    if problems.is_empty() {
        Ok(ProviderFile {
            providers,
            no_standard_access: rest.no_standard_access,
        })
    } else {
        Err(problems)
    }
}

fn read_providers(entries: Option<Value>, report: &mut Report<'_>) -> Vec<Provider> {
    let at = KeyPath::root().child("provider");
    let entries = match entries {
        None => Vec::new(),
        Some(Value::Array(_, entries)) => entries,
        Some(_) => {
            report.add(&at, super::fault::Fault::NeedsDoubleBrackets("provider"));
            Vec::new()
        }
    };
    let mut providers = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let at = at.child(index);
        if let Some(provider) = read::<Provider>(entry, &at, report) {
            provider.check(&at, report);
            providers.push(provider);
        }
    }
    providers
}

/// A provider file without its `[[provider]]` entries, which are read one by one.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct FileRest {
    no_standard_access: Vec<String>,
    #[serde(rename = "provider")]
    _provider: Option<serde::de::IgnoredAny>,
}

const BUILTIN_TEXT: &str = include_str!("../../../config/providers.toml");

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_compiled_in_file_has_no_problem() {
        let file = parse(Path::new("providers.toml"), BUILTIN_TEXT.to_owned());
        assert!(file.is_ok_and(|file| file.providers.len() > 100));
    }

    #[test]
    fn a_domain_finds_its_provider_whatever_its_case() {
        assert_eq!(
            find_by_domain("GMX.de").map(|p| p.name.as_str()),
            Some("gmx")
        );
        assert_eq!(find_by_domain("firma.example"), None);
    }

    #[test]
    fn a_tenant_is_a_subdomain() {
        let name = |domain| find_by_domain(domain).map(|p| p.name.as_str());
        assert_eq!(name("contoso.onmicrosoft.com"), Some("m365"));
        assert_eq!(name("notonmicrosoft.com"), None);
    }

    #[test]
    fn the_longest_mx_suffix_wins() {
        let name = |mx| builtin().find_by_mx(mx).map(|p| p.name.as_str());
        assert_eq!(
            name("contoso-com.mail.protection.outlook.com."),
            Some("m365")
        );
        assert_eq!(
            name("hotmail-com.olc.protection.outlook.com"),
            Some("outlookcom")
        );
        assert_eq!(name("mx-aol.mail.gm0.yahoodns.net"), Some("aol"));
        assert_eq!(name("mx.example.com"), None);
    }

    #[test]
    fn search_looks_at_names_titles_domains_and_old_hosts() {
        let names = |text| -> Vec<_> { search(text).iter().map(|p| p.name.as_str()).collect() };
        assert!(names("hotmail").contains(&"outlookcom"));
        assert_eq!(names("imap-mail.outlook"), ["outlookcom"]);
        assert_eq!(names("WEB.DE"), ["webde"]);
        assert!(names("no such provider").is_empty());
    }

    #[test]
    fn a_broken_file_is_reported_whole() {
        let text = "[[provider]]\nname = \"x\"\nimap = [{ host = \"\", prot = 993 }]\nuser = 5\n";
        let problems = parse(Path::new("p.toml"), text.to_owned()).unwrap_err();
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(lines.len(), 3, "{lines:#?}");
    }
}
