//! Who is who in a group: the group's own id, the ids that it gives to its members, and the names
//! that static members bring along.
//!
//! All three are client text. They are kept as shared strings, since one id stands in a member
//! table, in replies and in records at the same time.

use std::fmt;
use std::sync::Arc;

use weir_model::random::Random;

/// Longest group id in bytes. Kafka's records could hold [`TEXT_BYTES_MAX`], but the record of each
/// committed partition repeats it, so that 10,000 partitions would make 300 MB of one request.
pub const GROUP_ID_BYTES_MAX: usize = 1_024;
/// Longest text that Kafka's record formats and older requests can hold, in bytes.
pub const TEXT_BYTES_MAX: usize = 32_767;
/// How much of a client's name goes into its member id, in bytes.
pub const NAME_IN_ID_BYTES_MAX: usize = 1_024;

/// A group's name. Empty only where Kafka allows it: in commits and fetches of offsets.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(Arc<str>);

/// A text that is too long to be a group's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidGroupId;

impl GroupId {
    /// The group with this name, at most [`GROUP_ID_BYTES_MAX`] bytes.
    pub fn new(text: &str) -> Result<GroupId, InvalidGroupId> {
        if text.len() > GROUP_ID_BYTES_MAX {
            return Err(InvalidGroupId);
        }
        Ok(GroupId(Arc::from(text)))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the name is the empty text, which can hold offsets but no members.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for GroupId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, out)
    }
}

/// The id that the coordinator gave to a member; never empty.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberId(Arc<str>);

impl MemberId {
    /// The id that a client sends back; none for the empty text, which asks for a new one.
    pub fn from_client(text: &str) -> Option<MemberId> {
        (!text.is_empty()).then(|| MemberId(Arc::from(text)))
    }

    /// A fresh id. As in Kafka it begins with the instance or client id (its first
    /// [`NAME_IN_ID_BYTES_MAX`] bytes), so that people can tell members apart, and ends with a
    /// random UUID, so that nobody can guess another's.
    pub fn fresh(name: &str, random: &dyn Random) -> MemberId {
        let mut bytes = [0u8; 16];
        random.fill(&mut bytes);
        let name = name.get(..name.floor_char_boundary(NAME_IN_ID_BYTES_MAX)).unwrap_or(name);
        let id = uuid_text(u128::from_be_bytes(bytes));
        MemberId(Arc::from(format!("{name}-{id}")))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The 36 characters of a random (version 4) UUID made of these bits.
fn uuid_text(bits: u128) -> String {
    let id = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let (low, mid, high) = (id >> 96, (id >> 80) & 0xffff, (id >> 64) & 0xffff);
    let (clock, node) = ((id >> 48) & 0xffff, id & 0xffff_ffff_ffff);
    format!("{low:08x}-{mid:04x}-{high:04x}-{clock:04x}-{node:012x}")
}

impl fmt::Debug for MemberId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, out)
    }
}

/// The name of a static member (`group.instance.id`): whoever joins with it takes the place of the
/// one that had it before.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// The instance with this name.
    pub fn new(text: &str) -> InstanceId {
        InstanceId(Arc::from(text))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, out)
    }
}

/// Who a request says it comes from: the parts that the coordinator checks before it believes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The member; none where the client has no id yet or does not use group membership.
    pub member: Option<MemberId>,
    /// The static member's name, if it is one.
    pub instance: Option<InstanceId>,
    /// The generation that the client believes to be in; none for Kafka's -1.
    pub generation: Option<i32>,
}

impl Claim {
    /// Of somebody who does not use group membership: an administrator, or a tool.
    pub fn nobody() -> Claim {
        Claim { member: None, instance: None, generation: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_model::random::SeededRandom;

    #[test]
    fn fresh_member_ids_are_named_and_never_repeat() {
        let random = SeededRandom::new(3);
        let first = MemberId::fresh("billing", &random);
        assert!(first.as_str().starts_with("billing-"));
        assert_eq!(first.as_str().len(), "billing-".len() + 36);
        assert_ne!(first, MemberId::fresh("billing", &random));
        let long = MemberId::fresh(&"ü".repeat(TEXT_BYTES_MAX / 2), &random);
        assert!(long.as_str().len() <= NAME_IN_ID_BYTES_MAX + 37, "it fits into a record");
    }

    #[test]
    fn group_ids_end_at_what_a_record_key_can_hold() {
        assert!(GroupId::new("").is_ok_and(|id| id.is_empty()));
        assert!(GroupId::new(&"g".repeat(GROUP_ID_BYTES_MAX)).is_ok());
        assert_eq!(GroupId::new(&"g".repeat(GROUP_ID_BYTES_MAX + 1)), Err(InvalidGroupId));
    }
}
