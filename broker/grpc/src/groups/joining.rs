//! What a membership begins with: the first message of a call, checked.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use weir_core::broker::Broker;
use weir_core::group::assignor::Assignor;
use weir_core::group::classic::Client;
use weir_core::group::identity::{GroupId, InstanceId, MemberId};
use weir_core::group::modern::heartbeat::Beat;
use weir_core::group::modern::member::JOINING_EPOCH;
use weir_model::ids::StreamName;
use weir_proto::v1::{BeginMembership, Subscription};

use crate::errors::Refusal;
use crate::groups::group_id;
use crate::server::Peer;

/// Longest id, name or pattern of a member, in bytes.
const TEXT_BYTES_MAX: usize = 1024;
/// Most streams that a member names.
const STREAMS_MAX: usize = 10_000;
/// How long a member may be silent, in milliseconds.
const SESSION_MS: RangeInclusive<u32> = 1_000..=3_600_000;
/// How long a member may take to release partitions, in milliseconds; Kafka's records hold no more.
const REBALANCE_MS: RangeInclusive<u32> = 1..=i32::MAX.unsigned_abs();
const REBALANCE_MS_DEFAULT: u32 = 300_000;

/// Who joins what.
#[derive(Debug)]
pub(crate) struct Joining {
    pub(crate) group: GroupId,
    pub(crate) beat: Box<Beat>,
    /// How long the member may be silent.
    pub(crate) session: Duration,
    /// It brings its id, and may have been a member before.
    pub(crate) is_back: bool,
}

/// Reads the first message of a call.
pub(crate) fn parse(
    broker: &Broker,
    begin: BeginMembership,
    peer: Option<Peer>,
) -> Result<Joining, Refusal> {
    let group = group_id(&begin.group)?;
    for (name, text) in [
        ("client_id", &begin.client_id),
        ("member_id", &begin.member_id),
        ("instance_id", &begin.instance_id),
        ("rack", &begin.rack),
    ] {
        if text.len() > TEXT_BYTES_MAX {
            let why = format!("{name} has {} bytes, at most {TEXT_BYTES_MAX} may be", text.len());
            return Err(Refusal::invalid(why));
        }
    }
    let subscription = begin.subscription.unwrap_or_default();
    check_subscription(&subscription)?;
    let (topics, regex) = subscribed(subscription);
    let session_ms = millis("session_timeout_ms", begin.session_timeout_ms, SESSION_MS)?;
    let session =
        session_ms.unwrap_or_else(|| broker.groups().limits(&group).consumer_session_timeout);
    let rebalance = millis("rebalance_timeout_ms", begin.rebalance_timeout_ms, REBALANCE_MS)?;
    let rebalance_default = Duration::from_millis(REBALANCE_MS_DEFAULT.into());
    let brought = MemberId::from_client(&begin.member_id);
    let is_back = brought.is_some();
    let fresh = || MemberId::fresh(&begin.client_id, broker.random());
    let host = peer.map(|Peer(peer)| format!("/{}", peer.ip().to_canonical()));
    let present = |text: &str| (!text.is_empty()).then(|| Arc::<str>::from(text));
    let beat = Beat {
        member: brought.unwrap_or_else(fresh),
        epoch: JOINING_EPOCH,
        instance: present(&begin.instance_id).map(|name| InstanceId::new(&name)),
        rack: present(&begin.rack),
        rebalance_timeout: Some(rebalance.unwrap_or(rebalance_default)),
        topics: Some(topics),
        regex: Some(regex),
        assignor: assignor(broker, &begin.assignor)?,
        // Whoever joins reads nothing.
        owned: Some(BTreeSet::new()),
        client: Client {
            id: Arc::from(begin.client_id.as_str()),
            host: Arc::from(host.unwrap_or_default()),
        },
    };
    Ok(Joining { group, beat: Box::new(beat), session, is_back })
}

/// Whether a member may subscribe to that.
pub(crate) fn check_subscription(subscription: &Subscription) -> Result<(), Refusal> {
    let Subscription { streams, pattern } = subscription;
    if streams.is_empty() && pattern.is_empty() {
        return Err(Refusal::invalid("a member names streams, a pattern, or both"));
    }
    if streams.len() > STREAMS_MAX || pattern.len() > TEXT_BYTES_MAX {
        let why = format!("at most {STREAMS_MAX} streams and {TEXT_BYTES_MAX} bytes of pattern");
        return Err(Refusal::invalid(why));
    }
    for stream in streams {
        let name = StreamName::new(stream)
            .map_err(|error| Refusal::invalid(format!("a stream's name is refused: {error}")))?;
        if name.is_internal() {
            return Err(Refusal::unknown_stream(stream));
        }
    }
    Ok(())
}

/// A subscription as members of the core have it: names, and a pattern or the empty text.
pub(crate) fn subscribed(subscription: Subscription) -> (BTreeSet<Arc<str>>, Arc<str>) {
    let streams = subscription.streams.into_iter().map(Arc::from).collect();
    (streams, Arc::from(subscription.pattern))
}

fn millis(
    name: &str,
    said: Option<u32>,
    allowed: RangeInclusive<u32>,
) -> Result<Option<Duration>, Refusal> {
    match said {
        Some(millis) if !allowed.contains(&millis) => {
            let (least, most) = allowed.into_inner();
            Err(Refusal::invalid(format!("{name} is {millis}, not between {least} and {most}")))
        }
        said => Ok(said.map(|millis| Duration::from_millis(millis.into()))),
    }
}

fn assignor(broker: &Broker, name: &str) -> Result<Option<Assignor>, Refusal> {
    if name.is_empty() {
        return Ok(None);
    }
    let supported = &broker.settings().consumer_groups.assignors;
    let found = Assignor::from_name(name).filter(|_| supported.iter().any(|one| one == name));
    let unknown = || {
        let why = format!("there is no such assignor; there are {}", supported.join(", "));
        Refusal::invalid(why)
    };
    found.ok_or_else(unknown).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subscriptions_name_something_that_clients_may_see() {
        let subscription = |streams: &[&str], pattern: &str| Subscription {
            streams: streams.iter().map(|name| (*name).to_owned()).collect(),
            pattern: pattern.to_owned(),
        };
        assert_eq!(check_subscription(&subscription(&["a"], "")), Ok(()));
        assert_eq!(check_subscription(&subscription(&[], "a.*")), Ok(()));
        for refused in [
            subscription(&[], ""),
            subscription(&["a b"], ""),
            subscription(&["__consumer_offsets"], ""),
            subscription(&[], &"a".repeat(TEXT_BYTES_MAX + 1)),
        ] {
            assert!(check_subscription(&refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn times_are_within_their_bounds() {
        for (said, expected) in [
            (None, Ok(None)),
            (Some(1_000), Ok(Some(Duration::from_secs(1)))),
            (Some(999), Err(())),
            (Some(3_600_001), Err(())),
        ] {
            assert_eq!(millis("session_timeout_ms", said, SESSION_MS).map_err(|_| ()), expected);
        }
    }
}
