//! DescribeConfigs, AlterConfigs, IncrementalAlterConfigs and ListConfigResources. Codes and texts
//! are those of a real Kafka of one broker.

use weir_core::in_memory;
use weir_core::settings::holder::Holder;
use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::alter_configs::{self, AlterConfigsRequest};
use weir_kafka_protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult,
    DescribeConfigsResult,
};
use weir_kafka_protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig,
    IncrementalAlterConfigsRequest,
};
use weir_kafka_protocol::messages::list_config_resources::ListConfigResourcesRequest;

use crate::client::{Client, Server, versions_of};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const METRICS: i8 = 16;
const GROUP: i8 = 32;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// A change of one setting: name, operation, value.
type Change<'a> = (&'a str, i8, Option<&'a str>);

fn resource(resource_type: i8, name: &str, changes: &[Change]) -> AlterConfigsResource {
    let config = |(name, config_operation, value): &Change| AlterableConfig {
        name: (*name).to_owned(),
        config_operation: *config_operation,
        value: value.map(str::to_owned),
    };
    AlterConfigsResource {
        resource_type,
        resource_name: name.to_owned(),
        configs: changes.iter().map(config).collect(),
    }
}

async fn alter(
    client: &mut Client,
    resources: Vec<AlterConfigsResource>,
) -> Vec<AlterConfigsResourceResponse> {
    let request = IncrementalAlterConfigsRequest { resources, ..Default::default() };
    client.call(1, &request).await.responses
}

async fn altered(client: &mut Client, resource_type: i8, name: &str, changes: &[Change<'_>]) {
    let response = alter(client, vec![resource(resource_type, name, changes)]).await.remove(0);
    assert_eq!(response.error_code, 0, "{name}: {:?}", response.error_message);
    assert_eq!(response.error_message, None);
}

async fn describe(client: &mut Client, resource_type: i8, name: &str) -> DescribeConfigsResult {
    let asked = DescribeConfigsResource {
        resource_type,
        resource_name: name.to_owned(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![asked],
        include_synonyms: true,
        ..Default::default()
    };
    client.call(4, &request).await.results.remove(0)
}

async fn described(
    client: &mut Client,
    resource_type: i8,
    name: &str,
    setting: &str,
) -> DescribeConfigsResourceResult {
    let result = describe(client, resource_type, name).await;
    assert_eq!(result.error_code, 0, "{:?}", result.error_message);
    let found = result.configs.into_iter().find(|config| config.name == setting);
    found.expect("the setting is described")
}

/// Value, source, and the synonyms as name, value and source.
type Shown = (Option<String>, i8, Vec<(String, Option<String>, i8)>);

fn shown(config: DescribeConfigsResourceResult) -> Shown {
    let synonyms = config.synonyms.into_iter();
    let synonyms = synonyms.map(|synonym| (synonym.name, synonym.value, synonym.source));
    (config.value, config.config_source, synonyms.collect())
}

fn expected(value: &str, source: i8, synonyms: &[(&str, &str, i8)]) -> Shown {
    let synonym = |(name, value, source): &(&str, &str, i8)| {
        ((*name).to_owned(), Some((*value).to_owned()), *source)
    };
    (Some(value.to_owned()), source, synonyms.iter().map(synonym).collect())
}

#[tokio::test(start_paused = true)]
async fn every_version_describes_the_settings_asked_for() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[("retention.ms", "1000000")]).await;
    for version in versions_of::<DescribeConfigsRequest>() {
        let asked = DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: "orders".to_owned(),
            configuration_keys: Some(vec!["retention.ms".to_owned(), "no.such".to_owned()]),
        };
        let request = DescribeConfigsRequest { resources: vec![asked], ..Default::default() };
        let mut result = client.call(version, &request).await.results.remove(0);
        assert_eq!(result.configs.len(), 1, "{version}");
        let config = result.configs.remove(0);
        assert_eq!(config.value.as_deref(), Some("1000000"));
        assert_eq!((config.config_source, config.synonyms.len()), (1, 0));
        assert_eq!(config.config_type, if version >= 3 { 5 } else { 0 });
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn changes_of_a_topic_hold_at_once_and_are_told_with_their_source() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[("retention.ms", "1000000")]).await;
    let changes =
        [("retention.ms", SET, Some("2000000")), ("cleanup.policy", APPEND, Some("compact"))];
    altered(&mut client, TOPIC, "orders", &changes).await;
    let config = server.broker.stream("orders").expect("made").config();
    assert_eq!(config.retention_ms, Some(2_000_000));
    let policy = described(&mut client, TOPIC, "orders", "cleanup.policy").await;
    let synonyms = [("cleanup.policy", "delete,compact", 1), ("log.cleanup.policy", "delete", 5)];
    assert_eq!(shown(policy), expected("delete,compact", 1, &synonyms));
    let retention = described(&mut client, TOPIC, "orders", "retention.ms").await;
    let synonyms = [("retention.ms", "2000000", 1)];
    assert_eq!(shown(retention), expected("2000000", 1, &synonyms));

    let changes =
        [("retention.ms", DELETE, None), ("cleanup.policy", SUBTRACT, Some("compact,foo"))];
    altered(&mut client, TOPIC, "orders", &changes).await;
    let policy = described(&mut client, TOPIC, "orders", "cleanup.policy").await;
    assert_eq!(policy.value.as_deref(), Some("delete"));
    let retention = described(&mut client, TOPIC, "orders", "retention.ms").await;
    assert_eq!(shown(retention), expected("604800000", 5, &[]));
    client.close().await;
}

/// A change that is refused: of what, its name, the change, the code and the text.
type Refused<'a> = (i8, &'a str, &'a [Change<'a>], ErrorCode, &'a str);

const CONFIG: ErrorCode = ErrorCode::INVALID_CONFIG;
const INVALID: ErrorCode = ErrorCode::INVALID_REQUEST;

const fn set<'a>(name: &'a str, value: &'a str) -> [Change<'a>; 1] {
    [(name, SET, Some(value))]
}

/// Asks for each change by itself; nothing may be set after that.
async fn check_refusals(cases: &[Refused<'_>]) {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("a", 1, &[]).await;
    for (kind, name, changes, code, said) in cases {
        let response = alter(&mut client, vec![resource(*kind, name, changes)]).await.remove(0);
        let message = response.error_message.unwrap_or_default();
        assert_eq!((ErrorCode(response.error_code), message.as_str()), (*code, *said));
    }
    let config = server.broker.stream("a").expect("made").config();
    assert!(config.overrides.is_empty(), "{:?}", config.overrides);
    let held = server.broker.configurations().holders();
    assert_eq!(held, [Holder::AllBrokers], "what a cluster begins with");
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn changes_of_topics_are_refused_in_kafkas_words() {
    check_refusals(&[
        (TOPIC, "a", &set("no.such", "1"), CONFIG, "Unknown topic config name: no.such"),
        (
            TOPIC,
            "nope",
            &set("retention.ms", "1"),
            ErrorCode::UNKNOWN_TOPIC_OR_PARTITION,
            "The topic 'nope' does not exist.",
        ),
        (TOPIC, "", &set("retention.ms", "1"), INVALID, "Default topic resources are not allowed."),
        (
            TOPIC,
            "a",
            &[("retention.ms", APPEND, Some("1"))],
            CONFIG,
            "Can't APPEND to key retention.ms because its type is not LIST.",
        ),
        (
            TOPIC,
            "a",
            &[("retention.ms", SET, None)],
            INVALID,
            "Null value not supported for : retention.ms",
        ),
        (
            TOPIC,
            "a",
            &[("retention.ms", SET, Some("1")), ("retention.ms", SET, Some("2"))],
            INVALID,
            "Error due to duplicate config keys",
        ),
        (
            TOPIC,
            "a",
            &set("compression.gzip.level", "0"),
            CONFIG,
            "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 \
             and 9 or equal to -1",
        ),
        (
            TOPIC,
            "a",
            &set("min.cleanable.dirty.ratio", "2"),
            CONFIG,
            "Invalid value 2.0 for configuration min.cleanable.dirty.ratio: Value must be no more \
             than 1",
        ),
        (
            TOPIC,
            "a",
            &[
                ("min.compaction.lag.ms", SET, Some("10")),
                ("max.compaction.lag.ms", SET, Some("5")),
            ],
            CONFIG,
            "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn changes_of_the_broker_are_refused_in_kafkas_words() {
    check_refusals(&[
        (
            BROKER,
            "1",
            &set("num.partitions", "3"),
            INVALID,
            "Cannot update these configs dynamically: Set(num.partitions)",
        ),
        (BROKER, "1", &set("no.such", "1"), INVALID, "Unknown broker config name: no.such"),
        (
            BROKER,
            "9",
            &set("message.max.bytes", "1"),
            INVALID,
            "Unexpected broker id, expected 1, but received 9",
        ),
        (
            BROKER,
            "1",
            &set("message.max.bytes", "x"),
            INVALID,
            "Invalid value x for configuration message.max.bytes: Not a number of type INT",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn changes_of_groups_and_metrics_are_refused_in_kafkas_words() {
    check_refusals(&[
        (
            GROUP,
            "g",
            &set("consumer.session.timeout.ms", "1"),
            CONFIG,
            "consumer.session.timeout.ms must be greater than or equal to \
             group.consumer.min.session.timeout.ms",
        ),
        (GROUP, "g", &set("no.such", "1"), CONFIG, "Unknown group config name: no.such"),
        (
            METRICS,
            "cm",
            &set("interval.ms", "5"),
            INVALID,
            "Invalid value 5 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
        ),
        (METRICS, "cm", &set("match", "foo"), CONFIG, "Illegal client matching pattern: foo"),
        (METRICS, "cm", &set("match", "a=b"), CONFIG, "Illegal client matching pattern: a=b"),
        (METRICS, "", &set("match", "client_id=b"), INVALID, "Subscription name can't be empty"),
        (9, "x", &set("a", "b"), INVALID, "Unknown resource type 9"),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn good_and_bad_resources_of_one_request_do_not_touch_each_other() {
    let server = Server::start().await;
    let mut client = server.client();
    for topic in ["good", "bad", "twice"] {
        client.create_topic(topic, 1, &[]).await;
    }
    let retention = |value| [("retention.ms", SET, Some(value))];
    let asked = vec![
        resource(TOPIC, "good", &retention("5")),
        resource(TOPIC, "twice", &retention("5")),
        resource(TOPIC, "bad", &retention("x")),
        resource(TOPIC, "twice", &retention("6")),
    ];
    let responses = alter(&mut client, asked).await;
    let codes: Vec<_> = responses.iter().map(|response| ErrorCode(response.error_code)).collect();
    let (config, invalid) = (ErrorCode::INVALID_CONFIG, ErrorCode::INVALID_REQUEST);
    assert_eq!(codes, [ErrorCode::NONE, invalid, config, invalid]);
    let retention = |name| server.broker.stream(name).expect("made").config().retention_ms;
    assert_eq!(retention("good"), Some(5));
    assert_eq!((retention("bad"), retention("twice")), (Some(604_800_000), Some(604_800_000)));
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_does_not_exist_fails_all_resources_of_its_request() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    client.create_topic("bills", 1, &[]).await;
    for operation in [-1, 4] {
        let asked = vec![
            resource(TOPIC, "orders", &[("retention.ms", operation, Some("5"))]),
            resource(TOPIC, "bills", &[("retention.ms", SET, Some("5"))]),
        ];
        let responses = alter(&mut client, asked).await;
        let codes: Vec<_> = responses.iter().map(|one| ErrorCode(one.error_code)).collect();
        assert_eq!(codes, [ErrorCode::UNKNOWN_SERVER_ERROR; 2], "{operation}");
    }
    let bills = server.broker.stream("bills").expect("made");
    assert_eq!(bills.config().retention_ms, Some(604_800_000));
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn validating_changes_nothing_and_the_old_call_replaces_all() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[("retention.ms", "5")]).await;
    let request = IncrementalAlterConfigsRequest {
        resources: vec![resource(TOPIC, "orders", &[("retention.ms", SET, Some("6"))])],
        validate_only: true,
    };
    assert_eq!(client.call(1, &request).await.responses.remove(0).error_code, 0);
    let overrides = || server.broker.stream("orders").expect("made").config().overrides.clone();
    assert_eq!(overrides().get("retention.ms").map(String::as_str), Some("5"));
    for version in versions_of::<AlterConfigsRequest>() {
        let value = version.to_string() + "000";
        let config = alter_configs::AlterableConfig {
            name: "segment.ms".to_owned(),
            value: Some(format!("1{value}")),
        };
        let resource = alter_configs::AlterConfigsResource {
            resource_type: TOPIC,
            resource_name: "orders".to_owned(),
            configs: vec![config],
        };
        let request = AlterConfigsRequest { resources: vec![resource], validate_only: false };
        let response = client.call(version, &request).await.responses.remove(0);
        assert_eq!(response.error_code, 0, "{:?}", response.error_message);
        assert_eq!(overrides().into_iter().collect::<Vec<_>>().len(), 1);
        assert_eq!(overrides().get("segment.ms"), Some(&format!("1{value}")));
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn the_brokers_settings_reach_topics_without_their_own() {
    let server = Server::with(in_memory::options_with(&[("message.max.bytes", "1000")])).await;
    let mut client = server.client();
    client.create_topic("plain", 1, &[]).await;
    client.create_topic("own", 1, &[("max.message.bytes", "500")]).await;
    let limit = |name| server.broker.stream(name).expect("made").config().message_bytes_max;
    assert_eq!((limit("plain"), limit("own")), (1_000, 500));
    altered(&mut client, BROKER, "", &[("message.max.bytes", SET, Some("2000"))]).await;
    assert_eq!((limit("plain"), limit("own")), (2_000, 500));
    altered(&mut client, BROKER, "1", &[("message.max.bytes", SET, Some("3000"))]).await;
    assert_eq!((limit("plain"), limit("own")), (3_000, 500));
    let at_broker = described(&mut client, BROKER, "1", "message.max.bytes").await;
    let name = "message.max.bytes";
    let synonyms = [(name, "3000", 2), (name, "2000", 3), (name, "1000", 4), (name, "1048588", 5)];
    assert_eq!(shown(at_broker), expected("3000", 2, &synonyms));
    let at_topic = described(&mut client, TOPIC, "plain", "max.message.bytes").await;
    assert_eq!(shown(at_topic), expected("3000", 2, &synonyms));
    altered(&mut client, BROKER, "1", &[(name, DELETE, None)]).await;
    altered(&mut client, BROKER, "", &[(name, DELETE, None)]).await;
    assert_eq!(limit("plain"), 1_000);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn groups_metrics_and_all_brokers_are_described_as_kafka_does() {
    let server = Server::start().await;
    let mut client = server.client();
    let all = describe(&mut client, BROKER, "").await.configs;
    assert_eq!(all.len(), 1, "a cluster begins with one setting for all brokers");
    assert_eq!((all[0].name.as_str(), all[0].config_source), ("min.insync.replicas", 3));
    let timeout = "consumer.session.timeout.ms";
    let default = described(&mut client, GROUP, "g", timeout).await;
    assert_eq!(shown(default), expected("45000", 5, &[(timeout, "45000", 5)]));
    altered(&mut client, GROUP, "g", &[(timeout, SET, Some("50000"))]).await;
    let own = described(&mut client, GROUP, "g", timeout).await;
    assert_eq!(shown(own), expected("50000", 8, &[(timeout, "50000", 8)]));
    let default = described(&mut client, METRICS, "cm", "interval.ms").await;
    assert_eq!(shown(default), expected("300000", 5, &[]));
    altered(&mut client, METRICS, "cm", &[("interval.ms", SET, Some("5000"))]).await;
    let own = described(&mut client, METRICS, "cm", "interval.ms").await;
    assert_eq!(shown(own), expected("5000", 7, &[("interval.ms", "5000", 7)]));
    assert_eq!(described(&mut client, LOGGER, "1", "root").await.config_source, 6);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_described_is_said_in_kafkas_words() {
    let server = Server::start().await;
    let mut client = server.client();
    let invalid = ErrorCode::INVALID_REQUEST;
    for (kind, name, code, said) in [
        (TOPIC, "nope", ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, ""),
        (
            TOPIC,
            "",
            ErrorCode::INVALID_TOPIC_EXCEPTION,
            "Topic name is invalid: the empty string is not allowed",
        ),
        (BROKER, "7", invalid, "Unexpected broker id, expected 1 or empty string, but received 7"),
        (BROKER, "x", invalid, "Broker id must be an integer, but it is: x"),
        (LOGGER, "", invalid, "Broker id must not be empty"),
        (LOGGER, "2", invalid, "Unexpected broker id, expected 1 but received 2"),
        (METRICS, "", invalid, "Client metrics subscription name must not be empty"),
        (GROUP, "", invalid, "Group name must not be empty"),
    ] {
        let result = describe(&mut client, kind, name).await;
        assert_eq!(ErrorCode(result.error_code), code, "{name}");
        assert_eq!(result.error_message.as_deref(), Some(said));
    }
    let of_type = |resource_type| DescribeConfigsResource {
        resource_type,
        resource_name: "1".to_owned(),
        configuration_keys: None,
    };
    let request = DescribeConfigsRequest {
        resources: vec![of_type(BROKER), of_type(1)],
        ..Default::default()
    };
    let results = client.call(4, &request).await.results;
    assert!(results.iter().all(|result| ErrorCode(result.error_code) == invalid));
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn resources_are_listed_by_type() {
    let server = Server::start().await;
    let mut client = server.client();
    client.create_topic("orders", 1, &[]).await;
    let changes = [("consumer.session.timeout.ms", SET, Some("50000"))];
    altered(&mut client, GROUP, "g", &changes).await;
    altered(&mut client, METRICS, "cm", &[("interval.ms", SET, Some("5000"))]).await;
    for (version, types, expected) in [
        (0, &[][..], &["cm"][..]),
        (1, &[], &["g", "cm", "1", "1", "orders"]),
        (1, &[TOPIC, GROUP], &["g", "orders"]),
        (1, &[BROKER], &["1"]),
    ] {
        let request = ListConfigResourcesRequest { resource_types: types.to_vec() };
        let response = client.call(version, &request).await;
        let names = response.config_resources.into_iter().map(|found| found.resource_name);
        assert_eq!(names.collect::<Vec<_>>(), expected, "{version} {types:?}");
    }
    let request = ListConfigResourcesRequest { resource_types: vec![7] };
    let code = ErrorCode(client.call(1, &request).await.error_code);
    assert_eq!(code, ErrorCode::UNSUPPORTED_VERSION);
    client.close().await;
}
