//! How many messages a peer has sent without a login in the hour that began with the first. A plain count, so that who
//! reads the configuration knows what it means; in two hours that meet it may be twice the number.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::config::runtime::ListenAddress;
use crate::peer::Who;

/// The counts of all listeners, in a table of bounded size. Reloads do not touch them.
#[derive(Debug, Default)]
pub(super) struct Allowances(Mutex<HashMap<Key, Hour>>);

/// Which listener, and who is there.
type Key = (ListenAddress, Who);

#[derive(Clone, Copy, Debug)]
struct Hour {
    began: Instant,
    messages: u32,
}

impl Allowances {
    /// Whether `peer` may send one more at `listener`, of which `max` are allowed.
    pub(super) fn has_room(
        &self,
        listener: &ListenAddress,
        peer: Who,
        max: u32,
        now: Instant,
    ) -> bool {
        let hours = self.lock();
        let hour = hours.get(&(listener.clone(), peer));
        hour.is_none_or(|hour| hour.is_over(now) || hour.messages < max)
    }

    /// Takes one, if there is one left.
    pub(super) fn take(&self, listener: &ListenAddress, peer: Who, max: u32, now: Instant) -> bool {
        let mut hours = self.lock();
        let key = (listener.clone(), peer);
        if hours.len() >= PEERS_MAX && !hours.contains_key(&key) {
            make_room(&mut hours, now);
        }
        let fresh = Hour {
            began: now,
            messages: 0,
        };
        let hour = hours.entry(key).or_insert(fresh);
        if hour.is_over(now) {
            *hour = fresh;
        }
        let allowed = hour.messages < max;
        hour.messages += u32::from(allowed);
        allowed
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Hour>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hour {
    fn is_over(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.began) >= HOUR
    }
}

/// Drops what is over; if that is too little, the oldest eighth, so that the walk is paid for by many messages.
fn make_room(hours: &mut HashMap<Key, Hour>, now: Instant) {
    hours.retain(|_, hour| !hour.is_over(now));
    let excess = (hours.len() + PEERS_MAX / 8).saturating_sub(PEERS_MAX);
    let mut ages: Vec<_> = hours
        .iter()
        .map(|(key, hour)| (hour.began, key.clone()))
        .collect();
    ages.sort_unstable();
    for (_, key) in ages.iter().take(excess) {
        hours.remove(key);
    }
}

const HOUR: Duration = Duration::from_secs(60 * 60);

/// More devices than a company has, in under a megabyte.
const PEERS_MAX: usize = 8192;

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr};

    use super::*;

    fn listener(port: u16) -> ListenAddress {
        SocketAddr::from(([127, 0, 0, 1], port)).into()
    }

    fn peer(last: u8) -> Who {
        IpAddr::from([192, 0, 2, last]).into()
    }

    #[test]
    fn the_count_is_per_peer_and_listener_and_ends_with_its_hour() {
        let allowances = Allowances::default();
        let now = Instant::now();
        let take = |peer, now| allowances.take(&listener(2525), peer, 2, now);
        assert!(take(peer(1), now) && take(peer(1), now) && !take(peer(1), now));
        assert!(!allowances.has_room(&listener(2525), peer(1), 2, now));
        assert!(take(peer(2), now), "another peer");
        let other = listener(2526);
        assert!(allowances.take(&other, peer(1), 2, now), "another listener");
        assert!(!take(peer(1), now + HOUR - Duration::from_secs(1)));
        assert!(allowances.has_room(&listener(2525), peer(1), 2, now + HOUR));
        assert!(take(peer(1), now + HOUR));
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        let allowances = Allowances::default();
        let now = Instant::now();
        let of = |peer: &str| Who::from(peer.parse::<IpAddr>().unwrap());
        let take = |peer: &str| allowances.take(&listener(2525), of(peer), 1, now);
        assert!(take("fd00::1") && !take("fd00::2"));
        assert!(take("fd00:0:0:1::1"));
        assert!(take("192.0.2.1") && !take("::ffff:192.0.2.1"));
    }

    #[test]
    fn the_table_is_bounded() {
        let allowances = Allowances::default();
        let now = Instant::now();
        for number in 0..3 * u32::try_from(PEERS_MAX).unwrap() {
            let peer = IpAddr::from(number.to_be_bytes()).into();
            let now = now + Duration::from_millis(u64::from(number));
            assert!(allowances.take(&listener(2525), peer, 1, now));
        }
        assert!(allowances.lock().len() <= PEERS_MAX);
    }
}
