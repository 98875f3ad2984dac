//! The framing of `application/vnd.amazon.eventstream`, in which SubscribeToShard answers.
//!
//! ```text
//!   total length u32 │ headers length u32 │ CRC-32 of these 8 bytes
//!   headers: name length u8, name, type u8 (7, a string), value length u16, value
//!   payload
//!   CRC-32 of all before it
//! ```
//!
//! All numbers are big-endian. Source: AWS, "Event stream encoding".

use bytes::{BufMut, Bytes, BytesMut};

use super::Encoding;

pub(crate) const MEDIA_TYPE: &str = "application/vnd.amazon.eventstream";

/// Bytes of a message beside its headers and its payload.
const FRAME_BYTES: usize = 16;
/// The type of a header whose value is text.
const TEXT: u8 = 7;

/// An event of this type, with a payload in the request's encoding.
pub(crate) fn event(kind: &str, encoding: Encoding, payload: &[u8]) -> Bytes {
    let headers = [
        (":message-type", "event"),
        (":event-type", kind),
        (":content-type", encoding.media_type()),
    ];
    message(&headers, payload)
}

/// An error in place of an event; nothing follows it.
pub(crate) fn exception(kind: &str, encoding: Encoding, payload: &[u8]) -> Bytes {
    let headers = [
        (":message-type", "exception"),
        (":exception-type", kind),
        (":content-type", encoding.media_type()),
    ];
    message(&headers, payload)
}

fn message(headers: &[(&str, &str)], payload: &[u8]) -> Bytes {
    let header_bytes: usize =
        headers.iter().map(|(name, value)| 4 + name.len() + value.len()).sum();
    let total_bytes = FRAME_BYTES + header_bytes + payload.len();
    let mut out = BytesMut::with_capacity(total_bytes);
    out.put_u32(u32::try_from(total_bytes).expect("an event is far below 4 GiB"));
    out.put_u32(u32::try_from(header_bytes).expect("three short headers"));
    out.put_u32(crc32fast::hash(&out));
    for (name, value) in headers {
        out.put_u8(u8::try_from(name.len()).expect("names are short"));
        out.put_slice(name.as_bytes());
        out.put_u8(TEXT);
        out.put_u16(u16::try_from(value.len()).expect("values are short"));
        out.put_slice(value.as_bytes());
    }
    out.put_slice(payload);
    out.put_u32(crc32fast::hash(&out));
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_the_form_that_aws_describes() {
        let message = event("initial-response", Encoding::Json, b"{}");
        let number = |at: usize| {
            let bytes = message.get(at..at + 4).expect("inside");
            u32::from_be_bytes(bytes.try_into().expect("four bytes"))
        };
        let end = message.len();
        assert_eq!(number(0) as usize, end);
        assert_eq!(number(8), crc32fast::hash(&message[..8]));
        assert_eq!(number(end - 4), crc32fast::hash(&message[..end - 4]));
        let headers_end = 12 + number(4) as usize;
        assert_eq!(&message[headers_end..end - 4], b"{}");
        let first =
            b"\x0d:message-type\x07\x00\x05event\x0b:event-type\x07\x00\x10initial-response";
        assert_eq!(&message[12..12 + first.len()], first);
    }
}
