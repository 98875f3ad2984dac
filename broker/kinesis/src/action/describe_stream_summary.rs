//! DescribeStreamSummary: a stream without its shards.
//!
//! Inputs: the stream.
//!
//! Gaps: there are no channels or queues to count.

use bytes::Bytes;
use weir_core::stream::distribution::Distribution;
use weir_core::stream::mode::StreamMode;
use weir_core::stream::record_size::record_kib_max;

use crate::action::describe_stream::write_stream_members;
use crate::action::update_stream_warm_throughput::write_warm_throughput;
use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::shape::{self, Member};
use crate::stream_reference::find_stream;
use crate::stream_settings::distribution_name;

pub(super) static ACTION: Action = Action {
    name: "DescribeStreamSummary",
    members: &[
        Member::optional("StreamName", &shape::STREAM_NAME),
        Member::optional("StreamARN", &shape::STREAM_ARN),
        Member::optional("StreamId", &shape::STREAM_ID),
    ],
    rate: CallRate::Account(20.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    let partitions = stream.partitions();
    let mut open_shards = 0;
    for partition in partitions.iter() {
        open_shards += u64::from(partition.is_open());
    }
    let mut writer = call.writer();
    writer.begin_map();
    writer.name("StreamDescriptionSummary");
    writer.begin_map();
    write_stream_members(&mut writer, call, &stream);
    writer.integer_member("OpenShardCount", open_shards);
    let consumers = stream.attributes().consumers.count();
    writer.integer_member("ConsumerCount", consumers as u64);
    write_warm_throughput(&mut writer, &stream);
    let config = stream.config();
    writer.integer_member("MaxRecordSizeInKiB", record_kib_max(&config) as u64);
    if config.mode == StreamMode::OnDemand {
        let distribution = distribution_name(Distribution::of(&stream));
        writer.text_member("RecordDistributionStrategy", distribution);
    }
    writer.end_map();
    writer.end_map();
    Ok(writer.into_bytes())
}

#[cfg(test)]
mod tests {
    use crate::harness::Harness;
    use serde_json::json;

    #[tokio::test]
    async fn a_summary_counts_what_it_does_not_list() {
        let harness = Harness::new().await;
        harness.create_stream("s", 3).await;
        assert_eq!(
            harness.ok("DescribeStreamSummary", json!({"StreamName": "s"})).await,
            json!({"StreamDescriptionSummary": {
                "StreamName": "s",
                "StreamARN": "arn:aws:kinesis:eu-west-1:000000000000:stream/s",
                "StreamStatus": "ACTIVE",
                "StreamModeDetails": {"StreamMode": "PROVISIONED"},
                "RetentionPeriodHours": 24,
                "StreamCreationTimestamp": 1_700_000_000.0,
                "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
                "EncryptionType": "NONE",
                "OpenShardCount": 3,
                "ConsumerCount": 0,
                "MaxRecordSizeInKiB": 1024,
            }})
        );
    }
}
