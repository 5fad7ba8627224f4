//! What a listener shows before login, computed anew only when what it rests on has changed: the local passwords that can be
//! recovered, and what the upstreams behind it named.

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::abilities::{KnownAbilities, Server};
use crate::auth::Authenticator;
use crate::config::Found;
use crate::config::runtime::{AccountAuth, Config, Listener};
use crate::proto::offer::Offer;
use crate::store::Challengeable;

/// The offer of one listener.
#[derive(Debug)]
pub(super) struct ListenerOffer {
    /// Every upstream that a login here can lead to; `None` where they are too many to have much in common.
    upstreams: Option<Vec<Server>>,
    /// Whether somebody here has no local password at all, since the client's own is sent on.
    passes_through: bool,
    current: ArcSwapOption<Current>,
}

#[derive(Debug)]
struct Current {
    challengeable: Arc<Challengeable>,
    named: u64,
    offer: Arc<Offer>,
}

impl ListenerOffer {
    pub(super) fn new(listener: &Listener, config: &Config) -> Self {
        let served = || {
            let all = config.accounts.all.iter();
            all.filter(|account| account.is_let_in(listener.pin.as_ref()))
                .filter_map(|account| Some((account, account.endpoints.get(&listener.protocol)?)))
        };
        let mut upstreams = HashSet::new();
        for (_, endpoint) in served() {
            if upstreams.len() <= UPSTREAMS_MAX {
                upstreams.insert(Server::of(listener.protocol, endpoint));
            }
        }
        let few = upstreams.len() <= UPSTREAMS_MAX;
        Self {
            upstreams: few.then(|| upstreams.into_iter().collect()),
            passes_through: served()
                .any(|(account, _)| matches!(account.auth, AccountAuth::Passthrough)),
            current: ArcSwapOption::empty(),
        }
    }

    /// The present offer. A store that cannot be read offers what needs none of it; a login will say so.
    pub(super) async fn of(
        &self,
        listener: &Listener,
        config: &Config,
        authenticator: &Authenticator,
        known: &KnownAbilities,
    ) -> Arc<Offer> {
        let named = known.named();
        let challengeable = authenticator.challengeable().await.unwrap_or_default();
        if let Some(current) = self.current.load().as_ref()
            && current.named == named
            && Arc::ptr_eq(&current.challengeable, &challengeable)
        {
            return Arc::clone(&current.offer);
        }
        let challenges = !self.passes_through && everyone_can(&challengeable, listener, config);
        let upstreams = self.upstreams.as_deref().unwrap_or_default();
        let offer = Arc::new(Offer::new(
            listener.protocol,
            Arc::clone(&listener.profile),
            challenges,
            &known.in_common(upstreams),
        ));
        self.current.store(Some(Arc::new(Current {
            challengeable,
            named,
            offer: Arc::clone(&offer),
        })));
        offer
    }
}

/// Whether those who may log in here can all answer a challenge. One who cannot would be told that its password is wrong.
fn everyone_can(challengeable: &Challengeable, listener: &Listener, config: &Config) -> bool {
    let mut somebody = false;
    for (account, can) in challengeable {
        let found = config
            .accounts
            .find(listener.protocol, account, listener.pin.as_ref());
        if let Found::Account(_) = found {
            if !can {
                return false;
            }
            somebody = true;
        }
    }
    somebody
}

/// What many providers have in common is little, and one of them is always asked for the first time.
const UPSTREAMS_MAX: usize = 32;
