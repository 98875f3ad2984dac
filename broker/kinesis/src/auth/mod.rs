//! Who calls, as far as anybody wants to know: AWS's request signatures.
//!
//! | `--kinesis-auth` | a request needs |
//! |---|---|
//! | `none` | nothing |
//! | `shape` | a signature with all its parts, whose values are not looked at |
//! | `verify` | one by a key of the key file ([`keys`]), as AWS checks it ([`verify`]) |
//!
//! Where signatures are verified, the policies of resources hold too ([`access`]).
//! Whatever the mode, ARNs show the region that a request was signed for.

pub(crate) mod access;
mod canonical;
pub(crate) mod keys;
mod policy;
mod signature;
mod verify;

use std::sync::Arc;

use bytes::Bytes;
use hyper::http::request::Parts;
use weir_model::time::Timestamp;

use crate::errors::KinesisError;
use keys::{Identity, KeyRing};
use signature::{Signature, region_if_any};

/// What a request has to show (`--kinesis-auth`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Nothing.
    None,
    /// A signature that has all its parts.
    #[default]
    Shape,
    /// A signature by one of these keys.
    Verify(Arc<KeyRing>),
}

/// What a request has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shown<'k> {
    /// The region that it was signed for, if it names one.
    pub(crate) region: Option<String>,
    /// Whose key it was signed with, where that was verified.
    pub(crate) identity: Option<Identity<'k>>,
}

impl Authentication {
    /// Checks a request. `now` is the real date, whatever the broker's clock shows: it is the
    /// client's clock that signatures are dated by.
    pub(crate) fn check(
        &self,
        head: &Parts,
        body: &Bytes,
        now: Timestamp,
    ) -> Result<Shown<'_>, KinesisError> {
        let (headers, query) = (&head.headers, head.uri.query());
        match self {
            Authentication::None => {
                Ok(Shown { region: region_if_any(headers, query), identity: None })
            }
            Authentication::Shape => {
                let signature = Signature::of(headers, query)?;
                Ok(Shown { region: signature.region(), identity: None })
            }
            Authentication::Verify(keys) => {
                let signature = Signature::of(headers, query)?;
                let identity = verify::verify(&signature, keys, head, body, now)?;
                Ok(Shown { region: signature.region(), identity: Some(identity) })
            }
        }
    }
}
