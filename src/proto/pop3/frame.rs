//! Bytes → bounded POP3 frames.
