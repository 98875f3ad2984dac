//! Notices clients that ask where to connect and then never do.
//!
//! A Kafka client bootstraps on the address it was configured with and works on the one that
//! Metadata tells it. Where the second cannot be reached (a container's port is mapped to another
//! number, say), the client asks again and again and says little about why. The broker sees it too,
//! and here it says so, once for each peer, with the flag that helps.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;
use weir_kafka_protocol::ApiKey;
use weir_model::time::Moment;

/// A client that has not followed after this long, and still asks, is named.
const PATIENCE: Duration = Duration::from_secs(10);

/// Peers that are remembered; others are not watched.
const PEERS_MAX: usize = 1024;

/// What clients use while they look for the broker to work with.
const BOOTSTRAP_APIS: [ApiKey; 4] =
    [ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::FindCoordinator, ApiKey::InitProducerId];

/// Whether a client that sends this has found the broker.
pub(crate) fn is_past_bootstrap(api: ApiKey) -> bool {
    !BOOTSTRAP_APIS.contains(&api)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// Has asked since then, and done nothing else.
    Asking { since: Moment },
    /// Has followed once, or has been named: nothing more to say about it.
    Settled,
}

/// The peers that have asked for Metadata.
#[derive(Debug, Default)]
pub(crate) struct Bootstraps {
    /// A sync lock: held for one look-up, never across an await.
    peers: Mutex<HashMap<IpAddr, Peer>>,
}

impl Bootstraps {
    /// A peer asked for Metadata. True if now is the time to name it in the log.
    pub(crate) fn asked(&self, peer: IpAddr, now: Moment) -> bool {
        let mut peers = self.peers.lock();
        match peers.get(&peer) {
            None if peers.len() < PEERS_MAX => {
                peers.insert(peer, Peer::Asking { since: now });
                false
            }
            Some(Peer::Asking { since }) if now.since(*since) >= PATIENCE => {
                peers.insert(peer, Peer::Settled);
                true
            }
            None | Some(_) => false,
        }
    }

    /// A peer did something that only clients do that have found the broker.
    pub(crate) fn followed(&self, peer: IpAddr) {
        let mut peers = self.peers.lock();
        if peers.len() < PEERS_MAX || peers.contains_key(&peer) {
            peers.insert(peer, Peer::Settled);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 7));

    fn at(seconds: u64) -> Moment {
        Moment::from_start(Duration::from_secs(seconds))
    }

    #[test]
    fn a_peer_that_keeps_asking_is_named_once() {
        let bootstraps = Bootstraps::default();
        let named = [0, 1, 9, 10, 11, 500].map(|second| bootstraps.asked(PEER, at(second)));
        assert_eq!(named, [false, false, false, true, false, false]);
    }

    #[test]
    fn a_peer_that_followed_is_never_named() {
        let bootstraps = Bootstraps::default();
        assert!(!bootstraps.asked(PEER, at(0)));
        bootstraps.followed(PEER);
        assert!(!bootstraps.asked(PEER, at(500)));
        assert!(!bootstraps.asked(PEER, at(1000)));
    }

    #[test]
    fn memory_for_peers_is_bounded() {
        let bootstraps = Bootstraps::default();
        for number in 0..5_000 {
            let peer = IpAddr::V4(std::net::Ipv4Addr::from_bits(number));
            bootstraps.asked(peer, at(0));
            bootstraps.followed(IpAddr::V6(std::net::Ipv6Addr::from_bits(number.into())));
        }
        assert!(bootstraps.peers.lock().len() <= PEERS_MAX);
    }
}
