//! The 16 bytes by which Kafka names topics, directories and members.

use std::fmt;

/// A topic id or another 16-byte identifier, in wire order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

impl Uuid {
    /// Stands for "no id" on the wire.
    pub const ZERO: Self = Self([0; 16]);

    /// From a number whose highest byte comes first.
    pub const fn from_u128(value: u128) -> Self {
        Self(value.to_be_bytes())
    }

    /// The number whose highest byte comes first.
    pub const fn as_u128(self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

/// 22 characters of URL-safe base64 without padding, as Kafka's tools print ids.
impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        // 128 bits are 21 groups of 6 and 2 bits more, which become the high bits of a last group.
        let value = self.as_u128();
        for shift in (2..128).step_by(6).rev() {
            write_symbol(f, ALPHABET, value >> shift)?;
        }
        write_symbol(f, ALPHABET, value << 4)
    }
}

fn write_symbol(f: &mut fmt::Formatter<'_>, alphabet: &[u8; 64], bits: u128) -> fmt::Result {
    use fmt::Write;
    let index = usize::try_from(bits & 0x3f).expect("six bits fit");
    let symbol = alphabet.get(index).expect("six bits index 64 symbols");
    f.write_char(char::from(*symbol))
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_url_safe_base64_as_kafka_prints_it() {
        // Values from `org.apache.kafka.common.Uuid.toString`.
        for (value, text) in [
            (Uuid::ZERO, "AAAAAAAAAAAAAAAAAAAAAA"),
            (Uuid::from_u128(1), "AAAAAAAAAAAAAAAAAAAAAQ"),
            (Uuid([0xff; 16]), "_____________________w"),
            (Uuid::from_u128(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210), "ASNFZ4mrze_-3LqYdlQyEA"),
        ] {
            assert_eq!(value.to_string(), text);
        }
    }
}
