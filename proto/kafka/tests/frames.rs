//! Whole frames: headers, the gather list of a response, and what cannot be written.

use bytes::Bytes;
use weir_kafka_protocol::messages::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use weir_kafka_protocol::messages::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use weir_kafka_protocol::messages::metadata::MetadataRequest;
use weir_kafka_protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use weir_kafka_protocol::{
    ApiKey, DecodeErrorKind, EncodeError, Message, Part, Reader, RecordSet, RequestHeader, frame,
};

fn fetch_response(records: Vec<RecordSet>) -> FetchResponse {
    let partitions = records
        .into_iter()
        .map(|records| PartitionData { records: Some(records), ..Default::default() })
        .collect();
    let topic = FetchableTopicResponse { partitions, ..Default::default() };
    FetchResponse { responses: vec![topic], ..Default::default() }
}

#[test]
fn record_sets_become_parts_of_their_own() {
    let large = Bytes::from(vec![7; 2_000]);
    let response = fetch_response(vec![
        RecordSet::External { index: 3, length: 1_000_000 },
        RecordSet::Bytes(large.clone()),
        RecordSet::Bytes(Bytes::from_static(b"small")),
    ]);
    for version in [4, 11, 12, 17] {
        let gather = frame::encode_response(42, version, &response).expect("encodes");
        let [Part::Bytes(first), external, Part::Bytes(_), Part::Bytes(shared), Part::Bytes(_)] =
            gather.parts.as_slice()
        else {
            panic!("v{version}: {} parts", gather.parts.len());
        };
        assert_eq!(external, &Part::External { index: 3, length: 1_000_000 });
        assert_eq!(shared.as_ptr(), large.as_ptr(), "not copied");
        let announced = i32::from_be_bytes(*first.first_chunk().expect("has a length"));
        assert_eq!(usize::try_from(announced).expect("positive") + 4, gather.total_length());
    }
}

#[test]
fn a_filled_hole_reads_as_the_records_that_filled_it() {
    let hole = fetch_response(vec![RecordSet::External { index: 0, length: 700 }]);
    let whole = fetch_response(vec![RecordSet::Bytes(Bytes::from(vec![9; 700]))]);
    for version in [4, 17] {
        let gather = frame::encode_response(42, version, &hole).expect("encodes");
        assert_eq!(gather.clone().into_bytes(), None);
        let sent: Vec<u8> = gather
            .parts
            .iter()
            .flat_map(|part| match part {
                Part::Bytes(bytes) => bytes.to_vec(),
                Part::External { length, .. } => vec![9; *length],
            })
            .collect();
        let mut reader = Reader::new(Bytes::from(sent).slice(4..));
        let id = frame::decode_response_header(&mut reader, ApiKey::Fetch, version);
        assert_eq!(id, Ok(42));
        assert_eq!(FetchResponse::decode(&mut reader, version).as_ref(), Ok(&whole));
        assert_eq!(reader.finish(), Ok(()));
    }
}

#[test]
fn records_of_a_request_are_slices_of_its_frame() {
    let records = Bytes::from(vec![5; 4_096]);
    let partition_data = vec![PartitionProduceData { index: 0, records: Some(records.clone()) }];
    let topic = TopicProduceData { partition_data, ..Default::default() };
    let request = ProduceRequest { acks: -1, topic_data: vec![topic], ..Default::default() };
    for version in [3, 9, 13] {
        let gather = frame::encode_request(1, Some("me"), version, &request).expect("encodes");
        assert_eq!(gather.parts.len(), if version < 9 { 2 } else { 3 }, "tags follow the records");
        let received = gather.into_bytes().expect("in memory");
        let mut reader = Reader::new(received.slice(4..));
        let header = RequestHeader::decode(&mut reader).expect("header");
        assert_eq!(header.client_id.as_deref(), Some("me"));
        let read = ProduceRequest::decode(&mut reader, header.api_version).expect("body");
        assert_eq!(read, request);
        let slice = read.topic_data[0].partition_data[0].records.as_ref().expect("records");
        assert!(received.as_ptr_range().contains(&slice.as_ptr()), "copied");
    }
}

#[test]
fn api_versions_of_the_future_can_be_answered() {
    let mut request = frame::encode_request(7, Some("new"), 4, &ApiVersionsRequest::default())
        .expect("encodes")
        .into_bytes()
        .expect("in memory")
        .slice(4..)
        .to_vec();
    request.splice(2..4, 99i16.to_be_bytes());
    let mut reader = Reader::new(Bytes::from(request));
    let header = RequestHeader::decode(&mut reader).expect("header");
    assert_eq!((header.api_key, header.api_version), (ApiKey::ApiVersions, 99));

    // The answer is in version 0; its header has no tags in any version.
    let response = ApiVersionsResponse { error_code: 35, ..Default::default() };
    for (version, bytes) in [(0, 10), (3, 12)] {
        let gather = frame::encode_response(7, version, &response).expect("encodes");
        assert_eq!(gather.total_length(), 4 + bytes, "v{version}");
    }
}

#[test]
fn an_unknown_key_is_an_error_with_its_number() {
    let mut reader = Reader::new(Bytes::from_static(&[0x03, 0xe7, 0, 0, 0, 0, 0, 1, 0xff, 0xff]));
    let error = RequestHeader::decode(&mut reader).expect_err("nobody serves it");
    assert_eq!(error.kind, DecodeErrorKind::UnknownApiKey(999));
}

#[test]
fn what_a_version_cannot_say_is_refused_and_what_it_may_drop_is_dropped() {
    let follower = FetchRequest { replica_id: 5, ..Default::default() };
    assert!(follower.encode_body(14).is_ok());
    assert_eq!(
        follower.encode_body(15),
        Err(EncodeError::FieldNotInVersion { field: "FetchRequest.replica_id", version: 15 })
    );
    // Ignorable: a reader of version 4 has no use for it.
    let in_session = FetchRequest { session_id: 5, ..Default::default() };
    let dropped = in_session.encode_body(4).expect("encodes").into_bytes().expect("in memory");
    assert_eq!(FetchRequest::decode_all(dropped, 4), Ok(FetchRequest::default()));

    let all_topics = MetadataRequest { topics: None, ..Default::default() };
    assert!(all_topics.encode_body(1).is_ok());
    assert_eq!(
        all_topics.encode_body(0),
        Err(EncodeError::NullNotInVersion { field: "MetadataRequest.topics", version: 0 })
    );
    assert_eq!(
        all_topics.encode_body(99),
        Err(EncodeError::UnsupportedVersion { message: "MetadataRequest", version: 99 })
    );
}

#[test]
fn versions_that_may_still_change_are_not_offered() {
    assert_eq!(ApiKey::InitProducerId.stable_versions(), (0, 5));
    assert_eq!(ApiKey::InitProducerId.definition().version_max, 6);
    assert_eq!(ApiKey::Fetch.stable_versions(), (4, 18));
    for (index, api_key) in ApiKey::ALL.iter().enumerate() {
        assert_eq!(ApiKey::from_i16(api_key.as_i16()), Some(*api_key));
        assert!(ApiKey::ALL[..index].iter().all(|lower| lower < api_key), "{api_key:?}");
    }
}
