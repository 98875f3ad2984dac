//! Produce: the batches of a `Producer`, brought to the brokers that lead their partitions.
//!
//! ```text
//!   requests, in the producer's order ──> a round: as many as wait, one for each partition
//!                                           │ one request for each leader, all at the same time
//!   answers, in the same order        <──   └ when all leaders have answered
//! ```
//!
//! What a leader refuses for now goes back to the producer, which sends it again: batches carry a
//! producer's id and sequence, so the broker keeps each once. A connection that is lost ends the
//! appender, and with it what the producer takes for one call.

use std::collections::BTreeMap;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::init_producer_id::InitProducerIdRequest;
use weir_kafka_protocol::messages::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use weir_model::ids::ProducerId;
use weir_proto::v1::append_batches_response::Outcome;
use weir_proto::v1::{AppendBatchesRequest, AppendBatchesResponse, ErrorDetail, PlacedBatch};

use super::errors::reason_of;
use super::{Kafka, Topic, errors, index, wire_index};
use crate::error::{Error, Reason};

/// The last version that names topics by name.
const PRODUCE_VERSION_MAX: i16 = 12;
const INIT_PRODUCER_ID_VERSION_MAX: i16 = 4;
/// All replicas that are in sync have it: what an idempotent producer needs.
const ACKS_ALL: i16 = -1;
/// How long a broker may wait for its replicas, in milliseconds.
const REPLICAS_WAIT_MS: i32 = 20_000;

/// An answer, or how the appender ended.
type Answer = Result<AppendBatchesResponse, Error>;

/// Appends the batches that come, until nobody sends any more.
#[derive(Debug)]
pub(crate) struct Appender {
    kafka: Kafka,
    stream: String,
    requests: mpsc::Receiver<AppendBatchesRequest>,
    answers: mpsc::Sender<Answer>,
    /// A request that was taken for a round that has its partition already.
    next: Option<AppendBatchesRequest>,
    topic: Topic,
}

impl Kafka {
    /// An identity for an idempotent producer, and its epoch.
    pub(crate) async fn begin_producer(&self) -> Result<(ProducerId, i16), Error> {
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        let answer = self.call_any(INIT_PRODUCER_ID_VERSION_MAX, &request).await?;
        if answer.error_code != 0 {
            return Err(errors::refused(answer.error_code, None));
        }
        let id = ProducerId::new(answer.producer_id)
            .ok_or_else(|| Error::Protocol("a negative producer id".to_owned()))?;
        Ok((id, answer.producer_epoch))
    }
}

impl Appender {
    /// One for a topic. It answers every request once, in their order.
    pub(crate) async fn begin(
        kafka: Kafka,
        stream: String,
        requests: mpsc::Receiver<AppendBatchesRequest>,
        answers: mpsc::Sender<Answer>,
    ) -> Result<Appender, Error> {
        let topic = kafka.topic(&stream).await?;
        Ok(Appender { kafka, stream, requests, answers, next: None, topic })
    }

    /// Its task.
    pub(crate) async fn run(mut self) {
        while let Some(round) = self.next_round().await {
            let outcomes = match self.append(round).await {
                Ok(outcomes) => outcomes,
                Err(error) => {
                    // If nobody takes it, nobody wants it.
                    let _ = self.answers.send(Err(error)).await;
                    return;
                }
            };
            for outcome in outcomes {
                let answer = AppendBatchesResponse { outcome: Some(outcome) };
                if self.answers.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        }
    }

    /// Requests of different partitions, in the order in which they came.
    async fn next_round(&mut self) -> Option<Vec<AppendBatchesRequest>> {
        let first = match self.next.take() {
            Some(request) => request,
            None => self.requests.recv().await?,
        };
        let mut round = vec![first];
        while let Ok(request) = self.requests.try_recv() {
            if round.iter().any(|other| other.partition == request.partition) {
                self.next = Some(request);
                break;
            }
            round.push(request);
        }
        Some(round)
    }

    /// What became of the batches of a round, in their order.
    async fn append(&mut self, round: Vec<AppendBatchesRequest>) -> Result<Vec<Outcome>, Error> {
        let partitions: Vec<u32> = round.iter().map(|request| request.partition).collect();
        let mut by_leader: BTreeMap<String, Vec<PartitionProduceData>> = BTreeMap::new();
        for request in round {
            if let Some(leader) = self.topic.leaders.get(&request.partition) {
                let index = wire_index(request.partition)?;
                let data = PartitionProduceData { index, records: Some(request.batch) };
                by_leader.entry(leader.clone()).or_default().push(data);
            }
        }
        let mut calls = JoinSet::new();
        for (leader, partition_data) in by_leader {
            let (kafka, request) = (self.kafka.clone(), self.request(partition_data));
            calls.spawn(async move { kafka.call_at(&leader, PRODUCE_VERSION_MAX, &request).await });
        }
        let mut outcomes = BTreeMap::new();
        let mut is_stale = false;
        while let Some(called) = calls.join_next().await {
            let answer = called.map_err(|error| Error::Protocol(error.to_string()))??;
            for partition in
                answer.responses.into_iter().flat_map(|topic| topic.partition_responses)
            {
                let outcome = outcome(&partition);
                is_stale |= matches!(&outcome, Outcome::Error(error) if is_moved(error.reason()));
                outcomes.insert(index(partition.index)?, outcome);
            }
        }
        if is_stale {
            self.topic = self.kafka.topic(&self.stream).await?;
        }
        partitions.iter().map(|partition| self.decided(*partition, &mut outcomes)).collect()
    }

    fn request(&self, partition_data: Vec<PartitionProduceData>) -> ProduceRequest {
        ProduceRequest {
            transactional_id: None,
            acks: ACKS_ALL,
            timeout_ms: REPLICAS_WAIT_MS,
            topic_data: vec![TopicProduceData {
                name: self.stream.clone(),
                partition_data,
                ..TopicProduceData::default()
            }],
        }
    }

    fn decided(
        &self,
        partition: u32,
        outcomes: &mut BTreeMap<u32, Outcome>,
    ) -> Result<Outcome, Error> {
        match outcomes.remove(&partition) {
            Some(outcome) => Ok(outcome),
            None if self.topic.leaders.contains_key(&partition) => {
                Err(Error::Protocol(format!("no answer for partition {partition}")))
            }
            None => Ok(refused(Reason::UnknownPartition, "the stream has no such partition")),
        }
    }
}

/// Whether a refusal may mean that another broker leads the partition now.
fn is_moved(reason: Reason) -> bool {
    matches!(reason, Reason::Busy | Reason::Storage)
}

fn outcome(partition: &PartitionProduceResponse) -> Outcome {
    let code = ErrorCode(partition.error_code);
    let reason = match code {
        ErrorCode::NONE => {
            let append_time_ms = Some(partition.log_append_time_ms).filter(|millis| *millis >= 0);
            return match u64::try_from(partition.base_offset) {
                Ok(base_offset) => {
                    let is_duplicate = false;
                    Outcome::Placed(PlacedBatch { base_offset, append_time_ms, is_duplicate })
                }
                Err(_) => refused(Reason::Unspecified, "it is kept; the broker does not say where"),
            };
        }
        ErrorCode::DUPLICATE_SEQUENCE_NUMBER => {
            return refused(Reason::Unspecified, "it was kept before; the broker forgot where");
        }
        // The topic is known: a broker that does not lead it yet, or any more, may say this, too.
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION => Reason::Busy,
        code => reason_of(code),
    };
    let said = partition.error_message.clone().filter(|said| !said.is_empty());
    refused(reason, &said.unwrap_or_else(|| errors::name(code.0)))
}

fn refused(reason: Reason, message: &str) -> Outcome {
    let (reason, message) = (reason.into(), message.to_owned());
    Outcome::Error(ErrorDetail { reason, message, retry_after_ms: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_where_a_batch_is_or_whether_it_is_sent_again() {
        let answer = |error_code: ErrorCode, base_offset| PartitionProduceResponse {
            error_code: error_code.0,
            base_offset,
            log_append_time_ms: -1,
            ..PartitionProduceResponse::default()
        };
        let placed = PlacedBatch { base_offset: 7, append_time_ms: None, is_duplicate: false };
        assert_eq!(outcome(&answer(ErrorCode::NONE, 7)), Outcome::Placed(placed));
        for (code, reason) in [
            (ErrorCode::NOT_LEADER_OR_FOLLOWER, Reason::Busy),
            (ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, Reason::Busy),
            (ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER, Reason::SequenceGap),
            (ErrorCode::UNKNOWN_PRODUCER_ID, Reason::SequenceGap),
            (ErrorCode::MESSAGE_TOO_LARGE, Reason::RecordTooLarge),
            (ErrorCode::INVALID_RECORD, Reason::Invalid),
            (ErrorCode::TOPIC_AUTHORIZATION_FAILED, Reason::NotAllowed),
        ] {
            match outcome(&answer(code, -1)) {
                Outcome::Error(error) => assert_eq!(error.reason(), reason, "{code:?}"),
                placed => panic!("{code:?} is {placed:?}"),
            }
        }
        // Kept, but where is not known.
        assert!(matches!(outcome(&answer(ErrorCode::NONE, -1)), Outcome::Error(_)));
    }
}
