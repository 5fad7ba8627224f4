//! `account add` and `account remove` in the user's file: comments and formatting stay, and the file is replaced as a
//! whole or not at all.
//!
//! The text functions are apart from [`write()`], so that the result can be checked by `load` before it is
//! written.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, value};

use super::runtime::SecretSource;

/// An account to add, as it is to be written.
#[derive(Clone, Debug)]
pub struct NewAccount {
    /// Its address.
    pub address: String,
    /// Further login names.
    pub login_names: Vec<String>,
    /// The provider, where the domain does not tell.
    pub provider: Option<String>,
    /// The host of a template, or of an own server.
    pub host: Option<String>,
    /// The upstream user name, where it is neither the address nor what the provider's rule says.
    pub user: Option<String>,
    /// What the upstream takes; `None` where `[defaults]` says it, or the provider takes nothing but tokens.
    pub auth: Option<NewAuth>,
}

/// What the upstream takes, as it is to be written.
#[derive(Clone, Debug)]
pub enum NewAuth {
    /// A password of the provider's, from here.
    Password(SecretSource),
    /// The client's own password.
    Passthrough,
    /// A token.
    OAuth(NewOAuth),
}

/// What an account says about its tokens; what it leaves out follows from the provider, the issuer and `[defaults]`.
#[derive(Clone, Debug, Default)]
pub struct NewOAuth {
    /// The issuer, where it is not the provider's.
    pub issuer: Option<String>,
    /// The flow, as the file spells it.
    pub flow: Option<String>,
    /// The grant it shares with other accounts.
    pub grant: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
    /// A client id for this account alone.
    pub client_id: Option<String>,
}

/// Why the user's file was not changed.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    /// It is no TOML; `load` tells the line.
    #[error("the configuration file is no TOML, so it was not changed")]
    NotToml,
    /// `account` is something else than `[[account]]` entries.
    #[error("`account` is not written as [[account]] entries, so it cannot be changed here")]
    NotEntries,
    /// The address is there already.
    #[error("there is an account {0} already")]
    Exists(String),
    /// The address is not there.
    #[error("there is no account {0}")]
    NoSuchAccount(String),
    /// A path that TOML, which is UTF-8, cannot hold.
    #[error("{} is no UTF-8 and cannot be written into the configuration", .0.display())]
    NotUtf8(PathBuf),
    /// The file system refused.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// `text` with one more `[[account]]` at its end.
pub fn with_account(text: &str, account: &NewAccount) -> Result<String, EditError> {
    let mut document = parse(text)?;
    let Some(entries) = document.get_mut("account") else {
        return Ok(with_first_account(text, table(account)?));
    };
    let entries = entries
        .as_array_of_tables_mut()
        .ok_or(EditError::NotEntries)?;
    if entries
        .iter()
        .any(|entry| has_address(entry, &account.address))
    {
        return Err(EditError::Exists(account.address.clone()));
    }
    let mut table = table(account)?;
    table.decor_mut().set_prefix("\n");
    entries.push(table);
    Ok(document.to_string())
}

/// Below everything else: comments at the end of a file belong to no table, and would otherwise come after the account.
fn with_first_account(text: &str, table: Table) -> String {
    let mut document = DocumentMut::new();
    let entries = ArrayOfTables::from_iter([table]);
    document.insert("account", Item::ArrayOfTables(entries));
    match text.trim_end() {
        "" => document.to_string(),
        before => format!("{before}\n\n{document}"),
    }
}

/// `text` without the `[[account]]` of this address. The comment above it goes with it.
pub fn without_account(text: &str, address: &str) -> Result<String, EditError> {
    let mut document = parse(text)?;
    let missing = || EditError::NoSuchAccount(address.to_owned());
    let entries = document
        .get_mut("account")
        .ok_or_else(missing)?
        .as_array_of_tables_mut()
        .ok_or(EditError::NotEntries)?;
    let index = entries.iter().position(|entry| has_address(entry, address));
    entries.remove(index.ok_or_else(missing)?);
    if entries.is_empty() {
        document.remove("account");
    }
    Ok(document.to_string())
}

/// What a new file begins with.
pub fn new_file() -> &'static str {
    HEADER
}

/// Replaces the file at `path` by `text`, durably: a reader sees the old text or the new one, also after a crash. Mode
/// and owner stay; a new file, and its folder, are for its owner alone. A symbolic link stays one.
pub fn write(path: &Path, text: &str) -> Result<(), EditError> {
    let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    replace(&target, text).map_err(|source| EditError::Write {
        path: target.clone(),
        source,
    })
}

fn parse(text: &str) -> Result<DocumentMut, EditError> {
    text.parse().map_err(|_| EditError::NotToml)
}

fn has_address(entry: &Table, address: &str) -> bool {
    let written = entry.get("address").and_then(Item::as_str);
    written.is_some_and(|written| written.to_lowercase() == address.to_lowercase())
}

fn table(account: &NewAccount) -> Result<Table, EditError> {
    let mut table = Table::new();
    table.insert("address", value(&account.address));
    if !account.login_names.is_empty() {
        table.insert("login_names", value(Array::from_iter(&account.login_names)));
    }
    let optional = [
        ("provider", &account.provider),
        ("host", &account.host),
        ("user", &account.user),
    ];
    for (key, text) in optional {
        if let Some(text) = text {
            table.insert(key, value(text));
        }
    }
    match &account.auth {
        None => {}
        Some(NewAuth::Passthrough) => {
            table.insert("auth", value("passthrough"));
        }
        Some(NewAuth::Password(source)) => {
            table.insert("password", password(source)?);
        }
        Some(NewAuth::OAuth(new)) => {
            table.insert("auth", value("oauth"));
            let details = oauth(new);
            if !details.is_empty() {
                table.insert("oauth", value(details));
            }
        }
    }
    Ok(table)
}

fn oauth(new: &NewOAuth) -> InlineTable {
    let keys = [
        ("issuer", &new.issuer),
        ("flow", &new.flow),
        ("grant", &new.grant),
        ("tenant", &new.tenant),
        ("client_id", &new.client_id),
    ];
    let said = keys.into_iter();
    let said = said.filter_map(|(key, text)| Some((key, text.as_deref()?)));
    InlineTable::from_iter(said)
}

fn password(source: &SecretSource) -> Result<Item, EditError> {
    let (key, text) = match source {
        SecretSource::Stored => return Ok(value("stored")),
        SecretSource::Command(command) => ("command", command.as_str()),
        SecretSource::File(path) => {
            let text = path
                .to_str()
                .ok_or_else(|| EditError::NotUtf8(path.clone()))?;
            ("file", text)
        }
        SecretSource::Env(name) => ("env", name.as_str()),
        SecretSource::SystemdCredential(name) => ("systemd", name.as_str()),
        SecretSource::Keyring(name) => ("keyring", name.as_str()),
    };
    Ok(value(InlineTable::from_iter([(key, text)])))
}

fn replace(target: &Path, text: &str) -> io::Result<()> {
    let folder = match target.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    };
    make_folder(folder)?;
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let draft = folder.join(format!(".{name}.{}.new", std::process::id()));
    let written = write_draft(&draft, target, text).and_then(|()| fs::rename(&draft, target));
    if written.is_err() {
        // Best effort: the draft is of no use to anyone, and the error that counts is the first one.
        let _ = fs::remove_file(&draft);
    }
    written?;
    sync_folder(folder)
}

fn write_draft(draft: &Path, target: &Path, text: &str) -> io::Result<()> {
    let mut file = create_private(draft)?;
    file.write_all(text.as_bytes())?;
    if let Ok(metadata) = fs::metadata(target) {
        keep_owner(&file, &metadata)?;
        file.set_permissions(metadata.permissions())?;
    }
    file.sync_all()
}

#[cfg(unix)]
fn make_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
}

#[cfg(not(unix))]
fn make_folder(folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)
}

/// Never opens what is there: a draft that someone else put in place is not written through.
fn create_private(path: &Path) -> io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        // Left by a crash of a process that had our id.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)
        }
        opened => opened,
    }
}

/// The administrator's `account add` must not take the file away from the service's user.
#[cfg(unix)]
fn keep_owner(file: &File, old: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let new = file.metadata()?;
    if (new.uid(), new.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    fchown(file, Some(old.uid()), Some(old.gid()))
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &fs::Metadata) -> io::Result<()> {
    Ok(())
}

/// The rename is durable once its folder is.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}

const HEADER: &str = "\
# mailsluice: which mailboxes old mail programs may reach through this machine.
#
# `mailsluice account add` writes here and keeps what you write. After a change `mailsluice check` says what is wrong
# with it, and SIGHUP makes a running mailsluice read it again. No password belongs in this file.
# `mailsluice example` shows and explains every key.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn account(address: &str, auth: Option<NewAuth>) -> NewAccount {
        NewAccount {
            address: address.to_owned(),
            login_names: Vec::new(),
            provider: None,
            host: None,
            user: None,
            auth,
        }
    }

    const BEFORE: &str =
        "# mine\nhost = 'a.b' # kept\n\n# Anna\n[[account]]\naddress = \"anna@gmx.de\"\n";

    #[test]
    fn an_account_is_added_and_every_comment_kept() {
        let mut new = account("eva@firma.de", Some(NewAuth::Passthrough));
        new.login_names = vec!["eva".to_owned()];
        new.host = Some("mail.firma.de".to_owned());
        let after = with_account(BEFORE, &new).unwrap();
        let added = "\n[[account]]\naddress = \"eva@firma.de\"\nlogin_names = [\"eva\"]\nhost = \"mail.firma.de\"\n\
                     auth = \"passthrough\"\n";
        assert_eq!(after, format!("{BEFORE}{added}"));
    }

    #[test]
    fn the_first_account_stands_below_what_is_there() {
        let new = account("anna@gmx.de", None);
        let added = "[[account]]\naddress = \"anna@gmx.de\"\n";
        for (before, kept) in [
            ("", ""),
            ("\n", ""),
            (new_file(), new_file()),
            ("# mine", "# mine\n"),
            ("host = \"a.b\"\n# the end\n", "host = \"a.b\"\n# the end\n"),
            ("[log] # x\n\n# the end\n\n", "[log] # x\n\n# the end\n"),
        ] {
            let gap = if kept.is_empty() { "" } else { "\n" };
            assert_eq!(
                with_account(before, &new).unwrap(),
                format!("{kept}{gap}{added}")
            );
        }
    }

    #[test]
    fn a_password_is_written_as_where_it_is() {
        let source = SecretSource::Command("pass show \"x\"".to_owned());
        let new = account("anna@gmx.de", Some(NewAuth::Password(source)));
        let text = with_account("", &new).unwrap();
        let expected =
            "[[account]]\naddress = \"anna@gmx.de\"\npassword = { command = 'pass show \"x\"' }\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn an_account_with_tokens_says_what_does_not_follow() {
        let mut new = NewOAuth::default();
        let write = |new: &NewOAuth| {
            let account = account("anna@firma.de", Some(NewAuth::OAuth(new.clone())));
            with_account("", &account).unwrap()
        };
        let plain = "[[account]]\naddress = \"anna@firma.de\"\nauth = \"oauth\"\n";
        assert_eq!(write(&new), plain);
        new.issuer = Some("microsoft".to_owned());
        new.flow = Some("device".to_owned());
        let details = "oauth = { issuer = \"microsoft\", flow = \"device\" }\n";
        assert_eq!(write(&new), format!("{plain}{details}"));
    }

    #[test]
    fn an_address_is_added_once_and_removed_in_any_case() {
        let again = with_account(BEFORE, &account("ANNA@gmx.de", None));
        assert!(matches!(again, Err(EditError::Exists(_))));
        let without = without_account(BEFORE, "Anna@GMX.de").unwrap();
        assert_eq!(without, "# mine\nhost = 'a.b' # kept\n");
        let twice = without_account(&without, "anna@gmx.de");
        assert!(matches!(twice, Err(EditError::NoSuchAccount(_))));
    }

    #[test]
    fn a_new_account_stands_behind_the_others_and_before_what_follows() {
        let before = "[[account]]\naddress = \"a@gmx.de\"\n\n[account.imap]\nport = 993\n\n# where\n[[listener]]\n\
                      protocol = \"imap\"\n# the end\n";
        let after = with_account(before, &account("b@gmx.de", None)).unwrap();
        let (head, tail) = before.split_at(before.find("\n# where").unwrap());
        assert_eq!(
            after,
            format!("{head}\n[[account]]\naddress = \"b@gmx.de\"\n{tail}")
        );
        assert_eq!(without_account(&after, "b@gmx.de").unwrap(), before);
        let without = without_account(before, "a@gmx.de").unwrap();
        assert_eq!(without, tail);
    }

    #[test]
    fn what_is_not_entries_is_left_alone() {
        let odd = with_account("account = 5\n", &account("anna@gmx.de", None));
        assert!(matches!(odd, Err(EditError::NotEntries)));
        let broken = with_account("[[account", &account("anna@gmx.de", None));
        assert!(matches!(broken, Err(EditError::NotToml)));
    }

    #[cfg(unix)]
    #[test]
    fn a_new_file_is_private_and_an_old_mode_stays() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/mailsluice.toml");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        write(&path, new_file()).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let link = folder.path().join("link.toml");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        write(&link, "a = 1\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "a = 1\n");
        assert_eq!(mode(&path), 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }
}
