//! What the members of a consumer group read: the one place that looks into their metadata.
//!
//! Offsets of a topic that members are subscribed to are neither deleted by an administrator nor
//! expired. Any other protocol type stays opaque.

use std::collections::BTreeSet;

use weir_kafka_records::decode_first_version;
use weir_kafka_records::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use weir_model::ids::StreamName;

use crate::group::classic::Classic;

/// The protocol type whose metadata is a subscription.
pub const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// The topics that a group's members are subscribed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subscriptions {
    /// These and no others.
    Known(BTreeSet<String>),
    /// Members have said something that the broker cannot read, or have not said it yet.
    Unknown,
}

impl Subscriptions {
    /// Whether a member may be subscribed to this topic.
    pub fn may_include(&self, topic: &StreamName) -> bool {
        match self {
            Subscriptions::Known(topics) => topics.contains(topic.as_str()),
            Subscriptions::Unknown => true,
        }
    }
}

impl Classic {
    pub(crate) fn is_consumer_group(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    /// What the members are subscribed to; nothing if they are not consumers.
    pub(crate) fn subscriptions(&self) -> Subscriptions {
        let mut topics = BTreeSet::new();
        if !self.is_consumer_group() || self.members.is_empty() {
            return Subscriptions::Known(topics);
        }
        if self.protocol.is_none() {
            return Subscriptions::Unknown;
        }
        for member in self.members.values() {
            let metadata = member.metadata(self.protocol.as_ref());
            match decode_first_version::<ConsumerProtocolSubscription>(metadata) {
                Ok(subscription) => topics.extend(subscription.topics),
                Err(_) => return Subscriptions::Unknown,
            }
        }
        Subscriptions::Known(topics)
    }
}
