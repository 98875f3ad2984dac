//! The key file: whom requests may come from (`--kinesis-keys`).
//!
//! ```toml
//! [[key]]
//! id = "AKIAEXAMPLE"             # what AWS calls the access key id
//! secret = "…"                   # the secret access key
//! user = "alice"                 # optional: a user's name; without it the account itself
//! account = "111122223333"       # optional: another account; without it weir's own
//! session-token = "…"            # optional: the token of temporary credentials
//! ```
//!
//! Keys of weir's own account may do everything that no policy denies them; those of another
//! account what the policy of a resource allows them ([`access`](super::access)).

use std::fmt;

use serde::Deserialize;

/// Longest id, secret, user or token, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// All keys.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRing {
    #[serde(rename = "key")]
    keys: Vec<Key>,
}

#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Key {
    id: String,
    pub(super) secret: String,
    #[serde(default)]
    pub(super) session_token: Option<String>,
    #[serde(default)]
    account: Option<String>,
    #[serde(default)]
    user: Option<String>,
}

impl Key {
    /// Whose it is.
    pub(super) fn identity(&self) -> Identity<'_> {
        Identity { account: self.account.as_deref(), user: self.user.as_deref() }
    }
}

/// Whose key it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Identity<'k> {
    /// Of 12 digits; none: weir's own.
    account: Option<&'k str>,
    /// None: the account itself.
    user: Option<&'k str>,
}

impl<'k> Identity<'k> {
    /// The account, `own` being weir's.
    pub(crate) fn account(self, own: &'k str) -> &'k str {
        self.account.unwrap_or(own)
    }

    /// The principal's ARN, as policies and error texts have it.
    pub(crate) fn arn(self, own: &str) -> String {
        let account = self.account.unwrap_or(own);
        match self.user {
            None => format!("arn:aws:iam::{account}:root"),
            Some(user) => format!("arn:aws:iam::{account}:user/{user}"),
        }
    }
}

impl KeyRing {
    /// Checks what serde cannot: the texts' lengths and forms, and that no id is there twice.
    pub fn check(&self) -> Result<(), String> {
        if self.keys.is_empty() {
            return Err("there is no [[key]]".to_owned());
        }
        for (index, key) in self.keys.iter().enumerate() {
            let id = &key.id;
            let texts = [Some(id), Some(&key.secret), key.user.as_ref()];
            let texts = texts.into_iter().chain([key.session_token.as_ref()]).flatten();
            for text in texts {
                if text.is_empty() || text.len() > TEXT_BYTES_MAX {
                    return Err(format!("key {id:?} has an empty or endless text"));
                }
            }
            let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            if !id.bytes().all(is_legal) {
                return Err(format!("key id {id:?} has other characters than letters and digits"));
            }
            let is_account =
                |text: &String| text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
            if key.account.as_ref().is_some_and(|account| !is_account(account)) {
                return Err(format!("the account of key {id:?} has not 12 digits"));
            }
            if self.keys.iter().take(index).any(|earlier| earlier.id == *id) {
                return Err(format!("key id {id:?} is there twice"));
            }
        }
        Ok(())
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.id == id)
    }
}

/// Ids only: secrets do not belong in logs.
impl fmt::Debug for KeyRing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.keys.iter().map(|key| &key.id)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ring(keys: serde_json::Value) -> Result<KeyRing, String> {
        let ring: KeyRing =
            serde_json::from_value(json!({"key": keys})).map_err(|error| error.to_string())?;
        ring.check().map(|()| ring)
    }

    #[test]
    fn keys_are_found_and_told_apart() {
        let ring = ring(json!([
            {"id": "A", "secret": "s"},
            {"id": "B", "secret": "t", "user": "bob", "account": "111122223333",
             "session-token": "x"},
        ]))
        .expect("a key ring");
        let arn = |id: &str| ring.find(id).expect("a key").identity().arn("000000000000");
        assert_eq!(arn("A"), "arn:aws:iam::000000000000:root");
        assert_eq!(arn("B"), "arn:aws:iam::111122223333:user/bob");
        assert!(ring.find("C").is_none());
        assert_eq!(format!("{ring:?}"), r#"{"A", "B"}"#, "no secrets");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (keys, why) in [
            (json!([]), "there is no [[key]]"),
            (json!([{"id": "A"}]), "missing field `secret`"),
            (json!([{"id": "", "secret": "s"}]), "an empty or endless text"),
            (json!([{"id": "A/B", "secret": "s"}]), "other characters"),
            (json!([{"id": "A", "secret": "s", "account": "1"}]), "has not 12 digits"),
            (json!([{"id": "A", "secret": "s"}, {"id": "A", "secret": "t"}]), "there twice"),
        ] {
            let refused = ring(keys).expect_err(why);
            assert!(refused.contains(why), "{refused}");
        }
    }
}
