//! A subscription: the events of one consumer and shard, made one at a time.
//!
//! ```text
//!   initial-response   SubscribeToShardEvent …   then the end, or an exception
//! ```
//!
//! The next event is made when the HTTP body asks for it, which it does when the last was taken. It
//! is made as soon as there is a record (the log's watermark wakes it, nothing is polled), within
//! the consumer's own 2 MiB a second; without records after five seconds, so that the consumer's
//! position goes on. The last event of a closed shard names its children.
//!
//! | ends | how |
//! |---|---|
//! | after five minutes; when the server stops | without a word; the consumer subscribes again |
//! | another subscription takes over | ResourceInUseException |
//! | stream or consumer are deleted | ResourceNotFoundException |

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::debug;
use weir_core::Waiter;
use weir_core::alarm::Alarm;
use weir_core::partition::partition::Partition;
use weir_core::read::records::{CallQuota, ReadRecord, ReadRecords, RecordsRead};
use weir_core::stream::consumers::ConsumerId;
use weir_core::stream::stream::Stream;
use weir_model::ids::PartitionIndex;
use weir_model::offset::Offset;
use weir_model::time::Moment;

use crate::action::Call;
use crate::caller::Caller;
use crate::errors::{self, ErrorKind, KinesisError};
use crate::outgoing_record::{reply_bytes, write_records};
use crate::sequence_number::SequenceNumber;
use crate::service::KinesisService;
use crate::shard::{ShardId, write_child_shards};
use crate::stream_numbers;
use crate::subscriptions::{Held, Refusal};
use crate::wire::{Encoding, ReplyWriter, event_stream};

/// How long a subscription lasts.
const LIFETIME: Duration = Duration::from_secs(300);
/// Records of an event, each of which has some 180 bytes beside its data.
const EVENT_RECORDS_MAX: usize = 1_000;
/// Longest silence between two events.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// One subscription.
#[derive(Debug)]
pub(crate) struct Subscription {
    service: Arc<KinesisService>,
    caller: Arc<Caller>,
    encoding: Encoding,
    stream: Arc<Stream>,
    consumer: ConsumerId,
    shard: PartitionIndex,
    /// Wakes it when the shard is closed.
    partition_changes: watch::Receiver<bool>,
    held: Held,
    /// The next record's offset.
    from: Offset,
    /// The number of the last record given out.
    last: Option<SequenceNumber>,
    ends: Moment,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Begun,
    Running,
    Ended,
}

/// What a look at the shard and at everything around it came to.
enum Look {
    Event(Bytes),
    Failed(KinesisError),
    End,
    /// There is nothing to say yet.
    Nothing,
    /// The consumer had as much as it may have.
    OverQuota(Duration),
}

impl Subscription {
    /// The consumer's subscription from this offset on.
    pub(crate) fn new(
        call: &Call<'_>,
        stream: Arc<Stream>,
        consumer: ConsumerId,
        shard: PartitionIndex,
        from: Offset,
        held: Held,
    ) -> Subscription {
        Subscription {
            service: Arc::clone(call.service),
            caller: Arc::clone(call.caller),
            encoding: call.encoding,
            partition_changes: stream.partition_changes(),
            stream,
            consumer,
            shard,
            held,
            from,
            last: None,
            ends: call.broker().clock().moment().plus(LIFETIME),
            phase: Phase::Begun,
        }
    }

    /// The next event; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        match self.phase {
            Phase::Ended => return None,
            Phase::Begun => {
                self.phase = Phase::Running;
                let empty: &[u8] = match self.encoding {
                    Encoding::Json => b"{}",
                    Encoding::Cbor => b"\xa0",
                };
                return Some(event_stream::event("initial-response", self.encoding, empty));
            }
            Phase::Running => {}
        }
        let mut heartbeat = std::pin::pin!(sleep(HEARTBEAT));
        loop {
            let is_silent = heartbeat.is_elapsed();
            let pause = match self.look(is_silent).await {
                Look::Event(event) => return Some(event),
                Look::Failed(error) => return Some(self.exception(&error)),
                Look::End => {
                    self.phase = Phase::Ended;
                    return None;
                }
                Look::Nothing => None,
                Look::OverQuota(pause) => Some(pause),
            };
            let clock = self.service.broker().clock();
            let due = pause.map_or(self.ends, |pause| clock.moment().plus(pause).min(self.ends));
            // How long a subscription lives and what it may read go by the broker's clock; that it
            // is not silent is what its client measures.
            let mut alarm = Alarm::for_client(clock);
            let pause_or_end = alarm.at(due);
            let partition = self.stream.partition(self.shard);
            let waiter = Waiter::new();
            let watch = match (&partition, pause) {
                // One whose storage failed has no more to give, and would wake at once.
                (Some(partition), None) if !partition.progress().is_stopped() => {
                    Some(partition.progress().watch(self.from, &waiter))
                }
                _ => None,
            };
            let mut stopped = self.caller.stopped.clone();
            tokio::select! {
                () = waiter.woken(), if watch.is_some() => {}
                _ = self.partition_changes.changed() => {}
                () = &mut heartbeat, if !is_silent => {}
                () = pause_or_end => {}
                () = self.held.taken_over() => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        }
    }

    /// Looks whether there is something to say; if need be, that there is nothing.
    async fn look(&mut self, is_silent: bool) -> Look {
        let account = &self.service.broker().options().account_id;
        let (broker, name) = (self.service.broker(), &self.stream.name);
        if self.held.is_taken_over() {
            let shard = ShardId(self.shard);
            return Look::Failed(Refusal::InUse.error(shard, &self.consumer.name, name, account));
        }
        if self.stream.is_deleted() {
            return Look::Failed(KinesisError::stream_not_found(name.as_str(), account));
        }
        if self.stream.attributes().consumers.find(&self.consumer).is_none() {
            let error = KinesisError::consumer_not_found(&self.consumer, name.as_str(), account);
            return Look::Failed(error);
        }
        // An error means that the listener is gone.
        let is_stopped =
            *self.caller.stopped.borrow() || self.caller.stopped.has_changed().is_err();
        let now = broker.clock().moment();
        if is_stopped || now >= self.ends {
            return Look::End;
        }
        let pause = self.held.wait(now);
        if !pause.is_zero() {
            return Look::OverQuota(pause);
        }
        // What changes after this look wakes the wait that follows it.
        self.partition_changes.mark_unchanged();
        let share = self.service.events.take();
        let request = ReadRecords {
            stream: Arc::clone(&self.stream),
            partition: self.shard,
            from: self.from,
            records_max: EVENT_RECORDS_MAX,
            bytes_max: share.data_bytes_max,
            call: CallQuota::Apart,
        };
        let read = match broker.read(&request).await {
            Ok(read) => read,
            Err(error) => {
                let error = errors::read_error(&error, self.shard, &self.stream, account);
                return Look::Failed(error);
            }
        };
        if read.records.is_empty() && !read.finished && !is_silent {
            self.from = read.next;
            return Look::Nothing;
        }
        let data_bytes: usize = read.records.iter().map(ReadRecord::size_bytes).sum();
        let share = share.grown_to(data_bytes).await;
        match self.event(&read) {
            Some(event) => Look::Event(share.keep_for(event)),
            None => self.gone(),
        }
    }

    fn gone(&self) -> Look {
        let account = &self.service.broker().options().account_id;
        Look::Failed(KinesisError::stream_not_found(self.stream.name.as_str(), account))
    }

    /// What was read as an event, which is charged and moves the subscription on.
    fn event(&mut self, read: &RecordsRead) -> Option<Bytes> {
        let partition = self.stream.partition(self.shard)?;
        self.from = read.next;
        if let Some(last) = read.records.last() {
            let (epoch, offset) = (last.epoch, last.offset);
            let number =
                SequenceNumber::of_record(&partition, epoch, offset, last.stored_timestamp);
            self.last = Some(number);
        }
        let mut writer =
            ReplyWriter::with_capacity(self.encoding, reply_bytes(self.encoding, &read.records));
        writer.begin_map();
        write_records(&mut writer, &self.stream, &partition, &read.records);
        if read.finished {
            // Without a continuation, which is how consumers know the end of a shard.
            write_child_shards(&mut writer, self.shard, &self.stream.partitions());
            self.phase = Phase::Ended;
        } else {
            let continuation = self.continuation(&partition).to_string();
            writer.text_member("ContinuationSequenceNumber", &continuation);
        }
        writer.integer_member("MillisBehindLatest", read.behind_ms);
        writer.end_map();
        let payload = writer.into_bytes();
        let event = event_stream::event("SubscribeToShardEvent", self.encoding, &payload);
        self.held.charge(read.records.iter().map(|record| record.size_bytes()).sum());
        stream_numbers::count_event(&self.stream, read);
        if let Some((_, metrics)) = self.service.action("SubscribeToShard") {
            metrics.records_out.add(read.records.len() as u64);
            metrics.bytes_out.add(event.len() as u64);
        }
        Some(event)
    }

    /// The number after which a consumer that subscribes again goes on where this one is.
    fn continuation(&self, partition: &Partition) -> SequenceNumber {
        let broker = self.service.broker();
        match (self.last, self.from.number().checked_sub(1)) {
            (Some(last), _) => last,
            (None, None) => SequenceNumber::starting(partition),
            // The place before the first record that is wanted, as an iterator holds it.
            (None, Some(before)) => {
                let (epoch, now) = (broker.log().epoch(), broker.clock().now());
                SequenceNumber::of_record(partition, epoch, Offset::new(before), now)
            }
        }
    }

    /// The error that ends the subscription.
    fn exception(&mut self, error: &KinesisError) -> Bytes {
        self.phase = Phase::Ended;
        // The model's name for it among the events, where it is an ordinary error.
        let kind = match error.kind {
            ErrorKind::InternalFailure => "InternalFailureException",
            kind => kind.name(),
        };
        let why = error.message.as_deref().unwrap_or_default();
        debug!(peer = %self.caller.peer, kind, why, "a subscription ends");
        let mut writer = ReplyWriter::new(self.encoding);
        writer.begin_map();
        writer.text_member("message", why);
        writer.end_map();
        event_stream::exception(kind, self.encoding, &writer.into_bytes())
    }
}

/// A subscription as the body of an answer.
pub(crate) struct EventBody {
    /// The event that is being made; none after the end.
    step: Option<Step>,
}

type Step = Pin<Box<dyn Future<Output = (Option<Bytes>, Subscription)> + Send>>;

impl EventBody {
    pub(crate) fn new(subscription: Subscription) -> EventBody {
        EventBody { step: Some(begin(subscription)) }
    }

    /// The next event; none at the end.
    pub(crate) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let Some(step) = &mut self.step else { return Poll::Ready(None) };
        let (event, subscription) = ready!(step.as_mut().poll(context));
        self.step = event.is_some().then(|| begin(subscription));
        Poll::Ready(event)
    }
}

fn begin(mut subscription: Subscription) -> Step {
    Box::pin(async move { (subscription.next().await, subscription) })
}

impl fmt::Debug for EventBody {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("EventBody").field("has_ended", &self.step.is_none()).finish()
    }
}

#[cfg(test)]
mod tests {
    use crate::harness::{AUTHORIZATION, Harness};
    use crate::http::ReplyBody;
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use hyper::Request;
    use serde_json::{Value as Json, json};
    use weir_core::quota::limits::QuotaPolicy;

    const ARN: &str = "arn:aws:kinesis:eu-west-1:000000000000:stream/s/consumer/c:1700000000";

    /// A stream with one shard and a consumer.
    async fn harness(quotas: QuotaPolicy) -> Harness {
        let harness = Harness::with_quotas(quotas).await;
        harness.create_stream("s", 1).await;
        let stream = "arn:aws:kinesis:eu-west-1:000000000000:stream/s";
        let input = json!({"StreamARN": stream, "ConsumerName": "c"});
        harness.ok("RegisterStreamConsumer", input).await;
        harness
    }

    fn input(position: &Json) -> Json {
        json!({"ConsumerARN": ARN, "ShardId": "0", "StartingPosition": position})
    }

    async fn subscribe(harness: &Harness, position: Json) -> ReplyBody {
        let request = Request::post("/")
            .header("x-amz-target", "Kinesis_20131202.SubscribeToShard")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-date", "20260101T000000Z")
            .header("authorization", AUTHORIZATION)
            .body(Full::new(Bytes::from(input(&position).to_string())));
        let response = harness.begin(request.expect("a request")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/vnd.amazon.eventstream");
        let mut body = response.into_body();
        let (headers, payload) = next(&mut body).await.expect("an event");
        assert!(headers.contains("initial-response"), "{headers}");
        assert_eq!(payload, json!({}));
        body
    }

    /// The headers as text and the payload of the next message; none at the end.
    async fn next(body: &mut ReplyBody) -> Option<(String, Json)> {
        let message = body.frame().await?.expect("no error").into_data().expect("data");
        let headers_end = 12 + u32::from_be_bytes(message[4..8].try_into().unwrap()) as usize;
        let headers = String::from_utf8_lossy(&message[12..headers_end]).into_owned();
        let payload = &message[headers_end..message.len() - 4];
        Some((headers, serde_json::from_slice(payload).expect("JSON")))
    }

    async fn event(body: &mut ReplyBody) -> Json {
        let (headers, payload) = next(body).await.expect("an event");
        assert!(headers.contains("SubscribeToShardEvent"), "{headers}");
        payload
    }

    async fn exception(body: &mut ReplyBody) -> String {
        let (headers, _) = next(body).await.expect("an exception");
        assert!(headers.contains("exception"), "{headers}");
        assert!(next(body).await.is_none(), "nothing follows it");
        headers
    }

    #[tokio::test(start_paused = true)]
    async fn records_are_pushed_and_the_next_subscription_goes_on_behind_them() {
        let harness = harness(QuotaPolicy::Off).await;
        harness.put("s", "k", "one").await;
        let mut body = subscribe(&harness, json!({"Type": "TRIM_HORIZON"})).await;
        let first = event(&mut body).await;
        assert_eq!(crate::harness::data_of(&first), ["one"]);
        let waiting = async { event(&mut body).await };
        let put = async { harness.put("s", "k", "two").await };
        let (second, number) = tokio::join!(waiting, put);
        assert_eq!(crate::harness::data_of(&second), ["two"]);
        assert_eq!(second["ContinuationSequenceNumber"], number);
        drop(body);
        harness.put("s", "k", "three").await;
        harness.advance_ms(5_000);
        let position = json!({"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": number});
        let mut body = subscribe(&harness, position).await;
        assert_eq!(crate::harness::data_of(&event(&mut body).await), ["three"]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_shard_sends_its_place_every_five_seconds_until_the_five_minutes_are_over() {
        let harness = harness(QuotaPolicy::Off).await;
        harness.put("s", "k", "before").await;
        let mut body = subscribe(&harness, json!({"Type": "LATEST"})).await;
        let heartbeat = event(&mut body).await;
        assert_eq!(heartbeat["Records"], json!([]));
        harness.put("s", "k", "after").await;
        harness.advance_ms(300_000);
        assert!(next(&mut body).await.is_none(), "five minutes are over");
        let position = json!({
            "Type": "AFTER_SEQUENCE_NUMBER",
            "SequenceNumber": heartbeat["ContinuationSequenceNumber"],
        });
        let mut body = subscribe(&harness, position).await;
        assert_eq!(crate::harness::data_of(&event(&mut body).await), ["after"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_shard_names_its_children_and_nothing_to_go_on_behind() {
        let harness = harness(QuotaPolicy::Off).await;
        let mut body = subscribe(&harness, json!({"Type": "TRIM_HORIZON"})).await;
        let split = async {
            let key = (1_u128 << 127).to_string();
            let input = json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": key});
            harness.ok("SplitShard", input).await;
        };
        let (last, ()) = tokio::join!(event(&mut body), split);
        assert_eq!(last["ChildShards"].as_array().map(Vec::len), Some(2), "{last}");
        assert!(last.get("ContinuationSequenceNumber").is_none(), "{last}");
        assert!(next(&mut body).await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn another_subscription_takes_over_and_not_before_five_seconds() {
        let harness = harness(QuotaPolicy::Off).await;
        let latest = json!({"Type": "LATEST"});
        let mut first = subscribe(&harness, latest.clone()).await;
        let (kind, _) = harness.error("SubscribeToShard", input(&latest)).await;
        assert_eq!(kind, "ResourceInUse");
        harness.advance_ms(5_000);
        let mut second = subscribe(&harness, latest).await;
        assert!(exception(&mut first).await.contains("ResourceInUseException"));
        let stream = "arn:aws:kinesis:eu-west-1:000000000000:stream/s";
        let gone = json!({"StreamARN": stream, "ConsumerName": "c"});
        harness.ok("DeregisterStreamConsumer", gone).await;
        assert!(exception(&mut second).await.contains("ResourceNotFoundException"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_consumer_has_two_mebibytes_a_second_to_itself() {
        let harness = harness(QuotaPolicy::Aws).await;
        let data = "x".repeat(750_000);
        for _ in 0..8 {
            harness.put("s", "k", &data).await;
            harness.advance_ms(1_000);
        }
        let mut body = subscribe(&harness, json!({"Type": "TRIM_HORIZON"})).await;
        // The shard's own readers use up theirs, which is another bucket.
        let iterator = harness.iterator("s", "TRIM_HORIZON").await;
        harness.ok("GetRecords", json!({"ShardIterator": iterator})).await;
        for number in 0..3 {
            let got = event(&mut body).await;
            assert_eq!(got["Records"].as_array().map(Vec::len), Some(1), "{number}");
        }
        let waits = tokio::time::timeout(std::time::Duration::from_millis(100), event(&mut body));
        assert!(waits.await.is_err(), "2.25 MB are more than 2 MiB");
        harness.advance_ms(100);
        assert_eq!(event(&mut body).await["Records"].as_array().map(Vec::len), Some(1));
    }

    #[tokio::test]
    async fn a_stop_ends_subscriptions() {
        let harness = harness(QuotaPolicy::Off).await;
        let mut body = subscribe(&harness, json!({"Type": "LATEST"})).await;
        let stop = async { harness.stop.send_replace(true) };
        let (end, _) = tokio::join!(next(&mut body), stop);
        assert!(end.is_none());
    }
}
