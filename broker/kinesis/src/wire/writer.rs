//! Writes a reply straight into JSON or CBOR, without a tree between.
//!
//! Callers open a map or list, write what is in it, and close it; an absent member is simply not
//! written (AWS never sends `null`). CBOR maps and lists have indefinite length, as AWS's own
//! replies do, so nobody has to count members first.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use weir_model::time::Timestamp;

use super::Encoding;

/// A reply's body while it is written.
#[derive(Debug)]
pub(crate) struct ReplyWriter {
    encoding: Encoding,
    out: Vec<u8>,
    /// Whether the next JSON element needs a comma before it.
    needs_comma: bool,
}

impl ReplyWriter {
    /// An empty body in the request's encoding.
    pub(crate) fn new(encoding: Encoding) -> ReplyWriter {
        ReplyWriter::with_capacity(encoding, 256)
    }

    /// An empty body with room for this many bytes.
    pub(crate) fn with_capacity(encoding: Encoding, capacity: usize) -> ReplyWriter {
        ReplyWriter { encoding, out: Vec::with_capacity(capacity), needs_comma: false }
    }

    /// The finished body.
    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from(self.out)
    }

    /// Opens a map; its entries are a [`name`](Self::name) and a value each.
    pub(crate) fn begin_map(&mut self) {
        self.open(b'{', 0xbf);
    }

    /// Closes the map that was opened last.
    pub(crate) fn end_map(&mut self) {
        self.close(b'}');
    }

    /// Opens a list; its elements are values without names.
    pub(crate) fn begin_list(&mut self) {
        self.open(b'[', 0x9f);
    }

    /// Closes the list that was opened last.
    pub(crate) fn end_list(&mut self) {
        self.close(b']');
    }

    /// The name of the member whose value is written next.
    pub(crate) fn name(&mut self, name: &str) {
        self.text(name);
        if self.encoding == Encoding::Json {
            self.out.push(b':');
            self.needs_comma = false;
        }
    }

    /// A string.
    pub(crate) fn text(&mut self, text: &str) {
        match self.encoding {
            Encoding::Json => {
                self.begin_json_value();
                write_json_text(&mut self.out, text);
            }
            Encoding::Cbor => {
                self.cbor_head(3, text.len() as u64);
                self.out.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// A whole number.
    pub(crate) fn integer(&mut self, number: u64) {
        match self.encoding {
            Encoding::Json => {
                self.begin_json_value();
                self.out.extend_from_slice(number.to_string().as_bytes());
            }
            Encoding::Cbor => self.cbor_head(0, number),
        }
    }

    /// A truth value.
    pub(crate) fn boolean(&mut self, value: bool) {
        match (self.encoding, value) {
            (Encoding::Json, _) => {
                self.begin_json_value();
                let text: &[u8] = if value { b"true" } else { b"false" };
                self.out.extend_from_slice(text);
            }
            (Encoding::Cbor, false) => self.out.push(0xf4),
            (Encoding::Cbor, true) => self.out.push(0xf5),
        }
    }

    /// Bytes: base64 in JSON, as they are in CBOR.
    pub(crate) fn blob(&mut self, bytes: &[u8]) {
        match self.encoding {
            Encoding::Json => {
                self.begin_json_value();
                self.out.push(b'"');
                let start = self.out.len();
                self.out.resize(start + bytes.len().div_ceil(3) * 4, 0);
                let room = self.out.get_mut(start..).unwrap_or_default();
                BASE64
                    .encode_slice(bytes, room)
                    .expect("four characters for each three bytes are room enough");
                self.out.push(b'"');
            }
            Encoding::Cbor => {
                self.cbor_head(2, bytes.len() as u64);
                self.out.extend_from_slice(bytes);
            }
        }
    }

    /// A time: seconds with three decimals in JSON, tagged milliseconds in CBOR. Times before 1970
    /// (a Kafka producer may send any) are shown as 1970.
    pub(crate) fn timestamp(&mut self, time: Timestamp) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(0);
        match self.encoding {
            Encoding::Json => {
                self.begin_json_value();
                let (seconds, rest) = (millis / 1000, millis % 1000);
                let text = format!("{seconds}.{rest:03}");
                self.out.extend_from_slice(text.as_bytes());
            }
            Encoding::Cbor => {
                self.cbor_head(6, 1);
                self.cbor_head(0, millis);
            }
        }
    }

    /// A member that is a string.
    pub(crate) fn text_member(&mut self, name: &str, text: &str) {
        self.name(name);
        self.text(text);
    }

    /// A member that is a whole number.
    pub(crate) fn integer_member(&mut self, name: &str, number: u64) {
        self.name(name);
        self.integer(number);
    }

    /// A member that is a truth value.
    pub(crate) fn boolean_member(&mut self, name: &str, value: bool) {
        self.name(name);
        self.boolean(value);
    }

    /// A member that is a time.
    pub(crate) fn timestamp_member(&mut self, name: &str, time: Timestamp) {
        self.name(name);
        self.timestamp(time);
    }

    fn open(&mut self, json: u8, cbor: u8) {
        match self.encoding {
            Encoding::Json => {
                self.begin_json_value();
                self.out.push(json);
                self.needs_comma = false;
            }
            Encoding::Cbor => self.out.push(cbor),
        }
    }

    fn close(&mut self, json: u8) {
        match self.encoding {
            Encoding::Json => {
                self.out.push(json);
                self.needs_comma = true;
            }
            Encoding::Cbor => self.out.push(0xff),
        }
    }

    fn begin_json_value(&mut self) {
        if self.needs_comma {
            self.out.push(b',');
        }
        self.needs_comma = true;
    }

    fn cbor_head(&mut self, major: u8, argument: u64) {
        let major = major << 5;
        let big_endian = argument.to_be_bytes();
        let (short, length) = match argument {
            0..=23 => (big_endian[7], 0),
            24..=0xff => (24, 1),
            0x100..=0xffff => (25, 2),
            0x1_0000..=0xffff_ffff => (26, 4),
            _ => (27, 8),
        };
        self.out.push(major | short);
        self.out.extend(big_endian.into_iter().skip(8 - length));
    }
}

fn write_json_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing into memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::super::{Value, parse};
    use super::*;

    fn sample(encoding: Encoding) -> Bytes {
        let mut writer = ReplyWriter::new(encoding);
        writer.begin_map();
        writer.name("Records");
        writer.begin_list();
        for data in [&b"\x00\xff"[..], b""] {
            writer.begin_map();
            writer.name("Data");
            writer.blob(data);
            writer.text_member("PartitionKey", "a\"b\né");
            writer.timestamp_member("At", Timestamp::from_millis(1_700_000_000_007));
            writer.end_map();
        }
        writer.end_list();
        writer.integer_member("Millis", 70_000);
        writer.boolean_member("More", false);
        writer.name("Shards");
        writer.begin_list();
        writer.text("a");
        writer.text("b");
        writer.end_list();
        writer.end_map();
        writer.into_bytes()
    }

    #[test]
    fn json_replies_spell_blobs_and_times_as_aws_does() {
        let record = r#""PartitionKey":"a\"b\né","At":1700000000.007"#;
        let expected = format!(
            concat!(
                r#"{{"Records":[{{"Data":"AP8=",{record}}},{{"Data":"",{record}}}],"#,
                r#""Millis":70000,"More":false,"Shards":["a","b"]}}"#
            ),
            record = record
        );
        assert_eq!(sample(Encoding::Json), expected);
    }

    #[test]
    fn cbor_replies_have_indefinite_lengths_and_millisecond_times() {
        let mut writer = ReplyWriter::new(Encoding::Cbor);
        writer.begin_map();
        writer.timestamp_member("T", Timestamp::from_millis(1_700_000_000_000));
        writer.end_map();
        let expected = b"\xbf\x61T\xc1\x1b\x00\x00\x01\x8b\xcf\xe5\x68\x00\xff";
        assert_eq!(writer.into_bytes(), expected[..]);
    }

    #[test]
    fn what_is_written_reads_back() {
        for encoding in [Encoding::Json, Encoding::Cbor] {
            let body = sample(encoding);
            let Ok(Value::Map(members)) = parse(encoding, &body) else {
                panic!("{encoding:?}: a map was expected");
            };
            let names: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
            assert_eq!(names, ["Records", "Millis", "More", "Shards"]);
            assert_eq!(members[1].1, Value::Integer(70_000));
        }
    }

    #[test]
    fn cbor_heads_take_the_shortest_form() {
        for (number, expected) in [
            (0, &[0x00][..]),
            (23, &[0x17]),
            (24, &[0x18, 24]),
            (256, &[0x19, 1, 0]),
            (65_536, &[0x1a, 0, 1, 0, 0]),
            (1 << 32, &[0x1b, 0, 0, 0, 1, 0, 0, 0, 0]),
        ] {
            let mut writer = ReplyWriter::new(Encoding::Cbor);
            writer.integer(number);
            assert_eq!(writer.into_bytes(), expected, "{number}");
        }
    }

    #[test]
    fn times_before_1970_are_shown_as_1970() {
        let mut writer = ReplyWriter::new(Encoding::Json);
        writer.timestamp(Timestamp::NONE);
        assert_eq!(writer.into_bytes(), "0.000");
    }
}
