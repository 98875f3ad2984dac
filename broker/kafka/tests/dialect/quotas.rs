//! Client quotas: described and altered.

use weir_kafka_protocol::ErrorCode;
use weir_kafka_protocol::messages::alter_client_quotas::{
    AlterClientQuotasRequest, OpData, RequestEntityData, RequestEntryData, ResponseEntryData,
};
use weir_kafka_protocol::messages::describe_client_quotas::{
    ComponentData, DescribeClientQuotasRequest, EntityData,
};
use weir_kafka_protocol::messages::describe_user_scram_credentials::{
    DescribeUserScramCredentialsRequest, UserName,
};

use crate::client::{Client, Server, versions_of};

type Parts<'a> = &'a [(&'a str, Option<&'a str>)];

fn entry(parts: Parts<'_>, ops: &[(&str, Option<f64>)]) -> RequestEntryData {
    let part = |(entity_type, name): &(&str, Option<&str>)| RequestEntityData {
        entity_type: (*entity_type).to_owned(),
        entity_name: name.map(str::to_owned),
    };
    let op = |(key, value): &(&str, Option<f64>)| OpData {
        key: (*key).to_owned(),
        value: value.unwrap_or(0.0),
        remove: value.is_none(),
    };
    RequestEntryData { entity: parts.iter().map(part).collect(), ops: ops.iter().map(op).collect() }
}

/// Alters and returns the codes and texts in the order of the entities.
async fn alter(
    client: &mut Client,
    version: i16,
    entries: Vec<RequestEntryData>,
) -> Vec<(ErrorCode, Option<String>)> {
    let request = AlterClientQuotasRequest { entries, validate_only: false };
    let response = client.call(version, &request).await;
    let result = |entry: ResponseEntryData| (ErrorCode(entry.error_code), entry.error_message);
    response.entries.into_iter().map(result).collect()
}

/// All quotas as `type=name,…: key=value,…`.
async fn described(client: &mut Client, version: i16) -> Vec<String> {
    let response = client.call(version, &DescribeClientQuotasRequest::default()).await;
    assert_eq!((response.error_code, response.error_message.as_deref()), (0, Some("")));
    let mut lines = Vec::new();
    for entry in response.entries.expect("a list") {
        let part = |part: &EntityData| {
            format!("{}={}", part.entity_type, part.entity_name.as_deref().unwrap_or("*"))
        };
        let parts: Vec<_> = entry.entity.iter().map(part).collect();
        let values: Vec<_> =
            entry.values.iter().map(|value| format!("{}={}", value.key, value.value)).collect();
        lines.push(format!("{}: {}", parts.join(","), values.join(",")));
    }
    lines
}

#[tokio::test(start_paused = true)]
async fn every_version_sets_describes_and_removes() {
    let server = Server::start().await;
    let mut client = server.client();
    for version in versions_of::<AlterClientQuotasRequest>() {
        let set = vec![
            entry(&[("user", Some("u"))], &[("producer_byte_rate", Some(100.0))]),
            entry(
                &[("user", None), ("client-id", Some("c"))],
                &[("request_percentage", Some(33.5)), ("consumer_byte_rate", Some(7.0))],
            ),
            entry(&[("ip", Some("10.0.0.1"))], &[("connection_creation_rate", Some(3.0))]),
        ];
        for (code, message) in alter(&mut client, version, set).await {
            assert_eq!((code, message), (ErrorCode::NONE, None));
        }
        assert_eq!(
            described(&mut client, version).await,
            [
                "user=u: producer_byte_rate=100",
                "client-id=c,user=*: consumer_byte_rate=7,request_percentage=33.5",
                "ip=10.0.0.1: connection_creation_rate=3",
            ]
        );
        let remove = vec![
            entry(&[("user", Some("u"))], &[("producer_byte_rate", None)]),
            entry(
                &[("user", None), ("client-id", Some("c"))],
                &[("request_percentage", None), ("consumer_byte_rate", None)],
            ),
            entry(&[("ip", Some("10.0.0.1"))], &[("connection_creation_rate", None)]),
        ];
        alter(&mut client, version, remove).await;
        assert!(described(&mut client, version).await.is_empty());
    }
    client.close().await;
}

/// The codes and texts are those of the pinned Kafka for the same requests.
#[tokio::test(start_paused = true)]
async fn what_kafka_refuses_is_refused_in_its_words() {
    let server = Server::start().await;
    let mut client = server.client();
    let rate = |value| [("producer_byte_rate", Some(value))];
    let user = [("user", Some("a"))];
    for (parts, ops, text) in [
        (&[][..], &rate(1.0)[..], "Invalid empty client quota entity"),
        (&[("planet", Some("x"))], &rate(1.0), "Unhandled client quota entity type: planet"),
        (&[("user", Some(""))], &rate(1.0), "Empty user not supported"),
        (
            &[("ip", Some("127.0.0.1")), ("user", Some("a"))],
            &rate(1.0),
            "Invalid quota entity combination, IP entity shouldnot be combined with User or \
             ClientId",
        ),
        (
            &[("ip", Some("not an ip"))],
            &[("connection_creation_rate", Some(1.0))],
            "not an ip is not a valid IP or resolvable host.",
        ),
        (&user, &[("nope", Some(1.0))], "Invalid configuration key nope"),
        (
            &user,
            &[("connection_creation_rate", Some(1.0))],
            "Invalid configuration key connection_creation_rate",
        ),
        (&user, &rate(0.0), "Quota producer_byte_rate must be greater than 0"),
        (&user, &rate(1.5), "producer_byte_rate cannot be a fractional value."),
        (&user, &rate(1e19), "Proposed value for producer_byte_rate is too large for a LONG."),
        (
            &user,
            &[rate(1.0), rate(2.0)].concat(),
            "Ignoring duplicate entity ClientQuotaEntity(entries={user=a})",
        ),
    ] {
        let results = alter(&mut client, 1, vec![entry(parts, ops)]).await;
        assert_eq!(results, [(ErrorCode::INVALID_REQUEST, Some(text.to_owned()))]);
    }
    assert!(described(&mut client, 1).await.is_empty(), "nothing was set");
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn of_an_entity_that_stands_twice_the_first_is_set_and_the_answer_is_an_error() {
    let server = Server::start().await;
    let mut client = server.client();
    let twice =
        [1.0, 2.0].map(|rate| entry(&[("user", Some("a"))], &[("producer_byte_rate", Some(rate))]));
    let results = alter(&mut client, 1, twice.to_vec()).await;
    let text = "Ignoring duplicate entity ClientQuotaEntity(entries={user=a})";
    assert_eq!(results, [(ErrorCode::INVALID_REQUEST, Some(text.to_owned()))]);
    assert_eq!(described(&mut client, 1).await, ["user=a: producer_byte_rate=1"]);
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn filters_that_contradict_themselves_are_refused_in_kafkas_words() {
    let server = Server::start().await;
    let mut client = server.client();
    let invalid = ErrorCode::INVALID_REQUEST;
    let ip_alone = "Invalid entity filter component combination. IP filter component should not be \
                    used with user or clientId filter component.";
    for (components, code, text) in [
        (&[("", 0, Some("x"))][..], invalid, "Invalid empty entity type."),
        (
            &[("planet", 0, Some("x"))],
            ErrorCode::UNSUPPORTED_VERSION,
            "Unsupported entity type planet",
        ),
        (
            &[("user", 0, None)],
            invalid,
            "Request specified MATCH_TYPE_EXACT, but set match string to null.",
        ),
        (
            &[("user", 1, Some("x"))],
            invalid,
            "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.",
        ),
        (
            &[("user", 2, Some("x"))],
            invalid,
            "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.",
        ),
        (&[("user", 3, None)], invalid, "Unknown match type 3"),
        (
            &[("user", 0, Some("a")), ("user", 0, Some("b"))],
            invalid,
            "Entity type user cannot appear more than once in the filter.",
        ),
        (&[("ip", 0, Some("::1")), ("user", 0, Some("b"))], invalid, ip_alone),
    ] {
        let component = |(entity_type, match_type, name): &(&str, i8, Option<&str>)| {
            let (entity_type, r#match) = ((*entity_type).to_owned(), name.map(str::to_owned));
            ComponentData { entity_type, match_type: *match_type, r#match }
        };
        let components = components.iter().map(component).collect();
        let request = DescribeClientQuotasRequest { components, strict: false };
        let response = client.call(1, &request).await;
        assert_eq!(ErrorCode(response.error_code), code);
        assert_eq!((response.error_message.as_deref(), response.entries), (Some(text), None));
    }
    client.close().await;
}

#[tokio::test(start_paused = true)]
async fn no_user_has_scram_credentials() {
    let server = Server::start().await;
    let mut client = server.client();
    for (asked, expected) in [
        (None, vec![]),
        (Some(vec!["x"]), vec![ErrorCode::RESOURCE_NOT_FOUND]),
        (Some(vec!["x", "x"]), vec![ErrorCode::DUPLICATE_RESOURCE]),
    ] {
        let name = |name: &str| UserName { name: name.to_owned() };
        let users = asked.map(|names| names.into_iter().map(name).collect());
        let response = client.call(0, &DescribeUserScramCredentialsRequest { users }).await;
        assert_eq!((response.error_code, response.error_message.as_deref()), (0, Some("")));
        let codes: Vec<_> =
            response.results.iter().map(|result| ErrorCode(result.error_code)).collect();
        assert_eq!(codes, expected);
    }
    client.close().await;
}
