//! POP3 parsers over complete frames, and the encoders.
