//! IMAP parsers over complete frames, and the encoders.
