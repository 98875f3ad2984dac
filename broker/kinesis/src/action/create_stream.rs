//! CreateStream: makes a stream that routes by hash key.
//!
//! Inputs: `StreamName`, `ShardCount` (from 1; on-demand streams have 4, or one for each MiB/s of
//! their warm throughput, whatever is asked), `StreamModeDetails`, `MaxRecordSizeInKiB`,
//! `RecordDistributionStrategy`, `Tags`, `WarmThroughputMiBps`.
//!
//! Behaviour: answers when the stream is there. It is ACTIVE at once where AWS's is CREATING for
//! some seconds, unless `weir.stream.state.delay.ms` says otherwise; then at most five are CREATING
//! at a time. It starts with 24 hours of retention, trims by record, and dates records by their
//! arrival. The broker's limit of partitions and the account's of on-demand streams hold.

use bytes::Bytes;
use weir_core::stream::attributes::StreamAttributes;
use weir_core::stream::config::Overrides;
use weir_core::stream::mode::{MODE_SETTING, StreamMode};
use weir_core::stream::on_demand::SHARDS_MIN;
use weir_core::stream::record_size::record_size_setting;
use weir_core::stream::registry::AccountLimits;
use weir_core::stream::state::State;
use weir_core::stream::stream::{Intent, NewStream, Routing};
use weir_model::ids::StreamName;

use crate::action::add_tags_to_stream::read_tags;
use crate::action::describe_limits::AccountUse;
use crate::action::update_stream_record_distribution_strategy::distribution;
use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError, ResourceName};
use crate::shape::{self, Member};
use crate::stream_settings::mode_of_input;

/// Most streams that are CREATING at a time.
const CREATING_MAX: usize = 5;

pub(super) static ACTION: Action = Action {
    name: "CreateStream",
    members: &[
        Member::required("StreamName", &shape::STREAM_NAME),
        Member::optional("ShardCount", &shape::POSITIVE_INTEGER),
        Member::optional("StreamModeDetails", &shape::STREAM_MODE_DETAILS),
        Member::optional("Tags", &shape::TAGS),
        Member::optional("WarmThroughputMiBps", &shape::NATURAL_INTEGER),
        Member::optional("MaxRecordSizeInKiB", &shape::MAX_RECORD_SIZE),
        Member::optional("RecordDistributionStrategy", &shape::DISTRIBUTION_STRATEGY),
    ],
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let name = call.input.text("StreamName").unwrap_or_default();
    let mode = mode_of_input(&call.input);
    let shards = shard_count(call, mode)?;
    let attributes = attributes(call, mode)?;
    let new = NewStream {
        // The API's pattern lets a few names pass that are no stream names here.
        name: StreamName::new(name).map_err(|_| KinesisError::reserved_name(name))?,
        routing: Routing::ByHash,
        partitions: u32::try_from(shards).unwrap_or(u32::MAX),
        overrides: overrides(call, mode),
        attributes,
        intent: Intent::Make,
    };
    let limits = AccountLimits {
        on_demand_max: call.service.options().on_demand_stream_limit as usize,
        creating_max: CREATING_MAX,
    };
    let made = call.broker().create_for_account(limits, new).await;
    made.map_err(|error| errors::create_stream_error(&error, name, call.account(), call.region))?;
    Ok(Bytes::new())
}

fn shard_count(call: &Call<'_>, mode: StreamMode) -> Result<u64, KinesisError> {
    match (mode, call.input.integer("ShardCount")) {
        (StreamMode::OnDemand, _) => {
            let warm_mib = call.input.integer("WarmThroughputMiBps").map(i64::unsigned_abs);
            Ok(warm_mib.unwrap_or(0).max(u64::from(SHARDS_MIN)))
        }
        (StreamMode::Provisioned, Some(count)) => Ok(count.unsigned_abs()),
        // The model makes it optional for the sake of on-demand streams; the sentence is ours.
        (StreamMode::Provisioned, None) => Err(KinesisError::invalid_argument(
            "ShardCount is required for a stream in PROVISIONED mode.",
        )),
    }
}

/// Checks that the account may have one more stream, if it is on-demand. Shards are limited by the
/// broker, for all dialects together.
pub(super) fn check_on_demand_limit(call: &Call<'_>, mode: StreamMode) -> Result<(), KinesisError> {
    let limit = u64::from(call.service.options().on_demand_stream_limit);
    if mode == StreamMode::OnDemand && AccountUse::of(call).on_demand_streams >= limit {
        return Err(KinesisError::on_demand_limit_exceeded(limit, call.account(), call.region));
    }
    Ok(())
}

/// What is said of the stream from the start, as far as its mode allows.
fn attributes(call: &Call<'_>, mode: StreamMode) -> Result<StreamAttributes, KinesisError> {
    let (name, account) = (call.input.text("StreamName").unwrap_or_default(), call.account());
    let distribution = distribution(call);
    let refused = |refusal| errors::distribution_refusal(refusal, name, account);
    distribution.check(mode).map_err(refused)?;
    let warm_throughput_mib = call.input.integer("WarmThroughputMiBps").map(i64::unsigned_abs);
    if let Some(mib) = warm_throughput_mib {
        let refused = |refusal| errors::warm_throughput_refusal(refusal, name, account);
        call.broker().check_warm_throughput(mode, mib).map_err(refused)?;
    }
    let mut attributes = StreamAttributes::default();
    attributes.labels.tags = read_tags(call, ResourceName::Stream(name))?;
    attributes.distribution = distribution;
    attributes.warm_throughput_mib = warm_throughput_mib;
    attributes.passing = call.broker().passing(State::Creating);
    Ok(attributes)
}

fn overrides(call: &Call<'_>, mode: StreamMode) -> Overrides {
    let mut overrides = Overrides::new();
    overrides.insert(MODE_SETTING.to_owned(), mode.name().to_owned());
    if let Some(kib) = call.input.integer("MaxRecordSizeInKiB") {
        overrides.extend([record_size_setting(kib.unsigned_abs())]);
    }
    overrides
}

#[cfg(test)]
mod tests {
    use crate::harness::{ACCOUNT, Harness, text};
    use serde_json::{Value as Json, json};
    use weir_model::time::Clock;

    #[tokio::test]
    async fn a_new_stream_is_active_at_once_with_even_shards() {
        let harness = Harness::new().await;
        let answered = harness.call("CreateStream", json!({"StreamName": "s", "ShardCount": 2}));
        assert_eq!(answered.await, (200, Json::Null), "no body at all");
        let reply = harness.ok("DescribeStream", json!({"StreamName": "s"})).await;
        let stream = &reply["StreamDescription"];
        assert_eq!(stream["StreamStatus"], "ACTIVE");
        assert_eq!(stream["RetentionPeriodHours"], 24);
        assert_eq!(stream["StreamModeDetails"], json!({"StreamMode": "PROVISIONED"}));
        assert_eq!(
            stream["Shards"][1]["HashKeyRange"],
            json!({
                "StartingHashKey": "170141183460469231731687303715884105728",
                "EndingHashKey": "340282366920938463463374607431768211455",
            })
        );
    }

    async fn status(harness: &Harness) -> String {
        let reply = harness.ok("DescribeStreamSummary", json!({"StreamName": "s"})).await;
        text(&reply["StreamDescriptionSummary"]["StreamStatus"])
    }

    #[tokio::test]
    async fn states_last_as_long_as_the_setting_says() {
        let harness = Harness::with_state_delay_ms(500).await;
        harness.create_stream("s", 1).await;
        assert_eq!(status(&harness).await, "CREATING");
        let reply = harness.ok("DescribeStream", json!({"StreamName": "s"})).await;
        assert_eq!(reply["StreamDescription"]["Shards"], json!([]));
        let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": ""});
        assert_eq!(harness.error("PutRecord", put.clone()).await.0, "ResourceNotFound");
        let tags = json!({"StreamName": "s", "Tags": {"a": "b"}});
        let not_active = |state: &str| {
            let text =
                format!("Stream s under account {ACCOUNT} not ACTIVE, instead in state {state}");
            ("ResourceInUse".to_owned(), text)
        };
        assert_eq!(harness.error("AddTagsToStream", tags.clone()).await, not_active("CREATING"));

        harness.advance_ms(500);
        assert_eq!(status(&harness).await, "ACTIVE");
        harness.ok("AddTagsToStream", tags).await;
        let half = "170141183460469231731687303715884105728";
        let split = json!({"StreamName": "s", "ShardToSplit": "0", "NewStartingHashKey": half});
        harness.ok("SplitShard", split.clone()).await;
        assert_eq!(status(&harness).await, "UPDATING");
        harness.ok("PutRecord", put.clone()).await;
        assert_eq!(harness.error("SplitShard", split).await, not_active("UPDATING"));

        let delete = json!({"StreamName": "s"});
        harness.ok("DeleteStream", delete.clone()).await;
        assert_eq!(status(&harness).await, "DELETING");
        assert_eq!(harness.error("PutRecord", put).await.0, "ResourceNotFound");
        assert_eq!(harness.error("DeleteStream", delete).await, not_active("DELETING"));
        let create = json!({"StreamName": "s", "ShardCount": 1});
        assert_eq!(harness.error("CreateStream", create).await.0, "ResourceInUse");
    }

    #[tokio::test]
    async fn five_streams_and_five_consumers_are_made_at_a_time() {
        let harness = Harness::with_state_delay_ms(500).await;
        for name in ["s", "t", "u", "v", "w"] {
            harness.create_stream(name, 1).await;
        }
        let sixth = json!({"StreamName": "x", "ShardCount": 1});
        assert_eq!(harness.error("CreateStream", sixth.clone()).await.0, "LimitExceeded");
        harness.advance_ms(500);
        harness.ok("CreateStream", sixth).await;
        let arn = format!("arn:aws:kinesis:eu-west-1:{ACCOUNT}:stream/s");
        let register = |name: &str| json!({"StreamARN": arn, "ConsumerName": name});
        for name in ["1", "2", "3", "4", "5"] {
            harness.ok("RegisterStreamConsumer", register(name)).await;
        }
        assert_eq!(harness.error("RegisterStreamConsumer", register("6")).await.0, "LimitExceeded");
        let subscribe = json!({
            "ConsumerARN": format!("{arn}/consumer/1:{}", harness.clock.now().as_seconds()),
            "ShardId": "0", "StartingPosition": {"Type": "LATEST"},
        });
        let (kind, text) = harness.error("SubscribeToShard", subscribe).await;
        assert_eq!(kind, "ResourceInUse");
        assert!(text.contains("not in ACTIVE status, instead in CREATING"), "{text}");
        harness.advance_ms(500);
        harness.ok("DeregisterStreamConsumer", register("1")).await;
        let reply = harness.ok("DescribeStreamConsumer", register("1")).await;
        assert_eq!(reply["ConsumerDescription"]["ConsumerStatus"], "DELETING");
    }

    #[tokio::test]
    async fn on_demand_streams_begin_with_four_shards() {
        let harness = Harness::new().await;
        let mode = json!({"StreamMode": "ON_DEMAND"});
        let input = json!({"StreamName": "s", "StreamModeDetails": mode});
        harness.ok("CreateStream", input).await;
        let reply = harness.ok("DescribeStreamSummary", json!({"StreamName": "s"})).await;
        let stream = &reply["StreamDescriptionSummary"];
        assert_eq!(stream["OpenShardCount"], 4);
        assert_eq!(stream["StreamModeDetails"], mode);
    }

    #[tokio::test]
    async fn a_larger_record_size_is_kept() {
        let harness = Harness::new().await;
        let input = json!({"StreamName": "s", "ShardCount": 1, "MaxRecordSizeInKiB": 2048});
        harness.ok("CreateStream", input).await;
        let reply = harness.ok("DescribeStreamSummary", json!({"StreamName": "s"})).await;
        assert_eq!(reply["StreamDescriptionSummary"]["MaxRecordSizeInKiB"], 2048);
    }

    #[tokio::test]
    async fn what_cannot_be_made_is_refused_with_a_reason() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        harness.create_stream("a.b", 1).await;
        let create = |name: &str, shards: u32| json!({"StreamName": name, "ShardCount": shards});
        for (input, kind, message) in [
            (
                create("s", 1),
                "ResourceInUse",
                format!("Stream s under account {ACCOUNT} already exists."),
            ),
            (
                create("a_b", 1),
                "ResourceInUse",
                format!(
                    "Stream a_b under account {ACCOUNT} collides with stream a.b: \
                     names must differ in more than '.' and '_'."
                ),
            ),
            (create("..", 1), "InvalidArgument", "Stream name .. is reserved.".to_owned()),
            (
                create("__consumer_offsets", 1),
                "InvalidArgument",
                "Stream name __consumer_offsets is reserved.".to_owned(),
            ),
            (
                json!({"StreamName": "x"}),
                "InvalidArgument",
                "ShardCount is required for a stream in PROVISIONED mode.".to_owned(),
            ),
            (
                create("x", 0),
                "Validation",
                "1 validation error detected: Value '0' at 'shardCount' failed to satisfy \
                 constraint: Member must have value greater than or equal to 1"
                    .to_owned(),
            ),
            (
                create("x", 20_000),
                "LimitExceeded",
                format!(
                    "This request would exceed the shard limit for the account {ACCOUNT} in \
                     eu-west-1. Current shard count for the account: 2. Limit: 20000. Number of \
                     additional shards that would have resulted from this request: 20000. Refer \
                     to the AWS Service Limits page \
                     (http://docs.aws.amazon.com/general/latest/gr/aws_service_limits.html) \
                     for current limits and how to request higher limits."
                ),
            ),
        ] {
            let expected = (kind.to_owned(), message);
            assert_eq!(harness.error("CreateStream", input.clone()).await, expected, "{input}");
        }
    }
}
