//! What may hang on any resource of Kinesis, whatever its kind: its tags and its policy.

use crate::stream::policy::Policy;
use crate::stream::tags::Tags;

/// The tags and the policy of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Its tags.
    pub tags: Tags,
    /// Its policy, if it has one.
    pub policy: Option<Policy>,
}
