//! What owners said of their streams, and the account of itself, while a broker ran on a simulated
//! disk: a later start finds it, however the run ended.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_core::account::{Commitment, CommitmentWish};
use weir_core::broker::{Broker, Foundations};
use weir_core::in_memory;
use weir_core::stream::attributes::StreamAttributes;
use weir_core::stream::config::Overrides;
use weir_core::stream::consumers::ConsumerId;
use weir_core::stream::distribution::Distribution;
use weir_core::stream::labels::Resource;
use weir_core::stream::mode::{ModeChange, StreamMode};
use weir_core::stream::monitoring::{MetricsChange, ShardMetric};
use weir_core::stream::policy::Policy;
use weir_core::stream::retention::RetentionChange;
use weir_core::stream::stream::{Intent, NewStream, Routing, Stream};
use weir_core::stream::tags::{TagChange, Tags};
use weir_model::ids::StreamName;
use weir_model::random::SeededRandom;
use weir_model::time::{Clock, ManualClock, Timestamp};
use weir_storage::local::{DataDir, Flushing, LocalLog, LocalOptions, Reserve};
use weir_storage::log::Log;
use weir_storage::meta::RedbStore;
use weir_storage::sim_disk::SimDisk;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);

async fn open(disk: &SimDisk) -> Arc<Broker> {
    let data = DataDir::open(Arc::new(disk.clone()), Reserve::None).expect("a data directory");
    let meta = Arc::new(RedbStore::open(&data).expect("a store"));
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::starting_at(NOW));
    let random = Arc::new(SeededRandom::new(1));
    let options = LocalOptions { flushing: Flushing::Stepped, ..LocalOptions::default() };
    let log = LocalLog::open(data, meta.clone(), Arc::clone(&clock), &*random, options).await;
    let log = Arc::new(Log::Local(log.expect("a log")));
    let foundations = Foundations { log, meta, clock, random };
    Broker::open(foundations, in_memory::default_options()).await.expect("a broker")
}

fn tags(key: &str) -> Tags {
    Tags::new([(key.to_owned(), "value".to_owned())]).expect("legal tags")
}

async fn make_stream(broker: &Broker) -> Arc<Stream> {
    let mut attributes = StreamAttributes::default();
    attributes.labels.tags = tags("from the start");
    let new = NewStream {
        name: StreamName::new("orders").expect("a legal name"),
        routing: Routing::ByHash,
        partitions: 1,
        overrides: BTreeMap::new(),
        attributes,
        intent: Intent::Make,
    };
    broker.create_streams(vec![new]).await.remove(0).expect("made")
}

/// Changes all that can be changed of a stream, and the account.
async fn change_everything(broker: &Broker, stream: &Stream) {
    let id = stream.id;
    broker.change_commitment(CommitmentWish::Enable).await.expect("kept");
    broker.change_retention(id, RetentionChange::Increase(48)).await.expect("longer");
    let mode = ModeChange { mode: StreamMode::OnDemand, warm_throughput_mib: Some(8) };
    broker.change_mode(id, mode).await.expect("the account is committed");
    broker.change_distribution(id, Distribution::Even).await.expect("the stream is on-demand");
    broker.change_record_size(id, 2048).await.expect("kept");
    broker.start_encryption(id, "alias/a".to_owned()).await.expect("the first today");
    let all = ShardMetric::ALL.into_iter().collect();
    broker.change_shard_metrics(id, MetricsChange::Enable(all)).await.expect("kept");
    broker.register_consumer(id, "c".to_owned(), tags("a")).await.expect("the first");
    let consumer = ConsumerId { name: "c".to_owned(), created_s: Some(NOW.as_seconds()) };
    for consumer in [None, Some(consumer)] {
        let resource = Resource { stream: id, consumer };
        let change = TagChange::Put(tags("later"));
        broker.change_tags(resource.clone(), change).await.expect("two tags");
        let policy = Policy::new(r#"{"Statement":{}}"#).expect("a policy");
        broker.change_policy(resource, Some(policy)).await.expect("kept");
    }
}

/// Everything that was changed.
fn found(broker: &Broker) -> (StreamAttributes, Overrides, Option<Commitment>) {
    let stream = broker.stream("orders").expect("it was made");
    let attributes = StreamAttributes::clone(&stream.attributes());
    (attributes, stream.config().overrides.clone(), broker.commitment())
}

#[tokio::test]
async fn what_was_said_of_a_stream_outlives_the_run_in_which_it_was_said() {
    for clean in [true, false] {
        let disk = SimDisk::new(7, 64 << 20);
        let before = {
            let broker = open(&disk).await;
            let stream = make_stream(&broker).await;
            change_everything(&broker, &stream).await;
            if clean {
                broker.close().await.expect("a clean stop");
            }
            disk.cut_power();
            found(&broker)
        };
        let (attributes, settings, commitment) = &before;
        assert_eq!(attributes.labels.tags.iter().count(), 2);
        assert_eq!(attributes.encryption.key(), Some("alias/a"));
        assert_eq!(attributes.consumers.count(), 1);
        assert_eq!(settings["retention.ms"], "172800000");
        assert!(commitment.is_some());
        assert_eq!(found(&*open(&disk).await), before, "clean stop: {clean}");
    }
}

#[tokio::test]
async fn a_change_that_cannot_be_kept_is_not_seen() {
    let disk = SimDisk::new(7, 64 << 20);
    let broker = open(&disk).await;
    let stream = make_stream(&broker).await;
    let before = found(&broker);
    // No write reaches the disk from here on.
    disk.cut_power();
    let resource = Resource { stream: stream.id, consumer: None };
    let changed = broker.change_tags(resource, TagChange::Put(tags("lost"))).await;
    assert!(changed.is_err(), "{changed:?}");
    assert!(broker.change_commitment(CommitmentWish::Enable).await.is_err());
    assert_eq!(found(&broker), before);
    assert_eq!(found(&*open(&disk).await), before);
}
