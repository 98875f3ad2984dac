//! Streams and groups: what there is, made, changed and removed.

mod change;
mod groups;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use weir_proto::v1;
pub use weir_proto::v1::{HashKeyRange, Partition, Routing, Stream};

use crate::connection::Client;
use crate::error::{Error, Reason};
pub use change::{PartitionCounts, Settings};
pub use groups::{
    GroupDescription, GroupProgress, GroupState, GroupSummary, GroupType, MemberDescription, Reset,
    ResetPosition, ResetTo, StreamPartitions,
};

/// What makes, shows, changes and removes streams, and looks after groups.
#[derive(Clone, Debug)]
pub struct Admin {
    client: Client,
}

/// A stream to be made.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewStream {
    request: v1::CreateStreamRequest,
}

impl NewStream {
    /// A stream of this name whose writers may choose partitions, as a topic of Kafka; with as many
    /// partitions as the broker gives to those that do not say.
    pub fn by_partition(name: impl Into<String>) -> NewStream {
        NewStream::routed(name.into(), Routing::ByPartition)
    }

    /// A stream of this name whose partitions own ranges of hash keys and can be split and merged,
    /// as a stream of Kinesis.
    pub fn by_hash(name: impl Into<String>) -> NewStream {
        NewStream::routed(name.into(), Routing::ByHash)
    }

    fn routed(name: String, routing: Routing) -> NewStream {
        let routing = routing.into();
        NewStream { request: v1::CreateStreamRequest { name, routing, ..Default::default() } }
    }

    /// With so many partitions.
    #[must_use]
    pub fn partitions(mut self, count: u32) -> NewStream {
        self.request.partitions = Some(count);
        self
    }

    /// With this setting, named as Kafka names a topic's, such as `retention.ms`.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> NewStream {
        self.request.settings.insert(name.into(), value.into());
        self
    }

    /// With all of these settings.
    #[must_use]
    pub fn settings(mut self, settings: HashMap<String, String>) -> NewStream {
        self.request.settings.extend(settings);
        self
    }

    /// Only judged, not made.
    #[must_use]
    pub fn validate_only(mut self) -> NewStream {
        self.request.validate_only = true;
        self
    }
}

impl Admin {
    pub(crate) fn new(client: Client) -> Admin {
        Admin { client }
    }

    /// Makes a stream; it can be used when this returns.
    ///
    /// A try whose answer was lost may have made it, so that the next one finds it there: then it
    /// is the stream that is returned, not [`Reason::AlreadyExists`].
    pub async fn create_stream(&self, stream: NewStream) -> Result<Stream, Error> {
        let NewStream { request } = stream;
        let was_lost = AtomicBool::new(false);
        let call = || {
            let (mut streams, request) = (self.client.streams(), request.clone());
            let was_lost = &was_lost;
            async move {
                let made = streams.create_stream(request).await.map_err(Error::from);
                note_loss(&made, was_lost);
                made?.into_inner().stream.ok_or_else(nothing)
            }
        };
        match self.client.retry().run(call).await {
            Err(error) if is_own(&error, Reason::AlreadyExists, &was_lost) => {
                self.describe_stream(&request.name).await
            }
            made => made,
        }
    }

    /// All streams whose names begin so, ordered by name, without their partitions.
    pub async fn list_streams(&self, prefix: &str) -> Result<Vec<Stream>, Error> {
        let request = v1::ListStreamsRequest { prefix: prefix.to_owned() };
        let call = || {
            let (mut streams, request) = (self.client.streams(), request.clone());
            async move { Ok(streams.list_streams(request).await?.into_inner().streams) }
        };
        self.client.retry().run(call).await
    }

    /// One stream with its partitions.
    pub async fn describe_stream(&self, name: &str) -> Result<Stream, Error> {
        let request = v1::DescribeStreamRequest { name: name.to_owned() };
        let call = || {
            let (mut streams, request) = (self.client.streams(), request.clone());
            async move { Ok(streams.describe_stream(request).await?.into_inner().stream) }
        };
        self.client.retry().run(call).await?.ok_or_else(nothing)
    }

    /// Removes a stream with its records. One that a try whose answer was lost had removed is not
    /// [`Reason::UnknownStream`].
    pub async fn delete_stream(&self, name: &str) -> Result<(), Error> {
        let request = v1::DeleteStreamRequest { name: name.to_owned() };
        let was_lost = AtomicBool::new(false);
        let call = || {
            let (mut streams, request) = (self.client.streams(), request.clone());
            let was_lost = &was_lost;
            async move {
                let removed = streams.delete_stream(request).await.map_err(Error::from);
                note_loss(&removed, was_lost);
                removed.map(|_| ())
            }
        };
        match self.client.retry().run(call).await {
            Err(error) if is_own(&error, Reason::UnknownStream, &was_lost) => Ok(()),
            removed => removed,
        }
    }
}

pub(crate) fn note_loss<T>(result: &Result<T, Error>, was_lost: &AtomicBool) {
    if matches!(result, Err(Error::Unreachable(_))) {
        was_lost.store(true, Ordering::Relaxed);
    }
}

/// Whether a refusal may come of an earlier try of the same call.
pub(crate) fn is_own(error: &Error, reason: Reason, was_lost: &AtomicBool) -> bool {
    error.reason() == Some(reason) && was_lost.load(Ordering::Relaxed)
}

fn nothing() -> Error {
    Error::Protocol("an answer without a stream".to_owned())
}
