//! What owners said of their streams, and the account of itself, while a broker ran on a simulated
//! disk: a later start finds it, however the run ended, and a change that a crash interrupts is
//! made or not made, never a part of it.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use support::{NOW, open};
use weir_core::account::{Commitment, CommitmentWish};
use weir_core::broker::Broker;
use weir_core::stream::attributes::StreamAttributes;
use weir_core::stream::config::Overrides;
use weir_core::stream::consumers::ConsumerId;
use weir_core::stream::distribution::Distribution;
use weir_core::stream::labels::Resource;
use weir_core::stream::mode::{ModeChange, StreamMode};
use weir_core::stream::monitoring::{MetricsChange, ShardMetric};
use weir_core::stream::policy::Policy;
use weir_core::stream::registry::Deletion;
use weir_core::stream::retention::RetentionChange;
use weir_core::stream::stream::{Intent, NewStream, Routing, Stream};
use weir_core::stream::tags::{TagChange, Tags};
use weir_model::ids::{StreamId, StreamName};
use weir_storage::sim_disk::{Faults, SimDisk};

fn tags(key: &str) -> Tags {
    Tags::new([(key.to_owned(), "value".to_owned())]).expect("legal tags")
}

fn new_stream() -> NewStream {
    let mut attributes = StreamAttributes::default();
    attributes.labels.tags = tags("from the start");
    NewStream {
        name: StreamName::new("orders").expect("a legal name"),
        routing: Routing::ByHash,
        partitions: 1,
        overrides: BTreeMap::new(),
        attributes,
        intent: Intent::Make,
    }
}

async fn make_stream(broker: &Broker) -> Arc<Stream> {
    broker.create_streams(vec![new_stream()]).await.remove(0).expect("made")
}

/// How many changes [`change`] knows.
const CHANGES: usize = 14;

/// Makes one of the changes that can be made of a stream and the account, each of which builds upon
/// those before it. Says whether it was answered as made.
async fn change(broker: &Broker, id: StreamId, number: usize) -> bool {
    let consumer = || ConsumerId { name: "c".to_owned(), created_s: Some(NOW.as_seconds()) };
    let of_stream = || Resource { stream: id, consumer: None };
    let of_consumer = || Resource { stream: id, consumer: Some(consumer()) };
    let policy = || Policy::new(r#"{"Statement":{}}"#).expect("a policy");
    match number {
        0 => broker.change_commitment(CommitmentWish::Enable).await.is_ok(),
        1 => broker.change_retention(id, RetentionChange::Increase(48)).await.is_ok(),
        2 => {
            let mode = ModeChange { mode: StreamMode::OnDemand, warm_throughput_mib: Some(8) };
            broker.change_mode(id, mode).await.is_ok()
        }
        3 => broker.change_distribution(id, Distribution::Even).await.is_ok(),
        4 => broker.change_record_size(id, 2048).await.is_ok(),
        5 => broker.change_warm_throughput(id, 16).await.is_ok(),
        6 => broker.start_encryption(id, "alias/a".to_owned()).await.is_ok(),
        7 => {
            let all = ShardMetric::ALL.into_iter().collect();
            broker.change_shard_metrics(id, MetricsChange::Enable(all)).await.is_ok()
        }
        8 => broker.register_consumer(id, "c".to_owned(), tags("a")).await.is_ok(),
        9 => broker.change_tags(of_stream(), TagChange::Put(tags("later"))).await.is_ok(),
        10 => broker.change_tags(of_consumer(), TagChange::Put(tags("later"))).await.is_ok(),
        11 => broker.change_policy(of_stream(), Some(policy())).await.is_ok(),
        12 => broker.change_policy(of_consumer(), Some(policy())).await.is_ok(),
        13 => {
            let name = ConsumerId { name: "d".to_owned(), created_s: None };
            let tags = Tags::default();
            broker.register_consumer(id, name.name.clone(), tags).await.is_ok()
                && broker.deregister_consumer(id, name).await.is_ok()
        }
        _ => panic!("there are {CHANGES} changes"),
    }
}

/// Makes the first changes, all of which must succeed.
async fn make_changes(broker: &Broker, stream: &Stream, count: usize) {
    for number in 0..count {
        assert!(change(broker, stream.id, number).await, "change {number}");
    }
}

/// Everything that was changed.
type State = (StreamAttributes, Overrides, Option<Commitment>);

fn found(broker: &Broker) -> State {
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
            make_changes(&broker, &stream, CHANGES).await;
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

/// Everything that was changed, after the first changes on a disk that never fails.
async fn state_after(seed: u64, count: usize) -> State {
    let broker = open(&SimDisk::new(seed, 64 << 20)).await;
    let stream = make_stream(&broker).await;
    make_changes(&broker, &stream, count).await;
    found(&broker)
}

/// How many crashes to make; `WEIR_CONTROL_CRASHES` names more.
fn crashes_wanted() -> usize {
    let named = std::env::var("WEIR_CONTROL_CRASHES").ok();
    named.map_or(100, |count| count.parse().expect("a number"))
}

#[tokio::test]
async fn a_crash_anywhere_in_a_change_leaves_the_stream_before_or_after_it() {
    let (mut crashes, mut kept) = (0, 0);
    let mut seed = 0;
    while crashes < crashes_wanted() || seed < CHANGES as u64 {
        // The last one takes back what it makes: nothing tells before from after.
        let number = (seed % (CHANGES as u64 - 1)) as usize;
        let before = state_after(seed, number).await;
        let after = state_after(seed, number + 1).await;
        assert_ne!(before, after, "change {number} changes nothing");
        for crash_at in 1.. {
            let disk = SimDisk::new(seed, 64 << 20);
            let broker = open(&disk).await;
            let stream = make_stream(&broker).await;
            make_changes(&broker, &stream, number).await;
            disk.set_faults(Faults { crash_at: Some(crash_at), ..Faults::default() });
            let answered = change(&broker, stream.id, number).await;
            let crashed = disk.is_down();
            disk.set_faults(Faults::default());
            disk.cut_power();
            let now = found(&*open(&disk).await);
            let context = format!("seed {seed}, change {number}, crash at {crash_at}, {answered}");
            assert!(now == after || (now == before && !answered), "{context}: {now:?}");
            if !crashed {
                assert!(answered, "{context}: a change failed on a disk that did not");
                break;
            }
            crashes += 1;
            kept += usize::from(now == after);
        }
        seed += 1;
    }
    println!("{crashes} crashes in changes of attributes, settings and the account, {kept} kept");
    assert!(crashes > 3 * CHANGES, "only {crashes} crashes: is the fault set?");
}

/// Whether there is the stream, and with what.
fn made(broker: &Broker) -> Option<StreamAttributes> {
    broker.stream("orders").map(|stream| StreamAttributes::clone(&stream.attributes()))
}

#[tokio::test]
async fn a_crash_anywhere_in_a_creation_or_deletion_leaves_the_stream_there_or_not() {
    let (mut crashes, mut there) = (0, 0);
    for seed in 0..crashes_wanted().div_ceil(10) as u64 {
        let deletes = seed % 2 == 1;
        for crash_at in 1.. {
            let disk = SimDisk::new(seed, 64 << 20);
            let broker = open(&disk).await;
            let stream = match deletes {
                true => Some(make_stream(&broker).await),
                false => None,
            };
            disk.set_faults(Faults { crash_at: Some(crash_at), ..Faults::default() });
            let answered = match &stream {
                Some(stream) => broker.delete_stream(stream.id, Deletion::Unconsumed).await.is_ok(),
                None => broker.create_streams(vec![new_stream()]).await.remove(0).is_ok(),
            };
            let crashed = disk.is_down();
            disk.set_faults(Faults::default());
            disk.cut_power();
            let now = made(&*open(&disk).await);
            let context = format!("seed {seed}, crash at {crash_at}, answered: {answered}");
            if answered {
                assert_eq!(now.is_some(), !deletes, "{context}");
            }
            assert!(now.as_ref().is_none_or(|now| *now == new_stream().attributes), "{context}");
            if !crashed {
                assert!(answered, "{context}: a change failed on a disk that did not");
                break;
            }
            crashes += 1;
            there += usize::from(now.is_some());
        }
    }
    println!("{crashes} crashes in creations and deletions, the stream there after {there}");
    assert!(there > 0 && there < crashes, "{there} of {crashes}");
}
