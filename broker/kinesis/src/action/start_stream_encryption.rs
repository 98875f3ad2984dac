//! StartStreamEncryption: says that a stream's records are encrypted from now on, and by which key.
//!
//! Inputs: the stream, `EncryptionType` (only `KMS` makes sense), `KeyId`.
//!
//! Behaviour: the state is kept and shown: in descriptions, in the answers to puts, and on each
//! record that is written while it holds. There is no key service to ask, so every key that has the
//! form of one exists. A new key may be set 25 times in 24 hours, unless quotas are off.
//!
//! Gaps: nothing is encrypted on the disk.

use bytes::Bytes;

use crate::action::{Action, Call, Run};
use crate::call_rates::CallRate;
use crate::errors::{self, KinesisError};
use crate::shape::{self, Kind, Member, Rule, Shape};
use crate::stream_reference::find_stream;

static ENCRYPTION_TYPE: Shape = Shape { kind: Kind::Text, rules: &[Rule::OneOf(&["NONE", "KMS"])] };
static KEY_ID: Shape =
    Shape { kind: Kind::Text, rules: &[Rule::LengthAtLeast(1), Rule::LengthAtMost(2048)] };

/// What both operations on the encryption take.
pub(super) static MEMBERS: [Member; 5] = [
    Member::optional("StreamName", &shape::STREAM_NAME),
    Member::required("EncryptionType", &ENCRYPTION_TYPE),
    Member::required("KeyId", &KEY_ID),
    Member::optional("StreamARN", &shape::STREAM_ARN),
    Member::optional("StreamId", &shape::STREAM_ID),
];

pub(super) static ACTION: Action = Action {
    name: "StartStreamEncryption",
    members: &MEMBERS,
    rate: CallRate::Account(5.0),
    run: Run::Reply(|call| Box::pin(run(call))),
};

async fn run(call: &Call<'_>) -> Result<Bytes, KinesisError> {
    let stream = find_stream(call)?;
    check_type(call)?;
    let key = call.input.text("KeyId").unwrap_or_default();
    if !is_key_id(key) {
        return Err(KinesisError::invalid_key(key));
    }
    let started = call.broker().start_encryption(stream.id, key.to_owned()).await;
    started.map_err(|error| {
        errors::amend_error(error, &stream, call.account(), |refusal| {
            errors::encryption_refusal(refusal, &stream, call.account())
        })
    })?;
    Ok(Bytes::new())
}

/// The model has `NONE` too, and AWS takes it in neither operation. The sentence is ours.
pub(super) fn check_type(call: &Call<'_>) -> Result<(), KinesisError> {
    match call.input.text("EncryptionType") {
        Some("KMS") => Ok(()),
        _ => Err(KinesisError::invalid_argument("EncryptionType must be KMS.")),
    }
}

/// An alias, a key's id, or the ARN of either.
fn is_key_id(text: &str) -> bool {
    let resource = match text.strip_prefix("arn:aws") {
        None => text,
        Some(arn) => {
            let mut parts = arn.splitn(5, ':');
            let (partition, service) = (parts.next(), parts.next());
            let (_region, _account, resource) = (parts.next(), parts.next(), parts.next());
            let (Some(_), Some("kms"), Some(resource)) = (partition, service, resource) else {
                return false;
            };
            match resource.strip_prefix("key/") {
                Some(id) => return is_bare_key_id(id),
                None if resource.starts_with("alias/") => resource,
                None => return false,
            }
        }
    };
    match resource.strip_prefix("alias/") {
        Some(name) => {
            let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
            !name.is_empty() && name.bytes().all(legal)
        }
        None => is_bare_key_id(resource),
    }
}

/// `1234abcd-12ab-34cd-56ef-1234567890ab`, or `mrk-` and 32 digits for a key of many regions.
fn is_bare_key_id(text: &str) -> bool {
    let is_hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match text.strip_prefix("mrk-") {
        Some(digits) => is_hex(digits, 32),
        None => {
            let parts: Vec<&str> = text.split('-').collect();
            parts.len() == 5
                && parts.iter().zip([8, 4, 4, 4, 12]).all(|(part, length)| is_hex(part, length))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{ACCOUNT, Harness, base64};
    use serde_json::{Value as Json, json};
    use weir_core::quota::limits::QuotaPolicy;

    fn input(key: &str) -> Json {
        json!({"StreamName": "s", "EncryptionType": "KMS", "KeyId": key})
    }

    async fn put(harness: &Harness, data: &str) -> Json {
        let put = json!({"StreamName": "s", "PartitionKey": "k", "Data": base64(data)});
        harness.ok("PutRecord", put).await["EncryptionType"].clone()
    }

    #[tokio::test]
    async fn the_state_is_shown_in_descriptions_answers_and_records() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        assert_eq!(put(&harness, "before").await, Json::Null);
        harness.advance_ms(10);
        let started = harness.call("StartStreamEncryption", input("alias/aws/kinesis")).await;
        assert_eq!(started, (200, Json::Null));
        assert_eq!(put(&harness, "within").await, "KMS");
        let records = json!([{"PartitionKey": "k", "Data": ""}]);
        let reply = harness.ok("PutRecords", json!({"StreamName": "s", "Records": records})).await;
        assert_eq!(reply["EncryptionType"], "KMS");
        for (operation, member) in [
            ("DescribeStream", "StreamDescription"),
            ("DescribeStreamSummary", "StreamDescriptionSummary"),
        ] {
            let reply = harness.ok(operation, json!({"StreamName": "s"})).await;
            assert_eq!(reply[member]["EncryptionType"], "KMS", "{operation}");
            assert_eq!(reply[member]["KeyId"], "alias/aws/kinesis", "{operation}");
        }
        harness.advance_ms(10);
        let stopped = harness.call("StopStreamEncryption", input("alias/aws/kinesis")).await;
        assert_eq!(stopped, (200, Json::Null));
        assert_eq!(put(&harness, "after").await, Json::Null);
        let reply = harness.ok("DescribeStream", json!({"StreamName": "s"})).await;
        assert_eq!(reply["StreamDescription"]["EncryptionType"], "NONE");
        assert_eq!(reply["StreamDescription"].get("KeyId"), None);

        let iterator = harness.iterator("s", "TRIM_HORIZON").await;
        let reply = harness.ok("GetRecords", json!({"ShardIterator": iterator})).await;
        let of_record = |index: usize| reply["Records"][index]["EncryptionType"].clone();
        let kms = json!("KMS");
        let expected = [Json::Null, kms.clone(), kms, Json::Null];
        assert_eq!([of_record(0), of_record(1), of_record(2), of_record(3)], expected);
    }

    #[tokio::test]
    async fn twenty_five_changes_a_day_are_granted() {
        let harness = Harness::with_quotas(QuotaPolicy::Aws).await;
        harness.create_stream("s", 1).await;
        for number in 0..25 {
            harness.advance_ms(1_000);
            harness.ok("StartStreamEncryption", input(&format!("alias/{number}"))).await;
        }
        harness.ok("StartStreamEncryption", input("alias/24")).await;
        let message = format!(
            "Stream s under account {ACCOUNT} has reached the limit of 25 changes of its \
             encryption in 24 hours."
        );
        let expected = ("LimitExceeded".to_owned(), message);
        assert_eq!(harness.error("StartStreamEncryption", input("alias/25")).await, expected);
        harness.ok("StopStreamEncryption", input("alias/24")).await;
        harness.ok("StopStreamEncryption", input("alias/24")).await;
        harness.advance_ms(86_400_000);
        harness.ok("StartStreamEncryption", input("alias/25")).await;
    }

    #[tokio::test]
    async fn what_is_no_key_is_not_found() {
        let harness = Harness::new().await;
        harness.create_stream("s", 1).await;
        let expected = ("KMSNotFound".to_owned(), "Invalid keyId nonsense".to_owned());
        assert_eq!(harness.error("StartStreamEncryption", input("nonsense")).await, expected);
        let mut none = input("alias/a");
        none["EncryptionType"] = json!("NONE");
        for operation in ["StartStreamEncryption", "StopStreamEncryption"] {
            let expected = ("InvalidArgument".to_owned(), "EncryptionType must be KMS.".to_owned());
            assert_eq!(harness.error(operation, none.clone()).await, expected, "{operation}");
        }
    }

    #[test]
    fn keys_have_four_forms() {
        let id = "1234abcd-12ab-34cd-56ef-1234567890ab";
        let of_many_regions = format!("mrk-{}", "0a".repeat(16));
        for (text, expected) in [
            (id.to_owned(), true),
            (of_many_regions.clone(), true),
            ("alias/aws/kinesis".to_owned(), true),
            (format!("arn:aws:kms:eu-west-1:{ACCOUNT}:key/{id}"), true),
            (format!("arn:aws-cn:kms:cn-north-1:{ACCOUNT}:key/{of_many_regions}"), true),
            (format!("arn:aws:kms:eu-west-1:{ACCOUNT}:alias/mine"), true),
            (format!("arn:aws:kinesis:eu-west-1:{ACCOUNT}:key/{id}"), false),
            (format!("arn:aws:kms:eu-west-1:{ACCOUNT}:{id}"), false),
            (format!("arn:aws:kms:eu-west-1:{ACCOUNT}"), false),
            ("alias/".to_owned(), false),
            ("alias/a b".to_owned(), false),
            ("mrk-1".to_owned(), false),
            (id.replace('a', "g"), false),
        ] {
            assert_eq!(is_key_id(&text), expected, "{text}");
        }
    }
}
