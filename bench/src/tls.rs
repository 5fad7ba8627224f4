//! TLS on both ends: an authority made for this run, the upstream's server side, and the client side of the baselines.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, NamedGroup, RootCertStore, ServerConfig};

use crate::error::BenchError;

/// The upstream's name.
pub(crate) const HOST: &str = "localhost";

/// Files of the certificates within the folder of a run.
pub(crate) const CA_FILE: &str = "ca.pem";
const CERTIFICATE_FILE: &str = "certificate.pem";
const KEY_FILE: &str = "key.pem";

/// Tickets the client keeps. rustls' own store keeps 8 a name, of which 16 logins at once find none left now and then.
const KEPT: usize = 128;

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
    // The same cipher for all targets, as with OpenSSL's servers: what a proxy would rather have is not what is measured.
    config.ignore_client_order = true;
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
    config.resumption = Resumption::store(Arc::new(Tickets::default()));
    Ok(Arc::new(config))
}

/// What the client remembers of TLS sessions with the one server there is.
#[derive(Debug, Default)]
struct Tickets(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    tls13: VecDeque<Tls13ClientSessionValue>,
}

impl Tickets {
    fn remembered(&self) -> MutexGuard<'_, Remembered> {
        // Whoever panicked has only lost a ticket.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.remembered().group = Some(group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.remembered().group
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        self.remembered().tls12 = Some(session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.remembered().tls12.clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.remembered().tls12 = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut remembered = self.remembered();
        if remembered.tls13.len() == KEPT {
            remembered.tls13.pop_front();
        }
        remembered.tls13.push_back(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.remembered().tls13.pop_back()
    }
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

#[cfg(test)]
mod tests {
    use rustls::HandshakeKind;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio_rustls::{TlsAcceptor, TlsConnector};

    use super::*;

    #[tokio::test]
    async fn the_second_session_is_resumed() {
        let folder = tempfile::tempdir().unwrap();
        make_certificates(folder.path()).unwrap();
        let acceptor = TlsAcceptor::from(server(folder.path()).unwrap());
        let connector = TlsConnector::from(client(&folder.path().join(CA_FILE)).unwrap());
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let accepted = acceptor.accept(far);
            let (mut near, far) =
                tokio::try_join!(connector.connect(server_name(), near), accepted).unwrap();
            // Tickets come behind the handshake, with the first octets.
            let mut far = far;
            far.write_all(b"x").await.unwrap();
            far.flush().await.unwrap();
            near.read_exact(&mut [0]).await.unwrap();
            kinds.push(near.get_ref().1.handshake_kind());
        }
        assert_eq!(
            kinds,
            [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]
        );
    }
}
