//! What a scrape says of a broker in memory.

use std::collections::BTreeSet;

use weir_core::group::coordinator::OffsetToCommit;
use weir_core::group::identity::{Claim, GroupId};
use weir_core::in_memory;
use weir_core::metrics::stream::StreamNumber;
use weir_core::routing::route::RoutedRecord;
use weir_core::stream::stream::{Intent, NewStream, Routing};
use weir_model::random::SeededRandom;
use weir_model::time::{ManualClock, Timestamp};

use super::*;

/// A broker with the topic `orders` of two partitions, three records in it, and the group `g` that
/// has read one of them.
async fn broker() -> Arc<Broker> {
    let clock = Arc::new(ManualClock::starting_at(Timestamp::from_millis(1)));
    let random = Arc::new(SeededRandom::new(1));
    let options = in_memory::default_options();
    let broker = in_memory::open(clock, random, options).await.expect("memory opens");
    let new = NewStream {
        name: StreamName::new("orders").expect("legal"),
        routing: Routing::ByPartition,
        partitions: 2,
        overrides: Default::default(),
        attributes: Default::default(),
        intent: Intent::Make,
    };
    for made in broker.create_streams(vec![new]).await {
        made.expect("a free name");
    }
    let stream = broker.stream("orders").expect("it was made");
    // MD5("b") begins with 0x92: the second partition.
    let record = RoutedRecord {
        key: Some("b".into()),
        value: Some("12345".into()),
        ..RoutedRecord::default()
    };
    let written = broker.append_routed(&stream, &[record.clone(), record.clone(), record]).await;
    assert!(written.iter().all(Result::is_ok), "{written:?}");
    let offset = OffsetToCommit {
        stream,
        partition: PartitionIndex::try_from(1_usize).expect("small"),
        offset: Offset::new(1),
        leader_epoch: None,
        metadata: "".into(),
        expires_at: None,
    };
    let group = GroupId::new("g").expect("a group id");
    let kept = broker.groups().commit_offsets(&group, Claim::nobody(), vec![offset]).await;
    assert!(kept.expect("kept").iter().all(Result::is_ok));
    broker
}

#[tokio::test]
async fn counters_are_shown_with_their_labels() {
    let broker = broker().await;
    let produce = broker.metrics().request(Dialect::Kafka, "Produce");
    produce.requests.add(3);
    produce.bytes_in.add(1_000);
    produce.pauses.add(2);
    produce.pause_micros.add(1_500_000);
    produce.latency.observe_total(Duration::from_millis(2));
    broker.metrics().count_throttle();
    let _connection = broker.metrics().connection(Dialect::Kinesis);
    let text = render(&broker, Format::OpenMetrics).await;
    for line in [
        "weir_requests_total{dialect=\"kafka\",api=\"Produce\"} 3\n",
        "weir_received_bytes_total{dialect=\"kafka\",api=\"Produce\"} 1000\n",
        "weir_request_errors_total{dialect=\"kafka\",api=\"Produce\"} 0\n",
        "weir_client_pauses_total{dialect=\"kafka\",api=\"Produce\"} 2\n",
        "weir_client_pause_seconds_total{dialect=\"kafka\",api=\"Produce\"} 1.5\n",
        "weir_request_seconds_bucket{dialect=\"kafka\",api=\"Produce\",le=\"0.0025\"} 1\n",
        "weir_connections{dialect=\"kinesis\"} 1\n",
        "weir_throttles_total 1\n",
        "weir_unflushed_bytes 0\n",
        "weir_stream_written_records_total{stream=\"orders\"} 3\n",
        "weir_stream_written_bytes_total{stream=\"orders\"} 18\n",
        "weir_partitions{state=\"open\"} 2\n",
        "weir_group_lag{group=\"g\",stream=\"orders\"} 2\n",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
    assert!(!text.contains("__consumer_offsets"), "internal streams are not shown");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn what_dashboards_for_kafka_query_is_there_by_its_names() {
    let broker = broker().await;
    let fetch = broker.metrics().request(Dialect::Kafka, "Fetch");
    fetch.latency.observe_total(Duration::from_millis(3));
    let text = render(&broker, Format::OpenMetrics).await;
    for line in [
        "kafka_brokers 1\n",
        "kafka_topic_partitions{topic=\"orders\"} 2\n",
        "kafka_topic_partition_current_offset{topic=\"orders\",partition=\"1\"} 3\n",
        "kafka_topic_partition_oldest_offset{topic=\"orders\",partition=\"1\"} 0\n",
        "kafka_topic_partition_in_sync_replica{topic=\"orders\",partition=\"0\"} 1\n",
        "kafka_topic_partition_under_replicated_partition{topic=\"orders\",partition=\"0\"} 0\n",
        "kafka_consumergroup_lag{consumergroup=\"g\",topic=\"orders\",partition=\"1\"} 2\n",
        "kafka_consumergroup_current_offset_sum{consumergroup=\"g\",topic=\"orders\"} 1\n",
        "kafka_consumergroup_lag_sum{consumergroup=\"g\",topic=\"orders\"} 2\n",
        "kafka_consumergroup_members{consumergroup=\"g\"} 0\n",
        "kafka_server_brokertopicmetrics_messagesin_total 3\n",
        "kafka_server_brokertopicmetrics_messagesin_total{topic=\"orders\"} 3\n",
        "kafka_server_brokertopicmetrics_bytesin_total{topic=\"orders\"} 18\n",
        "kafka_server_replicamanager_partitioncount 2\n",
        "kafka_controller_kafkacontroller_activecontrollercount 1\n",
        "kafka_controller_kafkacontroller_offlinepartitionscount 0\n",
        "kafka_network_requestmetrics_totaltimems_count{request=\"FetchConsumer\"} 1\n",
        "kafka_network_requestmetrics_totaltimems_sum{request=\"Fetch\"} 3\n",
        "redpanda_kafka_consumer_group_consumers{redpanda_group=\"g\"} 0\n",
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
}

#[tokio::test]
async fn a_stream_of_kinesis_has_its_last_minute() {
    let broker = broker().await;
    let text = render(&broker, Format::OpenMetrics).await;
    assert!(!text.contains("dimension_StreamName"), "nobody used a stream by Kinesis");
    let stream = broker.stream("orders").expect("it was made");
    stream.metrics().gather_minutes();
    stream.metrics().add(StreamNumber::PutRecordMicros, 3_000);
    stream.metrics().add(StreamNumber::PutRecordCalls, 2);
    stream.metrics().add(StreamNumber::IncomingRecords, 2);
    let text = render(&broker, Format::OpenMetrics).await;
    assert!(!text.contains("dimension_StreamName"), "no minute is over");
    stream.metrics().end_minute();
    let text = render(&broker, Format::OpenMetrics).await;
    let labels = "{account_id=\"000000000000\",dimension_StreamName=\"orders\"}";
    for line in [
        format!("aws_kinesis_incoming_records_sum{labels} 2\n"),
        format!("aws_kinesis_put_record_latency_average{labels} 1.5\n"),
        format!("aws_kinesis_get_records_success_sum{labels} 0\n"),
    ] {
        assert!(text.contains(&line), "{line} is missing in {text}");
    }
    let absent = "aws_kinesis_get_records_iterator_age_milliseconds_maximum{";
    assert!(!text.contains(absent), "nobody has read");
}

/// The rules of both formats: a family's lines stand together, after one line each that says what
/// it is, and no sample is there twice.
#[tokio::test]
async fn families_are_declared_once_and_their_samples_follow() {
    let broker = broker().await;
    broker.metrics().request(Dialect::Kafka, "Fetch").latency.observe_total(Duration::ZERO);
    for format in [Format::OpenMetrics, Format::Plain] {
        let text = render(&broker, format).await;
        let (mut families, mut samples) = (BTreeSet::new(), BTreeSet::new());
        let mut family = "";
        for line in text.lines().filter(|line| *line != "# EOF") {
            if let Some(declared) = line.strip_prefix("# TYPE ") {
                family = declared.split(' ').next().expect("a name");
                assert!(families.insert(family), "{family} is declared twice");
            } else if !line.starts_with("# HELP ") {
                let (sample, value) = line.rsplit_once(' ').expect("a value");
                assert!(sample.starts_with(family), "{line} stands below {family}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
                assert!(samples.insert(sample), "{sample} is there twice");
            }
        }
        assert!(families.len() > 80, "only {}", families.len());
    }
}
