//! `weir bench produce`: every connection writes until the records are used up.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use weir_kafka_protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use weir_model::batch::ProducerStamp;
use weir_model::compression::Codec;
use weir_model::random::SeededRandom;
use weir_model::time::{Clock, Moment};

use super::kafka::{self, KafkaConnection, PRODUCE_VERSION, Producer};
use super::kinesis::{KinesisConnection, PutRecordsTemplate};
use super::payload::BatchTemplate;
use super::tally::{Budget, Tally};
use super::{
    ANSWER_WAIT_MAX, Acks, BenchError, CodecName, Endpoint, ProduceOptions, THROTTLE_PAUSE,
};
use crate::progress::Progress;

/// How often somebody at a terminal is told; it costs the measured machine next to nothing.
const WATCH_PAUSE: Duration = Duration::from_millis(200);

const KAFKA_BATCH_RECORDS: u32 = 64;
const KINESIS_BATCH_RECORDS: u32 = 100;

/// Writes `options.records` records over all connections.
pub(super) async fn run(
    options: &ProduceOptions,
    endpoint: &Endpoint,
    clock: &Arc<dyn Clock>,
) -> Result<Tally, BenchError> {
    let budget = Arc::new(Budget::new(options.records));
    let mut connections = JoinSet::new();
    for index in 0..options.target.connections {
        let (options, endpoint) = (options.clone(), endpoint.clone());
        let (budget, clock) = (Arc::clone(&budget), Arc::clone(clock));
        connections.spawn(async move {
            match &endpoint {
                Endpoint::Kafka(address) => {
                    let mut writer =
                        KafkaWriter::open(&options, address, index, &budget, &clock).await?;
                    writer.run().await?;
                    Ok(writer.tally)
                }
                Endpoint::Kinesis(url) => {
                    let connection =
                        KinesisConnection::open(url, options.target.encoding, &clock).await?;
                    write_kinesis(&options, connection, index, &budget).await
                }
            }
        });
    }
    let watched = watch(&budget, options.records, Arc::clone(clock));
    tokio::select! {
        merged = merge(connections) => merged,
        never = watched => match never {},
    }
}

/// Tells a person at a terminal how many records were handed to connections, as long as it is
/// polled.
async fn watch(budget: &Budget, records: u64, clock: Arc<dyn Clock>) -> Infallible {
    let mut progress = Progress::on_terminal(clock);
    if !progress.is_seen() {
        return std::future::pending().await;
    }
    loop {
        tokio::time::sleep(WATCH_PAUSE).await;
        let done = records.saturating_sub(budget.left());
        progress.tell(done, Some(records), done);
    }
}

/// Waits for all connections; the first error ends the run.
pub(super) async fn merge(
    mut connections: JoinSet<Result<Tally, BenchError>>,
) -> Result<Tally, BenchError> {
    let mut all = Tally::new();
    while let Some(joined) = connections.join_next().await {
        let tally = joined.map_err(|error| BenchError::Protocol(error.to_string()))??;
        all.merge(&tally);
    }
    Ok(all)
}

/// A request that waits for its answer.
#[derive(Debug)]
struct InFlight {
    correlation_id: i32,
    sent: Moment,
    records: u32,
}

/// One connection's closed loop over the Kafka protocol.
#[derive(Debug)]
struct KafkaWriter<'a> {
    options: &'a ProduceOptions,
    budget: &'a Budget,
    clock: &'a Arc<dyn Clock>,
    connection: KafkaConnection,
    producer: Option<Producer>,
    /// The partitions in the order in which they are written, and each one's next sequence number.
    partitions: Vec<(i32, i32)>,
    turn: usize,
    template: BatchTemplate,
    in_flight: VecDeque<InFlight>,
    tally: Tally,
}

impl<'a> KafkaWriter<'a> {
    async fn open(
        options: &'a ProduceOptions,
        address: &str,
        index: u32,
        budget: &'a Budget,
        clock: &'a Arc<dyn Clock>,
    ) -> Result<KafkaWriter<'a>, BenchError> {
        if options.in_flight == 0 || (options.idempotent && options.in_flight > 5) {
            return Err(BenchError::Options(
                "--in-flight must be at least 1, and at most 5 with --idempotent".to_owned(),
            ));
        }
        if options.idempotent && options.acks != Acks::All {
            return Err(BenchError::Options("--idempotent needs --acks all".to_owned()));
        }
        let mut connection = KafkaConnection::open(address, clock).await?;
        let partitions = connection.partitions(&options.target.topic).await?;
        let producer = match options.idempotent {
            true => Some(connection.producer().await?),
            false => None,
        };
        let random = SeededRandom::new(u64::from(index));
        let records = options.batch.unwrap_or(KAFKA_BATCH_RECORDS);
        let template = BatchTemplate::build(&random, codec(options.codec), records, options.size)?;
        Ok(KafkaWriter {
            options,
            budget,
            clock,
            connection,
            producer,
            turn: index as usize,
            partitions: partitions.into_iter().map(|partition| (partition, 0)).collect(),
            template,
            in_flight: VecDeque::new(),
            tally: Tally::new(),
        })
    }

    async fn run(&mut self) -> Result<(), BenchError> {
        let batch_records = u64::from(self.template.records());
        let mut left = true;
        loop {
            while left && self.in_flight.len() < self.options.in_flight {
                match self.budget.take(batch_records) {
                    0 => left = false,
                    taken => self.send(taken).await?,
                }
            }
            match self.in_flight.pop_front() {
                Some(oldest) => self.receive(oldest).await?,
                None => return Ok(()),
            }
        }
    }

    async fn send(&mut self, taken: u64) -> Result<(), BenchError> {
        let taken = u32::try_from(taken).expect("no more was taken than the batch has");
        if taken != self.template.records() {
            // The last batch of the run is smaller.
            let random = SeededRandom::new(u64::from(taken));
            let codec = codec(self.options.codec);
            self.template = BatchTemplate::build(&random, codec, taken, self.options.size)?;
        }
        let count = self.partitions.len();
        let (partition, sequence) =
            self.partitions.get_mut(self.turn % count).expect("every topic has a partition");
        let stamp = self.producer.map(|producer| ProducerStamp {
            id: producer.id,
            epoch: producer.epoch,
            base_sequence: *sequence,
        });
        // After 2^31 - 1 sequence numbers go on at 0.
        *sequence = sequence.wrapping_add(taken.cast_signed()) & i32::MAX;
        self.turn += 1;
        self.template.stamp(self.clock.now(), stamp);
        let batch = self.template.lend();
        let request = ProduceRequest {
            acks: match self.options.acks {
                Acks::All => -1,
                Acks::Leader => 1,
            },
            timeout_ms: i32::try_from(ANSWER_WAIT_MAX.as_millis()).expect("half a minute"),
            topic_data: vec![TopicProduceData {
                name: self.options.target.topic.clone(),
                partition_data: vec![PartitionProduceData {
                    index: *partition,
                    records: Some(batch.clone()),
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let sent = self.clock.moment();
        let correlation_id = self.connection.send(PRODUCE_VERSION, &request).await?;
        drop(request);
        self.template.take_back(batch);
        self.in_flight.push_back(InFlight { correlation_id, sent, records: taken });
        Ok(())
    }

    async fn receive(&mut self, request: InFlight) -> Result<(), BenchError> {
        let response: ProduceResponse = self
            .connection
            .receive::<ProduceRequest>(PRODUCE_VERSION, request.correlation_id)
            .await?;
        self.tally.answered(request.sent, self.clock.moment());
        let mut partitions =
            response.responses.iter().flat_map(|topic| topic.partition_responses.iter());
        let (Some(partition), None) = (partitions.next(), partitions.next()) else {
            return Err(BenchError::Protocol("an answer for other partitions".to_owned()));
        };
        if partition.error_code == 0 {
            self.tally.records += u64::from(request.records);
            self.tally.value_bytes += u64::from(request.records) * self.options.size as u64;
        } else {
            self.tally.failed(kafka::name(partition.error_code), 1);
        }
        Ok(())
    }
}

fn codec(name: CodecName) -> Codec {
    match name {
        CodecName::None => Codec::None,
        CodecName::Gzip => Codec::Gzip,
        CodecName::Snappy => Codec::Snappy,
        CodecName::Lz4 => Codec::Lz4,
        CodecName::Zstd => Codec::Zstd,
    }
}

/// One connection's closed loop of PutRecords. What the quota refuses is sent again later.
async fn write_kinesis(
    options: &ProduceOptions,
    mut connection: KinesisConnection,
    index: u32,
    budget: &Budget,
) -> Result<Tally, BenchError> {
    let mut tally = Tally::new();
    let batch_records = options.batch.unwrap_or(KINESIS_BATCH_RECORDS);
    let random = SeededRandom::new(u64::from(index));
    let build = |records: u32| {
        let encoding = options.target.encoding;
        PutRecordsTemplate::build(&random, encoding, &options.target.topic, records, options.size)
    };
    let mut template = build(batch_records)?;
    loop {
        let taken = budget.take(u64::from(batch_records));
        if taken == 0 {
            return Ok(tally);
        }
        if taken != u64::from(template.records) {
            template = build(u32::try_from(taken).expect("no more was taken than a batch has"))?;
        }
        let put = connection.put_records(&template, &mut tally).await?;
        tally.records += put.acknowledged;
        tally.value_bytes += put.acknowledged * options.size as u64;
        tally.throttled += put.throttled;
        if put.throttled > 0 {
            budget.give_back(put.throttled);
            tokio::time::sleep(THROTTLE_PAUSE).await;
        }
    }
}
