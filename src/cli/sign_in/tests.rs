//! Sign-ins at the embedded issuer.
