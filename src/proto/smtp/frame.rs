//! Bytes → bounded SMTP frames.
