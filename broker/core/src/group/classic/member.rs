//! One member of a classic group: what it told when it joined, and what it waits for.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_model::time::Moment;

use crate::group::classic::{Client, Join, Protocol};
use crate::group::identity::InstanceId;
use crate::group::records::MemberImage;
use crate::group::state::RequestId;

/// A member that has never been answered cannot heartbeat yet: it does not know its id. It is
/// given this long, so that clients which gave up do not pile up in a long rebalance (Kafka's
/// `NewMemberJoinTimeoutMs`).
pub(super) const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// A member.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) instance: Option<InstanceId>,
    pub(super) client: Client,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    /// In the member's order of preference.
    pub(super) protocols: Vec<Protocol>,
    /// Its part, opaque to the broker; empty until the leader's assignments are logged.
    pub(super) assignment: Bytes,
    /// When it is given up, unless it is heard of.
    pub(super) expires: Moment,
    /// It has never been answered: see [`NEW_MEMBER_JOIN_TIMEOUT`].
    pub(super) is_new: bool,
    /// Its join that waits for the generation to begin.
    pub(super) joining: Option<RequestId>,
    /// Its sync that waits for the leader's assignments.
    pub(super) syncing: Option<RequestId>,
    /// It has asked for its assignment in this generation.
    pub(super) has_synced: bool,
}

impl Member {
    /// A member that joins for the first time.
    pub(super) fn new(join: Join, expires: Moment) -> Member {
        Member {
            instance: join.instance,
            client: join.client,
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: owned(&join.protocols),
            assignment: Bytes::new(),
            expires,
            is_new: true,
            joining: None,
            syncing: None,
            has_synced: false,
        }
    }

    /// A member as the log has it.
    pub(super) fn from_image(image: MemberImage, protocol: Option<&Arc<str>>) -> Member {
        let metadata = image.subscription;
        let protocols = protocol.map(|name| Protocol { name: Arc::clone(name), metadata });
        Member {
            instance: image.instance,
            client: image.client,
            session_timeout: image.session_timeout,
            rebalance_timeout: image.rebalance_timeout,
            protocols: protocols.into_iter().collect(),
            assignment: image.assignment,
            // `Event::Loaded` starts the session before any deadline is looked at.
            expires: Moment::default(),
            is_new: false,
            joining: None,
            syncing: None,
            has_synced: true,
        }
    }

    /// Takes what the member says of itself when it joins again.
    pub(super) fn update(&mut self, join: Join) {
        self.client = join.client;
        self.session_timeout = join.session_timeout;
        self.rebalance_timeout = join.rebalance_timeout;
        self.protocols = owned(&join.protocols);
    }

    /// Whether the member has said exactly this before.
    pub(super) fn offers(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    pub(super) fn supports(&self, name: &str) -> bool {
        self.protocols.iter().any(|protocol| &*protocol.name == name)
    }

    /// What the member said for a protocol; empty if it does not have it.
    pub(super) fn metadata(&self, name: Option<&Arc<str>>) -> Bytes {
        let found = self.protocols.iter().find(|protocol| Some(&protocol.name) == name);
        found.map(|protocol| protocol.metadata.clone()).unwrap_or_default()
    }

    /// When the member is given up; none while it waits for the coordinator, since then its
    /// silence is not its fault.
    pub(super) fn deadline(&self) -> Option<Moment> {
        let waits = self.joining.is_some() || self.syncing.is_some();
        (self.is_new || !waits).then_some(self.expires)
    }
}

/// Copies, because slices would keep the whole request frame in memory as long as the member lives.
fn owned(protocols: &[Protocol]) -> Vec<Protocol> {
    let copy = |protocol: &Protocol| Protocol {
        name: Arc::clone(&protocol.name),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    protocols.iter().map(copy).collect()
}
