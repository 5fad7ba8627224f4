//! TLS settings, shared by all sessions, and the handshake towards an upstream.
//!
//! One client configuration per kind of trust, so that sessions are resumed. Verification cannot be switched off: what
//! can be chosen is whom to trust ([`Trust`]).

use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use dashmap::DashMap;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ResolvesServerCert;
use rustls::sign::SingleCertAndKey;
use rustls::{
    CertificateError, CipherSuite, ClientConfig, DigitallySignedStruct, RootCertStore,
    ServerConfig, SignatureScheme, SupportedCipherSuite,
};

use super::{NetError, Socket, Stream, TlsStream, certificates};
use crate::config::runtime::{CertificateFiles, Trust};
use crate::protocol::Protocol;

/// Client configurations by what they trust. Cheap to clone; made when first needed.
#[derive(Clone, Debug, Default)]
pub struct ClientTlsConfigs {
    made: Arc<DashMap<Trust, Arc<ClientConfig>>>,
}

impl ClientTlsConfigs {
    /// The configuration for `trust`. Reads files the first time, on a thread that may block.
    pub async fn of(&self, trust: &Trust) -> Result<Arc<ClientConfig>, NetError> {
        if let Some(config) = self.made.get(trust).map(|entry| Arc::clone(&entry)) {
            return Ok(config);
        }
        let wanted = trust.clone();
        let config = tokio::task::spawn_blocking(move || client_config(&wanted))
            .await
            .map_err(|_| NetError::TlsSetup(rustls::Error::General("interrupted".into())))??;
        let entry = self.made.entry(trust.clone()).or_insert(config);
        Ok(Arc::clone(&entry))
    }

    /// Forgets what was read from files, as after a reload. Sessions under way keep theirs.
    pub fn forget_files(&self) {
        self.made
            .retain(|trust, _| !matches!(trust, Trust::CaFile(_)));
    }
}

/// The handshake with an upstream; afterwards its name is proved.
pub async fn handshake(
    config: Arc<ClientConfig>,
    host: &str,
    socket: impl Into<Socket>,
) -> Result<Stream, NetError> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| NetError::HostName {
        host: host.to_owned(),
    })?;
    match TlsStream::connect(config, name, socket.into()).await {
        Ok(tls) => Ok(Stream::Tls(Box::new(tls))),
        Err(source) if is_about_the_certificate(&source) => Err(NetError::Untrusted {
            host: host.to_owned(),
            source,
        }),
        Err(source) => Err(NetError::Handshake {
            host: host.to_owned(),
            source,
        }),
    }
}

/// TLS towards clients: our certificate and its key.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// Presents what `certificate` answers at each handshake. A client that names application protocols by ALPN and not
    /// ours is turned away (ALPACA).
    pub(super) fn presenting(
        certificate: Arc<dyn ResolvesServerCert>,
        protocol: Protocol,
    ) -> Result<Self, NetError> {
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(NetError::TlsSetup)?
            .with_no_client_auth()
            .with_cert_resolver(certificate);
        config.alpn_protocols = vec![protocol.name().as_bytes().to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// The handshake with a client. The caller sets the deadline.
    pub async fn accept(&self, socket: impl Into<Socket>) -> io::Result<Stream> {
        let tls = TlsStream::accept(Arc::clone(&self.0), socket.into()).await?;
        Ok(Stream::Tls(Box::new(tls)))
    }
}

/// TLS that presents the certificate of `files`, as it is now.
pub fn acceptor(files: &CertificateFiles, protocol: Protocol) -> Result<Acceptor, NetError> {
    let certificate = SingleCertAndKey::from(certificates::read(files)?);
    Acceptor::presenting(Arc::new(certificate), protocol)
}

fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, NetError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(NetError::TlsSetup)?
        .dangerous()
        .with_custom_certificate_verifier(verifier(trust)?);
    let mut config = builder.with_no_client_auth();
    config.resumption = Resumption::in_memory_sessions(RESUMED_SESSIONS);
    Ok(Arc::new(config))
}

fn verifier(trust: &Trust) -> Result<Arc<dyn ServerCertVerifier>, NetError> {
    match trust {
        Trust::Platform => {
            let platform = rustls_platform_verifier::Verifier::new(provider());
            Ok(Arc::new(platform.map_err(NetError::TlsSetup)?))
        }
        Trust::CaFile(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in ca_certificates(path)? {
                roots.add(certificate).map_err(NetError::TlsSetup)?;
            }
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider()).build();
            Ok(verifier
                .map_err(|error| NetError::TlsSetup(rustls::Error::General(error.to_string())))?)
        }
        Trust::PublicKey(sha256) => Ok(Arc::new(PublicKeyVerifier {
            sha256: *sha256,
            provider: provider(),
        })),
    }
}

/// All certificates of a PEM file; a file without any is an error.
fn ca_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let unusable = |source| NetError::CertificateFile {
        path: path.to_owned(),
        source,
    };
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(unusable)?;
    if found.is_empty() {
        return Err(unusable(rustls::pki_types::pem::Error::NoItemsFound));
    }
    Ok(found)
}

fn is_about_the_certificate(error: &io::Error) -> bool {
    error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        .is_some_and(|error| {
            matches!(
                error,
                rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented
            )
        })
}

/// rustls' cryptography, with AES-128 before AES-256: 128 bits are as safe against anybody, and a handshake that is resumed
/// costs a third less with SHA-256 than with SHA-384. Most servers have an order of their own and go by that.
pub(super) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
        let mut provider = aws_lc_rs::default_provider();
        provider
            .cipher_suites
            .sort_by_key(|suite| !is_aes_128(suite));
        Arc::new(provider)
    });
    Arc::clone(&PROVIDER)
}

fn is_aes_128(suite: &SupportedCipherSuite) -> bool {
    matches!(
        suite.suite(),
        CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
    )
}

/// Trusts one public key, whatever signed it and until whenever: the user pinned it.
#[derive(Debug)]
struct PublicKeyVerifier {
    sha256: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PublicKeyVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let certificate = webpki::EndEntityCert::try_from(end_entity)
            .map_err(|_| rustls::Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let key = certificate.subject_public_key_info();
        if sha256(&key) == self.sha256 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::ApplicationVerificationFailure,
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// SHA-256.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, bytes);
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest.as_ref());
    sha256
}

/// Tickets kept for all upstream names together. rustls keeps 8 a name; with fewer than the sessions that log in at
/// once, every tenth handshake is a full one.
const RESUMED_SESSIONS: usize = 1024;

#[cfg(test)]
mod tests {
    use tokio::net::TcpStream;

    use super::*;

    struct Site {
        folder: tempfile::TempDir,
        files: CertificateFiles,
        spki: [u8; 32],
    }

    fn site(name: &str) -> Site {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let files = CertificateFiles {
            certificate: folder.path().join("cert.pem"),
            key: folder.path().join("key.pem"),
        };
        std::fs::write(&files.certificate, made.cert.pem()).unwrap();
        std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        #[cfg(unix)]
        std::fs::set_permissions(
            &files.key,
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )
        .unwrap();
        let spki = sha256(
            &webpki::EndEntityCert::try_from(made.cert.der())
                .unwrap()
                .subject_public_key_info(),
        );
        Site {
            folder,
            files,
            spki,
        }
    }

    /// Connects with `trust` to a server that presents `site` and expects it to be called `host`.
    async fn connect(site: &Site, trust: Trust, host: &str) -> Result<Stream, NetError> {
        let config = ClientTlsConfigs::default().of(&trust).await?;
        connect_with(site, config, host).await
    }

    async fn connect_with(
        site: &Site,
        config: Arc<ClientConfig>,
        host: &str,
    ) -> Result<Stream, NetError> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let acceptor = acceptor(&site.files, Protocol::Imap).unwrap();
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let _tls = acceptor.accept(stream).await;
        });
        handshake(config, host, TcpStream::connect(address).await.unwrap()).await
    }

    #[tokio::test]
    async fn only_the_right_name_under_the_right_root_is_trusted() {
        let site = site("mail.test");
        let ca = Trust::CaFile(site.files.certificate.clone());
        assert!(connect(&site, ca.clone(), "mail.test").await.is_ok());
        let error = connect(&site, ca, "other.test").await.unwrap_err();
        assert!(matches!(error, NetError::Untrusted { .. }), "{error:?}");
        let error = connect(&site, Trust::Platform, "mail.test").await;
        assert!(matches!(
            error.unwrap_err(),
            NetError::Untrusted { .. } | NetError::TlsSetup(_)
        ));
    }

    #[tokio::test]
    async fn an_address_is_a_name_that_a_certificate_can_prove() {
        for host in ["2001:db8::1", "192.0.2.1"] {
            let site = site(host);
            let ca = Trust::CaFile(site.files.certificate.clone());
            assert!(connect(&site, ca.clone(), host).await.is_ok(), "{host}");
            for other in ["2001:db8::2", "192.0.2.2", "mail.test"] {
                let error = connect(&site, ca.clone(), other).await.unwrap_err();
                assert!(matches!(error, NetError::Untrusted { .. }), "{error:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_pinned_key_is_trusted_under_any_name_and_no_other_key_is() {
        let site = site("whatever.test");
        assert!(
            connect(&site, Trust::PublicKey(site.spki), "mail.test")
                .await
                .is_ok()
        );
        let error = connect(&site, Trust::PublicKey([7; 32]), "whatever.test").await;
        assert!(matches!(error.unwrap_err(), NetError::Untrusted { .. }));
    }

    /// ALPACA: what means to speak HTTP must not end up here.
    #[tokio::test]
    async fn a_client_that_means_another_protocol_is_turned_away() {
        let site = site("mail.test");
        let trust = Trust::CaFile(site.files.certificate.clone());
        for (names, fits) in [
            (vec!["imap"], true),
            (vec![], true),
            (vec!["h2", "http/1.1"], false),
            (vec!["pop3"], false),
        ] {
            let mut config = (*client_config(&trust).unwrap()).clone();
            config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
            let shaken = connect_with(&site, Arc::new(config), "mail.test").await;
            assert_eq!(shaken.is_ok(), fits, "{names:?}: {shaken:?}");
        }
    }

    #[tokio::test]
    async fn an_empty_ca_file_is_named() {
        let site = site("mail.test");
        let path = site.folder.path().join("empty.pem");
        std::fs::write(&path, "").unwrap();
        let error = ClientTlsConfigs::default()
            .of(&Trust::CaFile(path.clone()))
            .await
            .unwrap_err();
        assert!(error.to_string().contains("empty.pem"), "{error}");
    }
}
