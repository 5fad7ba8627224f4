//! A growing wait before each check of a local password, for those who guess.
//!
//! Three buckets take part in an attempt: the *pair* of peer and account, the *account*, and the *peer*. Each holds a
//! debt of failures that is forgiven at one a minute, and a next slot. Up to its allowance a bucket asks for no wait;
//! beyond, each attempt takes the next slot, and the distance between slots doubles from 250 ms to 10 s. An attempt that
//! would have to wait longer than 15 s is not checked at all and is told to come later, not that its password is wrong.
//!
//! What follows from that:
//!
//! - The charge is made *before* the check and given back when the password was right, so guesses in parallel gain
//!   nothing: they queue for slots like guesses one after the other.
//! - An attempt that repeats a password is the same guess: it is charged once, and checked no earlier than the first.
//!   So a forgotten phone that polls with an old password each minute, or five connections that a program opens at
//!   once, count as one, below every allowance: the desktop program beside it never waits.
//! - All local programs share the loopback addresses, so those have no peer bucket, as a user at a Unix socket has: guessing at one account delays no
//!   other. A hostile local program can delay the logins of the account it guesses at; it cannot make them fail as wrong.
//! - A pair that has logged in is known for 30 days and answers for itself alone: strangers who guess at the account
//!   from elsewhere delay strangers.
//!
//! A guesser at one pair gets 5 tries at once, and in the long run one per 10 s; at one account from many addresses 20,
//! and then the same. Time is an input. One lock instead of a concurrent map: the three buckets change together, for
//! microseconds, and nothing is awaited under it.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::peer::Who;

/// Remembers failures, in a table of bounded size.
pub(super) struct Throttle {
    table: Mutex<Table>,
    /// Names become numbers, so that an entry's size does not depend on what a peer sends.
    hasher: RandomState,
    /// Counts the attempts that cannot be compared.
    unlike: AtomicU64,
}

/// One attempt: who tries which password where. Equal guesses have equal values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Guess {
    peer: Who,
    account: u64,
    password: u64,
}

/// Too many guesses are waiting already: this one is not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Throttle {
    /// An empty table.
    pub(super) fn new() -> Self {
        Self {
            table: Mutex::default(),
            hasher: RandomState::new(),
            unlike: AtomicU64::new(0),
        }
    }

    /// Names an attempt. `password` is a keyed hash of what was sent, never the bytes themselves.
    pub(super) fn guess(&self, peer: impl Into<Who>, account: &str, password: &[u8]) -> Guess {
        Guess {
            peer: peer.into(),
            account: self.hasher.hash_one(account),
            password: self.hasher.hash_one(password),
        }
    }

    /// Names an attempt that shows nothing by which the same one could be known again.
    pub(super) fn unlike_any(&self, peer: impl Into<Who>, account: &str) -> Guess {
        let number = self.unlike.fetch_add(1, Ordering::Relaxed);
        self.guess(peer, account, &number.to_be_bytes())
    }

    /// Charges the attempt and reserves its slot: the check may begin at the returned time.
    pub(super) fn reserve(&self, guess: Guess, now: Instant) -> Result<Instant, TooMany> {
        let mut table = self.lock();
        let buckets = table.buckets_of(guess, now);
        let mut earliest = now;
        for (key, allowance) in &buckets {
            let bucket = table.0.get(key);
            let slot = bucket.map_or(now, |b| b.slot(guess, *allowance, now));
            if slot.duration_since(now) > WAIT_MAX {
                return Err(TooMany);
            }
            earliest = earliest.max(slot);
        }
        for (key, allowance) in buckets {
            table.bucket(key, now).charge(guess, allowance, now);
        }
        Ok(earliest)
    }

    /// The password was right: takes the charge back and makes the pair known.
    pub(super) fn accepted(&self, guess: Guess, now: Instant) {
        let mut table = self.lock();
        for key in [
            pair(guess),
            Key::Account(guess.account),
            Key::Peer(guess.peer),
        ] {
            if let Some(bucket) = table.0.get_mut(&key) {
                bucket.refund(guess);
            }
        }
        table.bucket(pair(guess), now).known_until = Some(now + KNOWN_FOR);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Default)]
struct Table(HashMap<Key, Bucket>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    Pair(Who, u64),
    Account(u64),
    Peer(Who),
}

impl Table {
    /// The buckets that an attempt has to pass, each with its allowance.
    fn buckets_of(&self, guess: Guess, now: Instant) -> Vec<(Key, u32)> {
        let mut buckets = vec![(pair(guess), PAIR_ALLOWANCE)];
        let known = self.0.get(&pair(guess)).is_some_and(|b| b.is_known(now));
        if !known {
            buckets.push((Key::Account(guess.account), SHARED_ALLOWANCE));
            if !guess.peer.is_anybody_here() {
                buckets.push((Key::Peer(guess.peer), SHARED_ALLOWANCE));
            }
        }
        buckets
    }

    fn bucket(&mut self, key: Key, now: Instant) -> &mut Bucket {
        if self.0.len() >= ENTRIES_MAX && !self.0.contains_key(&key) {
            self.make_room(now);
        }
        let bucket = self.0.entry(key).or_insert_with(|| Bucket::new(now));
        bucket.touched = now;
        bucket
    }

    /// Drops what has been forgiven; if that is too little, the oldest eighth, strangers before known pairs. An eighth,
    /// so that the walk through the table is paid for by thousands of attempts.
    fn make_room(&mut self, now: Instant) {
        self.0.retain(|_, b| b.debt_until > now || b.is_known(now));
        let excess = (self.0.len() + ENTRIES_MAX / 8).saturating_sub(ENTRIES_MAX);
        let mut ages: Vec<_> = self
            .0
            .iter()
            .map(|(key, bucket)| (bucket.is_known(now), bucket.touched, *key))
            .collect();
        ages.sort_unstable_by_key(|(known, touched, _)| (*known, *touched));
        for (_, _, key) in ages.iter().take(excess) {
            self.0.remove(key);
        }
    }
}

/// The failures of one peer, account or pair.
struct Bucket {
    /// When all is forgiven. The debt is the time left, at [`FORGIVEN_EVERY`] a failure.
    debt_until: Instant,
    /// The slot that was taken last.
    last_slot: Instant,
    /// Passwords charged for, oldest first, and the slot each was given.
    charged: VecDeque<(Guess, Instant)>,
    /// A right password came from here.
    known_until: Option<Instant>,
    touched: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self {
            debt_until: now,
            last_slot: now,
            charged: VecDeque::new(),
            known_until: None,
            touched: now,
        }
    }

    fn is_known(&self, now: Instant) -> bool {
        self.known_until.is_some_and(|until| until > now)
    }

    /// Where this guess would stand.
    fn slot(&self, guess: Guess, allowance: u32, now: Instant) -> Instant {
        if let Some((_, slot)) = self.charged.iter().find(|(charged, _)| *charged == guess) {
            return (*slot).max(now);
        }
        match spacing(self.debt(now) + 1, allowance) {
            Duration::ZERO => now,
            spacing => self.last_slot.max(now) + spacing,
        }
    }

    fn charge(&mut self, guess: Guess, allowance: u32, now: Instant) {
        if self.charged.iter().any(|(charged, _)| *charged == guess) {
            return;
        }
        let slot = self.slot(guess, allowance, now);
        if self.charged.len() >= REMEMBERED {
            self.charged.pop_front();
        }
        self.charged.push_back((guess, slot));
        self.last_slot = self.last_slot.max(slot);
        let most = now + FORGIVEN_EVERY * (allowance + DEBT_BEYOND_MAX);
        self.debt_until = (self.debt_until.max(now) + FORGIVEN_EVERY).min(most);
    }

    fn refund(&mut self, guess: Guess) {
        if let Some(at) = self
            .charged
            .iter()
            .position(|(charged, _)| *charged == guess)
        {
            self.charged.remove(at);
            let debt_until = self.debt_until.checked_sub(FORGIVEN_EVERY);
            self.debt_until = debt_until.unwrap_or(self.debt_until);
        }
    }

    /// Failures not forgiven yet; a part of one counts whole.
    fn debt(&self, now: Instant) -> u32 {
        let left = self.debt_until.saturating_duration_since(now);
        u32::try_from(left.as_millis().div_ceil(FORGIVEN_EVERY.as_millis())).unwrap_or(u32::MAX)
    }
}

fn pair(guess: Guess) -> Key {
    Key::Pair(guess.peer, guess.account)
}

/// The wait that the `nth` failure costs.
fn spacing(nth: u32, allowance: u32) -> Duration {
    match nth.checked_sub(allowance + 1) {
        None => Duration::ZERO,
        Some(beyond) => FIRST_WAIT
            .saturating_mul(2u32.saturating_pow(beyond))
            .min(SPACING_MAX),
    }
}

/// Five spellings of a password that one almost remembers.
const PAIR_ALLOWANCE: u32 = 5;

/// A household or an office behind one address, or one account with several devices set up at once.
const SHARED_ALLOWANCE: u32 = 20;

/// One failure is forgiven each minute: a person who waits can try again; a guesser gets 1 440 tries a day.
const FORGIVEN_EVERY: Duration = Duration::from_secs(60);

/// Debt is counted up to this many failures beyond the allowance: the waits end some 10 minutes after the last guess.
const DEBT_BEYOND_MAX: u32 = 10;

/// The first wait beyond the allowance; hardly noticed.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// The longest distance between two guesses.
const SPACING_MAX: Duration = Duration::from_secs(10);

/// The longest wait before a check: leaves 10 s of the 25 s that a login may take (PROTOCOL B.7) for the upstream.
const WAIT_MAX: Duration = Duration::from_secs(15);

/// How long a right password makes a pair known: somebody back from a long holiday is still not a stranger.
const KNOWN_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Passwords remembered for each bucket: more wrong programs than share one account.
const REMEMBERED: usize = 8;

/// About 20 MiB when full, under an attack from as many addresses.
const ENTRIES_MAX: usize = 32_768;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// The waits of `count` different guesses, all made at `now`, none of them right. `None`: not checked.
    fn waits(
        throttle: &Throttle,
        from: IpAddr,
        at: &str,
        count: u32,
        now: Instant,
    ) -> Vec<Option<Duration>> {
        static LAST: AtomicU64 = AtomicU64::new(0);
        (0..count)
            .map(|_| {
                let new = LAST.fetch_add(1, Ordering::Relaxed).to_be_bytes();
                let guess = throttle.guess(from, at, &new);
                throttle.reserve(guess, now).ok().map(|slot| slot - now)
            })
            .collect()
    }

    #[test]
    fn the_wait_begins_after_the_allowance_and_grows_until_guesses_are_not_checked() {
        let throttle = Throttle::new();
        let waits = waits(&throttle, LOCAL, "anna", 1_000, Instant::now());
        let (free, rest) = waits.split_at(5);
        assert!(free.iter().all(|w| *w == Some(Duration::ZERO)));
        let millis: Vec<_> = rest
            .iter()
            .map_while(|w| w.map(|d| d.as_millis()))
            .collect();
        assert_eq!(
            millis,
            [250, 750, 1_750, 3_750, 7_750],
            "each after the one before"
        );
        assert!(
            rest[5..].iter().all(Option::is_none),
            "in parallel no more than these"
        );
    }

    #[test]
    fn guessing_for_an_hour_gains_what_the_slots_allow() {
        let throttle = Throttle::new();
        let start = Instant::now();
        let checked = (0..3_600)
            .map(|second| start + Duration::from_secs(second))
            .flat_map(|now| waits(&throttle, LOCAL, "anna", 3, now))
            .flatten()
            .count();
        assert!(
            (300..400).contains(&checked),
            "{checked} guesses in an hour"
        );
    }

    #[test]
    fn a_program_that_repeats_an_old_password_delays_nobody() {
        let throttle = Throttle::new();
        let mut now = Instant::now();
        let old = throttle.guess(LOCAL, "anna", b"old");
        let right = throttle.guess(LOCAL, "anna", b"right");
        for _ in 0..10_000 {
            now += Duration::from_secs(5);
            assert_eq!(throttle.reserve(old, now), Ok(now));
            assert_eq!(throttle.reserve(right, now), Ok(now));
            throttle.accepted(right, now);
        }
    }

    #[test]
    fn a_repeated_guess_is_not_checked_before_the_first() {
        let throttle = Throttle::new();
        let now = Instant::now();
        waits(&throttle, LOCAL, "anna", 8, now);
        let guess = throttle.guess(LOCAL, "anna", b"guess");
        let slot = throttle.reserve(guess, now).unwrap();
        assert!(slot > now);
        assert_eq!(throttle.reserve(guess, now), Ok(slot));
    }

    #[test]
    fn many_connections_with_the_right_password_wait_for_nothing() {
        let throttle = Throttle::new();
        let now = Instant::now();
        let right = throttle.guess(LOCAL, "anna", b"right");
        for _ in 0..1_000 {
            assert_eq!(throttle.reserve(right, now), Ok(now));
        }
        for _ in 0..1_000 {
            throttle.accepted(right, now);
        }
        assert_eq!(
            waits(&throttle, LOCAL, "anna", 5, now),
            [Some(Duration::ZERO); 5]
        );
    }

    #[test]
    fn guessing_at_one_account_does_not_delay_another_on_loopback() {
        let throttle = Throttle::new();
        let now = Instant::now();
        waits(&throttle, LOCAL, "anna", 1_000, now);
        assert_eq!(
            waits(&throttle, LOCAL, "bob", 1, now),
            [Some(Duration::ZERO)]
        );
    }

    #[test]
    fn guesses_from_many_peers_delay_strangers_and_not_the_known() {
        let throttle = Throttle::new();
        let mut now = Instant::now();
        let mine = throttle.guess(peer(200), "anna", b"right");
        throttle.reserve(mine, now).unwrap();
        throttle.accepted(mine, now);
        now += Duration::from_secs(3_600);
        for stranger in 0..100 {
            waits(&throttle, peer(stranger), "anna", 5, now);
        }
        assert_eq!(throttle.reserve(mine, now), Ok(now));
        let stranger = throttle.guess(peer(201), "anna", b"right");
        assert_eq!(throttle.reserve(stranger, now), Err(TooMany));
    }

    #[test]
    fn one_peer_that_sprays_accounts_is_delayed_at_all_of_them() {
        let throttle = Throttle::new();
        let now = Instant::now();
        let checked = (0..1_000)
            .filter_map(|n| waits(&throttle, peer(1), &format!("user{n}"), 1, now).remove(0))
            .count();
        assert_eq!(checked, 25);
        let of = |ip: &str| Who::from(ip.parse::<IpAddr>().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::2"));
        assert_eq!(of("::ffff:192.0.2.1"), peer(1).into());
    }

    #[test]
    fn a_user_at_a_unix_socket_is_a_peer_as_an_address_is() {
        let throttle = Throttle::new();
        let now = Instant::now();
        let mut checked = 0;
        for n in 0_u32..1_000 {
            let guess = throttle.guess(Who::User(1000), &format!("user{n}"), b"guess");
            checked += usize::from(throttle.reserve(guess, now).is_ok());
        }
        assert_eq!(checked, 25);
        let other = throttle.guess(Who::User(1001), "user0", b"other guess");
        assert_eq!(throttle.reserve(other, now), Ok(now));
    }

    #[test]
    fn debt_is_forgiven() {
        let throttle = Throttle::new();
        let now = Instant::now();
        waits(&throttle, LOCAL, "anna", 1_000, now);
        let later = now + FORGIVEN_EVERY * (PAIR_ALLOWANCE + DEBT_BEYOND_MAX);
        assert_eq!(
            waits(&throttle, LOCAL, "anna", 5, later),
            [Some(Duration::ZERO); 5]
        );
    }

    #[test]
    fn the_table_is_bounded_and_forgets_strangers_first() {
        let throttle = Throttle::new();
        let now = Instant::now();
        let mine = throttle.guess(peer(200), "anna", b"right");
        throttle.reserve(mine, now).unwrap();
        throttle.accepted(mine, now);
        for n in 0..(ENTRIES_MAX as u128) {
            let from = IpAddr::V6(std::net::Ipv6Addr::from_bits(0x2001_0db8 << 96 | n << 64));
            waits(
                &throttle,
                from,
                &format!("user{n}"),
                1,
                now + Duration::from_millis(n as u64),
            );
        }
        let table = throttle.lock();
        assert!(table.0.len() <= ENTRIES_MAX);
        assert!(table.0.contains_key(&pair(mine)));
        assert!(table.0.len() > ENTRIES_MAX / 2);
    }
}
