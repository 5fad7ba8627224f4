//! One pass through rustls: what it decrypts, what it wants said, and where it stands then.

use std::io;

use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus, WriteTraffic,
};

use super::{RECORD_DATA, invalid};

/// What is to be encrypted.
#[derive(Clone, Copy)]
pub(super) enum Message<'a> {
    Nothing,
    Data(&'a [u8]),
    CloseNotify,
}

/// Where rustls stands after it has looked at everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It waits for more of the handshake.
    Handshake,
    /// The handshake is over.
    Traffic,
    /// Both sides have said close_notify.
    Closed,
}

/// One pass through rustls, whichever side it is.
pub(super) struct Turn<'a, Take> {
    pub(super) message: Message<'a>,
    pub(super) outgoing: &'a mut Vec<u8>,
    /// How much of `outgoing` is records to send.
    pub(super) written: usize,
    pub(super) peer_closed: &'a mut bool,
    /// Gets what is decrypted.
    pub(super) take: Take,
}

/// Shows `records` to a session until it waits for something. After an error only the alert that tells the peer is taken:
/// rustls must not see the same records again. A macro, since the two sides are types without a common trait.
macro_rules! run {
    ($turn:ident, $session:ident, $records:ident) => {{
        let mut used = 0;
        let standing = loop {
            let rest = $records.get_mut(used..).unwrap_or_default();
            let (discard, standing) = $turn.handle($session.process_tls_records(rest));
            used += discard;
            if let Some(standing) = standing {
                break standing;
            }
        };
        while standing.is_err() && $session.wants_write() {
            let rest = $records.get_mut(used..).unwrap_or_default();
            let _ = $turn.handle($session.process_tls_records(rest));
        }
        (used, standing)
    }};
}
pub(super) use run;

impl<Take: FnMut(&[u8])> Turn<'_, Take> {
    /// Does what rustls asks for. Tells how many bytes it is done with and, at the end, where it stands.
    pub(super) fn handle<Data>(
        &mut self,
        status: UnbufferedStatus<'_, '_, Data>,
    ) -> (usize, Option<io::Result<Standing>>) {
        let mut discard = status.discard;
        let standing = match status.state {
            Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                let mut failure = None;
                while let Some(record) = traffic.next_record() {
                    match record {
                        Ok(record) => {
                            discard += record.discard;
                            (self.take)(record.payload);
                        }
                        Err(error) => failure = Some(Err(invalid(error))),
                    }
                }
                failure
            }
            Ok(ConnectionState::EncodeTlsData(mut data)) => self
                .encode(&mut data)
                .err()
                .map(|error| Err(invalid(error))),
            Ok(ConnectionState::TransmitTlsData(data)) => {
                // It leaves with all else that was written in this turn, before anything later.
                data.done();
                None
            }
            Ok(ConnectionState::PeerClosed) => {
                *self.peer_closed = true;
                None
            }
            Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                Some(self.write(&mut traffic).map(|()| Standing::Traffic))
            }
            Ok(ConnectionState::BlockedHandshake) => Some(Ok(Standing::Handshake)),
            Ok(ConnectionState::Closed) => Some(Ok(Standing::Closed)),
            Ok(_) => Some(Err(invalid("a TLS state that was not asked for"))),
            Err(error) => Some(Err(invalid(error))),
        };
        (discard, standing)
    }

    /// A record of the handshake, or an alert.
    fn encode<Data>(&mut self, data: &mut EncodeTlsData<'_, Data>) -> Result<(), EncodeError> {
        let encoded = match data.encode(self.room(0)) {
            Err(EncodeError::InsufficientSize(size)) => data.encode(self.room(size.required_size)),
            encoded => encoded,
        };
        self.written += encoded?;
        Ok(())
    }

    /// The message that was to be said, encrypted.
    fn write<Data>(&mut self, traffic: &mut WriteTraffic<'_, Data>) -> io::Result<()> {
        let written = match std::mem::replace(&mut self.message, Message::Nothing) {
            Message::Nothing => return Ok(()),
            Message::Data(data) => {
                let room = data.len() + (data.len() / RECORD_DATA + 2) * RECORD_OVERHEAD;
                traffic.encrypt(data, self.room(room))
            }
            Message::CloseNotify => traffic.queue_close_notify(self.room(RECORD_OVERHEAD)),
        };
        self.written += written.map_err(invalid)?;
        Ok(())
    }

    /// What of `outgoing` is free, at least `required` bytes of it.
    fn room(&mut self, required: usize) -> &mut [u8] {
        let end = self.written + required;
        if self.outgoing.len() < end {
            self.outgoing.resize(end, 0);
        }
        self.outgoing.get_mut(self.written..).unwrap_or_default()
    }
}

/// What a record adds to its data at most: header, and the expansion that RFC 8446 section 5.2 and RFC 5246 section
/// 6.2.3 allow to ciphers in use (an explicit nonce, a tag, a content type).
pub(super) const RECORD_OVERHEAD: usize = 64;
