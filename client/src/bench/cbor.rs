//! The bench's Kinesis requests and answers in CBOR, as the Java SDK sends and reads them.
//!
//! An answer's maps, arrays and strings may be of indefinite length, and hold keys that do not
//! matter here and are skipped.

use minicbor::data::Type;
use minicbor::decode::Error;
use minicbor::{Decoder, Encoder};

use super::BenchError;
use super::kinesis::{GetRecordsAnswer, PutRecordsAnswer};

/// The body of a PutRecords request for these keys and data.
pub(super) fn put_records(stream: &str, records: &[(String, Vec<u8>)]) -> Vec<u8> {
    encode(|out| {
        out.map(2)?.str("StreamName")?.str(stream)?;
        out.str("Records")?.array(records.len() as u64)?;
        for (key, data) in records {
            out.map(2)?.str("PartitionKey")?.str(key)?.str("Data")?.bytes(data)?;
        }
        Ok(())
    })
}

/// The body of a GetRecords request.
pub(super) fn get_records(iterator: &str, limit: u32) -> Vec<u8> {
    encode(|out| {
        out.map(2)?.str("ShardIterator")?.str(iterator)?.str("Limit")?.u32(limit)?;
        Ok(())
    })
}

type VecError = minicbor::encode::Error<std::convert::Infallible>;

fn encode(write: impl FnOnce(&mut Encoder<Vec<u8>>) -> Result<(), VecError>) -> Vec<u8> {
    let mut encoder = Encoder::new(Vec::new());
    write(&mut encoder).expect("a vector takes whatever is written");
    encoder.into_writer()
}

/// Reads what became of the records of a PutRecords.
pub(super) fn put_records_answer(body: &[u8]) -> Result<PutRecordsAnswer, BenchError> {
    let mut answer = PutRecordsAnswer::default();
    read("PutRecords", body, |decoder| {
        each_entry(decoder, |key, decoder| match key {
            "FailedRecordCount" => decoder.u64().map(|count| answer.failed = count),
            "Records" => each_element(decoder, |decoder| {
                let mut error = None;
                each_entry(decoder, |key, decoder| match key {
                    "ErrorCode" => text(decoder).map(|code| error = code),
                    _ => decoder.skip(),
                })?;
                answer.errors.push(error);
                Ok(())
            }),
            _ => decoder.skip(),
        })
    })?;
    Ok(answer)
}

/// Reads what a GetRecords found.
pub(super) fn get_records_answer(body: &[u8]) -> Result<GetRecordsAnswer, BenchError> {
    let mut answer = GetRecordsAnswer::default();
    read("GetRecords", body, |decoder| {
        each_entry(decoder, |key, decoder| match key {
            "NextShardIterator" => text(decoder).map(|next| answer.next = next),
            "MillisBehindLatest" => decoder.u64().map(|millis| answer.millis_behind = millis),
            "Records" => each_element(decoder, |decoder| {
                each_entry(decoder, |key, decoder| match key {
                    "SequenceNumber" => {
                        answer.sequence_numbers.extend(text(decoder)?);
                        Ok(())
                    }
                    "Data" => {
                        for part in decoder.bytes_iter()? {
                            answer.data_bytes += part?.len() as u64;
                        }
                        Ok(())
                    }
                    _ => decoder.skip(),
                })
            }),
            _ => decoder.skip(),
        })
    })?;
    Ok(answer)
}

fn read(
    action: &str,
    body: &[u8],
    parse: impl FnOnce(&mut Decoder<'_>) -> Result<(), Error>,
) -> Result<(), BenchError> {
    parse(&mut Decoder::new(body))
        .map_err(|error| BenchError::Protocol(format!("malformed answer to {action}: {error}")))
}

/// Hands each value of a map to `read`, with its key.
fn each_entry(
    decoder: &mut Decoder<'_>,
    mut read: impl FnMut(&str, &mut Decoder<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut left = decoder.map()?;
    while has_next(decoder, &mut left)? {
        let key = text(decoder)?.ok_or_else(|| Error::message("a key is null"))?;
        read(&key, decoder)?;
    }
    Ok(())
}

/// Has `read` read each element of an array.
fn each_element(
    decoder: &mut Decoder<'_>,
    mut read: impl FnMut(&mut Decoder<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut left = decoder.array()?;
    while has_next(decoder, &mut left)? {
        read(decoder)?;
    }
    Ok(())
}

/// Whether a map or array goes on; `left` is `None` for one that ends with a break.
fn has_next(decoder: &mut Decoder<'_>, left: &mut Option<u64>) -> Result<bool, Error> {
    match left {
        Some(0) => Ok(false),
        Some(count) => {
            *count -= 1;
            Ok(true)
        }
        None if decoder.datatype()? == Type::Break => decoder.skip().map(|()| false),
        None => Ok(true),
    }
}

/// A text, or none for null.
fn text(decoder: &mut Decoder<'_>) -> Result<Option<String>, Error> {
    if decoder.datatype()? == Type::Null {
        return decoder.null().map(|()| None);
    }
    decoder.str_iter()?.collect::<Result<String, Error>>().map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_in_definite_and_indefinite_lengths() {
        let definite = encode(|out| {
            out.map(3)?.str("FailedRecordCount")?.u8(1)?.str("EncryptionType")?.null()?;
            out.str("Records")?.array(2)?;
            out.map(2)?.str("ShardId")?.str("s")?.str("SequenceNumber")?.str("1")?;
            out.map(1)?.str("ErrorCode")?.str("X")?;
            Ok(())
        });
        let indefinite = encode(|out| {
            out.begin_map()?.str("Records")?.begin_array()?;
            out.begin_map()?.str("ErrorCode")?.null()?.end()?;
            out.begin_map()?.str("ErrorCode")?.begin_str()?.str("X")?.end()?.end()?;
            out.end()?.str("FailedRecordCount")?.u64(1)?.end()?;
            Ok(())
        });
        let expected = PutRecordsAnswer { failed: 1, errors: vec![None, Some("X".to_owned())] };
        assert_eq!(put_records_answer(&definite).expect("sound"), expected);
        assert_eq!(put_records_answer(&indefinite).expect("sound"), expected);
    }

    #[test]
    fn records_are_counted_with_their_bytes() {
        let body = encode(|out| {
            out.map(3)?.str("MillisBehindLatest")?.u8(0)?.str("NextShardIterator")?.str("i")?;
            out.str("Records")?.array(1)?.map(3)?;
            out.str("Data")?.bytes(b"hello")?.str("SequenceNumber")?.str("49")?;
            out.str("ApproximateArrivalTimestamp")?.u64(1_700_000_000_000)?;
            Ok(())
        });
        let expected = GetRecordsAnswer {
            sequence_numbers: vec!["49".to_owned()],
            data_bytes: 5,
            next: Some("i".to_owned()),
            millis_behind: 0,
        };
        assert_eq!(get_records_answer(&body).expect("sound"), expected);
        for length in 0..body.len() {
            let cut = body.get(..length).expect("shorter than the body");
            assert!(get_records_answer(cut).is_err(), "cut to {length} bytes");
        }
    }

    #[test]
    fn requests_have_the_fields_of_the_api() {
        let body = get_records("abc", 10);
        let mut seen = Vec::new();
        let mut decoder = Decoder::new(&body);
        each_entry(&mut decoder, |key, decoder| {
            seen.push(key.to_owned());
            decoder.skip()
        })
        .expect("sound");
        assert_eq!(seen, ["ShardIterator", "Limit"]);
    }
}
