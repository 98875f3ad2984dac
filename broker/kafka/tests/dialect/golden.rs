//! What real clients sent, byte for byte, replayed against the broker.
//!
//! `testdata/<client>.txt` holds one request a line, `Api version hex`, in the order in which the
//! client sent them (the first one or two of an API and version). Ids in them (of topics, members,
//! producers) are those of the broker they were captured from, so a replay may be answered with an
//! error; it must be answered, in the client's version, and the codec must know every byte of it.

use bytes::Bytes;
use weir_kafka_protocol::message::Visitor;
use weir_kafka_protocol::{ApiKey, Message, Reader, RequestHeader, Writer, frame, messages};

use crate::client::{Client, Server};

const CLIENTS: [(&str, &str); 8] = [
    ("kcat", include_str!("../testdata/kcat.txt")),
    ("librdkafka", include_str!("../testdata/librdkafka.txt")),
    ("java", include_str!("../testdata/java.txt")),
    ("kafka-python", include_str!("../testdata/kafka-python.txt")),
    ("aiokafka", include_str!("../testdata/aiokafka.txt")),
    ("kafkajs", include_str!("../testdata/kafkajs.txt")),
    ("sarama", include_str!("../testdata/sarama.txt")),
    ("franz-go", include_str!("../testdata/franz-go.txt")),
];

/// One captured request.
struct Captured {
    api_key: ApiKey,
    version: i16,
    /// Without the length.
    frame: Bytes,
}

fn captured(text: &str) -> Vec<Captured> {
    text.lines().map(parse).collect()
}

fn parse(line: &str) -> Captured {
    let mut fields = line.split(' ');
    let (api, version, hex) = (fields.next(), fields.next(), fields.next().expect("three fields"));
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    let frame = Bytes::from_iter((0..hex.len()).step_by(2).map(byte));
    let header = RequestHeader::decode(&mut Reader::new(frame.clone())).expect("a header");
    assert_eq!(api, Some(header.api_key.name()), "{line}");
    assert_eq!(version, Some(header.api_version.to_string().as_str()), "{line}");
    Captured { api_key: header.api_key, version: header.api_version, frame }
}

/// Reads a body of some API and writes it again.
struct ReadAndWrite {
    reader: Reader,
    version: i16,
}

impl Visitor for ReadAndWrite {
    type Output = Bytes;

    fn visit<M: Message + Clone + PartialEq + std::fmt::Debug + Default>(mut self) -> Bytes {
        let message = M::decode(&mut self.reader, self.version).expect("decodes");
        self.reader.finish().expect("nothing after it");
        let body = message.encode_body(self.version).expect("encodes");
        body.into_bytes().expect("in memory")
    }
}

#[test]
fn the_codec_writes_what_clients_sent_byte_for_byte() {
    for (client, text) in CLIENTS {
        for Captured { api_key, version, frame } in captured(text) {
            if !is_known(api_key, version) {
                continue;
            }
            let mut reader = Reader::new(frame.clone());
            let header = RequestHeader::decode(&mut reader).expect("a header");
            let mut again = Writer::new();
            header.encode(&mut again).expect("encodes");
            let mut again = again.finish().into_bytes().expect("in memory").to_vec();
            let body = messages::visit_request(api_key, ReadAndWrite { reader, version });
            again.extend_from_slice(&body);
            assert_eq!(again, frame, "{client}: {api_key:?} {version}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_clients_sent_is_answered_in_their_version() {
    for (client, text) in CLIENTS {
        let server = Server::start().await;
        let mut connection = server.client();
        for request in captured(text) {
            println!("{client}: {:?} {}", request.api_key, request.version);
            replay(&mut connection, &request).await;
        }
        connection.close().await;
    }
}

/// franz-go first asks for an ApiVersions from the future, which is answered in version 0.
fn is_known(api_key: ApiKey, version: i16) -> bool {
    version <= api_key.stable_versions().1 || api_key != ApiKey::ApiVersions
}

async fn replay(connection: &mut Client, request: &Captured) {
    let length = i32::try_from(request.frame.len()).unwrap();
    connection.send_raw(&[&length.to_be_bytes(), request.frame.as_ref()].concat()).await;
    let answer = connection.receive_raw().await.expect("an answer, but the broker closed");
    let mut reader = Reader::new(answer);
    let sent = RequestHeader::decode(&mut Reader::new(request.frame.clone())).expect("a header");
    let correlation_id =
        frame::decode_response_header(&mut reader, request.api_key, request.version);
    assert_eq!(correlation_id, Ok(sent.correlation_id));
    let version = if is_known(request.api_key, request.version) { request.version } else { 0 };
    messages::visit_response(request.api_key, ReadAndWrite { reader, version });
}
