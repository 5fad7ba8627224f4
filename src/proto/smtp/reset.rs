//! Between two clients of one SMTP session: RSET, and nothing but its 250 (RFC 5321 section 4.1.1.5). We are the client.

use bytes::{Bytes, BytesMut};

use super::frame;
use crate::proto::dialogue::{Progress, Reset};

/// See the module.
#[derive(Debug, Default)]
pub struct SmtpReset {
    buffer: BytesMut,
}

impl Reset for SmtpReset {
    fn begin(&self) -> Bytes {
        Bytes::from_static(b"RSET\r\n")
    }

    fn step(&mut self, bytes: &[u8]) -> Progress {
        self.buffer.extend_from_slice(bytes);
        match frame::reply(&self.buffer) {
            Ok(None) => Progress::Waits,
            Ok(Some(reply)) if reply.code == 250 && reply.len == self.buffer.len() => {
                Progress::Clean
            }
            Ok(Some(_)) | Err(_) => Progress::Unfit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_250_with_nothing_behind_it_is_clean() {
        let after = |said: &str| SmtpReset::default().step(said.as_bytes());
        assert_eq!(SmtpReset::default().begin(), "RSET\r\n");
        assert_eq!(after("250 2.0.0 Ok\r\n"), Progress::Clean);
        assert_eq!(after("250-2.0.0 Ok\r\n250 x\r\n"), Progress::Clean);
        assert_eq!(after("250-2.0.0 Ok\r\n"), Progress::Waits);
        for unfit in [
            "421 4.4.2 Timeout\r\n",
            "503 5.5.1 no\r\n",
            "250 Ok\r\n4",
            "250 Ok\r\n421 x\r\n",
            "nonsense\r\n",
        ] {
            assert_eq!(after(unfit), Progress::Unfit, "{unfit}");
        }
    }
}
