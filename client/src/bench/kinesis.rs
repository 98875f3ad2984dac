//! One connection to a Kinesis endpoint: PutRecords and GetRecords in JSON or CBOR over HTTP/1.1.
//!
//! Requests carry an Authorization header of the right shape whose signature is made up: weir and
//! the emulators check its presence only. AWS itself would refuse it, which is as well for a load
//! tool.

use std::borrow::Cow;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use weir_model::random::SeededRandom;
use weir_model::time::{Clock, Timestamp};

use super::cbor;
use super::consume::Goal;
use super::payload;
use super::tally::Tally;
use super::{ANSWER_WAIT_MAX, BenchError, ConsumeOptions, Encoding, THROTTLE_PAUSE};
use crate::http::{Answer, Connection, Url};
use crate::kinesis::sign::basic_date;

const RECORDS_PER_PUT_MAX: u32 = 500;
const RECORDS_PER_GET_MAX: u32 = 10_000;
const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// The body of a PutRecords request, built once and sent again and again.
#[derive(Debug)]
pub(super) struct PutRecordsTemplate {
    body: Bytes,
    pub(super) records: u32,
}

impl PutRecordsTemplate {
    pub(super) fn build(
        random: &SeededRandom,
        encoding: Encoding,
        stream: &str,
        records: u32,
        size: usize,
    ) -> Result<PutRecordsTemplate, BenchError> {
        if !(1..=RECORDS_PER_PUT_MAX).contains(&records) {
            return Err(BenchError::Options(format!(
                "--batch {records} is not between 1 and {RECORDS_PER_PUT_MAX}, as PutRecords needs"
            )));
        }
        let records_to_put: Vec<(String, Vec<u8>)> =
            (0..records).map(|_| (payload::key(random), payload::value(random, size))).collect();
        let body = match encoding {
            Encoding::Json => {
                let entries: Vec<_> = records_to_put
                    .iter()
                    .map(|(key, data)| {
                        serde_json::json!({ "PartitionKey": key, "Data": BASE64.encode(data) })
                    })
                    .collect();
                serde_json::json!({ "StreamName": stream, "Records": entries })
                    .to_string()
                    .into_bytes()
            }
            Encoding::Cbor => cbor::put_records(stream, &records_to_put),
        };
        Ok(PutRecordsTemplate { body: Bytes::from(body), records })
    }
}

/// What became of the records of one PutRecords.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Put {
    pub(super) acknowledged: u64,
    pub(super) throttled: u64,
}

/// The part of an answer to PutRecords that tells what became of each record: its error, if any.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PutRecordsAnswer {
    pub(super) failed: u64,
    pub(super) errors: Vec<Option<String>>,
}

/// The part of an answer to GetRecords that is counted and checked.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GetRecordsAnswer {
    pub(super) sequence_numbers: Vec<String>,
    pub(super) data_bytes: u64,
    pub(super) next: Option<String>,
    pub(super) millis_behind: u64,
}

#[derive(Debug)]
pub(super) struct KinesisConnection {
    connection: Connection,
    url: Url,
    encoding: Encoding,
    clock: Arc<dyn Clock>,
}

impl KinesisConnection {
    pub(super) async fn open(
        url: &Url,
        encoding: Encoding,
        clock: &Arc<dyn Clock>,
    ) -> Result<KinesisConnection, BenchError> {
        let connection = Connection::open(url).await?;
        Ok(KinesisConnection { connection, url: url.clone(), encoding, clock: Arc::clone(clock) })
    }

    /// Sends the template's records and counts the answer's errors but not its records.
    pub(super) async fn put_records(
        &mut self,
        template: &PutRecordsTemplate,
        tally: &mut Tally,
    ) -> Result<Put, BenchError> {
        let sent = self.clock.moment();
        let answer = self.ask("PutRecords", self.encoding, template.body.clone()).await?;
        let answer = match (answer, self.encoding) {
            (Asked::Throttled, _) => {
                tally.answered(sent, self.clock.moment());
                return Ok(Put { acknowledged: 0, throttled: u64::from(template.records) });
            }
            (Asked::Answer(body), Encoding::Json) => json::put_records(&body)?,
            (Asked::Answer(body), Encoding::Cbor) => cbor::put_records_answer(&body)?,
        };
        tally.answered(sent, self.clock.moment());
        let mut put = Put::default();
        for error in &answer.errors {
            match error.as_deref() {
                None => put.acknowledged += 1,
                Some(THROTTLED) => put.throttled += 1,
                Some(other) => tally.failed(other.to_owned(), 1),
            }
        }
        let total = answer.errors.len() as u64;
        if total != u64::from(template.records) || total - put.acknowledged != answer.failed {
            return Err(BenchError::Protocol(format!(
                "PutRecords of {} answered for {total}, FailedRecordCount {}",
                template.records, answer.failed
            )));
        }
        Ok(put)
    }

    /// The stream's shards, by id.
    pub(super) async fn shards(&mut self, stream: &str) -> Result<Vec<String>, BenchError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct ListShards {
            shards: Vec<Shard>,
            next_token: Option<String>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Shard {
            shard_id: String,
        }
        let mut ids = Vec::new();
        let mut body = serde_json::json!({ "StreamName": stream });
        loop {
            let page: ListShards = self.ask_json("ListShards", &body).await?;
            ids.extend(page.shards.into_iter().map(|shard| shard.shard_id));
            match page.next_token {
                Some(token) => body = serde_json::json!({ "NextToken": token }),
                None => return Ok(ids),
            }
        }
    }

    async fn oldest(&mut self, stream: &str, shard: &str) -> Result<String, BenchError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct GetShardIterator {
            shard_iterator: String,
        }
        let body = serde_json::json!({
            "StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON",
        });
        let answer: GetShardIterator = self.ask_json("GetShardIterator", &body).await?;
        Ok(answer.shard_iterator)
    }

    /// One GetRecords; none when the quota refused it.
    async fn get_records(
        &mut self,
        iterator: &str,
        limit: u32,
    ) -> Result<Option<GetRecordsAnswer>, BenchError> {
        let body = match self.encoding {
            Encoding::Json => serde_json::json!({ "ShardIterator": iterator, "Limit": limit })
                .to_string()
                .into_bytes(),
            Encoding::Cbor => cbor::get_records(iterator, limit),
        };
        match (self.ask("GetRecords", self.encoding, Bytes::from(body)).await?, self.encoding) {
            (Asked::Throttled, _) => Ok(None),
            (Asked::Answer(body), Encoding::Json) => json::get_records(&body).map(Some),
            (Asked::Answer(body), Encoding::Cbor) => cbor::get_records_answer(&body).map(Some),
        }
    }

    /// One of the small calls around a run: always JSON, and asked again when throttled.
    async fn ask_json<T: DeserializeOwned>(
        &mut self,
        action: &'static str,
        body: &serde_json::Value,
    ) -> Result<T, BenchError> {
        let body = Bytes::from(body.to_string());
        loop {
            match self.ask(action, Encoding::Json, body.clone()).await? {
                Asked::Throttled => tokio::time::sleep(THROTTLE_PAUSE).await,
                Asked::Answer(body) => return json::parse(action, &body),
            }
        }
    }

    async fn ask(
        &mut self,
        action: &'static str,
        encoding: Encoding,
        body: Bytes,
    ) -> Result<Asked, BenchError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = headers(&self.url, action, encoding, self.clock.now())?;
        let answer = match tokio::time::timeout(ANSWER_WAIT_MAX, self.connection.ask(request)).await
        {
            Ok(answer) => answer?,
            Err(_) => {
                return Err(BenchError::NoAnswer(format!("{action} after {ANSWER_WAIT_MAX:?}")));
            }
        };
        if answer.status.is_success() {
            return Ok(Asked::Answer(answer.body));
        }
        let error = refusal(action, &answer);
        match error.contains(THROTTLED) {
            true => Ok(Asked::Throttled),
            false => Err(BenchError::Refused(error)),
        }
    }
}

enum Asked {
    Answer(Bytes),
    Throttled,
}

/// What an error answer says; its body is short, and readable in CBOR too.
fn refusal(action: &str, answer: &Answer) -> String {
    let body = String::from_utf8_lossy(&answer.body);
    let text: String = body.chars().filter(|c| !c.is_control()).take(500).collect();
    format!("{action}: {}: {text}", answer.status)
}

fn headers(
    url: &Url,
    action: &str,
    encoding: Encoding,
    now: Timestamp,
) -> Result<HeaderMap, BenchError> {
    let value = |text: &str| {
        HeaderValue::from_str(text)
            .map_err(|_| BenchError::Options(format!("`{text}` cannot stand in a header")))
    };
    let date = basic_date(now);
    let day = date.split('T').next().unwrap_or_default();
    let content_type = match encoding {
        Encoding::Json => "application/x-amz-json-1.1",
        Encoding::Cbor => "application/x-amz-cbor-1.1",
    };
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential=weirbench/{day}/us-east-1/kinesis/aws4_request, \
         SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature={:064x}",
        0
    );
    let mut headers = HeaderMap::new();
    headers.insert(HOST, value(&url.authority)?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(AUTHORIZATION, value(&authorization)?);
    headers.insert(HeaderName::from_static("x-amz-date"), value(&date)?);
    let target = value(&format!("Kinesis_20131202.{action}"))?;
    headers.insert(HeaderName::from_static("x-amz-target"), target);
    Ok(headers)
}

/// Reads one shard from its oldest record to where it ended at the start, or until the goal is
/// reached; what the quota refuses is asked for again later.
pub(super) async fn read_shard(
    connection: &mut KinesisConnection,
    options: &ConsumeOptions,
    shard: &str,
    goal: &Goal,
    tally: &mut Tally,
) -> Result<(), BenchError> {
    if !(1..=RECORDS_PER_GET_MAX).contains(&options.limit) {
        return Err(BenchError::Options(format!(
            "--limit {} is not between 1 and {RECORDS_PER_GET_MAX}, as GetRecords needs",
            options.limit
        )));
    }
    let mut iterator = connection.oldest(&options.target.topic, shard).await?;
    let mut last = String::new();
    while !goal.is_reached() {
        let sent = connection.clock.moment();
        let answer = connection.get_records(&iterator, options.limit).await?;
        let now = connection.clock.moment();
        let Some(answer) = answer else {
            tally.answered(sent, now);
            tally.throttled += 1;
            tokio::time::sleep(THROTTLE_PAUSE).await;
            continue;
        };
        for number in answer.sequence_numbers.iter().map(String::as_str) {
            // Without leading zeros, the longer number is the greater one.
            if (number.len(), number) <= (last.len(), last.as_str()) {
                return Err(BenchError::Protocol(format!("{number} follows {last} in {shard}")));
            }
            number.clone_into(&mut last);
        }
        let records = answer.sequence_numbers.len() as u64;
        tally.records += records;
        tally.value_bytes += answer.data_bytes;
        goal.count(records);
        if records > 0 {
            tally.answered(sent, now);
        }
        match answer.next {
            // Caught up. With a number of records to wait for, the next shard may have them.
            _ if records == 0 && answer.millis_behind == 0 => return Ok(()),
            Some(next) => iterator = next,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// The answers' bodies as JSON.
mod json {
    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct PutRecords {
        failed_record_count: u64,
        records: Vec<PutRecord>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct PutRecord {
        error_code: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct GetRecords<'a> {
        #[serde(borrow)]
        records: Vec<GetRecord<'a>>,
        next_shard_iterator: Option<String>,
        #[serde(default)]
        millis_behind_latest: u64,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct GetRecord<'a> {
        sequence_number: String,
        #[serde(borrow)]
        data: Cow<'a, str>,
    }

    pub(super) fn parse<'a, T: Deserialize<'a>>(
        action: &str,
        body: &'a [u8],
    ) -> Result<T, BenchError> {
        serde_json::from_slice(body)
            .map_err(|error| BenchError::Protocol(format!("malformed answer to {action}: {error}")))
    }

    pub(super) fn put_records(body: &[u8]) -> Result<PutRecordsAnswer, BenchError> {
        let answer: PutRecords = parse("PutRecords", body)?;
        let errors = answer.records.into_iter().map(|record| record.error_code).collect();
        Ok(PutRecordsAnswer { failed: answer.failed_record_count, errors })
    }

    pub(super) fn get_records(body: &[u8]) -> Result<GetRecordsAnswer, BenchError> {
        let answer: GetRecords<'_> = parse("GetRecords", body)?;
        let mut counted = GetRecordsAnswer {
            next: answer.next_shard_iterator,
            millis_behind: answer.millis_behind_latest,
            ..GetRecordsAnswer::default()
        };
        let mut data = Vec::new();
        for record in answer.records {
            data.clear();
            BASE64
                .decode_vec(record.data.as_bytes(), &mut data)
                .map_err(|error| BenchError::Protocol(format!("data is not base64: {error}")))?;
            counted.data_bytes += data.len() as u64;
            counted.sequence_numbers.push(record.sequence_number);
        }
        Ok(counted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_encodings_of_an_answer_are_read_alike() {
        let json = br#"{"FailedRecordCount":1,"EncryptionType":"NONE","Records":[
            {"SequenceNumber":"1","ShardId":"shardId-000000000000"},
            {"ErrorCode":"InternalFailure","ErrorMessage":"x"}]}"#;
        let expected =
            PutRecordsAnswer { failed: 1, errors: vec![None, Some("InternalFailure".to_owned())] };
        assert_eq!(json::put_records(json).expect("sound"), expected);

        let json = br#"{"Records":[{"SequenceNumber":"49","Data":"aGVsbG8=","PartitionKey":"k",
            "ApproximateArrivalTimestamp":1.5}],"NextShardIterator":"i","MillisBehindLatest":7}"#;
        let expected = GetRecordsAnswer {
            sequence_numbers: vec!["49".to_owned()],
            data_bytes: 5,
            next: Some("i".to_owned()),
            millis_behind: 7,
        };
        assert_eq!(json::get_records(json).expect("sound"), expected);
        assert!(json::get_records(b"{}").is_err());
    }

    #[test]
    fn a_put_has_between_one_and_five_hundred_records() {
        let random = SeededRandom::new(1);
        for (records, legal) in [(0, false), (1, true), (500, true), (501, false)] {
            for encoding in [Encoding::Json, Encoding::Cbor] {
                let built = PutRecordsTemplate::build(&random, encoding, "s", records, 10);
                assert_eq!(built.is_ok(), legal, "{records}");
            }
        }
    }
}
