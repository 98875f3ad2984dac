//! What a producer sends to: weir by its native API, or any Kafka.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use weir_model::ids::ProducerId;
use weir_model::time::Clock;
use weir_proto::v1;

use crate::connection::Client;
use crate::error::Error;
use crate::kafka::{Appender, Kafka};
use crate::producer::layout::Layout;
use crate::retry::Retry;

/// Where batches go.
#[derive(Clone, Debug)]
pub(crate) enum Broker {
    Native(Client),
    Kafka(Kafka),
}

/// A call that batches are sent in, and answered in the same order.
pub(super) struct Call {
    pub(super) requests: mpsc::Sender<v1::AppendBatchesRequest>,
    pub(super) answers: Answers,
}

/// The answers of a call.
pub(super) enum Answers {
    Native(Box<Streaming<v1::AppendBatchesResponse>>),
    Kafka(mpsc::Receiver<Result<v1::AppendBatchesResponse, Error>>),
}

impl Broker {
    pub(super) fn retry(&self) -> &Retry {
        match self {
            Broker::Native(client) => client.retry(),
            Broker::Kafka(kafka) => kafka.retry(),
        }
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        match self {
            Broker::Native(client) => &client.clock,
            Broker::Kafka(kafka) => kafka.clock(),
        }
    }

    /// Which partition takes which records.
    pub(super) async fn layout(&self, stream: &str) -> Result<Layout, Error> {
        match self {
            Broker::Native(client) => Layout::of(&client.admin().describe_stream(stream).await?),
            Broker::Kafka(kafka) => {
                let topic = kafka.retry().run(|| kafka.topic(stream)).await?;
                Layout::by_key(topic.leaders.into_keys().collect())
            }
        }
    }

    /// An identity for an idempotent producer, and its epoch.
    pub(super) async fn begin_producer(&self) -> Result<(ProducerId, i16), Error> {
        match self {
            Broker::Native(client) => {
                let request = v1::BeginProducerRequest {};
                let begun = client.records().begin_producer(request).await?.into_inner();
                let id = ProducerId::new(begun.producer_id);
                Ok((id.ok_or_else(|| Error::Protocol("a negative producer id".to_owned()))?, 0))
            }
            Broker::Kafka(kafka) => kafka.begin_producer().await,
        }
    }

    /// A call with room for so many batches that are not answered.
    pub(super) async fn call(&self, stream: &str, in_flight_max: usize) -> Result<Call, Error> {
        let (requests, outgoing) = mpsc::channel(in_flight_max);
        match self {
            Broker::Native(client) => {
                let mut records = client.records();
                let answers = records.append_batches(ReceiverStream::new(outgoing)).await?;
                Ok(Call { requests, answers: Answers::Native(Box::new(answers.into_inner())) })
            }
            Broker::Kafka(kafka) => {
                let (answered, answers) = mpsc::channel(in_flight_max);
                let stream = stream.to_owned();
                let appender = Appender::begin(kafka.clone(), stream, outgoing, answered).await?;
                // It ends when the call is dropped.
                tokio::spawn(appender.run());
                Ok(Call { requests, answers: Answers::Kafka(answers) })
            }
        }
    }
}

impl Answers {
    /// The next answer; none when the call was ended. Cancellation-safe.
    pub(super) async fn next(&mut self) -> Result<Option<v1::AppendBatchesResponse>, Error> {
        match self {
            Answers::Native(answers) => Ok(answers.message().await?),
            Answers::Kafka(answers) => answers.recv().await.transpose(),
        }
    }
}
