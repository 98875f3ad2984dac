//! SubscribeToShard: a shard's records pushed to a registered consumer as they come.
//!
//! Inputs: `ConsumerARN`, `ShardId`, `StartingPosition` (`Type`, and `SequenceNumber` or
//! `Timestamp` as GetShardIterator takes them), `DryRun`.
//!
//! Behaviour: the answer is a stream of events ([`subscription`](crate::subscription)) that ends
//! after five minutes. Who asks again for the same consumer and shard within five seconds of a
//! success is refused with ResourceInUse; later the new subscription takes over, and the old one
//! ends with that error. With quotas, a consumer may ask once a second for each shard.

use std::sync::Arc;

use weir_core::partition::partition::Partition;
use weir_core::stream::consumers::Consumer;
use weir_core::stream::state::State;
use weir_core::stream::stream::Stream;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::consumer_reference::find_consumer;
use crate::errors::KinesisError;
use crate::shape::{self, Kind, Member, Shape};
use crate::shard::ShardId;
use crate::starting_position::{self, StartingPosition};
use crate::stream_numbers;
use crate::subscription::Subscription;
use crate::subscriptions::SubscriptionKey;

static POSITION: Shape = Shape {
    kind: Kind::Structure(&[
        Member::required("Type", &starting_position::KIND),
        Member::optional("SequenceNumber", &shape::SEQUENCE_NUMBER),
        Member::optional("Timestamp", &shape::TIMESTAMP),
    ]),
    rules: &[],
};

pub(super) static ACTION: Action = Action {
    name: "SubscribeToShard",
    members: &[
        Member::required("ConsumerARN", &shape::CONSUMER_ARN),
        Member::required("ShardId", &shape::SHARD_ID),
        Member::required("StartingPosition", &POSITION),
        Member::optional("StreamId", &shape::STREAM_ID),
        Member::optional("DryRun", &shape::BOOLEAN),
    ],
    rate: CallRate::Unlimited,
    run: Run::Events(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Subscription, KinesisError> {
    let (stream, consumer) = find_consumer(call)?;
    check_in_use(call, &stream, &consumer)?;
    let partition = find_shard(call, &stream)?;
    let asked = call.input.structure("StartingPosition");
    let position = StartingPosition {
        kind: asked.and_then(|asked| asked.text("Type")).unwrap_or_default(),
        number: asked.and_then(|asked| asked.text("SequenceNumber")),
        time: asked.and_then(|asked| asked.timestamp("Timestamp")),
    };
    let start = position.check(call, &stream, &partition)?;
    if call.input.is_true("DryRun") {
        return Err(KinesisError::dry_run_succeeded());
    }
    let from = start.find(call, &stream, &partition).await?;
    let key =
        SubscriptionKey { stream: stream.id, consumer: consumer.id(), shard: partition.id.index };
    let factor = call.broker().quota_factor(&stream);
    let held = call.service.subscriptions.begin(key, factor, call.broker().clock().moment());
    stream_numbers::count_subscription(&stream, held.as_ref().map(drop));
    let held = held.map_err(|refusal| {
        refusal.error(ShardId(partition.id.index), &consumer.name, &stream.name, call.account())
    })?;
    Ok(Subscription::new(call, stream, consumer.id(), partition.id.index, from, held))
}

fn check_in_use(call: &Call<'_>, stream: &Stream, consumer: &Consumer) -> Result<(), KinesisError> {
    let (name, account) = (stream.name.as_str(), call.account());
    if !stream.state(call.now()).is_in_use() {
        return Err(KinesisError::stream_not_found(name, account));
    }
    match consumer.state(call.now()) {
        State::Active | State::Updating => Ok(()),
        state => Err(KinesisError::resource_in_use(format!(
            "Consumer {} under stream {name} and account {account} is not in ACTIVE status, \
             instead in {}.",
            consumer.name,
            state.name()
        ))),
    }
}

fn find_shard(call: &Call<'_>, stream: &Arc<Stream>) -> Result<Arc<Partition>, KinesisError> {
    let text = call.input.text("ShardId").unwrap_or_default();
    let (name, account) = (stream.name.as_str(), call.account());
    let shard = ShardId::parse(text)
        .map_err(|_| KinesisError::could_not_find_shard(text, name, account))?;
    let found = stream.partition(shard.0);
    let horizon = stream.trim_horizon(call.now());
    found
        .filter(|partition| !partition.is_expired(horizon))
        .ok_or_else(|| KinesisError::shard_does_not_exist(shard, name, account))
}
