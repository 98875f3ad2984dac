//! Page tokens of the list operations: where the next page starts, sealed, good for five minutes.

use weir_model::time::Timestamp;

use crate::errors::KinesisError;
use crate::sealed_token::{self, Purpose, TokenError};

/// Makes the token for a next page; `payload` says where it starts, in the operation's own words.
pub(crate) fn seal(key: &[u8; 32], purpose: Purpose, now: Timestamp, payload: &str) -> String {
    // The length goes first: the seal may leave zeros after the payload.
    let length = u16::try_from(payload.len()).expect("page positions are a name and a number");
    let mut bytes = Vec::with_capacity(2 + payload.len());
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes.extend_from_slice(payload.as_bytes());
    sealed_token::seal(key, purpose, now, &bytes, 0)
}

/// Reads a token that a client sent back.
pub(crate) fn open(
    key: &[u8; 32],
    purpose: Purpose,
    now: Timestamp,
    token: &str,
) -> Result<String, KinesisError> {
    let invalid = || KinesisError::invalid_argument("Invalid NextToken.");
    let payload = sealed_token::open(key, purpose, now, token).map_err(|error| match error {
        TokenError::Invalid => invalid(),
        TokenError::Expired { issued } => {
            KinesisError::expired_next_token(sealed_token::expired_text("NextToken", issued, now))
        }
    })?;
    let (length, rest) = payload.split_first_chunk::<2>().ok_or_else(invalid)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let text = rest.get(..length).and_then(|text| std::str::from_utf8(text).ok());
    text.map(str::to_owned).ok_or_else(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::ErrorKind;

    #[test]
    fn page_tokens_read_back_until_they_expire() {
        let (key, now) = ([5; 32], Timestamp::from_millis(0));
        let token = seal(&key, Purpose::ListStreams, now, "orders");
        assert_eq!(open(&key, Purpose::ListStreams, now, &token), Ok("orders".to_owned()));
        let other = open(&key, Purpose::ListShards, now, &token);
        assert_eq!(other.map_err(|error| error.kind), Err(ErrorKind::InvalidArgument));
        let later = now.plus_millis(sealed_token::LIFE_MS + 1);
        let expired = open(&key, Purpose::ListStreams, later, &token);
        assert_eq!(expired.map_err(|error| error.kind), Err(ErrorKind::ExpiredNextToken));
    }
}
