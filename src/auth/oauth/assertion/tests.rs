//! Assertions are checked as an issuer would: the signature by the public key, the claims by name.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, KeyPair, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    UnparsedPublicKey, VerificationAlgorithm,
};
use base64::engine::general_purpose::STANDARD;

use super::*;

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
}

fn file(folder: &tempfile::TempDir, name: &str, content: &str) -> std::path::PathBuf {
    let path = folder.path().join(name);
    crate::auth::tests::write_private(&path, content);
    path
}

fn rsa_pem() -> (RsaKeyPair, String) {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let pem = pem("PRIVATE KEY", der.as_ref());
    (key, pem)
}

/// Header and claims, after the signature has been checked.
fn opened(
    jwt: &Secret,
    algorithm: &'static dyn VerificationAlgorithm,
    public: &[u8],
) -> [serde_json::Value; 2] {
    let jwt = std::str::from_utf8(jwt.expose()).unwrap();
    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    UnparsedPublicKey::new(algorithm, public)
        .verify(signed.as_bytes(), &signature)
        .unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    [header, claims]
        .map(|part| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
}

#[test]
fn an_rsa_key_proves_the_client_and_with_a_certificate_by_pss() {
    let folder = tempfile::tempdir().unwrap();
    let (key, text) = rsa_pem();
    let path = file(&folder, "key.pem", &text);
    let public = key.public_key().as_ref();
    let jwt = of_client("client-1", "https://x.org/token", &path, None).unwrap();
    let [header, claims] = opened(&jwt, &RSA_PKCS1_2048_8192_SHA256, public);
    assert_eq!(header["alg"], "RS256");
    assert_eq!(
        (&claims["iss"], &claims["sub"]),
        (&json!("client-1"), &json!("client-1"))
    );
    assert_eq!(claims["aud"], "https://x.org/token");
    assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() <= 600);
    let again = of_client("client-1", "https://x.org/token", &path, None).unwrap();
    let [_, other] = opened(&again, &RSA_PKCS1_2048_8192_SHA256, public);
    assert_ne!(claims["jti"], other["jti"]);

    let certificate = file(&folder, "certificate.pem", &pem("CERTIFICATE", b"DER"));
    let jwt = of_client("client-1", "https://x.org/token", &path, Some(&certificate)).unwrap();
    let [header, _] = opened(&jwt, &RSA_PSS_2048_8192_SHA256, public);
    assert_eq!(header["alg"], "PS256");
    let thumbprint = digest::digest(&digest::SHA256, b"DER");
    assert_eq!(header["x5t#S256"], URL_SAFE_NO_PAD.encode(thumbprint));
}

#[test]
fn a_p256_key_signs_too() {
    let folder = tempfile::tempdir().unwrap();
    let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    let der = der.unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref()).unwrap();
    let path = file(&folder, "key.pem", &pem("PRIVATE KEY", der.as_ref()));
    let jwt = of_client("client-1", "https://x.org/token", &path, None).unwrap();
    let [header, _] = opened(&jwt, &ECDSA_P256_SHA256_FIXED, key.public_key().as_ref());
    assert_eq!(header["alg"], "ES256");
}

#[test]
fn a_service_account_acts_for_its_subject() {
    let folder = tempfile::tempdir().unwrap();
    let (key, text) = rsa_pem();
    let content = json!({
        "client_email": "robot@x.org", "private_key_id": "7", "private_key": text,
        "token_uri": "https://x.org/t",
    });
    let path = file(&folder, "key.json", &content.to_string());
    let (jwt, endpoint) = of_service_account(&path, "anna@x.org", "mail", "").unwrap();
    let [header, claims] = opened(&jwt, &RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    assert_eq!(
        (endpoint.as_str(), &header["kid"]),
        ("https://x.org/t", &json!("7"))
    );
    assert_eq!(
        (&claims["iss"], &claims["sub"]),
        (&json!("robot@x.org"), &json!("anna@x.org"))
    );
    assert_eq!(
        (&claims["scope"], &claims["aud"]),
        (&json!("mail"), &json!("https://x.org/t"))
    );
}

#[test]
fn what_is_no_key_is_said_without_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = file(&folder, "key.pem", "canary-3b1d");
    for error in [
        of_client("c", "https://x.org", &wrong, None).unwrap_err(),
        of_service_account(&wrong, "s", "m", "").unwrap_err(),
    ] {
        assert!(matches!(error, OAuthError::NotAKey { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("canary"));
    }
}

#[cfg(unix)]
#[test]
fn a_key_that_others_may_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.pem");
    std::fs::write(&path, rsa_pem().1).unwrap();
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&path, open).unwrap();
    let error = of_client("c", "https://x.org", &path, None).unwrap_err();
    assert!(matches!(
        error,
        OAuthError::Secret(SecretError::LooseFile { .. })
    ));
}
