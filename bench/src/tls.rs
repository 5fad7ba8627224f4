//! TLS on both ends: an authority made for this run, the upstream's server side, and the client side of the baselines.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::error::BenchError;

/// The upstream's name.
pub(crate) const HOST: &str = "localhost";

/// Files of the certificates within the folder of a run.
pub(crate) const CA_FILE: &str = "ca.pem";
const CERTIFICATE_FILE: &str = "certificate.pem";
const KEY_FILE: &str = "key.pem";

/// Sessions the client remembers. rustls' 256 are shared by all names, with 8 tickets a name; 16 logins at once want more.
const REMEMBERED: usize = 1024;

/// Makes an authority and a certificate for [`HOST`].
pub(crate) fn make_certificates(folder: &Path) -> Result<(), BenchError> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params
        .distinguished_name
        .push(rcgen::DnType::CommonName, "mailsluice bench");
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let names = vec![HOST.to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &authority)?;
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).map_err(BenchError::io(format!("writing {name}")))
    };
    write(CA_FILE, authority.pem())?;
    write(CERTIFICATE_FILE, certificate.pem())?;
    write(KEY_FILE, key.serialize_pem())
}

/// The upstream's side, with tickets, so that sessions are resumed.
pub(crate) fn server(folder: &Path) -> Result<Arc<ServerConfig>, BenchError> {
    let chain = certificates(&folder.join(CERTIFICATE_FILE))?;
    let key = fs::read(folder.join(KEY_FILE)).map_err(BenchError::io("reading the key"))?;
    let key = PrivatePkcs8KeyDer::from_pem_slice(&key)
        .map_err(|error| BenchError::start("TLS", error.to_string()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::Pkcs8(key))?;
    config.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(Arc::new(config))
}

/// A client's side that trusts this authority alone.
pub(crate) fn client(ca: &Path) -> Result<Arc<ClientConfig>, BenchError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate)?;
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(REMEMBERED);
    Ok(Arc::new(config))
}

/// [`HOST`], as rustls wants it.
pub(crate) fn server_name() -> ServerName<'static> {
    ServerName::try_from(HOST).unwrap_or(ServerName::IpAddress(
        std::net::IpAddr::from([127, 0, 0, 1]).into(),
    ))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BenchError> {
    let pem = fs::read(path).map_err(BenchError::io(format!("reading {}", path.display())))?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| BenchError::start("TLS", error.to_string()))
}
