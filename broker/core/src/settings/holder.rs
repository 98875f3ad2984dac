//! What has settings, and how those of everything but streams are kept: one row each, as JSON.
//!
//! ```text
//!   key    'd' + one of 'b' (this broker), 'a' (all brokers), 'g' (a group), 'm' (client metrics)
//!          + the name of the group or of the metrics' subscription
//!   value  {"setting's name": "value", …}
//! ```
//!
//! A stream's settings stand in its own row.

use bytes::Bytes;

use crate::stream::config::Overrides;

/// First byte of the rows' keys.
pub(super) const SETTINGS_KEY: u8 = b'd';

/// Something that has settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The stream of this name.
    Stream(String),
    /// Anything else.
    Held(Holder),
}

/// What has settings and is not a stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holder {
    /// This broker.
    Broker,
    /// Every broker that has no value of its own, which is this one.
    AllBrokers,
    /// The consumer group of this name, whether it lives or not.
    Group(String),
    /// The client metrics subscription of this name.
    ClientMetrics(String),
}

impl Holder {
    pub(super) fn key(&self) -> Bytes {
        let (tag, name) = match self {
            Holder::Broker => (b'b', ""),
            Holder::AllBrokers => (b'a', ""),
            Holder::Group(name) => (b'g', name.as_str()),
            Holder::ClientMetrics(name) => (b'm', name.as_str()),
        };
        let mut key = vec![SETTINGS_KEY, tag];
        key.extend_from_slice(name.as_bytes());
        key.into()
    }

    fn from_key(key: &[u8]) -> Result<Holder, String> {
        let (tag, name) = match key {
            [SETTINGS_KEY, tag, name @ ..] => (*tag, name),
            _ => return Err("its key is too short".to_owned()),
        };
        let name = std::str::from_utf8(name).map_err(|error| error.to_string())?.to_owned();
        match tag {
            b'b' => Ok(Holder::Broker),
            b'a' => Ok(Holder::AllBrokers),
            b'g' => Ok(Holder::Group(name)),
            b'm' => Ok(Holder::ClientMetrics(name)),
            _ => Err(format!("nothing has the mark {tag}")),
        }
    }
}

pub(super) fn encode(settings: &Overrides) -> Bytes {
    serde_json::to_vec(settings).expect("a map of texts always serialises").into()
}

/// Reads a row back; says in words what is wrong with it otherwise.
pub(super) fn decode(key: &[u8], value: &[u8]) -> Result<(Holder, Overrides), String> {
    let holder = Holder::from_key(key)?;
    let settings = serde_json::from_slice(value).map_err(|error| error.to_string())?;
    Ok((holder, settings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_back() {
        let settings = Overrides::from([("interval.ms".to_owned(), "5000".to_owned())]);
        for holder in [
            Holder::Broker,
            Holder::AllBrokers,
            Holder::Group("größe".to_owned()),
            Holder::ClientMetrics("cm".to_owned()),
        ] {
            let read = decode(&holder.key(), &encode(&settings));
            assert_eq!(read, Ok((holder, settings.clone())));
        }
    }

    #[test]
    fn damaged_rows_say_what_is_wrong() {
        for (key, value) in [(&b"d"[..], "{}"), (b"dx", "{}"), (b"dg\xff", "{}"), (b"db", "[]")] {
            assert!(decode(key, value.as_bytes()).is_err(), "{key:?} {value}");
        }
    }
}
