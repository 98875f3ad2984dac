//! The way to a broker, shared by all that a program does with it.

use std::sync::Arc;
use std::time::Duration;

use tonic::transport::{Channel, Endpoint};
use weir_model::time::{Clock, SystemClock};
use weir_proto::v1::events_client::EventsClient;
use weir_proto::v1::groups_client::GroupsClient;
use weir_proto::v1::inspect_client::InspectClient;
use weir_proto::v1::records_client::RecordsClient;
use weir_proto::v1::streams_client::StreamsClient;

use crate::admin::Admin;
use crate::consumer::{Consumer, ConsumerOptions};
use crate::error::{Error, root_cause};
use crate::events::{Events, Watch};
use crate::group::{GroupConsumer, GroupOptions};
use crate::inspect::Inspector;
use crate::producer::{Broker, Producer, ProducerOptions};
use crate::retry::Retry;

/// Where a broker on this machine listens unless it was told otherwise.
pub const LOCAL: &str = "http://localhost:50051";

/// Longest wait for a connection; a broker on this machine is there at once or not at all.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(5);
/// What a call, and all calls of the connection together, may be sent before they take it.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Largest frame of HTTP/2. Its default of 16 KiB costs a tenth more of the processor's time.
const FRAME_BYTES_MAX: u32 = 64 * 1024;
/// Largest answer: the broker's own are smaller.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
const PING_AFTER: Duration = Duration::from_secs(20);
const PING_WAIT_MAX: Duration = Duration::from_secs(10);

/// The way to one broker. Cheap to clone; clones share one connection, which is made when it is
/// needed and made again when it was lost.
#[derive(Clone, Debug)]
pub struct Client {
    channel: Channel,
    retry: Retry,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Client {
    /// The way to the broker at this URL, such as [`LOCAL`]. Nothing is sent yet. Fails only for
    /// what is no URL. Must be called inside a tokio runtime.
    pub fn new(url: &str) -> Result<Client, Error> {
        let endpoint = Endpoint::from_shared(url.to_owned())
            .map_err(|error| Error::Endpoint(format!("{url}: {}", root_cause(&error))))?;
        if endpoint.uri().scheme_str() != Some("http") || endpoint.uri().port().is_none() {
            return Err(Error::Endpoint(format!("{url} is not http://HOST:PORT")));
        }
        let channel = endpoint
            .connect_timeout(CONNECT_WAIT_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES_MAX)
            .http2_keep_alive_interval(PING_AFTER)
            .keep_alive_timeout(PING_WAIT_MAX)
            .connect_lazy();
        Ok(Client { channel, retry: Retry::default(), clock: Arc::new(SystemClock::new()) })
    }

    /// With other patience for what may pass by itself.
    #[must_use]
    pub fn with_retry(self, retry: Retry) -> Client {
        Client { retry, ..self }
    }

    /// What makes, shows and removes streams.
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }

    /// A producer for a stream that exists. Looks at the stream's partitions first.
    pub async fn producer(&self, options: ProducerOptions) -> Result<Producer, Error> {
        Producer::begin(Broker::Native(self.clone()), options).await
    }

    /// A reader of a stream that exists. Its first request is sent when it is first asked for
    /// a record, or before.
    pub fn consumer(&self, options: ConsumerOptions) -> Consumer {
        Consumer::begin(self.clone(), options)
    }

    /// A member of a group, which shares the partitions of its streams with the other members. It
    /// joins at once, in the background. Must be called inside a tokio runtime.
    pub fn group_consumer(&self, options: GroupOptions) -> GroupConsumer {
        GroupConsumer::begin(self.clone(), options)
    }

    /// What shows the inside of partitions.
    pub fn inspector(&self) -> Inspector {
        Inspector::new(self.clone())
    }

    /// What happens in the broker, from now on. It listens when this returns.
    pub async fn watch(&self, watch: Watch) -> Result<Events, Error> {
        Events::begin(self, watch).await
    }

    pub(crate) fn retry(&self) -> &Retry {
        &self.retry
    }

    pub(crate) fn streams(&self) -> StreamsClient<Channel> {
        StreamsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(crate) fn groups(&self) -> GroupsClient<Channel> {
        GroupsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(crate) fn records(&self) -> RecordsClient<Channel> {
        RecordsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(crate) fn inspect(&self) -> InspectClient<Channel> {
        InspectClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    pub(crate) fn events(&self) -> EventsClient<Channel> {
        EventsClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }
}
