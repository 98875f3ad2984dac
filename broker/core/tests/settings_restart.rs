//! What was set and added while a broker ran, on a simulated disk: a later start finds it.

mod support;

use std::collections::BTreeMap;

use support::open;
use weir_core::broker::Broker;
use weir_core::quota::Client;
use weir_core::quota::client_quotas::OverQuota;
use weir_core::settings::alteration::{Alteration, Change, Changes};
use weir_core::settings::holder::{Holder, Resource};
use weir_core::stream::grow::Growth;
use weir_core::stream::stream::{Intent, NewStream, Routing};
use weir_model::hash_key::HashKeyRange;
use weir_model::ids::StreamName;
use weir_storage::sim_disk::SimDisk;

fn changes() -> [(Resource, &'static str, &'static str); 5] {
    [
        (Resource::Stream("orders".to_owned()), "retention.ms", "5000"),
        (Resource::Held(Holder::Broker), "message.max.bytes", "2000000"),
        (Resource::Held(Holder::AllBrokers), "log.segment.bytes", "2097152"),
        (Resource::Held(Holder::Group("g".to_owned())), "consumer.session.timeout.ms", "60000"),
        (Resource::Held(Holder::ClientMetrics("m".to_owned())), "interval.ms", "5000"),
    ]
}

async fn alter(broker: &Broker) {
    let alteration = |(resource, name, value): (Resource, &str, &str)| {
        let change = (name.to_owned(), Change::Set(value.to_owned()));
        Alteration { resource, changes: Changes::Some(BTreeMap::from([change])) }
    };
    let alterations: Vec<_> = changes().into_iter().map(alteration).collect();
    for altered in broker.configurations().alter(alterations, Intent::Make).await {
        altered.expect("a legal change");
    }
}

fn hash_ranges(broker: &Broker) -> Vec<HashKeyRange> {
    let stream = broker.stream("orders").expect("it was made");
    stream.partitions().iter().map(|partition| partition.hash_keys).collect()
}

/// How a run of the broker ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Stop,
    PowerCut,
}

#[tokio::test]
async fn settings_and_added_partitions_outlive_the_run_that_made_them() {
    for (end, epoch) in [(End::Stop, 0), (End::PowerCut, 1)] {
        let disk = SimDisk::new(7, 64 << 20);
        let ranges = {
            let broker = open(&disk).await;
            let new = NewStream {
                name: StreamName::new("orders").expect("a legal name"),
                routing: Routing::ByPartition,
                partitions: 1,
                overrides: BTreeMap::new(),
                attributes: Default::default(),
                intent: Intent::Make,
            };
            broker.create_streams(vec![new]).await.remove(0).expect("made");
            alter(&broker).await;
            let growth = Growth { name: "orders".to_owned(), partitions: 3 };
            let client = Client { user: "", id: "" };
            let quota = broker.client_quotas().begin_mutation(client, OverQuota::CarriedOut);
            let grown = broker.grow_streams_within(&quota, vec![growth], Intent::Make).await;
            assert_eq!(grown, [Ok(())]);
            if end == End::Stop {
                broker.close().await.expect("a clean stop");
            }
            // Ends the process, whatever it has left to do.
            disk.cut_power();
            hash_ranges(&broker)
        };
        let broker = open(&disk).await;
        assert_eq!(broker.log().epoch().number(), epoch, "raised by an unclean stop alone");
        assert_eq!((ranges.len(), hash_ranges(&broker)), (3, ranges), "{end:?}");
        for (resource, name, value) in changes() {
            let described = broker.configurations().describe(&resource).expect("it is there");
            let found = described.iter().find(|described| described.setting.name == name);
            let found = found.and_then(|described| described.value.as_deref());
            assert_eq!(found, Some(value), "{end:?}: {name}");
        }
        let config = broker.stream("orders").expect("it was made").config();
        let acting = (config.retention_ms, config.message_bytes_max, config.log.segment_bytes);
        assert_eq!(acting, (Some(5_000), 2_000_000, 2_097_152), "{end:?}");
    }
}
