//! Bytes → bounded IMAP frames.
