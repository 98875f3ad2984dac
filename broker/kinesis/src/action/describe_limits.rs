//! DescribeLimits: what the account uses and may use.
//!
//! Inputs: none.
//!
//! Behaviour: open shards are counted over all streams that Kinesis shows, those made by Kafka too.
//!
//! Gaps: there are no channels, so their counts are left out.

use bytes::Bytes;
use weir_core::stream::mode::StreamMode;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::KinesisError;
use crate::stream_reference::is_visible;

pub(super) static ACTION: Action = Action {
    name: "DescribeLimits",
    members: &[],
    rate: CallRate::Account(1.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let account = AccountUse::of(call);
    let limits = call.service.options();
    let mut writer = call.writer();
    writer.begin_map();
    writer.integer_member("ShardLimit", u64::from(call.broker().options().partitions_max));
    writer.integer_member("OpenShardCount", account.open_shards);
    writer.integer_member("OnDemandStreamCount", account.on_demand_streams);
    let on_demand_limit = u64::from(limits.on_demand_stream_limit);
    writer.integer_member("OnDemandStreamCountLimit", on_demand_limit);
    writer.end_map();
    Ok(writer.into_bytes())
}

/// What counts against the account's limits.
pub(super) struct AccountUse {
    pub(super) open_shards: u64,
    pub(super) on_demand_streams: u64,
}

impl AccountUse {
    /// Counts it.
    pub(super) fn of(call: &Call<'_>) -> AccountUse {
        let mut account = AccountUse { open_shards: 0, on_demand_streams: 0 };
        for stream in call.broker().streams() {
            if !is_visible(&stream.name) {
                continue;
            }
            for partition in stream.partitions().iter() {
                account.open_shards += u64::from(partition.is_open());
            }
            let on_demand = stream.config().mode == StreamMode::OnDemand;
            account.on_demand_streams += u64::from(on_demand);
        }
        account
    }
}

#[cfg(test)]
mod tests {
    use crate::harness::Harness;
    use serde_json::json;

    #[tokio::test]
    async fn all_visible_shards_count() {
        let harness = Harness::new().await;
        harness.create_stream("s", 3).await;
        harness.create_topic("topic", 2).await;
        harness.make_internal_stream().await;
        let mode = json!({"StreamMode": "ON_DEMAND"});
        let input = json!({"StreamName": "d", "StreamModeDetails": mode});
        harness.ok("CreateStream", input).await;
        assert_eq!(
            harness.ok("DescribeLimits", json!({})).await,
            json!({
                "ShardLimit": 20_000,
                "OpenShardCount": 9,
                "OnDemandStreamCount": 1,
                "OnDemandStreamCountLimit": 50,
            })
        );
    }
}
